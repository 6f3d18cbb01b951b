// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/flow.h"

#include <algorithm>
#include <vector>

namespace zt::policy {

FlowMatch match_flow(std::span<const Resource> own, const ResourceId& granted,
                     const Target& target) {
  const auto found = std::ranges::find_if(
      own, [&granted](const Resource& resource) { return resource.id == granted; });
  if (found == own.end()) return {.verdict = FlowVerdict::unknown_resource};
  const Resource& resource = *found;
  const auto because = [&resource](FlowVerdict verdict) {
    return FlowMatch{.verdict = verdict, .resource = &resource};
  };
  const std::vector<const Resource*> matches = best_matches(own, target);
  if (matches.empty()) return because(FlowVerdict::no_resource);
  if (std::ranges::find(matches, &resource) == matches.end()) {
    return because(FlowVerdict::other_resource);
  }
  if (!resource.is_enabled) return because(FlowVerdict::resource_disabled);
  if (!offers(resource, target.protocol, target.port)) {
    return because(FlowVerdict::port_not_offered);
  }
  return because(FlowVerdict::allowed);
}

}  // namespace zt::policy
