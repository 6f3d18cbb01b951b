// SPDX-License-Identifier: Apache-2.0
#include "nat.h"

#include <algorithm>

namespace zt::sim {

std::string_view to_text(NatBehavior behavior) {
  switch (behavior) {
    case NatBehavior::endpoint_independent:
      return "endpoint-independent";
    case NatBehavior::address_dependent:
      return "address-dependent";
    case NatBehavior::address_and_port_dependent:
      return "address-and-port-dependent";
  }
  return "";
}

std::optional<SocketAddress> Nat::outbound(const SocketAddress& source,
                                           const SocketAddress& destination, Instant now) {
  std::erase_if(mappings_, [&](const auto& entry) { return entry.second.expires <= now; });
  const Key key = key_of(source, destination);
  auto found = mappings_.find(key);
  if (found == mappings_.end()) {
    if (mappings_.size() >= config_.mappings_max) return std::nullopt;
    const std::uint16_t port = config_.is_translating ? next_port_++ : source.port;
    found =
        mappings_.emplace(key, Mapping{.external_port = port, .expires = {}, .sent_to = {}}).first;
  }
  Mapping& mapping = found->second;
  mapping.expires = now + config_.timeout;
  mapping.sent_to[destination] = mapping.expires;
  return SocketAddress{config_.is_translating ? config_.external : source.ip,
                       mapping.external_port};
}

std::optional<SocketAddress> Nat::inbound(const SocketAddress& source,
                                          const SocketAddress& destination, Instant now) const {
  for (const auto& [key, mapping] : mappings_) {
    const SocketAddress& internal = std::get<0>(key);
    const IpAddress& external = config_.is_translating ? config_.external : internal.ip;
    if (destination != SocketAddress{external, mapping.external_port}) continue;
    if (mapping.expires > now && is_let_in(mapping, source, now)) return internal;
  }
  return std::nullopt;
}

std::optional<Nat::Translated> Nat::hairpin(const SocketAddress& source,
                                            const SocketAddress& destination, Instant now) {
  if (!config_.is_hairpinning) return std::nullopt;
  const auto external = outbound(source, destination, now);
  if (!external) return std::nullopt;
  const auto internal = inbound(*external, destination, now);
  if (!internal) return std::nullopt;
  return Translated{*external, *internal};
}

Nat::Key Nat::key_of(const SocketAddress& source, const SocketAddress& destination) const {
  switch (config_.mapping) {
    case NatBehavior::endpoint_independent:
      return {source, IpAddress(), 0};
    case NatBehavior::address_dependent:
      return {source, destination.ip, 0};
    case NatBehavior::address_and_port_dependent:
      return {source, destination.ip, destination.port};
  }
  return {source, IpAddress(), 0};
}

bool Nat::is_let_in(const Mapping& mapping, const SocketAddress& source, Instant now) const {
  if (config_.filtering == NatBehavior::endpoint_independent) return true;
  return std::ranges::any_of(mapping.sent_to, [&](const auto& entry) {
    const auto& [destination, until] = entry;
    if (until <= now || destination.ip != source.ip) return false;
    return config_.filtering == NatBehavior::address_dependent || destination.port == source.port;
  });
}

Nat::Config nat_config(const NatKind& kind, const IpAddress& external) {
  return {.external = external, .mapping = kind.mapping, .filtering = kind.filtering};
}

}  // namespace zt::sim
