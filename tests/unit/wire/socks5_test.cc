// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/socks5.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zt::wire {
namespace {

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

TEST_CASE("a greeting is answered with no authentication or refused", "[rfc1928-3]") {
  for (const auto& [hex, answer] :
       std::vector<std::pair<std::string_view, std::string_view>>{{"050100", "0500"},
                                                                  {"05020002", "0500"},
                                                                  {"05020200", "0500"},
                                                                  {"050102", "05ff"},
                                                                  {"0500", "05ff"}}) {
    CAPTURE(hex);
    const Bytes input = from(hex);
    const auto greeting = parse_socks_greeting(input);
    REQUIRE(greeting.has_value());
    REQUIRE(greeting->has_value());
    CHECK((*greeting)->size == input.size());
    CHECK(to_hex(encode_socks_choice((*greeting)->message)) == answer);
  }
}

TEST_CASE("what is no SOCKS5 is known by its first byte", "[threat]") {
  for (const std::string_view text : {"GET / HTTP/1.1\r\n", "\x04\x01", "CONNECT db:1"}) {
    CHECK(parse_socks_greeting(as_bytes(text)).error() == SocksError::wrong_version);
    CHECK(parse_socks_request(as_bytes(text)).error() == SocksError::wrong_version);
  }
}

TEST_CASE("requests name an address or a name", "[rfc1928-4]") {
  struct Row {
    std::string_view hex;
    SocksCommand command;
    std::string_view target;
  };
  for (const Row& row :
       std::vector<Row>{{"050100010a00000116a8", SocksCommand::connect, "10.0.0.1:5800"},
                        {"05010003026462"
                         "1538",
                         SocksCommand::connect, "db:5432"},
                        {"05010003"
                         "08"
                         "31302e302e302e31"
                         "0050",
                         SocksCommand::connect, "10.0.0.1:80"},
                        {"05010004fd000000000000000000000000000001"
                         "0050",
                         SocksCommand::connect, "[fd00::1]:80"},
                        {"05030001000000000000", SocksCommand::udp_associate, "0.0.0.0:0"}}) {
    CAPTURE(row.hex);
    Bytes input = from(row.hex);
    input.push_back(std::byte{0x16});  // The application's first byte must stay.
    const auto request = parse_socks_request(input);
    REQUIRE(request.has_value());
    REQUIRE(request->has_value());
    CHECK((*request)->size == input.size() - 1);
    CHECK((*request)->message.command == row.command);
    CHECK((*request)->message.target.to_text() == row.target);
    for (std::size_t size = 0; size + 1 < input.size(); ++size) {
      CAPTURE(size);
      const auto early = parse_socks_request(BytesView(input).first(size));
      REQUIRE(early.has_value());
      CHECK_FALSE(early->has_value());
    }
  }
}

TEST_CASE("each wrong request has its reply", "[rfc1928-6]") {
  struct Row {
    std::string_view hex;
    SocksError error;
    SocksReply reply;
  };
  for (const Row& row : std::vector<Row>{
           {"04", SocksError::wrong_version, SocksReply::general_failure},
           {"0502", SocksError::unknown_command, SocksReply::command_not_supported},
           {"0500", SocksError::unknown_command, SocksReply::command_not_supported},
           {"0504", SocksError::unknown_command, SocksReply::command_not_supported},
           {"050101", SocksError::malformed, SocksReply::general_failure},
           {"05010002", SocksError::unknown_address_type, SocksReply::address_type_not_supported},
           {"05010000", SocksError::unknown_address_type, SocksReply::address_type_not_supported},
           {"050100030000", SocksError::malformed, SocksReply::general_failure},
           {"0501000303612062"
            "0050",
            SocksError::malformed, SocksReply::general_failure},
           {"0501000303610062"
            "0050",
            SocksError::malformed, SocksReply::general_failure},
           {"050100010a0000010000", SocksError::malformed, SocksReply::general_failure}}) {
    CAPTURE(row.hex);
    const auto request = parse_socks_request(from(row.hex));
    REQUIRE_FALSE(request.has_value());
    CHECK(request.error() == row.error);
    CHECK(to_reply(request.error()) == row.reply);
  }
}

TEST_CASE("the longest request is within the limit") {
  Bytes input = from("05010003ff");
  input.resize(input.size() + 255 + 2, std::byte{'a'});
  CHECK(input.size() == kSocksMessageSizeMax);
  // A name of 255 characters is whole, and no DNS name.
  CHECK(parse_socks_request(input).error() == SocksError::malformed);
}

TEST_CASE("replies carry a code and an address") {
  CHECK(to_hex(encode_socks_reply(SocksReply::connection_refused, {})) == "05050001000000000000");
  CHECK(to_hex(
            encode_socks_reply(SocksReply::succeeded, SocketAddress::parse("[::1]:258").value())) ==
        "05000004000000000000000000000000000000010102");
}

TEST_CASE("datagrams carry their peer", "[rfc1928-7]") {
  for (const auto& [peer, hex] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"10.0.0.1:53", "000000010a0000010035cafe"},
           {"[fd00::1]:53", "00000004fd0000000000000000000000000000010035cafe"},
           {"dns.x:53",
            "000000030"
            "5646e732e780035cafe"}}) {
    CAPTURE(peer);
    const Bytes payload = from("cafe");
    const Bytes encoded = encode_socks_datagram({Authority::parse(peer).value(), payload});
    CHECK(to_hex(encoded) == hex);
    const auto parsed = parse_socks_datagram(encoded);
    REQUIRE(parsed.has_value());
    CHECK(parsed->peer.to_text() == peer);
    CHECK(to_hex(parsed->payload) == "cafe");
    for (std::size_t size = 0; size + 2 < encoded.size(); ++size) {
      CHECK_FALSE(parse_socks_datagram(BytesView(encoded).first(size)).has_value());
    }
  }
}

TEST_CASE("fragments and malformed datagrams are dropped") {
  for (const std::string_view hex :
       {"", "000001010a0000010035cafe", "000080010a0000010035cafe", "010000010a0000010035cafe",
        "000100010a0000010035cafe", "000000020a0000010035cafe", "000000010a0000010000cafe",
        "00000003000035cafe",
        "0000000302202000"
        "35cafe"}) {
    CAPTURE(hex);
    CHECK_FALSE(parse_socks_datagram(from(hex)).has_value());
  }
}

}  // namespace
}  // namespace zt::wire
