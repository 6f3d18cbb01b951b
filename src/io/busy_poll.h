// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/busy_poll.h: how long a loop looks for the next event before it lets its thread sleep.
//
// Theory of operation
//   To put a thread to sleep and to wake it up again costs tens of microseconds, more on a virtual
//   machine, and on a path whose round trip is not much longer it is most of what a request waits
//   for. A loop may therefore look again and again for a while, and give the processor to whoever
//   wants it in between. Whether that pays is guessed from the past, as a hypervisor does for its
//   halted guests: each sleep that turns out to have been short makes the window longer, up to what
//   is allowed, and each long wait makes it shorter. Who waits for a person polls for nothing.
//
//   This is the pure part; io/loop.h waits.

#include <algorithm>
#include <chrono>

#include "zt/base/time.h"

namespace zt::io {

class BusyPoll {
 public:
  // The first window. Shorter ones do not reach from a request to its answer.
  static constexpr Duration kWindowMin = std::chrono::microseconds(20);

  // allow sets the longest window; zero: none at all.
  void allow(Duration window_max) {
    window_max_ = window_max;
    window_ = std::min(window_, window_max);
  }
  [[nodiscard]] Duration window_max() const { return window_max_; }

  // window is how long to poll before the next sleep.
  [[nodiscard]] Duration window() const { return window_; }

  // slept says that polling, if any, was in vain: the wait took `waited` from its begin.
  void slept(Duration waited) {
    if (waited <= window_max_) {
      window_ = std::min(std::max(window_ * 2, kWindowMin), window_max_);
    } else {
      window_ = window_ >= kWindowMin * 2 ? window_ / 2 : Duration::zero();
    }
  }

 private:
  Duration window_max_{};
  Duration window_{};
};

}  // namespace zt::io
