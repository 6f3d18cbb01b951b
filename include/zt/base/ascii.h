// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/ascii.h: upper and lower case of ASCII, whatever the locale.
//
// Theory of operation
//   What protocols compare without regard to case is ASCII. All bytes but A to Z stay what they
//   are, therefore UTF-8 stays UTF-8.
//
// Threats  Not for secrets: the comparison takes the time it takes.

#include <algorithm>
#include <string>
#include <string_view>

namespace zt {

[[nodiscard]] constexpr bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

[[nodiscard]] constexpr char to_lower(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

[[nodiscard]] inline std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = to_lower(c);
  return lower;
}

[[nodiscard]] constexpr bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return to_lower(x) == to_lower(y); });
}

}  // namespace zt
