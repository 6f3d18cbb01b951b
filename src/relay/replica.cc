// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/replica.h"

#include <utility>

namespace zt::relay {

// --- Feed

std::optional<Update> Feed::update(const Engine& engine, const std::vector<RouteChange>& changes) {
  if (std::exchange(is_whole_due_, false)) {
    return Update{.epoch = epoch_, .is_whole = true, .changes = engine.table()};
  }
  if (changes.empty()) return std::nullopt;
  return Update{.epoch = epoch_, .is_whole = false, .changes = changes};
}

void Feed::lost() {
  epoch_ = Epoch{static_cast<std::uint64_t>(epoch_) + 1};
  is_whole_due_ = true;
}

// --- Replica

Replica::Replica(Random& random)
    : routes_(0, KeyedHash::make(random)), sources_(KeyedHash::make(random)) {
  routes_.max_load_factor(0.7F);
}

void Replica::take(const Update& update) {
  if (update.is_whole) {
    routes_.clear();
    sources_.clear();
    epoch_ = update.epoch;
  }
  if (update.epoch != epoch_) return;  // The whole table is on its way.
  for (const RouteChange& change : update.changes) apply(change);
}

void Replica::apply(const RouteChange& change) {
  if (const auto held = routes_.find(change.route); held != routes_.end()) {
    sources_.detach(held->second.address, change.route);
    routes_.erase(held);
  }
  if (!change.target) return;
  const RouteChange::Target& target = *change.target;
  routes_.emplace(change.route, target);
  sources_.attach(target.address, change.route, target.expires, target.tenant);
}

std::expected<SocketAddress, DropReason> Replica::forward(const SocketAddress& source,
                                                          const RouteId& route, const Volume& run,
                                                          Instant now, Epoch epoch) {
  const auto drop = [&](DropReason reason) {
    count_drop(reason, run);
    return std::unexpected(reason);
  };
  if (epoch != epoch_) return drop(DropReason::out_of_date);
  const TenantNumber* from = sources_.find(source, now);
  if (from == nullptr) return drop(DropReason::source_unbound);
  const auto to = routes_.find(route);
  if (to == routes_.end() || now >= to->second.expires) return drop(DropReason::route_unbound);
  if (to->second.tenant != *from) return drop(DropReason::tenant_differs);
  totals_.forwarded += run;
  return to->second.address;
}

bool Replica::is_bound(const RouteId& route, Instant now, Epoch epoch) const {
  const auto found = routes_.find(route);
  return epoch == epoch_ && found != routes_.end() && now < found->second.expires;
}

}  // namespace zt::relay
