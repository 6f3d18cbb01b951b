// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/problem.h: why a request failed, in the form of RFC 9457 (application/problem+json).
//
// Theory of operation
//   The server writes a Problem as the body of every response with a status from 400 on; the client
//   reads it back and shows `detail`. Two extension members say which policy rule decided and under
//   which id the decision is recorded.
//
// Limits   kProblemSizeMax bytes are read; strings are cut to kProblemTextMax when they are
// written. Threats  What was read comes from the peer: show it, never act on it.

#include <optional>
#include <string>
#include <string_view>

#include "zt/http/message.h"

namespace zt::http {

inline constexpr std::size_t kProblemSizeMax = 64 << 10;
inline constexpr std::size_t kProblemTextMax = 4 << 10;
inline constexpr std::string_view kProblemContentType = "application/problem+json";

struct Problem {
  std::string type = "about:blank";  // A URI reference; "about:blank" means: see the status.
  std::string title;                 // Short, the same for each type. Empty: the status's phrase.
  int status = 500;                  // 400 to 599.
  std::string detail;                // For a person: what happened this time. May be empty.
  std::string instance;              // A URI reference of this occurrence. May be empty.
  std::string rule;                  // Extension: id of the rule that decided. May be empty.
  std::string decision;              // Extension: id of the recorded decision. May be empty.

  friend bool operator==(const Problem&, const Problem&) = default;
};

// to_json writes the members that are not empty. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string to_json(const Problem& problem);

// parse_problem reads the body of a response; nothing if it is no JSON object, too large or too
// deep. Members of a wrong type and unknown members are skipped (RFC 9457 section 3.1); without a
// status from 400 to 599 it is `status`, the response's own.
[[nodiscard]] std::optional<Problem> parse_problem(std::string_view body, int status);

// response_of returns the response that goes with to_json(problem) as its body.
[[nodiscard]] Response response_of(const Problem& problem);

}  // namespace zt::http
