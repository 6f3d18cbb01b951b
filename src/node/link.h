// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/link.h: what connector and client have in common: one endpoint, a controller, relays.
//
// Theory of operation
//   A Link owns the node's quic::Endpoint, its ControllerSession and its RelayBindings, and offers
//   each endpoint event to them first; what they do not claim concerns flows and comes out as an
//   event. It applies the parts of the watch stream that concern relays by itself.
//
//   Name lookups of everybody in a node go out through one table of keys, so that the shell answers
//   a number and need not know who asked.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "node/controller_session.h"
#include "node/notice.h"
#include "node/relay_bindings.h"
#include "quic/endpoint.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::node {

enum class LookupKey : std::uint64_t {};  // Never used twice by one node.

struct Lookup {  // Resolve `name` to addresses and call lookup_done(key, …).
  LookupKey key{};
  DnsName name;
};

class Link {
 public:
  struct Config {
    ControllerSession::Config controller;
    RelayBindings::Limits relays;
    quic::Endpoint::Config endpoint;
  };

  // What comes out: lookups and notices for the shell; session and relay events that the role
  // reacts to; endpoint events that nobody claimed.
  using Event =
      std::variant<Lookup, Notice, Admitted, Refused, SessionUp, SessionDown, Told, HeartbeatDue,
                   CallAnswered, CallFailed, RelayBound, RelayUnbound, quic::Event>;

  // `random` outlives the link.
  Link(const Config& config, Credential credential, Random& random);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start(const Now& now);
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
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
  // place_of returns what the controller said about a relay.
  [[nodiscard]] const RelayPlace* place_of(const RelayId& relay) const;

 private:
  struct OfController {};
  using LookupOwner = std::variant<OfController, RelayId>;

  void take_endpoint_events(const Now& now);
  void take_session_events(const Now& now);
  void take_relay_events();
  void apply(WatchMessage& message, const Now& now);
  LookupKey look_up(LookupOwner owner);

  quic::Endpoint endpoint_;
  ControllerSession controller_;
  RelayBindings relays_;
  std::vector<RelayPlace> places_;
  std::uint64_t next_lookup_ = 1;
  std::map<LookupKey, LookupOwner> lookups_;
  std::deque<Event> events_;
};

}  // namespace zt::node
