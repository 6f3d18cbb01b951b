// SPDX-License-Identifier: Apache-2.0
#include "app/controller_shell.h"

#include <utility>

#include "app/notices.h"

namespace zt::app {

namespace {

constexpr std::size_t kReadSize = 64 << 10;

}  // namespace

struct ControllerShell::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, io::Callback readable, io::Callback writable)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               std::move(writable)) {}
  io::Stream stream;
  bool is_reading = false;  // want_readable() is pending.
};

std::expected<std::unique_ptr<ControllerShell>, io::SocketError> ControllerShell::create(
    io::Loop& loop, Random& random, Log& log, const SocketAddress& local,
    const node::ControllerNode::Config& config, controller::Store& store) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<ControllerShell> shell(new ControllerShell(loop, random, log, config, store));
  ControllerShell& self = *shell;
  auto port = io::UdpPort::bind(
      loop, self.buffers_, {.ip = local.ip, .port = local.port}, {},
      {.on_datagrams =
           [&self](const io::Datagrams& datagrams) { self.driver_.on_datagrams(datagrams); },
       .on_writable = [&self] { self.driver_.on_writable(); },
       .on_error = {}});
  if (!port) return std::unexpected(port.error());
  shell->port_ = std::move(*port);
  shell->driver_.use_port(*shell->port_);
  auto listener =
      io::TcpListener::open(loop, {.ip = local.ip, .port = shell->port_->port()}, {},
                            [&self](io::Descriptor socket, const SocketAddress& remote) {
                              self.accept(std::move(socket), remote);
                            });
  if (!listener) return std::unexpected(listener.error());
  shell->listener_ = std::move(*listener);
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
          [this](const Now&) { settle_connections(); }),
      scratch_(kReadSize) {}

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

void ControllerShell::accept(io::Descriptor socket, const SocketAddress& remote) {
  const auto key = node_.server().open(remote, loop_.now().instant);
  if (!key) return;  // The server is full: closing the socket says so.
  auto connection = std::make_unique<Connection>(
      loop_, std::move(socket), [this, key = *key] { receive(key); },
      [this, key = *key] { pump(key); });
  connections_[*key] = std::move(connection);
  pump(*key);
  driver_.settle();
}

void ControllerShell::receive(http::TcpKey key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  connection.is_reading = false;
  const auto size = connection.stream.try_read(scratch_);
  if (!size && size.error() != io::SocketError::would_block) return close(key);
  if (size && *size == 0) return close(key);
  if (size) {
    node_.server().receive(key, BytesView(scratch_).first(*size), loop_.now().instant);
  }
  pump(key);
  driver_.settle();
}

// pump writes what waits, and asks for what is wanted next.
void ControllerShell::pump(http::TcpKey key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  http::Server& server = node_.server();
  for (;;) {
    const BytesView bytes = server.to_send(key);
    if (bytes.empty()) break;
    const auto size = connection.stream.try_write(bytes);
    if (!size && size.error() == io::SocketError::would_block) {
      connection.stream.want_writable();
      break;
    }
    if (!size) return close(key);
    server.sent(key, *size, loop_.now().instant);
    driver_.settle();
  }
  if (server.wants_close(key)) return close(key);
  if (!connection.is_reading && server.wants_receive(key)) {
    connection.is_reading = true;
    connection.stream.want_readable();
  }
}

void ControllerShell::close(http::TcpKey key) {
  connections_.erase(key);
  node_.server().closed(key);
  driver_.settle();
}

void ControllerShell::settle_connections() {
  while (const auto key = node_.server().poll_touched()) {
    if (connections_.contains(*key)) pump(*key);
  }
}

}  // namespace zt::app
