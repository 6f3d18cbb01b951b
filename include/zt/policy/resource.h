// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/resource.h: a resource, and which one a host belongs to.
//
// Theory of operation
//   A host belongs to the resource with the most specific pattern that matches it, whether that
//   resource is enabled, offers the port or may be reached: a narrow resource takes its hosts out
//   of a wide one. Only resources that match equally well (the same address in two networks, or
//   split by port) are alternatives; they are ordered so that the usable come first.

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/path_rule.h"
#include "zt/base/protocol.h"
#include "zt/policy/address_pattern.h"

namespace zt::policy {

struct Resource {
  ResourceId id;
  std::string name;  // For people.
  NetworkId network;
  AddressPattern address;
  std::vector<AddressPattern> aliases;  // More patterns for the same resource.
  std::vector<PortRange> tcp;           // Empty: none. One range 1-65535: all.
  std::vector<PortRange> udp;
  bool is_enabled = true;
  PathRule path;

  friend bool operator==(const Resource&, const Resource&) = default;
};

// ports_of returns the ranges that `resource` offers for `protocol`.
[[nodiscard]] std::span<const PortRange> ports_of(const Resource& resource, Protocol protocol);

// offers tells whether `resource` has `port` of `protocol`, enabled or not.
[[nodiscard]] bool offers(const Resource& resource, Protocol protocol, std::uint16_t port);

// Target is where a flow wants to go.
struct Target {
  Host host;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;

  friend auto operator<=>(const Target&, const Target&) = default;
  friend bool operator==(const Target&, const Target&) = default;
};

// best_matches returns the resources that `target.host` belongs to: those with the most specific
// matching pattern; first those that are enabled and offer the port, then those that offer it, then
// the others; each in the order of ids. The order of `resources` does not matter. It is empty if
// nothing matches, and for an IPv6 disguise of an IPv4 address whose resource is more specific than
// any that names the IPv6 address. The pointers borrow from `resources`.
[[nodiscard]] std::vector<const Resource*> best_matches(std::span<const Resource> resources,
                                                        const Target& target);

// best_match returns the first of best_matches, or null.
[[nodiscard]] const Resource* best_match(std::span<const Resource> resources, const Target& target);

}  // namespace zt::policy
