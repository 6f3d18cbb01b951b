// SPDX-License-Identifier: Apache-2.0
// UDP flows: datagrams go whole and at most once, over any path, and only as long as they may.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <set>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

const SocketAddress kResource{kServiceIp, 5432};

// boot_with_call boots a house and opens a UDP flow.
client::FlowKey boot_with_call(House& house) {
  REQUIRE(house.boot());
  house.world.run_for(1s);  // The controller learns where the connector is bound.
  const auto flow = house.client->open("db.internal:5432", Protocol::udp);
  REQUIRE(house.call(flow, kCanary, 10s));
  return flow;
}

std::string numbered(int number, std::size_t size) {
  std::string text = std::string(kCanary) + std::to_string(number) + ":";
  if (text.size() < size) text.resize(size, 'x');
  return text;
}

TEST_CASE("datagrams go whole and at most once, whatever the network does to packets", "[sim]") {
  House house(seed_of(900), {.delay = 10ms, .jitter = 10ms, .loss = 0.05, .duplication = 0.1});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_call(house);
  AppFlow& state = house.client->flow(flow);
  state.datagrams.clear();
  constexpr int kCount = 500;
  std::set<std::string> said;
  for (int i = 0; i < kCount; ++i) {
    said.insert(numbered(i, static_cast<std::size_t>(i) * 2));
    house.client->send_datagram(flow, numbered(i, static_cast<std::size_t>(i) * 2));
    house.world.run_for(2ms);
  }
  house.client->send_datagram(flow, "");
  said.insert("");
  house.world.run_for(2s);
  const std::set<std::string> heard(state.datagrams.begin(), state.datagrams.end());
  CHECK(heard.size() == state.datagrams.size());
  CHECK(std::ranges::includes(said, heard));
  CHECK(heard.size() > kCount * 3 / 4);  // Lost on the way there and back: 10 %.
}

// Break is what may happen to the path of a live flow.
struct Break {
  const char* name;
  Paths policy;
  void (*happen)(House& house, client::FlowKey flow);
  Duration gap_max;
};

const Break kBreaks[] = {
    {"the direct path dies", Paths::any,
     [](House& house, client::FlowKey) {
       house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
     },
     500ms},
    {"the relay in use dies", Paths::always_relay,
     [](House& house, client::FlowKey flow) { house.world.detach(house.relay_of(flow)); }, 500ms},
    {"the client roams", Paths::any,
     [](House& house, client::FlowKey) {
       house.client->move({.address = {IpAddress::v4({198, 18, 0, 44}), kClientAt.port}});
     },
     500ms},
    {"the connector roams", Paths::any,
     [](House& house, client::FlowKey) {
       house.connector->move({.address = {IpAddress::v4({198, 18, 0, 43}), kConnectorAt.port}});
     },
     600ms},
    {"UDP is blocked, and TCP links are not", Paths::any,
     [](House& house, client::FlowKey) {
       house.world.set_tcp(true);
       house.world.block_udp(kClientAt.ip, true);
     },
     4s},
};

TEST_CASE("a live UDP flow goes on over another path", "[sim]") {
  for (const Break& path : kBreaks) {
    CAPTURE(path.name);
    House house(seed_of(901), {.delay = 10ms}, lay_out_with(path.policy));
    INFO("replay: " << house.world.replay());
    house.add_relay("second", kSecondRelayAt);
    const auto flow = boot_with_call(house);
    house.world.run_for(5s);
    REQUIRE(house.is_direct(flow) == (path.policy == Paths::any));
    path.happen(house, flow);
    CHECK(house.call(flow, "and on", path.gap_max));
    CHECK_FALSE(house.client->flow(flow).is_over);
  }
}

TEST_CASE("behind every pair of NATs a UDP flow works", "[sim][rfc4787]") {
  for (const NatKind& client : kNatKinds) {
    CAPTURE(client.name);
    House house(seed_of(902), {.delay = 10ms}, [&](World& world) {
      return lay_out_behind(world, nat_config(client, kClientNatIp),
                            nat_config(kSymmetric, kConnectorNatIp));
    });
    INFO("replay: " << house.world.replay());
    const auto flow = boot_with_call(house);
    house.world.run_for(3s);
    CHECK(house.call(flow, "and on", 200ms));
  }
}

TEST_CASE("what the rules withdraw ends a UDP flow at once, in both directions", "[sim][threat]") {
  House house(seed_of(903), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_call(house);
  AppFlow& state = house.client->flow(flow);
  house.connector->push(kResource, "unasked");
  house.world.run_for(100ms);
  REQUIRE(state.datagrams.back() == "unasked");

  (void)house.controller->ask("PATCH", "access-rules/" + house.rule_id, {{"enabled", false}}, 200);
  house.world.run_for(100ms);
  CHECK(state.is_over);
  CHECK(house.connector->open_flow_count() == 0);
  const auto next = house.client->open("db.internal:5432", Protocol::udp);
  CHECK(house.world.run_until([&] { return house.client->flow(next).is_over; }, 1s));
  CHECK(house.client->flow(next).refusal);
}

TEST_CASE("a grant for TCP opens no UDP, and one for UDP no TCP", "[sim][threat]") {
  const Protocol allowed = GENERATE(Protocol::tcp, Protocol::udp);
  const Protocol other = allowed == Protocol::tcp ? Protocol::udp : Protocol::tcp;
  CAPTURE(to_text(allowed));
  House house(seed_of(904), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  (void)house.controller->ask("PATCH", "access-rules/" + house.rule_id,
                              {{"protocols", {to_text(allowed)}}}, 200);
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.client->open("db.internal:5432", allowed);
  const auto refused = house.client->open("db.internal:5432", other);
  house.world.run_for(1s);
  CHECK(house.client->flow(flow).is_ready);
  CHECK(house.client->flow(refused).refusal);
}

TEST_CASE("a UDP flow ends with its grant, however late timers are and whoever speaks",
          "[sim][threat]") {
  const bool is_client_speaking = GENERATE(true, false);
  CAPTURE(is_client_speaking);
  House house(seed_of(905), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_call(house);
  const Instant opened = house.world.now().instant;
  house.world.detach(*house.controller);
  house.world.set_timer_delay(*house.connector, 20s);
  while (house.world.now().instant < opened + 5min + 40s) {
    if (is_client_speaking) house.client->send_datagram(flow, kCanary);
    if (!is_client_speaking) house.connector->push(kResource, kCanary);
    house.world.run_for(250ms);
  }
  CHECK(house.client->flow(flow).is_over);
  CHECK(house.connector->open_flow_count() == 0);
}

TEST_CASE("a UDP flow lives as long as it is renewed and used, and two minutes longer", "[sim]") {
  House house(seed_of(906), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_call(house);
  for (int i = 0; i < 15; ++i) {
    house.world.run_for(1min);
    REQUIRE(house.call(flow, numbered(i, 0), 1s));
  }
  house.world.run_for(1min + 50s);
  CHECK_FALSE(house.client->flow(flow).is_over);
  house.world.run_for(1min);
  CHECK(house.client->flow(flow).is_over);
  CHECK(house.connector->open_flow_count() == 0);
}

TEST_CASE("an application that is gone ends its UDP flow", "[sim]") {
  House house(seed_of(907), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_call(house);
  const auto other = house.client->open("db.internal:5432", Protocol::udp);
  REQUIRE(house.call(other, "another one", 1s));
  CHECK(house.connector->open_flow_count() == 2);
  house.client->close(flow);
  house.world.run_for(1s);
  CHECK(house.connector->open_flow_count() == 1);
  CHECK(house.call(other, "and on", 100ms));
  CHECK(std::ranges::find(house.client->flow(other).datagrams, kCanary) ==
        house.client->flow(other).datagrams.end());
}

}  // namespace
}  // namespace zt::sim
