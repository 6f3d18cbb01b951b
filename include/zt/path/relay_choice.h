// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/relay_choice.h: which relay is the best of several: the nearest, and among near ones the
// least loaded.
//
// Theory of operation
//   Round trips are compared in bands: what is within 10 ms or a fifth of the nearest, whichever is
//   more, is as near as that. In a band the lower load comes first, and among equals each node has
//   an order of its own, drawn by rendezvous hashing from its name and the relay's: so nodes spread
//   over relays that are equally good, each always to the same one. A relay that has not been
//   measured comes after all that have.
//
//   Who is at a relay stays there unless another one is nearer by more than a band. Load alone
//   moves nobody: everybody would hear of it at the same time, and come back together.
//
// Threats  A relay that answers its own pings early is believed; it gains nothing but traffic that
//          it cannot read, and that it could have had by standing nearer.

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/time.h"

namespace zt::path {

struct RelayOption {
  RelayId relay;                       // No two options have the same.
  std::optional<Duration> round_trip;  // Of the whole way, as far as it is known.
  std::uint32_t load = 0;              // A class, not a count: about doubled with each step.

  friend bool operator==(const RelayOption&, const RelayOption&) = default;
};

// rendezvous is the rank of `thing` for `node`: even over all 64 bits, and the same for ever.
[[nodiscard]] std::uint64_t rendezvous(std::string_view node, std::string_view thing);

// is_much_nearer tells whether `a` is nearer than `b` by more than a band. Nothing known is
// farther than anything.
[[nodiscard]] bool is_much_nearer(const std::optional<Duration>& a,
                                  const std::optional<Duration>& b);

// in_order returns the options, the best first. The order in which they come does not matter.
[[nodiscard]] std::vector<RelayOption> in_order(std::vector<RelayOption> options,
                                                std::string_view node);

// choose_relay returns `current` as long as it is an option and none is much nearer; else the best;
// nothing if there is none.
[[nodiscard]] std::optional<RelayId> choose_relay(const std::vector<RelayOption>& options,
                                                  std::string_view node, const RelayId& current);

// choose_legs returns the `count` best relays (all, if there are fewer), the best first. A held one
// that is an option gives way only to one that is much nearer.
[[nodiscard]] std::vector<RelayId> choose_legs(const std::vector<RelayOption>& options,
                                               std::string_view node, const std::set<RelayId>& held,
                                               std::size_t count);

}  // namespace zt::path
