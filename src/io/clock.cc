// SPDX-License-Identifier: Apache-2.0
#include "io/clock.h"

#include <time.h>

#include "zt/base/assert.h"

namespace zt::io {
namespace {

Duration read(clockid_t clock) {
  timespec time{};
  const int result = ::clock_gettime(clock, &time);
  ZT_ASSERT(result == 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

Instant read_monotonic_clock() {
  return Instant(read(CLOCK_BOOTTIME));
}

Now read_clocks() {
  const auto wall = std::chrono::floor<WallClock::duration>(read(CLOCK_REALTIME));
  return Now{.instant = read_monotonic_clock(), .unix_time = UnixTime(wall)};
}

}  // namespace zt::io
