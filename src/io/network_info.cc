// SPDX-License-Identifier: Apache-2.0
#include "io/network_info.h"

#include <ifaddrs.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "io/descriptor.h"
#include "io/native_address.h"

namespace zt::io {
namespace {

struct FreeList {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};

// Documentation addresses (RFC 5737, RFC 3849): of the internet, and nobody's.
const IpAddress kSomewhereV4 = IpAddress::v4({192, 0, 2, 1});
const IpAddress kSomewhereV6 =
    IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

constexpr std::uint16_t kDiscardPort = 9;  // RFC 863; any would do.

// source_toward connects a UDP socket, which is nothing but a question to the routing table.
std::optional<IpAddress> source_toward(const IpAddress& remote) {
  const Descriptor socket(
      ::socket(remote.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return std::nullopt;
  const NativeAddress address({.ip = remote, .port = kDiscardPort});
  if (::connect(socket.number(), &address.generic, address.size) != 0) return std::nullopt;
  const auto source = local_address_of(socket.number());
  return source ? std::optional(source->ip) : std::nullopt;
}

}  // namespace

std::expected<std::vector<IpAddress>, SocketError> own_addresses() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return std::unexpected(to_socket_error(errno));
  const std::unique_ptr<ifaddrs, FreeList> list(first);
  std::vector<IpAddress> addresses;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    // The kernel's list tells no sizes: each entry is as large as its family. A link has another.
    const bool is_v6 = entry->ifa_addr->sa_family == AF_INET6;
    const auto address =
        from_native(entry->ifa_addr, is_v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    if (address) addresses.push_back(address->ip);
  }
  std::ranges::sort(addresses);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
  return addresses;
}

std::vector<IpAddress> default_sources() {
  std::vector<IpAddress> sources;
  for (const IpAddress& somewhere : {kSomewhereV4, kSomewhereV6}) {
    if (const auto source = source_toward(somewhere)) sources.push_back(*source);
  }
  return sources;
}

}  // namespace zt::io
