// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/capsule.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>
#include <vector>

#include "zt/base/random.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr CapsuleType kOther{0x2b};

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

CapsuleParser datagram_parser(std::size_t value_size_max) {
  return CapsuleParser({CapsuleType::datagram}, value_size_max);
}

TEST_CASE("a capsule is a type, a length and a value", "[rfc9297-3.2]") {
  CHECK(to_hex(encode_capsule(CapsuleType::datagram, from("00aabb"))) == "000300aabb");
  CHECK(to_hex(encode_capsule(CapsuleType{0x1234}, {})) == "523400");
  const Bytes stream = from(
      "000300aabb"
      "0000");
  CapsuleParser parser = datagram_parser(3);
  BytesView input = stream;
  CHECK(parser.next(input).value() == Capsule{CapsuleType::datagram, from("00aabb")});
  CHECK(parser.next(input).value() == Capsule{CapsuleType::datagram, {}});
  CHECK(parser.next(input).value() == std::nullopt);
  CHECK(input.empty());
  CHECK(parser.is_between_capsules());
}

TEST_CASE("unknown capsules are skipped whatever their length", "[rfc9297-3.2]") {
  Bytes stream = encode_capsule(kOther, Bytes(100000));
  const Bytes known = encode_capsule(CapsuleType::datagram, from("01"));
  stream.insert(stream.end(), known.begin(), known.end());
  CapsuleParser parser = datagram_parser(1);
  BytesView input = stream;
  CHECK(parser.next(input).value() == Capsule{CapsuleType::datagram, from("01")});
}

TEST_CASE("a known capsule ends at the limit") {
  const Bytes fits = encode_capsule(CapsuleType::datagram, Bytes(1500));
  const Bytes exceeds = encode_capsule(CapsuleType::datagram, Bytes(1501));
  CapsuleParser parser = datagram_parser(1500);
  BytesView input = fits;
  CHECK(parser.next(input).value().has_value());
  input = exceeds;
  CHECK(parser.next(input) == std::unexpected(CapsuleError::value_too_long));
  // The error stays, and nothing more is taken.
  const std::size_t left = input.size();
  CHECK(parser.next(input) == std::unexpected(CapsuleError::value_too_long));
  CHECK(input.size() == left);
  CHECK_FALSE(parser.is_between_capsules());
}

TEST_CASE("a claimed length costs no memory", "[threat]") {
  const Bytes claim = from("00ffffffffffffffff");
  CapsuleParser parser = datagram_parser(std::size_t{1} << 40U);
  BytesView input = claim;
  CHECK_FALSE(parser.next(input).has_value());
  CapsuleParser skipping = CapsuleParser({}, 0);
  input = claim;
  CHECK(skipping.next(input).value() == std::nullopt);
  CHECK_FALSE(skipping.is_between_capsules());
}

TEST_CASE("a stream may end only between capsules", "[rfc9297-3.3]") {
  const Bytes whole = from(
      "402b"
      "02"
      "aabb");
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    CAPTURE(size);
    CapsuleParser parser = CapsuleParser({kOther}, 2);
    BytesView input = BytesView(whole).first(size);
    CHECK(parser.next(input).value().has_value() == (size == whole.size()));
    CHECK(parser.is_between_capsules() == (size == 0 || size == whole.size()));
  }
}

TEST_CASE("pieces of any size give the same capsules", "[property]") {
  constexpr std::uint64_t kSeed = 9297;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 1000; ++round) {
    std::vector<Capsule> known;
    Bytes stream;
    for (std::uint64_t i = random.below(8); i > 0; --i) {
      Capsule capsule{.type = random.below(3) == 0 ? kOther : CapsuleType::datagram,
                      .value = Bytes(random.below(100))};
      random.fill(capsule.value);
      const Bytes encoded = encode_capsule(capsule.type, capsule.value);
      stream.insert(stream.end(), encoded.begin(), encoded.end());
      if (capsule.type == CapsuleType::datagram) known.push_back(capsule);
    }
    std::vector<Capsule> seen;
    CapsuleParser parser = datagram_parser(100);
    BytesView rest = stream;
    while (!rest.empty()) {
      BytesView piece = rest.first(static_cast<std::size_t>(1 + random.below(rest.size())));
      rest = rest.subspan(piece.size());
      while (true) {
        auto capsule = parser.next(piece);
        REQUIRE(capsule.has_value());
        if (!*capsule) break;
        seen.push_back(**std::move(capsule));
      }
      REQUIRE(piece.empty());
    }
    REQUIRE(seen == known);
    REQUIRE(parser.is_between_capsules());
  }
}

}  // namespace
}  // namespace zt::wire
