// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/flow.h: the connector's own key to the door.
//
// Theory of operation
//   A grant names a resource. A connector carries the flow only if, by its own configuration, the
//   target belongs to that very resource, and the resource is enabled and offers the port. The
//   controller's word about the subject is in the grant; whether the grant covers the target is
//   judged by module grant; both must say yes.

#include <cstdint>
#include <span>

#include "zt/base/ids.h"
#include "zt/policy/resource.h"

namespace zt::policy {

enum class FlowVerdict : std::uint8_t {
  allowed,
  unknown_resource,  // The own configuration does not have the granted resource.
  no_resource,       // The target belongs to no resource of the own configuration.
  other_resource,    // The target belongs to others than the granted one.
  resource_disabled,
  port_not_offered,
};

struct FlowMatch {
  FlowVerdict verdict = FlowVerdict::unknown_resource;
  const Resource* resource = nullptr;  // The granted one, if known; borrowed.

  [[nodiscard]] bool is_allowed() const { return verdict == FlowVerdict::allowed; }
};

// match_flow judges a flow to `target` under a grant for `granted`.
[[nodiscard]] FlowMatch match_flow(std::span<const Resource> own, const ResourceId& granted,
                                   const Target& target);

}  // namespace zt::policy
