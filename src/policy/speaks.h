// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/speaks.h: what a rule is about, one dimension each, and whether it is over. Effect and
// is_enabled are not looked at.

#include <cstdint>

#include "zt/policy/rule.h"

namespace zt::policy {

// speaks_of tells whether the rule names this subject: directly, by one of its groups, or everyone.
[[nodiscard]] bool speaks_of(const AccessRule& rule, const Subject& subject);

// speaks_of tells whether the rule names this resource.
[[nodiscard]] bool speaks_of(const AccessRule& rule, const ResourceId& resource);

// speaks_of tells whether the rule is about this port of this protocol.
[[nodiscard]] bool speaks_of(const AccessRule& rule, Protocol protocol, std::uint16_t port);

// is_over tells whether the rule has ended.
[[nodiscard]] bool is_over(const AccessRule& rule, UnixTime now);

}  // namespace zt::policy
