// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/control_message.h: what the kernel is told and tells beside the bytes of a message (cmsg(3)).

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstring>

namespace zt::io {

// Control has room for what the kernel tells about a train (its segment size, its ECN mark, its
// local address), and for what we tell about one.
struct alignas(cmsghdr) Control {
  std::array<std::byte, CMSG_SPACE(sizeof(int)) * 2 + CMSG_SPACE(sizeof(in6_pktinfo))> bytes;
};

// ControlWriter puts options beside the bytes of one message.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message, Control& control) : message_(message) {
    message_.msg_control = control.bytes.data();
    message_.msg_controllen = 0;
  }

  template <class T>
  void add(int level, int type, T value) {
    auto* place = static_cast<std::byte*>(message_.msg_control) + message_.msg_controllen;
    const cmsghdr header{
        .cmsg_len = CMSG_LEN(sizeof value), .cmsg_level = level, .cmsg_type = type};
    std::memset(place, 0, CMSG_SPACE(sizeof value));
    std::memcpy(place, &header, sizeof header);
    std::memcpy(place + CMSG_LEN(0), &value, sizeof value);
    message_.msg_controllen += CMSG_SPACE(sizeof value);
  }

 private:
  msghdr& message_;
};

}  // namespace zt::io
