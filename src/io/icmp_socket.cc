// SPDX-License-Identifier: Apache-2.0
#include "io/icmp_socket.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "io/control_message.h"
#include "io/native_address.h"

namespace zt::io {
namespace {

// ICMP_FILTER of linux/icmp.h, which does not go together with the C library's headers. Its value
// is a set of ICMP types that are not received.
constexpr int kIcmpFilter = 1;

bool let_nothing_in(int socket, IcmpSocket::Family family) {
  if (family == IcmpSocket::Family::v4) {
    const std::uint32_t all = ~std::uint32_t{0};
    return ::setsockopt(socket, SOL_RAW, kIcmpFilter, &all, sizeof all) == 0;
  }
  icmp6_filter filter{};
  ICMP6_FILTER_SETBLOCKALL(&filter);
  return ::setsockopt(socket, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) == 0;
}

// choose_source makes the message leave from `source`.
void choose_source(ControlWriter& controls, const IpAddress& source) {
  const std::span<const std::uint8_t> octets = source.octets();
  if (source.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, octets.data(), sizeof info.ipi_spec_dst);
    controls.add(IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, octets.data(), sizeof info.ipi6_addr);
    controls.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

}  // namespace

std::expected<IcmpSocket, SocketError> IcmpSocket::open(Family family) {
  const bool is_v4 = family == Family::v4;
  Descriptor socket(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                             is_v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
  if (!socket.is_open() || !let_nothing_in(socket.number(), family)) {
    return std::unexpected(to_socket_error(errno));
  }
  return IcmpSocket(std::move(socket));
}

std::expected<void, SocketError> IcmpSocket::send(const IpAddress& source,
                                                  const IpAddress& destination,
                                                  std::span<const std::byte> message) const {
  NativeAddress remote({.ip = destination, .port = 0});  // Raw sockets have no ports.
  // sendmsg does not write to the bytes.
  iovec vector{.iov_base = const_cast<std::byte*>(message.data()),  // NOLINT
               .iov_len = message.size()};
  msghdr header{};
  header.msg_name = &remote.generic;
  header.msg_namelen = remote.size;
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  Control control{};
  ControlWriter controls(header, control);
  choose_source(controls, source);
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.number(), &header, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return std::unexpected(to_socket_error(errno));
  return {};
}

}  // namespace zt::io
