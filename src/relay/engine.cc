// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/engine.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "zt/base/assert.h"

namespace zt::relay {
namespace {

// deadline_of converts a promise of the wall clock, saturating far beyond any token's life.
Instant deadline_of(UnixTime expires, const Now& now) {
  constexpr auto kLifetimeMax = std::chrono::hours(24 * 3650);
  const auto left = expires - now.unix_time;
  return now.instant + (left < kLifetimeMax ? Duration(left) : Duration(kLifetimeMax));
}

}  // namespace

std::string_view to_text(BindError error) {
  switch (error) {
    case BindError::expired:
      return "the relay token has expired";
    case BindError::route_taken:
      return "the route is bound by another node";
    case BindError::relay_full:
      return "the relay has no room for another route";
    case BindError::tenant_full:
      return "the tenant has no room for another route";
  }
  return "unknown";
}

std::string_view to_text(EndReason reason) {
  switch (reason) {
    case EndReason::expired:
      return "expired";
    case EndReason::replaced:
      return "replaced";
    case EndReason::displaced:
      return "displaced";
  }
  return "unknown";
}

std::string_view to_text(DropReason reason) {
  switch (reason) {
    case DropReason::source_unbound:
      return "source_unbound";
    case DropReason::route_unbound:
      return "route_unbound";
    case DropReason::tenant_differs:
      return "tenant_differs";
    case DropReason::rate_limited:
      return "rate_limited";
    case DropReason::not_routable:
      return "not_routable";
    case DropReason::out_of_date:
      return "out_of_date";
  }
  return "unknown";
}

Totals& Totals::operator+=(const Totals& other) {
  forwarded += other.forwarded;
  for (std::size_t i = 0; i < kDropReasonCount; ++i) dropped[i] += other.dropped[i];
  return *this;
}

Engine::Engine(const Limits& limits, Random& random)
    : limits_(limits), bindings_(0, KeyedHash::make(random)), sources_(KeyedHash::make(random)) {
  ZT_ASSERT(!limits.is_replicated || limits.rate_bytes_per_s == 0);
  // Short chains; a table grows in bind() only, never while it forwards.
  bindings_.max_load_factor(0.7F);
}

std::expected<void, BindError> Engine::bind(const Bind& request, const Now& now) {
  expire(now.instant);
  if (const std::optional<BindError> error = check(request, now)) return std::unexpected(*error);
  ZT_ASSERT(!routes_by_key_.contains(request.key));

  const auto [tenant, is_new] = tenants_.try_emplace(request.tenant);
  if (is_new) tenant->second.number = TenantNumber{++tenants_numbered_};
  Binding binding{.key = request.key,
                  .node = {.tenant = &*tenant, .certificate = request.certificate},
                  .address = request.source,
                  .expires = deadline_of(request.expires, now),
                  .forwarded = {},
                  .rate_limited = {},
                  .tokens_size = limits_.burst_size_max,
                  .refilled = now.instant};
  if (const auto held = bindings_.find(request.route); held != bindings_.end()) {
    binding.forwarded = held->second.forwarded;
    binding.rate_limited = held->second.rate_limited;
    binding.tokens_size = held->second.tokens_size;
    binding.refilled = held->second.refilled;
    ++tenant->second.binding_count;  // Holds the tenant's entry while the former binding goes.
    end(request.route, EndReason::replaced);
    --tenant->second.binding_count;
  }
  ++tenant->second.binding_count;
  displace_others(request.source, binding.node);
  sources_.attach(binding.address, request.route, binding.expires, binding.node);
  routes_by_key_.emplace(request.key, request.route);
  deadlines_.emplace(binding.expires, request.route);
  bindings_.emplace(request.route, binding);
  note_change(request.route, &binding);
  return {};
}

void Engine::note_change(const RouteId& route, const Binding* binding) {
  if (!limits_.is_replicated) return;
  changes_.push_back(binding == nullptr ? RouteChange{.route = route, .target = std::nullopt}
                                        : change_of(route, *binding));
}

RouteChange Engine::change_of(const RouteId& route, const Binding& binding) {
  return {.route = route,
          .target = RouteChange::Target{.address = binding.address,
                                        .tenant = binding.node.tenant->second.number,
                                        .expires = binding.expires}};
}

std::optional<BindError> Engine::check(const Bind& request, const Now& now) const {
  if (request.expires <= now.unix_time) return BindError::expired;
  const auto tenant = tenants_.find(request.tenant);
  if (const auto held = bindings_.find(request.route); held != bindings_.end()) {
    const Binding& binding = held->second;
    const bool is_same_node =
        tenant != tenants_.end() &&
        binding.node == Node{.tenant = &*tenant, .certificate = request.certificate};
    if (!is_same_node) return BindError::route_taken;
    return std::nullopt;  // It takes the place of the former one.
  }
  if (bindings_.size() >= limits_.bindings_max) return BindError::relay_full;
  if (tenant != tenants_.end() && tenant->second.binding_count >= limits_.bindings_per_tenant_max) {
    return BindError::tenant_full;
  }
  return std::nullopt;
}

void Engine::unbind(BindingKey key, const Now& now) {
  expire(now.instant);
  const auto found = routes_by_key_.find(key);
  if (found == routes_by_key_.end()) return;
  const RouteId route = found->second;
  erase(route);
}

void Engine::move(BindingKey key, const SocketAddress& source, const Now& now) {
  expire(now.instant);
  const auto found = routes_by_key_.find(key);
  if (found == routes_by_key_.end()) return;
  const RouteId route = found->second;
  Binding& binding = bindings_.find(route)->second;
  if (binding.address == source) return;
  displace_others(source, binding.node);
  sources_.detach(binding.address, route);
  binding.address = source;
  sources_.attach(source, route, binding.expires, binding.node);
  note_change(route, &binding);
}

void Engine::handle_timeout(const Now& now) {
  expire(now.instant);
}

std::optional<Engine::Output> Engine::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  const Output output = outputs_.front();
  outputs_.pop_front();
  return output;
}

std::optional<RouteChange> Engine::poll_change() {
  if (changes_.empty()) return std::nullopt;
  const RouteChange change = changes_.front();
  changes_.pop_front();
  return change;
}

std::vector<RouteChange> Engine::table() const {
  std::vector<RouteChange> result;
  result.reserve(routes_by_key_.size());
  for (const auto& [key, route] : routes_by_key_) {
    result.push_back(change_of(route, bindings_.find(route)->second));
  }
  return result;
}

std::optional<Instant> Engine::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

std::expected<SocketAddress, DropReason> Engine::forward(const SocketAddress& source,
                                                         const RouteId& route, const Volume& run,
                                                         Instant now) {
  const auto drop = [&](DropReason reason) {
    count_drop(reason, run);
    return std::unexpected(reason);
  };
  const Node* from = sources_.find(source, now);
  if (from == nullptr) return drop(DropReason::source_unbound);
  const auto to = bindings_.find(route);
  if (to == bindings_.end() || now >= to->second.expires) return drop(DropReason::route_unbound);
  Binding& binding = to->second;
  if (binding.node.tenant != from->tenant) return drop(DropReason::tenant_differs);
  if (!take_tokens(binding, run.bytes, now)) {
    binding.rate_limited += run;
    return drop(DropReason::rate_limited);
  }
  binding.forwarded += run;
  totals_.forwarded += run;
  return binding.address;
}

bool Engine::is_bound(const RouteId& route, Instant now) const {
  const auto found = bindings_.find(route);
  return found != bindings_.end() && now < found->second.expires;
}

std::vector<BindingStatus> Engine::status() const {
  std::vector<BindingStatus> result;
  result.reserve(routes_by_key_.size());
  for (const auto& [key, route] : routes_by_key_) {
    const Binding& binding = bindings_.find(route)->second;
    result.push_back({.key = key,
                      .route = route,
                      .tenant = binding.node.tenant->first,
                      .address = binding.address,
                      .expires = binding.expires,
                      .forwarded = binding.forwarded,
                      .rate_limited = binding.rate_limited});
  }
  return result;
}

void Engine::expire(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const RouteId route = deadlines_.begin()->second;
    end(route, EndReason::expired);
  }
}

void Engine::end(const RouteId& route, EndReason reason) {
  outputs_.push_back({bindings_.find(route)->second.key, route, reason});
  erase(route);
}

void Engine::erase(const RouteId& route) {
  const auto found = bindings_.find(route);
  ZT_ASSERT(found != bindings_.end());
  const Binding binding = found->second;
  bindings_.erase(found);
  note_change(route, nullptr);
  sources_.detach(binding.address, route);
  deadlines_.erase({binding.expires, route});
  routes_by_key_.erase(binding.key);
  const auto tenant = tenants_.find(binding.node.tenant->first);
  if (--tenant->second.binding_count == 0) tenants_.erase(tenant);
}

void Engine::displace_others(const SocketAddress& source, const Node& node) {
  for (const RouteId& route : sources_.routes_of_others(source, node)) {
    end(route, EndReason::displaced);
  }
}

// take_tokens refills by the time that has passed and takes `size` if there is as much.
bool Engine::take_tokens(Binding& binding, std::uint64_t size, Instant now) const {
  if (limits_.rate_bytes_per_s == 0) return true;
  constexpr std::uint64_t kNanosecondsPerS = 1'000'000'000;
  // A second is the most that counts at a time: the product cannot overflow below 18 GB/s.
  const Duration passed =
      std::clamp(now - binding.refilled, Duration(0), Duration(std::chrono::seconds(1)));
  const std::uint64_t refill =
      limits_.rate_bytes_per_s * static_cast<std::uint64_t>(passed.count()) / kNanosecondsPerS;
  if (refill > 0) {
    binding.tokens_size = std::min(limits_.burst_size_max, binding.tokens_size + refill);
    binding.refilled = now;
  }
  if (size > binding.tokens_size) return false;
  binding.tokens_size -= size;
  return true;
}

}  // namespace zt::relay
