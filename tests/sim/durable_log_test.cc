// SPDX-License-Identifier: Apache-2.0
// Nothing is lost: the central log is complete after crashes of connector and client.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// Log is the central log: for each reporter, flow and kind of event the reasons that it holds.
using Log = std::map<std::string, std::vector<std::string>>;

Log log_of(House& house) {
  Log log;
  const auto page = house.controller->ask("GET", "events?limit=500", nullptr, 200);
  for (const auto& event : page.at("items")) {
    log[event.at("reporter").get<std::string>() + " " + event.at("event").get<std::string>() + " " +
        event.at("id").get<std::string>()]
        .push_back(event.value("reason", ""));
  }
  return log;
}

// count_of counts the events of a kind, "connector closed", whose reason begins with `reason`.
std::size_t count_of(const Log& log, const std::string& kind, const std::string& reason = "") {
  return static_cast<std::size_t>(std::ranges::count_if(log, [&](const auto& entry) {
    return entry.first.starts_with(kind + " ") && entry.second.front().starts_with(reason);
  }));
}

bool is_each_once(const Log& log) {
  return std::ranges::all_of(log, [](const auto& entry) { return entry.second.size() == 1; });
}

client::FlowKey live_flow(House& house) {
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, "alive", false);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).received == "alive"; }, 10s));
  return flow;
}

void finished_flow(House& house) {
  const auto flow = house.client->open("db.internal:5432");
  house.client->send(flow, "once", true);
  REQUIRE(house.world.run_until([&] { return house.client->flow(flow).is_over; }, 10s));
  REQUIRE(house.client->flow(flow).is_orderly);
}

TEST_CASE("events of the controller's absence survive crashes of connector and client", "[sim]") {
  House house(11);
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  const auto known = live_flow(house);  // Its opening is in the log already; it has a grant now.
  REQUIRE(house.world.run_until([&] { return count_of(log_of(house), "client opened") == 1; }, 5s));
  house.world.detach(*house.controller);
  finished_flow(house);
  finished_flow(house);
  live_flow(house);  // Nobody has heard of this one.
  CHECK_FALSE(house.client->flow(known).is_over);
  house.connector->crash();
  house.client->crash();
  house.world.run_for(1s);
  house.connector->restart();
  house.client->restart();
  house.world.run_for(30s);
  house.world.attach(*house.controller, kControllerAt);
  REQUIRE(house.boot(60s));
  house.world.run_for(5s);

  const Log log = log_of(house);
  CHECK(is_each_once(log));
  for (const std::string reporter : {"client", "connector"}) {
    INFO(reporter);
    CHECK(count_of(log, reporter + " opened") == 4);
    CHECK(count_of(log, reporter + " closed") == 4);
    CHECK(count_of(log, reporter + " closed", "the " + reporter + " was restarted") == 2);
  }
  finished_flow(house);
  house.world.run_for(3s);
  CHECK(count_of(log_of(house), "connector closed") == 5);
}

TEST_CASE("the end that lives reports what it counted when the other one was killed", "[sim]") {
  House house(12);
  INFO("replay: ZT_SEED=" << house.world.seed());
  REQUIRE(house.boot());
  live_flow(house);
  house.client->crash();
  REQUIRE(house.world.run_until([&] { return count_of(log_of(house), "connector closed") == 1; },
                                90min));  // Until then it may be asleep.
  CHECK(count_of(log_of(house), "connector closed", "the connector was restarted") == 0);
  CHECK(count_of(log_of(house), "client closed") == 0);
  house.client->restart();
  REQUIRE(house.boot(60s));
  house.world.run_for(3s);
  CHECK(count_of(log_of(house), "client closed", "the client was restarted") == 1);
}

TEST_CASE("crashes again and again, over bad links, lose and repeat nothing", "[sim][property]") {
  for (std::uint64_t seed = 300; seed < 305; ++seed) {
    House house(seed, {.delay = 20ms, .jitter = 20ms, .loss = 0.03, .duplication = 0.03});
    INFO("replay: ZT_SEED=" << house.world.seed());
    REQUIRE(house.boot(60s));
    std::size_t flow_count = 0;
    for (unsigned round = 0; round < 4; ++round) {
      for (int i = 0; i < 3; ++i) {
        const auto flow = house.client->open("db.internal:5432");
        house.client->send(flow, "bytes", round % 2 == 0);
        house.world.run_until([&] { return !house.client->flow(flow).received.empty(); }, 20s);
        flow_count += house.client->flow(flow).is_ready ? 1U : 0U;
      }
      // Somewhere in the middle of reporting and of its answers.
      house.world.run_for(std::chrono::milliseconds(7 * (seed % 5) + 11 * round));
      house.connector->crash();
      house.client->crash();
      house.connector->restart();
      house.client->restart();
      REQUIRE(house.boot(60s));
      house.world.run_for(5s);
    }
    house.world.run_for(30s);
    const Log log = log_of(house);
    REQUIRE(flow_count > 0);
    CHECK(is_each_once(log));
    CHECK(count_of(log, "client opened") == flow_count);
    CHECK(count_of(log, "client closed") == flow_count);
    // An answer that was on its way when the client died is the connector's alone.
    CHECK(count_of(log, "connector opened") >= flow_count);
    CHECK(count_of(log, "connector opened") == count_of(log, "connector closed"));
  }
}

}  // namespace
}  // namespace zt::sim
