// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/backoff.h: how long to wait before the next try, for ever, without a thundering herd.
//
// Theory of operation
//   The n-th wait in a row is drawn evenly from the upper half of (0, minimum * 2^n], capped at
//   `maximum`. The draw keeps a thousand nodes that lost the same controller from coming back at
//   once.

#include <algorithm>
#include <cstdint>

#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::node {

class Backoff {
 public:
  struct Limits {
    Duration minimum = std::chrono::milliseconds(250);  // Above zero.
    Duration maximum = std::chrono::seconds(30);        // At least `minimum`.
  };

  Backoff(const Limits& limits, Random& random) : limits_(limits), random_(random) {}

  // next returns the wait before the next try and counts the failure.
  [[nodiscard]] Duration next() {
    constexpr unsigned kDoublingsMax = 20;
    const Duration ceiling =
        std::min(limits_.maximum, limits_.minimum * (std::int64_t{1} << failure_count_));
    failure_count_ = std::min(failure_count_ + 1, kDoublingsMax);
    const auto half = ceiling / 2;
    const auto span = static_cast<std::uint64_t>(half.count()) + 1;
    return half + Duration(static_cast<std::int64_t>(random_.below(span)));
  }

  // reset is called when a try has succeeded.
  void reset() { failure_count_ = 0; }

 private:
  Limits limits_;
  Random& random_;
  unsigned failure_count_ = 0;
};

}  // namespace zt::node
