// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/connector_shell.h: a connector's sockets around node::ConnectorNode.
//
// Theory of operation
//   Carries out the node's effects and nothing else: resolves names, dials the addresses that the
//   node has vetted, and joins each socket to its flow by an io::Splice (TCP) or datagram by
//   datagram (UDP). It decides nothing about access.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "app/flow_port.h"
#include "app/icmp_answers.h"
#include "app/log.h"
#include "app/peer_host.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/splice.h"
#include "io/tcp.h"
#include "io/udp.h"
#include "node/connector_node.h"
#include "zt/base/random.h"

namespace zt::app {

class ConnectorShell {
 public:
  struct Handlers {
    // The controller admitted this machine, or its keys changed: keep it over restarts.
    std::move_only_function<void(const node::ConnectorNode::Standing&)> on_standing;
    // The controller refused this machine for good.
    std::move_only_function<void(const node::Refused&)> on_refused;
    std::move_only_function<void()> on_drained;
  };

  // Borrowed arguments outlive the shell. `udp_port` 0 takes any; it fails if the port cannot be
  // had.
  [[nodiscard]] static std::expected<std::unique_ptr<ConnectorShell>, io::SocketError> create(
      io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
      const node::ConnectorNode::Config& config, std::uint16_t udp_port,
      node::Credential credential, Handlers handlers);
  ConnectorShell(const ConnectorShell&) = delete;
  ConnectorShell& operator=(const ConnectorShell&) = delete;
  ~ConnectorShell();

  // keep_flows keeps flow reports in the file `path`, and takes what an earlier run left there.
  // Without it a crash loses what the controller has not got yet. Call it before start.
  void keep_flows(const std::filesystem::path& path) { host_.keep_flows(path); }
  // use_busy_polling lets the loop poll before it sleeps while the peers are near.
  void use_busy_polling() { host_.use_busy_polling(); }
  void start() { host_.start(); }
  // drain is that of node::ConnectorNode; on_drained follows.
  void drain();
  // end_flows cuts what is left, before leave.
  void end_flows();
  [[nodiscard]] std::size_t flow_count() const { return node_.flow_count(); }
  // leave tells the peers and the gateway that this is the end; after the loop's.
  void leave() { host_.leave(); }

 private:
  using Node = node::ConnectorNode;
  struct Flow;

  ConnectorShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
                 const Node::Config& config, node::Credential credential, Handlers handlers);

  void carry_out(Node::Effect& effect, const Now& now);
  void dial(const Node::DialWanted& wanted, const Now& now);
  void dial_udp(Node::FlowKey key, const SocketAddress& remote, const Now& now);
  void answer_datagram(Node::FlowKey key, Flow& flow, std::span<const std::byte> payload,
                       const Now& now);
  void open(const Node::FlowOpened& opened);
  void abandon(Node::FlowKey key, connector::FlowEnd cause, const Now& now);
  void end(Node::FlowKey key, const io::Splice::Report& report);
  void move_datagrams(const Now& now);
  Flow* find(Node::FlowKey key);

  io::Loop& loop_;
  Handlers handlers_;
  Node node_;
  PeerHost<Node> host_;
  std::map<Node::FlowKey, std::unique_ptr<Flow>> flows_;
  IcmpAnswers icmp_;
};

}  // namespace zt::app
