// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/peer_host.h: what a machine does for the node of a client or a connector: a UDP port, TCP
// links, lookups, a port of the gateway, the file of flow reports, and news of its own network.
//
// Theory of operation
//   A NodeDriver, and whoever carries out the effects that both roles have. What only one of them
//   has goes to its shell.

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "app/flow_file.h"
#include "app/link_sockets.h"
#include "app/local_network.h"
#include "app/log.h"
#include "app/name_lookups.h"
#include "app/node_driver.h"
#include "app/notices.h"
#include "app/upnp_port.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/udp.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::app {

// Node is node::ClientNode or node::ConnectorNode.
template <class Node>
class PeerHost {
 public:
  using Effect = typename Node::Effect;

  // Borrowed arguments outlive the host. `on_effect` carries out what only this role has, and may
  // change the node. `on_settle` is that of NodeDriver.
  PeerHost(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log, Node& node,
           std::move_only_function<void(Effect&, const Now&)> on_effect,
           std::move_only_function<void(const Now&)> on_settle)
      : loop_(loop),
        log_(log),
        node_(node),
        on_effect_(std::move(on_effect)),
        driver_(
            loop, node, [this](Effect& effect, const Now& now) { carry_out(effect, now); },
            std::move(on_settle)),
        lookups_(resolver, driver_.lookup_handler()),
        links_(loop, {}, link_handlers()),
        upnp_(loop, buffers_, random, [this](const path::UpnpAnswer& answer) {
          node_.upnp_answered(answer, loop_.now());
          driver_.settle();
        }) {
    driver_.use_links(links_);
  }
  PeerHost(const PeerHost&) = delete;
  PeerHost& operator=(const PeerHost&) = delete;

  // open takes the UDP port; 0 is any. Call it once, before all else.
  [[nodiscard]] std::expected<void, io::SocketError> open(std::uint16_t udp_port) {
    auto port = io::UdpPort::bind(loop_, buffers_, {.ip = std::nullopt, .port = udp_port}, {},
                                  driver_.udp_handlers());
    if (!port) return std::unexpected(port.error());
    port_ = std::move(*port);
    driver_.use_port(*port_);
    return {};
  }

  // keep_flows keeps flow reports in the file `path`, and takes what an earlier run left there.
  // Call it before start, or never.
  void keep_flows(const std::filesystem::path& path) {
    flow_file_ = std::make_unique<FlowFile>(loop_, log_, path, [this] {
      node_.flows_unkept(loop_.now());
      driver_.settle();
    });
    node_.restore_flows(flow_file_->read(), loop_.now());
  }

  // use_busy_polling is that of NodeDriver.
  void use_busy_polling() { driver_.use_busy_polling(); }

  void start() {
    warn_about_buffers(log_, port_->buffer_sizes(), loop_.now().unix_time);
    node_.start(loop_.now());
    network_ =
        std::make_unique<LocalNetwork>(loop_, log_, *port_, [this](const node::LocalPort& local) {
          node_.set_local(local, loop_.now());
          driver_.settle();
        });
    network_->start();
  }

  // settle is that of NodeDriver.
  void settle() { driver_.settle(); }

  // leave tells the gateway and the peers that this is the end; after the loop's.
  void leave() {
    upnp_.finish(UpnpPort::kFinishTime);
    driver_.leave();
  }

  // buffers are for other UDP sockets of the same loop.
  [[nodiscard]] io::UdpBuffers& buffers() { return buffers_; }

 private:
  [[nodiscard]] LinkSockets::Handlers link_handlers() {
    return {.on_datagrams =
                [this](const io::Datagrams& datagrams) { driver_.on_link_datagrams(datagrams); },
            .on_opened =
                [this](const SocketAddress& link, const SocketAddress& remote) {
                  node_.link_opened(link, remote, loop_.now());
                  driver_.settle();
                },
            .on_closed =
                [this](const SocketAddress& link, const std::string& reason) {
                  node_.link_closed(link, reason, loop_.now());
                  driver_.settle();
                },
            .is_used = {}};
  }

  void carry_out(Effect& effect, const Now& now) {
    if (const auto* lookup = std::get_if<node::Lookup>(&effect)) {
      lookups_.start(*lookup);
    } else if (const auto* link = std::get_if<node::TcpLinkWanted>(&effect)) {
      links_.open(*link);
    } else if (const auto* unwanted = std::get_if<node::TcpLinkUnwanted>(&effect)) {
      links_.close(unwanted->link);
    } else if (auto* keep = std::get_if<node::KeepFlows>(&effect)) {
      flow_file_->keep(*keep);
    } else if (const auto* upnp = std::get_if<path::UpnpWanted>(&effect)) {
      upnp_.map(*upnp);
    } else if (std::holds_alternative<path::UpnpUnwanted>(effect)) {
      upnp_.unmap();
    } else if (const auto* notice = std::get_if<node::Notice>(&effect)) {
      write_notice(log_, *notice, now.unix_time);
    } else {
      on_effect_(effect, now);
    }
  }

  io::Loop& loop_;
  Log& log_;
  Node& node_;
  std::move_only_function<void(Effect&, const Now&)> on_effect_;
  NodeDriver<Node> driver_;
  NameLookups lookups_;
  LinkSockets links_;
  std::unique_ptr<FlowFile> flow_file_;
  io::UdpBuffers buffers_;
  UpnpPort upnp_;  // After `buffers_`.
  std::unique_ptr<io::UdpPort> port_;
  std::unique_ptr<LocalNetwork> network_;
};

}  // namespace zt::app
