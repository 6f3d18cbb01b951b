// SPDX-License-Identifier: Apache-2.0
#include "zt/client/spread.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>
#include <vector>

namespace zt::client {
namespace {

ConnectorLoad load(std::string_view name, std::uint32_t weight) {
  return {.id = ConnectorId{"con_" + std::string(name)}, .weight = weight};
}

ConnectorLoad connected(std::string_view name, std::uint32_t weight, std::size_t own_flow_count) {
  ConnectorLoad result = load(name, weight);
  result.own_flow_count = own_flow_count;
  result.is_connected = true;
  return result;
}

std::string first_of(const std::vector<ConnectorLoad>& loads, std::string_view node = "dev_1") {
  return loads[spread_order(loads, node).front()].id.text;
}

TEST_CASE("clients use connectors in proportion to their weights") {
  std::map<std::string, int> counts;
  for (int i = 0; i < 4000; ++i) {
    ++counts[first_of({load("a", 100), load("b", 200), load("c", 100), load("off", 0)},
                      "dev_" + std::to_string(i))];
  }
  CHECK((counts["con_a"] > 880 && counts["con_a"] < 1120));
  CHECK((counts["con_b"] > 1850 && counts["con_b"] < 2150));
  CHECK((counts["con_c"] > 880 && counts["con_c"] < 1120));
  CHECK(counts["con_off"] == 0);
}

TEST_CASE("an open connection is used until it costs more than four times the cheapest") {
  CHECK(first_of({load("a", 100), connected("b", 100, 3)}) == "con_b");
  CHECK(first_of({load("a", 100), connected("b", 100, 4)}) == "con_a");
  CHECK(first_of({load("a", 100), connected("b", 25, 0)}) == "con_b");
  CHECK(first_of({load("a", 100), connected("b", 24, 0)}) == "con_a");
}

TEST_CASE("of open connections the one with the fewest flows for its weight is used") {
  CHECK(first_of({connected("a", 100, 5), connected("b", 100, 4)}) == "con_b");
  CHECK(first_of({connected("a", 100, 5), connected("b", 50, 4)}) == "con_a");
}

TEST_CASE("who has failed comes last, and who seems to be offline before that") {
  ConnectorLoad failed = connected("failed", 1000, 0);
  failed.is_doubtful = true;
  const std::vector<ConnectorLoad> loads{failed, load("off", 0), load("a", 1)};
  CHECK(spread_order(loads, "dev_1") == std::vector<std::size_t>{2, 1, 0});
  CHECK(spread_order({}, "dev_1").empty());
}

}  // namespace
}  // namespace zt::client
