// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/clock.h: the only place where zt asks the machine what time it is.
//
// Theory of operation
//   An Instant is CLOCK_BOOTTIME: it never goes backwards and it counts the time that a laptop
//   sleeps, so that connections which died meanwhile are seen as dead on waking up. A UnixTime is
//   CLOCK_REALTIME. Each costs some 20 ns (no system call); read once per batch, not per packet.

#include "zt/base/time.h"

namespace zt::io {

// read_monotonic_clock returns the time since the machine started, sleep included.
[[nodiscard]] Instant read_monotonic_clock();

// read_clocks returns one moment on both clocks.
[[nodiscard]] Now read_clocks();

}  // namespace zt::io
