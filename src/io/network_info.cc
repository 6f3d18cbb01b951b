// SPDX-License-Identifier: Apache-2.0
#include "io/network_info.h"

#include <ifaddrs.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "io/native_address.h"

namespace zt::io {
namespace {

struct FreeList {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};

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

}  // namespace zt::io
