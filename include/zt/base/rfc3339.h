// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/rfc3339.h: wall-clock time as text, always in UTC: "2026-11-22T09:30:00.250Z".

#include <optional>
#include <string>
#include <string_view>

#include "zt/base/time.h"

namespace zt {

// to_rfc3339 writes milliseconds only when they are not zero. A time outside the years 0000 to 9999
// is written as the nearest one inside.
[[nodiscard]] std::string to_rfc3339(UnixTime time);

// parse_rfc3339 accepts a date-time of RFC 3339 section 5.6 with any offset; fractions beyond
// milliseconds are cut. A leap second (23:59:60 in UTC) is read as the second before it. A time
// outside the years 0000 to 9999 in UTC is refused.
[[nodiscard]] std::optional<UnixTime> parse_rfc3339(std::string_view text);

// parse_duration accepts "90s", "15m", "12h", "30d", "250ms": at most twelve digits and one unit,
// above zero, at most ten years (3650 days).
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

}  // namespace zt
