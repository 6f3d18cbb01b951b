// SPDX-License-Identifier: Apache-2.0
// Clocks that are wrong and timers that ring late: what a right allows gets no longer by either.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// is_open opens a flow, and tells whether it got through.
bool is_open(House& house) {
  const auto flow = house.client->open("db.internal:5432");
  (void)house.world.run_until([&] { return house.client->flow(flow).is_over; }, 3s);
  if (!house.client->flow(flow).is_ready) return false;
  const bool is_answered = house.exchange(flow, kCanary, 3s);
  house.client->send(flow, "", true);
  return is_answered;
}

// talk sends over each of the flows that lives, once a second until `end`. House sees each byte
// that passes.
void talk(House& house, std::initializer_list<client::FlowKey> flows, Instant end) {
  while (house.world.now().instant < end) {
    for (const client::FlowKey flow : flows) {
      if (!house.client->flow(flow).is_over) house.client->send(flow, kCanary, false);
    }
    house.world.run_for(1s);
  }
}

TEST_CASE("clocks that differ by less than the leeway disturb nobody", "[sim]") {
  const auto offset = GENERATE(-29s, 29s);
  CAPTURE(offset.count());
  House house(seed_of(800), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  house.world.set_clock_offset(*house.controller, offset);
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  for (int minute = 0; minute < 12; ++minute) {  // Grants are renewed twice and more.
    house.world.run_for(1min);
    REQUIRE(house.exchange(flow, kCanary, 1s));
  }
}

TEST_CASE("a connector whose clock is wrong lets nobody in, until it is right again", "[sim]") {
  // Behind, a grant is of the future; ahead, of the past.
  const auto offset = GENERATE(-2min, -1h, 6min, 24h);
  CAPTURE(offset.count());
  House house(seed_of(801), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  REQUIRE(house.boot());
  house.world.run_for(1s);
  REQUIRE(is_open(house));
  house.world.set_clock_offset(*house.connector, offset);
  house.world.run_for(10min);  // Grants that are older than the clock's jump have ended.
  CHECK_FALSE(is_open(house));
  CHECK(house.connector->open_flow_count() == 0);
  house.world.set_clock_offset(*house.connector, 0s);
  house.world.run_for(1min);
  CHECK(is_open(house));
}

TEST_CASE("a node that boots with a wrong clock works once the clock is right", "[sim]") {
  const auto offset = GENERATE(-2min, -1h, 6min);
  const bool is_client = GENERATE(true, false);
  CAPTURE(offset.count(), is_client);
  House house(seed_of(802), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const Actor& wrong = is_client ? static_cast<const Actor&>(*house.client) : *house.connector;
  house.world.set_clock_offset(wrong, offset);
  house.world.run_for(20s);
  house.world.set_clock_offset(wrong, 0s);
  REQUIRE(house.boot(1min));
  house.world.run_for(1s);
  CHECK(is_open(house));
}

TEST_CASE("what a controller says whose clock was set back holds once the clock has caught up",
          "[sim]") {
  House house(seed_of(805), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto allow = [&](bool is_allowed) {
    house.controller->ask("PATCH", "access-rules/" + house.rule_id, {{"enabled", is_allowed}}, 200);
    house.world.run_for(1s);
  };
  house.world.set_clock_offset(*house.controller, 25s);
  allow(false);
  CHECK_FALSE(is_open(house));
  house.world.set_clock_offset(*house.controller, 0s);
  allow(true);
  house.world.run_for(1min);
  CHECK(is_open(house));
}

TEST_CASE("a node asks again once in a heartbeat's interval for what its clock refuses", "[sim]") {
  const bool is_client = GENERATE(true, false);
  CAPTURE(is_client);
  House house(seed_of(806), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const Actor& wrong = is_client ? static_cast<const Actor&>(*house.client) : *house.connector;
  const SocketAddress& from = is_client ? kClientAt : kConnectorAt;
  house.world.set_clock_offset(wrong, -1h);
  house.world.run_for(5s);
  std::size_t count = 0;
  house.world.on_wire = [&](const Hop& hop, std::span<const std::byte>) {
    if (hop.from == from && hop.to == kControllerAt) ++count;
  };
  house.world.run_for(1min);
  CHECK(count < 100);  // Four times, and four heartbeats.
}

TEST_CASE("a late timer lets no byte pass after the end of a grant", "[sim][threat]") {
  House house(seed_of(803), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  const Instant opened = house.world.now().instant;
  house.world.detach(*house.controller);
  house.world.set_timer_delay(*house.connector, 20s);
  talk(house, {flow}, opened + 5min + 30s);
  CHECK(house.milliseconds_since(opened) >= 330'000);
}

TEST_CASE("a clock that is set back gives an old grant no longer life", "[sim][threat]") {
  House house(seed_of(804), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto first = house.open_echo();
  const Instant opened = house.world.now().instant;
  house.world.detach(*house.controller);
  house.world.run_for(4min);
  house.world.set_clock_offset(*house.connector, -2min);
  const auto second = house.open_echo();  // By the same grant.
  talk(house, {first, second}, opened + 8min);
  CHECK(house.connector->node().engine()->statistics().flows_open == 0);
  CHECK(house.connector->node().engine()->statistics().flows_held == 2);
}

}  // namespace
}  // namespace zt::sim
