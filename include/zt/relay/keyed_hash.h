// SPDX-License-Identifier: Apache-2.0
#pragma once
// relay/keyed_hash.h: hashes of what peers choose, for tables that they must not be able to slow.

#include <cstddef>
#include <cstdint>

#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"

namespace zt::relay {

// KeyedHash depends on a secret, so that nobody can choose values that collide.
struct KeyedHash {
  // make draws a secret.
  [[nodiscard]] static KeyedHash make(Random& random);

  std::uint64_t secret_first = 0;
  std::uint64_t secret_second = 0;
  std::size_t operator()(const RouteId& route) const noexcept;
  std::size_t operator()(const SocketAddress& address) const noexcept;
};

}  // namespace zt::relay
