// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/node_config.h: the signed configuration of a node: which resources exist for it.
//
// Theory of operation
//   For a connector it is the second key of the door: a flow needs a grant *and* a resource in
//   here. For a client it is its view. It is a JWS of `typ` zt-config+jwt with exactly these
//   members:
//
//     iss  tenant        aud  node (con_…, rly_… or dev_…)     iat  NumericDate
//     rev  revision      kind "snapshot" or "delta"            base revision that a delta applies
//     to upsert  [resource, …]                                    remove ["res_…", …]
//
//   A snapshot replaces everything (its `base` is 0 and its `remove` empty); a delta applies to
//   exactly the revision that it names, otherwise the node asks for a snapshot. A resource is
//
//     {"id":"res_…","name":"Database","network":"net_…","address":"db.internal",
//      "tcp":["5432","8000-8100"],"udp":"none","enabled":true,"aliases":["db.alias.internal"]}
//
//   where `tcp` and `udp` are "all", "none" or a list of ranges, and `address` is a host, a
//   wildcard name or a prefix, whose meaning belongs to the policy module. A resource whose paths
//   are restricted has "path":{"paths":"never-relay","use":"only","relays":["rly_…"]} as well
//   (base/path_rule.h); "use" is "any", "only" or "first". An unknown member is refused: it may be
//   a restriction that this version does not know.
//
// Limits   kNodeConfigSizeMax bytes, kResourcesMax resources, kPortsMax, kAliasesMax.
// Threats  An older configuration played back: `iat` must not go backwards (apply). A configuration
//          of another node or tenant: `aud`, `iss`.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/signing_key.h"
#include "zt/base/ids.h"
#include "zt/base/path_rule.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"
#include "zt/grant/jwk.h"

namespace zt::grant {

inline constexpr std::size_t kNodeConfigSizeMax = std::size_t{8} * 1024 * 1024;

// NodeId names a node of a tenant: a connector ("con_…"), a relay ("rly_…") or a client's device
// ("dev_…").
struct NodeId {
  std::string text;

  [[nodiscard]] static std::optional<NodeId> parse(std::string_view text);
  friend auto operator<=>(const NodeId&, const NodeId&) = default;
  friend bool operator==(const NodeId&, const NodeId&) = default;
};

// ResourceEntry is a resource as a node is told about it.
struct ResourceEntry {
  static constexpr std::size_t kNameSizeMax = 256;
  static constexpr std::size_t kAddressSizeMax = 256;
  static constexpr std::size_t kPortsMax = 64;
  static constexpr std::size_t kAliasesMax = 16;

  ResourceId id;
  std::string name;  // For people.
  NetworkId network;
  std::string address;         // Not empty, printable ASCII.
  std::vector<PortRange> tcp;  // Empty: none. One range 1-65535: all.
  std::vector<PortRange> udp;
  bool is_enabled = true;
  std::vector<std::string> aliases;  // Like `address`.
  PathRule path;

  friend bool operator==(const ResourceEntry&, const ResourceEntry&) = default;
};

struct NodeConfig {
  enum class Kind : std::uint8_t { snapshot, delta };
  static constexpr std::size_t kResourcesMax = 10'000;

  TenantId tenant;
  NodeId node;
  UnixTime issued_at;          // Whole seconds in the token: parts of seconds are cut.
  std::uint64_t revision = 0;  // Above zero, below 2^53.
  Kind kind = Kind::snapshot;
  std::uint64_t base = 0;  // Below `revision`.
  std::vector<ResourceEntry> upsert;
  std::vector<ResourceId> remove;  // No id is named twice in upsert and remove together.

  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

// NodeConfigError says why a configuration is not believed. The token's errors come first.
enum class NodeConfigError : std::uint8_t {
  too_large,
  malformed,
  wrong_header,
  wrong_algorithm,
  wrong_type,
  unknown_key,
  bad_signature,
  wrong_tenant,
  wrong_audience,  // Another node's.
  not_yet_valid,   // iat is ahead of our clock by more than the leeway.
};

// to_text returns a sentence without a full stop.
[[nodiscard]] std::string_view to_text(NodeConfigError error);

// issue signs a configuration. It fails with `malformed` or `too_large` where verify would.
[[nodiscard]] std::expected<std::string, NodeConfigError> issue(const NodeConfig& config,
                                                                const crypto::SigningKey& key);

struct NodeConfigExpectations {
  static constexpr std::chrono::seconds kLeewayMax{30};

  TenantId tenant;
  NodeId node;
  UnixTime now;
  std::chrono::seconds leeway = kLeewayMax;  // Of iat; clamped to 0…kLeewayMax.
};

// verify returns the configuration if everything holds; else the first error in the order of
// NodeConfigError.
[[nodiscard]] std::expected<NodeConfig, NodeConfigError> verify(
    std::string_view token, const KeySet& keys, const NodeConfigExpectations& expected);

// ResourceTable is what a node holds after applying configurations.
struct ResourceTable {
  std::uint64_t revision = 0;  // Zero before the first snapshot.
  UnixTime issued_at;
  std::map<ResourceId, ResourceEntry> resources;

  friend bool operator==(const ResourceTable&, const ResourceTable&) = default;
};

enum class Applied : std::uint8_t {
  changed,         // The table holds the configuration's revision.
  needs_snapshot,  // A delta for another revision, or one that would overfill the table; unchanged.
  stale,           // Issued before what is held; the table is unchanged.
};

// apply brings `table` to a verified configuration, or leaves it as it is.
[[nodiscard]] Applied apply(ResourceTable& table, const NodeConfig& config);

}  // namespace zt::grant
