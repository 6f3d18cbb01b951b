// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/json.h: JSON that two readers cannot read differently. Included by the sources of grant
// only.
//
// Theory of operation
//   RFC 8259 leaves open what an object with a repeated member means; signed text must not. A text
//   is parsed only if no object repeats a member and nothing nests deeper than kJsonDepthMax. What
//   is taken out of it is taken through an Object, which knows exactly which members there may be.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/time.h"

namespace zt::grant {

using Json = nlohmann::json;

inline constexpr int kJsonDepthMax = 16;
inline constexpr std::uint64_t kJsonIntegerMax =
    (std::uint64_t{1} << 53U) - 1;  // RFC 8259 section 6.

// parse_json returns the value of exactly one JSON text, or nothing.
[[nodiscard]] std::optional<Json> parse_json(std::string_view text);

// to_text writes without white space; what is not UTF-8 in a string becomes U+FFFD.
[[nodiscard]] std::string to_text(const Json& value);

// has_exactly tells whether `value` is an object with all of `names` and nothing else.
[[nodiscard]] bool has_exactly(const Json& value, std::initializer_list<std::string_view> names);

// The next four return a member of an object if it is there and of that kind. The view lives as
// long as the object.
[[nodiscard]] std::optional<std::string_view> text_member(const Json& object, const char* name);
[[nodiscard]] std::optional<std::uint64_t> integer_member(const Json& object, const char* name);
[[nodiscard]] std::optional<bool> boolean_member(const Json& object, const char* name);
[[nodiscard]] const Json* array_member(const Json& object, const char* name, std::size_t size_max);

// time_member returns a NumericDate (RFC 7519 section 2) in whole seconds.
[[nodiscard]] std::optional<UnixTime> time_member(const Json& object, const char* name);

}  // namespace zt::grant
