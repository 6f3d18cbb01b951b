// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/icmp_socket.h: sends ICMP messages of one family from a chosen address of this machine.
//
// Theory of operation
//   A raw socket, which takes CAP_NET_RAW. The kernel makes the IP header, and for ICMPv6 the
//   checksum once more (RFC 3542 section 3.1). Nothing is received: the socket has a filter that
//   lets nothing in. It does not block; what has no room is lost, as ICMP may be.
//
// Threats  The kernel refuses a source that is not an address of this machine. Whom a message goes
//          to, and how often, is the caller's responsibility.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "io/descriptor.h"
#include "io/socket_error.h"
#include "zt/base/ip.h"

namespace zt::io {

class IcmpSocket {
 public:
  enum class Family : std::uint8_t { v4, v6 };

  // open fails with `denied` if the process lacks CAP_NET_RAW, `unreachable` if the machine lacks
  // the family, and `limit`.
  [[nodiscard]] static std::expected<IcmpSocket, SocketError> open(Family family);

  // send sends `message`, from the ICMP type on. Both addresses are of the socket's family.
  [[nodiscard]] std::expected<void, SocketError> send(const IpAddress& source,
                                                      const IpAddress& destination,
                                                      std::span<const std::byte> message) const;

 private:
  explicit IcmpSocket(Descriptor socket) : socket_(std::move(socket)) {}

  Descriptor socket_;
};

}  // namespace zt::io
