// SPDX-License-Identifier: Apache-2.0
// The main job under virtual time: a private service reached through all four roles.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// open_when_known opens a flow as a patient user does: the controller learns by heartbeats where a
// connector is bound, and on a bad link one may take a while.
client::FlowKey open_when_known(House& house, const std::string& target) {
  for (int attempt = 0;; ++attempt) {
    const auto flow = house.client->open(target);
    const AppFlow& state = house.client->flow(flow);
    house.world.run_until([&] { return state.is_ready || state.is_over; }, 60s);
    if (state.is_ready || attempt == 10) return flow;
    INFO(state.refusal->text);
    REQUIRE(state.refusal->kind == client::Outcome::Kind::unreachable);
    house.world.run_for(2s);
  }
}

std::string payload(std::size_t size) {
  std::string text;
  while (text.size() < size) text += std::string(kCanary) + std::to_string(text.size()) + ";";
  return text;
}

TEST_CASE("a private service is reached through all four roles", "[sim]") {
  House house(seed_of(1));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto flow = house.client->open("db.internal:5432");
  const std::string request = payload(100);
  house.client->send(flow, request, true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 10s));
  CHECK(house.client->flow(flow).is_orderly);
  CHECK((house.client->flow(flow).received == request));
  REQUIRE(house.world.run_until([&] { return house.connector->open_flow_count() == 0; }, 1s));

  // Both ends report to the central log.
  house.world.run_for(3s);
  const auto events = house.controller->ask("GET", "events", nullptr, 200).at("items");
  CHECK(events.size() >= 2);
}

TEST_CASE("bulk in both directions survives loss, duplication and reordering", "[sim]") {
  House house(seed_of(2), {.delay = 10ms, .jitter = 5ms, .loss = 0.02, .duplication = 0.02});
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot(30s));
  const auto flow = open_when_known(house, "db.internal:5432");
  const std::string request = payload(std::size_t{3} << 20U);
  house.client->send(flow, request, true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 120s));
  CHECK(house.client->flow(flow).is_orderly);
  CHECK((house.client->flow(flow).received == request));
}

TEST_CASE("what no rule allows is refused, and the refusal names why", "[sim]") {
  House house(seed_of(3));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  SECTION("a resource without access is none of this client's business") {
    const auto flow = house.client->open("web.internal:80");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
    REQUIRE(house.client->flow(flow).refusal);
    CHECK_FALSE(house.client->flow(flow).is_ready);
  }
  SECTION("a port that the resource does not offer") {
    const auto flow = house.client->open("db.internal:22");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
    CHECK(house.client->flow(flow).refusal);
  }
  SECTION("an explicit deny wins over the allow, and is named") {
    house.controller->ask("POST", "access-rules",
                          {{"name", "freeze"},
                           {"effect", "deny"},
                           {"subjects", {house.account_id}},
                           {"resources", {house.db_id}}},
                          201);
    house.world.run_for(1s);
    const auto flow = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
    REQUIRE(house.client->flow(flow).refusal);
    CHECK(house.client->flow(flow).refusal->text.contains("\"freeze\" denies"));
  }
}

TEST_CASE("a service that refuses is reported as refused, not as a broken tunnel", "[sim]") {
  House house(seed_of(4));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  house.connector->services.clear();
  const auto flow = house.client->open("db.internal:5432");
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
  REQUIRE(house.client->flow(flow).refusal);
  CHECK(house.client->flow(flow).refusal->kind == client::Outcome::Kind::refused);
}

TEST_CASE("a name that leads to loopback or metadata is refused at the connector", "[sim]") {
  House house(seed_of(5));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  for (const char* disguise : {"127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1",
                               "64:ff9b::7f00:1", "2002:7f00:1::", "10.20.0.2", "fe80::1"}) {
    INFO(disguise);
    house.connector->names["db.internal"] = {*IpAddress::parse(disguise)};
    house.connector->services[{*IpAddress::parse(disguise), 5432}] =
        house.connector->services.begin()->second;
    const auto flow = house.client->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
    CHECK(house.client->flow(flow).refusal);
  }
}

TEST_CASE("revoking access cuts a live flow within a second", "[sim]") {
  House house(seed_of(6), {.delay = 25ms});
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, payload(100), false);
  REQUIRE(house.world.run_until([&] { return !house.client->flow(flow).received.empty(); }, 5s));
  const Instant revoked_at = house.world.now().instant;
  house.controller->ask("DELETE", "access-rules/" + house.rule_id, nullptr, 204);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
  CHECK_FALSE(house.client->flow(flow).is_orderly);
  const auto took = house.world.now().instant - revoked_at;
  WARN("revoked access was cut after "
       << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
       << " ms of virtual time, on links of 25 ms");
  CHECK(took <= 1s);
}

TEST_CASE("a device that is disabled loses its place at the relay within a second", "[sim]") {
  House house(seed_of(10), {.delay = 25ms});
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto binding_count = [&] { return house.relay->node().engine().binding_count(); };
  REQUIRE(house.world.run_until([&] { return binding_count() == 2; }, 5s));
  const auto devices = house.controller->ask("GET", "devices", nullptr, 200).at("items");
  const auto device = "devices/" + devices.at(0).at("id").get<std::string>();
  house.controller->ask("PATCH", device, {{"enabled", false}}, 200);
  REQUIRE(house.world.run_until([&] { return binding_count() == 1; }, 1s));
  house.world.run_for(60s);  // Its relay token is still valid, and it still tries.
  CHECK(binding_count() == 1);
}

TEST_CASE("grants are renewed under a live flow", "[sim]") {
  House house(seed_of(7));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, "a", false);
  house.world.run_for(20min);  // Four lifetimes of a grant.
  REQUIRE_FALSE(house.client->flow(flow).is_over);
  house.client->send(flow, "b", true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
  CHECK(house.client->flow(flow).is_orderly);
  CHECK(house.client->flow(flow).received == "ab");
}

TEST_CASE("without the controller a live flow stands still when its grant ends", "[sim]") {
  House house(seed_of(8));
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, "a", false);
  house.world.run_for(1s);
  house.world.detach(*house.controller);
  house.world.run_for(5min + 1s);
  house.client->send(flow, "b", false);
  house.world.run_for(10min);
  CHECK(house.client->flow(flow).received == "a");
  CHECK_FALSE(house.client->flow(flow).is_over);  // See sleep_test.cc for how it goes on.
}

TEST_CASE("any seed gives the main job over bad links", "[sim][property]") {
  for (std::uint64_t seed = seed_of(100); seed < seed_of(100) + 10; ++seed) {
    House house(seed, {.delay = 20ms, .jitter = 20ms, .loss = 0.05, .duplication = 0.05});
    INFO("replay: ZT_SEED=" << house.world.seed());
    REQUIRE(house.boot(60s));
    const auto flow = open_when_known(house, "db.internal:5432");
    const std::string request = payload(50'000);
    house.client->send(flow, request, true);
    REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 60s));
    REQUIRE(house.client->flow(flow).is_orderly);
    REQUIRE((house.client->flow(flow).received == request));
  }
}

}  // namespace
}  // namespace zt::sim
