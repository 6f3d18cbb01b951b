// SPDX-License-Identifier: Apache-2.0
#include "app/relay_shell.h"

#include <utility>

#include "app/notices.h"

namespace zt::app {

void RelayShell::Sink::send(const SocketAddress& remote, std::span<const std::byte> bytes,
                            std::size_t segment_size, std::uint8_t ecn) {
  if (node::is_link_address(remote.ip)) {
    return links->send(
        {.remote = remote, .bytes = bytes, .segment_size = segment_size, .ecn = ecn});
  }
  const auto result =
      port->send({.remote = remote, .bytes = bytes, .segment_size = segment_size, .ecn = ecn});
  dropped_size += bytes.size() - result.size;
}

std::expected<std::unique_ptr<RelayShell>, io::SocketError> RelayShell::create(
    io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
    const io::UdpPort::Local& local, std::size_t thread_count, node::RelayNode::Config config,
    node::Credential credential, Handlers handlers) {
  const io::UdpSocket::Options options{.is_port_shared = thread_count > 1};
  config.engine.is_replicated = thread_count > 1;
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<RelayShell> shell(new RelayShell(loop, resolver, random, log, config,
                                                   std::move(credential), std::move(handlers)));
  auto port =
      io::UdpPort::bind(loop, shell->buffers_, local, options, shell->driver_.udp_handlers());
  if (!port) return std::unexpected(port.error());
  shell->port_ = std::move(*port);
  shell->sink_.port = shell->port_.get();
  shell->driver_.use_port(*shell->port_);
  // The port may be any: the others take the same.
  for (std::size_t i = 1; i < thread_count; ++i) {
    const auto added =
        shell->threads_.add({.ip = local.ip, .port = shell->port()}, options, random);
    if (!added) return std::unexpected(added.error());
  }
  return shell;
}

RelayShell::RelayShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
                       const Node::Config& config, node::Credential credential, Handlers handlers)
    : loop_(loop),
      log_(log),
      handlers_(std::move(handlers)),
      node_(config, std::move(credential), random, sink_),
      driver_(
          loop, node_, [this](Node::Effect& effect, const Now& now) { carry_out(effect, now); },
          [this](const Now&) { publish(); }),
      lookups_(resolver, driver_.lookup_handler()),
      links_(loop, {},
             {.on_datagrams =
                  [this](const io::Datagrams& datagrams) { driver_.on_link_datagrams(datagrams); },
              .on_opened = {},
              .on_closed =
                  [this](const SocketAddress& link, const std::string& reason) {
                    const Now now = loop_.now();
                    node_.link_closed(link, now);
                    log_.write(LogLevel::debug, "a TCP link is closed", {{"reason", reason}},
                               now.unix_time);
                    driver_.settle();
                  },
              .is_used =
                  [this](const SocketAddress& link) {
                    return node_.engine().is_source(link, loop_.now().instant);
                  }}),
      threads_(loop, config.link.endpoint.route,
               [this](const io::Datagrams& datagrams) { driver_.on_datagrams(datagrams); }),
      retry_(loop, [this] { publish(); }) {
  sink_.links = &links_;
  driver_.use_links(links_);
}

std::expected<void, io::SocketError> RelayShell::listen_tcp(const io::UdpPort::Local& local,
                                                            const crypto::Identity& identity) {
  auto port = LinkPort::open(loop_, identity, local, links_);
  if (!port) return std::unexpected(port.error());
  link_port_ = std::move(*port);
  return {};
}

void RelayShell::start() {
  warn_about_buffers(log_, port_->buffer_sizes(), loop_.now().unix_time);
  node_.start(loop_.now());
  driver_.settle();
  threads_.start();
}

void RelayShell::leave() {
  threads_.stop();
  driver_.leave();
}

void RelayShell::publish() {
  constexpr Duration kRetry = std::chrono::milliseconds(5);
  if (threads_.count() == 0) return;
  threads_.publish(node_.engine(), node_.take_route_changes());
  if (threads_.is_behind()) retry_.arm(loop_.now().instant + kRetry);
}

std::vector<RelayThreads::Totals> RelayShell::totals() const {
  std::vector<RelayThreads::Totals> all = threads_.totals();
  all.insert(all.begin(),
             {.forwarding = node_.engine().totals(), .dropped_size = sink_.dropped_size});
  return all;
}

void RelayShell::drain() {
  node_.drain(loop_.now());
  driver_.settle();
}

void RelayShell::carry_out(Node::Effect& effect, const Now& now) {
  if (const auto* lookup = std::get_if<node::Lookup>(&effect)) {
    lookups_.start(*lookup);
  } else if (const auto* changed = std::get_if<Node::StandingChanged>(&effect)) {
    handlers_.on_standing(changed->standing);
  } else if (const auto* refused = std::get_if<node::Refused>(&effect)) {
    handlers_.on_refused(*refused);
  } else if (const auto* notice = std::get_if<node::Notice>(&effect)) {
    write_notice(log_, *notice, now.unix_time);
  } else if (std::holds_alternative<Node::Drained>(effect)) {
    handlers_.on_drained();
  }
}

}  // namespace zt::app
