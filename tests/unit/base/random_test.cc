// SPDX-License-Identifier: Apache-2.0
#include "zt/base/random.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <set>

namespace zt {
namespace {

TEST_CASE("a seed gives the values of SplitMix64 on every machine") {
  // The first outputs of the published algorithm for the seed 1234567.
  SeededRandom random(1234567);
  CHECK(random.next() == 6457827717110365317U);
  CHECK(random.next() == 3203168211198807973U);
  CHECK(random.next() == 9817491932198370423U);
}

TEST_CASE("a short fill uses a whole word") {
  SeededRandom whole(9);
  SeededRandom parts(9);
  std::array<std::byte, 3> bytes{};
  parts.fill(bytes);
  const std::uint64_t first = whole.next();
  CHECK(bytes[0] == static_cast<std::byte>(first & 255U));
  CHECK(bytes[2] == static_cast<std::byte>((first >> 16U) & 255U));
  CHECK(parts.next() == whole.next());
}

TEST_CASE("below stays below and reaches every value") {
  SeededRandom random(7);
  CHECK(random.below(1) == 0);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(10));
  CHECK(seen.size() == 10);
  CHECK(*seen.rbegin() == 9);
}

}  // namespace
}  // namespace zt
