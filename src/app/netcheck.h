// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/netcheck.h: what the network lets a client do, as one JSON object and as text for people.
//
// Theory of operation
//   The running client looks at itself (netcheck_of) and writes the object; `zt client netcheck`
//   shows it. Nothing is sent for it: the client stands in touch with controller and relays, and
//   what it knows of them is at most as old as their last answers; of the NAT's hairpin, as
//   path/hairpin.h says. The object has a "version"
//   member with the promise of app/client_status.h.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "node/link.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"
#include "zt/path/hairpin.h"
#include "zt/path/nat_verdict.h"
#include "zt/path/port_mapping.h"

namespace zt::app {

struct Netcheck {
  // Contact is how the client stands with a controller or relay.
  struct Contact {
    std::string address;  // HOST:PORT, as configured.
    bool is_up = false;
    bool is_over_tcp = false;               // Up, over a TCP link: UDP does not get through.
    std::string reason;                     // Why the last try failed; empty: the first goes on.
    std::optional<SocketAddress> remote;    // What it was resolved to, if anything was tried.
    std::optional<Duration> round_trip;     // While it is up.
    std::optional<SocketAddress> observed;  // Where it sees us.
  };
  struct Relay {
    RelayId id;
    std::string name;
    Contact contact;
    bool is_spare = false;   // Not tried: enough others are on the list.
    bool is_silent = false;  // Bound, and it leaves us without an answer.
  };

  Contact controller;
  std::vector<Relay> relays;  // In the controller's order.
  bool is_always_relayed = false;
  std::uint16_t port = 0;  // 0: the machine does not tell its addresses.
  std::vector<SocketAddress> advertised;
  path::NatVerdict nat;
  path::Hairpin hairpin = path::Hairpin::unseen;
  path::MappingStatus mapping;
  node::MappingNeed mapping_need = node::MappingNeed::unknown;
  // PathRuleOf is a resource that may not be reached by any path.
  struct PathRuleOf {
    std::string resource;
    std::string rule;
  };
  std::vector<PathRuleOf> path_rules;

  // is_udp_blocked: whatever is up is so over TCP.
  [[nodiscard]] bool is_udp_blocked() const;
  // is_working: flows can be opened.
  [[nodiscard]] bool is_working() const;
};

[[nodiscard]] Netcheck netcheck_of(const node::Link& link);

// conclusion says what will happen, in one sentence without its full stop.
[[nodiscard]] std::string conclusion(const Netcheck& check);

// netcheck_json writes the object; is_working_netcheck reads its "working".
[[nodiscard]] std::string netcheck_json(const Netcheck& check);
[[nodiscard]] bool is_working_netcheck(std::string_view json);

// netcheck_text shows the object; a malformed one shows as it is.
[[nodiscard]] std::string netcheck_text(std::string_view json);

}  // namespace zt::app
