// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/grant_answer.h: the controller's answer to a request for a grant, as the client's core takes
// it.

#include <string>
#include <string_view>
#include <variant>

#include "zt/base/time.h"
#include "zt/client/engine.h"

namespace zt::node {

using GrantAnswer =
    std::variant<client::GrantIssued, client::GrantDenied, client::GrantUnavailable>;

// parse_grant_answer reads status and body of POST /api/v1/grants. 4xx is a denial, but for 408 and
// 429, which like 5xx and a malformed body mean that there is no answer of use. `now` is the wall
// clock.
[[nodiscard]] GrantAnswer parse_grant_answer(int status, std::string_view body, UnixTime now);

}  // namespace zt::node
