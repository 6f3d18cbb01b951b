// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/connect_udp.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace zt::wire {
namespace {

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

TEST_CASE("a target is a path and comes back from it", "[rfc9298-3.1]") {
  for (const auto& [target, path] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"192.0.2.6:443", "/.well-known/masque/udp/192.0.2.6/443/"},
           {"dns.internal:53", "/.well-known/masque/udp/dns.internal/53/"},
           {"[2001:db8::42]:443", "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/"}}) {
    CAPTURE(path);
    const Authority authority = Authority::parse(target).value();
    CHECK(to_udp_path(authority) == path);
    CHECK(parse_udp_path(path) == authority);
  }
  CHECK(parse_udp_path("/.well-known/masque/udp/fd00%3a%3a1/1/") ==
        Authority::parse("[fd00::1]:1"));
  CHECK(parse_udp_path("/.well-known/masque/udp/fd00::1/1/") == Authority::parse("[fd00::1]:1"));
}

TEST_CASE("any other path is refused") {
  for (const std::string_view path : {"",
                                      "/",
                                      "/.well-known/masque/udp/",
                                      "/.well-known/masque/udp/db/53",
                                      "/.well-known/masque/udp//53/",
                                      "/.well-known/masque/udp/db//",
                                      "/.well-known/masque/udp/db/0/",
                                      "/.well-known/masque/udp/db/65536/",
                                      "/.well-known/masque/udp/db/53/x/",
                                      "/.well-known/masque/udp/db/53/?a",
                                      "/.well-known/masque/udp/d%62/53/",
                                      "/.well-known/masque/udp/db%00/53/",
                                      "/.well-known/masque/udp/db%2F/53/",
                                      "/.well-known/masque/udp/[fd00::1]/53/",
                                      "/.well-known/masque/udp/%5Bfd00::1%5D/53/",
                                      "/.well-known/masque/udp/*/53/",
                                      "/.well-known/masque/udp/a,b/53/",
                                      "/.well-known/masque/udp/db%3A1/53/",
                                      "/.well-known/masque/ip/db/53/",
                                      "/x/.well-known/masque/udp/db/53/",
                                      "/.well-known/masque/udp/fd00::1%25lo/1/"}) {
    CAPTURE(path);
    CHECK_FALSE(parse_udp_path(path).has_value());
  }
}

TEST_CASE("context 0 carries payloads and all others are dropped", "[rfc9298-4]") {
  CHECK(to_hex(encode_udp_datagram(from("aabb"))) == "00aabb");
  CHECK(to_hex(parse_udp_datagram(from("00aabb")).value()) == "aabb");
  CHECK(parse_udp_datagram(from("00")).value().empty());
  CHECK(to_hex(parse_udp_datagram(from("4000aa")).value()) == "aa");
  for (const std::string_view hex : {"", "01aa", "02aa", "40", "4001aa", "c0000000000000"}) {
    CAPTURE(hex);
    CHECK_FALSE(parse_udp_datagram(from(hex)).has_value());
  }
}

TEST_CASE("payloads end at 65527 bytes", "[rfc9298-5]") {
  CHECK(parse_udp_datagram(Bytes(1 + kUdpPayloadSizeMax)).has_value());
  CHECK_FALSE(parse_udp_datagram(Bytes(2 + kUdpPayloadSizeMax)).has_value());
}

TEST_CASE("a QUIC datagram names a quarter of its stream", "[rfc9297-2.1]") {
  const Bytes payload = from("00aa");
  const Bytes frame = encode_quic_datagram({.stream_id = 44, .payload = payload});
  CHECK(to_hex(frame) == "0b00aa");
  CHECK(parse_quic_datagram(frame)->stream_id == 44);
  CHECK(to_hex(parse_quic_datagram(frame)->payload) == "00aa");
  CHECK(parse_quic_datagram(from("cfffffffffffffff"))->stream_id == (std::uint64_t{1} << 62U) - 4);
  CHECK_FALSE(parse_quic_datagram(from("d000000000000000")).has_value());
  CHECK_FALSE(parse_quic_datagram({}).has_value());
  CHECK_FALSE(parse_quic_datagram(from("40")).has_value());
}

}  // namespace
}  // namespace zt::wire
