// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/resolver.h: names to addresses, by DNS and /etc/hosts, on the loop.
//
// Theory of operation
//   c-ares asks; the C library never does (a static binary cannot load its modules, and its lookups
//   block). The hosts file comes first, then the servers of resolv.conf or those given. A and AAAA
//   are asked at the same time. A name is taken as it is: no search domains, no aliases by
//   environment, so that the name that was authorized is the name that is asked for. If resolv.conf
//   changes, the next lookup sees it.
//
//   Answers are cached for their TTL, at most `cache_ttl_max`.
//
// Limits   lookups_max at a time, addresses_max of an answer, total_timeout for each.
// Threats  Answers are untrusted: whoever dials them applies the address rules to each one. Sources
//          ports and ids are random, and the case of the name is varied (0x20), against forgers.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "zt/base/host.h"
#include "zt/base/ip.h"

namespace zt::io {

enum class ResolveError : std::uint8_t {
  not_found,  // The name does not exist, or has no address.
  timed_out,  // No server answered in time.
  failed,     // A server failed or refused, or there is none.
  limit,      // Too many lookups are under way.
};

[[nodiscard]] std::string_view to_text(ResolveError error);

class Resolver {
 public:
  struct Options {
    std::vector<SocketAddress> servers;  // Empty: those of resolv.conf.
    std::string resolv_conf_path = "/etc/resolv.conf";
    std::string hosts_path = "/etc/hosts";
    Duration attempt_timeout = std::chrono::seconds(2);  // Of one question to one server.
    int tries_max = 2;                                   // For each server.
    Duration total_timeout = std::chrono::seconds(6);
    std::chrono::seconds cache_ttl_max = std::chrono::seconds(60);
    std::size_t lookups_max = 256;
    std::size_t addresses_max = 16;
  };

  struct Answer {
    std::vector<IpAddress>
        addresses;               // At least one; sorted by the machine's preference (RFC 6724).
    std::chrono::seconds ttl{};  // The shortest; 0 for the hosts file.
  };

  Resolver(Loop& loop, const Options& options);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  class Impl;  // Of resolver.cc.

 private:
  friend class Lookup;
  std::unique_ptr<Impl> impl_;
};

// Lookup is one question. Destroying it withdraws it.
class Lookup {
 public:
  using OnEnd = std::move_only_function<void(std::expected<Resolver::Answer, ResolveError>)>;

  // `resolver` outlives the lookup. `on_end` is called once, from the loop and not from the
  // constructor; it may destroy the lookup.
  Lookup(Resolver& resolver, const DnsName& name, OnEnd on_end);
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup();

  class Impl;  // Of resolver.cc.

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace zt::io
