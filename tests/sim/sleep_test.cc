// SPDX-License-Identifier: Apache-2.0
// Machines that sleep, and controllers that are away: live flows go on afterwards, by a new grant.
// That no byte passes without one is what the checkers of every scenario look at (checkers.h).
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <set>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// Sleeping has a live flow to "db", which sends back what it gets.
struct Sleeping {
  Sleeping(std::uint64_t seed, Paths paths) : Sleeping(seed, lay_out_with(paths)) {
    REQUIRE(house.is_direct(live) == (paths == Paths::any));
  }
  Sleeping(std::uint64_t seed, const std::function<Layout(World&)>& lay_out)
      : house(seed_of(seed), {.delay = 10ms}, lay_out) {
    REQUIRE(house.boot());
    live = house.open_echo();
    house.world.run_for(5s);
  }

  // sleep_amid lets the client sleep while bytes are on their way in both directions: nothing
  // reaches it, and none of its timers fires until they are late. What must have come back after
  // that is in `expected`.
  void sleep_amid(Duration time) {
    expected = flow().received + "answer is lost" + "never sent";
    house.client->send(live, "answer is lost", false);
    house.world.run_for(house.is_direct(live) ? 15ms : 25ms);  // It is with the resource by now.
    house.world.detach(*house.client);
    house.client->send(live, "never sent", false);
    house.world.run_for(time);
    house.world.attach(*house.client, house.client->place());
    woken = house.world.now().instant;
  }

  bool has_all_come(Duration limit) {
    return house.world.run_until([&] { return flow().received == expected; }, limit);
  }

  // closing_reasons are those that the connector has reported to the controller.
  std::set<std::string> closing_reasons() {
    std::set<std::string> reasons;
    const auto page = house.controller->ask("GET", "events?limit=500", nullptr, 200);
    for (const auto& event : page.at("items")) {
      const bool is_end = event.at("event") == "closed" && event.at("reporter") == "connector";
      if (is_end) reasons.insert(event.at("reason").get<std::string>());
    }
    return reasons;
  }

  AppFlow& flow() { return house.client->flow(live); }
  [[nodiscard]] std::size_t held_count() const {
    return house.connector->node().engine()->statistics().flows_held;
  }
  [[nodiscard]] long milliseconds_awake() const { return house.milliseconds_since(woken); }

  House house;
  client::FlowKey live{};
  std::string expected;
  Instant woken;
};

Paths any_paths() {
  return GENERATE(Paths::any, Paths::always_relay);
}

TEST_CASE("a client that slept for an hour loses no byte of its flows", "[sim][bound]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(81, paths);
  INFO("replay: " << at.house.world.replay());
  at.sleep_amid(1h);
  CHECK(at.held_count() == 1);
  REQUIRE(at.has_all_come(2s));
  const long awake = at.milliseconds_awake();
  CHECK(at.held_count() == 0);
  CHECK(at.house.exchange(at.live, kCanary, 200ms));
  CHECK_FALSE(at.flow().is_over);
  at.house.client->crash();  // Nothing is left of it at the connector, after some hours.
  WARN("all bytes were there " << awake << " ms of virtual time after waking, on links of 10 ms");
}

TEST_CASE("a client that slept behind a Nat that has forgotten it goes on as well",
          "[sim][bound]") {
  Sleeping at(82, [](World& world) {
    return lay_out_behind(world, Nat::Config{.external = kClientNatIp}, std::nullopt);
  });
  INFO("replay: " << at.house.world.replay());
  at.sleep_amid(1h);
  REQUIRE(at.has_all_come(2s));
  CHECK(at.house.exchange(at.live, kCanary, 200ms));
}

TEST_CASE("a client that wakes up elsewhere goes on from there", "[sim][bound]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(83, paths);
  INFO("replay: " << at.house.world.replay());
  at.house.world.run_for(1s);
  at.house.world.detach(*at.house.client);
  at.house.world.run_for(1h);
  at.house.world.attach(*at.house.client, at.house.client->place());
  at.house.client->move({.realm = kPublic, .address = {IpAddress::v4({198, 18, 0, 44}), 40004}});
  CHECK(at.house.exchange(at.live, kCanary, 2s));
}

TEST_CASE("naps of any length cost no flow", "[sim]") {
  const Paths paths = any_paths();
  const Duration nap = GENERATE(1s, 4s, 6s, 20s, 40s, 200s, 299s, 310s, 1000s);
  CAPTURE(paths, std::chrono::duration_cast<std::chrono::seconds>(nap).count());
  Sleeping at(84, paths);
  INFO("replay: " << at.house.world.replay());
  for (int i = 0; i < 3; ++i) {
    at.sleep_amid(nap);
    REQUIRE(at.has_all_come(3s));
    at.house.world.run_for(1s);
  }
}

TEST_CASE("a client without a network for an hour, awake, loses no flow", "[sim][bound]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(85, paths);
  INFO("replay: " << at.house.world.replay());
  at.house.world.block_udp(kClientAt.ip, true);
  const std::string expected = at.flow().received + std::string(kCanary);
  at.house.client->send(at.live, kCanary, false);
  at.house.world.run_for(1h);
  CHECK_FALSE(at.flow().is_over);
  at.house.world.block_udp(kClientAt.ip, false);
  const Instant back = at.house.world.now().instant;
  // Nobody tells that it works again: the next try of a relay finds out.
  REQUIRE(at.house.world.run_until([&] { return at.flow().received == expected; }, 40s));
  WARN("went on " << at.house.milliseconds_since(back) << " ms after the network came back");
}

TEST_CASE(
    "a connector whose machine sleeps is given up in half a minute, and the application hears",
    "[sim]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(86, paths);
  INFO("replay: " << at.house.world.replay());
  at.house.world.detach(*at.house.connector);
  const Instant asleep = at.house.world.now().instant;
  REQUIRE(at.house.world.run_until([&] { return at.flow().is_over; }, 45s));
  CHECK(at.house.milliseconds_since(asleep) >= 18'000);
  CHECK_FALSE(at.flow().is_orderly);
  at.house.world.run_for(1h);
  at.house.world.attach(*at.house.connector, at.house.connector->place());
  // When it wakes up, new flows work within seconds.
  at.house.world.run_for(2s);
  const auto next = at.house.client->open("db.internal:5432");
  REQUIRE(at.house.world.run_until([&] { return at.house.client->flow(next).is_ready; }, 2s));
  CHECK(at.house.exchange(next, kCanary, 200ms));
}

TEST_CASE("while the controller is away a busy flow is held when its grant ends, then it goes on",
          "[sim][bound]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(87, paths);
  INFO("replay: " << at.house.world.replay());
  at.house.world.detach(*at.house.controller);
  const Instant away = at.house.world.now().instant;
  while (at.house.milliseconds_since(away) < 90'000) REQUIRE(at.house.exchange(at.live, "x", 1s));
  while (at.house.exchange(at.live, "x", 1s)) REQUIRE(at.house.milliseconds_since(away) < 300'000);
  CHECK(at.held_count() == 1);
  const std::string expected = at.flow().received + "x";  // Of the last exchange.
  at.house.world.run_for(10min - (at.house.world.now().instant - away));
  CHECK(at.held_count() == 1);
  CHECK_FALSE(at.flow().is_over);
  at.house.world.attach(*at.house.controller, kControllerAt);
  const Instant back = at.house.world.now().instant;
  REQUIRE(at.house.world.run_until([&] { return at.flow().received == expected; }, 60s));
  WARN("went on " << at.house.milliseconds_since(back) << " ms after the controller came back");
  CHECK(at.house.exchange(at.live, kCanary, 200ms));
}

TEST_CASE("a client that sleeps longer than flows are held finds them cut", "[sim][bound]") {
  const Paths paths = any_paths();
  CAPTURE(paths);
  Sleeping at(88, paths);
  INFO("replay: " << at.house.world.replay());
  at.house.world.detach(*at.house.client);
  at.house.world.run_for(79min);
  CHECK(at.held_count() == 1);
  at.house.world.run_for(2min);
  CHECK(at.house.connector->open_flow_count() == 0);
  at.house.world.attach(*at.house.client, at.house.client->place());
  REQUIRE(at.house.world.run_until([&] { return at.flow().is_over; }, 3s));
  CHECK_FALSE(at.flow().is_orderly);
  const auto next = at.house.open_echo();
  CHECK_FALSE(at.house.client->flow(next).is_over);
  CHECK(at.closing_reasons().contains("the grant has expired, and no other came in time"));
}

TEST_CASE("a right that is withdrawn while the client sleeps ends its flow, and no byte passes",
          "[sim][bound]") {
  const Paths paths = any_paths();
  const Duration after = GENERATE(1min, 30min);  // While the grant lives, and while it is held.
  CAPTURE(paths, std::chrono::duration_cast<std::chrono::minutes>(after).count());
  Sleeping at(89, paths);
  INFO("replay: " << at.house.world.replay());
  const std::string before = at.flow().received;
  std::size_t seen = 0;
  for (auto& [address, service] : at.house.connector->services) {
    service.on_bytes = [&seen](std::string_view bytes, bool) {
      seen += bytes.size();
      return std::string();
    };
  }
  at.house.world.detach(*at.house.client);
  at.house.client->send(at.live, kCanary, false);
  at.house.world.run_for(after);
  at.house.controller->ask("DELETE", "access-rules/" + at.house.rule_id, nullptr, 204);
  at.house.world.run_for(1h - after);
  at.house.world.attach(*at.house.client, at.house.client->place());
  REQUIRE(at.house.world.run_until([&] { return at.flow().is_over; }, 3s));
  at.house.world.run_for(5s);
  CHECK(seen == 0);
  CHECK(at.flow().received == before);
  CHECK(at.house.connector->open_flow_count() == 0);
}

TEST_CASE("where flows are not held, a sleeping client's ends with its grant", "[sim]") {
  Sleeping at(90, Paths::any);
  INFO("replay: " << at.house.world.replay());
  at.house.connector->limits.hold_timeout = Duration::zero();
  at.house.connector->crash();
  at.house.connector->restart();
  at.house.world.run_for(40s);  // The client gives the old one up.
  at.live = at.house.open_echo();
  at.house.world.detach(*at.house.client);
  at.house.world.run_for(4min);
  CHECK(at.house.connector->open_flow_count() == 1);
  at.house.world.run_for(61s);
  CHECK(at.house.connector->open_flow_count() == 0);
  at.house.world.attach(*at.house.client, at.house.client->place());
  CHECK(at.house.world.run_until([&] { return at.flow().is_over; }, 3s));
}

TEST_CASE("where there is no room, the client that sleeps makes it for one that has a grant",
          "[sim]") {
  const bool is_asleep = GENERATE(true, false);
  CAPTURE(is_asleep);
  Sleeping at(91, Paths::any);
  INFO("replay: " << at.house.world.replay());
  const std::string path = "service-accounts/" + at.house.account_id + "/keys";
  const auto key = at.house.controller->ask("POST", path, wire::Json::object(), 201);
  ClientActor other(at.house.world, 92, key.at("file").get<std::string>(),
                    {.realm = kPublic, .address = {IpAddress::v4({198, 18, 0, 45}), 40004}},
                    Paths::any);
  at.house.connector->limits.peers_max = 4;
  at.house.connector->crash();
  at.house.connector->restart();
  at.house.world.run_for(40s);  // The client gives the old one up.
  at.live = at.house.open_echo();
  at.house.world.attach(other, other.place());
  at.house.world.run_for(5s);
  if (is_asleep) at.house.world.detach(*at.house.client);
  at.house.world.run_for(2min);
  const auto next = other.open("db.internal:5432");
  REQUIRE(at.house.world.run_until([&] { return other.flow(next).is_ready; }, 3s));
  at.house.world.run_for(1s);
  CHECK(at.house.connector->open_flow_count() == (is_asleep ? 1U : 2U));
  CHECK(at.flow().is_over == false);
  if (is_asleep) {
    at.house.world.attach(*at.house.client, at.house.client->place());
    CHECK(at.house.world.run_until([&] { return at.flow().is_over; }, 3s));
  }
  other.leave();
  at.house.world.run_for(1s);
  at.house.world.detach(other);
}

}  // namespace
}  // namespace zt::sim
