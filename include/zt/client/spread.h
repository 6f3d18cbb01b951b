// SPDX-License-Identifier: Apache-2.0
#pragma once
// client/spread.h: in which order the connectors of a network are tried for a new flow.
//
// Theory of operation
//   The controller weighs connectors by their load: twice the weight, twice the flows. A client
//   counts its own flows on top, for it hears of the weights only with its grants: the cost of a
//   connector is (own flows + 1) / weight.
//
//     1  connectors to which a connection stands, the cheapest first, unless one costs more than
//        four times the cheapest of all: an open connection saves two round trips
//     2  those without one, drawn by weighted rendezvous hashing: each client has its own, always
//        the same order, and all clients together use each connector by its weight
//     3  those with a connection that cost more than that
//     4  those that the controller believes to be offline: weight zero
//     5  doubtful ones, that is who has failed and has not been reached since
//
//   A client with few flows so stays with one connector, and one with many uses them all.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "zt/base/ids.h"

namespace zt::client {

struct ConnectorLoad {
  ConnectorId id;
  std::uint32_t weight = 0;
  std::size_t own_flow_count = 0;
  bool is_connected = false;
  bool is_doubtful = false;
};

// spread_order returns the places of `connectors` in the order in which `node` tries them.
[[nodiscard]] std::vector<std::size_t> spread_order(std::span<const ConnectorLoad> connectors,
                                                    std::string_view node);

}  // namespace zt::client
