// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/notice.h: what a node wants people to know. Cores do not log; they hand notices to the
// shell.
//
// Theory of operation
//   The message is a constant that can be searched for; what varies is in the fields. Levels: debug
//   is a decision and may hold addresses and names; info is a change that an operator cares about;
//   warn asks somebody to look; error says that the role cannot go on. No addresses or names of
//   people above debug.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zt::node {

enum class NoticeLevel : std::uint8_t { debug, info, warn, error };

struct Notice {
  NoticeLevel level = NoticeLevel::info;
  std::string_view message;  // A literal.
  std::vector<std::pair<std::string_view, std::string>> fields;
};

}  // namespace zt::node
