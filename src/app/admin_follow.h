// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_follow.h: a log of the controller as it grows, for `--follow`.
//
// Theory of operation
//   The newest entries are asked for again and again; what has a higher sequence than the last one
//   printed is new. It is printed in the order in which it came: one line each, or one JSON object
//   a line. A controller that is away for a while is waited for. SIGINT and SIGTERM end it between
//   two questions, with success.
// Limits   kCatchUpMax entries between two questions; older ones are left out.

#include <cstdint>
#include <string>

#include "app/admin_list.h"

namespace zt::app {

struct FollowedLog {
  std::string path;       // "events".
  std::string query;      // Encoded, without question mark.
  std::size_t limit = 0;  // How many old entries come first.
  ListView view;
};

// follow returns when it is told to end, or with what the controller refuses.
[[nodiscard]] Done follow(const AdminSession& session, const FollowedLog& log, bool is_json);

// newer_than returns the entries of a page, which is newest first, whose sequence is above `last`:
// the oldest first.
[[nodiscard]] wire::Json newer_than(const wire::Json& page, std::uint64_t last);

}  // namespace zt::app
