// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/checkers.h: what holds in every scenario, whatever the scenario is about.
//
// Theory of operation
//   A checker is told what an observer sees who knows nothing of the nodes' insides, and keeps a
//   plain model of what is promised. Each thing that it is told is answered by nothing, or by the
//   sentence that says what was broken. House asks them all; see there for who is told what.
//
//   AccessChecker   no byte and no datagram passes between a connector and a resource unless the
//                   controller holds a grant for it that lives at that instant, and none passes
//                   later than a revocation may take: one message while the connector hears the
//                   controller, the life of a grant otherwise.
//   TrafficChecker  nobody is made a weapon: what goes to an address that has not proved that it
//                   hears us is at most three times what came from it (RFC 9000 section 8), and for
//                   probes at most what path/finder.h says.
//   LimitChecker    a number that has a limit stays within it.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"
#include "zt/wire/probe.h"

namespace zt::sim {

using Violation = std::optional<std::string>;  // What was broken; nothing: all is well.

// ActorNumber names a node to the checkers.
enum class ActorNumber : std::uint32_t {};

// Door is what a grant opens of a resource.
struct Door {
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;

  friend auto operator<=>(const Door&, const Door&) = default;
};

class AccessChecker {
 public:
  // A grant lives this long, and as much longer as the connector's clock is behind the
  // controller's, up to the leeway (grant/grant.h).
  static constexpr Duration kLifetime = std::chrono::minutes(5);
  static constexpr Duration kLeeway = std::chrono::seconds(30);
  // Whoever has lost nothing to or from the controller for so long hears it: QUIC's idle timeout.
  static constexpr Duration kQuiet = std::chrono::seconds(30);

  // Grant is what the controller holds.
  struct Grant {
    GrantId id;
    Door door;
    Instant expires;  // By the controller's clock.
    bool is_revoked = false;
  };
  // Reach is whom a change reaches by one message, and how long that takes at most.
  struct Reach {
    std::set<ActorNumber> connectors;  // That have a session with the controller.
    Duration one_message{};
  };

  // note_grants says what the controller holds at `now`, after a change or before a judgement.
  void note_grants(const std::vector<Grant>& grants, const Reach& reach, Instant now);
  // note_policy says which doors the rules open from `now` on.
  void note_policy(const std::set<Door>& allowed, const Reach& reach, Instant now);
  // note_trouble says that something between the controller and anybody was lost.
  void note_trouble(Instant now);

  // pass judges bytes, or a datagram, between `connector` and the resource at `door`. `clock_lag`
  // is by how much that connector's clock has been behind the controller's, at most.
  [[nodiscard]] Violation pass(ActorNumber connector, const Door& door, Duration clock_lag,
                               Instant now) const;

 private:
  // Denial is the moment at which something was taken away.
  struct Denial {
    Instant at;
    Reach reach;
  };
  struct Known {
    Door door;
    Instant expires;
    std::optional<Denial> denial;
  };

  // end_of returns when a denial has arrived at `connector`, at the latest.
  [[nodiscard]] Instant end_of(const Denial& denial, ActorNumber connector) const;
  [[nodiscard]] bool is_troubled(Instant from, Instant to) const;

  std::map<GrantId, Known> grants_;
  std::map<Door, std::optional<Denial>> doors_;  // Without a denial: allowed.
  std::set<Instant> troubles_;
};

class TrafficChecker {
 public:
  static constexpr std::uint64_t kAmplificationMax = 3;  // RFC 9000 section 8.

  // allow names a server that anybody may speak to first: a controller or a relay.
  void allow(const SocketAddress& server) { servers_.insert(server); }
  // forget says that a node has lost what it knew.
  void forget(ActorNumber node);

  // received says that a datagram came to `node`. `is_answer`: whoever sent it had heard the node
  // at that address before.
  void received(ActorNumber node, const SocketAddress& from, BytesView datagram, bool is_answer);
  // send judges a datagram that leaves `node`.
  [[nodiscard]] Violation send(ActorNumber node, const SocketAddress& to, BytesView datagram,
                               Instant now);

 private:
  // Bucket holds what was done lately: in any span of time T at most `burst` + T / `period` + 1.
  struct Bucket {
    double level = 0;
    Instant at;
    [[nodiscard]] bool put(double burst, Duration period, Instant now);
  };
  struct Account {
    std::uint64_t received_size = 0;
    std::uint64_t sent_size = 0;  // Without probes, and before it was validated.
    bool is_validated = false;
  };
  // ProbeKey is one connection of a node; its limits are those of one path::PathFinder.
  using ProbeKey = std::pair<ActorNumber, wire::ProbeLabel>;
  struct Probed {
    Bucket sent;
    std::uint64_t credit = 0;  // Three for each probe that came.
    bool has_answered = false;
  };

  [[nodiscard]] Violation send_probe(ActorNumber node, const SocketAddress& to,
                                     const wire::Probe& probe, Instant now);

  std::set<SocketAddress> servers_;
  std::map<std::pair<ActorNumber, SocketAddress>, Account> accounts_;
  std::map<std::pair<ProbeKey, IpAddress>, Probed> probed_;
  std::map<ProbeKey, Bucket> probed_in_all_;  // Those that have not answered.
};

// LimitChecker compares a number with its limit.
struct LimitChecker {
  [[nodiscard]] static Violation within(std::string_view what, std::uint64_t count,
                                        std::uint64_t limit);
};

}  // namespace zt::sim
