// SPDX-License-Identifier: Apache-2.0
// Against the kernel, in a network namespace of its own: messages are sent over its loopback.
#include "io/icmp_socket.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <utility>

#include "io/native_address.h"
#include "own_namespace.h"
#include "zt/base/bytes.h"

namespace zt::io {
namespace {

// Receives all ICMP that this namespace gets.
class Listener {
 public:
  explicit Listener(bool is_v4)
      : socket_(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         is_v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) {
    REQUIRE(socket_.is_open());
  }

  // next returns the next message, with its IP header over IPv4, and where it came from.
  std::pair<Bytes, IpAddress> next() {
    pollfd wanted{.fd = socket_.number(), .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&wanted, 1, 60'000) == 1);
    std::array<std::byte, 2048> space{};
    NativeAddress source;
    socklen_t size = sizeof(sockaddr_in6);
    const auto received =
        ::recvfrom(socket_.number(), space.data(), space.size(), 0, &source.generic, &size);
    REQUIRE(received > 0);
    const auto address = from_native(&source.generic, size);
    REQUIRE(address);
    return {Bytes(space.begin(), space.begin() + received), address->ip};
  }

 private:
  Descriptor socket_;
};

IpAddress ip_of(std::string_view text) {
  return IpAddress::parse(text).value();
}

}  // namespace

TEST_CASE("an ICMP message leaves from the address that is asked for, as it is") {
  const OwnNamespace here;
  ip("link set lo up");
  // Destination Unreachable about nothing, and Packet Too Big: nobody answers either.
  const Bytes message_v4 = from_hex(
                               "0304f8d6000004d1"
                               "0000000000000000")
                               .value();
  const Bytes message_v6 = from_hex("020000000000050000000000").value();
  const auto socket = IcmpSocket::open(IcmpSocket::Family::v4);
  if (!socket) SKIP("needs CAP_NET_RAW");
  Listener listener(true);
  for (const char* source : {"127.0.0.1", "127.7.7.7"}) {
    CAPTURE(source);
    REQUIRE(socket->send(ip_of(source), ip_of("127.0.0.9"), message_v4));
    const auto [received, from] = listener.next();
    CHECK(from == ip_of(source));
    CHECK(Bytes(received.begin() + 20, received.end()) == message_v4);
  }
  if (run_ip("address add fd00::7/128 dev lo nodad") != 0) SKIP("needs IPv6");
  const auto socket_v6 = IcmpSocket::open(IcmpSocket::Family::v6);
  REQUIRE(socket_v6);
  Listener listener_v6(false);
  for (const char* source : {"::1", "fd00::7"}) {
    CAPTURE(source);
    REQUIRE(socket_v6->send(ip_of(source), ip_of("::1"), message_v6));
    const auto [received, from] = listener_v6.next();
    CHECK(from == ip_of(source));
    CHECK(received.size() == message_v6.size());
    CHECK(Bytes(received.begin() + 4, received.end()) ==
          Bytes(message_v6.begin() + 4, message_v6.end()));
  }
}

TEST_CASE("no ICMP message leaves from another machine's address") {
  const OwnNamespace here;
  ip("link set lo up");
  const auto socket = IcmpSocket::open(IcmpSocket::Family::v4);
  if (!socket) SKIP("needs CAP_NET_RAW");
  CHECK_FALSE(socket->send(ip_of("198.18.0.1"), ip_of("127.0.0.1"), Bytes(16)));
}

TEST_CASE("without CAP_NET_RAW there is no socket for ICMP") {
  if (::geteuid() == 0) {
    // Of this thread only, where the library's setresuid is of all.
    REQUIRE(::syscall(SYS_setresuid, -1, 65534, -1) == 0);
  }
  const auto v4 = IcmpSocket::open(IcmpSocket::Family::v4);
  const auto v6 = IcmpSocket::open(IcmpSocket::Family::v6);
  (void)::syscall(SYS_setresuid, -1, 0, -1);  // Back to root, if it was.
  REQUIRE_FALSE(v4);
  CHECK(v4.error() == SocketError::denied);
  REQUIRE_FALSE(v6);
}

}  // namespace zt::io
