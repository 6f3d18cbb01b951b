// SPDX-License-Identifier: Apache-2.0
#pragma once
// relay/engine.h: the forwarding table: which route is bound to which address, and until when.
//
// Theory of operation
//   A datagram is forwarded if its source and its route are both live bindings of one tenant; a
//   binding is live while now < its deadline. That sentence is the whole relay: no flow has state
//   here, nothing is opened, and nothing that is forwarded is changed.
//
//   A binding says "datagrams for this route go to this address". A node proves its right to it
//   with a relay token on an authenticated QUIC connection of its own; whoever composes this engine
//   has verified both, and names the request by a BindingKey. The source address of a binding is
//   the validated remote address of that connection, and follows it when the connection migrates.
//   One node may hold several routes at one address (the old and the new route of a renewal). Two
//   nodes cannot share an address and port: a newcomer that was validated there has proved that the
//   former holder is gone, so the former holder's bindings end.
//
//   Replicas of the table may forward in other threads (relay/replica.h). Every change of a binding
//   is then written down, in order, for poll_change(); a replica decides nothing by itself.
//
//   It follows base/engine.h with commands in the place of one handle(); the only outputs are ends
//   that nobody asked for.
//
// Limits: bindings in all and of one tenant; the answer is `relay_full` or `tenant_full`.
//   Optionally a token bucket for each binding; what is above it is dropped and counted.
// Time: deadlines are compared on every call. The timer only frees memory. A token's `exp` is
//   converted once, when it is presented: a wall clock that jumps later changes nothing.
//   A token bucket knows what this table forwards only: a table with a rate is not replicated.
// Cost: forward() is two hash lookups without allocation, once for a run of equal datagrams. About
//   500 bytes a binding.
// Threats: a stranger's datagrams go nowhere and cost one lookup. A tenant cannot reach another
//   tenant's nodes, take a route that another certificate holds, or aim its traffic at an address
//   that did not itself prove that it wants it. Hash tables are keyed with a secret, because
//   tenants choose route ids and ports.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/relay/keyed_hash.h"
#include "zt/relay/source_table.h"

namespace zt::relay {

enum class BindingKey : std::uint64_t {};  // Chosen by the caller, never used twice.

// Bind is a request whose relay token and certificate have been verified.
struct Bind {
  BindingKey key{};
  RouteId route;
  TenantId tenant;
  Digest certificate;    // Of the node's connection; the token's `cnf` equals it.
  SocketAddress source;  // The validated remote address of the node's connection.
  UnixTime expires;      // The token's `exp`.
};

enum class BindError : std::uint8_t {
  expired,      // The token is over: the node fetches a new one.
  route_taken,  // Another certificate or tenant holds the route: refuse, and look who is lying.
  relay_full,   // `bindings_max`: the node tries another relay.
  tenant_full,  // `bindings_per_tenant_max`.
};
[[nodiscard]] std::string_view to_text(BindError error);

enum class EndReason : std::uint8_t {
  expired,    // Its deadline has come.
  replaced,   // The same node bound the same route anew, under another key.
  displaced,  // Another node was validated at the same address and port.
};
[[nodiscard]] std::string_view to_text(EndReason reason);

// BindingEnded says that a binding is over although nobody unbound it; its key is dead.
struct BindingEnded {
  BindingKey key{};
  RouteId route;
  EndReason reason{};

  friend bool operator==(const BindingEnded&, const BindingEnded&) = default;
};

// TenantNumber stands for a tenant in one engine, while that has bindings of it.
enum class TenantNumber : std::uint64_t {};

// RouteChange is what became of a route. The changes in their order make the table.
struct RouteChange {
  struct Target {
    SocketAddress address;
    TenantNumber tenant{};
    Instant expires;

    friend bool operator==(const Target&, const Target&) = default;
  };
  RouteId route;
  std::optional<Target> target;  // Nothing: it is bound no more.

  friend bool operator==(const RouteChange&, const RouteChange&) = default;
};

enum class DropReason : std::uint8_t {
  source_unbound,  // The source is not a live binding: a stranger.
  route_unbound,   // Nobody holds the route.
  tenant_differs,  // Source and route belong to different tenants.
  rate_limited,    // The route's token bucket is empty.
  not_routable,    // Not a QUIC packet with a route, or not one for the relay itself.
  out_of_date,     // A replica has missed a change, and waits for the whole table.
};
inline constexpr std::size_t kDropReasonCount = 6;
[[nodiscard]] std::string_view to_text(DropReason reason);

// Volume is an amount of traffic.
struct Volume {
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;

  Volume& operator+=(const Volume& other) {
    datagrams += other.datagrams;
    bytes += other.bytes;
    return *this;
  }
  friend bool operator==(const Volume&, const Volume&) = default;
};

// BindingStatus describes one live binding.
struct BindingStatus {
  BindingKey key{};
  RouteId route;
  TenantId tenant;
  SocketAddress address;
  Instant expires;
  Volume forwarded;     // Toward this node.
  Volume rate_limited;  // Dropped on the way to this node.

  friend bool operator==(const BindingStatus&, const BindingStatus&) = default;
};

// Totals counts since the start.
struct Totals {
  Volume forwarded;
  std::array<Volume, kDropReasonCount> dropped;  // By DropReason.

  [[nodiscard]] const Volume& dropped_for(DropReason reason) const {
    return dropped[static_cast<std::size_t>(reason)];
  }
  void count_drop(DropReason reason, const Volume& run) {
    dropped[static_cast<std::size_t>(reason)] += run;
  }
  Totals& operator+=(const Totals& other);
};

class Engine {
 public:
  struct Limits {
    std::size_t bindings_max = 65536;
    std::size_t bindings_per_tenant_max = 16384;
    std::uint64_t rate_bytes_per_s = 0;  // For each binding; 0 is no limit.
    std::uint64_t burst_size_max = 4 << 20;
    bool is_replicated = false;  // Somebody calls poll_change() after each call that is not const.
  };

  using Output = BindingEnded;

  // `random` is used by the constructor only.
  Engine(const Limits& limits, Random& random);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() = default;

  // bind makes `request.route` lead to `request.source`. If the same node holds the route already,
  // the former binding ends with `replaced` (a renewal: the counters go on).
  [[nodiscard]] std::expected<void, BindError> bind(const Bind& request, const Now& now);
  // unbind ends a binding that its node gave up. Dead keys are ignored.
  void unbind(BindingKey key, const Now& now);
  // move follows a node's connection to a new validated address. Dead keys are ignored. A
  // connection that holds several bindings moves each of them.
  void move(BindingKey key, const SocketAddress& source, const Now& now);

  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // poll_change returns the next change of the table; table lists what is bound, as changes.
  [[nodiscard]] std::optional<RouteChange> poll_change();
  [[nodiscard]] std::vector<RouteChange> table() const;

  // forward tells where a run of datagrams goes that came from `source` with destination `route`,
  // and counts it, whatever the answer. It is not const because it counts.
  [[nodiscard]] std::expected<SocketAddress, DropReason> forward(const SocketAddress& source,
                                                                 const RouteId& route,
                                                                 const Volume& run, Instant now);
  // count_drop counts what the caller dropped before it came to forward().
  void count_drop(DropReason reason, const Volume& run) { totals_.count_drop(reason, run); }

  // is_bound tells whether `route` is a live binding.
  [[nodiscard]] bool is_bound(const RouteId& route, Instant now) const;
  // is_source tells whether a live binding leads to `address`.
  [[nodiscard]] bool is_source(const SocketAddress& address, Instant now) const {
    return sources_.find(address, now) != nullptr;
  }
  [[nodiscard]] std::size_t binding_count() const { return bindings_.size(); }
  [[nodiscard]] const Totals& totals() const { return totals_; }
  // status lists the bindings in the order of their keys.
  [[nodiscard]] std::vector<BindingStatus> status() const;

 private:
  struct Tenant {
    TenantNumber number{};
    std::size_t binding_count = 0;
  };
  using Tenants = std::map<TenantId, Tenant>;  // Its entries stay in place while they live.

  // Node is whose bindings are at an address.
  struct Node {
    const Tenants::value_type* tenant = nullptr;
    Digest certificate;

    friend bool operator==(const Node&, const Node&) = default;
  };

  struct Binding {
    BindingKey key{};
    Node node;
    SocketAddress address;
    Instant expires;
    Volume forwarded;
    Volume rate_limited;
    std::uint64_t tokens_size = 0;  // Bytes that may pass at `refilled`.
    Instant refilled;
  };

  [[nodiscard]] std::optional<BindError> check(const Bind& request, const Now& now) const;
  void expire(Instant now);
  void end(const RouteId& route, EndReason reason);
  void erase(const RouteId& route);
  void displace_others(const SocketAddress& source, const Node& node);
  void note_change(const RouteId& route, const Binding* binding);
  [[nodiscard]] static RouteChange change_of(const RouteId& route, const Binding& binding);
  [[nodiscard]] bool take_tokens(Binding& binding, std::uint64_t size, Instant now) const;

  Limits limits_;
  Tenants tenants_;
  std::unordered_map<RouteId, Binding, KeyedHash> bindings_;
  SourceTable<Node> sources_;
  std::map<BindingKey, RouteId> routes_by_key_;
  std::set<std::pair<Instant, RouteId>> deadlines_;
  std::uint64_t tenants_numbered_ = 0;
  std::deque<Output> outputs_;
  std::deque<RouteChange> changes_;
  Totals totals_;
};

}  // namespace zt::relay
