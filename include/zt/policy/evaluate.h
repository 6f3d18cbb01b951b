// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/evaluate.h: may this subject open this flow? Pure, total, and with a reason.
//
// Theory of operation
//   A flow is allowed if its subject and its resource are known and enabled, the resource offers
//   the port, no rule that speaks about the flow denies it, and at least one that speaks allows it.
//   Everything else is denied: an explicit deny wins over any allow, and silence is a denial.
//
//   Where a target belongs to several resources equally (see resource.h), it is allowed if one of
//   them is; each is a door with rules of its own. The denial that is told is the first one's.
//
// Time: an allowed flow stays allowed until `valid_until`, unless the policies change: that is when
//   the last of the allowing rules ends. Rules only end, so no denial turns into an allow with time
//   except where a denying rule ends; ask again then.
// Cost: proportional to resources and rules.
// Threats: a disabled or unknown subject learns nothing about resources. A decision names a
// resource
//   that its subject may not know of: explain_to_subject in explain.h is what the subject is told.

#include <cstdint>
#include <optional>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"
#include "zt/policy/resource.h"
#include "zt/policy/rule.h"

namespace zt::policy {

struct Request {
  SubjectId subject;
  Target target;
  std::optional<ResourceId>
      resource;  // Judge this resource only: a grant that exists is judged anew.
};

// Reason says what decided. The order is the order of judgement.
enum class Reason : std::uint8_t {
  unknown_subject,
  subject_disabled,
  no_resource,     // The target belongs to no resource: it is none of zt's business.
  other_resource,  // The target belongs to others than `Request::resource`.
  resource_disabled,
  port_not_offered,  // The resource has other ports or protocols.
  denied_by_rule,
  allowed_by_rule,
  rule_expired,  // No rule allows the flow; one would have, until its date.
  no_rule,
};

struct Decision {
  Reason reason = Reason::no_rule;
  ResourceId resource;  // What was judged; empty before a resource was found.
  RuleId rule;          // The rule that decided (or expired); empty where none did.
  UnixTime valid_until = UnixTime::min();  // If allowed, and for ever: UnixTime::max().

  [[nodiscard]] bool is_allowed() const { return reason == Reason::allowed_by_rule; }
  friend bool operator==(const Decision&, const Decision&) = default;
};

// evaluate judges `request` at the moment `now`. Of several rules with the deciding effect, the one
// that lasts longest is named, and of those the one with the lowest id.
[[nodiscard]] Decision evaluate(const PolicySet& policies, const Request& request, UnixTime now);

// reachable_ports returns the ports of `resource` that `subject` may reach at `now`, in ascending
// order without overlap: exactly those for which evaluate allows a target that belongs to this
// resource alone. Clients are shown what has any.
[[nodiscard]] std::vector<PortRange> reachable_ports(const PolicySet& policies,
                                                     const SubjectId& subject,
                                                     const ResourceId& resource, Protocol protocol,
                                                     UnixTime now);

}  // namespace zt::policy
