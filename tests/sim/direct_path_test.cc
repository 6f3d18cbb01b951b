// SPDX-License-Identifier: Apache-2.0
// Connections leave the relay for a direct path, and come back to it when that dies.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// boot_with_echo boots a house and opens a flow.
client::FlowKey boot_with_echo(House& house) {
  REQUIRE(house.boot());
  house.world.run_for(1s);  // The controller learns where the connector is bound.
  return house.open_echo();
}

TEST_CASE("a connection is direct within a second of its first byte", "[sim][bound]") {
  House house(seed_of(11), {.delay = 25ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  CHECK(house.path_of(flow).starts_with("relayed:"));
  const Instant first_byte = house.world.now().instant;
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  WARN("direct after " << house.milliseconds_since(first_byte)
                       << " ms of virtual time, at a round trip of 50 ms");
}

TEST_CASE("a live flow survives the death of its direct path", "[sim][bound]") {
  House house(seed_of(12), {.delay = 25ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  house.world.run_for(2s);

  house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
  const Instant died = house.world.now().instant;
  REQUIRE(house.exchange(flow, "and on", 500ms));
  CHECK(house.path_of(flow).starts_with("relayed:"));
  WARN("the flow went on after " << house.milliseconds_since(died) << " ms of virtual time");

  // And up again, when it works again.
  house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.delay = 25ms});
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 60s));
  REQUIRE(house.exchange(flow, "and on", 200ms));
}

TEST_CASE("a direct path that works in one direction only is left, too", "[sim]") {
  House house(seed_of(13), {.delay = 25ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  SECTION("the client is not heard") {
    house.world.set_one_way_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
  }
  SECTION("the connector is not heard") {
    house.world.set_one_way_link(kConnectorAt.ip, kClientAt.ip, {.is_blocked = true});
  }
  REQUIRE(house.exchange(flow, "and on", 3s));
  CHECK(house.path_of(flow).starts_with("relayed:"));
}

TEST_CASE("bulk goes on while its path changes", "[sim]") {
  House house(seed_of(14), {.delay = 10ms, .rate_bits_per_s = 50'000'000});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  std::string sent;
  while (sent.size() < (4 << 20)) sent += std::string(kCanary) + std::to_string(sent.size());
  std::string expected = house.client->flow(flow).received + sent;
  house.client->send(flow, sent, true);
  int changes = 0;
  std::string path = house.path_of(flow);
  bool is_cut = false;
  REQUIRE(house.world.run_until(
      [&] {
        if (house.client->flow(flow).is_over) return true;
        const std::string now = house.path_of(flow);
        if (now != path) ++changes;
        path = now;
        if (changes == 1 && !is_cut) {
          is_cut = true;
          house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
        }
        return false;
      },
      60s));
  CHECK(changes >= 2);
  CHECK(house.client->flow(flow).is_orderly);
  CHECK((house.client->flow(flow).received == expected));
}

// lets_in tells whether a NAT lets in what one like `other` sends to the port that a relay has
// seen. It is the port that faces the other side, too, only if the mapping is endpoint-independent;
// and then a strict filter knows the other side's port only if that is no other one, either.
bool lets_in(const NatKind& kind, const NatKind& other) {
  const auto has_one_port = [](const NatKind& nat) {
    return nat.mapping == NatBehavior::endpoint_independent;
  };
  if (kind.filtering == NatBehavior::endpoint_independent) return true;
  if (!has_one_port(kind)) return false;
  return kind.filtering == NatBehavior::address_dependent || has_one_port(other);
}

// RFC 4787 decides: who is let in first shows where he is, and is answered.
bool can_be_direct(const NatKind& a, const NatKind& b) {
  return lets_in(a, b) || lets_in(b, a);
}

TEST_CASE("behind every pair of NATs the path is direct exactly when it can be", "[sim][rfc4787]") {
  for (const NatKind& client : kNatKinds) {
    for (const NatKind& connector : kNatKinds) {
      CAPTURE(client.name, connector.name);
      House house(seed_of(21), {.delay = 25ms}, [&](World& world) {
        return lay_out_behind(world, nat_config(client, kClientNatIp),
                              nat_config(connector, kConnectorNatIp));
      });
      INFO("replay: " << house.world.replay());
      const auto flow = boot_with_echo(house);
      const bool is_up = house.world.run_until([&] { return house.is_direct(flow); }, 2s);
      CHECK(is_up == can_be_direct(client, connector));
      CHECK(house.exchange(flow, "and on", 1s));
    }
  }
}

TEST_CASE("in one network behind one NAT the path is the network's own", "[sim]") {
  House house(seed_of(22), {.delay = 25ms}, [](World& world) {
    const Realm office = world.add_nat(nat_config(kSymmetric, kClientNatIp));
    return Layout{.client = {office, kClientInside}, .connector = {office, kConnectorInside}};
  });
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  const auto path = house.client->node().path_of(flow);
  REQUIRE(path);
  CHECK(path->remote == kConnectorInside);
}

TEST_CASE("a client that must use relays is never direct, and is not asked to be", "[sim]") {
  House house(seed_of(23), {.delay = 25ms}, lay_out_with(Paths::always_relay));
  const auto flow = boot_with_echo(house);
  CHECK_FALSE(house.world.run_until([&] { return house.is_direct(flow); }, 10s));
  CHECK(house.client->node().link().paths().counters().probes_sent == 0);
}

TEST_CASE("a client that roams goes on within 300 ms", "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  House house(seed_of(24), {.delay = 10ms}, [policy](World& world) {
    Layout layout = lay_out_behind(world, nat_config(kPortRestrictedCone, kClientNatIp),
                                   nat_config(kPortRestrictedCone, kConnectorNatIp));
    layout.policy = policy;
    return layout;
  });
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  if (policy == Paths::any) {
    REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  }
  house.world.run_for(3s);
  const Realm cafe =
      house.world.add_nat(nat_config(kPortRestrictedCone, IpAddress::v4({198, 18, 2, 4})));
  house.client->move({cafe, {IpAddress::v4({172, 16, 0, 9}), kClientInside.port}});
  const Instant moved = house.world.now().instant;
  CHECK(house.exchange(flow, "and on", 300ms));
  WARN("the flow went on after " << house.milliseconds_since(moved)
                                 << " ms of virtual time, on links of 10 ms");
}

TEST_CASE("a connector that moves goes on within 500 ms", "[sim][bound]") {
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(policy);
  House house(seed_of(25), {.delay = 10ms}, [policy](World& world) {
    Layout layout = lay_out_behind(world, nat_config(kPortRestrictedCone, kClientNatIp),
                                   nat_config(kPortRestrictedCone, kConnectorNatIp));
    layout.policy = policy;
    return layout;
  });
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  house.world.run_for(3s);
  house.connector->move({.address = kConnectorAt});
  const Instant moved = house.world.now().instant;
  CHECK(house.exchange(flow, "and on", 500ms));
  WARN("the flow went on after " << house.milliseconds_since(moved)
                                 << " ms of virtual time, on links of 10 ms");
}

TEST_CASE("a path that is taken again after an outage is watched again", "[sim]") {
  House house(seed_of(28), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  house.world.run_for(1s);
  const auto cut_off = [&house](const Link& link) {
    for (const SocketAddress& there : {kControllerAt, kRelayAt, kConnectorAt}) {
      house.world.set_link(kClientAt.ip, there.ip, link);
    }
  };
  cut_off({.is_blocked = true});
  house.world.run_for(1s);
  cut_off({.delay = 10ms});
  house.world.run_until([&] { return !house.is_direct(flow); }, 1s);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 90s));
  house.world.set_link(kClientAt.ip, kConnectorAt.ip, {.is_blocked = true});
  REQUIRE(house.exchange(flow, "and on", 1s));
}

TEST_CASE("an interface that comes and goes disturbs nobody", "[sim]") {
  House house(seed_of(27), {.delay = 10ms});
  INFO("replay: " << house.world.replay());
  const auto flow = boot_with_echo(house);
  REQUIRE(house.world.run_until([&] { return house.is_direct(flow); }, 1s));
  house.world.run_for(1s);
  const auto before = house.client->node().path_of(flow);
  house.client->has_container = true;
  house.client->tell_addresses();
  house.world.run_for(1s);
  const auto after = house.client->node().path_of(flow);
  REQUIRE(before);
  REQUIRE(after);
  // A new path would have begun with a new congestion window.
  CHECK(after->statistics.congestion_window_size >= before->statistics.congestion_window_size);
  CHECK(house.is_direct(flow));
  REQUIRE(house.exchange(flow, "and on", 100ms));
}

TEST_CASE("the death of the relay in use costs a live flow less than half a second",
          "[sim][bound]") {
  House house(seed_of(26), {.delay = 10ms}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  const auto flow = boot_with_echo(house);
  house.world.run_for(5s);
  const std::string before = house.path_of(flow);
  house.world.detach(house.relay_of(flow));
  const Instant died = house.world.now().instant;
  CHECK(house.exchange(flow, "and on", 500ms));
  CHECK(house.path_of(flow) != before);
  WARN("the flow went on after " << house.milliseconds_since(died)
                                 << " ms of virtual time, on links of 10 ms");
}

TEST_CASE("the death of the relay in use costs no half second on a path of 50 ms either",
          "[sim][bound]") {
  const Duration busy = GENERATE(0ms, 40ms, 90ms, 200ms);  // Since the last datagram.
  CAPTURE(busy);
  House house(seed_of(29), {.delay = 12500us}, lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  const auto flow = boot_with_echo(house);
  house.world.run_for(5s);
  REQUIRE(house.exchange(flow, "before", 1s));
  house.world.run_for(busy);
  house.world.detach(house.relay_of(flow));
  const Instant died = house.world.now().instant;
  CHECK(house.exchange(flow, "and on", 1s));
  const long gap = house.milliseconds_since(died);
  CHECK(gap < 500);
  WARN("the flow went on after " << gap << " ms of virtual time, on a path of 50 ms");
}

TEST_CASE("bulk stands still for less than half a second when the relay in use dies",
          "[sim][bound]") {
  const bool is_echo = GENERATE(true, false);  // Or the connector only sends.
  CAPTURE(is_echo);
  House house(seed_of(30), {.delay = 12500us, .rate_bits_per_s = 50'000'000},
              lay_out_with(Paths::always_relay));
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  const auto flow = boot_with_echo(house);
  const AppFlow& state = house.client->flow(flow);
  std::string sent;
  while (sent.size() < (8 << 20)) sent += std::string(kCanary) + std::to_string(sent.size());
  house.connector->services.at({kServiceIp, 5432}).on_bytes = [&](std::string_view bytes, bool) {
    return is_echo ? std::string(bytes) : sent;
  };
  const std::string expected = state.received + sent;
  house.client->send(flow, is_echo ? sent : "please", false);
  REQUIRE(house.world.run_until([&] { return state.received.size() > (2 << 20); }, 30s));
  house.world.detach(house.relay_of(flow));
  Instant last = house.world.now().instant;
  long gap = 0;
  std::size_t size = state.received.size();
  const auto watch = [&] {
    if (state.received.size() != size) {
      gap = std::max(gap, house.milliseconds_since(last));
      size = state.received.size();
      last = house.world.now().instant;
    }
    return size == expected.size();
  };
  CHECK(house.world.run_until(watch, 60s));
  CHECK((state.received == expected));
  CHECK(gap < 500);
  WARN("bulk stood still for " << gap << " ms of virtual time, on a path of 50 ms");
}

}  // namespace
}  // namespace zt::sim
