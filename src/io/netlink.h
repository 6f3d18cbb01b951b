// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/netlink.h: the kernel's messages about links, addresses and routes, to and fro (rtnetlink).

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "io/descriptor.h"
#include "io/socket_error.h"
#include "zt/base/bytes.h"

namespace zt::io {

// kNetlinkSizeMax: the kernel writes answers into pieces of up to 32 KiB; its announcements are
// smaller.
inline constexpr std::size_t kNetlinkSizeMax = 32768;

// open_netlink opens a socket that receives the announcements of `groups` (RTMGRP_…), or none: only
// answers. It is not connected: what is sent goes to the kernel. Errors: unreachable, denied or
// failed where the kernel or the sandbox has no netlink; limit.
[[nodiscard]] std::expected<Descriptor, SocketError> open_netlink(std::uint32_t groups);

// receive_netlink receives one datagram into `space`: nothing of it if the kernel is not its
// sender. Errors are errno values: EAGAIN if there is none; any other one means that something got
// lost.
[[nodiscard]] std::expected<BytesView, int> receive_netlink(int socket, std::span<std::byte> space);

}  // namespace zt::io
