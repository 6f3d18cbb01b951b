// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/client_shell.h: a client's sockets around node::ClientNode, and what ingress adapters ask of
// it.
//
// Theory of operation
//   An ingress adapter (a forwarded port, SOCKS, an HTTP proxy, standard input and output) asks for
//   a flow with open() and holds its application's connection until the answer has come; the answer
//   is the connector's own. Then it hands the connection over with attach(), or for UDP says where
//   datagrams go with attach_datagrams(). The shell does the rest until the flow ends.

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "app/flow_port.h"
#include "app/icmp_answers.h"
#include "app/log.h"
#include "app/peer_host.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/splice.h"
#include "io/stream.h"
#include "io/udp.h"
#include "node/client_node.h"
#include "zt/base/host.h"
#include "zt/base/random.h"

namespace zt::app {

class ClientShell {
 public:
  using FlowKey = client::FlowKey;
  // Called once, from the loop; nothing means that the connector has really connected.
  using OnAnswer = std::move_only_function<void(std::optional<client::Outcome> refusal)>;
  using OnDatagram = std::move_only_function<void(std::span<const std::byte> payload)>;
  // Called once when an attached flow is over; `is_orderly` if both sides ended in order.
  using OnEnd = std::move_only_function<void(bool is_orderly)>;

  struct Handlers {
    std::move_only_function<void(const node::ClientNode::SignedIn&)> on_signed_in;
    std::move_only_function<void()> on_view;  // The list of resources has changed.
    std::move_only_function<void(const node::Refused&)> on_refused;
  };

  // Borrowed arguments outlive the shell. `udp_port` 0 takes any; it fails if the port cannot be
  // had.
  [[nodiscard]] static std::expected<std::unique_ptr<ClientShell>, io::SocketError> create(
      io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
      const node::ClientNode::Config& config, std::uint16_t udp_port, node::Credential credential,
      Handlers handlers);
  ClientShell(const ClientShell&) = delete;
  ClientShell& operator=(const ClientShell&) = delete;
  ~ClientShell();

  // keep_flows keeps flow reports in the file `path`, and takes what an earlier run left there.
  // Without it a crash loses what the controller has not got yet. Call it before start.
  void keep_flows(const std::filesystem::path& path) { host_.keep_flows(path); }
  // use_busy_polling lets the loop poll before it sleeps while the peers are near.
  void use_busy_polling() { host_.use_busy_polling(); }
  void start() { host_.start(); }
  // leave tells the peers and the gateway that this is the end; after the loop's.
  void leave() { host_.leave(); }

  // open asks for a flow; `on_answer` follows, never from inside open().
  [[nodiscard]] FlowKey open(const Authority& target, Protocol protocol, OnAnswer on_answer);
  // close gives a flow up, answered or not. No callback of it is called any more.
  void close(FlowKey key);
  // attach moves bytes between an answered TCP flow and `ends`; `early` was read from it already.
  void attach(FlowKey key, io::StreamEnds ends, std::string_view early, OnEnd on_end);
  // attach_datagrams is attach for UDP.
  void attach_datagrams(FlowKey key, OnDatagram on_datagram, OnEnd on_end);
  // send_datagram returns how large a payload may be, if this one is larger and the application is
  // to be told so, by icmp().
  [[nodiscard]] std::optional<std::size_t> send_datagram(FlowKey key,
                                                         std::span<const std::byte> payload,
                                                         const Now& now);
  [[nodiscard]] IcmpAnswers& icmp() { return icmp_; }

  [[nodiscard]] const node::ClientNode& node() const { return node_; }
  [[nodiscard]] io::Loop& loop() { return loop_; }
  [[nodiscard]] Log& log() { return log_; }

 private:
  using Node = node::ClientNode;
  struct Flow;

  ClientShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
              const Node::Config& config, node::Credential credential, Handlers handlers);

  void carry_out(Node::Effect& effect, const Now& now);
  void answer(FlowKey key, std::optional<client::Outcome> refusal);
  void abandon(FlowKey key, const std::string& reason, const Now& now);
  void end(FlowKey key, const io::Splice::Report& report);
  void move_datagrams();
  Flow* find(FlowKey key);

  io::Loop& loop_;
  Log& log_;
  Handlers handlers_;
  Node node_;
  PeerHost<Node> host_;
  std::map<FlowKey, std::unique_ptr<Flow>> flows_;
  IcmpAnswers icmp_;
};

}  // namespace zt::app
