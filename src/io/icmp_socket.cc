// SPDX-License-Identifier: Apache-2.0
#include "io/icmp_socket.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

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

// SourceControl is the ancillary data that chooses a message's source address.
class SourceControl {
 public:
  explicit SourceControl(const IpAddress& source) {
    if (source.is_v4()) {
      in_pktinfo info{};
      std::copy_n(source.octets().begin(), sizeof info.ipi_spec_dst, octets_of(info.ipi_spec_dst));
      set(IPPROTO_IP, IP_PKTINFO, info);
    } else {
      in6_pktinfo info{};
      std::copy_n(source.octets().begin(), sizeof info.ipi6_addr, octets_of(info.ipi6_addr));
      set(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
  }
  void attach_to(msghdr& message) {
    message.msg_control = bytes_.data();
    message.msg_controllen = size_;
  }

 private:
  template <class Address>
  static std::uint8_t* octets_of(Address& address) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): a byte may alias any object.
    return reinterpret_cast<std::uint8_t*>(&address);
  }
  template <class Info>
  void set(int level, int type, const Info& info) {
    const cmsghdr header{.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = level, .cmsg_type = type};
    std::memcpy(bytes_.data(), &header, sizeof header);
    std::memcpy(bytes_.data() + CMSG_LEN(0), &info, sizeof info);
    size_ = CMSG_SPACE(sizeof info);
  }

  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo))> bytes_{};
  std::size_t size_ = 0;
};

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
  SourceControl control(source);
  control.attach_to(header);
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.number(), &header, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return std::unexpected(to_socket_error(errno));
  return {};
}

}  // namespace zt::io
