// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/relay_shell.h: a relay's sockets around node::RelayNode.
//
// Theory of operation
//   Forwarded datagrams leave from the buffer that they were received into, in the same turn. When
//   the socket is full they are dropped, as a router's queue would drop them: the ends notice and
//   slow down.
//
//   Nodes whose network lets no UDP through come by TCP (app/link_port.h); their links are remote
//   addresses like others.
//
//   This is the first thread of a relay, and by default the only one. The others forward, too
//   (app/relay_threads.h); at the end of each turn they are told what has changed in the table.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>

#include "app/link_port.h"
#include "app/link_sockets.h"
#include "app/log.h"
#include "app/name_lookups.h"
#include "app/node_driver.h"
#include "app/relay_threads.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/udp.h"
#include "node/relay_node.h"
#include "zt/base/random.h"

namespace zt::app {

class RelayShell {
 public:
  struct Handlers {
    std::move_only_function<void(const node::RelayNode::Standing&)> on_standing;
    std::move_only_function<void(const node::Refused&)> on_refused;
    std::move_only_function<void()> on_drained;
  };

  // Borrowed arguments outlive the shell. It fails if `local` cannot be bound. `thread_count` is 1
  // to RelayThreads::kThreadsMax.
  [[nodiscard]] static std::expected<std::unique_ptr<RelayShell>, io::SocketError> create(
      io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
      const io::UdpPort::Local& local, std::size_t thread_count, node::RelayNode::Config config,
      node::Credential credential, Handlers handlers);
  // listen_tcp lets nodes come by TCP, too. It fails if `local` cannot be had.
  [[nodiscard]] std::expected<void, io::SocketError> listen_tcp(const io::UdpPort::Local& local,
                                                                const crypto::Identity& identity);
  RelayShell(const RelayShell&) = delete;
  RelayShell& operator=(const RelayShell&) = delete;

  void start();
  // drain is that of node::RelayNode; on_drained follows.
  void drain();
  // binding_count is for people.
  [[nodiscard]] std::size_t binding_count() const { return node_.engine().binding_count(); }
  // leave ends the other threads and tells the peers that this is the end; after the loop's.
  void leave();
  [[nodiscard]] std::uint16_t port() const { return port_->port(); }
  // totals returns what each thread has forwarded, the first one's at the front; after leave().
  [[nodiscard]] std::vector<RelayThreads::Totals> totals() const;

 private:
  using Node = node::RelayNode;

  struct Sink final : node::DatagramSink {
    void send(const SocketAddress& remote, std::span<const std::byte> bytes,
              std::size_t segment_size, std::uint8_t ecn) override;
    io::UdpPort* port = nullptr;
    LinkSockets* links = nullptr;
    std::uint64_t dropped_size = 0;
  };

  RelayShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
             const Node::Config& config, node::Credential credential, Handlers handlers);
  void carry_out(Node::Effect& effect, const Now& now);
  void publish();

  io::Loop& loop_;
  Log& log_;
  Handlers handlers_;
  Sink sink_;
  Node node_;
  NodeDriver<Node> driver_;
  NameLookups lookups_;
  LinkSockets links_;
  std::unique_ptr<LinkPort> link_port_;
  io::UdpBuffers buffers_;
  std::unique_ptr<io::UdpPort> port_;
  RelayThreads threads_;
  io::Timer retry_;  // An update did not fit.
};

}  // namespace zt::app
