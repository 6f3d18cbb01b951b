// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/node_defaults.h: the configuration that every node of this program starts from.

#include <optional>
#include <string_view>

#include "crypto/identity.h"
#include "io/udp.h"
#include "node/link.h"
#include "zt/base/host.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"

namespace zt::app {

// link_config is the link of a node with `identity`, which outlives it, to its controller. The
// route is drawn at random: a relay takes its own, others get theirs with the first relay token.
[[nodiscard]] node::Link::Config link_config(const crypto::Identity& identity,
                                             const Authority& controller,
                                             const Digest& controller_key, Random& random,
                                             bool is_accepting);

// reset_key_of is the key with which a node that was started again tells its peers that their
// connections are gone: at once, and not after their idle timeout. The lock of the state directory
// keeps two processes from having the same.
[[nodiscard]] Digest reset_key_of(const crypto::Identity& identity);

// relay_route_of is a relay's own route: the same after each start, so that packets for connections
// that died with it still reach its endpoint, which answers them with a reset.
[[nodiscard]] RouteId relay_route_of(const crypto::Identity& identity);

// parse_dns_server accepts ADDRESS or ADDRESS:PORT; the port is 53 by default.
[[nodiscard]] std::optional<SocketAddress> parse_dns_server(std::string_view text);

// parse_listen accepts PORT, ADDRESS:PORT or [ADDRESS]:PORT; port 0 is any. Without an address it
// is all addresses of both families.
[[nodiscard]] std::optional<io::UdpPort::Local> parse_listen(std::string_view text);

}  // namespace zt::app
