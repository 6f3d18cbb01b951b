// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/icmp_answers.h: tells local senders by ICMP that a UDP datagram does not fit the path.
//
// Theory of operation
//   An application or a service has sent a datagram to one of our UDP sockets, and the flow cannot
//   carry it. It gets what a router would send it, from the address that it sent to, with the
//   largest packet that fits (wire/icmp.h). Its next call on a connected socket fails with
//   EMSGSIZE, and its kernel remembers the figure: Linux does for ten minutes, for all that it
//   sends to that address, over loopback as well.
//
//   Sockets for ICMP take CAP_NET_RAW. They are opened when the first answer is due; without the
//   capability that is said once, and datagrams are dropped without an answer.
//
// Limits   Four answers to a sender, then one each second; in all fifty, then a hundred a second
//          (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4(f)).
// Threats  The only way to an answer is a datagram that came to a socket of ours, and the answer
//          goes to its source: nothing that a peer says across the tunnel gets here but the size,
//          which has a floor (node/udp_payload.h). Whoever can forge a source on the local network
//          makes us send less than was sent to us, at the rate above, to a host that looks for the
//          quoted socket and does not have it.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "app/log.h"
#include "io/icmp_socket.h"
#include "zt/base/time.h"
#include "zt/path/allowance.h"
#include "zt/wire/icmp.h"

namespace zt::app {

class IcmpAnswers {
 public:
  // Allowance of one sender: one flow's, kept by whoever keeps the flow.
  static constexpr path::Allowance::Rate kSenderRate{.burst = 4, .period = std::chrono::seconds(1)};
  static constexpr path::Allowance::Rate kRate{.burst = 50,
                                               .period = std::chrono::milliseconds(10)};

  // `log` outlives this.
  IcmpAnswers(Log& log, Instant now) : log_(log), allowance_(kRate, now) {}
  IcmpAnswers(const IcmpAnswers&) = delete;
  IcmpAnswers& operator=(const IcmpAnswers&) = delete;

  // too_large answers `packet`, of whose payload `payload_size_max` bytes would fit, at the cost of
  // its `sender` and of all.
  void too_large(const wire::InvokingPacket& packet, std::size_t payload_size_max,
                 path::Allowance& sender, const Now& now);

  // sent_count counts what the kernel took.
  [[nodiscard]] std::uint64_t sent_count() const { return sent_count_; }

 private:
  using Opened = std::expected<io::IcmpSocket, io::SocketError>;

  [[nodiscard]] const Opened& socket_of(const IpAddress& address, const Now& now);

  Log& log_;
  path::Allowance allowance_;
  std::optional<Opened> v4_;  // Nothing: no answer was due so far.
  std::optional<Opened> v6_;
  std::uint64_t sent_count_ = 0;
};

}  // namespace zt::app
