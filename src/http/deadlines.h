// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/deadlines.h: at most one deadline for each of many things, and which is next.
//
// Cost  set() and take_due() are logarithmic in the number of deadlines, earliest() is constant.

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "zt/base/time.h"

namespace zt::http {

template <class Key>
class Deadlines {
 public:
  // set replaces the deadline of `key`; nothing means that it has none.
  void set(const Key& key, std::optional<Instant> deadline) {
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      if (deadline == found->second) return;
      by_time_.erase({found->second, key});
      by_key_.erase(found);
    }
    if (!deadline) return;
    by_key_.emplace(key, *deadline);
    by_time_.emplace(*deadline, key);
  }

  [[nodiscard]] std::optional<Instant> earliest() const {
    if (by_time_.empty()) return std::nullopt;
    return by_time_.begin()->first;
  }

  // take_due removes the earliest deadline that is not after `now`, and returns whose it was.
  [[nodiscard]] std::optional<Key> take_due(Instant now) {
    if (by_time_.empty() || now < by_time_.begin()->first) return std::nullopt;
    const Key key = by_time_.begin()->second;
    set(key, std::nullopt);
    return key;
  }

 private:
  std::map<Key, Instant> by_key_;
  std::set<std::pair<Instant, Key>> by_time_;
};

}  // namespace zt::http
