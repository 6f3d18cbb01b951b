// SPDX-License-Identifier: Apache-2.0
#include "app/node_defaults.h"

#include <algorithm>
#include <string>

#include "app/version.h"

namespace zt::app {

node::Link::Config link_config(const crypto::Identity& identity, const Authority& controller,
                               const Digest& controller_key, Random& random, bool is_accepting) {
  RouteId route;
  random.fill(route.bytes);
  return {.controller = {.controller = controller,
                         .pin = controller_key,
                         .version = std::string(version())},
          .relays = {},
          .endpoint = {.identity = &identity,
                       .route = route,
                       .is_accepting = is_accepting,
                       .reset_key = reset_key_of(identity)}};
}

Digest reset_key_of(const crypto::Identity& identity) {
  return identity.derived_key("zt stateless reset");
}

RouteId relay_route_of(const crypto::Identity& identity) {
  RouteId route;
  const Digest derived = identity.derived_key("zt relay route");
  std::ranges::copy_n(derived.bytes.begin(), route.bytes.size(), route.bytes.begin());
  return route;
}

std::optional<SocketAddress> parse_dns_server(std::string_view text) {
  constexpr std::uint16_t kDnsPort = 53;
  if (const auto address = IpAddress::parse(text)) return SocketAddress{*address, kDnsPort};
  return SocketAddress::parse(text);
}

std::optional<io::UdpPort::Local> parse_listen(std::string_view text) {
  if (text == "0") return io::UdpPort::Local{};
  if (const auto port = parse_port(text)) return io::UdpPort::Local{.ip = {}, .port = *port};
  if (const auto address = SocketAddress::parse(text)) {
    return io::UdpPort::Local{.ip = address->ip, .port = address->port};
  }
  return std::nullopt;
}

}  // namespace zt::app
