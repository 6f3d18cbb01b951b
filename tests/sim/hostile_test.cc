// SPDX-License-Identifier: Apache-2.0
// Hostile peers against whole nodes, over real TLS and with raw datagrams. House's checkers look on
// meanwhile: nobody gets more than three times what came in his name, and nothing is left.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crypto/signing_key.h"
#include "house.h"
#include "node/messages.h"
#include "node/relay_bindings.h"
#include "stranger.h"
#include "zt/grant/grant.h"
#include "zt/grant/relay_token.h"
#include "zt/wire/candidates.h"
#include "zt/wire/capsule.h"
#include "zt/wire/probe.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::byte>;

const SocketAddress kStrangerAt{IpAddress::v4({198, 18, 6, 1}), 40090};
const SocketAddress kAccompliceAt{IpAddress::v4({198, 18, 6, 2}), 40091};
const SocketAddress kVictimAt{IpAddress::v4({198, 18, 6, 9}), 53};
const SocketAddress kThirdRelayAt{IpAddress::v4({198, 18, 6, 5}), 443};

// Siege is a house with a live flow, and strangers and a victim around it.
struct Siege {
  explicit Siege(std::uint64_t seed, Paths policy = Paths::always_relay,
                 const std::function<void(Siege&)>& before_boot = {})
      : house(seed_of(seed), {.delay = 10ms}, lay_out_with(policy)),
        stranger(std::make_unique<Stranger>(house.world, seed + 50, kStrangerAt)),
        accomplice(std::make_unique<Stranger>(house.world, seed + 51, kAccompliceAt)),
        foreign_key(crypto::SigningKey::create()) {
    house.world.attach(*victim, kVictimAt);
    if (before_boot) before_boot(*this);
    REQUIRE(house.boot());
    house.world.run_for(1s);
    live = house.open_echo();
  }
  Siege(const Siege&) = delete;
  Siege& operator=(const Siege&) = delete;
  ~Siege() {
    for (Actor* actor : {static_cast<Actor*>(stranger.get()), static_cast<Actor*>(accomplice.get()),
                         static_cast<Actor*>(victim.get())}) {
      house.world.detach(*actor);
    }
  }

  [[nodiscard]] crypto::SigningKey tenant_key() {
    auto keys = house.controller->store().keys(house.controller->tenant());
    REQUIRE((keys && !keys->empty()));
    auto key = crypto::SigningKey::from_seed(keys->front().seed);
    REQUIRE(key);
    return *std::move(key);
  }
  [[nodiscard]] controller::Connector connector_row() {
    const auto rows = house.controller->store().connectors().list(house.controller->tenant(), {});
    REQUIRE((rows && rows->size() == 1));
    return rows->front();
  }
  // relay_token returns one that would bind `route` for whoever has `certificate`.
  [[nodiscard]] std::string relay_token(const RouteId& route, const Digest& certificate,
                                        std::chrono::minutes age = 0min) {
    const UnixTime issued = house.world.now().unix_time - age;
    const auto token = grant::issue(grant::RelayToken{.tenant = house.controller->tenant(),
                                                      .route = route,
                                                      .node_certificate = certificate,
                                                      .issued_at = issued,
                                                      .not_before = issued,
                                                      .expires_at = issued + 5min},
                                    tenant_key());
    REQUIRE(token);
    return std::string(token->reveal());
  }
  [[nodiscard]] std::string foreign_token(const RouteId& route, const Digest& certificate) {
    const UnixTime now = house.world.now().unix_time;
    const auto token = grant::issue(grant::RelayToken{.tenant = foreign,
                                                      .route = route,
                                                      .node_certificate = certificate,
                                                      .issued_at = now,
                                                      .not_before = now,
                                                      .expires_at = now + 5min},
                                    foreign_key);
    REQUIRE(token);
    return std::string(token->reveal());
  }
  [[nodiscard]] RouteId draw_route() {
    RouteId route;
    random.fill(route.bytes);
    return route;
  }
  // reach_relay connects a stranger to the relay.
  quic::ConnectionKey reach_relay(Stranger& who) {
    const auto& place = house.client->node().link().places().at(0);
    const auto connection = who.connect({.remote = kRelayAt, .pin = place.pin()});
    REQUIRE(connection);
    return *connection;
  }
  quic::ConnectionKey reach_connector(Stranger& who) {
    const auto connection =
        who.connect({.remote = kConnectorAt, .pin = {.digest = connector_row().certificate}});
    REQUIRE(connection);
    return *connection;
  }
  int bind(Stranger& who, quic::ConnectionKey connection, const std::string& token) {
    return who.ask(connection, bind_request(token));
  }
  [[nodiscard]] static http::Request bind_request(const std::string& token) {
    http::Request request{.method = "CONNECT",
                          .scheme = "https",
                          .authority = kRelayAt.to_text(),
                          .path = std::string(node::kBindPath),
                          .protocol = std::string(node::kBindProtocol)};
    if (!token.empty()) request.fields.add("proxy-authorization", "Bearer " + token, true);
    return request;
  }
  [[nodiscard]] std::size_t binding_count() const {
    return house.relay->node().engine().binding_count();
  }
  [[nodiscard]] std::uint64_t dropped(relay::DropReason reason) const {
    return house.relay->node().engine().totals().dropped_for(reason).datagrams;
  }
  [[nodiscard]] bool is_live() { return house.exchange(live, kCanary, 1s); }

  std::unique_ptr<Victim> victim = std::make_unique<Victim>();
  House house;
  std::unique_ptr<Stranger> stranger;
  std::unique_ptr<Stranger> accomplice;
  SeededRandom random{4711};
  crypto::SigningKey foreign_key;
  TenantId foreign = make_id<TenantIdTag>(random);  // That this relay does not serve.
  client::FlowKey live{};
};

// --- Binding.

TEST_CASE("nobody is bound by a token that is not his own", "[sim][threat]") {
  Siege siege(900);
  Stranger& stranger = *siege.stranger;
  const Digest own = stranger.identity().certificate_digest();
  const Digest other = siege.accomplice->identity().certificate_digest();
  const controller::Connector victim = siege.connector_row();
  const auto connection = siege.reach_relay(stranger);
  const RouteId route = siege.draw_route();
  // A route that is held is not taken from its holder, not even by a token that says so.
  CHECK(siege.bind(stranger, connection, siege.relay_token(victim.route, own)) == 503);
  CHECK(siege.bind(stranger, connection, siege.foreign_token(victim.route, own)) == 403);
  // Somebody else's token, and his route with it.
  CHECK(siege.bind(stranger, connection, siege.relay_token(victim.route, victim.certificate)) ==
        403);
  CHECK(siege.bind(stranger, connection, siege.relay_token(route, other)) == 403);
  // Not in its time.
  CHECK(siege.bind(stranger, connection, siege.relay_token(route, own, 5min)) == 403);
  CHECK(siege.bind(stranger, connection, siege.relay_token(route, own, -2min)) == 403);
  // Forged, in every part, and none at all.
  const std::string token = siege.relay_token(route, own);
  for (const std::size_t at : {std::size_t{2}, token.find('.') + 8, token.size() - 8}) {
    std::string forged = token;
    forged[at] = forged[at] == 'A' ? 'B' : 'A';
    CHECK(siege.bind(stranger, connection, forged) == 403);
  }
  CHECK(siege.bind(stranger, connection, "") == 403);
  CHECK(siege.binding_count() == 2);
  // The same would be bound, were it his.
  CHECK(siege.bind(stranger, connection, token) == 200);
  CHECK(siege.binding_count() == 3);
  CHECK(siege.is_live());
}

TEST_CASE("a bind that is played again binds nobody", "[sim][threat]") {
  Siege siege(901);
  Stranger& stranger = *siege.stranger;
  std::vector<Bytes> recorded;
  siege.house.world.on_wire = [&](const Hop& hop, std::span<const std::byte> bytes) {
    if (hop.from == kStrangerAt) recorded.emplace_back(bytes.begin(), bytes.end());
  };
  const auto connection = siege.reach_relay(stranger);
  const std::string token =
      siege.relay_token(siege.draw_route(), stranger.identity().certificate_digest());
  REQUIRE(siege.bind(stranger, connection, token) == 200);
  siege.house.world.on_wire = nullptr;
  siege.house.world.detach(stranger);
  REQUIRE(siege.house.world.run_until([&] { return siege.binding_count() == 2; }, 1min));
  for (const SocketAddress& source : {kStrangerAt, kVictimAt}) {
    for (const Bytes& bytes : recorded) {
      siege.house.world.inject({.from = source, .to = kRelayAt}, bytes);
      siege.house.world.run_for(10ms);
      CHECK(siege.binding_count() == 2);
    }
  }
  CHECK(recorded.size() > 3);
  CHECK(siege.is_live());
}

// --- What is forwarded, and where to.

constexpr std::byte kFilling{0x5a};

// is_filled tells a packet of packet_for from a sealed one: no cipher text ends like that.
bool is_filled(std::span<const std::byte> bytes) {
  return bytes.size() >= 64 &&
         std::ranges::all_of(bytes.last(64), [](std::byte byte) { return byte == kFilling; });
}

Bytes packet_for(const RouteId& route, bool is_long) {
  Bytes bytes(1200, kFilling);
  bytes[0] = is_long ? std::byte{0xc3} : std::byte{0x43};
  std::size_t at = 1;
  if (is_long) {
    for (const int octet : {0, 0, 0, 1, 20}) bytes[at++] = static_cast<std::byte>(octet);
  }
  std::ranges::copy(route.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes;
}

TEST_CASE("connection IDs of one tenant's routes lead nobody else to its nodes", "[sim][threat]") {
  Siege siege(902);
  const RouteId target = siege.connector_row().route;
  std::size_t arrived = 0;
  siege.house.world.on_wire = [&](const Hop& hop, std::span<const std::byte> bytes) {
    if (hop.from == kRelayAt && hop.to == kConnectorAt && is_filled(bytes)) ++arrived;
  };
  const auto send = [&](const SocketAddress& source) {
    for (const bool is_long : {true, false}) {
      siege.house.world.inject({.from = source, .to = kRelayAt}, packet_for(target, is_long));
    }
    siege.house.world.run_for(100ms);
  };
  // Of nobody.
  const auto strangers = siege.dropped(relay::DropReason::source_unbound);
  send(kStrangerAt);
  CHECK(siege.dropped(relay::DropReason::source_unbound) == strangers + 2);
  // Of a node of another tenant, which may connect, and bind nothing here.
  const auto foreign = siege.reach_relay(*siege.stranger);
  const Digest own = siege.stranger->identity().certificate_digest();
  CHECK(siege.bind(*siege.stranger, foreign, siege.foreign_token(siege.draw_route(), own)) == 403);
  CHECK(siege.bind(*siege.stranger, foreign, siege.foreign_token(target, own)) == 403);
  send(kStrangerAt);
  CHECK(siege.dropped(relay::DropReason::source_unbound) == strangers + 4);
  CHECK(arrived == 0);
  // Of the same tenant they arrive, and the connector has no use for them.
  const auto same = siege.reach_relay(*siege.accomplice);
  REQUIRE(siege.bind(*siege.accomplice, same,
                     siege.relay_token(siege.draw_route(),
                                       siege.accomplice->identity().certificate_digest())) == 200);
  send(kAccompliceAt);
  CHECK(arrived == 2);
  CHECK(siege.is_live());
}

TEST_CASE("who asks for a binding in somebody else's name aims nothing at him", "[sim][threat]") {
  Siege siege(903);
  Stranger& stranger = *siege.stranger;
  const Digest own = stranger.identity().certificate_digest();
  const RouteId route = siege.draw_route();
  const auto connection = siege.reach_relay(stranger);
  REQUIRE(siege.bind(stranger, connection, siege.relay_token(route, own)) == 200);
  const auto sender = siege.reach_relay(*siege.accomplice);
  REQUIRE(siege.bind(*siege.accomplice, sender,
                     siege.relay_token(siege.draw_route(),
                                       siege.accomplice->identity().certificate_digest())) == 200);
  siege.house.world.run_for(1s);
  // He asks again, and his datagrams claim to be the victim's.
  stranger.source = kVictimAt;
  (void)stranger.open(connection, Siege::bind_request(siege.relay_token(route, own)));
  for (int i = 0; i < 200; ++i) {
    siege.house.world.run_for(5ms);
    siege.house.world.inject({.from = kAccompliceAt, .to = kRelayAt}, packet_for(route, false));
  }
  siege.house.world.run_for(1s);
  CHECK(siege.victim->received_size < 3 * 5000);  // QUIC asks him whether he is there.
  for (const relay::BindingStatus& status : siege.house.relay->node().engine().status()) {
    CHECK(status.address != kVictimAt);
  }
  CHECK(siege.is_live());
}

// --- Replays.

TEST_CASE("datagrams that are played again, from anywhere, change nothing", "[sim][threat]") {
  const auto policy = GENERATE(Paths::always_relay, Paths::any);
  CAPTURE(policy);
  std::vector<std::pair<Hop, Bytes>> recorded;
  Siege siege(904, policy, [&](Siege& made) {
    made.house.world.on_wire = [&](const Hop& hop, std::span<const std::byte> bytes) {
      if (hop.to == kRelayAt || hop.to == kConnectorAt) {
        recorded.emplace_back(hop, Bytes(bytes.begin(), bytes.end()));
      }
    };
  });
  for (int i = 0; i < 20; ++i) REQUIRE(siege.is_live());
  siege.house.world.run_for(3s);
  siege.house.world.on_wire = nullptr;
  const std::string path = siege.house.path_of(siege.live);
  const auto peers = siege.house.connector->node().engine()->statistics().peers;
  REQUIRE(recorded.size() > 100);
  for (const bool is_spoofed : {false, true}) {
    CAPTURE(is_spoofed);
    for (const auto& [hop, bytes] : recorded) {
      siege.house.world.inject({.from = is_spoofed ? kVictimAt : hop.from, .to = hop.to}, bytes);
      siege.house.world.run_for(1ms);
    }
    CHECK(siege.is_live());
    CHECK(siege.house.path_of(siege.live) == path);
    CHECK(siege.binding_count() == 2);
  }
  siege.house.world.run_for(15s);  // Handshakes that nobody goes on with are over.
  CHECK(siege.house.connector->node().engine()->statistics().peers == peers);
  CHECK(siege.victim->probe_count == 0);
  CHECK(siege.is_live());
}

// --- Reflection and floods.

TEST_CASE("whatever is sent in a victim's name, he gets less than three times as much",
          "[sim][threat]") {
  Siege siege(905, Paths::any);
  std::size_t sent = 0;
  wire::Probe probe;
  probe.transaction = 1;
  for (int i = 0; i < 2000; ++i) {
    Bytes bytes(20 + siege.random.below(1400));
    siege.random.fill(bytes);
    if (i % 4 == 0) bytes = packet_for(siege.draw_route(), true);
    if (i % 4 == 1) bytes[0] = std::byte{0x41};
    if (i % 4 == 2) {
      siege.random.fill(probe.label.bytes);
      const wire::ProbeBytes text = wire::encode_probe(probe);
      bytes.assign(text.begin(), text.end());
    }
    if (i % 16 == 0) bytes[4] = std::byte{0x77};  // Another version.
    const SocketAddress& to = i % 3 == 0 ? kControllerAt : (i % 3 == 1 ? kRelayAt : kConnectorAt);
    siege.house.world.inject({.from = kVictimAt, .to = to}, bytes);
    sent += bytes.size();
    if (i % 10 == 0) siege.house.world.run_for(1ms);
  }
  siege.house.world.run_for(5s);
  CHECK(siege.victim->datagram_count > 0);  // Versions are negotiated.
  CHECK(siege.victim->received_size < 3 * sent);
  CHECK(siege.victim->probe_count == 0);
  CHECK(siege.is_live());
}

// initials returns first datagrams of handshakes with whoever is at `target`.
std::vector<Bytes> initials(Siege& siege, const SocketAddress& target, int count) {
  std::vector<Bytes> made;
  siege.stranger->source = kVictimAt;
  Bytes buffer(1 << 16);
  for (int i = 0; i < count; ++i) {
    const Instant now = siege.house.world.now().instant;
    const auto key = siege.stranger->endpoint().connect({.remote = target, .pin = {}}, now);
    REQUIRE(key);
    const auto transmit = siege.stranger->endpoint().poll_transmit(buffer, now);
    REQUIRE(transmit);
    made.emplace_back(buffer.begin(),
                      buffer.begin() + static_cast<std::ptrdiff_t>(transmit->segment_size));
    siege.stranger->endpoint().close(*key, 0, "", now);
  }
  siege.house.world.detach(*siege.stranger);
  return made;
}

TEST_CASE("under a flood of Initials flows go on, and newcomers get in", "[sim][threat]") {
  const auto target = GENERATE(kControllerAt, kRelayAt, kConnectorAt);
  CAPTURE(target.to_text());
  Siege siege(906);
  const std::vector<Bytes> flood = initials(siege, target, 600);
  const auto key = siege.house.controller->ask(
      "POST", "service-accounts/" + siege.house.account_id + "/keys", wire::Json::object(), 201);
  const Place place{.address = {IpAddress::v4({198, 18, 0, 77}), 40077}};
  ClientActor newcomer(siege.house.world, 9061, key.at("file").get<std::string>(), place,
                       Paths::any);
  std::optional<client::FlowKey> flow;
  bool is_in = false;
  for (std::size_t i = 0; i < flood.size(); ++i) {
    const auto number = static_cast<std::uint8_t>(i % 250);
    const SocketAddress source{IpAddress::v4({198, 19, static_cast<std::uint8_t>(i / 250), number}),
                               static_cast<std::uint16_t>(1024 + i)};
    siege.house.world.inject({.from = source, .to = target}, flood[i]);
    siege.house.world.run_for(5ms);
    if (i == 100) siege.house.world.attach(newcomer, place);
    if (!flow && newcomer.has_view &&
        !newcomer.node().status(siege.house.world.now()).relays.empty()) {
      flow = newcomer.open("db.internal:5432");
    }
    is_in = is_in || (flow && newcomer.flow(*flow).is_ready);
    if (i % 100 == 0) CHECK(siege.is_live());
  }
  CHECK(is_in);
  CHECK(siege.is_live());
  if (target != kControllerAt) {
    const quic::Counters& counters =
        target == kRelayAt ? siege.house.relay->node().link().endpoint().counters()
                           : siege.house.connector->node().link().endpoint().counters();
    CHECK(counters.retries_sent > 500);
    CHECK(counters.handshakes_started < 50);
  }
  newcomer.crash();
}

// --- Lies about addresses.

TEST_CASE("a relay that tells a wrong address aims a few probes at it, and no more",
          "[sim][threat]") {
  Siege siege(907, Paths::any, [](Siege& made) {
    made.house.world.detach(*made.accomplice);
    made.house.world.attach(*made.accomplice, kThirdRelayAt);
    made.accomplice->answer = http::Fields{
        {.name = std::string(node::kObservedAddressField), .value = kVictimAt.to_text()}};
    REQUIRE(made.house.controller->store().relays().insert(
        made.house.controller->tenant(),
        {.id = make_id<RelayIdTag>(made.random),
         .name = "liar",
         .address = kThirdRelayAt.to_text(),
         .certificate = made.accomplice->identity().certificate_digest()}));
  });
  const auto& relays = siege.house.client->node().link().relays();
  REQUIRE(siege.house.world.run_until([&] { return relays.bound_relays().size() == 2; }, 10s));
  siege.house.world.run_for(1min);
  CHECK(siege.victim->probe_count > 0);
  CHECK(siege.victim->probe_count <= 2 * (10 + 2 * 60 + 1));  // Of both ends.
  CHECK(siege.victim->datagram_count == siege.victim->probe_count);
  CHECK(siege.house.path_of(siege.live) == "direct");
  CHECK(siege.is_live());
}

// --- Paths.

http::Request paths_request() {
  http::Request request{.method = "CONNECT",
                        .scheme = "https",
                        .authority = "zt-connector",
                        .path = std::string(node::kPathsPath),
                        .protocol = wire::kCandidatesProtocol};
  request.fields.add("capsule-protocol", "?1");
  return request;
}

TEST_CASE("nobody hears of addresses who has shown no grant, and from a relay nobody does",
          "[sim][threat]") {
  Siege siege(908);
  const auto at_relay = siege.reach_relay(*siege.stranger);
  CHECK(siege.stranger->ask(at_relay, paths_request()) == 404);
  const auto at_connector = siege.reach_connector(*siege.stranger);
  const auto finders = siege.house.connector->node().link().paths().finder_count();
  CHECK(siege.stranger->ask(at_connector, paths_request()) == 501);
  CHECK(siege.house.connector->node().link().paths().finder_count() == finders);
  CHECK(siege.is_live());
}

// present_grant makes the stranger a client with every right that the live one has.
void present_grant(Siege& siege, quic::ConnectionKey connection) {
  const UnixTime now = siege.house.world.now().unix_time;
  const auto grants = siege.house.controller->store().grants(siege.house.controller->tenant(), now);
  REQUIRE((grants && !grants->empty()));
  const controller::IssuedGrant& held = grants->front();
  const auto host = DnsName::parse("db.internal");
  REQUIRE(host);
  const auto token = grant::issue(
      grant::Grant{.tenant = siege.house.controller->tenant(),
                   .subject = held.subject,
                   .device = held.device,
                   .network = held.network,
                   .id = make_id<GrantIdTag>(siege.random),
                   .issued_at = now,
                   .not_before = now,
                   .expires_at = now + 5min,
                   .client_certificate = siege.stranger->identity().certificate_digest(),
                   .policy_revision = 1,
                   .decision = held.decision,
                   .resource = held.resource,
                   .permissions = {{.hosts = {*host},
                                    .protocols = {Protocol::tcp},
                                    .ports = {{.first = 5432, .last = 5432}}}}},
      siege.tenant_key());
  REQUIRE(token);
  http::Request request{.method = "POST",
                        .scheme = "https",
                        .authority = "zt-connector",
                        .path = std::string(node::kGrantPath)};
  request.fields.add("proxy-authorization", "Bearer " + std::string(token->reveal()), true);
  REQUIRE(siege.stranger->ask(connection, request) == 204);
}

// bomb returns a list of as many addresses as there may be, all of them the victim's.
Bytes bomb(std::uint64_t generation) {
  wire::CandidateList list{.generation = generation, .candidates = {}};
  for (std::uint16_t i = 0; i < wire::kCandidatesMax; ++i) {
    list.candidates.push_back({.kind = wire::CandidateKind::host,
                               .address = {kVictimAt.ip, static_cast<std::uint16_t>(1000 + i)}});
  }
  return wire::encode_capsule(wire::kCandidatesCapsule, wire::encode_candidates(list));
}

TEST_CASE("lists of a victim's addresses, again and again, make few probes", "[sim][threat]") {
  Siege siege(909, Paths::any);
  std::size_t aimed = 0;
  siege.house.world.on_wire = [&](const Hop& hop, std::span<const std::byte> bytes) {
    if (hop.to.ip != kVictimAt.ip) return;
    ++aimed;
    CHECK(wire::is_probe(bytes));
  };
  const auto connection = siege.reach_connector(*siege.stranger);
  present_grant(siege, connection);
  const quic::StreamKey stream = siege.stranger->open(connection, paths_request());
  REQUIRE(
      siege.house.world.run_until([&] { return siege.stranger->status_of(stream) == 200; }, 1s));
  for (std::uint64_t i = 1; i <= 500; ++i) {
    siege.stranger->write(stream, bomb(i));
    siege.house.world.run_for(20ms);
  }
  CHECK(aimed > 0);
  CHECK(aimed <= 10 + 2 * 10 + 1);
  CHECK_FALSE(siege.stranger->is_reset(stream));
  CHECK(siege.is_live());
}

TEST_CASE("a capsule that is too large or no list ends its stream, and nothing else",
          "[sim][threat]") {
  Siege siege(910, Paths::any);
  const auto connection = siege.reach_connector(*siege.stranger);
  present_grant(siege, connection);
  const quic::StreamKey stream = siege.stranger->open(connection, paths_request());
  REQUIRE(
      siege.house.world.run_until([&] { return siege.stranger->status_of(stream) == 200; }, 1s));
  SECTION("one address too many") {
    Bytes value = wire::encode_candidates({.generation = 1, .candidates = {}});
    for (std::size_t i = 0; i <= wire::kCandidatesMax; ++i) {
      for (const int octet : {1, 4, 198, 18, 6, 9, 4, 0}) {
        value.push_back(static_cast<std::byte>(octet));
      }
    }
    siege.stranger->write(stream, wire::encode_capsule(wire::kCandidatesCapsule, value));
  }
  SECTION("a length that nobody can keep") {
    Bytes capsule = wire::encode_capsule(wire::kCandidatesCapsule, {});
    capsule.pop_back();
    for (const int octet : {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
      capsule.push_back(static_cast<std::byte>(octet));
    }
    siege.stranger->write(stream, capsule);
  }
  SECTION("a kind that there is not") {
    const Bytes value{std::byte{1}, std::byte{9}};
    siege.stranger->write(stream, wire::encode_capsule(wire::kCandidatesCapsule, value));
  }
  CHECK(siege.house.world.run_until([&] { return siege.stranger->is_reset(stream); }, 1s));
  CHECK(siege.stranger->endpoint().remote_of(connection));
  CHECK(siege.is_live());
}

}  // namespace
}  // namespace zt::sim
