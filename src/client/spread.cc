// SPDX-License-Identifier: Apache-2.0
#include "zt/client/spread.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "zt/path/relay_choice.h"

namespace zt::client {

namespace {

constexpr double kMuchMore = 4;

double cost_of(const ConnectorLoad& connector) {
  return (double(connector.own_flow_count) + 1) / std::max(1.0, double(connector.weight));
}

// draw_of is exponential with the weight as its rate: the smallest draw wins in proportion to the
// weights.
double draw_of(const ConnectorLoad& connector, std::string_view node) {
  const std::uint64_t hash = path::rendezvous(node, connector.id.text);
  const double even = (double(hash >> 11) + 0.5) / double(std::uint64_t{1} << 53);
  return -std::log(even) / std::max(1.0, double(connector.weight));
}

}  // namespace

std::vector<std::size_t> spread_order(std::span<const ConnectorLoad> connectors,
                                      std::string_view node) {
  const auto is_good = [](const ConnectorLoad& connector) {
    return !connector.is_doubtful && connector.weight > 0;
  };
  double cost_min = HUGE_VAL;
  for (const ConnectorLoad& connector : connectors) {
    if (is_good(connector)) cost_min = std::min(cost_min, cost_of(connector));
  }
  using Rank = std::tuple<int, double, double, std::size_t>;  // Group, cost, draw, place.
  std::vector<Rank> ranks;
  for (std::size_t i = 0; i < connectors.size(); ++i) {
    const ConnectorLoad& connector = connectors[i];
    const double cost = cost_of(connector);
    const double draw = draw_of(connector, node);
    if (connector.is_doubtful) {
      ranks.emplace_back(5, 0, draw, i);
    } else if (connector.weight == 0) {
      ranks.emplace_back(4, 0, draw, i);
    } else if (!connector.is_connected) {
      ranks.emplace_back(2, 0, draw, i);
    } else {
      ranks.emplace_back(cost <= kMuchMore * cost_min ? 1 : 3, cost, draw, i);
    }
  }
  std::ranges::sort(ranks);
  std::vector<std::size_t> order;
  order.reserve(ranks.size());
  for (const auto& [group, cost, draw, place] : ranks) order.push_back(place);
  return order;
}

}  // namespace zt::client
