// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/replica.h"

#include <algorithm>
#include <utility>

#include "zt/base/assert.h"

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
    : hash_(KeyedHash::make(random)), routes_(0, hash_), sources_(0, hash_) {
  routes_.max_load_factor(0.7F);
  sources_.max_load_factor(0.7F);
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
    const SocketAddress address = held->second.address;
    routes_.erase(held);
    detach(change.route, address);
  }
  if (!change.target) return;
  routes_.emplace(change.route, *change.target);
  attach(change.route, *change.target);
}

void Replica::attach(const RouteId& route, const RouteChange::Target& target) {
  Source& source = sources_.try_emplace(target.address).first->second;
  source.tenant = target.tenant;
  source.expires =
      source.routes.empty() ? target.expires : std::max(source.expires, target.expires);
  source.routes.push_back(route);
}

// detach expects `route` to be gone from routes_.
void Replica::detach(const RouteId& route, const SocketAddress& address) {
  const auto found = sources_.find(address);
  ZT_ASSERT(found != sources_.end());
  Source& source = found->second;
  std::erase(source.routes, route);
  if (source.routes.empty()) {
    sources_.erase(found);
    return;
  }
  source.expires = routes_.find(source.routes.front())->second.expires;
  for (const RouteId& other : source.routes) {
    source.expires = std::max(source.expires, routes_.find(other)->second.expires);
  }
}

std::expected<SocketAddress, DropReason> Replica::forward(const SocketAddress& source,
                                                          const RouteId& route, const Volume& run,
                                                          Instant now, Epoch epoch) {
  const auto drop = [&](DropReason reason) {
    count_drop(reason, run);
    return std::unexpected(reason);
  };
  if (epoch != epoch_) return drop(DropReason::out_of_date);
  const auto from = sources_.find(source);
  if (from == sources_.end() || now >= from->second.expires) {
    return drop(DropReason::source_unbound);
  }
  const auto to = routes_.find(route);
  if (to == routes_.end() || now >= to->second.expires) return drop(DropReason::route_unbound);
  if (to->second.tenant != from->second.tenant) return drop(DropReason::tenant_differs);
  totals_.forwarded.datagrams += run.datagrams;
  totals_.forwarded.bytes += run.bytes;
  return to->second.address;
}

bool Replica::is_bound(const RouteId& route, Instant now, Epoch epoch) const {
  const auto found = routes_.find(route);
  return epoch == epoch_ && found != routes_.end() && now < found->second.expires;
}

void Replica::count_drop(DropReason reason, const Volume& run) {
  Volume& dropped = totals_.dropped[static_cast<std::size_t>(reason)];
  dropped.datagrams += run.datagrams;
  dropped.bytes += run.bytes;
}

}  // namespace zt::relay
