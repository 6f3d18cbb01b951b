// SPDX-License-Identifier: Apache-2.0
// What people see of the engine.
#include <algorithm>
#include <tuple>

#include "zt/client/engine.h"

namespace zt::client {

Status Engine::status(const Now& now) const {
  Status status{.is_controller_up = is_controller_up_,
                .controller_reason = controller_reason_,
                .view_revision = view_.revision,
                .resources = {},
                .grants = {},
                .connectors = {},
                .relays = {},
                .flows_waiting = flows_.size() - open_count_,
                .flows_open = open_count_,
                .flows_opened = flows_opened_,
                .flows_refused = flows_refused_,
                .bytes_up = bytes_up_,
                .bytes_down = bytes_down_};
  std::map<ResourceId, std::size_t> flow_counts;
  for (const auto& [key, flow] : flows_) {
    if (flow.state == State::open) ++flow_counts[flow.resource];
  }
  for (const auto& [id, entry] : view_.resources) {
    const auto decision = last_decisions_.find(id);
    status.resources.push_back(
        {.id = id,
         .name = entry.name,
         .address = entry.address,
         .tcp = entry.tcp,
         .udp = entry.udp,
         .aliases = entry.aliases,
         .flow_count = flow_counts[id],
         .path = entry.path,
         .last_decision = decision == last_decisions_.end() ? "" : decision->second});
  }
  std::ranges::sort(status.resources, {}, [](const ResourceStatus& resource) {
    return std::tie(resource.name, resource.id.text);
  });
  for (const auto& [target, key] : accesses_by_target_) {
    const Access& access = accesses_.find(key)->second;
    if (!access.grant) continue;
    status.grants.push_back({.id = access.grant->id,
                             .host = to_text(access.host),
                             .protocol = access.protocol,
                             .resource_name = access.grant->resource_name,
                             .expires = access.grant->expires,
                             .left = access.expires - now.instant,
                             .flow_count = access.flows.size()});
  }
  std::ranges::sort(status.grants, {}, [](const GrantStatus& grant) {
    return std::tie(grant.host, grant.protocol, grant.id.text);
  });
  for (const auto& [key, peer] : peers_) {
    status.connectors.push_back({.key = key,
                                 .id = peer.connector,
                                 .name = peer.name,
                                 .relay = peer.relay,
                                 .path = peer.path,
                                 .is_ready = peer.is_ready,
                                 .is_silent = peer.hearing == Hearing::silent,
                                 .is_draining = peer.is_draining,
                                 .flow_count = peer.flows.size()});
  }
  for (const auto& [id, relay] : relays_) status.relays.push_back({id, relay.name});
  return status;
}

}  // namespace zt::client
