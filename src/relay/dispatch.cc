// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/dispatch.h"

namespace zt::relay {

Verdict dispatch(Engine& engine, const RouteId& own_route, const SocketAddress& source,
                 const Run& run, Instant now) {
  if (!run.route) {
    engine.count_drop(DropReason::not_routable, run.volume());
    return {};
  }
  if (*run.route == own_route) return {.place = Verdict::Place::own, .target = {}};
  if (run.has_long_header && !engine.is_bound(*run.route, now)) {
    return {.place = Verdict::Place::own, .target = {}};
  }
  const auto target = engine.forward(source, *run.route, run.volume(), now);
  if (!target) return {};
  return {.place = Verdict::Place::forward, .target = *target};
}

Verdict dispatch(Replica& replica, Epoch epoch, const RouteId& own_route,
                 const SocketAddress& source, const Run& run, Instant now) {
  if (!run.route) {
    replica.count_drop(DropReason::not_routable, run.volume());
    return {};
  }
  if (*run.route == own_route) return {.place = Verdict::Place::own, .target = {}};
  if (run.has_long_header && !replica.is_bound(*run.route, now, epoch)) {
    return {.place = Verdict::Place::own, .target = {}};
  }
  const auto target = replica.forward(source, *run.route, run.volume(), now, epoch);
  if (!target) return {};
  return {.place = Verdict::Place::forward, .target = *target};
}

}  // namespace zt::relay
