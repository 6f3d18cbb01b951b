// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/quic_packet.h: what a QUIC datagram shows to everybody on its path (RFC 8999).
//
// Theory of operation
//   A relay forwards by the first 8 bytes of the destination connection ID, which are the
//   receiver's route id. They stand at a fixed place in both header forms: at byte 6 of a long
//   header (after the first byte, the version and the length) and at byte 1 of a short header.
//   Nothing else of a packet is looked at, and nothing of it can be opened here.
// Limits: connection IDs of up to 20 bytes (RFC 9000 section 17.2). Longer ones belong to versions
//   that nobody here speaks.
// Cost: `route_of` is a few loads and compares; the relay calls it for each packet.
// Threats: the bytes are whatever somebody sent. A route id proves nothing; the table of bound
// routes
//   decides. Datagrams without the fixed bit are not QUIC for us (RFC 9443) and have no route.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"

namespace zt::wire {

inline constexpr std::size_t kConnectionIdSizeMax = 20;
inline constexpr std::uint32_t kQuicVersion1 = 1;
// kInitialDatagramSizeMin is the least that a client pads its first datagrams to (RFC 9000 section
// 14.1); smaller ones deserve no answer.
inline constexpr std::size_t kInitialDatagramSizeMin = 1200;

// has_long_header tells the two header forms apart.
[[nodiscard]] inline bool has_long_header(BytesView datagram) {
  return !datagram.empty() && (datagram[0] & std::byte{0x80}) != std::byte{0};
}

// has_fixed_bit tells whether the datagram is QUIC where protocols share a port (RFC 9443).
[[nodiscard]] inline bool has_fixed_bit(BytesView datagram) {
  return !datagram.empty() && (datagram[0] & std::byte{0x40}) != std::byte{0};
}

// route_of returns the first 8 bytes of the destination connection ID of the first packet in
// `datagram`; nothing if it is no QUIC, too short, or its connection ID has fewer than 8 or more
// than 20 bytes. A short header does not tell its connection ID's length: 8 bytes after the first
// are taken.
[[nodiscard]] inline std::optional<RouteId> route_of(BytesView datagram) {
  constexpr std::size_t kLengthAt = 5;
  if (!has_fixed_bit(datagram)) return std::nullopt;
  std::size_t at = 1;
  if (has_long_header(datagram)) {
    if (datagram.size() <= kLengthAt) return std::nullopt;
    const auto size = std::to_integer<std::size_t>(datagram[kLengthAt]);
    if (size < RouteId::kSize || size > kConnectionIdSizeMax) return std::nullopt;
    at = kLengthAt + 1;
    if (datagram.size() - at < size) return std::nullopt;
  }
  if (datagram.size() - at < RouteId::kSize) return std::nullopt;
  RouteId route;
  std::copy_n(datagram.begin() + static_cast<std::ptrdiff_t>(at), RouteId::kSize,
              route.bytes.begin());
  return route;
}

// PacketHeader is what the invariants tell about a packet. Its views borrow from the datagram.
struct PacketHeader {
  bool is_long = false;
  bool is_initial = false;    // An Initial packet of version 1.
  std::uint32_t version = 0;  // Zero in a Version Negotiation packet and in short headers.
  BytesView destination;      // Destination connection ID.
  BytesView source;           // Source connection ID; empty in short headers.
};

// parse_packet_header reads the first packet of `datagram`. `short_destination_size` is the size of
// the connection IDs that the receiver gives out, which short headers carry without a length. It
// returns nothing for what is no QUIC (no fixed bit) or truncated, and for connection IDs of more
// than 20 bytes.
[[nodiscard]] std::optional<PacketHeader> parse_packet_header(BytesView datagram,
                                                              std::size_t short_destination_size);

}  // namespace zt::wire
