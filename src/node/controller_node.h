// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/controller_node.h: a whole controller but for its sockets and its store.
//
// Theory of operation
//   A quic::Endpoint (HTTP/3), an http::Server that also takes TCP connections (HTTP/1.1 over TLS),
//   and a controller::Engine behind both. It carries requests to the core and its answers back, and
//   turns the core's log events into notices.
//
// Limits   Those of the parts.

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>

#include "http/server.h"
#include "node/notice.h"
#include "quic/endpoint.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/controller/engine.h"

namespace zt::node {

class ControllerNode {
 public:
  struct Config {
    quic::Endpoint::Config endpoint;  // Accepting; a client certificate is asked for, not required.
    http::Server::Config server;
    controller::Config engine;
  };

  using Effect = Notice;  // A controller asks nothing of its shell.

  // `store` and `random` outlive the node.
  ControllerNode(const Config& config, controller::Store& store, Random& random);
  ControllerNode(const ControllerNode&) = delete;
  ControllerNode& operator=(const ControllerNode&) = delete;

  void start(const Now& now);
  // leave closes one connection, and returns false if there is none left. The newest is first: what
  // goes through a relay has ended before the relay forgets this node. Only poll_transmit()
  // follows.
  bool leave(const Now& now) { return endpoint_.close_newest("the node ends", now.instant); }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Effect> poll_effect(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now) {
    return endpoint_.poll_transmit(buffer, now.instant);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // ask answers a request of this very process, such as an administrator's of `zt demo`: it needs
  // the same credentials as one from outside. The request must be one that is answered at once.
  struct Answer {
    int status = 0;
    std::string body;
  };
  [[nodiscard]] Answer ask(http::Request request, std::string body, const Now& now);

  // server takes TCP connections and their bytes; poll_effect afterwards, as after any change.
  [[nodiscard]] http::Server& server() { return server_; }

 private:
  // No exchange of the server has this key: it counts from one.
  static constexpr http::ExchangeKey kLocalExchange{~std::uint64_t{0}};

  void take_events(const Now& now);
  void drain_engine(const Now& now);
  void note(const controller::LogEvent& event);

  quic::Endpoint endpoint_;
  http::Server server_;
  controller::Engine engine_;
  std::optional<Answer> local_answer_;
  std::deque<Effect> effects_;
};

}  // namespace zt::node
