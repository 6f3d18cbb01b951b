// SPDX-License-Identifier: Apache-2.0
#include "io/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace zt::io {
namespace {

union NetlinkAddress {
  sockaddr generic;
  sockaddr_nl netlink;
};

}  // namespace

std::expected<Descriptor, SocketError> open_netlink(std::uint32_t groups) {
  Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket.is_open()) return std::unexpected(to_socket_error(errno));
  const NetlinkAddress local{.netlink = {.nl_family = AF_NETLINK, .nl_groups = groups}};
  if (::bind(socket.number(), &local.generic, sizeof local.netlink) != 0) {
    return std::unexpected(to_socket_error(errno));
  }
  return socket;
}

std::expected<BytesView, int> receive_netlink(int socket, std::span<std::byte> space) {
  NetlinkAddress sender{};
  socklen_t sender_size = sizeof sender;
  const ssize_t size = ::recvfrom(socket, space.data(), space.size(), MSG_DONTWAIT | MSG_TRUNC,
                                  &sender.generic, &sender_size);
  if (size < 0) return std::unexpected(errno);
  if (sender_size != sizeof sender.netlink || sender.netlink.nl_pid != 0) return BytesView{};
  if (std::cmp_greater(size, space.size())) return std::unexpected(EMSGSIZE);
  return space.first(static_cast<std::size_t>(size));
}

}  // namespace zt::io
