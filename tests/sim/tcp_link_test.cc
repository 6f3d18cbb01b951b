// SPDX-License-Identifier: Apache-2.0
// Networks that let no UDP through: all goes over TCP links, and back to UDP when that works.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <optional>
#include <string>

#include "house.h"
#include "node/tcp_links.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

const SocketAddress kElsewhere{IpAddress::v4({198, 18, 0, 44}), 40044};

// Firewalled is a house whose servers take TCP links.
struct Firewalled {
  explicit Firewalled(std::uint64_t seed, Paths policy = Paths::any)
      : house(seed_of(seed), {}, lay_out_with(policy)) {
    house.world.set_tcp(true);
  }

  void block(bool is_client, bool is_connector) {
    house.world.block_udp(kClientAt.ip, is_client);
    house.world.block_udp(kConnectorAt.ip, is_connector);
  }
  // exchange sends the canary to "db", which sends it back; it returns how many milliseconds that
  // took.
  std::optional<long> exchange(client::FlowKey flow, Duration limit) {
    const Instant start = house.world.now().instant;
    if (!house.exchange(flow, kCanary, limit)) return std::nullopt;
    return house.milliseconds_since(start);
  }
  // exchange_until goes on with that until `is_done`; no exchange may take longer than `gap_max`.
  bool exchange_until(client::FlowKey flow, const std::function<bool()>& is_done, Duration limit,
                      Duration gap_max) {
    const Instant end = house.world.now().instant + limit;
    while (!is_done()) {
      if (house.world.now().instant > end || !exchange(flow, gap_max)) return false;
      house.world.run_for(20ms);
    }
    return true;
  }
  template <class ActorType>
  static bool is_over_tcp(const ActorType& actor) {
    const node::Link& link = actor.node().link();
    const auto bound = link.relays().bound_relays();
    return bound.size() == 1 && link.relays().standing(bound[0])->is_over_tcp;
  }
  template <class ActorType>
  static bool is_over_udp(const ActorType& actor) {
    return actor.node().link().relays().bound_relays().size() == 1 && !is_over_tcp(actor);
  }
  std::string path() const {
    const auto connectors = house.client->node().status(house.world.now()).connectors;
    if (connectors.empty()) return "none";
    const auto path = house.client->node().path_to(connectors[0].key);
    return path ? path->text : "none";
  }

  House house;
};

TEST_CASE("where a firewall lets no UDP through, all works over TCP", "[sim]") {
  const auto [is_client, is_connector] =
      GENERATE(std::pair(true, false), std::pair(false, true), std::pair(true, true));
  CAPTURE(is_client, is_connector);
  Firewalled it(600);
  INFO("replay: " << it.house.world.replay());
  it.block(is_client, is_connector);
  const Instant start = it.house.world.now().instant;
  REQUIRE(it.house.boot());
  CHECK(it.house.milliseconds_since(start) < 2000);
  CHECK(it.is_over_tcp(*it.house.client) == is_client);
  CHECK(it.is_over_tcp(*it.house.connector) == is_connector);
  CHECK(it.house.client->node().link().controller().is_over_tcp() == is_client);

  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  std::string bulk;
  while (bulk.size() < 300'000) bulk += kCanary;
  it.house.client->send(flow, bulk, true);
  REQUIRE(it.house.world.run_until([&] { return it.house.client->flow(flow).is_over; }, 30s));
  CHECK(it.house.client->flow(flow).is_orderly);
  CHECK((it.house.client->flow(flow).received == std::string(kCanary) + bulk));
  CHECK(it.path().starts_with("relayed:"));
}

TEST_CASE("no name of a link is ever told to anybody", "[sim][threat]") {
  Firewalled it(601);
  it.block(true, true);
  REQUIRE(it.house.boot());
  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  it.house.world.run_for(5s);
  const node::Link& link = it.house.client->node().link();
  const auto bound = link.relays().bound_relays();
  REQUIRE(bound.size() == 1);
  CHECK_FALSE(link.relays().standing(bound[0])->observed);
  CHECK(link.network_facts().sightings.empty());
  const auto connectors = it.house.client->node().status(it.house.world.now()).connectors;
  REQUIRE(connectors.size() == 1);
  for (const path::PairStatus& pair :
       it.house.client->node().pairs_to(connectors[0].key, it.house.world.now())) {
    CHECK_FALSE(node::is_link_address(pair.pair.remote.ip));
    CHECK_FALSE(node::is_link_address(pair.observed.ip));
  }
}

TEST_CASE("when UDP is let through again, a live flow moves there, and the links end", "[sim]") {
  const auto [is_client, is_connector] =
      GENERATE(std::pair(true, false), std::pair(false, true), std::pair(true, true));
  CAPTURE(is_client, is_connector);
  Firewalled it(610, Paths::always_relay);
  INFO("replay: " << it.house.world.replay());
  it.block(is_client, is_connector);
  REQUIRE(it.house.boot());
  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  it.house.world.run_for(10s);
  CHECK(it.house.world.link_count() >= 1);

  it.block(false, false);
  CHECK(it.exchange_until(
      flow, [&] { return it.is_over_udp(*it.house.client) && it.is_over_udp(*it.house.connector); },
      60s, 500ms));
  CHECK(it.exchange_until(flow, [&] { return it.house.world.link_count() == 0; }, 60s, 500ms));
  CHECK_FALSE(it.house.client->node().link().controller().is_over_tcp());
  CHECK(it.exchange(flow, 200ms));
}

TEST_CASE("when UDP is blocked under a live flow, it goes on over TCP", "[sim]") {
  const auto [is_client, is_connector] =
      GENERATE(std::pair(true, false), std::pair(false, true), std::pair(true, true));
  const auto policy = GENERATE(Paths::any, Paths::always_relay);
  CAPTURE(is_client, is_connector, policy);
  Firewalled it(620, policy);
  INFO("replay: " << it.house.world.replay());
  REQUIRE(it.house.boot());
  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  it.house.world.run_for(3s);
  it.block(is_client, is_connector);
  const auto gap = it.exchange(flow, 20s);
  REQUIRE(gap);
  INFO("after " << *gap << " ms");
  CHECK(*gap < 4000);
  CHECK(it.exchange_until(
      flow,
      [&] {
        return it.is_over_tcp(*it.house.client) == is_client &&
               it.is_over_tcp(*it.house.connector) == is_connector;
      },
      30s, 4s));
}

TEST_CASE("a client that moves into a network without UDP goes on over TCP, and back", "[sim]") {
  Firewalled it(630, Paths::always_relay);
  INFO("replay: " << it.house.world.replay());
  it.house.world.block_udp(kElsewhere.ip, true);
  REQUIRE(it.house.boot());
  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  it.house.client->move({.realm = kPublic, .address = kElsewhere});
  const auto first = it.exchange(flow, 20s);
  REQUIRE(first);
  CHECK(*first < 4000);
  CHECK(it.is_over_tcp(*it.house.client));
  it.house.client->move({.realm = kPublic, .address = kClientAt});
  REQUIRE(it.exchange(flow, 20s));
  CHECK(it.exchange_until(flow, [&] { return it.is_over_udp(*it.house.client); }, 30s, 4s));
  // That network is remembered.
  it.house.world.run_for(1min);
  it.house.client->move({.realm = kPublic, .address = kElsewhere});
  const auto second = it.exchange(flow, 20s);
  REQUIRE(second);
  INFO("first " << *first << " ms, then " << *second << " ms");
  // UDP has no head start there.
  CHECK(*second + 200 <= *first);
}

TEST_CASE("links that are cut are opened anew, and the flow goes on", "[sim]") {
  Firewalled it(640);
  INFO("replay: " << it.house.world.replay());
  it.block(true, true);
  REQUIRE(it.house.boot());
  const auto flow = it.house.client->open("db.internal:5432");
  REQUIRE(it.exchange(flow, 5s));
  it.house.world.set_tcp(false);
  it.house.world.run_for(2s);
  it.house.world.set_tcp(true);
  CHECK(it.exchange(flow, 20s));
  CHECK(it.is_over_tcp(*it.house.client));
}

}  // namespace
}  // namespace zt::sim
