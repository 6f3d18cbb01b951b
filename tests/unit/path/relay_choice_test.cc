// SPDX-License-Identifier: Apache-2.0
#include "zt/path/relay_choice.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>

namespace zt::path {
namespace {

using namespace std::chrono_literals;

RelayId id(std::string_view name) {
  return RelayId{"rly_" + std::string(name)};
}

RelayOption at(std::string_view name, std::optional<Duration> round_trip, std::uint32_t load = 0) {
  return {.relay = id(name), .round_trip = round_trip, .load = load};
}

std::vector<RelayId> ids(const std::vector<RelayOption>& options) {
  std::vector<RelayId> result;
  for (const RelayOption& option : options) result.push_back(option.relay);
  return result;
}

TEST_CASE("a relay is much nearer beyond 10 ms and beyond a fifth") {
  CHECK_FALSE(is_much_nearer(20ms, 30ms));
  CHECK(is_much_nearer(20ms, 30ms + 1ns));
  CHECK_FALSE(is_much_nearer(100ms, 120ms));
  CHECK(is_much_nearer(100ms, 120ms + 1ns));
  CHECK_FALSE(is_much_nearer(30ms, 20ms));
  CHECK(is_much_nearer(1h, std::nullopt));
  CHECK_FALSE(is_much_nearer(std::nullopt, 1h));
  CHECK_FALSE(is_much_nearer(std::nullopt, std::nullopt));
}

TEST_CASE("the nearest relay comes first, and one that was not measured last") {
  CHECK(ids(in_order({at("far", 90ms), at("dark", std::nullopt), at("near", 5ms)}, "node")) ==
        std::vector{id("near"), id("far"), id("dark")});
}

TEST_CASE("among relays that are about as near the least loaded comes first") {
  CHECK(ids(in_order({at("a", 12ms, 3), at("b", 20ms, 1), at("far", 40ms, 0)}, "node")) ==
        std::vector{id("b"), id("a"), id("far")});
}

TEST_CASE("nodes spread over relays that are equally good") {
  std::map<RelayId, int> counts;
  for (int i = 0; i < 3000; ++i) {
    const std::vector options{at("a", 10ms), at("b", 11ms), at("c", 12ms)};
    ++counts[in_order(options, "dev_" + std::to_string(i)).front().relay];
  }
  REQUIRE(counts.size() == 3);
  for (const auto& [relay, count] : counts) CHECK((count > 850 && count < 1150));
}

TEST_CASE("who is at a relay stays until another one is much nearer") {
  CHECK(choose_relay({at("held", 30ms, 9), at("other", 20ms, 0)}, "node", id("held")) ==
        id("held"));
  CHECK(choose_relay({at("held", 31ms, 0), at("other", 20ms, 9)}, "node", id("held")) ==
        id("other"));
  CHECK(choose_relay({at("other", 20ms)}, "node", id("held")) == id("other"));
  CHECK(choose_relay({}, "node", id("held")) == std::nullopt);
}

TEST_CASE("a leg gives way only to a relay that is much nearer") {
  const std::vector options{at("a", 10ms), at("b", 50ms), at("c", 55ms), at("d", 12ms)};
  CHECK(choose_legs(options, "node", {id("a"), id("c")}, 2) == choose_legs(options, "node", {}, 2));
  CHECK(choose_legs({at("a", 10ms), at("b", 50ms), at("c", 55ms)}, "node", {id("a"), id("c")}, 2) ==
        std::vector{id("a"), id("c")});
  CHECK(choose_legs(options, "node", {}, 0).empty());
  CHECK(choose_legs(options, "node", {}, 9).size() == 4);
}

}  // namespace
}  // namespace zt::path
