// SPDX-License-Identifier: Apache-2.0
#include "zt/base/rfc3339.h"

#include <algorithm>
#include <cstdint>

namespace zt {
namespace {

using std::chrono::milliseconds;

constexpr UnixTime kFirst =
    UnixTime(std::chrono::sys_days(std::chrono::year(0) / 1 / 1).time_since_epoch());
constexpr UnixTime kLast =
    UnixTime(std::chrono::sys_days(std::chrono::year(10000) / 1 / 1).time_since_epoch()) -
    milliseconds(1);

// take_number removes exactly `digits` decimal digits from the front of `text`.
std::optional<unsigned> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  unsigned value = 0;
  for (const char character : text.substr(0, digits)) {
    if (character < '0' || character > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(character - '0');
  }
  text.remove_prefix(digits);
  return value;
}

// take removes one character if it is among `wanted`.
bool take(std::string_view& text, std::string_view wanted) {
  if (text.empty() || wanted.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::chrono::sys_days> take_date(std::string_view& text) {
  const auto year = take_number(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(*month), std::chrono::day(*day));
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

// TimeOfDay is partial-time of RFC 3339 section 5.6.
struct TimeOfDay {
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;  // 60 for a leap second.
  unsigned millisecond = 0;
};

std::optional<TimeOfDay> take_time(std::string_view& text) {
  const auto hour = take_number(text, 2);
  if (!hour || *hour > 23 || !take(text, ":")) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || *minute > 59 || !take(text, ":")) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second || *second > 60) return std::nullopt;
  TimeOfDay time{.hour = *hour, .minute = *minute, .second = *second};
  if (!take(text, ".")) return time;
  unsigned weight = 100;
  std::size_t digits = 0;
  while (const auto digit = take_number(text, 1)) {
    time.millisecond += *digit * weight;
    weight /= 10;
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  return time;
}

std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return std::chrono::minutes(0);
  const bool is_west = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::chrono::minutes offset(static_cast<int>((*hours * 60) + *minutes));
  return is_west ? -offset : offset;
}

void append_padded(std::string& text, unsigned value, std::size_t width) {
  const std::string digits = std::to_string(value);
  text.append(width - std::min(width, digits.size()), '0').append(digits);
}

}  // namespace

std::string to_rfc3339(UnixTime time) {
  const milliseconds since_epoch = std::clamp(time, kFirst, kLast).time_since_epoch();
  const auto day_count = std::chrono::floor<std::chrono::days>(since_epoch);
  const std::chrono::year_month_day date{std::chrono::sys_days(day_count)};
  const std::chrono::hh_mm_ss clock(since_epoch - day_count);
  std::string text;
  append_padded(text, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  append_padded(text.append("-"), static_cast<unsigned>(date.month()), 2);
  append_padded(text.append("-"), static_cast<unsigned>(date.day()), 2);
  append_padded(text.append("T"), static_cast<unsigned>(clock.hours().count()), 2);
  append_padded(text.append(":"), static_cast<unsigned>(clock.minutes().count()), 2);
  append_padded(text.append(":"), static_cast<unsigned>(clock.seconds().count()), 2);
  const auto fraction = static_cast<unsigned>(clock.subseconds().count());
  if (fraction != 0) append_padded(text.append("."), fraction, 3);
  return text.append("Z");
}

std::optional<UnixTime> parse_rfc3339(std::string_view text) {
  const auto date = take_date(text);
  if (!date || !take(text, "Tt")) return std::nullopt;
  const auto clock = take_time(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  const bool is_leap = clock->second == 60;
  const UnixTime minute = UnixTime(date->time_since_epoch()) + std::chrono::hours(clock->hour) +
                          std::chrono::minutes(clock->minute) - *offset;
  const UnixTime time = minute + std::chrono::seconds(is_leap ? 59 : clock->second) +
                        milliseconds(clock->millisecond);
  if (time < kFirst || time > kLast) return std::nullopt;
  const auto time_of_day =
      minute.time_since_epoch() - std::chrono::floor<std::chrono::days>(minute.time_since_epoch());
  if (is_leap && time_of_day != std::chrono::hours(23) + std::chrono::minutes(59)) {
    return std::nullopt;
  }
  return time;
}

std::optional<Duration> parse_duration(std::string_view text) {
  constexpr std::size_t kDigitsMax = 12;
  constexpr milliseconds kMax = std::chrono::hours(24 * 3650);
  std::int64_t count = 0;
  std::size_t digits = 0;
  while (const auto digit = take_number(text, 1)) {
    if (++digits > kDigitsMax) return std::nullopt;
    count = count * 10 + *digit;
  }
  std::int64_t unit_in_milliseconds = 0;
  if (text == "ms") unit_in_milliseconds = 1;
  if (text == "s") unit_in_milliseconds = 1000;
  if (text == "m") unit_in_milliseconds = std::int64_t{60} * 1000;
  if (text == "h") unit_in_milliseconds = std::int64_t{3600} * 1000;
  if (text == "d") unit_in_milliseconds = std::int64_t{24} * 3600 * 1000;
  if (digits == 0 || count == 0 || unit_in_milliseconds == 0) return std::nullopt;
  if (count > kMax.count() / unit_in_milliseconds) return std::nullopt;
  return milliseconds(count * unit_in_milliseconds);
}

}  // namespace zt
