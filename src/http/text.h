// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/text.h: the character classes of HTTP (RFC 9110 section 5.6), in ASCII whatever the locale.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "zt/base/ascii.h"
#include "zt/http/message.h"

namespace zt::http {

[[nodiscard]] constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
[[nodiscard]] constexpr bool is_blank(char c) {
  return c == ' ' || c == '\t';
}
[[nodiscard]] constexpr bool is_alpha(char c) {
  return is_upper(c) || (c >= 'a' && c <= 'z');
}

// hex_value returns 0 to 15, or nothing if `c` is no hexadecimal digit.
[[nodiscard]] constexpr std::optional<unsigned> hex_value(char c) {
  if (is_digit(c)) return static_cast<unsigned>(c - '0');
  const char lower = to_lower(c);
  if (lower >= 'a' && lower <= 'f') return static_cast<unsigned>(lower - 'a') + 10U;
  return std::nullopt;
}

// is_token tells whether `text` is a token (RFC 9110 section 5.6.2): a method or a field name.
[[nodiscard]] constexpr bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_alpha(c) || is_digit(c) || kOthers.find(c) != std::string_view::npos;
  });
}

// is_field_name tells whether `text` may stand in Field::name.
[[nodiscard]] constexpr bool is_field_name(std::string_view text) {
  return is_token(text) && std::ranges::none_of(text, is_upper);
}

// is_field_value tells whether `text` may stand in Field::value: visible characters, spaces, tabs
// and bytes above 0x7f (RFC 9110 section 5.5), no white space at either end.
[[nodiscard]] constexpr bool is_field_value(std::string_view text) {
  if (!text.empty() && (is_blank(text.front()) || is_blank(text.back()))) return false;
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

// is_target tells whether `text` may stand on a request line: printable ASCII, no space, no
// fragment.
[[nodiscard]] constexpr bool is_target(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != '#'; });
}

// trim drops spaces and tabs (OWS) at both ends.
[[nodiscard]] constexpr std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// parse_content_length accepts one run of 1 to 18 digits: no sign, no list, no white space.
[[nodiscard]] constexpr std::optional<std::uint64_t> parse_content_length(std::string_view text) {
  if (text.empty() || text.size() > 18 || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) value = value * 10 + static_cast<std::uint64_t>(c - '0');
  return value;
}

// is_credential_name tells whether fields of that name are to be marked sensitive.
[[nodiscard]] constexpr bool is_credential_name(std::string_view name) {
  return name == "authorization" || name == "proxy-authorization" || name == "cookie";
}

// count_of returns how many fields have that lower-case name.
[[nodiscard]] inline std::size_t count_of(const Fields& fields, std::string_view name) {
  return static_cast<std::size_t>(
      std::ranges::count_if(fields, [&](const Field& field) { return field.name == name; }));
}

}  // namespace zt::http
