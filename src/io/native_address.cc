// SPDX-License-Identifier: Apache-2.0
#include "io/native_address.h"

#include <algorithm>
#include <cstring>

namespace zt::io {
namespace {

std::optional<SocketAddress> from_v6(const sockaddr_in6& native) {
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &native.sin6_addr, octets.size());
  const std::uint16_t port = ntohs(native.sin6_port);
  if (!IN6_IS_ADDR_V4MAPPED(&native.sin6_addr)) return SocketAddress{IpAddress::v6(octets), port};
  std::array<std::uint8_t, 4> mapped{};
  std::copy_n(octets.begin() + 12, mapped.size(), mapped.begin());
  return SocketAddress{IpAddress::v4(mapped), port};
}

}  // namespace

NativeAddress::NativeAddress(const SocketAddress& address) : v6{} {
  const auto& octets = address.ip.octets();
  if (address.ip.is_v4()) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, octets.data(), sizeof v4.sin_addr);
    size = sizeof v4;
  } else {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&v6.sin6_addr, octets.data(), sizeof v6.sin6_addr);
    size = sizeof v6;
  }
}

std::optional<SocketAddress> from_native(const sockaddr* address, socklen_t size) {
  if (address == nullptr || size < sizeof(sa_family_t)) return std::nullopt;
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in native{};
    std::memcpy(&native, address, sizeof native);
    std::array<std::uint8_t, 4> octets{};
    std::memcpy(octets.data(), &native.sin_addr, octets.size());
    return SocketAddress{IpAddress::v4(octets), ntohs(native.sin_port)};
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 native{};
    std::memcpy(&native, address, sizeof native);
    return from_v6(native);
  }
  return std::nullopt;
}

std::optional<SocketAddress> local_address_of(int socket) {
  NativeAddress native;
  native.size = sizeof native.v6;
  if (::getsockname(socket, &native.generic, &native.size) != 0) return std::nullopt;
  return from_native(&native.generic, native.size);
}

std::optional<SocketAddress> remote_address_of(int socket) {
  NativeAddress native;
  native.size = sizeof native.v6;
  if (::getpeername(socket, &native.generic, &native.size) != 0) return std::nullopt;
  return from_native(&native.generic, native.size);
}

}  // namespace zt::io
