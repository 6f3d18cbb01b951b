// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/quic_packet.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/random.h"

namespace zt::wire {
namespace {

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

std::string route_text(std::string_view hex) {
  const Bytes datagram = from(hex);
  const auto route = route_of(datagram);
  return route ? to_hex(route->bytes) : "none";
}

TEST_CASE("the client's first packet of RFC 9001 shows its connection IDs", "[rfc8999-5.1]") {
  // The unprotected header of RFC 9001 appendix A.2.
  const Bytes datagram = from("c300000001088394c8f03e5157080000449e00000002");
  const auto header = parse_packet_header(datagram, 16);
  REQUIRE(header.has_value());
  CHECK(header->is_long);
  CHECK(header->is_initial);
  CHECK(header->version == kQuicVersion1);
  CHECK(to_hex(header->destination) == "8394c8f03e515708");
  CHECK(header->source.empty());
  CHECK(route_text("c300000001088394c8f03e5157080000449e00000002") == "8394c8f03e515708");
}

TEST_CASE("the server's packets of RFC 9001 show theirs") {
  const Bytes initial = from("c1000000010008f067a5502a4262b50040750001");
  const auto header = parse_packet_header(initial, 16);
  REQUIRE(header.has_value());
  CHECK(header->is_initial);
  CHECK(header->destination.empty());
  CHECK(to_hex(header->source) == "f067a5502a4262b5");
  CHECK_FALSE(route_of(initial).has_value());
  // A Retry packet (appendix A.4) is long but no Initial.
  const Bytes retry = from("ff000000010008f067a5502a4262b5746f6b656e");
  CHECK(parse_packet_header(retry, 16)->is_long);
  CHECK_FALSE(parse_packet_header(retry, 16)->is_initial);
}

TEST_CASE("only an Initial of version 1 is one") {
  for (const auto& [hex, is_initial] : std::vector<std::pair<std::string_view, bool>>{
           {"c0000000010000", true},
           {"cf000000010000", true},   // The low bits are protected.
           {"d0000000010000", false},  // 0-RTT.
           {"e0000000010000", false},  // Handshake.
           {"f0000000010000", false},  // Retry.
           {"c0000000000000", false},  // Version Negotiation.
           {"c06b3343cf0000", false}}) {
    CAPTURE(hex);
    const Bytes datagram = from(hex);
    REQUIRE(parse_packet_header(datagram, 8).has_value());
    CHECK(parse_packet_header(datagram, 8)->is_initial == is_initial);
  }
}

TEST_CASE("a route is 8 bytes at the front of the destination connection ID") {
  const std::string eight = "a1a2a3a4a5a6a7a8";
  // Short headers: the first byte, then the connection ID.
  CHECK(route_text("40" + eight) == eight);
  CHECK(route_text("7f" + eight + "ffff") == eight);
  CHECK(route_text("40a1a2a3a4a5a6a7") == "none");
  // Long headers: the length decides.
  CHECK(route_text("c00000000108" + eight) == eight);
  CHECK(route_text("c00000000107" + eight) == "none");
  CHECK(route_text("c00000000109" + eight) == "none");  // Truncated by one byte.
  CHECK(route_text("c00000000109" + eight + "a9") == eight);
  CHECK(route_text("c00000000114" + eight + "000102030405060708090a0b") == eight);
  CHECK(route_text("c00000000115" + eight + "000102030405060708090a0b0c") == "none");
  CHECK(route_text("c00000000108a1a2a3a4a5a6a7") == "none");
  CHECK(route_text("c000000001") == "none");
  CHECK(route_text("c000000000"
                   "08" +
                   eight) == eight);  // Version Negotiation travels too.
}

TEST_CASE("what lacks the fixed bit is no QUIC and has no route", "[rfc9443]") {
  const std::string eight = "a1a2a3a4a5a6a7a8";
  for (const std::string_view first : {"00", "3f", "80", "bf"}) {
    CAPTURE(first);
    CHECK(route_text(std::string(first) + eight + eight) == "none");
    const Bytes datagram = from(std::string(first) + eight + eight);
    CHECK_FALSE(parse_packet_header(datagram, 8).has_value());
  }
  CHECK(route_text("") == "none");
  CHECK_FALSE(parse_packet_header({}, 0).has_value());
}

TEST_CASE("a header is whole or nothing") {
  const Bytes whole = from("c0000000010401020304050a0b0c0d0e");
  REQUIRE(parse_packet_header(whole, 8).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_packet_header(BytesView(whole).first(size), 8).has_value());
  }
  const Bytes short_header = from("40a1a2a3a4");
  CHECK(parse_packet_header(short_header, 4)->destination.size() == 4);
  CHECK_FALSE(parse_packet_header(short_header, 5).has_value());
}

TEST_CASE("the fast path agrees with the parser", "[property]") {
  constexpr std::uint64_t kSeed = 8999;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 50000; ++round) {
    Bytes datagram(random.below(60));
    random.fill(datagram);
    if (datagram.size() > 5 && random.below(4) != 0) {
      datagram[5] = static_cast<std::byte>(random.below(24));
    }
    const auto route = route_of(datagram);
    const auto header = parse_packet_header(datagram, RouteId::kSize);
    // The parser also wants the source connection ID; the fast path does not look at it.
    if (header) {
      REQUIRE(route.has_value() == (header->destination.size() >= RouteId::kSize));
      if (route) {
        REQUIRE(route == RouteId::from(header->destination.first(RouteId::kSize)));
      }
    }
  }
}

}  // namespace
}  // namespace zt::wire
