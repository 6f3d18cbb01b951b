// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "zt/base/assert.h"

namespace zt::relay {
namespace {

// mix folds a 64 by 64 bit product, in which every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

// deadline_of converts a promise of the wall clock, saturating far beyond any token's life.
Instant deadline_of(UnixTime expires, const Now& now) {
  constexpr auto kLifetimeMax = std::chrono::hours(24 * 3650);
  const auto left = expires - now.unix_time;
  return now.instant + (left < kLifetimeMax ? Duration(left) : Duration(kLifetimeMax));
}

void add(Volume& sum, const Volume& run) {
  sum.datagrams += run.datagrams;
  sum.bytes += run.bytes;
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
  add(forwarded, other.forwarded);
  for (std::size_t i = 0; i < kDropReasonCount; ++i) add(dropped[i], other.dropped[i]);
  return *this;
}

// An odd multiplier loses no bit.
KeyedHash KeyedHash::make(Random& random) {
  return {.secret_first = random.next(), .secret_second = random.next() | 1U};
}

std::size_t KeyedHash::operator()(const RouteId& route) const noexcept {
  std::uint64_t value = 0;
  static_assert(sizeof(value) == RouteId::kSize);
  std::memcpy(&value, route.bytes.data(), sizeof(value));
  return mix(value ^ secret_first, secret_second);
}

std::size_t KeyedHash::operator()(const SocketAddress& address) const noexcept {
  std::uint64_t upper = 0;
  std::uint64_t lower = 0;
  const auto& octets = address.ip.octets();
  std::memcpy(&upper, octets.data(), sizeof(upper));
  std::memcpy(&lower, octets.data() + sizeof(upper), sizeof(lower));
  const std::uint64_t tail = address.port | (address.ip.is_v6() ? 1ULL << 16U : 0U);
  return mix(mix(upper ^ secret_first, lower ^ secret_second) ^ tail, secret_second);
}

Engine::Engine(const Limits& limits, Random& random)
    : limits_(limits), hash_(KeyedHash::make(random)), bindings_(0, hash_), sources_(0, hash_) {
  ZT_ASSERT(!limits.is_replicated || limits.rate_bytes_per_s == 0);
  // Short chains; a table grows in bind() only, never while it forwards.
  bindings_.max_load_factor(0.7F);
  sources_.max_load_factor(0.7F);
}

std::expected<void, BindError> Engine::bind(const Bind& request, const Now& now) {
  expire(now.instant);
  if (const std::optional<BindError> error = check(request, now)) return std::unexpected(*error);
  ZT_ASSERT(!routes_by_key_.contains(request.key));

  const auto [tenant, is_new] = tenants_.try_emplace(request.tenant);
  if (is_new) tenant->second.number = TenantNumber{++tenants_numbered_};
  Binding binding{.key = request.key,
                  .tenant = &*tenant,
                  .certificate = request.certificate,
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
  displace_others(request.source, binding.tenant, binding.certificate);
  attach(request.route, binding);
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
                                        .tenant = binding.tenant->second.number,
                                        .expires = binding.expires}};
}

std::optional<BindError> Engine::check(const Bind& request, const Now& now) const {
  if (request.expires <= now.unix_time) return BindError::expired;
  const auto tenant = tenants_.find(request.tenant);
  if (const auto held = bindings_.find(request.route); held != bindings_.end()) {
    const Binding& binding = held->second;
    const bool is_same_node = tenant != tenants_.end() && binding.tenant == &*tenant &&
                              binding.certificate == request.certificate;
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
  displace_others(source, binding.tenant, binding.certificate);
  detach(route, binding.address);
  binding.address = source;
  attach(route, binding);
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
  const auto from = sources_.find(source);
  if (from == sources_.end() || now >= from->second.expires) {
    return drop(DropReason::source_unbound);
  }
  const auto to = bindings_.find(route);
  if (to == bindings_.end() || now >= to->second.expires) return drop(DropReason::route_unbound);
  Binding& binding = to->second;
  if (binding.tenant != from->second.tenant) return drop(DropReason::tenant_differs);
  if (!take_tokens(binding, run.bytes, now)) {
    add(binding.rate_limited, run);
    return drop(DropReason::rate_limited);
  }
  add(binding.forwarded, run);
  add(totals_.forwarded, run);
  return binding.address;
}

void Engine::count_drop(DropReason reason, const Volume& run) {
  add(totals_.dropped[static_cast<std::size_t>(reason)], run);
}

bool Engine::is_bound(const RouteId& route, Instant now) const {
  const auto found = bindings_.find(route);
  return found != bindings_.end() && now < found->second.expires;
}

bool Engine::is_source(const SocketAddress& address, Instant now) const {
  const auto found = sources_.find(address);
  return found != sources_.end() && now < found->second.expires;
}

std::vector<BindingStatus> Engine::status() const {
  std::vector<BindingStatus> result;
  result.reserve(routes_by_key_.size());
  for (const auto& [key, route] : routes_by_key_) {
    const Binding& binding = bindings_.find(route)->second;
    result.push_back({.key = key,
                      .route = route,
                      .tenant = binding.tenant->first,
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
  detach(route, binding.address);
  deadlines_.erase({binding.expires, route});
  routes_by_key_.erase(binding.key);
  const auto tenant = tenants_.find(binding.tenant->first);
  if (--tenant->second.binding_count == 0) tenants_.erase(tenant);
}

void Engine::displace_others(const SocketAddress& source, const Tenants::value_type* tenant,
                             const Digest& certificate) {
  const auto found = sources_.find(source);
  if (found == sources_.end()) return;
  if (found->second.tenant == tenant && found->second.certificate == certificate) return;
  const std::vector<RouteId> routes = found->second.routes;
  for (const RouteId& route : routes) end(route, EndReason::displaced);
}

void Engine::attach(const RouteId& route, const Binding& binding) {
  Source& source = sources_.try_emplace(binding.address).first->second;
  source.tenant = binding.tenant;
  source.certificate = binding.certificate;
  source.expires =
      source.routes.empty() ? binding.expires : std::max(source.expires, binding.expires);
  source.routes.push_back(route);
}

// detach expects `route` to be gone from bindings_ or about to live elsewhere.
void Engine::detach(const RouteId& route, const SocketAddress& address) {
  const auto found = sources_.find(address);
  ZT_ASSERT(found != sources_.end());
  Source& source = found->second;
  std::erase(source.routes, route);
  if (source.routes.empty()) {
    sources_.erase(found);
    return;
  }
  source.expires = bindings_.find(source.routes.front())->second.expires;
  for (const RouteId& other : source.routes) {
    source.expires = std::max(source.expires, bindings_.find(other)->second.expires);
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
