// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/relay_bindings.h: keeps a node bound at its relays, so that packets for its route reach it.
//
// Theory of operation
//   For each relay of the latest list there is one leg: look its name up, connect with the pin of
//   its certificate, bind the route by an extended CONNECT that carries the relay token, stay.
//   While the request stream is open the relay forwards what is addressed to the route. A new token
//   is presented on a second stream of the same connection, after which the first one is finished:
//   there is no instant without a binding. A leg that breaks waits by Backoff and tries again for
//   ever.
//
//   Death of a relay. What is sent to a relay, for itself or for a peer behind it, is answered
//   sooner or later. When nothing at all has come from its address for two round trips since, all
//   legs are pinged: the others, because our own network may be the dead one. Whoever is heard is
//   no suspect. A leg is given up when another one was heard and it has had a whole term since then
//   without a sign of life: on an even path the death is known a third of a second after the first
//   packet into the void. While nobody is heard, QUIC's idle timeout decides.
//
//   Draining. A relay that will end says so on the bind stream, or refuses the binding for it:
//   RelayDraining, so that another relay can be put on the list and the connections be moved.
//   Meanwhile, and where there is no other relay, the leg works as before. unbind() ends it when
//   nobody needs it; from then on it is tried again like any leg that broke.
//
//   Carriers. What travels to a relay does so by UDP, or over a TCP link where UDP is blocked
//   (node/carrier.h). A leg that changes its carrier does what it does when the network changes.
//
//   Change of network. Each leg rebinds: its connection goes on from the new address, and presents
//   its token again. The answer tells where the relay sees us now. Where the new network has no way
//   to the relay's address family, the leg starts anew at an address of the other one.
//
// Limits   legs_max relays are used at once, in the order of the list; the rest are spare.
//          node/relay_scout.h says which they are.
// Threats  A relay that lies about forwarding can only drop: what it forwards is sealed end to end.
//          Who forges datagrams from a dead relay's address makes us believe in it until the idle
//          timeout.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "node/backoff.h"
#include "node/carrier.h"
#include "node/tcp_links.h"
#include "node/watch_message.h"
#include "quic/endpoint.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::node {

// What binding a route looks like on the wire; node::RelayNode is the other side.
inline constexpr std::string_view kBindProtocol = "zt-bind";
inline constexpr std::string_view kBindPath = "/.well-known/zt/bind";
inline constexpr std::string_view kObservedAddressField = "zt-observed-address";

struct RelayLookupWanted {  // Resolve `name` and call lookup_done(relay, …).
  RelayId relay;
  DnsName name;
};
struct RelayBound {  // Packets sent to `remote` with a route's prefix are forwarded; ours arrive.
  RelayId relay;
  SocketAddress remote;
  std::optional<SocketAddress> observed;  // Our address as the relay sees it; absent over TCP.
  bool is_over_tcp = false;
};
struct RelayRebound {  // The relay answered from our new address or carrier, or sees us elsewhere.
  RelayId relay;
  SocketAddress remote;
  std::optional<SocketAddress> observed;
  bool has_new_carrier = false;
  bool is_over_tcp = false;
};
struct RelayUnbound {
  RelayId relay;
  std::string reason;
  Duration wait{};  // Until the next try.
};
struct RelayDraining {  // It will end soon, and binds nobody new. Told once until it binds again.
  RelayId relay;
};
using RelayEvent =
    std::variant<RelayLookupWanted, RelayBound, RelayRebound, RelayUnbound, RelayDraining>;

class RelayBindings {
 public:
  struct Limits {
    std::size_t legs_max = 12;
    Duration attempt_timeout = std::chrono::seconds(4);
    Duration silence_min = std::chrono::milliseconds(100);  // Of a relay, before it is pinged.
    Duration silence_max = std::chrono::seconds(2);
    Duration silence_tcp = std::chrono::seconds(1);  // Over a link: TCP may be repairing a loss.
    Duration ping_interval = std::chrono::milliseconds(25);
    // Of a leg, while flows are open: so long is a node out of reach whose NAT has forgotten it.
    Duration active_keep_alive = std::chrono::seconds(1);
    Backoff::Limits backoff;
    Carrier::Limits carrier;
  };

  // `endpoint`, `links` and `random` outlive the object.
  RelayBindings(const Limits& limits, quic::Endpoint& endpoint, TcpLinks& links, Random& random);
  RelayBindings(const RelayBindings&) = delete;
  RelayBindings& operator=(const RelayBindings&) = delete;
  ~RelayBindings();

  // set_relays replaces the list: legs to relays that are gone or changed are closed.
  void set_relays(const std::vector<RelayPlace>& relays, const Now& now);
  // set_pass replaces the token; live legs present it at once. Nothing binds before the first pass.
  void set_pass(RelayPass pass, const Now& now);

  // set_active says whether flows are open: then a NAT before this node that has forgotten it
  // learns of it again within `active_keep_alive`, and the relay where it is.
  void set_active(bool is_active);
  // network_changed says that our packets leave from other addresses.
  void network_changed(const Now& now);
  // unbind leaves a relay that drains. It does nothing unless can_spare().
  void unbind(const RelayId& relay, const Now& now);
  // sent_to and heard_from are told of all datagrams of the node's port. They look nothing up.
  void sent_to(const SocketAddress& remote, Instant now);
  void heard_from(const SocketAddress& remote, Instant now);

  // lookup_done answers RelayLookupWanted; no addresses means that the lookup failed.
  void lookup_done(const RelayId& relay, const std::vector<IpAddress>& addresses, const Now& now);
  // link_opened and link_closed return whether the link was for a relay.
  bool link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now);
  bool link_closed(const SocketAddress& link, std::string_view reason, const Now& now);
  // handle takes an event of the endpoint and returns whether nobody else needs it.
  bool handle(const quic::Event& event, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<RelayEvent> poll_event();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // bound_at returns where a relay that we are bound at is reached.
  [[nodiscard]] std::optional<SocketAddress> bound_at(const RelayId& relay) const;
  // bound_relays lists them in the order of the list, those that drain last.
  [[nodiscard]] std::vector<RelayId> bound_relays() const;
  // draining_relays lists those of bound_relays() that drain; can_spare tells whether another relay
  // is bound that does not.
  [[nodiscard]] std::vector<RelayId> draining_relays() const;
  [[nodiscard]] bool can_spare() const;
  // is_answered tells whether a relay is bound that leaves nothing unanswered.
  [[nodiscard]] bool is_answered() const;
  // round_trip returns the smoothed round trip to a bound relay.
  [[nodiscard]] std::optional<Duration> round_trip(const RelayId& relay) const;
  // Standing is how we and one relay stand.
  struct Standing {
    bool is_bound = false;
    bool is_silent = false;                 // Bound, and it leaves us without an answer.
    bool is_draining = false;               // It will end soon.
    bool is_over_tcp = false;               // Bound, over a link.
    std::string reason;                     // Why the last try failed, unless it is bound.
    std::optional<SocketAddress> remote;    // The address of this try, or of the last.
    std::optional<SocketAddress> observed;  // Our address as the relay sees it, if it is bound and
                                            // has answered since our network changed.
    std::optional<Duration> round_trip;
  };
  // standing returns nothing for a relay that is spare, or not on the list.
  [[nodiscard]] std::optional<Standing> standing(const RelayId& relay) const;

 private:
  struct Leg;

  void look_up(Leg& leg, const Now& now);
  void connect_next(Leg& leg, const Now& now);
  void connect(Leg& leg, const Now& now);
  void take_changes(Leg& leg, const Now& now);
  void take_change(Leg& leg, const Carrier::Change& change, const Now& now);
  void go_on(Leg& leg, const Now& now);
  void bind(Leg& leg, const Now& now);
  void lose(Leg& leg, std::string reason, const Now& now);
  void note_draining(Leg& leg);
  void read(Leg& leg, const quic::StreamKey& stream, const Now& now);
  void take_response(Leg& leg, const quic::ResponseReceived& received, const Now& now);
  void keep_alive(const Leg& leg);
  void restart(Leg& leg, const Now& now);
  void watch(Leg& leg, const Now& now);
  void ask(Leg& leg, Instant now);
  [[nodiscard]] Duration patience_of(const Leg& leg) const;
  void take_close(Leg& leg, const quic::ConnectionClosed& closed, const Now& now);
  void take_stream_end(Leg& leg, const quic::StreamKey& stream, const Now& now);
  Leg* find(const RelayId& relay);
  [[nodiscard]] const Leg* find(const RelayId& relay) const;
  Leg* find(quic::ConnectionKey connection);

  Limits limits_;
  quic::Endpoint& endpoint_;
  Random& random_;
  std::vector<Leg> legs_;  // In the order of the list.
  std::optional<RelayPass> pass_;
  TcpLinks& links_;
  bool is_active_ = false;
  std::deque<RelayEvent> events_;
};

}  // namespace zt::node
