// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/path_rule.h: by which paths the flows of a resource may travel.
//
// Theory of operation
//   A path is direct or goes through a relay. A rule says which kinds of path are allowed, and
//   which relays. It is about application data: a relay also carries what it takes to find a direct
//   path (handshake, grant, candidates), unless it is not one of the allowed relays.
//
//     never_relay   No byte of a flow crosses a relay. A flow waits for the direct path, and fails
//                   if there is none.
//     always_relay  No direct path, and neither end tells the other an address of its own.
//
//   A resource has one rule: its own, or that of its network. Rules are not combined, so that
//   nobody has to work out what two of them mean together. One QUIC connection carries flows of one
//   rule: a client that has flows of two rules to one connector has two connections to it. So no
//   flow travels by a path that was opened for a laxer one.
//
//   Who enforces it: the controller names only allowed relays; the client connects through these
//   only, and moves its connections as the rule says; the connector refuses a flow that comes by a
//   forbidden path, and cuts it when its path becomes a forbidden one.
//
// Limits   kRelaysMax relays.
// Threats  A relay of the list may be slow, absent or hostile: then there is no path. A rule whose
//          region has no relay allows none: it does not fall back to all.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/ids.h"

namespace zt {

enum class Paths : std::uint8_t {
  any,           // Direct if it works, the relay otherwise.
  never_relay,   // The relay carries the handshake and the candidates, and no flow.
  always_relay,  // Never direct.
};
enum class RelayUse : std::uint8_t {
  any,    // All relays are equal.
  only,   // The named ones, and no others.
  first,  // The named ones before the others.
};

[[nodiscard]] std::string_view to_text(Paths paths);  // As in the API: "never-relay".
[[nodiscard]] std::optional<Paths> parse_paths(std::string_view text);

struct PathRule {
  static constexpr std::size_t kRelaysMax = 256;

  Paths paths = Paths::any;
  RelayUse use = RelayUse::any;
  std::vector<RelayId> relays;  // In order, each once; empty for RelayUse::any.

  friend auto operator<=>(const PathRule&, const PathRule&) = default;
  friend bool operator==(const PathRule&, const PathRule&) = default;
};

// allows tells whether `relay` may carry anything, be it only the way to a direct path.
[[nodiscard]] bool allows(const PathRule& rule, const RelayId& relay);
// is_preferred tells whether `relay` comes before those that are not preferred.
[[nodiscard]] bool is_preferred(const PathRule& rule, const RelayId& relay);

// complaint_about_path returns why a flow may not travel through `relay`, or directly if there is
// none: half a sentence that begins with "the path rule". Nothing: it may.
[[nodiscard]] std::optional<std::string> complaint_about_path(const PathRule& rule,
                                                              const std::optional<RelayId>& relay);

// describe returns the rule for people: "any path", "never through a relay", "always through a
// relay, one of rly_…, rly_…".
[[nodiscard]] std::string describe(const PathRule& rule);

}  // namespace zt
