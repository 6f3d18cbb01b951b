// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/udp_ingress.h: the UDP socket of an ingress: applications send there what a flow is to carry.

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <span>

#include "io/udp.h"

namespace zt::app {

// Called with each datagram, and with the train that it came in: who sent it, and where to.
using OnIngressDatagram =
    std::move_only_function<void(const io::Datagrams& train, std::span<const std::byte> datagram)>;

// open_udp_ingress binds `local`; port 0 is any. The kernel may fragment what is sent back.
// `buffers` outlives the socket.
[[nodiscard]] std::expected<std::unique_ptr<io::UdpSocket>, io::SocketError> open_udp_ingress(
    io::Loop& loop, io::UdpBuffers& buffers, const SocketAddress& local,
    OnIngressDatagram on_datagram);

}  // namespace zt::app
