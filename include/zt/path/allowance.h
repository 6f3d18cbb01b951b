// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/allowance.h: so many at once, and so many a second: a token bucket in whole tokens.
//
// Theory of operation
//   An Allowance holds `burst` tokens at most and gets one back every `period`. In any span of time
//   T at most burst + T / period + 1 are taken.

#include <algorithm>
#include <cstdint>

#include "zt/base/time.h"

namespace zt::path {

class Allowance {
 public:
  struct Rate {
    std::uint32_t burst = 1;
    Duration period = std::chrono::seconds(1);  // Above zero.
  };

  Allowance(const Rate& rate, Instant now) : rate_(rate), tokens_(rate.burst), refilled_(now) {}

  // take returns whether there was a token, and takes it.
  [[nodiscard]] bool take(Instant now) {
    refill(now);
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

  // available_at returns when take() gives a token again: `now` or later.
  [[nodiscard]] Instant available_at(Instant now) {
    refill(now);
    return tokens_ > 0 ? now : refilled_ + rate_.period;
  }

  // is_full tells whether this is as good as a new one.
  [[nodiscard]] bool is_full(Instant now) const {
    return (now - refilled_) / rate_.period >= rate_.burst - tokens_;
  }

 private:
  void refill(Instant now) {
    const auto gained = std::max<Duration::rep>((now - refilled_) / rate_.period, 0);
    if (gained >= rate_.burst - tokens_) {
      tokens_ = rate_.burst;
      refilled_ = now;
      return;
    }
    tokens_ += static_cast<std::uint32_t>(gained);
    refilled_ += rate_.period * gained;
  }

  Rate rate_;
  std::uint32_t tokens_;
  Instant refilled_;
};

}  // namespace zt::path
