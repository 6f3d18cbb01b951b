// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/connect_udp.h: UDP over HTTP (RFC 9298): where a flow goes, and what a datagram means.
//
// Theory of operation
//   The target stands in the request's path, expanded from the template
//   "/.well-known/masque/udp/{target_host}/{target_port}/". Each HTTP Datagram of the flow begins
//   with a context ID; context 0 carries UDP payloads, and others are not negotiated and dropped.
//   In QUIC, a DATAGRAM frame begins with the quarter of its request's stream ID (RFC 9297 section
//   2.1).
// Limits: UDP payloads of up to 65527 bytes (RFC 9298 section 5).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/bytes.h"
#include "zt/base/host.h"

namespace zt::wire {

inline constexpr std::size_t kUdpPayloadSizeMax = 65527;

// kUdpContext is what stands before a UDP payload in an HTTP Datagram: context ID 0.
inline constexpr std::byte kUdpContext{0};

// to_udp_path expands the template for `target`.
[[nodiscard]] std::string to_udp_path(const Authority& target);

// parse_udp_path reads a path that the template expands to. Colons of an IPv6 address are accepted
// percent-encoded (RFC 9298 section 3.1) and plain. It returns nothing for any other path.
[[nodiscard]] std::optional<Authority> parse_udp_path(std::string_view path);

// parse_udp_datagram returns the UDP payload of an HTTP Datagram; nothing for another context, a
// truncated one, or a payload that is too long. Drop such datagrams.
[[nodiscard]] std::optional<BytesView> parse_udp_datagram(BytesView datagram);

// encode_udp_datagram returns the HTTP Datagram that carries `payload` of at most
// kUdpPayloadSizeMax bytes.
[[nodiscard]] Bytes encode_udp_datagram(BytesView payload);

// QuicDatagram is the content of a QUIC DATAGRAM frame on an HTTP/3 connection.
struct QuicDatagram {
  std::uint64_t stream_id = 0;  // Of the request; client-initiated, bidirectional.
  BytesView payload;            // The HTTP Datagram; borrowed.
};

// parse_quic_datagram returns nothing for a truncated frame or a stream ID that cannot be; the
// connection then ends with H3_DATAGRAM_ERROR (RFC 9297 section 2.1).
[[nodiscard]] std::optional<QuicDatagram> parse_quic_datagram(BytesView frame);

// encode_quic_datagram is the inverse. `stream_id` must be a multiple of four below 2^62.
[[nodiscard]] Bytes encode_quic_datagram(const QuicDatagram& datagram);

}  // namespace zt::wire
