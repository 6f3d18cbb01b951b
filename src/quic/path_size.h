// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/path_size.h: whether the size that a path was found to carry is the last word on it.
//
// Theory of operation
//   A path begins with the size that every path carries. The library probes larger ones in a fixed
//   order; a size counts as too large when so many probes of it were lost that five probe timeouts
//   have passed. It does not tell when it has no more to try, but what it has still to try follows
//   from the order and from what it has found: a size is *settled* when it has not changed for as
//   long as all of that would take to fail.
//
//   Who tells a size to others wants a settled one: what a kernel learns from ICMP it keeps for ten
//   minutes, and only a smaller figure replaces it.
//
// Time     Looked at whenever something may be sent. A size that changed and changed back in
//          between is the same.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "zt/base/time.h"

namespace zt::quic {

class PathSize {
 public:
  static constexpr int kProbeTimeouts = 5;  // That one size takes to fail (ngtcp2: 1 + 1 + 3).

  // seen says what the path is believed to carry at this moment, in bytes of UDP payload.
  void seen(std::size_t size, Instant now) {
    if (size == size_) return;
    size_ = size;
    since_ = now;
  }
  // path_changed forgets what was seen of another path.
  void path_changed() { *this = {}; }

  // is_settled tells whether the size that was last seen will not grow, as far as anybody can
  // know. `probed_sizes` is the order of the probes, `probe_timeout` the present one.
  [[nodiscard]] bool is_settled(std::span<const std::uint16_t> probed_sizes, Duration probe_timeout,
                                Instant now) const {
    return size_ > 0 &&
           now - since_ >= kProbeTimeouts * probe_timeout * probes_left(probed_sizes, size_);
  }

  // probes_left returns how many sizes are tried, in order, before a path that carries `size` and
  // no more is known to: those beyond one that failed are not.
  [[nodiscard]] static int probes_left(std::span<const std::uint16_t> probed_sizes,
                                       std::size_t size) {
    int left = 0;
    std::size_t failed = std::numeric_limits<std::size_t>::max();
    for (const std::size_t probed : probed_sizes) {
      if (probed == size) left = 0;  // It was found, so those before it are done.
      if (probed <= size || probed >= failed) continue;
      failed = probed;
      ++left;
    }
    return left;
  }

 private:
  std::size_t size_ = 0;  // 0: none was seen.
  Instant since_;
};

}  // namespace zt::quic
