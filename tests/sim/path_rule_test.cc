// SPDX-License-Identifier: Apache-2.0
// Path rules hold in a whole installation: what may not cross a relay does not, and what must does.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

void set_rule(House& house, const wire::Json& rule) {
  const std::string path = "networks/" + house.network_id;
  (void)house.controller->ask("PATCH", path, {{"path", rule}}, 200);
}

// Traffic counts the bytes that hosts exchange, by whether a relay is at one end.
struct Traffic {
  explicit Traffic(House& house) {
    house.world.on_wire = [this](const Hop& hop, std::span<const std::byte> bytes) {
      const bool is_relayed = hop.from == kRelayAt || hop.to == kRelayAt;
      (is_relayed ? relayed : direct) += bytes.size();
    };
  }
  std::size_t relayed = 0;
  std::size_t direct = 0;
};

TEST_CASE("never-relay: a flow waits until it is direct, and no byte of it crosses a relay",
          "[sim]") {
  House house(seed_of(61), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  set_rule(house, {{"paths", "never-relay"}});
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.client->open("db.internal:5432");
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_ready; }, 5s));
  CHECK(house.path_of(flow) == "direct");
  Traffic traffic(house);
  REQUIRE(house.exchange(flow, std::string(200'000, 'x'), 10s));
  CHECK(traffic.direct > 400'000);
  CHECK(traffic.relayed < 20'000);

  // The direct path dies, and what is written waits for it.
  house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
  traffic.relayed = 0;
  house.client->send(flow, std::string(200'000, 'y'), false);
  house.world.run_for(3s);
  CHECK(house.path_of(flow) == "direct");
  CHECK(traffic.relayed < 20'000);
  CHECK_FALSE(house.client->flow(flow).is_over);
  const auto next = house.client->open("db.internal:5432");
  house.world.run_for(1s);
  CHECK_FALSE(house.client->flow(next).is_ready);
  house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.delay = 10ms});
  CHECK(house.world.run_until([&] { return house.client->flow(flow).received.size() == 400'000; },
                              20s));
  CHECK(house.world.run_until([&] { return house.client->flow(next).is_ready; }, 5s));
  CHECK(traffic.relayed < 40'000);
}

TEST_CASE("never-relay: behind symmetric NATs a flow fails with the reason, and sends nothing",
          "[sim]") {
  House house(seed_of(62), {.delay = 10ms}, [](World& world) {
    return lay_out_behind(world, nat_config(kSymmetric, kClientNatIp),
                          nat_config(kSymmetric, kConnectorNatIp));
  });
  INFO("replay: " << house.world.replay());
  set_rule(house, {{"paths", "never-relay"}});
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, std::string(100'000, 'x'), false);
  Traffic traffic(house);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 46s));
  REQUIRE(house.client->flow(flow).refusal);
  CHECK(house.client->flow(flow).refusal->text.find(
            "no direct path was found within 10 s, and the path rule of \"db\" is never-relay") !=
        std::string::npos);
  CHECK(traffic.relayed < 60'000);
  CHECK(house.connector->open_flow_count() == 0);
}

TEST_CASE("always-relay: neither end probes, and the flow stays on the relay", "[sim]") {
  House house(seed_of(63), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  set_rule(house, {{"paths", "always-relay"}});
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  house.world.run_for(2min);
  CHECK(house.path_of(flow).starts_with("relayed:"));
  CHECK(house.client->node().link().paths().counters().probes_sent == 0);
  CHECK(house.connector->node().link().paths().counters().probes_sent == 0);
  CHECK(house.client->node().link().paths().counters().probes_received == 0);
}

TEST_CASE("a rule that changes ends the flows that it forbids, and new ones obey it", "[sim]") {
  const bool is_never = GENERATE(true, false);
  CAPTURE(is_never);
  House house(seed_of(64), {.delay = 10ms},
              lay_out_with(is_never ? Paths::always_relay : Paths::any));
  INFO("replay: " << house.world.replay());
  REQUIRE(house.boot());
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  house.world.run_for(3s);
  CHECK(house.path_of(flow).starts_with(is_never ? "relayed:" : "direct"));
  set_rule(house, {{"paths", is_never ? "never-relay" : "always-relay"}});
  CHECK(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 1s));
  const auto next = house.client->open("db.internal:5432");
  house.world.run_for(3s);
  CHECK(house.client->flow(next).is_ready != is_never);
  if (!is_never) CHECK(house.path_of(next).starts_with("relayed:"));
}

TEST_CASE("only relays of the allowed region carry a flow, however near the others are", "[sim]") {
  House house(seed_of(65), {.delay = 10ms}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  for (const IpAddress& end : {kClientAt.ip, kConnectorAt.ip}) {
    house.world.set_link(end, kSecondRelayAt.ip, {.delay = 50ms});
  }
  REQUIRE(house.boot());
  const wire::Json relays = house.controller->ask("GET", "relays", nullptr, 200);
  for (const wire::Json& relay : relays.at("items")) {
    const bool is_far = relay.at("name") == "second";
    (void)house.controller->ask("PATCH", "relays/" + relay.at("id").get<std::string>(),
                                {{"region", is_far ? "far" : "near"}}, 200);
  }
  set_rule(house, {{"regions", {"far"}}});
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  CHECK(house.remote_of(flow) == kSecondRelayAt);
  set_rule(house, {{"regions", {"near"}}});
  CHECK(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 1s));
  const auto next = house.open_echo();
  CHECK(house.remote_of(next) == kRelayAt);
}

// relay_id returns the id of the relay with that name.
std::string relay_id(House& house, const std::string& name) {
  const wire::Json relays = house.controller->ask("GET", "relays", nullptr, 200);
  for (const wire::Json& relay : relays.at("items")) {
    if (relay.at("name") == name) return relay.at("id").get<std::string>();
  }
  FAIL("there is no relay " << name);
  return {};
}

// add_far_relay adds a relay that is named "far", and is.
void add_far_relay(House& house) {
  house.add_relay("far", kSecondRelayAt);
  for (const IpAddress& end : {kClientAt.ip, kConnectorAt.ip}) {
    house.world.set_link(end, kSecondRelayAt.ip, {.delay = 50ms});
  }
}

TEST_CASE("own-first: the named relay carries flows while it lives, then another one does",
          "[sim]") {
  House house(seed_of(66), {.delay = 10ms}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  add_far_relay(house);
  REQUIRE(house.boot());
  set_rule(house, {{"relays", {relay_id(house, "far")}}, {"own_first", true}});
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  CHECK(house.remote_of(flow) == kSecondRelayAt);
  house.world.detach(house.relay_of(flow));
  CHECK(house.exchange(flow, "and on", 2s));
  CHECK(house.remote_of(flow) == kRelayAt);
}

TEST_CASE("a resource's own rule counts, and not that of its network", "[sim]") {
  House house(seed_of(67), {.delay = 10ms}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  add_far_relay(house);
  REQUIRE(house.boot());
  set_rule(house, {{"paths", "never-relay"}});
  (void)house.controller->ask("PATCH", "resources/" + house.db_id,
                              {{"path", {{"relays", {relay_id(house, "far")}}}}}, 200);
  house.world.run_for(1s);
  const auto flow = house.open_echo();
  CHECK(house.remote_of(flow) == kSecondRelayAt);
  (void)house.controller->ask("PATCH", "resources/" + house.db_id,
                              {{"path", {{"paths", "inherit"}}}}, 200);
  CHECK(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 1s));
}

TEST_CASE("both ends bind at the relay that a rule names, however many are nearer", "[sim]") {
  House house(seed_of(68), {.delay = 10ms}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  add_far_relay(house);
  for (std::uint8_t number = 1; number <= 5; ++number) {
    house.add_relay("near-" + std::to_string(number),
                    {IpAddress::v4({198, 18, 3, number}), kRelayAt.port});
  }
  REQUIRE(house.boot());
  house.world.run_for(10s);
  const RelayId far{relay_id(house, "far")};
  CHECK_FALSE(house.client->node().link().relays().bound_at(far));
  CHECK_FALSE(house.connector->node().link().relays().bound_at(far));
  set_rule(house, {{"relays", {far.text}}});
  house.world.run_for(1s);
  const auto flow = house.client->open("db.internal:5432");
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_ready; }, 5s));
  CHECK(house.remote_of(flow) == kSecondRelayAt);
}

}  // namespace
}  // namespace zt::sim
