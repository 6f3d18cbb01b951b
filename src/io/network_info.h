// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/network_info.h: what the machine says about its own place in the network.

#include <expected>
#include <optional>
#include <vector>

#include "io/socket_error.h"
#include "zt/base/ip.h"

namespace zt::io {

// own_addresses returns every address of every interface of this network namespace, loopback and
// link-local included, sorted and each once. The connector refuses to dial them for others;
// therefore a failure is an error and not an empty list. Errors: limit, failed.
[[nodiscard]] std::expected<std::vector<IpAddress>, SocketError> own_addresses();

// default_sources returns the addresses from which packets to the internet leave: at most one of
// each family, IPv4 first; none without a route. It asks the routing table and sends nothing.
[[nodiscard]] std::vector<IpAddress> default_sources();

// default_gateway returns the machine that IPv4 packets to the internet go to first; nothing if
// there is no route, or it needs no gateway (a tunnel). It asks the routing table, rules included,
// and sends nothing.
[[nodiscard]] std::optional<IpAddress> default_gateway();

}  // namespace zt::io
