// SPDX-License-Identifier: Apache-2.0
// Relays and connectors that are told to end lose no flow, and nobody new comes to them.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// Going has a live flow, and measures how long it stands still.
struct Going {
  Going(std::uint64_t seed, Paths policy, bool has_second_relay, bool has_second_connector)
      : house(seed_of(seed), {.delay = 10ms}, lay_out_with(policy)) {
    if (has_second_relay) house.add_relay("second", kSecondRelayAt);
    if (has_second_connector) house.add_connector("second", kSecondConnectorAt);
    REQUIRE(house.boot());
    house.world.run_for(1s);  // The controller learns where the connectors are bound.
    live = house.open_echo();
    house.world.run_for(3s);
  }

  // go_on exchanges for a while and returns the longest that one exchange took.
  Duration go_on(Duration time) {
    Duration slowest{};
    const Instant end = house.world.now().instant + time;
    while (house.world.now().instant < end) {
      const Instant begin = house.world.now().instant;
      REQUIRE(house.exchange(live, kCanary, 5s));
      slowest = std::max(slowest, house.world.now().instant - begin);
    }
    return slowest;
  }

  bool opens(Duration limit) {
    last = house.client->open("db.internal:5432");
    return house.world.run_until([&] { return house.client->flow(last).is_ready; }, limit);
  }

  House house;
  client::FlowKey live{};
  client::FlowKey last{};
};

TEST_CASE("a relay that drains loses no flow, becomes empty and ends", "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  Going at(61, policy, true, false);
  INFO("replay: " << at.house.world.replay());
  RelayActor& used = at.house.relay_of(at.live);
  used.drain();
  const Duration gap = at.go_on(2s);
  CHECK(gap <= 100ms);
  CHECK(at.house.world.run_until([&] { return used.is_drained; }, 2s));
  CHECK(used.node().engine().binding_count() == 0);
  if (policy == Paths::always_relay) CHECK(&at.house.relay_of(at.live) != &used);
  at.house.world.detach(used);
  CHECK(at.go_on(2s) <= 100ms);
  CHECK(at.opens(1s));
  CHECK_FALSE(at.house.client->flow(at.live).is_over);
  WARN("the longest of the exchanges took "
       << std::chrono::duration_cast<std::chrono::milliseconds>(gap).count()
       << " ms of virtual time, on links of 10 ms");
}

TEST_CASE("a relay that has drained is asked again and again, and has nobody anew", "[sim]") {
  Going at(62, Paths::always_relay, true, false);
  INFO("replay: " << at.house.world.replay());
  RelayActor& used = at.house.relay_of(at.live);
  used.drain();
  REQUIRE(at.house.world.run_until([&] { return used.is_drained; }, 5s));
  at.house.world.run_for(20s);  // They ask again, and are refused.
  CHECK(used.node().engine().binding_count() == 0);
  CHECK(at.house.client->node().link().relays().bound_relays().size() == 1);
  CHECK(at.go_on(1s) <= 100ms);
}

TEST_CASE("the only relay forwards while it drains", "[sim]") {
  Going at(63, Paths::always_relay, false, false);
  INFO("replay: " << at.house.world.replay());
  at.house.relay->drain();
  CHECK(at.go_on(10s) <= 100ms);
  CHECK(at.opens(1s));
  // A new address is bound as well: it is of somebody who is there already.
  at.house.client->move({.realm = kPublic, .address = {IpAddress::v4({198, 18, 0, 44}), 40004}});
  CHECK(at.go_on(5s) <= 1s);
  CHECK_FALSE(at.house.relay->is_drained);
  CHECK(at.house.relay->node().engine().binding_count() == 2);
}

TEST_CASE("both relays drain: the flow stays until the end", "[sim]") {
  Going at(64, Paths::always_relay, true, false);
  INFO("replay: " << at.house.world.replay());
  at.house.relay->drain();
  at.house.more_relays.at(0)->drain();
  CHECK(at.go_on(5s) <= 100ms);
  CHECK_FALSE((at.house.relay->is_drained && at.house.more_relays.at(0)->is_drained));
}

TEST_CASE("a connector that drains serves its flows to their last byte", "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  Going at(65, policy, false, true);
  INFO("replay: " << at.house.world.replay());
  ConnectorActor& used = at.house.busy_connector();
  ConnectorActor& other = at.house.other_connector(used);
  used.drain();
  CHECK(at.go_on(1s) <= 100ms);
  const Instant asked = at.house.world.now().instant;
  REQUIRE(at.opens(1s));  // It costs one connection to the other, and no timeout.
  CHECK(at.house.world.now().instant - asked <= 200ms);
  CHECK(other.open_flow_count() == 1);
  CHECK(used.open_flow_count() == 1);
  CHECK_FALSE(used.is_drained);
  // A long tail, all of it on its way when the flow ends.
  const std::string tail(300'000, 't');
  const std::string expected = at.house.client->flow(at.live).received + tail;
  at.house.client->send(at.live, tail, true);
  REQUIRE(at.house.world.run_until([&] { return used.is_drained; }, 20s));
  at.house.world.run_for(200ms);
  CHECK(at.house.client->flow(at.live).received == expected);
  CHECK(at.house.client->flow(at.live).is_orderly);
  CHECK(at.house.exchange(at.last, kCanary, 1s));
}

TEST_CASE("a connector without flows drains at once, and the next flow goes elsewhere", "[sim]") {
  Going at(66, Paths::always_relay, false, true);
  INFO("replay: " << at.house.world.replay());
  ConnectorActor& used = at.house.busy_connector();
  at.house.client->send(at.live, "", true);
  REQUIRE(at.house.world.run_until([&] { return at.house.client->flow(at.live).is_over; }, 1s));
  used.drain();
  REQUIRE(at.house.world.run_until([&] { return used.is_drained; }, 100ms));
  at.house.world.run_for(50ms);
  at.house.world.detach(used);
  const Instant asked = at.house.world.now().instant;
  REQUIRE(at.opens(1s));
  CHECK(at.house.world.now().instant - asked <= 200ms);
}

TEST_CASE("the only connector drains: new flows hear so at once, and the live one goes on",
          "[sim]") {
  Going at(67, Paths::always_relay, false, false);
  INFO("replay: " << at.house.world.replay());
  at.house.connector->drain();
  at.house.world.run_for(100ms);
  const auto refused = at.house.client->open("db.internal:5432");
  REQUIRE(at.house.world.run_until([&] { return at.house.client->flow(refused).is_over; }, 1s));
  REQUIRE(at.house.client->flow(refused).refusal);
  CHECK(at.house.client->flow(refused).refusal->kind == client::Outcome::Kind::unreachable);
  CHECK(at.go_on(1s) <= 100ms);
  CHECK_FALSE(at.house.connector->is_drained);
}

TEST_CASE("both connectors drain: new flows hear so from one after the other, at once", "[sim]") {
  Going at(68, Paths::always_relay, false, true);
  INFO("replay: " << at.house.world.replay());
  // A flow that was refused by the first has its answer from the second.
  at.house.connector->drain();
  at.house.more_connectors.at(0)->drain();
  at.house.world.run_for(100ms);
  const auto refused = at.house.client->open("db.internal:5432");
  CHECK(at.house.world.run_until([&] { return at.house.client->flow(refused).is_over; }, 1s));
  CHECK(at.go_on(1s) <= 100ms);
}

}  // namespace
}  // namespace zt::sim
