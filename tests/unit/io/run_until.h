// SPDX-License-Identifier: Apache-2.0
#pragma once
// run_until.h: tests turn a real loop until what they wait for has happened.

#include <functional>

#include "io/loop.h"

namespace zt::io {

// run_until turns `loop` until `is_done` says so; false if that took a minute. The limit is for
// broken code: no test waits for it. A tick wakes the loop for what it does not watch itself, the
// far ends that a test holds in its own hands.
inline bool run_until(Loop& loop, const std::function<bool()>& is_done) {
  bool is_late = false;
  Timer watchdog(loop, [&] { is_late = true; });
  watchdog.arm(loop.now().instant + std::chrono::seconds(60));
  Timer tick(loop, [&] { tick.arm(loop.now().instant + std::chrono::milliseconds(1)); });
  tick.arm(loop.now().instant);
  while (!is_late) {
    if (is_done()) return true;
    (void)loop.turn();
  }
  return false;
}

}  // namespace zt::io
