// SPDX-License-Identifier: Apache-2.0
// Of several relays and connectors the best is used, and all connectors share the work.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

std::function<Layout(World&)> relayed() {
  return lay_out_with(Paths::always_relay);
}

SocketAddress relay_at(std::uint8_t number) {
  return {IpAddress::v4({198, 18, 2, number}), 443};
}

TEST_CASE("a connection goes through the nearer relay, and through the other when that dies",
          "[sim]") {
  const bool is_first_near = GENERATE(true, false);
  CAPTURE(is_first_near);
  House house(seed_of(41), {.delay = 10ms}, relayed());
  INFO("replay: " << house.world.replay());
  RelayActor& second = house.add_relay("second", kSecondRelayAt);
  const SocketAddress near = is_first_near ? kRelayAt : kSecondRelayAt;
  const SocketAddress far = is_first_near ? kSecondRelayAt : kRelayAt;
  for (const IpAddress& end : {kClientAt.ip, kConnectorAt.ip}) {
    house.world.set_link(end, far.ip, {.delay = 40ms});
  }
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  CHECK(house.remote_of(flow) == near);
  house.world.detach(is_first_near ? *house.relay : second);
  REQUIRE(house.exchange(flow, kCanary, 1s));
  CHECK(house.remote_of(flow) == far);
}

TEST_CASE("the way from the relay to the connector counts, too", "[sim]") {
  House house(seed_of(42), {.delay = 10ms}, relayed());
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  house.world.set_link(kClientAt.ip, kSecondRelayAt.ip, {.delay = 25ms});
  house.world.set_link(kConnectorAt.ip, kRelayAt.ip, {.delay = 60ms});
  REQUIRE(house.boot());
  house.world.run_for(1s);
  CHECK(house.remote_of(house.open_echo()) == kSecondRelayAt);
}

TEST_CASE("of many relays a node binds at the nearest, and comes to rest", "[sim]") {
  House house(seed_of(43), {.delay = 40ms}, relayed());
  INFO("replay: " << house.world.replay());
  for (std::uint8_t i = 0; i < 8; ++i) {
    house.add_relay("relay-" + std::to_string(i), relay_at(i));
    if (i < 4) house.world.set_link(kConnectorAt.ip, relay_at(i).ip, {.delay = 3ms});
    if (i >= 4) house.world.set_link(kClientAt.ip, relay_at(i).ip, {.delay = 3ms});
  }
  REQUIRE(house.boot());
  house.world.run_for(10s);
  const auto is_near = [](const node::Link& link) {
    const auto bound = link.relays().bound_relays();
    return bound.size() == 4 && std::ranges::all_of(bound, [&](const RelayId& relay) {
             return link.relays().round_trip(relay).value_or(1h) < 20ms;
           });
  };
  CHECK(is_near(house.client->node().link()));
  CHECK(is_near(house.connector->node().link()));

  // A client whose relays are not the connector's goes to the connector's.
  (void)house.open_echo();
  const auto bound = [&] {
    const auto relays = house.client->node().link().relays().bound_relays();
    return std::set(relays.begin(), relays.end());
  };
  const auto settled = bound();
  CHECK(settled.size() > 4);
  house.world.run_for(30min);
  CHECK(bound() == settled);
  CHECK(is_near(house.connector->node().link()));
}

TEST_CASE("a relay that dies gives its place to one that was measured", "[sim]") {
  House house(seed_of(44), {.delay = 20ms}, relayed());
  INFO("replay: " << house.world.replay());
  for (std::uint8_t i = 0; i < 5; ++i) {
    house.add_relay("relay-" + std::to_string(i), relay_at(i));
  }
  REQUIRE(house.boot());
  house.world.run_for(10s);
  const auto& relays = house.client->node().link().relays();
  const auto dead = relays.bound_at(relays.bound_relays().front());
  if (*dead == kRelayAt) {
    house.world.detach(*house.relay);
  } else {
    const auto number = dead->ip.octets()[15];
    house.world.detach(*house.more_relays[number]);
  }
  CHECK(house.world.run_until([&] { return relays.bound_relays().size() == 3; }, 90s));
  CHECK(house.world.run_until([&] { return relays.bound_relays().size() == 4; }, 5s));
}

TEST_CASE("many flows of one client are shared out over three connectors", "[sim]") {
  House house(seed_of(45), {.delay = 5ms}, relayed());
  INFO("replay: " << house.world.replay());
  house.add_connector("second", kSecondConnectorAt);
  house.add_connector("third", {IpAddress::v4({198, 18, 0, 7}), 40007});
  REQUIRE(house.boot());
  house.world.run_for(1s);
  for (int i = 0; i < 90; ++i) {
    const auto flow = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_ready; }, 10s));
  }
  const std::size_t counts[] = {house.connector->open_flow_count(),
                                house.more_connectors[0]->open_flow_count(),
                                house.more_connectors[1]->open_flow_count()};
  for (const std::size_t count : counts) CHECK((count >= 20 && count <= 40));
  CHECK(counts[0] + counts[1] + counts[2] == 90);
}

TEST_CASE("a connector that stays dead costs one flow, however long it stays so", "[sim]") {
  House house(seed_of(46), {.delay = 10ms}, relayed());
  INFO("replay: " << house.world.replay());
  house.add_connector("second", kSecondConnectorAt);
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  const bool is_first = house.connector->open_flow_count() == 1;
  (is_first ? *house.connector : *house.more_connectors[0]).crash();
  (void)flow;
  int slow_count = 0;
  for (int i = 0; i < 100; ++i) {
    const Instant asked = house.world.now().instant;
    const auto next = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(next).is_ready; }, 10s));
    if (house.world.now().instant - asked > 150ms) ++slow_count;
    house.client->send(next, "", true);
    house.world.run_for(1s);
  }
  CHECK(slow_count <= 1);
  // When it is back, it is found without a flow, and used again.
  ConnectorActor& dead = is_first ? *house.connector : *house.more_connectors[0];
  dead.restart();
  house.world.run_for(6min);
  for (int i = 0; i < 20; ++i) {
    const auto next = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(next).is_ready; }, 10s));
    house.world.run_for(20s);
  }
  CHECK(dead.open_flow_count() > 0);
}

}  // namespace
}  // namespace zt::sim
