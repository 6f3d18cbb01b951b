// SPDX-License-Identifier: Apache-2.0
#pragma once
// client/forward.h: "--forward [udp:][BIND:]PORT=HOST:PORT": a local port that leads to a resource.
//
// Theory of operation
//   The left side is where to listen, the right side is where flows go. BIND is an IP address, IPv6
//   in brackets, and 127.0.0.1 if it is absent; PORT 0 lets the system choose a free one. Whoever
//   can reach BIND acts with the rights of this client: that is why nothing but loopback is the
//   default.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "zt/base/host.h"
#include "zt/base/ip.h"
#include "zt/base/protocol.h"

namespace zt::client {

enum class ForwardError : std::uint8_t {
  no_equals_sign,  // Nothing separates the two sides.
  bad_bind,        // BIND is not an IP address.
  bad_port,        // The left PORT is not a number from 0 to 65535.
  bad_target,      // The right side is not HOST:PORT.
};

struct Forward {
  Protocol protocol = Protocol::tcp;
  SocketAddress bind;
  Authority target;

  [[nodiscard]] static std::expected<Forward, ForwardError> parse(std::string_view text);
  // to_text writes what parse reads, with BIND always given.
  [[nodiscard]] std::string to_text() const;

  friend bool operator==(const Forward&, const Forward&) = default;
};

// explain returns one sentence for the user who wrote `text`, without a full stop.
[[nodiscard]] std::string explain(ForwardError error, std::string_view text);

}  // namespace zt::client
