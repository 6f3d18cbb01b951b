// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/query.h: what stands behind a request's path: the query's parameters, and path segments.
//
// Theory of operation
//   A request's `path` member is split once into path and query. A query is a list of name=value
//   pairs in the encoding of forms: percent-encoding, and `+` for a space.
//
// Limits   kParametersMax parameters.
// Threats  Two readers of one query must see the same: a name that occurs twice is refused, and so
//          are malformed encodings, encoded control characters and NUL.

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zt::http {

inline constexpr std::size_t kParametersMax = 64;

enum class QueryError : std::uint8_t {
  malformed,  // A percent sign without two digits, or an encoded control character. Answer 400.
  repeated,   // One name twice. Answer 400.
  too_many,   // More than kParametersMax. Answer 400.
};
[[nodiscard]] std::string_view to_text(QueryError error);

// Query maps names to values, both decoded. A name without `=` has an empty value.
class Query {
 public:
  // parse reads the text behind the question mark; empty text and empty pairs give no parameters.
  [[nodiscard]] static std::expected<Query, QueryError> parse(std::string_view text);

  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, std::string, std::less<>>& parameters() const {
    return parameters_;
  }

 private:
  std::map<std::string, std::string, std::less<>> parameters_;
};

// Target is a request's path member, taken apart but not decoded. The views are of the argument.
struct Target {
  std::string_view path;
  std::string_view query;  // Without the question mark.
};
[[nodiscard]] Target split_target(std::string_view path_and_query);

// split_path decodes the segments of an absolute path: "/api/v1/a%2Fb" gives "api", "v1", "a/b". It
// returns nothing for a path that does not begin with a slash, has an empty segment (but a single
// slash at the end is ignored), a segment that is "." or "..", or a malformed encoding. "/" has
// none.
[[nodiscard]] std::optional<std::vector<std::string>> split_path(std::string_view path);

// percent_decode decodes %XX; it returns nothing for malformed encodings and for control characters
// (below 0x20, and 0x7f), encoded or not. `+` stays unless `is_form`, in which case it means a
// space.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text,
                                                        bool is_form = false);

// percent_encode encodes everything but the unreserved characters of RFC 3986 section 2.3, so that
// the text may stand as one path segment, parameter name or value.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace zt::http
