// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/link.h: what connector and client have in common: one endpoint, a controller, relays, paths.
//
// Theory of operation
//   A Link owns the node's quic::Endpoint, its ControllerSession, its RelayBindings and RelayScout,
//   and its DirectPaths, and offers each endpoint event to them first; what they do not claim
//   concerns flows and comes out as an event. It applies the parts of the watch stream that concern
//   relays by itself.
//
//   QUIC and probes share the node's UDP port (RFC 9443): handle() sorts them. A probe is shorter
//   than any packet of bulk, so in a train of coupled datagrams only the last can be one, or all.
//
//   Where UDP is blocked, what goes to the controller and to relays goes over TCP links, which the
//   shell makes. Names of links end here: handle() and poll_transmit() translate them
//   (node/tcp_links.h).
//
//   A client also finds out whether the NAT before it hairpins (path/hairpin.h).
//
//   Peers are told these addresses: the machine's own, those that relays and controller see us
//   from, those that the operator has configured, and the one that a gateway maps to our port
//   (node/mapped_port.h).
//
//   A relay that drains is left when another one is bound and no connection to a peer has used its
//   address for `drain_quiet`. The client moves its connections (Reroute of client/engine.h); the
//   connector sees them move. What nobody can move keeps the binding until the relay ends.
//
//   A machine that slept finds the world changed. When a timer comes much too late, what is
//   connected goes on as from another network, and what has died meanwhile is tried at once.
//   Between client and connector QUIC's idle timeout is kPeerIdleTimeout: an end that is silent may
//   sleep. Relays and the controller have a shorter one, which counts for both ends.
//
//   Name lookups of everybody in a node go out through one table of keys, so that the shell answers
//   a number and need not know who asked.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "node/controller_session.h"
#include "node/direct_paths.h"
#include "node/mapped_port.h"
#include "node/notice.h"
#include "node/relay_bindings.h"
#include "node/relay_scout.h"
#include "node/tcp_links.h"
#include "quic/endpoint.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/hairpin.h"
#include "zt/path/nat_verdict.h"

namespace zt::node {

enum class LookupKey : std::uint64_t {};  // Never used twice by one node.

struct Lookup {  // Resolve `name` to addresses and call lookup_done(key, …).
  LookupKey key{};
  DnsName name;
};

// LocalPort is the node's UDP port, and where the machine can be reached.
struct LocalPort {
  std::uint16_t port = 0;
  bool is_v4 = false;
  bool is_v6 = false;
  std::vector<IpAddress> addresses;  // All of the machine, loopback included.
  std::vector<IpAddress> sources;    // From which packets leave by the default routes.
  std::optional<IpAddress> gateway;  // Of the IPv4 default route.

  friend bool operator==(const LocalPort&, const LocalPort&) = default;
};

// kPeerIdleTimeout is above an hour of sleep, and above connector::Engine's hold_timeout.
inline constexpr Duration kPeerIdleTimeout = std::chrono::hours(2);

class Link {
 public:
  // The role of `paths` follows from `endpoint`: the end that accepts is the connector.
  struct Config {
    ControllerSession::Config controller;
    RelayBindings::Limits relays;
    RelayScout::Limits scout;
    quic::Endpoint::Config endpoint;
    DirectPaths::Config paths;
    std::vector<SocketAddress> advertised;  // Candidates of the operator: forwarded ports.
    MappedPort::Config mapping;             // Not used under always_relay.
    // What the peers had sent that way before they knew has arrived by then.
    Duration drain_quiet = std::chrono::seconds(1);
  };

  // What comes out: lookups and notices for the shell; session and relay events that the role
  // reacts to; endpoint events that nobody claimed.
  using Event =
      std::variant<Lookup, TcpLinkWanted, TcpLinkUnwanted, Notice, Admitted, Refused, SessionUp,
                   SessionDown, Told, HeartbeatDue, CallAnswered, CallFailed, RelayBound,
                   RelayUnbound, RelayDraining, PathChanged, PeerDraining, path::UpnpWanted,
                   path::UpnpUnwanted, path::MappingChanged, quic::Event>;

  // between_peers returns `config` for a client or a connector.
  [[nodiscard]] static Config between_peers(Config config);

  // `random` outlives the link.
  Link(const Config& config, Credential credential, Random& random);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start(const Now& now);
  // set_local says where the node is. Until then no direct path is looked for. When the sources of
  // packets differ from before, what is connected goes on from the new ones at once; an interface
  // more or less only makes for other candidates.
  void set_local(const LocalPort& local, const Now& now);
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now);
  // leave ends what others keep for us, one thing after the other: the gateway's mapping, then
  // connections, the newest first. It returns false if nothing is left.
  bool leave(const Now& now);
  // upnp_answered answers UpnpWanted.
  void upnp_answered(const path::UpnpAnswer& answer, const Now& now) {
    mapped_port_.upnp_answered(answer, now);
  }
  // link_opened and link_closed answer TcpLinkWanted, once for each way that it goes. `remote` is
  // the address that answered. Links that are not known any more are ignored.
  void link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now);
  void link_closed(const SocketAddress& link, std::string_view reason, const Now& now);
  // lookup_done returns false if the key is not of this link: then it is the role's.
  bool lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, const Now& now);
  [[nodiscard]] std::optional<Event> poll_event(const Now& now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // new_lookup_key numbers a lookup that the role asks for itself.
  [[nodiscard]] LookupKey new_lookup_key() { return LookupKey{next_lookup_++}; }

  [[nodiscard]] quic::Endpoint& endpoint() { return endpoint_; }
  [[nodiscard]] const quic::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] ControllerSession& controller() { return controller_; }
  [[nodiscard]] const ControllerSession& controller() const { return controller_; }
  [[nodiscard]] RelayBindings& relays() { return relays_; }
  [[nodiscard]] const RelayBindings& relays() const { return relays_; }
  [[nodiscard]] const RelayScout& scout() const { return scout_; }
  // relay_at returns the relay at whose address a peer's packets come from, be we bound there at
  // the moment or not; nothing: they come from the peer itself.
  [[nodiscard]] std::optional<RelayId> relay_at(const SocketAddress& remote) const;
  // want_relays asks to be bound at these, too; set_active says whether flows are open.
  void want_relays(const std::vector<RelayId>& relays, const Now& now);
  void set_active(bool is_active, const Now& now);
  // want_some_of is RelayScout's want_some.
  void want_some_of(const std::vector<RelayId>& relays, const Now& now);
  [[nodiscard]] DirectPaths& paths() { return paths_; }
  [[nodiscard]] const DirectPaths& paths() const { return paths_; }
  // is_online tells whether our network works, as far as we know: a relay that we are bound at
  // leaves nothing unanswered, or the controller was heard lately.
  [[nodiscard]] bool is_online(const Now& now) const;
  // place_of returns what the controller said about a relay, places about all.
  [[nodiscard]] const RelayPlace* place_of(const RelayId& relay) const;
  [[nodiscard]] const std::vector<RelayPlace>& places() const { return places_; }
  // mapping tells how the gateway maps our port, or why not.
  [[nodiscard]] path::MappingStatus mapping() const { return mapped_port_.status(); }
  [[nodiscard]] MappingNeed mapping_need() const { return mapped_port_.need(); }
  // hairpin tells whether the NAT turns back what is sent to its outside; clients only.
  [[nodiscard]] path::Hairpin hairpin() const { return hairpin_.verdict(); }
  // network_facts returns what is known of the network: by set_local, by the relays that we are
  // bound at, and by the controller. Before set_local nothing is.
  [[nodiscard]] path::NetworkFacts network_facts() const;

 private:
  struct OfController {};
  struct OfScout {
    RelayId relay;
  };
  using LookupOwner = std::variant<OfController, OfScout, RelayId>;

  void handle_datagram(const quic::ReceivedDatagrams& datagram, const Now& now);
  void take_endpoint_events(const Now& now);
  void take_session_events(const Now& now);
  void take_relay_events(const Now& now);
  void take_path_events();
  void take_mapping_events(const Now& now);
  void judge_nat(const Now& now);
  void tell_paths(const Now& now);
  void wake(const Now& now);
  void go_on(const Now& now);
  void leave_draining_relays(const Now& now);
  [[nodiscard]] bool is_used(const SocketAddress& remote) const;
  void set_places(const std::vector<RelayPlace>& places, const Now& now);
  void place_legs(const Now& now);
  void note_address(const SocketAddress& remote, const RelayId& relay);
  void apply(WatchMessage& message, const Now& now);
  void observe(const RelayId& relay, const std::optional<SocketAddress>& address, const Now& now);
  LookupKey look_up(LookupOwner owner);

  quic::Endpoint endpoint_;
  TcpLinks links_;
  ControllerSession controller_;
  RelayBindings relays_;
  RelayScout scout_;
  DirectPaths paths_;
  MappedPort mapped_port_;
  path::HairpinTest hairpin_;
  std::vector<SocketAddress> advertised_;
  Duration drain_quiet_;
  std::set<quic::ConnectionKey> peers_;         // Connections with clients or connectors.
  std::map<RelayId, Instant> draining_;         // Relays, and when each was last in use.
  std::optional<Instant> draining_checked_at_;  // While a relay drains: the next look.
  std::optional<LocalPort> local_;
  std::map<RelayId, SocketAddress> observed_;  // Where relays see us.
  std::optional<SocketAddress> seen_by_controller_;
  std::vector<RelayPlace> places_;
  std::map<SocketAddress, RelayId> relay_addresses_;  // Where relays were; see note_address.
  std::uint64_t next_lookup_ = 1;
  std::map<LookupKey, LookupOwner> lookups_;
  std::deque<Event> events_;
};

}  // namespace zt::node
