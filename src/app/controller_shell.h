// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/controller_shell.h: a controller's sockets around node::ControllerNode: one port, UDP and
// TCP.

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "app/https_port.h"
#include "app/link_sockets.h"
#include "app/log.h"
#include "app/node_driver.h"
#include "io/loop.h"
#include "io/udp.h"
#include "node/controller_node.h"
#include "zt/base/random.h"

namespace zt::app {

class ControllerShell {
 public:
  // Borrowed arguments outlive the shell. Port 0 of `local` is any, the same for UDP and TCP. It
  // fails if the port cannot be had.
  [[nodiscard]] static std::expected<std::unique_ptr<ControllerShell>, io::SocketError> create(
      io::Loop& loop, Random& random, Log& log, const io::UdpPort::Local& local,
      const node::ControllerNode::Config& config, controller::Store& store);
  ControllerShell(const ControllerShell&) = delete;
  ControllerShell& operator=(const ControllerShell&) = delete;
  ~ControllerShell();

  void start();
  // leave tells the peers that this is the end; after the loop's.
  void leave() { driver_.leave(); }
  // ask answers a request of this very process and returns its body; see node::ControllerNode::ask.
  [[nodiscard]] std::string ask(http::Request request, std::string body);
  [[nodiscard]] std::uint16_t port() const { return port_->port(); }

 private:
  using Node = node::ControllerNode;

  ControllerShell(io::Loop& loop, Random& random, Log& log, const Node::Config& config,
                  controller::Store& store);

  io::Loop& loop_;
  Log& log_;
  Node node_;
  NodeDriver<Node> driver_;
  LinkSockets links_;
  io::UdpBuffers buffers_;
  std::unique_ptr<io::UdpPort> port_;
  std::unique_ptr<HttpsPort> https_;
};

}  // namespace zt::app
