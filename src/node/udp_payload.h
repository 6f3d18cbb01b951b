// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/udp_payload.h: sends a UDP payload as the HTTP Datagram of a flow (RFC 9298 section 5).
//
// Theory of operation
//   A payload that does not fit is dropped. Whoever sent it is told what fits (the shell does that,
//   by ICMP) if the figure is one of the path: settled, for the sender's kernel keeps it for ten
//   minutes, and such as a path has.
//
// Threats  The peer may announce that it takes tiny DATAGRAM frames only. That is its own loss, and
//          no reason to tell a sender, which may have other peers behind the same address, to send
//          less than any path carries: beneath kUdpPayloadSizeMin nobody is told.

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "quic/endpoint.h"
#include "zt/base/bytes.h"
#include "zt/wire/connect_udp.h"

namespace zt::node {

// kUdpPayloadSizeMin is less than fits into a QUIC packet of 1200 bytes, which every path carries,
// beside the headers of packet, frame and HTTP Datagram.
inline constexpr std::size_t kUdpPayloadSizeMin = 1100;

// send_udp_payload sends by way of `frame`, whose memory is used again. It returns how large a
// payload may be, if this one is larger and its sender is to be told so.
[[nodiscard]] inline std::optional<std::size_t> send_udp_payload(quic::Endpoint& endpoint,
                                                                 const quic::StreamKey& stream,
                                                                 BytesView payload, Bytes& frame,
                                                                 Instant now) {
  frame.assign(1, wire::kUdpContext);
  frame.insert(frame.end(), payload.begin(), payload.end());
  // A full queue drops, as a router would.
  if (endpoint.send_datagram(stream, frame) != quic::DatagramResult::too_large) return std::nullopt;
  const std::size_t frame_size_max = endpoint.datagram_size_max(stream);
  if (frame_size_max < 1 + kUdpPayloadSizeMin || !endpoint.is_datagram_size_settled(stream, now)) {
    return std::nullopt;
  }
  return frame_size_max - 1;  // The context ID.
}

}  // namespace zt::node
