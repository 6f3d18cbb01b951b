// SPDX-License-Identifier: Apache-2.0
#include "policy/speaks.h"

#include <algorithm>

namespace zt::policy {

bool speaks_of(const AccessRule& rule, const Subject& subject) {
  return rule.is_for_everyone || rule.subjects.contains(subject.id) ||
         std::ranges::any_of(subject.groups,
                             [&rule](const GroupId& group) { return rule.groups.contains(group); });
}

bool speaks_of(const AccessRule& rule, const ResourceId& resource) {
  return rule.is_for_everything || rule.resources.contains(resource);
}

bool speaks_of(const AccessRule& rule, Protocol protocol, std::uint16_t port) {
  const bool has_protocol =
      rule.protocols.empty() || std::ranges::find(rule.protocols, protocol) != rule.protocols.end();
  const bool has_port =
      rule.ports.empty() || std::ranges::any_of(rule.ports, [port](const PortRange& range) {
        return range.contains(port);
      });
  return has_protocol && has_port;
}

bool is_over(const AccessRule& rule, UnixTime now) {
  return rule.valid_until && now >= *rule.valid_until;
}

}  // namespace zt::policy
