// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/black_hole.h: notices that a path has begun to swallow large packets (RFC 8899 section 4.3).
//
// Theory of operation
//   ngtcp2 finds out how much a path carries, and believes in it as long as the connection stays on
//   the path. When a route changes to a smaller MTU and no router says so, every full packet is
//   lost, and so is every probe timeout's, which is full as well: the connection would hang until
//   it is idle. Therefore: when payload is on its way and none of it was acknowledged for three
//   probe timeouts, packets are cut to kBasePayloadSize, which every path carries. After a while
//   large ones are tried again, after twice as long if they are lost again.
//
//   A path that was only away for a moment looks the same. It costs smaller packets for ten
//   seconds.
//
// Time     Looked at when a timer of the connection expires, which while payload is on its way is
//          one, two and four probe timeouts after the last acknowledgement.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <optional>

#include "zt/base/time.h"

namespace zt::quic {

class BlackHoleDetection {
 public:
  static constexpr std::size_t kBasePayloadSize = 1200;  // RFC 9000 section 14.1.
  static constexpr int kProbeTimeouts = 3;
  static constexpr std::size_t kDatagramsMin = 3;  // Without an acknowledgement.
  static constexpr Duration kPauseMin = std::chrono::seconds(10);
  static constexpr Duration kPauseMax = std::chrono::minutes(10);  // RFC 8899 section 5.1.1.

  // sending says that something is about to leave. `is_first` if nothing is on its way.
  void sending(bool is_first, Instant now) {
    if (is_first || !waiting_since_) waiting_since_ = now;
  }
  // sent_datagram says that a DATAGRAM frame is on its way.
  void sent_datagram() { ++datagram_count_; }
  // acknowledged says that payload has arrived.
  void acknowledged(Instant now) {
    waiting_since_ = now;
    datagram_count_ = 0;
  }
  // path_changed forgets what was learnt of another path.
  void path_changed() { *this = {}; }

  // is_due tells whether so much time has passed that the path is to be doubted, should payload be
  // on its way; `payload_size` is what ngtcp2 believes in.
  [[nodiscard]] bool is_due(std::size_t payload_size, Duration probe_timeout, Instant now) const {
    return waiting_since_ && !is_limited(now) && payload_size > kBasePayloadSize &&
           now - *waiting_since_ >= kProbeTimeouts * probe_timeout;
  }
  // doubt cuts packets, if payload is on its way: of a stream, or lost datagrams in a row.
  void doubt(bool has_stream_payload, Instant now) {
    if (!has_stream_payload && datagram_count_ < kDatagramsMin) return;
    limited_until_ = now + pause_;
    pause_ = std::min(2 * pause_, kPauseMax);
  }

  // is_first_doubt tells whether packets are cut for the first time on this path: it may only have
  // been away for a moment.
  [[nodiscard]] bool is_first_doubt(Instant now) const {
    return is_limited(now) && pause_ == 2 * kPauseMin;
  }
  // payload_size_max returns how large a UDP payload may be.
  [[nodiscard]] std::size_t payload_size_max(Instant now) const {
    return is_limited(now) ? kBasePayloadSize : std::numeric_limits<std::size_t>::max();
  }

 private:
  [[nodiscard]] bool is_limited(Instant now) const {
    return limited_until_ && now < *limited_until_;
  }

  std::optional<Instant> waiting_since_;
  std::size_t datagram_count_ = 0;  // Sent since the last acknowledgement.
  std::optional<Instant> limited_until_;
  Duration pause_ = kPauseMin;
};

}  // namespace zt::quic
