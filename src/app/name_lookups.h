// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/name_lookups.h: the lookups that a node has asked for and that are under way.

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "io/resolver.h"
#include "node/link.h"
#include "zt/base/ip.h"

namespace zt::app {

class NameLookups {
 public:
  // `is_name_absent`: there are no addresses because the name does not exist.
  using OnEnd = std::move_only_function<void(node::LookupKey, const std::vector<IpAddress>&,
                                             bool is_name_absent)>;

  // `resolver` outlives the object. `on_end` is called once for each lookup.
  NameLookups(io::Resolver& resolver, OnEnd on_end)
      : resolver_(resolver), on_end_(std::move(on_end)) {}
  NameLookups(const NameLookups&) = delete;
  NameLookups& operator=(const NameLookups&) = delete;

  void start(const node::Lookup& wanted) {
    lookups_[wanted.key] = std::make_unique<io::Lookup>(
        resolver_, wanted.name,
        [this, key = wanted.key](std::expected<io::Resolver::Answer, io::ResolveError> answer) {
          lookups_.erase(key);
          const bool is_absent = !answer && answer.error() == io::ResolveError::not_found;
          on_end_(key, answer ? answer->addresses : std::vector<IpAddress>(), is_absent);
        });
  }

 private:
  io::Resolver& resolver_;
  OnEnd on_end_;
  std::map<node::LookupKey, std::unique_ptr<io::Lookup>> lookups_;
};

}  // namespace zt::app
