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

#include <deque>
#include <optional>
#include <span>
#include <variant>

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

  using Effect = std::variant<Notice>;

  // `store` and `random` outlive the node.
  ControllerNode(const Config& config, controller::Store& store, Random& random);
  ControllerNode(const ControllerNode&) = delete;
  ControllerNode& operator=(const ControllerNode&) = delete;

  void start(const Now& now);
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Effect> poll_effect(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now) {
    return endpoint_.poll_transmit(buffer, now.instant);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // server takes TCP connections and their bytes; poll_effect afterwards, as after any change.
  [[nodiscard]] http::Server& server() { return server_; }

 private:
  void take_events(const Now& now);
  void note(const controller::LogEvent& event);

  quic::Endpoint endpoint_;
  http::Server server_;
  controller::Engine engine_;
  std::deque<Effect> effects_;
};

}  // namespace zt::node
