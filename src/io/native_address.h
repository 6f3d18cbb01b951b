// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/native_address.h: the one place where a SocketAddress becomes a sockaddr and back.

#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>

#include "zt/base/ip.h"

namespace zt::io {

// NativeAddress is an address as the kernel takes it.
struct NativeAddress {
  union {
    sockaddr generic;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = 0;

  NativeAddress() : v6{} {}
  explicit NativeAddress(const SocketAddress& address);
};

// from_native reads an address that the kernel wrote; nothing if it is neither IPv4 nor IPv6. A
// mapped IPv6 address (::ffff:a.b.c.d) is returned as the IPv4 address that it stands for.
[[nodiscard]] std::optional<SocketAddress> from_native(const sockaddr* address, socklen_t size);

// local_address_of and remote_address_of ask the kernel about a socket.
[[nodiscard]] std::optional<SocketAddress> local_address_of(int socket);
[[nodiscard]] std::optional<SocketAddress> remote_address_of(int socket);

}  // namespace zt::io
