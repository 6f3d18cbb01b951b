// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/decimal.h: whole numbers in the one spelling that we accept.
//
// Theory of operation
//   A number has exactly one text: digits, without sign, leading zeros or white space. So no two
//   readers take one text for different numbers, as "010" is by those who know octal.

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

namespace zt {

// parse_decimal returns a number from 0 to `max`, or nothing.
template <std::integral Number>
[[nodiscard]] constexpr std::optional<Number> parse_decimal(
    std::string_view text, Number max = std::numeric_limits<Number>::max()) {
  if (text.empty() || (text.front() == '0' && text.size() > 1)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char character : text) {
    if (character < '0' || character > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(character - '0');
    if (std::cmp_less(max, digit)) return std::nullopt;
    if (value > (static_cast<std::uint64_t>(max) - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return static_cast<Number>(value);
}

}  // namespace zt
