// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/rate_limiter.h: how often somebody may do something.
//
// Theory of operation
//   A token bucket for each name: it holds `per_minute_max` uses, and refills at that rate. Only
//   the instant at which it would be full again is kept; a bucket that is full is no bucket at all.
//
// Limits   `buckets_max` names. When there are more, those that are full again are forgotten; if
//          there are none, a new name is refused: a flood of names does not wash out the ones that
//          are limited.
// Time     The instant of `now` never goes backwards.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "zt/base/assert.h"
#include "zt/base/time.h"

namespace zt::controller {

class RateLimiter {
 public:
  // `per_minute_max` is at least 1, and a value of our own configuration, never of a request.
  RateLimiter(std::uint32_t per_minute_max, std::size_t buckets_max)
      : interval_(interval_of(per_minute_max)),
        burst_(interval_ * per_minute_max),
        buckets_max_(buckets_max) {}

  // has_room tells whether `name` has not used up its rate. It changes nothing.
  [[nodiscard]] bool has_room(std::string_view name, Instant now) const {
    const auto found = full_at_.find(name);
    if (found == full_at_.end()) return true;
    return found->second + interval_ <= now + burst_;
  }

  // use counts one use; it returns false, and counts nothing, if there is no room.
  [[nodiscard]] bool use(std::string_view name, Instant now) {
    if (!has_room(name, now)) return false;
    auto found = full_at_.find(name);
    if (found == full_at_.end()) {
      if (full_at_.size() >= buckets_max_) {
        std::erase_if(full_at_, [&](const auto& bucket) { return bucket.second <= now; });
      }
      if (full_at_.size() >= buckets_max_) return false;
      found = full_at_.emplace(std::string(name), now).first;
    }
    found->second = std::max(found->second, now) + interval_;
    return true;
  }

 private:
  [[nodiscard]] static Duration interval_of(std::uint32_t per_minute_max) {
    ZT_ASSERT(per_minute_max > 0);
    return Duration(std::chrono::minutes(1)) / per_minute_max;
  }

  Duration interval_;
  Duration burst_;
  std::size_t buckets_max_;
  std::map<std::string, Instant, std::less<>> full_at_;
};

}  // namespace zt::controller
