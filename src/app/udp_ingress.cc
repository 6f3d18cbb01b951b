// SPDX-License-Identifier: Apache-2.0
#include "app/udp_ingress.h"

#include <utility>

namespace zt::app {

std::expected<std::unique_ptr<io::UdpSocket>, io::SocketError> open_udp_ingress(
    io::Loop& loop, io::UdpBuffers& buffers, const SocketAddress& local,
    OnIngressDatagram on_datagram) {
  return io::UdpSocket::bind(
      loop, buffers, local,
      {.receive_buffer_size = 1 << 20,
       .send_buffer_size = 1 << 20,
       .is_fragmented = true,
       .is_local_told = true},
      {.on_datagrams =
           [on_datagram = std::move(on_datagram)](const io::Datagrams& train) mutable {
             io::for_each_datagram(
                 train, [&](std::span<const std::byte> datagram) { on_datagram(train, datagram); });
           },
       .on_writable = {},
       .on_error = {}});
}

}  // namespace zt::app
