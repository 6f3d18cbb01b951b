// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/json.h: JSON that two readers cannot read differently (RFC 8259), for every module.
//
// Theory of operation
//   RFC 8259 leaves open what an object with a repeated member means; text that grants access must
//   not. A text is parsed only if it is one value in UTF-8, no object repeats a member and nothing
//   nests deeper than asked. Signed objects are then read by the functions at the end, which know
//   exactly which members there may be.
//   The library's class is compiled once, here; a source that included it by itself would compile
//   all of it again.
//
// Threats  A member that is there twice, a NUL or a byte order mark that one reader skips, nesting
//          that overflows a stack: each is an error.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/time.h"

extern template class nlohmann::basic_json<>;

namespace zt::wire {

using Json = nlohmann::json;

inline constexpr std::size_t kJsonDepthMax = 16;
inline constexpr std::uint64_t kJsonIntegerMax =
    (std::uint64_t{1} << 53U) - 1;  // RFC 8259 section 6.

struct JsonError {
  enum class Kind : std::uint8_t { not_json, too_deep, repeated_member };

  Kind kind = Kind::not_json;
  std::string member;  // Its name, if it is repeated.
};

// parse_json returns the value of exactly one JSON text.
[[nodiscard]] std::expected<Json, JsonError> parse_json(std::string_view text,
                                                        std::size_t depth_max = kJsonDepthMax);

// parse_json_object returns the object that `text` is, or null.
[[nodiscard]] Json parse_json_object(std::string_view text);

// json_text writes without white space; what is not UTF-8 in a string becomes U+FFFD.
[[nodiscard]] std::string json_text(const Json& value);

// pretty_json_text does the same for people: one member a line, indented by two spaces.
[[nodiscard]] std::string pretty_json_text(const Json& value);

// ObjectText writes a flat object without making a value of it first: for what is written thousands
// of times a second.
class ObjectText {
 public:
  // add writes a member. `name` is of letters, digits and underscores, and new to the object.
  void add(std::string_view name, std::string_view value);
  void add(std::string_view name, std::uint64_t value);
  // take returns the object's text, and starts another.
  [[nodiscard]] std::string take();

 private:
  void begin(std::string_view name);

  std::string text_;
};

// has_exactly tells whether `value` is an object with all of `names` and nothing else.
[[nodiscard]] bool has_exactly(const Json& value, std::initializer_list<std::string_view> names);

// The next four return a member of an object if it is there and of that kind. The view lives as
// long as the object.
[[nodiscard]] std::optional<std::string_view> text_member(const Json& object, const char* name);
[[nodiscard]] std::optional<std::uint64_t> integer_member(const Json& object, const char* name);
[[nodiscard]] std::optional<bool> boolean_member(const Json& object, const char* name);
[[nodiscard]] const Json* array_member(const Json& object, const char* name, std::size_t size_max);

// text_or_empty returns a copy of a member that is a string, or an empty text.
[[nodiscard]] std::string text_or_empty(const Json& object, const char* name);

// time_member returns a NumericDate (RFC 7519 section 2) in whole seconds.
[[nodiscard]] std::optional<UnixTime> time_member(const Json& object, const char* name);

}  // namespace zt::wire
