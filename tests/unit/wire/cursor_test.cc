// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/cursor.h"

#include <catch2/catch_test_macros.hpp>
#include <utility>
#include <vector>

#include "zt/base/random.h"

namespace zt::wire {
namespace {

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

TEST_CASE("numbers are in network byte order") {
  const Bytes bytes = from("01020304050607080910111213141516");
  Reader reader(bytes);
  CHECK(reader.u8() == 0x01);
  CHECK(reader.u16() == 0x0203);
  CHECK(reader.u32() == 0x04050607U);
  CHECK(reader.u64() == 0x0809101112131415U);
  CHECK(reader.remaining_size() == 1);
  CHECK_FALSE(reader.u16().has_value());
  CHECK(reader.u8() == 0x16);
  CHECK(reader.is_at_end());
  CHECK_FALSE(reader.u8().has_value());
}

TEST_CASE("a step that fails has not moved") {
  const Bytes bytes = from("c0aabb");
  Reader reader(bytes);
  CHECK_FALSE(reader.u32().has_value());
  CHECK_FALSE(reader.u64().has_value());
  CHECK_FALSE(reader.varint().has_value());
  CHECK_FALSE(reader.bytes(4).has_value());
  CHECK_FALSE(reader.bytes(~std::uint64_t{0}).has_value());
  CHECK(reader.remaining_size() == 3);
  CHECK(to_hex(reader.bytes(3).value()) == "c0aabb");
  CHECK(reader.bytes(0).value().empty());
  CHECK(reader.rest().empty());
}

TEST_CASE("variable-length integers are those of RFC 9000 appendix A.1", "[rfc9000-16]") {
  const std::vector<std::pair<std::string_view, std::uint64_t>> table = {
      {"c2197c5eff14e88c", 151288809941952652U},
      {"9d7f3e7d", 494878333},
      {"7bbd", 15293},
      {"25", 37},
      {"4025", 37},
      {"00", 0},
      {"3f", 63},
      {"4040", 64},
      {"7fff", 16383},
      {"80004000", 16384},
      {"bfffffff", 1073741823},
      {"c000000040000000", 1073741824},
      {"ffffffffffffffff", kVarintMax},
  };
  for (const auto& [hex, value] : table) {
    CAPTURE(hex);
    const Bytes bytes = from(hex);
    Reader reader(bytes);
    CHECK(reader.varint() == value);
    CHECK(reader.is_at_end());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      Reader truncated(BytesView(bytes).first(size));
      CHECK_FALSE(truncated.varint().has_value());
    }
    if (hex == "4025") continue;  // Longer than needed: read, never written.
    Bytes space(8);
    Writer writer(space);
    writer.varint(value);
    CHECK(to_hex(writer.written()) == hex);
    CHECK(varint_size(value) == bytes.size());
  }
}

TEST_CASE("what does not fit is not written, nor is what follows") {
  Bytes space(3);
  Writer writer(space);
  writer.u16(0x0102);
  CHECK(writer.is_complete());
  writer.u16(0x0304);
  CHECK_FALSE(writer.is_complete());
  writer.u8(0x05);
  CHECK_FALSE(writer.is_complete());
  CHECK(to_hex(writer.written()) == "0102");
  CHECK(to_hex(space) == "010200");
}

TEST_CASE("a full space is complete") {
  Bytes space(15);
  Writer writer(space);
  writer.u8(1);
  writer.u16(2);
  writer.u32(3);
  writer.u64(4);
  writer.bytes({});
  CHECK(writer.is_complete());
  CHECK(to_hex(writer.written()) == "010002000000030000000000000004");
}

TEST_CASE("what is written is read as itself", "[property]") {
  constexpr std::uint64_t kSeed = 9000;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::uint64_t> values(random.below(12));
    for (auto& value : values) value = random.next() >> (2 + random.below(62));
    Bytes space(values.size() * 8);
    Writer writer(space);
    for (const auto value : values) writer.varint(value);
    REQUIRE(writer.is_complete());
    Reader reader(writer.written());
    for (const auto value : values) REQUIRE(reader.varint() == value);
    REQUIRE(reader.is_at_end());
  }
}

}  // namespace
}  // namespace zt::wire
