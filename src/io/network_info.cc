// SPDX-License-Identifier: Apache-2.0
#include "io/network_info.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "io/descriptor.h"
#include "io/native_address.h"
#include "io/netlink.h"
#include "io/network_facts.h"

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

// RouteQuestion asks which way packets to one IPv4 address go.
struct RouteQuestion {
  nlmsghdr header;
  rtmsg body;
  rtattr attribute;
  std::array<std::uint8_t, 4> target;
};
static_assert(sizeof(RouteQuestion) ==
              NLMSG_SPACE(sizeof(rtmsg)) + RTA_SPACE(sizeof(RouteQuestion::target)));

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

std::optional<IpAddress> default_gateway() {
  const auto socket = open_netlink(0);
  if (!socket) return std::nullopt;
  const auto& octets = kSomewhereV4.octets();
  const RouteQuestion question{
      .header = {.nlmsg_len = sizeof(RouteQuestion),
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = 1,
                 .nlmsg_pid = 0},
      .body = {.rtm_family = AF_INET, .rtm_dst_len = 32},
      .attribute = {.rta_len = RTA_LENGTH(sizeof(RouteQuestion::target)), .rta_type = RTA_DST},
      .target = {octets[0], octets[1], octets[2], octets[3]}};
  // The kernel answers before `send` returns.
  if (::send(socket->number(), &question, sizeof question, 0) < 0) return std::nullopt;
  std::array<std::byte, kNetlinkSizeMax> space{};
  const auto datagram = receive_netlink(socket->number(), space);
  if (!datagram) return std::nullopt;
  const auto route = read_route_answer(*datagram);
  return route ? route->gateway : std::nullopt;
}

}  // namespace zt::io
