// SPDX-License-Identifier: Apache-2.0
#include "zt/base/random.h"

#include <array>

#include "zt/base/assert.h"

namespace zt {

std::uint64_t Random::next() {
  std::array<std::byte, 8> bytes{};
  fill(bytes);
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) {
    value = (value << 8U) | std::to_integer<std::uint64_t>(bytes[i - 1]);
  }
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  ZT_ASSERT(bound > 0);
  return next() % bound;
}

void SeededRandom::fill(std::span<std::byte> bytes) {
  // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). A call
  // uses whole words, least significant byte first.
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 8 == 0) {
      state_ += 0x9e3779b97f4a7c15U;
      word = state_;
      word = (word ^ (word >> 30U)) * 0xbf58476d1ce4e5b9U;
      word = (word ^ (word >> 27U)) * 0x94d049bb133111ebU;
      word ^= word >> 31U;
    }
    bytes[i] = static_cast<std::byte>(word & 255U);
    word >>= 8U;
  }
}

}  // namespace zt
