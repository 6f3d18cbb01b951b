// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/socket_error.h: what a socket may answer, as far as a caller can act on it.

#include <cstdint>
#include <string_view>

namespace zt::io {

enum class SocketError : std::uint8_t {
  would_block,  // Nothing now: wait for readiness, then call again.
  refused,      // The target host answers, and nothing listens there.
  unreachable,  // No route, network or host down, or the address family is not available here.
  timed_out,    // The peer stopped answering, or the time given for it is over.
  reset,        // The peer broke the connection (RST), or it was closed for writing (EPIPE).
  in_use,       // The local address or path is taken by another socket or process.
  denied,       // The kernel forbids it: privilege, firewall, file mode.
  limit,        // Descriptors, memory or buffers ran out, here or in the kernel: try later.
  too_large,    // A datagram does not fit the path or the protocol.
  invalid,      // The address makes no sense here (for example not an address of this machine).
  failed,       // Anything else.
};

[[nodiscard]] std::string_view to_text(SocketError error);

// to_socket_error sorts an errno value.
[[nodiscard]] SocketError to_socket_error(int error_number);

}  // namespace zt::io
