// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/icmp.h: the ICMP message by which a sender learns that its UDP datagram is too large.
//
// Theory of operation
//   packet_too_big answers an *invoking packet* (RFC 4443) as the router would, behind which the
//   way is too narrow: over IPv4 by Destination Unreachable, "fragmentation needed and DF set",
//   with the next-hop MTU (RFC 792, RFC 1191 section 4); over IPv6 by Packet Too Big (RFC 4443
//   section 3.2). The message comes without its IP header, which the kernel makes; its source is
//   the address that the invoking packet was sent to.
//
//   We are given a datagram by a UDP socket, and not the packet that it came in. The quoted headers
//   are made again from what the socket knows: addresses, ports, lengths and the UDP checksum are
//   those that were sent; type of service, identification, TTL and flow label, by which no receiver
//   finds the socket, are those of a plain packet.
//
//   IPv4 senders that let their packets be fragmented are answered, too: a network would carry
//   their fragments, but what became of them here is one datagram, and it fits nowhere.
//
// Limits   The next-hop MTU of IPv6 is never below kIpv6MtuMin, for receivers discard less (RFC
//          8201 section 4). On a path that carries less, datagrams above it are answered with that
//          figure, and those between the two are lost without an answer. IPv4 has no such figure;
//          Linux remembers nothing below its net.ipv4.route.min_pmtu (552).
// Threats  Amplification: with its IP header a message is never longer than the invoking packet,
//          nor than 576 bytes over IPv4 (RFC 1812 section 4.3.2.3) and kIpv6MtuMin over IPv6 (RFC
//          4443 section 2.4(c)). Nothing answers what is from or to more than one host, or from
//          nobody (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)). How often is the caller's to
//          limit (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4(f)).

#include <cstddef>
#include <cstdint>
#include <optional>

#include "zt/base/bytes.h"
#include "zt/base/ip.h"

namespace zt::wire {

inline constexpr std::size_t kIpv6MtuMin = 1280;  // RFC 8200 section 5.

// InvokingPacket is a UDP datagram as its sender sent it. Both addresses are of one family.
struct InvokingPacket {
  SocketAddress source;
  SocketAddress destination;
  BytesView payload;
};

// PacketTooBig is the answer, to be sent from the packet's destination to its source.
struct PacketTooBig {
  std::size_t mtu = 0;  // Bytes of the largest IP packet that fits.
  Bytes message;        // From the ICMP type on, with its checksum.
};

// ip_packet_size returns the size of the IP packet, without options or extension headers, that
// carries a UDP payload between addresses of the family of `address`.
[[nodiscard]] std::size_t ip_packet_size(const IpAddress& address, std::size_t payload_size);

// packet_too_big returns the message for a packet whose payload is larger than the
// `payload_size_max` bytes that fit. There is none for a packet from or to no single host, of two
// families or larger than IP has them, none if the MTU that may be told is no smaller than the
// packet, and none if the packet is shorter than the shortest answer.
[[nodiscard]] std::optional<PacketTooBig> packet_too_big(const InvokingPacket& packet,
                                                         std::size_t payload_size_max);

}  // namespace zt::wire
