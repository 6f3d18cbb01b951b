// SPDX-License-Identifier: Apache-2.0
#pragma once
// connector/addresses.h: which resolved addresses may be dialled for somebody else.
//
// Theory of operation
//   An address is dialled if it is of kind `global` and none of the connector's own, or if the
//   resource names that very address. Both are judged on the address that IPv6 may disguise
//   (`unwrapped`); the exception is not: a resource that names 127.0.0.1 does not unlock
//   ::ffff:127.0.0.1, and a prefix unlocks nothing, however long the list of what it contains.
// Threats: a name under the control of somebody else points at the connector itself, at the
// metadata
//   service of its cloud, or at its link; a second answer differs from the first (rebinding).
//   Therefore what is judged here is what is dialled, and nothing is resolved twice.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "zt/base/ip.h"

namespace zt::connector {

// OwnAddresses are the addresses of the connector's machine, without disguise.
class OwnAddresses {
 public:
  OwnAddresses() = default;
  explicit OwnAddresses(const std::vector<IpAddress>& addresses);
  [[nodiscard]] bool contains(const IpAddress& address) const;

 private:
  std::set<IpAddress> unwrapped_;
};

// Prohibition is why an address is not dialled.
struct Prohibition {
  AddressKind kind = AddressKind::global;  // `global`: one of the connector's own.

  // to_text ends a sentence: "is a loopback address".
  [[nodiscard]] std::string to_text() const;
  friend bool operator==(const Prohibition&, const Prohibition&) = default;
};

// prohibition_of returns nothing if `address` may be dialled. `named` is the address that the
// resource names literally, if it names one.
[[nodiscard]] std::optional<Prohibition> prohibition_of(const IpAddress& address,
                                                        const std::optional<IpAddress>& named,
                                                        const OwnAddresses& own);

// interleaved orders addresses so that the families alternate, beginning with the first one's
// (RFC 8305 section 4), without doubles, at most `count_max`.
[[nodiscard]] std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses,
                                                 std::size_t count_max);

}  // namespace zt::connector
