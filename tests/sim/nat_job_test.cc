// SPDX-License-Identifier: Apache-2.0
// The main job with client and connector behind NATs: both only ever open connections outward, so
// the relay makes it work behind any.
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <string>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

Layout relayed(Layout layout) {
  layout.policy = Paths::always_relay;
  return layout;
}

// do_job carries a request and its answer over a flow of their own.
void do_job(House& house) {
  const auto flow = house.client->open("db.internal:5432");
  std::string request;
  while (request.size() < 20'000) request += kCanary;
  house.client->send(flow, request, true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 10s));
  CHECK(house.client->flow(flow).is_orderly);
  CHECK((house.client->flow(flow).received == request));
}

TEST_CASE("the main job is done behind every pair of NATs", "[sim][rfc4787]") {
  for (const NatKind& client : kNatKinds) {
    for (const NatKind& connector : kNatKinds) {
      CAPTURE(client.name, connector.name);
      House house(seed_of(20), {}, [&](World& world) {
        return relayed(lay_out_behind(world, nat_config(client, kClientNatIp),
                                      nat_config(connector, kConnectorNatIp)));
      });
      INFO("replay: ZT_SEED=" << house.world.seed());
      REQUIRE(house.boot());
      do_job(house);
      CHECK(house.world.nat(house.client->place().realm).mapping_count() > 0);
      CHECK(house.world.nat(house.connector->place().realm).mapping_count() > 0);
    }
  }
}

TEST_CASE("the main job is done where client and connector share a network", "[sim]") {
  House house(seed_of(40), {}, [](World& world) {
    const Realm office = world.add_nat(nat_config(kSymmetric, kClientNatIp));
    return relayed({.client = {office, kClientInside}, .connector = {office, kConnectorInside}});
  });
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  do_job(house);
}

TEST_CASE("the main job is done behind two NATs and a carrier's", "[sim]") {
  House house(seed_of(41), {}, [](World& world) {
    const Realm carrier = world.add_nat(nat_config(kSymmetric, kClientNatIp));
    const auto home = [&](std::uint8_t number) {
      return world.add_nat(nat_config(kSymmetric, IpAddress::v4({100, 64, 0, number})), carrier);
    };
    return relayed({.client = {home(1), kClientInside}, .connector = {home(2), kClientInside}});
  });
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  do_job(house);
}

TEST_CASE("an idle flow lives on behind NATs that forget after half a minute", "[sim]") {
  House house(seed_of(42), {}, [](World& world) {
    Nat::Config client = nat_config(kSymmetric, kClientNatIp);
    Nat::Config connector = nat_config(kSymmetric, kConnectorNatIp);
    client.timeout = 30s;
    connector.timeout = 30s;
    return relayed(lay_out_behind(world, client, connector));
  });
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, "a", false);
  house.world.run_for(10min);
  REQUIRE_FALSE(house.client->flow(flow).is_over);
  house.client->send(flow, "b", true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 5s));
  CHECK(house.client->flow(flow).received == "ab");
}

TEST_CASE("a client is seen by the controller as by a relay: two places tell the NAT's mapping",
          "[sim][rfc4787]") {
  House house(seed_of(45), {}, [](World& world) {
    return lay_out_behind(world, nat_config(kPortRestrictedCone, kClientNatIp), std::nullopt);
  });
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const node::Link& link = house.client->node().link();
  const auto is_seen_at = [&](const IpAddress& ip, Duration limit) {
    return house.world.run_until(
        [&] { return link.controller().observed() && link.controller().observed()->ip == ip; },
        limit);
  };
  const auto mapping = [&link] { return path::judge_network(link.network_facts()).v4.mapping; };
  CHECK(is_seen_at(kClientNatIp, 1s));
  CHECK(mapping() == path::NatMapping::endpoint_independent);

  const IpAddress cafe_ip = IpAddress::v4({198, 18, 2, 4});
  const Realm cafe = house.world.add_nat(nat_config(kSymmetric, cafe_ip));
  house.client->move({cafe, {IpAddress::v4({172, 16, 0, 9}), kClientInside.port}});
  CHECK(is_seen_at(cafe_ip, 5s));
  CHECK(mapping() == path::NatMapping::dependent);

  house.client->move({.address = kClientAt});
  CHECK(is_seen_at(kClientAt.ip, 5s));
  CHECK(mapping() == path::NatMapping::none);
}

TEST_CASE("a client knows whether its NAT hairpins, also after it has moved", "[sim][rfc4787-6]") {
  House house(seed_of(44), {}, [](World& world) {
    return lay_out_behind(world, nat_config(kPortRestrictedCone, kClientNatIp), std::nullopt);
  });
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto is_told = [&house](path::Hairpin expected) {
    return house.world.run_until([&] { return house.client->node().link().hairpin() == expected; },
                                 15s);
  };
  CHECK(is_told(path::Hairpin::fails));

  Nat::Config turning = nat_config(kPortRestrictedCone, IpAddress::v4({198, 18, 2, 4}));
  turning.is_hairpinning = true;
  const Realm cafe = house.world.add_nat(turning);
  house.client->move({cafe, {IpAddress::v4({172, 16, 0, 9}), kClientInside.port}});
  CHECK(is_told(path::Hairpin::works));

  house.client->move({.address = kClientAt});
  CHECK(is_told(path::Hairpin::no_nat));
}

// Upheaval is what may happen to the network under a live flow.
struct Upheaval {
  const char* name;
  void (*happen)(House& house);
};

constexpr Upheaval kUpheavals[] = {
    {"the client's NAT restarts",
     [](House& house) { house.world.nat(house.client->place().realm).forget(); }},
    {"the connector's NAT restarts",
     [](House& house) { house.world.nat(house.connector->place().realm).forget(); }},
    {"the client roams to another network",
     [](House& house) {
       const Realm cafe =
           house.world.add_nat(nat_config(kPortRestrictedCone, IpAddress::v4({198, 18, 2, 4})));
       house.client->move({cafe, {IpAddress::v4({172, 16, 0, 9}), kClientInside.port}});
     }},
    {"the connector moves to the public network",
     [](House& house) { house.connector->move({.address = kConnectorAt}); }},
};

TEST_CASE("a live flow survives a restart of a NAT and a change of network", "[sim]") {
  for (const Upheaval& upheaval : kUpheavals) {
    CAPTURE(upheaval.name);
    House house(seed_of(43), {}, [](World& world) {
      return relayed(lay_out_behind(world, nat_config(kPortRestrictedCone, kClientNatIp),
                                    nat_config(kPortRestrictedCone, kConnectorNatIp)));
    });
    INFO("replay: ZT_SEED=" << house.world.seed());
    REQUIRE(house.boot());
    const auto flow = house.client->open("db.internal:5432");
    AppFlow& state = house.client->flow(flow);
    house.client->send(flow, "a", false);
    REQUIRE(house.world.run_until([&] { return state.received == "a"; }, 5s));
    upheaval.happen(house);
    house.client->send(flow, "b", true);
    CHECK(house.world.run_until([&] { return state.is_over; }, 3s));
    CHECK(state.is_orderly);
    CHECK(state.received == "ab");
  }
}

}  // namespace
}  // namespace zt::sim
