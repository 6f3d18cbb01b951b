// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/house.h: a whole zt installation in a World: controller, relay, connector, client, a
// resource.
//
// Theory of operation
//   The nodes are the product's own (module node), with real TLS and QUIC; what the simulator puts
//   in their place is sockets: resources are functions from bytes to bytes behind the connector's
//   Dial, and applications are the test's calls. Administration goes through the controller's own
//   API.
//
//   Checkers look at every datagram and every byte, in each scenario, and a test need not ask for
//   it. A canary inside all payloads never appears in anything that any node sends. A byte passes
//   between a connector and a resource only while the rules allow it and the controller's store
//   holds a live grant for it; what is sent to addresses that are not validated, and by probes, is
//   bounded (checkers.h). Once a second of virtual time every node is within its limits. When a
//   House ends, its client ends and then its connectors do, and of each nothing is left at those
//   who are still there.
//
//   Controller and relay stand on the public network, and so do connector and client, unless the
//   test lays out other networks for them: a Layout.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "checkers.h"
#include "controller/initialise.h"
#include "crypto/identity.h"
#include "node/client_node.h"
#include "node/connector_node.h"
#include "node/controller_node.h"
#include "node/relay_node.h"
#include "store/sqlite_store.h"
#include "wire/json.h"
#include "world.h"
#include "zt/base/random.h"

namespace zt::sim {

// Public addresses are of the range for benchmarks (RFC 2544), which counts as global: a node
// probes no others.
inline const SocketAddress kControllerAt{IpAddress::v4({198, 18, 0, 1}), 443};
inline const SocketAddress kRelayAt{IpAddress::v4({198, 18, 0, 2}), 443};
inline const SocketAddress kConnectorAt{IpAddress::v4({198, 18, 0, 3}), 40003};
inline const SocketAddress kClientAt{IpAddress::v4({198, 18, 0, 4}), 40004};
// External addresses of Nats before the connector and the client, and hosts' addresses behind them.
inline const IpAddress kConnectorNatIp = IpAddress::v4({198, 18, 1, 3});
inline const IpAddress kClientNatIp = IpAddress::v4({198, 18, 1, 4});
inline const SocketAddress kConnectorInside{IpAddress::v4({10, 1, 0, 2}), 40003};
inline const SocketAddress kClientInside{IpAddress::v4({192, 168, 7, 2}), 40004};
inline const IpAddress kServiceIp = IpAddress::v4({10, 20, 0, 10});
inline const SocketAddress kSecondRelayAt{IpAddress::v4({198, 18, 0, 5}), 443};
inline const SocketAddress kSecondConnectorAt{IpAddress::v4({198, 18, 0, 6}), 40006};
// kCanary stands in every payload that a test sends.
inline constexpr std::string_view kCanary = "canary-5e1f-do-not-read";

// Service is a TCP resource: what comes in, and what it says about it.
struct Service {
  // Called with what has come; returns what to answer. `is_end` once the client's side ended.
  std::function<std::string(std::string_view bytes, bool is_end)> on_bytes;
  bool is_ended_with_client = true;  // It ends when the client does.
};

// DatagramService is a UDP resource: what comes in, and what it says about it, if anything.
using DatagramService = std::function<std::optional<std::string>(std::string_view datagram)>;

class ControllerActor final : public Actor {
 public:
  ControllerActor(World& world, std::uint64_t seed);

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  std::optional<Instant> next_deadline() const override;

  // crash ends the node as kill -9 does: what it has stored stays. restart starts it again.
  void crash();
  void restart();
  [[nodiscard]] bool is_running() const { return node_.has_value(); }

  // ask calls the admin API and requires `status`; it returns the body.
  wire::Json ask(std::string_view method, const std::string& path, const wire::Json& body,
                 int status);
  [[nodiscard]] const Digest& pin() const { return made_->https.public_key_digest(); }
  [[nodiscard]] controller::Store& store() { return *store_; }
  [[nodiscard]] const TenantId& tenant() const { return made_->tenant; }
  // on_changed is called when ask() has changed something, before anybody hears of it.
  std::function<void()> on_changed;

 private:
  void start();

  World& world_;
  SeededRandom random_;
  std::unique_ptr<store::SqliteStore> store_;
  std::optional<controller::Initialised> made_;
  std::optional<node::ControllerNode> node_;
};

class RelayActor final : public Actor, private node::DatagramSink {
 public:
  RelayActor(World& world, std::uint64_t seed, Secret token, const SocketAddress& address);

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  std::optional<Instant> next_deadline() const override;
  // crash, restart, is_admitted and enrol are those of ConnectorActor.
  void crash();
  void restart();
  [[nodiscard]] bool is_admitted() const { return standing_.has_value(); }
  void enrol(Secret token);
  [[nodiscard]] bool is_running() const { return node_.has_value(); }
  [[nodiscard]] const SocketAddress& address() const { return address_; }

  // drain is what SIGTERM does. Once it is drained, the relay has ended.
  void drain();
  bool is_drained = false;
  void link_closed(const SocketAddress& link, const Now& now) override;
  [[nodiscard]] const node::RelayNode& node() const { return *node_; }

 private:
  void start(node::Credential credential);
  void send(const SocketAddress& remote, std::span<const std::byte> bytes, std::size_t segment_size,
            std::uint8_t ecn) override;

  World& world_;
  SocketAddress address_;
  SeededRandom random_;
  crypto::Identity identity_;
  Digest pin_;
  std::optional<node::RelayNode::Standing> standing_;
  std::optional<node::RelayNode> node_;
};

class ConnectorActor final : public Actor {
 public:
  ConnectorActor(World& world, std::uint64_t seed, Secret token, const Place& place);

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  std::optional<Instant> next_deadline() const override;
  void link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now) override;
  void link_closed(const SocketAddress& link, const Now& now) override;

  // crash ends the node as kill -9 does: its state directory stays. restart starts it again.
  void crash();
  void restart();
  // is_admitted tells whether the controller has made it a member, and it knows.
  [[nodiscard]] bool is_admitted() const { return standing_.has_value(); }
  // enrol starts it again on a machine that has lost its state directory.
  void enrol(Secret token);

  // drain is what SIGTERM does.
  void drain();
  bool is_drained = false;

  [[nodiscard]] const Place& place() const { return place_; }
  // address is the one of its own interface, inside of any Nat.
  [[nodiscard]] const SocketAddress& address() const { return place_.address; }
  // move takes the host to another place: the node is told as the system would tell it.
  void move(const Place& place);

  connector::Engine::Limits limits;  // Of the next start.
  std::string disk;                  // The kept flow reports.
  // The private network: names, and what listens where. Everything else refuses.
  std::map<std::string, std::vector<IpAddress>> names;
  std::map<SocketAddress, Service> services;
  std::map<SocketAddress, DatagramService> datagram_services;
  // push is what a UDP resource does that speaks unasked: to all who have a flow to it.
  void push(const SocketAddress& resource, std::string_view datagram);
  // on_bytes is called when bytes, or a datagram, pass to or from a resource.
  std::function<void(const Door& door)> on_bytes;
  // node is what runs; there is none after a crash.
  [[nodiscard]] bool is_running() const { return node_ != nullptr; }
  [[nodiscard]] const node::ConnectorNode& node() const { return *node_; }
  [[nodiscard]] std::size_t open_flow_count() const { return flows_.size(); }

 private:
  using FlowKey = connector::FlowKey;
  struct Flow {
    SocketAddress remote;
    Protocol protocol = Protocol::tcp;
    std::string unsent;
    bool is_open = false;
    bool is_client_ended = false;
    bool is_finished = false;
    std::uint64_t bytes_up = 0;
    std::uint64_t bytes_down = 0;
  };
  void start(node::Credential credential);
  void tell_addresses();
  void carry_out(node::ConnectorNode::Effect& effect, const Now& now);
  void dial(const node::ConnectorNode::DialWanted& wanted, const Now& now);
  void pump(FlowKey key, const Now& now);
  void move_datagrams(const Now& now);
  void answer(FlowKey key, std::string_view datagram, const Now& now);

  World& world_;
  Place place_;
  SeededRandom random_;
  crypto::Identity identity_;
  Digest pin_;
  std::optional<node::ConnectorNode::Standing> standing_;
  std::unique_ptr<node::ConnectorNode> node_;
  std::map<FlowKey, Flow> flows_;
};

// AppFlow is a flow as the application sees it.
struct AppFlow {
  Protocol protocol = Protocol::tcp;
  bool is_ready = false;
  bool is_over = false;  // Cut, aborted, or ended in order.
  bool is_orderly = false;
  std::optional<client::Outcome> refusal;
  std::string received;
  std::string unsent;
  bool wants_end = false;  // End our side once `unsent` is gone.
  bool is_end_sent = false;
  std::vector<std::string> datagrams;  // Of a UDP flow, as they came.
};

class ClientActor final : public Actor {
 public:
  using FlowKey = client::FlowKey;

  ClientActor(World& world, std::uint64_t seed, const std::string& key_file, const Place& place,
              Paths policy);

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  std::optional<Instant> next_deadline() const override;
  void link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now) override;
  void link_closed(const SocketAddress& link, const Now& now) override;

  // leave ends the node's connections, as SIGTERM does. crash follows.
  void leave();
  // crash and restart are those of ConnectorActor. Flows and their keys are gone.
  void crash();
  void restart();
  // forget loses the state directory, between the two.
  void forget();

  // place, address and move are those of ConnectorActor.
  [[nodiscard]] const Place& place() const { return place_; }
  [[nodiscard]] const SocketAddress& address() const { return place_.address; }
  void move(const Place& place);

  std::string disk;  // The kept flow reports.

  [[nodiscard]] FlowKey open(const std::string& target, Protocol protocol = Protocol::tcp);
  // send hands bytes to the flow; end_after ends our side after them.
  void send(FlowKey key, std::string_view bytes, bool end_after);
  // send_datagram is that for a UDP flow. What has no room, or no flow yet, is dropped.
  void send_datagram(FlowKey key, std::string_view datagram);
  // close ends a flow as an application does that is gone.
  void close(FlowKey key);
  [[nodiscard]] AppFlow& flow(FlowKey key) { return flows_.at(key); }
  // node is what runs; there is none after a crash.
  [[nodiscard]] bool is_running() const { return node_ != nullptr; }
  [[nodiscard]] const node::ClientNode& node() const { return *node_; }
  // tell_addresses tells the node where it is; `has_container` adds an interface to that.
  void tell_addresses();
  bool has_container = false;
  bool has_view = false;
  std::optional<node::Refused> refused;

 private:
  void start();
  void carry_out(node::ClientNode::Effect& effect, const Now& now);
  void pump(FlowKey key, const Now& now);
  void end(FlowKey key, bool is_orderly, const Now& now);

  World& world_;
  Place place_;
  Paths policy_;
  SeededRandom random_;
  crypto::Identity identity_;
  std::string key_file_;
  std::unique_ptr<node::ClientNode> node_;
  std::map<FlowKey, AppFlow> flows_;
};

// Layout is where the client and the connector stand, and whether they look for direct paths.
struct Layout {
  Place client{.realm = kPublic, .address = kClientAt};
  Place connector{.realm = kPublic, .address = kConnectorAt};
  Paths policy = Paths::any;  // Of the client.
};

// lay_out_behind puts each of the two behind a Nat of its own, at kClientInside and
// kConnectorInside; one that has no Nat stays public.
[[nodiscard]] Layout lay_out_behind(World& world, const std::optional<Nat::Config>& client,
                                    const std::optional<Nat::Config>& connector);

// lay_out_with returns what lays all out publicly, with a client of that policy.
[[nodiscard]] std::function<Layout(World&)> lay_out_with(Paths policy);

// House is the standard four, set up through the API: a network, a resource "db" at
// db.internal:5432, TCP and UDP, and "web" at web.internal:80, TCP, a service account "ci" that a
// rule gives access to "db" only.
class House {
 public:
  // `lay_out` puts Nats into the world; by default there are none, and all four are public.
  explicit House(std::uint64_t seed, const Link& link = {},
                 const std::function<Layout(World&)>& lay_out = {});
  House(const House&) = delete;
  House& operator=(const House&) = delete;
  ~House();

  // add_relay adds one more; before boot().
  RelayActor& add_relay(const std::string& name, const SocketAddress& address);
  // add_connector adds one more to the network, with the same private network behind it; before
  // boot().
  ConnectorActor& add_connector(const std::string& name, const SocketAddress& address);
  // connector_token returns what a connector of the network is admitted by, once.
  [[nodiscard]] Secret connector_token(const std::string& name);
  // relay_token is that for a relay.
  [[nodiscard]] Secret relay_token(const std::string& name, const SocketAddress& address);
  // boot lets time pass until client and connectors are up.
  [[nodiscard]] bool boot(Duration limit = std::chrono::seconds(10));

  // exchange sends `text` to "db", which sends it back, and waits for that; it returns whether it
  // came within `limit`.
  [[nodiscard]] bool exchange(client::FlowKey flow, std::string_view text, Duration limit);
  // open_echo opens a flow to "db" and requires that the canary comes back over it.
  [[nodiscard]] client::FlowKey open_echo();
  // call sends `text` as a datagram to "db", and again every 100 ms until it has come back; it
  // returns whether it came within `limit`.
  [[nodiscard]] bool call(client::FlowKey flow, std::string_view text, Duration limit);
  // path_of returns how a flow travels: "direct", or "relayed:…"; empty: not at all.
  [[nodiscard]] std::string path_of(client::FlowKey flow) const;
  [[nodiscard]] bool is_direct(client::FlowKey flow) const { return path_of(flow) == "direct"; }
  // remote_of returns the address that a flow's packets are sent to.
  [[nodiscard]] SocketAddress remote_of(client::FlowKey flow) const;
  // relay_of returns the relay that a flow travels through, of two; the first, if it is direct.
  [[nodiscard]] RelayActor& relay_of(client::FlowKey flow);
  // busy_connector returns the one of two that has flows; the first, if none has.
  [[nodiscard]] ConnectorActor& busy_connector();
  [[nodiscard]] ConnectorActor& other_connector(const ConnectorActor& one);
  // connectors are all of them.
  [[nodiscard]] std::vector<ConnectorActor*> connectors() const;
  // milliseconds_since returns the virtual time since `start`.
  [[nodiscard]] long milliseconds_since(Instant start) const;

  // on_violation is called with what was broken; by default the test fails, once.
  std::function<void(const std::string& what)> on_violation;

  World world;
  std::unique_ptr<ControllerActor> controller;
  std::unique_ptr<RelayActor> relay;
  std::vector<std::unique_ptr<RelayActor>> more_relays;
  std::unique_ptr<ConnectorActor> connector;
  std::vector<std::unique_ptr<ConnectorActor>> more_connectors;
  std::unique_ptr<ClientActor> client;
  std::string network_id;
  std::string db_id;
  std::string web_id;
  std::string account_id;
  std::string rule_id;

 private:
  std::unique_ptr<RelayActor> make_relay(const std::string& name, const SocketAddress& address,
                                         std::uint64_t seed);
  std::unique_ptr<ConnectorActor> make_connector(const std::string& name, const Place& place,
                                                 std::uint64_t seed);
  [[nodiscard]] bool is_up(const ConnectorActor& actor) const;
  [[nodiscard]] std::size_t legs_expected() const;

  // --- Checkers.

  void watch();
  void report(const Violation& violation);
  [[nodiscard]] ActorNumber number_of(const Actor& actor);
  void check_sent(const Actor& from, const SocketAddress& to, std::span<const std::byte> bytes);
  void check_delivered(const Actor& to, const World::Delivery& delivery);
  void check_passed(const ConnectorActor& actor, const Door& door);
  void read_access();
  [[nodiscard]] std::set<Door> allowed_doors();
  [[nodiscard]] bool is_allowed(const controller::Resource& resource, const Door& door,
                                const std::vector<controller::AccessRule>& rules);
  void check_limits();
  void check_limits_of(const ConnectorActor& actor);
  void note_clocks();
  void check_nothing_is_left();
  [[nodiscard]] std::vector<RelayActor*> relays() const;

  AccessChecker access_;
  TrafficChecker traffic_;
  std::map<const Actor*, ActorNumber> numbers_;
  // Who was first reached by whom at which address, in which event.
  std::map<std::tuple<const Actor*, SocketAddress, const Actor*>, std::uint64_t> reached_;
  std::map<const Actor*, Duration> clock_lags_;  // Behind the controller's clock, at most.
  Instant access_read_;
  Instant limits_checked_;
  bool has_failed_ = false;
};

}  // namespace zt::sim
