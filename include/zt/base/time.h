// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/time.h: the two notions of time in the cores, neither of which can be asked for.
//
// Theory of operation
//   Deadlines inside a process are an `Instant` of a monotonic clock. Promises between machines (a
//   grant's `exp`, a certificate's `notAfter`) are a `UnixTime`. Both clocks have no now(): a core
//   is told the time as one `Now`, and asking does not compile. Only src/io reads the machine's
//   clocks.

#include <chrono>
#include <compare>
#include <cstdint>

namespace zt {

using Duration = std::chrono::nanoseconds;

// MonotonicClock deliberately has no now(); see above.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;  // NOLINT(readability-identifier-naming): of std.
};

// WallClock counts milliseconds since 1970-01-01T00:00:00Z without leap seconds. No now() either.
struct WallClock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<WallClock>;
  static constexpr bool is_steady = false;  // NOLINT(readability-identifier-naming): of std.
};

using Instant = MonotonicClock::time_point;
using UnixTime = WallClock::time_point;

// Now is the same moment on both clocks. `instant` never goes backwards between two calls on one
// engine; `unix_time` may jump, because operators and NTP set it.
struct Now {
  Instant instant;
  UnixTime unix_time;

  friend bool operator==(const Now&, const Now&) = default;
};

// unix_seconds returns whole seconds since 1970 (a JWT NumericDate, RFC 7519 section 2), rounded
// down.
[[nodiscard]] constexpr std::int64_t unix_seconds(UnixTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

// from_unix_seconds is the inverse of unix_seconds. `seconds` must be within ±10^11.
[[nodiscard]] constexpr UnixTime from_unix_seconds(std::int64_t seconds) {
  return UnixTime(std::chrono::seconds(seconds));
}

// earlier_of returns the earlier of two optional deadlines; an absent one is "never".
template <class OptionalInstant>
[[nodiscard]] constexpr OptionalInstant earlier_of(const OptionalInstant& a,
                                                   const OptionalInstant& b) {
  if (!a) return b;
  if (!b) return a;
  return *b < *a ? b : a;
}

}  // namespace zt
