// SPDX-License-Identifier: Apache-2.0
#include "zt/connector/addresses.h"

#include <algorithm>

namespace zt::connector {

OwnAddresses::OwnAddresses(const std::vector<IpAddress>& addresses) {
  for (const IpAddress& address : addresses) unwrapped_.insert(unwrapped(address));
}

bool OwnAddresses::contains(const IpAddress& address) const {
  return unwrapped_.contains(unwrapped(address));
}

std::string Prohibition::to_text() const {
  switch (kind) {
    case AddressKind::global:
      return "is an address of the connector itself";
    case AddressKind::unspecified:
      return "is the unspecified address";
    case AddressKind::loopback:
      return "is a loopback address";
    case AddressKind::link_local:
      return "is a link-local address";
    case AddressKind::metadata:
      return "is the address of a cloud metadata service";
    case AddressKind::multicast:
      return "is a multicast address";
    case AddressKind::broadcast:
      return "is the broadcast address";
    case AddressKind::reserved:
      return "is a reserved address";
  }
  return "is prohibited";
}

std::optional<Prohibition> prohibition_of(const IpAddress& address,
                                          const std::optional<IpAddress>& named,
                                          const OwnAddresses& own) {
  if (named == address) return std::nullopt;
  const AddressKind kind = kind_of(address);
  if (kind != AddressKind::global || own.contains(address)) return Prohibition{kind};
  return std::nullopt;
}

std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses, std::size_t count_max) {
  std::vector<IpAddress> first_family;
  std::vector<IpAddress> second_family;
  for (const IpAddress& address : addresses) {
    auto& family = address.is_v6() == addresses.front().is_v6() ? first_family : second_family;
    if (std::ranges::find(family, address) == family.end()) family.push_back(address);
  }
  std::vector<IpAddress> result;
  const std::size_t rounds = std::max(first_family.size(), second_family.size());
  for (std::size_t i = 0; i < rounds && result.size() < count_max; ++i) {
    if (i < first_family.size()) result.push_back(first_family[i]);
    if (i < second_family.size() && result.size() < count_max) result.push_back(second_family[i]);
  }
  return result;
}

}  // namespace zt::connector
