// SPDX-License-Identifier: Apache-2.0
#include "node/relay_scout.h"

#include <algorithm>
#include <utility>

#include "node/messages.h"

namespace zt::node {

RelayScout::RelayScout(const Limits& limits, const RelayBindings& bindings,
                       quic::Endpoint& endpoint, Random& random)
    : limits_(limits), bindings_(bindings), endpoint_(endpoint), random_(random) {}

void RelayScout::set_relays(const std::vector<RelayPlace>& relays, const Now& now) {
  places_ = relays;
  is_changed_ = true;
  std::erase_if(wanted_, [this](const RelayId& id) { return place_of(id) == nullptr; });
  std::erase_if(draining_, [this](const RelayId& id) { return place_of(id) == nullptr; });
  std::map<RelayId, Spare> spares;
  if (places_.size() > limits_.nearest_max) {
    std::vector<std::pair<std::uint64_t, RelayId>> ranked;
    ranked.reserve(places_.size());
    for (const RelayPlace& place : places_) {
      ranked.emplace_back(path::rendezvous(node_, place.id.text), place.id);
    }
    std::ranges::sort(ranked);
    for (const auto& [rank, id] : ranked) {
      if (spares.size() == limits_.spare_max) break;
      const auto known = spares_.find(id);
      spares.emplace(id, known != spares_.end()
                             ? known->second
                             : Spare{.round_trip = {}, .due = now.instant + limits_.first_pause});
    }
  }
  spares_ = std::move(spares);
  choose();
}

void RelayScout::want(const std::vector<RelayId>& relays) {
  for (const RelayId& relay : relays) {
    if (place_of(relay) == nullptr) continue;
    std::erase(wanted_, relay);
    wanted_.push_front(relay);
  }
  if (wanted_.size() > limits_.wanted_max) wanted_.resize(limits_.wanted_max);
  choose();
}

void RelayScout::want_some(const std::vector<RelayId>& relays) {
  constexpr std::size_t kEnough = 2;  // One may be dead.
  std::vector<path::RelayOption> options;
  for (const RelayId& relay : relays) {
    const RelayPlace* place = place_of(relay);
    if (place == nullptr) continue;
    options.push_back({.relay = relay, .round_trip = round_trip(relay), .load = place->load});
  }
  std::vector<RelayId> wanted;
  std::size_t held_count = 0;
  for (path::RelayOption& option : path::in_order(std::move(options), node_)) {
    if (is_leg(option.relay)) {
      ++held_count;
    } else {
      wanted.push_back(std::move(option.relay));
    }
  }
  if (held_count >= kEnough) return;
  wanted.resize(std::min(wanted.size(), kEnough - held_count));
  if (!wanted.empty()) want(wanted);
}

void RelayScout::set_active(bool is_active) {
  if (std::exchange(is_active_, is_active) && !is_active) choose();
}

void RelayScout::bound(const RelayId& relay) {
  const bool is_back = draining_.erase(relay) > 0;
  if (is_back || !spares_.empty()) choose();
}

void RelayScout::draining(const RelayId& relay) {
  if (place_of(relay) != nullptr && draining_.insert(relay).second) choose();
}

// A leg that fails is as good as not measured: whatever is, replaces it.
void RelayScout::unbound(const RelayId& relay) {
  if (draining_.contains(relay)) return choose();
  const auto spare = spares_.find(relay);
  if (spare == spares_.end() || !is_leg(relay)) return;  // It was given up for a better one.
  spare->second.round_trip.reset();
  choose();
}

void RelayScout::network_changed(const Now& now) {
  for (auto& [id, spare] : spares_) {
    spare = {.round_trip = {}, .due = now.instant + limits_.first_pause};
  }
}

void RelayScout::choose() {
  std::vector<path::RelayOption> options;
  std::set<RelayId> held;
  std::vector<RelayId> legs;
  for (const RelayPlace& place : places_) {
    if (draining_.contains(place.id)) continue;
    options.push_back({.relay = place.id, .round_trip = round_trip(place.id), .load = place.load});
    const bool is_held = std::ranges::find(legs_, place.id) != legs_.end();
    // A wanted one may well be a leg for that reason only.
    const bool is_wanted = std::ranges::find(wanted_, place.id) != wanted_.end();
    if (is_held && !is_wanted) held.insert(place.id);
    if (is_held && is_active_ && bindings_.bound_at(place.id)) legs.push_back(place.id);
  }
  const auto add = [&legs](const RelayId& id) {
    if (std::ranges::find(legs, id) == legs.end()) legs.push_back(id);
  };
  const auto chosen = path::choose_legs(options, node_, held, limits_.nearest_max);
  // What must stay takes the place of what would come.
  for (const RelayId& id : chosen) {
    if (legs.size() < limits_.nearest_max) add(id);
  }
  for (const RelayId& id : wanted_) {
    if (!draining_.contains(id)) add(id);
  }
  add_draining(legs);
  if (legs == legs_) return;
  for (const RelayId& id : legs_) {  // What a leg has measured stays known when it is none.
    const auto spare = spares_.find(id);
    if (spare != spares_.end() && bindings_.bound_at(id)) {
      spare->second.round_trip = bindings_.round_trip(id);
    }
  }
  legs_ = std::move(legs);
  is_changed_ = true;
}

// add_draining keeps what is bound, and what there is nobody else for.
void RelayScout::add_draining(std::vector<RelayId>& legs) const {
  std::size_t lasting_count = legs.size();
  for (const RelayId& id : draining_) {
    const bool is_needed = lasting_count < limits_.nearest_max;
    if (is_needed) ++lasting_count;
    if (is_needed || bindings_.bound_at(id)) legs.push_back(id);
  }
}

std::optional<std::vector<RelayPlace>> RelayScout::take_legs() {
  if (!std::exchange(is_changed_, false)) return std::nullopt;
  std::vector<RelayPlace> legs;
  for (const RelayId& id : legs_) {
    if (const RelayPlace* place = place_of(id)) legs.push_back(*place);
  }
  return legs;
}

// --- Measuring.

void RelayScout::measure_next(const Now& now) {
  if (attempt_) return;
  for (auto& [id, spare] : spares_) {
    const RelayPlace* place = place_of(id);
    if (spare.due > now.instant || is_leg(id) || place == nullptr) continue;
    // A tenth more or less: nodes that started together do not stay together.
    const auto jitter = limits_.interval / 5 * std::int64_t(random_.below(1000)) / 1000;
    spare.due = now.instant + limits_.interval * 9 / 10 + jitter;
    attempt_ = {
        .relay = id, .connection = std::nullopt, .deadline = now.instant + limits_.attempt_timeout};
    if (const auto* ip = std::get_if<IpAddress>(&place->address.host)) {
      connect(*place, *ip, now);
    } else {
      lookup_ = {.relay = id, .name = std::get<DnsName>(place->address.host)};
    }
    return;
  }
}

std::optional<RelayLookupWanted> RelayScout::poll_lookup() {
  return std::exchange(lookup_, std::nullopt);
}

void RelayScout::lookup_done(const RelayId& relay, const std::vector<IpAddress>& addresses,
                             const Now& now) {
  if (!attempt_ || attempt_->relay != relay || attempt_->state != Attempt::State::looking_up) {
    return;
  }
  const RelayPlace* place = place_of(relay);
  if (place == nullptr || addresses.empty()) return end_attempt(now);
  connect(*place, addresses.front(), now);
}

void RelayScout::connect(const RelayPlace& place, const IpAddress& ip, const Now& now) {
  const auto connection = endpoint_.connect({.remote = {.ip = ip, .port = place.address.port},
                                             .pin = place.pin(),
                                             .server_name = {},
                                             .peer_route = std::nullopt},
                                            now.instant);
  if (!connection) return end_attempt(now);
  attempt_->state = Attempt::State::connecting;
  attempt_->connection = *connection;
}

bool RelayScout::handle(const quic::Event& event, const Now& now) {
  if (!attempt_ || !attempt_->connection) return false;
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (ready->connection != attempt_->connection) return false;
    const auto statistics = endpoint_.statistics(ready->connection);
    const auto spare = spares_.find(attempt_->relay);
    if (statistics && spare != spares_.end()) spare->second.round_trip = statistics->rtt_minimum;
    draining_.erase(attempt_->relay);
    attempt_->state = Attempt::State::closing;
    endpoint_.close(ready->connection, kStreamNoError, "measured", now.instant);
    return true;
  }
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    if (closed->connection != attempt_->connection) return false;
    end_attempt(now);
    return true;
  }
  return false;
}

// end_attempt chooses anew when there is nothing left to measure: once for a whole round.
void RelayScout::end_attempt(const Now& now) {
  if (attempt_->state != Attempt::State::closing) {
    const auto spare = spares_.find(attempt_->relay);
    if (spare != spares_.end()) spare->second.round_trip.reset();
  }
  attempt_.reset();
  lookup_.reset();
  measure_next(now);
  if (!attempt_) choose();
}

void RelayScout::handle_timeout(const Now& now) {
  if (!attempt_) return measure_next(now);
  if (now.instant < attempt_->deadline) return;
  if (attempt_->state != Attempt::State::connecting) return end_attempt(now);
  // ConnectionClosed follows.
  attempt_->deadline = now.instant + limits_.attempt_timeout;
  endpoint_.close(*attempt_->connection, kStreamNoError, "no answer", now.instant);
}

std::optional<Instant> RelayScout::next_deadline() const {
  if (attempt_) return attempt_->deadline;
  std::optional<Instant> earliest;
  for (const auto& [id, spare] : spares_) {
    if (!is_leg(id)) earliest = earlier_of(earliest, std::optional(spare.due));
  }
  return earliest;
}

std::optional<Duration> RelayScout::round_trip(const RelayId& relay) const {
  if (bindings_.bound_at(relay)) return bindings_.round_trip(relay);
  const auto spare = spares_.find(relay);
  return spare == spares_.end() ? std::nullopt : spare->second.round_trip;
}

bool RelayScout::is_leg(const RelayId& relay) const {
  return std::ranges::find(legs_, relay) != legs_.end();
}

const RelayPlace* RelayScout::place_of(const RelayId& relay) const {
  const auto found = std::ranges::find(places_, relay, &RelayPlace::id);
  return found == places_.end() ? nullptr : &*found;
}

}  // namespace zt::node
