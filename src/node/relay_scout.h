// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/relay_scout.h: says at which relays of the controller's list a node binds: the nearest.
//
// Theory of operation
//   Where the list is no longer than nearest_max, a node binds at all of it, and nothing is
//   measured. Otherwise the legs of RelayBindings are the nearest_max best by path/relay_choice.h.
//   What a leg measures by itself is known; the other relays, the spares, are measured one after
//   the other by a QUIC handshake that is closed as soon as it stands: about 4 kB each, soon after
//   the start or a change of network, and then once in `interval`.
//
//   A leg gives way only to a relay that is much nearer. While flows are open, one that is bound
//   does not give way at all: a peer may be sending to us through it.
//
//   A relay that drains is no choice. Its leg stays beside the others until it is left or ends, and
//   is tried again if there are not enough others. A measurement that succeeds, or a binding, says
//   that the relay is back; whoever refuses it because the relay still drains, has lost little.
//
//   Two nodes that are far from each other may have no relay in common. The one that wants to send
//   then binds at a relay of the other beside its nearest (`want`), and stays there until
//   wanted_max others are wanted. So does a connector whose resources allow only relays that are
//   not among its nearest (`want_some`).
//
// Limits   nearest_max + wanted_max legs; spare_max relays are measured, those of the lowest rank;
//          one measurement at a time.
// Threats  Those of path/relay_choice.h. A name that resolves to a victim's address costs that one
//          the packets of a handshake nobody answers, attempt_timeout long, once in `interval`.

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/relay_bindings.h"
#include "node/watch_message.h"
#include "quic/endpoint.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/relay_choice.h"

namespace zt::node {

class RelayScout {
 public:
  struct Limits {
    std::size_t nearest_max = 4;
    std::size_t wanted_max = 4;
    std::size_t spare_max = 32;
    Duration attempt_timeout = std::chrono::seconds(2);
    Duration first_pause = std::chrono::seconds(1);  // Before a first round: legs come first.
    Duration interval = std::chrono::minutes(10);    // Between two measurements of one relay.
  };

  // `bindings` tells what its legs have measured. It, `endpoint` and `random` outlive the object.
  RelayScout(const Limits& limits, const RelayBindings& bindings, quic::Endpoint& endpoint,
             Random& random);
  RelayScout(const RelayScout&) = delete;
  RelayScout& operator=(const RelayScout&) = delete;
  ~RelayScout() = default;

  // set_node says which node this is: no other has the route. It counts from the next list on.
  void set_node(const RouteId& route) { node_ = route.to_text(); }
  // set_relays replaces the list.
  void set_relays(const std::vector<RelayPlace>& relays, const Now& now);
  // want asks for legs to these relays, too. Unknown ones are ignored.
  void want(const std::vector<RelayId>& relays);
  // want_some asks for legs to the two best of `relays`, unless we have two there.
  void want_some(const std::vector<RelayId>& relays);
  // set_active says whether flows are open.
  void set_active(bool is_active);
  // bound, draining and unbound are told of what becomes of each leg.
  void bound(const RelayId& relay);
  void draining(const RelayId& relay);
  void unbound(const RelayId& relay);
  // network_changed forgets what was measured.
  void network_changed(const Now& now);

  // take_legs returns where to bind from now on, the best first, if that has changed.
  [[nodiscard]] std::optional<std::vector<RelayPlace>> take_legs();
  // poll_lookup returns a name to resolve; lookup_done answers. No addresses: it has failed.
  [[nodiscard]] std::optional<RelayLookupWanted> poll_lookup();
  void lookup_done(const RelayId& relay, const std::vector<IpAddress>& addresses, const Now& now);
  // handle takes an event of the endpoint and returns whether nobody else needs it.
  bool handle(const quic::Event& event, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // round_trip returns the round trip to a relay of the list, if it is known.
  [[nodiscard]] std::optional<Duration> round_trip(const RelayId& relay) const;

 private:
  struct Spare {
    std::optional<Duration> round_trip;  // As measured last, here or by a leg.
    Instant due;                         // While it is no leg.
  };
  // Attempt is the measurement that is under way: looking_up → connecting → closing.
  struct Attempt {
    enum class State : std::uint8_t { looking_up, connecting, closing };
    RelayId relay;
    State state = State::looking_up;
    std::optional<quic::ConnectionKey> connection;
    Instant deadline;
  };

  void choose();
  void measure_next(const Now& now);
  void connect(const RelayPlace& place, const IpAddress& ip, const Now& now);
  void end_attempt(const Now& now);
  void add_draining(std::vector<RelayId>& legs) const;
  [[nodiscard]] bool is_leg(const RelayId& relay) const;
  [[nodiscard]] const RelayPlace* place_of(const RelayId& relay) const;

  Limits limits_;
  std::string node_;
  const RelayBindings& bindings_;
  quic::Endpoint& endpoint_;
  Random& random_;
  std::vector<RelayPlace> places_;
  std::map<RelayId, Spare> spares_;  // What may be measured; nothing if all are legs.
  std::deque<RelayId> wanted_;       // The latest first.
  std::set<RelayId> draining_;       // Of the list; as far as we know.
  std::vector<RelayId> legs_;
  bool is_changed_ = false;  // legs_ or places_, since take_legs.
  bool is_active_ = false;
  std::optional<Attempt> attempt_;
  std::optional<RelayLookupWanted> lookup_;
};

}  // namespace zt::node
