// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/watch_message.h: the lines of a node's watch stream, parsed.
//
// Theory of operation
//   The controller tells a node what it needs to know as lines of JSON: one snapshot, then changes.
//   A snapshot replaces everything; each other message replaces exactly what it names. What decides
//   about access (the configuration, the relay token) is a signed object inside the line and is
//   verified by whoever uses it, not here. Unknown message types are skipped, so that controllers
//   may learn new ones; a known type with a missing or wrong member is an error, and the stream is
//   started anew.
//
// Limits   A line has at most http::Calls::Limits::line_size_max bytes; relays_max and grants_max
// below.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quic/endpoint.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"

namespace zt::node {

// RelayPlace is where a relay is found and how it is recognised.
struct RelayPlace {
  RelayId id;
  std::string name;
  std::string region;      // May be empty.
  Authority address;       // UDP.
  Digest certificate;      // x5t#S256 of the relay.
  std::uint32_t load = 0;  // path::RelayOption's.

  [[nodiscard]] quic::PeerPin pin() const {
    return {.kind = quic::PeerPin::Kind::certificate, .digest = certificate};
  }
  // is_same_place tells whether a leg to the one is a leg to the other.
  [[nodiscard]] bool is_same_place(const RelayPlace& other) const {
    return id == other.id && address == other.address && certificate == other.certificate;
  }
  friend bool operator==(const RelayPlace&, const RelayPlace&) = default;
};

struct RelayPass {  // The right to bind `route` at any relay of the tenant.
  RouteId route;
  Secret token;  // A signed relay token; opaque to the node.
  UnixTime expires_at;
};

struct TenantKeys {  // For relays: who may issue relay tokens, and whom they let in no more.
  TenantId tenant;
  std::string jwks;             // A JWK set (RFC 7517 section 5) as JSON text.
  std::vector<Digest> blocked;  // Certificates, at most kWatchBlockedMax.

  friend bool operator==(const TenantKeys&, const TenantKeys&) = default;
};

struct WatchSnapshot {
  std::uint64_t revision = 0;
  std::string config;  // Signed configuration; empty for a relay.
  std::string jwks;    // The tenant's keys as JSON text.
  std::vector<RelayPlace> relays;
  std::optional<RelayPass> pass;    // Absent for a relay.
  std::vector<TenantKeys> tenants;  // For a relay only.
  std::vector<GrantId> revoked;     // Grants revoked and not yet expired.
};
struct WatchDelta {
  std::uint64_t revision = 0;
  std::string config;
};
struct WatchRelays {
  std::vector<RelayPlace> relays;
};
struct WatchPass {
  RelayPass pass;
};
struct WatchKeys {
  std::string jwks;
  std::vector<TenantKeys> tenants;  // For a relay.
};
struct WatchRevoke {
  std::vector<GrantId> grants;
  std::string reason;
};
struct WatchObserved {  // Our packets come from there, as the controller sees it.
  SocketAddress address;
};
struct WatchPing {};
struct WatchUnknown {
  std::string type;
};

using WatchMessage = std::variant<WatchSnapshot, WatchDelta, WatchRelays, WatchPass, WatchKeys,
                                  WatchRevoke, WatchObserved, WatchPing, WatchUnknown>;

enum class WatchError : std::uint8_t {
  malformed,  // Not JSON, or a member is missing or wrong: start the stream anew.
  too_many,   // Over a limit below.
};

inline constexpr std::size_t kWatchRelaysMax = 256;
inline constexpr std::size_t kWatchGrantsMax = 100'000;
inline constexpr std::size_t kWatchTenantsMax = 10'000;
inline constexpr std::size_t kWatchBlockedMax = 10'000;

[[nodiscard]] std::expected<WatchMessage, WatchError> parse_watch_message(std::string_view line);

}  // namespace zt::node
