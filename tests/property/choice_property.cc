// SPDX-License-Identifier: Apache-2.0
// Random sets of relays and connectors: what is chosen is as good as promised, and stays so.

#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "zt/base/random.h"
#include "zt/client/spread.h"
#include "zt/path/relay_choice.h"

namespace zt {
namespace {

using path::RelayOption;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

  std::vector<RelayOption> relays() {
    std::vector<RelayOption> options(below(9));
    for (std::size_t i = 0; i < options.size(); ++i) {
      options[i].relay.text = "rly_" + std::to_string(i);
      if (below(5) > 0) options[i].round_trip = std::chrono::milliseconds(below(150));
      options[i].load = std::uint32_t(below(3));
    }
    return options;
  }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  SeededRandom random_;
};

TEST_CASE("the choice of relays keeps its promises") {
  const std::uint64_t seed = Catch::getSeed();
  INFO("seed " << seed);
  Draw draw(seed);
  for (int round = 0; round < 5000; ++round) {
    std::vector<RelayOption> options = draw.relays();
    const std::string node = "dev_" + std::to_string(draw.below(100));
    std::map<RelayId, RelayOption> by_id;
    for (const RelayOption& option : options) by_id.emplace(option.relay, option);

    const std::vector<RelayOption> ordered = path::in_order(options, node);
    REQUIRE(ordered.size() == options.size());
    for (std::size_t i = 0; i < ordered.size(); ++i) {
      for (std::size_t j = i + 1; j < ordered.size(); ++j) {
        REQUIRE_FALSE(path::is_much_nearer(ordered[j].round_trip, ordered[i].round_trip));
      }
    }
    draw.shuffle(options);
    REQUIRE(path::in_order(options, node) == ordered);

    std::set<RelayId> held;
    for (const RelayOption& option : options) {
      if (draw.below(2) == 0) held.insert(option.relay);
    }
    const std::size_t count = draw.below(6);
    const auto legs = path::choose_legs(options, node, held, count);
    REQUIRE(legs.size() == std::min(count, options.size()));
    const std::set<RelayId> chosen(legs.begin(), legs.end());
    REQUIRE(chosen.size() == legs.size());
    // Who had to go was replaced by somebody who is much nearer than he, or who was there before.
    for (const RelayId& leaver : held) {
      if (chosen.contains(leaver)) continue;
      for (const RelayId& leg : legs) {
        const bool is_better =
            path::is_much_nearer(by_id[leg].round_trip, by_id[leaver].round_trip);
        REQUIRE((held.contains(leg) || is_better));
      }
    }
    // Asked again, nothing moves.
    const auto again = path::choose_legs(options, node, chosen, count);
    REQUIRE(std::set<RelayId>(again.begin(), again.end()) == chosen);

    if (options.empty()) continue;
    const RelayId current = options.front().relay;
    const auto relay = path::choose_relay(options, node, current);
    REQUIRE(relay);
    REQUIRE(path::choose_relay(options, node, *relay) == relay);
    if (*relay != current) {
      REQUIRE(path::is_much_nearer(by_id[*relay].round_trip, by_id[current].round_trip));
    }
  }
}

TEST_CASE("flows of one client are shared out by weight, and those that come and go as well") {
  const std::uint64_t seed = Catch::getSeed();
  INFO("seed " << seed);
  Draw draw(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<client::ConnectorLoad> loads(1 + draw.below(5));
    std::uint64_t weights = 0;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      loads[i].id.text = "con_" + std::to_string(i);
      loads[i].weight = std::uint32_t(50 + draw.below(51));
      weights += loads[i].weight;
    }
    constexpr std::size_t kFlows = 400;
    for (std::size_t i = 0; i < kFlows; ++i) {
      const auto order = client::spread_order(loads, "dev_1");
      std::vector<std::size_t> places = order;
      std::ranges::sort(places);
      for (std::size_t place = 0; place < places.size(); ++place) REQUIRE(places[place] == place);
      client::ConnectorLoad& taken = loads[order.front()];
      taken.is_connected = true;
      ++taken.own_flow_count;
    }
    for (const client::ConnectorLoad& load : loads) {
      const double share = double(kFlows) * double(load.weight) / double(weights);
      REQUIRE(std::abs(double(load.own_flow_count) - share) <= 6);
    }
  }
}

}  // namespace
}  // namespace zt
