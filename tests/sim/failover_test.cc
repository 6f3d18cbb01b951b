// SPDX-License-Identifier: Apache-2.0
// A connector that does not answer is passed over; its live flows stay with it.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <optional>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// TwoConnectors has a live flow through `used`, and another connector that could do as well.
struct TwoConnectors {
  TwoConnectors(std::uint64_t seed, const Link& link, Paths policy, bool has_second_relay = false)
      : house(seed_of(seed), link, lay_out_with(policy)),
        second(house.add_connector("second", kSecondConnectorAt)) {
    if (has_second_relay) house.add_relay("second", kSecondRelayAt);
    REQUIRE(house.boot());
    house.world.run_for(1s);  // The controller learns where the connectors are bound.
    live = house.open_echo();
    house.world.run_for(3s);
    used = &house.busy_connector();
    other = &house.other_connector(*used);
    REQUIRE(used->open_flow_count() == 1);
  }

  // open_within opens a flow and tells how long that took; nothing if it took longer than `limit`.
  std::optional<long> open_within(Duration limit) {
    const Instant asked = house.world.now().instant;
    last = house.client->open("db.internal:5432");
    if (!house.world.run_until([&] { return house.client->flow(last).is_ready; }, limit)) {
      return std::nullopt;
    }
    return house.milliseconds_since(asked);
  }

  House house;
  ConnectorActor& second;
  ConnectorActor* used = nullptr;
  ConnectorActor* other = nullptr;
  client::FlowKey live{};
  client::FlowKey last{};
};

TEST_CASE("killing the connector in use sends new flows to another one within a second",
          "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  TwoConnectors at(31, {.delay = 10ms}, policy);
  INFO("replay: " << at.house.world.replay());
  at.used->crash();
  const auto first = at.open_within(1s);
  REQUIRE(first);
  CHECK(at.other->open_flow_count() == 1);
  REQUIRE(at.house.exchange(at.last, kCanary, 1s));
  // Probing the dead one costs the next flows nothing.
  long slowest = 0;
  for (int i = 0; i < 10; ++i) {
    const auto next = at.open_within(1s);
    REQUIRE(next);
    slowest = std::max(slowest, *next);
    at.house.world.run_for(200ms);
  }
  CHECK(slowest <= 100);
  CHECK_FALSE(at.house.client->flow(at.live).is_over);
  // QUIC decides about the live flow.
  CHECK(at.house.world.run_until([&] { return at.house.client->flow(at.live).is_over; }, 40s));
  WARN("the first new flow was ready after "
       << *first << " ms of virtual time, the next ones after " << slowest
       << " ms, on links of 10 ms");
}

TEST_CASE("who has live flows knows within half a second that their connector is dead",
          "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  TwoConnectors at(34, {.delay = 10ms}, policy);
  INFO("replay: " << at.house.world.replay());
  at.used->crash();
  at.house.client->send(at.live, "said into the void", false);
  at.house.world.run_for(500ms);
  const auto first = at.open_within(1s);
  REQUIRE(first);
  CHECK(*first <= 100);  // It does not ask the dead one.
  CHECK(at.other->open_flow_count() == 1);
  CHECK_FALSE(at.house.client->flow(at.live).is_over);
  WARN("the first new flow was ready after " << *first << " ms of virtual time");
}

TEST_CASE("a connector that died before its first flow costs that less than a second",
          "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  long slowest = 0;
  for (const bool is_second : {false, true}) {  // One of the two is the first in the grant.
    CAPTURE(is_second);
    House house(seed_of(32), {.delay = 10ms}, lay_out_with(policy));
    INFO("replay: " << house.world.replay());
    ConnectorActor& second = house.add_connector("second", kSecondConnectorAt);
    REQUIRE(house.boot());
    house.world.run_for(1s);
    (is_second ? second : *house.connector).crash();
    const Instant asked = house.world.now().instant;
    const auto flow = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_ready; }, 1s));
    slowest = std::max(slowest, house.milliseconds_since(asked));
  }
  CHECK(slowest > 400);
  WARN("ready after " << slowest << " ms of virtual time, on links of 10 ms");
}

TEST_CASE("a connector that hiccups for a second loses no live flow", "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  TwoConnectors at(33, {.delay = 10ms}, policy);
  INFO("replay: " << at.house.world.replay());
  // It stands still, and what is sent to it is lost.
  at.house.world.detach(*at.used);
  const Instant stopped = at.house.world.now().instant;
  at.house.client->send(at.live, "said meanwhile", false);
  REQUIRE(at.open_within(1s));
  CHECK(at.other->open_flow_count() == 1);
  at.house.world.run_for(1s - (at.house.world.now().instant - stopped));
  at.house.world.attach(*at.used, at.used->place());
  at.house.world.wake(*at.used);
  const Instant back = at.house.world.now().instant;
  const std::string expected = std::string(kCanary) + "said meanwhile";
  REQUIRE(at.house.world.run_until(
      [&] { return at.house.client->flow(at.live).received == expected; }, 2s));
  WARN("the live flow went on after " << at.house.milliseconds_since(back)
                                      << " ms of virtual time");
  REQUIRE(at.house.exchange(at.live, "and on", 1s));
  CHECK_FALSE(at.house.client->flow(at.live).is_over);
  // It is as good as before.
  REQUIRE(at.open_within(1s));
  CHECK(at.used->open_flow_count() == 2);
}

TEST_CASE("a flow waits for the only connector while that hiccups", "[sim]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  TwoConnectors at(34, {.delay = 10ms}, policy);
  INFO("replay: " << at.house.world.replay());
  at.other->crash();
  at.house.world.detach(*at.used);
  REQUIRE_FALSE(at.open_within(3s));
  CHECK_FALSE(at.house.client->flow(at.last).is_over);
  at.house.world.attach(*at.used, at.used->place());
  at.house.world.wake(*at.used);
  const auto& flow = at.house.client->flow(at.last);
  REQUIRE(at.house.world.run_until([&] { return flow.is_ready; }, 2s));
  CHECK(at.house.exchange(at.live, "and on", 1s));
}

TEST_CASE("the death of a relay is not taken for the silence of connectors", "[sim]") {
  const auto delay = GENERATE(1ms, 10ms, 30ms);
  CAPTURE(delay.count());
  TwoConnectors at(36, {.delay = delay}, Paths::always_relay, true);
  INFO("replay: " << at.house.world.replay());
  at.house.world.detach(at.house.relay_of(at.live));
  const auto opened = at.open_within(1s);
  REQUIRE(opened);
  CHECK(at.used->open_flow_count() == 2);
  CHECK(at.other->open_flow_count() == 0);
}

TEST_CASE("on a lossy path no connector is passed over while it lives", "[sim]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  TwoConnectors at(35, {.delay = 25ms, .jitter = 10ms, .loss = 0.05}, policy);
  INFO("replay: " << at.house.world.replay());
  for (int i = 0; i < 50; ++i) {
    REQUIRE(at.open_within(10s));
    for (const auto& connector : at.house.client->node().status(at.house.world.now()).connectors) {
      CHECK_FALSE(connector.is_silent);
    }
  }
  CHECK(at.used->open_flow_count() + at.other->open_flow_count() == 51);
}

}  // namespace
}  // namespace zt::sim
