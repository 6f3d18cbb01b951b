// SPDX-License-Identifier: Apache-2.0
#pragma once
// pair_of_links.h: a client's and a connector's node::Link in the simulator's World, with relays
// that forward everything between the two, and no controller. The connector lets everybody look for
// paths.

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../sim/world.h"
#include "crypto/identity.h"
#include "node/link.h"

namespace zt::node::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Of the range for benchmarks (RFC 2544), which counts as global.
inline const SocketAddress kClientAt{IpAddress::v4({198, 18, 0, 4}), 40004};
inline const SocketAddress kConnectorAt{IpAddress::v4({198, 18, 0, 3}), 40003};
inline const SocketAddress kRelayAt{IpAddress::v4({198, 18, 0, 2}), 443};
inline const SocketAddress kOtherRelayAt{IpAddress::v4({198, 18, 0, 5}), 443};
inline const SocketAddress kStrangerAt{IpAddress::v4({198, 18, 0, 66}), 6666};

inline const crypto::Identity& identity(std::size_t index) {
  static const std::vector<crypto::Identity> identities = [] {
    std::vector<crypto::Identity> made;
    for (int i = 0; i < 4; ++i) {
      made.push_back(crypto::Identity::create("test", UnixTime(seconds(1'800'000'000))));
    }
    return made;
  }();
  return identities.at(index);
}

inline RouteId route(std::uint8_t mark) {
  RouteId id;
  id.bytes.fill(std::byte{mark});
  return id;
}

inline http::Request paths_request() {
  return {.method = "CONNECT",
          .scheme = "https",
          .authority = "zt-connector",
          .path = std::string(kPathsPath),
          .protocol = wire::kCandidatesProtocol};
}

// LinkActor is a host with a Link.
class LinkActor final : public sim::Actor {
 public:
  LinkActor(const Link::Config& config, std::uint64_t seed)
      : random_(seed), link(config, KnownIdentity{}, random_) {}

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override {
    link.handle(datagrams, now);
  }
  void handle_timeout(const Now& now) override {
    ++wake_count;
    link.handle_timeout(now);
  }
  void settle(const Now& now) override {
    while (auto event = link.poll_event(now)) {
      if (const auto* change = std::get_if<PathChanged>(&*event)) changes.push_back(*change);
      if (const auto* peer = std::get_if<PeerDraining>(&*event)) draining.push_back(*peer);
      const auto* told = std::get_if<quic::Event>(&*event);
      if (told == nullptr) continue;
      const auto* request = std::get_if<quic::RequestReceived>(told);
      if (request != nullptr) take_request(*request, now);
      events.push_back(std::move(*told));
    }
  }
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                              const Now& now) override {
    return is_mute ? std::nullopt : link.poll_transmit(buffer, now);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const override {
    return link.next_deadline();
  }

  template <class T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> found;
    for (const quic::Event& event : events) {
      if (const T* match = std::get_if<T>(&event)) found.push_back(*match);
    }
    return found;
  }

 private:
  void take_request(const quic::RequestReceived& request, const Now& now) {
    if (answer_status == 200) {
      paths_stream = request.stream;
      link.paths().accept(request.stream, Paths::any, now);
    } else {
      (void)link.endpoint().respond(request.stream, {.status = answer_status}, true);
    }
  }

  SeededRandom random_;

 public:
  Link link;
  int answer_status = 200;                      // To a request.
  std::optional<quic::StreamKey> paths_stream;  // That was accepted last.
  std::vector<quic::Event> events;
  std::vector<PathChanged> changes;
  std::vector<PeerDraining> draining;
  std::size_t wake_count = 0;
  bool is_mute = false;  // The socket takes nothing.
};

// Forwarder is a relay to these two: what one sends here, the other gets from here.
class Forwarder final : public sim::Actor {
 public:
  explicit Forwarder(sim::World& world) : world_(world) {}
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override {
    (void)now;
    world_.send(*this, datagrams.remote == kClientAt ? kConnectorAt : kClientAt, datagrams.bytes,
                datagrams.segment_size, datagrams.ecn);
  }
  void handle_timeout(const Now& now) override { (void)now; }
  void settle(const Now& now) override { (void)now; }
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                              const Now& now) override {
    (void)buffer, (void)now;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }

 private:
  sim::World& world_;
};

inline Link::Config client_config() {
  Link::Config config;
  config.endpoint.identity = &identity(1);
  config.endpoint.route = route(0xc0);
  return config;
}
inline Link::Config connector_config() {
  Link::Config config;
  config.endpoint.identity = &identity(0);
  config.endpoint.route = route(0xa0);
  config.endpoint.is_accepting = true;
  return config;
}

struct PairOfLinks {
  explicit PairOfLinks(const Link::Config& client_side = client_config(),
                       const Link::Config& connector_side = connector_config())
      : client(client_side, 2), connector(connector_side, 3) {
    world.set_default_link({.delay = milliseconds(10)});
    world.attach(relay, kRelayAt);
    world.attach(other_relay, kOtherRelayAt);
    world.attach(client, kClientAt);
    world.attach(connector, kConnectorAt);
    world.on_wire = [this](const sim::Hop& hop, std::span<const std::byte> bytes) {
      if (on_wire) on_wire(hop, bytes);
      if (!wire::is_probe(bytes)) return;
      ++probes_to[hop.to];
      last_probe.assign(bytes.begin(), bytes.end());
      last_probe_from = hop.from;
    };
    set_local(client, kClientAt);
    set_local(connector, kConnectorAt);
  }

  void set_local(LinkActor& actor, const SocketAddress& at) {
    actor.link.set_local({.port = at.port, .is_v4 = true, .is_v6 = false, .addresses = {at.ip}},
                         world.now());
  }

  // connect opens one more connection through the relay, and waits for it.
  quic::ConnectionKey connect() {
    const auto made =
        client.link.endpoint().connect({.remote = kRelayAt,
                                        .pin = {.kind = quic::PeerPin::Kind::certificate,
                                                .digest = identity(0).certificate_digest()},
                                        .server_name = {},
                                        .peer_route = route(0xa0)},
                                       world.now().instant);
    REQUIRE(made);
    world.wake(client);
    const std::size_t before = connector.all<quic::ConnectionReady>().size();
    REQUIRE(world.run_until(
        [&] {
          return connector.all<quic::ConnectionReady>().size() > before &&
                 client.all<quic::ConnectionReady>().size() > before;
        },
        seconds(5)));
    return *made;
  }
  // look opens the search on a connection, in the client's way.
  void look(quic::ConnectionKey connection) {
    client.link.paths().open(connection, kRelayAt, Paths::any, world.now());
    client.link.paths().set_active(connection, true, world.now());
    world.wake(client);
  }
  quic::ConnectionKey connect_and_look() {
    const quic::ConnectionKey connection = connect();
    look(connection);
    return connection;
  }
  quic::ConnectionKey connect_directly() {
    const quic::ConnectionKey connection = connect_and_look();
    REQUIRE(world.run_until([&] { return is_direct(connection); }, seconds(2)));
    world.run_for(seconds(1));
    return connection;
  }

  [[nodiscard]] bool is_direct(quic::ConnectionKey connection) const {
    return client.link.paths().is_direct(connection) && remote_of(connection) == kConnectorAt;
  }
  [[nodiscard]] std::optional<SocketAddress> remote_of(quic::ConnectionKey connection) const {
    return client.link.endpoint().remote_of(connection);
  }
  // still_works tells whether a request is answered.
  [[nodiscard]] bool still_works(quic::ConnectionKey connection) {
    const std::size_t before = client.all<quic::ResponseReceived>().size();
    connector.answer_status = 404;
    const auto stream = client.link.endpoint().open_request(
        connection, {.method = "GET", .scheme = "https", .authority = "x", .path = "/"}, true);
    if (!stream) return false;
    world.wake(client);
    return world.run_until([&] { return client.all<quic::ResponseReceived>().size() > before; },
                           seconds(3));
  }
  // block_direct makes everything vanish that does not go through a relay.
  void block_direct(bool is_blocked) {
    world.set_link(kClientAt.ip, kConnectorAt.ip,
                   {.delay = milliseconds(10), .is_blocked = is_blocked});
  }

  sim::World world{1};
  Forwarder relay{world};
  Forwarder other_relay{world};
  LinkActor client;
  LinkActor connector;
  std::map<SocketAddress, std::size_t> probes_to;
  Bytes last_probe;
  SocketAddress last_probe_from;
  std::function<void(const sim::Hop&, std::span<const std::byte>)> on_wire;
};

}  // namespace zt::node::test
