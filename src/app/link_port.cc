// SPDX-License-Identifier: Apache-2.0
#include "app/link_port.h"

#include <utility>

#include "zt/http/problem.h"

namespace zt::app {

namespace {

http::Server::Config server_config(const crypto::Identity& identity, std::size_t connections_max) {
  http::Server::Config config;
  config.is_upgrade_allowed = true;
  config.identity = &identity;
  config.limits.connections_max = connections_max;
  config.limits.exchanges_max = connections_max;
  config.limits.body_size_max = 0;
  config.limits.handshake_timeout = std::chrono::seconds(5);
  config.limits.head_timeout = std::chrono::seconds(5);
  config.limits.idle_timeout = std::chrono::seconds(5);
  config.limits.send_timeout = std::chrono::seconds(5);
  return config;
}

}  // namespace

std::expected<std::unique_ptr<LinkPort>, io::SocketError> LinkPort::open(
    io::Loop& loop, const crypto::Identity& identity, const io::UdpPort::Local& local,
    LinkSockets& links) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<LinkPort> made(new LinkPort(loop, identity));
  LinkPort& self = *made;
  auto port = HttpsPort::open(
      loop, self.server_, local, kHandshakesPerSourceMax,
      {.on_change = [&self] { self.settling_.schedule(); },
       .on_upgraded =
           [&links](io::StreamEnds ends, const SocketAddress& remote, http::Upgraded upgraded) {
             links.adopt(std::move(ends), remote, std::move(upgraded));
           }});
  if (!port) return std::unexpected(port.error());
  made->port_ = std::move(*port);
  return made;
}

LinkPort::LinkPort(io::Loop& loop, const crypto::Identity& identity)
    : loop_(loop),
      server_(server_config(identity, kHandshakesMax), nullptr),
      timer_(loop,
             [this] {
               server_.handle_timeout(loop_.now().instant);
               settle();
             }),
      settling_(loop, [this] { settle(); }) {}

void LinkPort::settle() {
  while (const auto output = server_.poll_output()) {
    const auto* arrived = std::get_if<http::RequestArrived>(&*output);
    if (arrived == nullptr) continue;
    const http::Problem problem{.status = 404, .detail = "There is nothing here but a relay."};
    server_.carry_out(http::Respond{.exchange = arrived->exchange,
                                    .response = http::response_of(problem),
                                    .body = http::to_json(problem)},
                      loop_.now().instant);
  }
  port_->settle();
  if (const auto deadline = server_.next_deadline()) {
    timer_.arm(*deadline);
  } else {
    timer_.cancel();
  }
}

}  // namespace zt::app
