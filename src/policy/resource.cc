// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/resource.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <variant>

namespace zt::policy {
namespace {

// specificity_for returns the specificity of the best pattern of `resource` that matches `host`. An
// absent one is below all others.
std::optional<Specificity> specificity_for(const Resource& resource, const Host& host) {
  std::optional<Specificity> best;
  const auto consider = [&](const AddressPattern& pattern) {
    if (pattern.matches(host)) best = std::max(best, std::optional(pattern.specificity()));
  };
  consider(resource.address);
  for (const AddressPattern& alias : resource.aliases) consider(alias);
  return best;
}

std::optional<Specificity> best_specificity(std::span<const Resource> resources, const Host& host) {
  std::optional<Specificity> best;
  for (const Resource& resource : resources) best = std::max(best, specificity_for(resource, host));
  return best;
}

// undisguised returns the IPv4 address that an IPv6 address carries, or the host as it is.
Host undisguised(const Host& host) {
  const auto* address = std::get_if<IpAddress>(&host);
  return address == nullptr ? host : Host(unwrapped(*address));
}

}  // namespace

std::span<const PortRange> ports_of(const Resource& resource, Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp:
      return resource.tcp;
    case Protocol::udp:
      return resource.udp;
  }
  return {};
}

bool offers(const Resource& resource, Protocol protocol, std::uint16_t port) {
  const std::span<const PortRange> ranges = ports_of(resource, protocol);
  return std::ranges::any_of(ranges,
                             [port](const PortRange& range) { return range.contains(port); });
}

std::vector<const Resource*> best_matches(std::span<const Resource> resources,
                                          const Target& target) {
  const std::optional<Specificity> best = best_specificity(resources, target.host);
  if (!best || best_specificity(resources, undisguised(target.host)) > best) return {};
  std::vector<const Resource*> matches;
  for (const Resource& resource : resources) {
    if (specificity_for(resource, target.host) == best) matches.push_back(&resource);
  }
  const auto rank = [&target](const Resource& resource) {
    const bool has_port = offers(resource, target.protocol, target.port);
    const bool is_usable = has_port && resource.is_enabled;
    return std::tuple<bool, bool, const ResourceId&>(!is_usable, !has_port, resource.id);
  };
  std::ranges::sort(matches,
                    [&rank](const Resource* a, const Resource* b) { return rank(*a) < rank(*b); });
  return matches;
}

const Resource* best_match(std::span<const Resource> resources, const Target& target) {
  const std::vector<const Resource*> matches = best_matches(resources, target);
  return matches.empty() ? nullptr : matches.front();
}

}  // namespace zt::policy
