// SPDX-License-Identifier: Apache-2.0
#include "app/icmp_answers.h"

#include <string>

namespace zt::app {

void IcmpAnswers::too_large(const wire::InvokingPacket& packet, std::size_t payload_size_max,
                            path::Allowance& sender, const Now& now) {
  if (!sender.take(now.instant) || !allowance_.take(now.instant)) return;
  const Opened& socket = socket_of(packet.source.ip, now);
  if (!socket) return;
  const auto answer = wire::packet_too_big(packet, payload_size_max);
  if (!answer) return;
  const auto sent = socket->send(packet.destination.ip, packet.source.ip, answer->message);
  if (sent) ++sent_count_;
  log_.write(LogLevel::debug, "a datagram does not fit the path, and its sender is told so",
             {{"sender", packet.source.to_text()},
              {"size", std::to_string(packet.payload.size())},
              {"mtu", std::to_string(answer->mtu)},
              {"sent", std::string(sent ? "yes" : to_text(sent.error()))}},
             now.unix_time);
}

const IcmpAnswers::Opened& IcmpAnswers::socket_of(const IpAddress& address, const Now& now) {
  std::optional<Opened>& socket = address.is_v4() ? v4_ : v6_;
  if (socket) return *socket;
  socket.emplace(io::IcmpSocket::open(address.is_v4() ? io::IcmpSocket::Family::v4
                                                      : io::IcmpSocket::Family::v6));
  if (!*socket) {
    log_.write(LogLevel::info,
               "senders of UDP datagrams that do not fit the path are not told so: ICMP takes the "
               "capability CAP_NET_RAW",
               {{"reason", std::string(to_text(socket->error()))}}, now.unix_time);
  }
  return *socket;
}

}  // namespace zt::app
