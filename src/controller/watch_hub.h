// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/watch_hub.h: the nodes that watch, and what each of them holds.
//
// Theory of operation
//   Every watcher of a tenant holds the view of one and the same directory, the one that was last
//   published. publish() takes the next directory and sends each watcher the difference of its two
//   views; a snapshot sends the whole view of the current one. So the hub keeps a revision for each
//   watcher, and no copy of its resources.
//
//   Three things besides the view are told when they differ from what was told before: the relays,
//   the keys, the route's relay token (renewed when a third of its life is left). Revoked grants
//   are told at once to the connectors of their network, before the delta. A node that may not
//   watch any longer is first told that it holds nothing, then its stream ends.
//
//   A node is also told from which address its packets come, at the beginning and when that
//   changes: peers may find it there, and it tells what kind of NAT stands between.
//
//   A stream that breaks leaves its watcher behind for kAwayMax. If nothing changed for the node
//   until it is back with ?revision=, it goes on from there; otherwise it gets a snapshot.
//
// Limits   `watchers_max`, those that are away included (they go first); one stream a node: the
//          newest wins. A slow reader is cut off by http::Server.
// Time     tick(): pings and renewals, every ping_interval while anybody watches.
// Cost     publish() signs once for each watcher whose view changes.

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controller/directory.h"
#include "controller/key_ring.h"
#include "controller/outbox.h"
#include "zt/controller/engine.h"

namespace zt::controller {

// TenantState is what a tenant's nodes are told from.
struct TenantState {
  Directory directory;
  KeyRing keys;
};

// WatchRequest is a node that asks to watch. It has been authenticated and is allowed to.
struct WatchRequest {
  http::ExchangeKey exchange{};
  SocketAddress remote;
  NodeRow node;
  std::optional<std::int64_t> held;  // The revision that it says it holds.
  std::vector<GrantId> revoked;      // For a connector: revoked and not yet expired.
};

class WatchHub {
 public:
  static constexpr std::chrono::minutes kAwayMax{5};
  static constexpr std::size_t kGrantsPerLineMax = 1'000;
  static constexpr std::size_t kBlockedMax = 10'000;  // Certificates that a relay is told of.

  WatchHub(const Config& config, Outbox& outbox) : config_(config), outbox_(outbox) {}

  // open answers the request with the beginning of a stream. It returns false, and does nothing, if
  // there are too many watchers.
  [[nodiscard]] bool open(const WatchRequest& request, const TenantState& state, const Now& now);

  // move tells the node of a stream that its packets come from another address.
  void move(http::ExchangeKey exchange, const SocketAddress& remote);

  // leave notes that a stream has ended. Unknown exchanges are ignored.
  void leave(http::ExchangeKey exchange, const Now& now);

  // publish brings the tenant's watchers from `before` to `after`.
  struct Publication {
    const TenantState& before;
    const TenantState& after;
    const std::vector<IssuedGrant>& revoked;
  };
  void publish(const Publication& publication, const Now& now);

  // tick pings, and renews relay tokens. `state_of` returns the state of a tenant, or null if the
  // store does not answer; its watchers are then left alone until the next tick.
  void tick(const std::function<const TenantState*(const TenantId&)>& state_of, const Now& now);
  [[nodiscard]] std::optional<Instant> next_tick() const;

  // note_load keeps how many bindings a relay has. Nodes hear of it at the next tick, if it makes a
  // difference to them: as a class that doubles with each step from 64 on.
  void note_load(const RelayId& relay, std::int64_t binding_count);

  [[nodiscard]] bool is_watching(std::string_view node) const;
  [[nodiscard]] std::size_t stream_count() const { return streams_.size(); }

 private:
  struct Watcher {
    TenantId tenant;
    NodeRow row;  // As authenticated; only what never changes is read: ids, route, certificate.
    std::optional<http::ExchangeKey> exchange;  // Absent while away.
    Instant left_at;                            // If away.
    std::int64_t revision = 0;                  // Of the configuration that it holds.
    std::string relays;                         // JSON, as it was told.
    std::string keys;                           // Likewise.
    UnixTime relay_token_expires;
  };
  using Watchers = std::map<std::string, Watcher, std::less<>>;
  class Views;

  void end(Watchers::iterator entry, std::string_view reason);
  void make_room(const Now& now);
  [[nodiscard]] static bool is_allowed(const Watcher& watcher, const Directory& directory,
                                       UnixTime now);
  void send(const Watcher& watcher, const std::string& lines);
  [[nodiscard]] std::string opening_lines(Watcher& watcher, const WatchRequest& request,
                                          const TenantState& state, const Now& now);
  [[nodiscard]] static std::string delta_line(Watcher& watcher, const View& before,
                                              const View& after, const TenantState& state,
                                              const Now& now);
  [[nodiscard]] std::string changed_lines(Watcher& watcher, const TenantState& state,
                                          const Now& now) const;
  [[nodiscard]] std::string changed_relays_line(Watcher& watcher, const Directory& directory) const;
  [[nodiscard]] std::string relay_token_line(Watcher& watcher, const TenantState& state,
                                             const Now& now);

  const Config& config_;
  Outbox& outbox_;
  Watchers watchers_;                                 // By the node's id.
  std::map<http::ExchangeKey, std::string> streams_;  // Node ids of those that are not away.
  std::optional<Instant> next_tick_;
  std::map<RelayId, std::uint32_t> loads_;  // Of relays that have sent a heartbeat.
  bool has_new_load_ = false;               // Since the last tick.
};

// id_of and friends look into a NodeRow.
[[nodiscard]] const std::string& id_of(const NodeRow& row);
[[nodiscard]] const Digest& certificate_of(const NodeRow& row);
[[nodiscard]] std::optional<RouteId> route_of(const NodeRow& row);  // Relays have none.

}  // namespace zt::controller
