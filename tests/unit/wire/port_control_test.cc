// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/port_control.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace zt::wire {
namespace {

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

Bytes bytes_of(std::string_view hex) {
  std::string digits;
  for (const char c : hex) {
    if (c != ' ') digits += c;
  }
  return from_hex(digits).value();
}

std::string hex_of(BytesView bytes) {
  return to_hex(bytes);
}

MappingNonce nonce() {
  return MappingNonce::from(bytes_of("0102030405060708090a0b0c")).value();
}

// Answers as a gateway writes them; the parts of MAP behind its header.
constexpr std::string_view kPcpHead = "02 81 00 00 00000258 00000007 000000000000000000000000";
constexpr std::string_view kMap =
    "0102030405060708090a0b0c 11 000000 a02a 1f90 00000000000000000000ffff0b010203";

std::string answer_with(std::string_view head, std::string_view tail) {
  return std::string(head).append(tail);
}

TEST_CASE("a PCP request is as RFC 6887 sections 7.1 and 11.1 draw it [rfc6887-11.1]") {
  const PcpMapRequest request{.client = ip("192.168.1.2"),
                              .lifetime_s = 600,
                              .nonce = nonce(),
                              .internal_port = 41002,
                              .suggested = {.ip = ip("11.1.2.3"), .port = 8080}};
  CHECK(hex_of(encode_pcp_map(request)) ==
        "0201000000000258"                          // Version, opcode, lifetime.
        "00000000000000000000ffffc0a80102"          // Client.
        "0102030405060708090a0b0c11000000a02a1f90"  // Nonce, protocol, ports.
        "00000000000000000000ffff0b010203");        // Suggested address.
}

TEST_CASE("NAT-PMP requests are as RFC 6886 sections 3.2 and 3.3 draw them [rfc6886-3.3]") {
  CHECK(hex_of(encode_nat_pmp_address()) == "0000");
  CHECK(hex_of(encode_nat_pmp_map(
            {.internal_port = 41002, .suggested_port = 8080, .lifetime_s = 600})) ==
        "00010000a02a1f9000000258");
}

TEST_CASE("an answer to MAP is read, with options and without") {
  const PcpMapped expected{.lifetime_s = 600,
                           .nonce = nonce(),
                           .internal_port = 41002,
                           .external = {.ip = ip("11.1.2.3"), .port = 8080}};
  const std::string plain = answer_with(kPcpHead, kMap);
  CHECK(parse_port_control(bytes_of(plain)) == PortControlAnswer(expected));
  CHECK(parse_port_control(bytes_of(plain + "03000004 00000000")) == PortControlAnswer(expected));
}

TEST_CASE("an IPv6 external address stays one") {
  const auto answer =
      parse_port_control(bytes_of(answer_with(kPcpHead,
                                              "0102030405060708090a0b0c 11 000000 a02a 1f90"
                                              "20010db9000000000000000000000001")));
  REQUIRE(answer);
  CHECK(std::get<PcpMapped>(*answer).external.ip == ip("2001:db9::1"));
}

TEST_CASE("a refusal is read, with the request that it repeats and without") {
  constexpr std::string_view head = "02 81 00 02 0000001e 00000007 000000000000000000000000";
  CHECK(parse_port_control(bytes_of(answer_with(head, kMap))) ==
        PortControlAnswer(PcpFailed{.result = 2, .lifetime_s = 30, .nonce = nonce()}));
  CHECK(parse_port_control(bytes_of(head)) ==
        PortControlAnswer(PcpFailed{.result = 2, .lifetime_s = 30, .nonce = {}}));
}

TEST_CASE("the answers of NAT-PMP are read") {
  CHECK(parse_port_control(bytes_of("0080 0000 00000007 0b010203")) ==
        PortControlAnswer(NatPmpAddress{ip("11.1.2.3")}));
  CHECK(parse_port_control(bytes_of("0081 0000 00000007 a02a 1f90 00000258")) ==
        PortControlAnswer(
            NatPmpMapped{.internal_port = 41002, .external_port = 8080, .lifetime_s = 600}));
  CHECK(parse_port_control(bytes_of("0081 0002 00000007 a02a 1f90 00000000")) ==
        PortControlAnswer(NatPmpFailed{2}));
  // To a request of PCP: the opcode is that of the request.
  CHECK(parse_port_control(bytes_of("0081 0001 00000007")) == PortControlAnswer(NatPmpFailed{1}));
}

TEST_CASE("what is no answer is none") {
  const std::string good = answer_with(kPcpHead, kMap);
  Bytes oversized = bytes_of(good);
  oversized.resize(kPortControlSizeMax + 4);
  CHECK_FALSE(parse_port_control(oversized));
  oversized.resize(kPortControlSizeMax);
  CHECK(parse_port_control(oversized));

  for (const std::string_view hex : {
           "", "02",
           "0281000000000258",                                        // Cut in the header.
           "02 01 00 00 00000258 00000007 000000000000000000000000",  // A request.
           "02 82 00 02 00000258 00000007 000000000000000000000000",  // PEER.
           "02 81 00 00 00000258 00000007 000000000000000000000000",  // Success, and no map.
           "03 81 00 02 00000258 00000007 000000000000000000000000",  // Another version.
           "0000 0000 00000007 0b010203",                             // Our own request bit.
           "0080 0000 00000007 0b0102",                               // Short, long:
           "0080 0000 00000007 0b01020304",                           //
           "0081 0000 00000007 a02a 1f90 000002",                     //
           "0081 0000 00000007 a02a 1f90 0000025800",                 //
           "0082 0000 00000007 a02a 1f90 00000258",                   // A TCP mapping.
           "0081 0002 000000",                                        // Cut in the epoch.
       }) {
    INFO(hex);
    CHECK_FALSE(parse_port_control(bytes_of(hex)));
  }
  // Of another protocol; of a size that is no multiple of four [rfc6887-8.3].
  std::string tcp = good;
  tcp.replace(tcp.find(" 11 "), 4, " 06 ");
  CHECK_FALSE(parse_port_control(bytes_of(tcp)));
  CHECK_FALSE(parse_port_control(bytes_of(good + "00")));
}

TEST_CASE("every cut of an answer is refused or still an answer, and never read beyond") {
  const Bytes whole = bytes_of(answer_with(kPcpHead, kMap));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(parse_port_control(cut));
  }
}

}  // namespace
}  // namespace zt::wire
