// SPDX-License-Identifier: Apache-2.0
#pragma once
// relay/source_table.h: which addresses may send, for whom, and until when.
//
// Theory of operation
//   An address is in the table while at least one binding leads to it, and counts until the last
//   of these ends. All bindings at one address belong to one owner: who fills the table sees to
//   that. A node holds few routes at one address, so they are walked.
//
// Cost: find is one hash lookup without allocation.

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "zt/base/assert.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"
#include "zt/relay/keyed_hash.h"

namespace zt::relay {

template <class Owner>
class SourceTable {
 public:
  explicit SourceTable(const KeyedHash& hash) : sources_(0, hash) {
    sources_.max_load_factor(0.7F);  // Short chains.
  }

  // attach adds a binding of `route` that leads to `address`.
  void attach(const SocketAddress& address, const RouteId& route, Instant expires,
              const Owner& owner) {
    Source& source = sources_.try_emplace(address).first->second;
    source.owner = owner;
    source.bindings.emplace_back(route, expires);
    source.settle();
  }

  // detach takes the binding of `route` away, which is at `address`.
  void detach(const SocketAddress& address, const RouteId& route) {
    const auto found = sources_.find(address);
    ZT_ASSERT(found != sources_.end());
    Source& source = found->second;
    std::erase_if(source.bindings, [&](const auto& binding) { return binding.first == route; });
    if (source.bindings.empty()) {
      sources_.erase(found);
    } else {
      source.settle();
    }
  }

  void clear() { sources_.clear(); }

  // find returns the owner of an address at which a binding is live, else nullptr.
  [[nodiscard]] const Owner* find(const SocketAddress& address, Instant now) const {
    const auto found = sources_.find(address);
    if (found == sources_.end() || now >= found->second.expires) return nullptr;
    return &found->second.owner;
  }

  // routes_of_others lists what is bound at `address`, if its owner is another one.
  [[nodiscard]] std::vector<RouteId> routes_of_others(const SocketAddress& address,
                                                      const Owner& owner) const {
    std::vector<RouteId> routes;
    const auto found = sources_.find(address);
    if (found == sources_.end() || found->second.owner == owner) return routes;
    for (const auto& [route, expires] : found->second.bindings) routes.push_back(route);
    return routes;
  }

 private:
  struct Source {
    Owner owner{};
    Instant expires;  // Of the binding that lives longest.
    std::vector<std::pair<RouteId, Instant>> bindings;

    void settle() {
      expires = std::ranges::max_element(bindings, {}, [](const auto& binding) {
                  return binding.second;
                })->second;
    }
  };

  std::unordered_map<SocketAddress, Source, KeyedHash> sources_;
};

}  // namespace zt::relay
