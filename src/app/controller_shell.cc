// SPDX-License-Identifier: Apache-2.0
#include "app/controller_shell.h"

#include <utility>

#include "app/notices.h"

namespace zt::app {

namespace {

// Over TCP, of one source: an office behind one address, with its administrators and its nodes.
constexpr std::size_t kConnectionsPerSourceMax = 512;

}  // namespace

std::expected<std::unique_ptr<ControllerShell>, io::SocketError> ControllerShell::create(
    io::Loop& loop, Random& random, Log& log, const io::UdpPort::Local& local,
    const node::ControllerNode::Config& config, controller::Store& store) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<ControllerShell> shell(new ControllerShell(loop, random, log, config, store));
  ControllerShell& self = *shell;
  auto port = io::UdpPort::bind(loop, self.buffers_, local, {}, self.driver_.udp_handlers());
  if (!port) return std::unexpected(port.error());
  shell->port_ = std::move(*port);
  shell->driver_.use_port(*shell->port_);
  auto https = HttpsPort::open(
      loop, shell->node_.server(), {.ip = local.ip, .port = shell->port_->port()},
      kConnectionsPerSourceMax,
      {.on_change = [&self] { self.driver_.settle(); },
       .on_upgraded =
           [&self](io::StreamEnds ends, const SocketAddress& remote, http::Upgraded upgraded) {
             self.links_.adopt(std::move(ends), remote, std::move(upgraded));
           }});
  if (!https) return std::unexpected(https.error());
  shell->https_ = std::move(*https);
  return shell;
}

ControllerShell::ControllerShell(io::Loop& loop, Random& random, Log& log,
                                 const Node::Config& config, controller::Store& store)
    : loop_(loop),
      log_(log),
      node_(config, store, random),
      driver_(
          loop, node_,
          [this](Node::Effect& effect, const Now& now) {
            write_notice(log_, effect, now.unix_time);
          },
          [this](const Now&) {
            if (https_) https_->settle();
          }),
      // Who sends nothing for a while is closed; what is asked over a link has its own limits.
      links_(loop, {},
             {.on_datagrams =
                  [this](const io::Datagrams& datagrams) { driver_.on_link_datagrams(datagrams); },
              .on_opened = {},
              .on_closed = [](const SocketAddress&, const std::string&) {},
              .is_used = {}}) {
  driver_.use_links(links_);
}

ControllerShell::~ControllerShell() = default;

void ControllerShell::start() {
  node_.start(loop_.now());
  driver_.settle();
}

std::string ControllerShell::ask(http::Request request, std::string body) {
  auto answer = node_.ask(std::move(request), std::move(body), loop_.now());
  driver_.settle();
  return std::move(answer.body);
}

}  // namespace zt::app
