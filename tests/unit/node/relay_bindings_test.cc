// SPDX-License-Identifier: Apache-2.0
#include "node/relay_bindings.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>
#include <string>

#include "../../sim/world.h"
#include "crypto/identity.h"
#include "zt/wire/capsule.h"
#include "zt/wire/draining.h"

namespace zt::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const SocketAddress kNodeAt{IpAddress::v4({198, 18, 0, 4}), 40004};
const SocketAddress kRelaysAt[] = {{IpAddress::v4({198, 18, 0, 11}), 443},
                                   {IpAddress::v4({198, 18, 0, 12}), 443},
                                   {IpAddress::v4({198, 18, 0, 13}), 443}};
constexpr sim::Link kLink{.delay = milliseconds(10)};
constexpr sim::Link kCut{.is_blocked = true};

// BinderActor is a node that does nothing but stay bound.
class BinderActor final : public sim::Actor {
 public:
  explicit BinderActor(sim::World& world)
      : world_(world),
        identity_(crypto::Identity::create("node", UnixTime(seconds(1'800'000'000)))) {
    endpoint = std::make_unique<quic::Endpoint>(
        quic::Endpoint::Config{.identity = &identity_, .route = {}, .reset_key = {}}, random_);
    bindings = std::make_unique<RelayBindings>(RelayBindings::Limits{}, *endpoint, links, random_);
  }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override {
    quic::ReceivedDatagrams named = datagrams;
    named.remote = links.from_wire(datagrams.remote);
    bindings->heard_from(named.remote, now.instant);
    endpoint->handle(named, now.instant);
  }
  void handle_timeout(const Now& now) override {
    ++wake_count;
    endpoint->handle_timeout(now.instant);
    bindings->handle_timeout(now);
  }
  void settle(const Now& now) override {
    while (auto event = endpoint->poll_event()) (void)bindings->handle(*event, now);
    while (auto event = bindings->poll_event()) {
      if (const auto* wanted = std::get_if<RelayLookupWanted>(&*event)) {
        bindings->lookup_done(wanted->relay, resolved, now);
      }
      events.push_back(std::move(*event));
    }
    while (const auto wish = links.poll_wish()) {
      if (const auto* wanted = std::get_if<TcpLinkWanted>(&*wish)) {
        ++link_count;
        world_.open_link(*this, wanted->link, wanted->place.remotes);
      } else {
        world_.close_link(*this, std::get<TcpLinkUnwanted>(*wish).link);
      }
    }
  }
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                              const Now& now) override {
    auto transmit = endpoint->poll_transmit(buffer, now.instant);
    if (!transmit) return transmit;
    bindings->sent_to(transmit->remote, now.instant);
    transmit->remote = links.to_wire(transmit->remote);
    return transmit;
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const override {
    return earlier_of(endpoint->next_deadline(), bindings->next_deadline());
  }
  void link_opened(const SocketAddress& link, const SocketAddress& remote,
                   const Now& now) override {
    (void)bindings->link_opened(link, remote, now);
  }
  void link_closed(const SocketAddress& link, const Now& now) override {
    (void)bindings->link_closed(link, "refused", now);
  }

  template <class T>
  [[nodiscard]] std::size_t count() const {
    return std::size_t(std::ranges::count_if(
        events, [](const RelayEvent& event) { return std::holds_alternative<T>(event); }));
  }

  TcpLinks links;
  std::unique_ptr<quic::Endpoint> endpoint;
  std::unique_ptr<RelayBindings> bindings;
  std::vector<RelayEvent> events;
  std::vector<IpAddress> resolved;  // What each name resolves to.
  std::size_t wake_count = 0;
  std::size_t link_count = 0;  // That were wanted.

 private:
  sim::World& world_;
  SeededRandom random_{5};
  crypto::Identity identity_;
};

// RelayActor binds everybody.
class RelayActor final : public sim::Actor {
 public:
  explicit RelayActor(std::uint64_t seed)
      : random_(seed),
        identity(crypto::Identity::create("relay", UnixTime(seconds(1'800'000'000)))) {
    quic::Endpoint::Config config;
    config.identity = &identity;
    config.is_accepting = true;
    endpoint = std::make_unique<quic::Endpoint>(config, random_);
  }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override {
    endpoint->handle(datagrams, now.instant);
  }
  void handle_timeout(const Now& now) override { endpoint->handle_timeout(now.instant); }
  void settle(const Now& now) override {
    (void)now;
    while (auto event = endpoint->poll_event()) {
      const auto* request = std::get_if<quic::RequestReceived>(&*event);
      if (request == nullptr) continue;
      streams.push_back(request->stream);
      if (!is_answering) continue;
      http::Response response{.status = status};
      response.fields.add(std::string(kObservedAddressField), observed);
      if (status == 503) response.fields.add(std::string(wire::kDrainingField), "?1");
      (void)endpoint->respond(request->stream, response, status != 200);
    }
  }
  // say writes to the node on the latest of its streams.
  void say(const Bytes& bytes) { CHECK(endpoint->write(streams.back(), bytes) == bytes.size()); }
  void drain() {
    status = 503;
    say(wire::encode_capsule(wire::kDrainingCapsule, {}));
  }
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                              const Now& now) override {
    return endpoint->poll_transmit(buffer, now.instant);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const override {
    return endpoint->next_deadline();
  }

 private:
  SeededRandom random_;

 public:
  crypto::Identity identity;
  std::unique_ptr<quic::Endpoint> endpoint;
  bool is_answering = true;
  int status = 200;
  std::string observed = "198.18.0.4:40004";
  std::vector<quic::StreamKey> streams;  // Of the requests.
};

struct Harbour {
  explicit Harbour(std::size_t relay_count) {
    world.set_default_link(kLink);
    world.attach(node, kNodeAt);
    for (std::size_t i = 0; i < relay_count; ++i) {
      relays.push_back(std::make_unique<RelayActor>(10 + i));
      world.attach(*relays.back(), kRelaysAt[i]);
      places.push_back({.id = id(i),
                        .name = {},
                        .region = {},
                        .address = {.host = kRelaysAt[i].ip, .port = kRelaysAt[i].port},
                        .certificate = relays.back()->identity.certificate_digest()});
    }
  }
  static RelayId id(std::size_t index) { return RelayId{"rly_" + std::to_string(index)}; }

  void start() {
    node.bindings->set_relays(places, world.now());
    node.bindings->set_pass({.route = {}, .token = Secret("token"), .expires_at = {}}, world.now());
    world.wake(node);
  }
  void bind() {
    start();
    REQUIRE(world.run_until([&] { return node.bindings->bound_relays().size() == relays.size(); },
                            seconds(10)));
  }
  void set_link(std::size_t index, const sim::Link& link) {
    world.set_link(kNodeAt.ip, kRelaysAt[index].ip, link);
  }
  // say sends something to a relay, as for a peer behind it.
  void say(std::size_t index) {
    const Bytes bytes(40, std::byte{0x41});
    node.bindings->sent_to(kRelaysAt[index], world.now().instant);
    world.send(node, kRelaysAt[index], bytes, bytes.size(), 0);
    world.wake(node);
  }
  [[nodiscard]] bool is_bound(std::size_t index) const {
    return node.bindings->bound_at(id(index)).has_value();
  }

  sim::World world{1};
  BinderActor node{world};
  std::vector<std::unique_ptr<RelayActor>> relays;
  std::vector<RelayPlace> places;
};

// --- Silence.

TEST_CASE("a relay that falls silent is given up within half a second, the others are not") {
  Harbour harbour(3);
  harbour.bind();
  harbour.world.run_for(seconds(3));
  harbour.set_link(1, kCut);
  harbour.say(1);
  CHECK(harbour.world.run_until([&] { return !harbour.is_bound(1); }, milliseconds(400)));
  harbour.world.run_for(minutes(2));
  CHECK(harbour.is_bound(0));
  CHECK(harbour.is_bound(2));
  CHECK(harbour.node.count<RelayBound>() == 3);

  harbour.set_link(1, kLink);
  CHECK(harbour.world.run_until([&] { return harbour.is_bound(1); }, seconds(40)));
}

TEST_CASE("a relay that nobody sends anything to is not asked whether it lives") {
  Harbour harbour(2);
  harbour.bind();
  harbour.world.run_for(seconds(11));
  harbour.node.wake_count = 0;
  harbour.world.run_for(minutes(10));
  // Of each relay six keep-alives a minute, each with a few timers of its own.
  CHECK(harbour.node.wake_count <= 10 * 2 * 6 * 4);
  CHECK(harbour.is_bound(0));
  CHECK(harbour.is_bound(1));
}

TEST_CASE("the only relay is not given up before QUIC's idle timeout") {
  Harbour harbour(1);
  harbour.bind();
  harbour.world.run_for(seconds(1));
  harbour.set_link(0, kCut);
  harbour.say(0);
  harbour.world.run_for(seconds(20));
  CHECK(harbour.is_bound(0));
  harbour.world.run_for(seconds(20));
  CHECK_FALSE(harbour.is_bound(0));
}

TEST_CASE("when our own network is away for a while, no relay is given up") {
  const auto away = GENERATE(milliseconds(60), milliseconds(90), milliseconds(110),
                             milliseconds(150), milliseconds(200), milliseconds(300),
                             milliseconds(999), milliseconds(3000), milliseconds(15000));
  const std::size_t count = GENERATE(2U, 3U);
  const auto delay = GENERATE(milliseconds(1), milliseconds(10), milliseconds(80));
  CAPTURE(away, count, delay);
  Harbour harbour(count);
  harbour.bind();
  harbour.set_link(0, {.delay = delay});
  harbour.world.run_for(seconds(3));
  for (int i = 0; i < 20; ++i) {  // Its round trip is known.
    harbour.say(0);
    harbour.world.run_for(seconds(1));
  }
  REQUIRE(harbour.is_bound(0));
  for (std::size_t i = 0; i < count; ++i) harbour.set_link(i, kCut);
  harbour.say(0);  // Nothing is sent to the others.
  harbour.world.run_for(away);
  for (std::size_t i = 0; i < count; ++i)
    harbour.set_link(i, {.delay = i == 0 ? delay : kLink.delay});
  harbour.world.run_for(minutes(1));
  CHECK(harbour.node.count<RelayUnbound>() == 0);
}

TEST_CASE("a relay that answers late is never given up") {
  const auto delay = GENERATE(milliseconds(150), milliseconds(400), milliseconds(750));
  CAPTURE(delay);
  Harbour harbour(2);
  harbour.set_link(0, {.delay = delay});
  harbour.bind();
  for (int i = 0; i < 600; ++i) {
    if (i % 3 != 2) harbour.say(std::size_t(i % 3));
    harbour.world.run_for(milliseconds(70 + 37 * (i % 50)));
  }
  CHECK(harbour.node.count<RelayUnbound>() == 0);
}

TEST_CASE("datagrams from and to strangers say nothing about a relay") {
  Harbour harbour(2);
  harbour.bind();
  harbour.world.run_for(seconds(1));
  const SocketAddress stranger{kRelaysAt[0].ip, 444};
  harbour.node.bindings->sent_to(stranger, harbour.world.now().instant);
  const auto deadline = harbour.node.bindings->next_deadline();
  CHECK_FALSE(deadline);
  harbour.set_link(0, kCut);
  harbour.say(0);
  for (int i = 0; i < 40; ++i) {
    harbour.node.bindings->heard_from(stranger, harbour.world.now().instant);
    harbour.world.run_for(milliseconds(10));
  }
  CHECK_FALSE(harbour.is_bound(0));
}

// --- The network changes.

TEST_CASE("a change of network in any state ends with every relay bound") {
  const int state = GENERATE(0, 1, 2, 3, 4, 5);
  CAPTURE(state);
  Harbour harbour(2);
  SECTION("once") {
    if (state == 0) {  // No pass yet.
      harbour.node.bindings->set_relays(harbour.places, harbour.world.now());
    } else if (state == 1) {  // Connecting.
      harbour.start();
      harbour.world.run_for(milliseconds(5));
    } else if (state == 2) {  // Binding.
      harbour.relays[0]->is_answering = harbour.relays[1]->is_answering = false;
      harbour.start();
      harbour.world.run_for(milliseconds(100));
      REQUIRE(harbour.relays[0]->streams.size() == 1);
    } else if (state == 3) {  // Waiting.
      harbour.set_link(0, kCut);
      harbour.set_link(1, kCut);
      harbour.start();
      harbour.world.run_for(seconds(60));
      REQUIRE(harbour.node.count<RelayUnbound>() > 2);
      harbour.set_link(0, kLink);
      harbour.set_link(1, kLink);
    } else if (state == 4) {  // Bound.
      harbour.bind();
    } else {  // Bound, and suspect.
      harbour.bind();
      harbour.world.run_for(seconds(1));
      harbour.set_link(0, kCut);
      harbour.say(0);
      harbour.world.run_for(milliseconds(110));
      harbour.set_link(0, kLink);
    }
    harbour.relays[0]->is_answering = harbour.relays[1]->is_answering = true;
    harbour.node.bindings->network_changed(harbour.world.now());
    harbour.world.wake(harbour.node);
    if (state == 0) harbour.start();
    harbour.world.run_for(seconds(1));
    CHECK(harbour.is_bound(0));
    CHECK(harbour.is_bound(1));
    if (state >= 4) CHECK(harbour.node.count<RelayRebound>() == 2);
    harbour.world.run_for(minutes(1));
    CHECK(harbour.node.bindings->bound_relays().size() == 2);
  }
  SECTION("over and over") {
    harbour.start();
    for (int i = 0; i < 200; ++i) {
      harbour.node.bindings->network_changed(harbour.world.now());
      harbour.world.wake(harbour.node);
      harbour.world.run_for(milliseconds(i % (7 * (state + 1))));
    }
    harbour.world.run_for(seconds(40));
    CHECK(harbour.node.bindings->bound_relays().size() == 2);
  }
}

TEST_CASE("a relay is bound by the address family that the network has") {
  const SocketAddress node_v6{IpAddress::parse("2001:db8::4").value(), kNodeAt.port};
  const SocketAddress relay_v6{IpAddress::parse("2001:db8::11").value(), kRelaysAt[0].port};
  Harbour harbour(1);
  harbour.world.attach(harbour.node, node_v6);
  harbour.world.attach(*harbour.relays[0], relay_v6);
  harbour.places[0].address.host = DnsName::parse("relay.example").value();
  harbour.node.resolved = {kRelaysAt[0].ip, relay_v6.ip};
  // enter leaves one network for another, which has one family.
  const auto enter = [&harbour, &relay_v6, &node_v6](bool is_v6) {
    harbour.set_link(0, is_v6 ? kCut : kLink);
    harbour.world.set_link(node_v6.ip, relay_v6.ip, is_v6 ? kLink : kCut);
    harbour.node.links.set_network({is_v6 ? node_v6.ip : kNodeAt.ip});
    harbour.node.bindings->network_changed(harbour.world.now());
    harbour.world.wake(harbour.node);
  };
  const auto is_bound_at = [&harbour](const SocketAddress& remote) {
    return harbour.world.run_until(
        [&] { return harbour.node.bindings->bound_at(Harbour::id(0)) == remote; },
        milliseconds(200));
  };
  enter(true);
  harbour.start();
  CHECK(is_bound_at(relay_v6));  // Though the other address is the first of the name's.
  enter(false);
  CHECK(is_bound_at(kRelaysAt[0]));
  enter(true);
  CHECK(is_bound_at(relay_v6));
}

TEST_CASE("a relay that sees us elsewhere says so once, and one that lies is believed no further") {
  Harbour harbour(1);
  harbour.bind();
  harbour.relays[0]->observed = GENERATE("198.18.7.7:1", "nonsense", "");
  const bool is_address = harbour.relays[0]->observed.starts_with("198");
  for (int i = 0; i < 2; ++i) {
    harbour.node.bindings->set_pass({.route = {}, .token = Secret("token"), .expires_at = {}},
                                    harbour.world.now());
    harbour.world.wake(harbour.node);
    harbour.world.run_for(seconds(1));
  }
  REQUIRE(harbour.node.count<RelayRebound>() == 1);
  const auto& rebound = std::get<RelayRebound>(harbour.node.events.back());
  CHECK(rebound.observed.has_value() == is_address);
  CHECK(rebound.remote == kRelaysAt[0]);
  CHECK(harbour.is_bound(0));
}

TEST_CASE("a relay that ends a binding and does not answer the next one is left") {
  Harbour harbour(1);
  harbour.bind();
  harbour.relays[0]->is_answering = false;
  harbour.node.bindings->set_pass({.route = {}, .token = Secret("token"), .expires_at = {}},
                                  harbour.world.now());
  harbour.world.wake(harbour.node);
  harbour.world.run_for(minutes(1));
  CHECK(harbour.is_bound(0));  // By the first.
  REQUIRE(harbour.relays[0]->streams.size() == 2);
  harbour.relays[0]->endpoint->finish(harbour.relays[0]->streams[0]);
  harbour.relays[0]->is_answering = true;
  harbour.world.wake(*harbour.relays[0]);
  harbour.world.run_for(seconds(6));
  CHECK(harbour.node.count<RelayUnbound>() == 1);
  CHECK(harbour.is_bound(0));  // Anew.
}

// --- Draining.

TEST_CASE("a relay that drains stays bound and is listed last, until it is left") {
  Harbour harbour(3);
  harbour.bind();
  harbour.relays[0]->drain();
  harbour.world.wake(*harbour.relays[0]);
  harbour.world.run_for(seconds(1));
  CHECK(harbour.node.count<RelayDraining>() == 1);
  CHECK(harbour.node.bindings->bound_relays() ==
        std::vector{Harbour::id(1), Harbour::id(2), Harbour::id(0)});
  CHECK(harbour.node.bindings->draining_relays() == std::vector{Harbour::id(0)});
  CHECK(harbour.node.bindings->standing(Harbour::id(0))->is_draining);
  harbour.node.bindings->unbind(Harbour::id(1), harbour.world.now());
  CHECK(harbour.is_bound(1));  // It does not drain.

  harbour.node.bindings->unbind(Harbour::id(0), harbour.world.now());
  harbour.world.wake(harbour.node);
  CHECK(harbour.node.bindings->draining_relays().empty());
  harbour.world.run_for(minutes(1));
  CHECK_FALSE(harbour.is_bound(0));  // It refuses, and is asked again.
  CHECK(harbour.relays[0]->streams.size() > 1);
  CHECK(harbour.node.count<RelayDraining>() == 1);
  harbour.relays[0]->status = 200;
  harbour.world.run_for(minutes(1));
  CHECK(harbour.is_bound(0));
  CHECK_FALSE(harbour.node.bindings->standing(Harbour::id(0))->is_draining);
}

TEST_CASE("the only relay is not left because it drains; where it has ended it is tried again") {
  Harbour harbour(1);
  harbour.bind();
  harbour.relays[0]->drain();
  harbour.relays[0]->say(wire::encode_capsule(wire::kDrainingCapsule, {}));  // Twice is once.
  harbour.world.wake(*harbour.relays[0]);
  harbour.world.run_for(seconds(1));
  CHECK(harbour.node.count<RelayDraining>() == 1);
  harbour.node.bindings->unbind(Harbour::id(0), harbour.world.now());
  CHECK(harbour.is_bound(0));
  harbour.relays[0]->endpoint->finish(harbour.relays[0]->streams[0]);
  harbour.world.wake(*harbour.relays[0]);
  harbour.world.run_for(seconds(5));
  CHECK_FALSE(harbour.is_bound(0));
  harbour.relays[0]->status = 200;
  harbour.world.run_for(seconds(40));
  CHECK(harbour.is_bound(0));
  CHECK(harbour.node.bindings->draining_relays().empty());
}

TEST_CASE("who refuses to bind because it drains is known to drain") {
  Harbour harbour(1);
  harbour.relays[0]->status = GENERATE(503, 403);
  harbour.start();
  harbour.world.run_for(seconds(5));
  const std::size_t told = harbour.relays[0]->status == 503 ? 1 : 0;
  CHECK(harbour.node.count<RelayDraining>() == told);
}

TEST_CASE("what else a relay says on the bind stream means nothing") {
  Harbour harbour(2);
  harbour.bind();
  const Bytes said =
      GENERATE(wire::encode_capsule(wire::CapsuleType{0x1a7a7403}, Bytes(1000)),
               wire::encode_capsule(wire::kDrainingCapsule, Bytes(wire::kDrainingValueSizeMax + 1)),
               Bytes(3, std::byte{0xff}));
  harbour.relays[0]->say(said);
  harbour.world.wake(*harbour.relays[0]);
  harbour.world.run_for(seconds(1));
  CHECK(harbour.node.count<RelayDraining>() == 0);
  CHECK(harbour.is_bound(0));
}

// --- Carriers.

// A Firewall counts what the node sends to relays by UDP, and may drop it.
struct Firewall {
  explicit Firewall(Harbour& harbour) : world(harbour.world) {
    world.on_wire = [this](const sim::Hop& hop, std::span<const std::byte>) {
      if (hop.from == kNodeAt && !is_link_address(hop.to.ip)) ++datagram_count;
    };
  }
  void shut() const { world.block_udp(kNodeAt.ip, true); }
  void open() const { world.block_udp(kNodeAt.ip, false); }

  sim::World& world;
  std::size_t datagram_count = 0;
};

bool is_over_tcp(const Harbour& harbour) {
  return harbour.node.bindings->standing(Harbour::id(0))->is_over_tcp;
}

TEST_CASE("a relay that answers by UDP within its head start is asked for no link") {
  Harbour harbour(1);
  harbour.world.set_tcp(true);
  harbour.set_link(0, {.delay = milliseconds(100)});
  harbour.bind();
  harbour.world.run_for(minutes(1));
  CHECK(harbour.node.link_count == 0);
  CHECK_FALSE(is_over_tcp(harbour));
}

TEST_CASE("a link that is open before UDP has answered is taken, and UDP soon after") {
  Harbour harbour(1);
  harbour.world.set_tcp(true);
  harbour.set_link(0, {.delay = milliseconds(400)});
  harbour.start();
  REQUIRE(harbour.world.run_until([&] { return harbour.is_bound(0); }, milliseconds(450)));
  CHECK(is_over_tcp(harbour));
  REQUIRE(harbour.world.run_until([&] { return !is_over_tcp(harbour); }, seconds(4)));
  harbour.world.run_for(seconds(5));
  CHECK(harbour.world.link_count() == 0);
  CHECK(harbour.node.count<RelayUnbound>() == 0);
  CHECK(harbour.node.count<RelayRebound>() == 1);
}

TEST_CASE("a link that is not open yet when UDP answers is given up") {
  Harbour harbour(1);
  harbour.world.set_tcp(true);
  harbour.world.set_default_link({.delay = milliseconds(150)});  // Six of them open a link.
  harbour.start();
  REQUIRE(harbour.world.run_until([&] { return harbour.is_bound(0); }, seconds(2)));
  CHECK(harbour.node.link_count == 1);
  harbour.world.run_for(seconds(10));
  CHECK(harbour.world.link_count() == 0);
  CHECK_FALSE(is_over_tcp(harbour));
}

TEST_CASE("where UDP is blocked a relay is bound over a link, and sees no address of ours") {
  Harbour harbour(1);
  const Firewall firewall(harbour);
  firewall.shut();
  harbour.world.set_tcp(true);
  harbour.start();
  REQUIRE(harbour.world.run_until([&] { return harbour.is_bound(0); }, milliseconds(450)));
  CHECK(is_over_tcp(harbour));
  CHECK(harbour.node.bindings->bound_at(Harbour::id(0)) == kRelaysAt[0]);
  CHECK_FALSE(harbour.node.bindings->standing(Harbour::id(0))->observed);
  const auto* bound = std::get_if<RelayBound>(&harbour.node.events.back());
  REQUIRE(bound != nullptr);
  CHECK(bound->is_over_tcp);
  CHECK_FALSE(bound->observed);
}

TEST_CASE("while UDP is blocked it is tried quietly, and taken when it works") {
  Harbour harbour(1);
  Firewall firewall(harbour);
  firewall.shut();
  harbour.world.set_tcp(true);
  harbour.bind();
  harbour.world.run_for(seconds(30));
  firewall.datagram_count = 0;
  harbour.world.run_for(minutes(30));
  CHECK(harbour.node.count<RelayUnbound>() == 0);
  CHECK(harbour.node.link_count == 1);
  CHECK(firewall.datagram_count >= 6);
  CHECK(firewall.datagram_count < 150);

  firewall.open();
  REQUIRE(harbour.world.run_until([&] { return !is_over_tcp(harbour); }, minutes(6)));
  harbour.world.run_for(seconds(5));
  CHECK(harbour.world.link_count() == 0);
  CHECK(harbour.node.count<RelayUnbound>() == 0);
  const auto* rebound = std::get_if<RelayRebound>(&harbour.node.events.back());
  REQUIRE(rebound != nullptr);
  CHECK(rebound->has_new_carrier);
  CHECK_FALSE(rebound->is_over_tcp);
  CHECK(rebound->remote == kRelaysAt[0]);
  CHECK(rebound->observed == kNodeAt);
}

TEST_CASE("a relay that UDP does not reach any more is reached over a link") {
  Harbour harbour(2);
  Firewall firewall(harbour);
  harbour.world.set_tcp(true);
  harbour.bind();
  harbour.world.run_for(seconds(5));
  firewall.shut();
  harbour.say(0);
  harbour.say(1);
  REQUIRE(harbour.world.run_until([&] { return is_over_tcp(harbour); }, seconds(4)));
  harbour.world.run_for(seconds(10));
  CHECK(harbour.is_bound(0));
  CHECK(harbour.is_bound(1));
  CHECK(harbour.node.bindings->standing(Harbour::id(1))->is_over_tcp);
}

TEST_CASE("where UDP was blocked the next try asks for a link at once") {
  Harbour harbour(1);
  const Firewall firewall(harbour);
  firewall.shut();
  harbour.world.set_tcp(true);
  harbour.bind();
  harbour.relays[0]->status = 403;
  harbour.relays[0]->endpoint->finish(harbour.relays[0]->streams.back());  // Ends the binding.
  harbour.world.wake(*harbour.relays[0]);
  REQUIRE(
      harbour.world.run_until([&] { return harbour.node.count<RelayUnbound>() == 1; }, seconds(2)));
  harbour.relays[0]->status = 200;
  const auto* unbound = std::get_if<RelayUnbound>(&harbour.node.events.back());
  REQUIRE(unbound != nullptr);
  // The wait, six hops to a link, two for QUIC, two for the binding: no head start.
  CHECK(harbour.world.run_until([&] { return harbour.is_bound(0); },
                                unbound->wait + milliseconds(120)));
}

TEST_CASE("a relay that is reached by neither is told of with both reasons") {
  Harbour harbour(1);
  const Firewall firewall(harbour);
  firewall.shut();
  harbour.start();
  REQUIRE(harbour.world.run_until([&] { return harbour.node.count<RelayUnbound>() == 1; },
                                  seconds(10)));
  const auto* unbound = std::get_if<RelayUnbound>(&harbour.node.events.back());
  REQUIRE(unbound != nullptr);
  CHECK(unbound->reason == "by UDP: no answer; by TCP: refused");
}

}  // namespace
}  // namespace zt::node
