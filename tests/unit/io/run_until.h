// SPDX-License-Identifier: Apache-2.0
#pragma once
// run_until.h: tests turn a real loop until what they wait for has happened.

#include <functional>

#include "io/loop.h"

namespace zt::io {

// run_until turns `loop` until `is_done` or ten seconds have passed; it returns the last is_done().
// The limit is for broken code: no test waits for it.
inline bool run_until(Loop& loop, const std::function<bool()>& is_done) {
  bool is_late = false;
  Timer watchdog(loop, [&] { is_late = true; });
  watchdog.arm(loop.now().instant + std::chrono::seconds(10));
  while (!is_done() && !is_late) (void)loop.turn();
  return is_done();
}

}  // namespace zt::io
