// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/link_port.h: a relay's TCP port: who asks for a link gets one, everybody else a 404.
//
// Limits   kHandshakesMax connections that are no link yet, each for at most some ten seconds; then
//          those of LinkSockets. Of these kHandshakesPerSourceMax may be of one source.

#include <expected>
#include <memory>

#include "app/https_port.h"
#include "app/link_sockets.h"
#include "crypto/identity.h"
#include "http/server.h"
#include "io/loop.h"

namespace zt::app {

class LinkPort {
 public:
  // Borrowed arguments outlive the port; `identity` is used by open only.
  [[nodiscard]] static std::expected<std::unique_ptr<LinkPort>, io::SocketError> open(
      io::Loop& loop, const crypto::Identity& identity, const io::UdpPort::Local& local,
      LinkSockets& links);
  LinkPort(const LinkPort&) = delete;
  LinkPort& operator=(const LinkPort&) = delete;

 private:
  static constexpr std::size_t kHandshakesMax = 256;
  static constexpr std::size_t kHandshakesPerSourceMax = 32;

  LinkPort(io::Loop& loop, const crypto::Identity& identity);
  void settle();

  io::Loop& loop_;
  http::Server server_;
  io::Timer timer_;
  io::Deferred settling_;
  std::unique_ptr<HttpsPort> port_;
};

}  // namespace zt::app
