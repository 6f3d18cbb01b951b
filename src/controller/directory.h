// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/directory.h: everything about a tenant that decides about access, in memory.
//
// Theory of operation
//   A Directory is read from the store in one go and never changes: after a change there is a new
//   one, with a new revision. What a node may know is a pure function of it (view_of), so that a
//   snapshot is a view and a delta is the difference of two views. Time is part of it: views are as
//   of `as_of`, and a new directory is due at `next_change`, when a rule or a key ends.
//
// Cost     Loading reads every object of the tenant; a change of anything costs that much.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "zt/controller/store.h"
#include "zt/grant/node_config.h"
#include "zt/policy/evaluate.h"

namespace zt::controller {

using View = std::map<ResourceId, grant::ResourceEntry>;

struct Directory {
  TenantId tenant;
  std::int64_t revision = 0;
  UnixTime as_of;
  policy::PolicySet policies;
  std::map<ResourceId, PathSettings> own_paths;  // Of resources that have some.
  std::map<NetworkId, Network> networks;
  std::map<ConnectorId, Connector> connectors;
  std::map<RelayId, Relay> relays;
  std::map<DeviceId, Device> devices;
  std::map<KeyId, ServiceAccountKey> keys;
  std::optional<UnixTime> next_change;  // When time alone changes a view; never before `as_of`.

  // load reads the tenant as it is at `now`.
  [[nodiscard]] static StoreResult<Directory> load(Store& store, const TenantId& tenant,
                                                   UnixTime now);

  // resolve_path returns what settings come to with the relays that there are.
  [[nodiscard]] PathRule resolve_path(const PathSettings& settings) const;

  // network_view is what a connector of `network` carries, disabled resources included.
  [[nodiscard]] View network_view(const NetworkId& network) const;

  // subject_view is what `subject` is shown: enabled resources of which it may reach any port.
  [[nodiscard]] View subject_view(const SubjectId& subject) const;

  // complaint_about_device returns why the device may not act for its subject at `now`, or nothing.
  [[nodiscard]] std::optional<std::string> complaint_about_device(const Device& device,
                                                                  UnixTime now) const;

  // blocked_certificates returns whom no relay shall let bind, whatever token it shows: connectors
  // that are disabled, and devices that may not act for their subject at `now`. In order.
  [[nodiscard]] std::vector<Digest> blocked_certificates(UnixTime now) const;

  // device_valid_until returns when the device will be signed out by time; nothing: never.
  [[nodiscard]] std::optional<UnixTime> device_valid_until(const Device& device) const;

  // complaint_about_grant judges a grant again and returns why it may not live on, or nothing.
  [[nodiscard]] std::optional<std::string> complaint_about_grant(const IssuedGrant& grant,
                                                                 UnixTime now) const;
};

// entry_of returns a resource as nodes are told about it.
[[nodiscard]] grant::ResourceEntry entry_of(const policy::Resource& resource);

}  // namespace zt::controller
