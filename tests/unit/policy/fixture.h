// SPDX-License-Identifier: Apache-2.0
#pragma once
// Short ways to write resources, rules and targets in the tests of policy.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/policy/evaluate.h"

namespace zt::policy {

inline std::vector<PortRange> all_ports() {
  return {PortRange{1, 65535}};
}

inline Resource resource(std::string_view id, std::string_view address) {
  return {.id = {"res_" + std::string(id)},
          .name = std::string(id),
          .network = {"net_1"},
          .address = AddressPattern::parse(address).value(),
          .aliases = {},
          .tcp = all_ports(),
          .udp = all_ports()};
}

inline Target target(std::string_view host, std::uint16_t port = 80,
                     Protocol protocol = Protocol::tcp) {
  return {.host = parse_host(host).value(), .port = port, .protocol = protocol};
}

inline UnixTime at(std::int64_t seconds) {
  return from_unix_seconds(seconds);
}

}  // namespace zt::policy
