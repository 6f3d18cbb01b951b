// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/random.h: entropy as an argument. src/io hands in the kernel's; a test hands in a seed.

#include <cstddef>
#include <cstdint>
#include <span>

namespace zt {

class Random {
 public:
  Random() = default;
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  Random(Random&&) = delete;
  Random& operator=(Random&&) = delete;
  virtual ~Random() = default;

  // fill overwrites `bytes` with unpredictable values. It cannot fail: a machine without entropy
  // ends the process.
  virtual void fill(std::span<std::byte> bytes) = 0;

  // next returns 64 unpredictable bits.
  [[nodiscard]] std::uint64_t next();

  // below returns a value in [0, bound). `bound` must be above zero. The bias is under bound /
  // 2^64.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound);
};

// SeededRandom repeats itself: the same seed gives the same values on every machine. Never for
// keys.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::byte> bytes) override;

 private:
  std::uint64_t state_;  // SplitMix64.
};

}  // namespace zt
