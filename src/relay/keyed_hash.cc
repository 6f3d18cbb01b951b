// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/keyed_hash.h"

#include <cstring>

namespace zt::relay {
namespace {

// mix folds a 64 by 64 bit product, in which every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

}  // namespace

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

}  // namespace zt::relay
