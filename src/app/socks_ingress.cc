// SPDX-License-Identifier: Apache-2.0
#include "app/socks_ingress.h"

#include <array>
#include <utility>

#include "app/udp_ingress.h"
#include "zt/base/bytes.h"
#include "zt/wire/socks5.h"

namespace zt::app {

// --- SocksAssociation

std::expected<std::unique_ptr<SocksAssociation>, io::SocketError> SocksAssociation::open(
    ClientShell& shell, const IpAddress& ip) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<SocksAssociation> association(new SocksAssociation(shell));
  SocksAssociation& self = *association;
  auto socket =
      open_udp_ingress(shell.loop(), self.buffers_, {.ip = ip, .port = 0},
                       [&self](const io::Datagrams& train, std::span<const std::byte> datagram) {
                         self.receive(train, datagram);
                       });
  if (!socket) return std::unexpected(socket.error());
  association->socket_ = std::move(*socket);
  return association;
}

SocksAssociation::~SocksAssociation() {
  for (const auto& [authority, target] : targets_) {
    if (!target.is_refused) shell_.close(target.flow);
  }
}

void SocksAssociation::receive(const io::Datagrams& train, std::span<const std::byte> datagram) {
  if (!application_) application_ = train.remote;
  if (train.remote != *application_) return;  // RFC 1928 section 7: others' datagrams are dropped.
  const auto parsed = wire::parse_socks_datagram(datagram);
  if (!parsed) return;
  local_ = train.local;
  auto found = targets_.find(parsed->peer);
  if (found == targets_.end()) {
    if (targets_.size() >= kTargetsMax) return;
    const path::Allowance icmp_allowance(IcmpAnswers::kSenderRate, shell_.loop().now().instant);
    found = targets_.emplace(parsed->peer, Target{.icmp_allowance = icmp_allowance}).first;
    found->second.flow = shell_.open(
        parsed->peer, Protocol::udp,
        [this, authority = parsed->peer](const std::optional<client::Outcome>& refusal) {
          answer(authority, refusal);
        });
  }
  Target& target = found->second;
  if (target.is_refused) return;
  if (target.is_open) {
    carry(target, datagram, parsed->payload);
  } else if (target.waiting.size() < kDatagramsWaitingMax) {
    target.waiting.emplace_back(datagram.begin(), datagram.end());
  }
}

void SocksAssociation::carry(Target& target, std::span<const std::byte> datagram,
                             std::span<const std::byte> payload) {
  const Now now = shell_.loop().now();
  const auto payload_size_max = shell_.send_datagram(target.flow, payload, now);
  if (!payload_size_max || !local_) return;
  const std::size_t header_size = datagram.size() - payload.size();
  shell_.icmp().too_large({.source = *application_,
                           .destination = {.ip = *local_, .port = local().port},
                           .payload = datagram},
                          header_size + *payload_size_max, target.icmp_allowance, now);
}

void SocksAssociation::answer(const Authority& authority,
                              const std::optional<client::Outcome>& refusal) {
  const auto found = targets_.find(authority);
  if (found == targets_.end()) return;
  Target& target = found->second;
  if (refusal) {
    target.is_refused = true;  // SOCKS has no way to say so; the log has.
    target.waiting.clear();
    shell_.log().write(LogLevel::warn, "a flow was refused", {{"reason", refusal->text}},
                       shell_.loop().now().unix_time);
    return;
  }
  target.is_open = true;
  shell_.attach_datagrams(
      target.flow,
      [this, authority](std::span<const std::byte> payload) {
        const Bytes datagram = wire::encode_socks_datagram({.peer = authority, .payload = payload});
        // A full socket drops, as a router would.
        (void)socket_->send(
            {.remote = *application_, .bytes = datagram, .segment_size = datagram.size()});
      },
      [this, authority](bool) { targets_.erase(authority); });
  for (const std::vector<std::byte>& datagram : std::exchange(target.waiting, {})) {
    const auto parsed = wire::parse_socks_datagram(datagram);
    if (parsed) carry(target, datagram, parsed->payload);
  }
}

// --- SocksServer

struct SocksServer::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, io::Callback readable, io::Callback late,
             Instant deadline)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               io::Callback()),
        timer(loop, std::move(late)),
        session(deadline) {
    timer.arm(deadline);
  }
  io::Stream stream;
  io::Timer timer;
  client::SocksSession session;
  std::optional<ClientShell::FlowKey> flow;
  std::unique_ptr<SocksAssociation> association;
};

std::expected<std::unique_ptr<SocksServer>, io::SocketError> SocksServer::open(
    ClientShell& shell, const SocketAddress& local) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<SocksServer> server(new SocksServer(shell));
  SocksServer& self = *server;
  auto listener = io::TcpListener::open(
      shell.loop(), local, {},
      [&self](io::Descriptor socket, const SocketAddress&) { self.accept(std::move(socket)); });
  if (!listener) return std::unexpected(listener.error());
  server->listener_ = std::move(*listener);
  return server;
}

SocksServer::SocksServer(ClientShell& shell) : shell_(shell) {}

SocksServer::~SocksServer() {
  for (const auto& [number, connection] : connections_) {
    if (connection->flow) shell_.close(*connection->flow);
  }
}

void SocksServer::accept(io::Descriptor socket) {
  if (connections_.size() >= kConnectionsMax) return;  // Closing it says so.
  const std::uint64_t number = next_number_++;
  auto connection = std::make_unique<Connection>(
      shell_.loop(), std::move(socket), [this, number] { receive(number); },
      [this, number] { connections_.erase(number); },
      shell_.loop().now().instant + kRequestTimeout);
  connection->stream.want_readable();
  connections_[number] = std::move(connection);
}

void SocksServer::receive(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  std::array<std::byte, 1024> buffer{};
  const auto size = connection.stream.try_read(buffer);
  if (!size && size.error() == io::SocketError::would_block) {
    return connection.stream.want_readable();
  }
  if (!size || *size == 0) {
    connections_.erase(found);  // The end of the connection ends an association, too.
    return;
  }
  if (connection.association) return connection.stream.want_readable();  // Nothing to say there.
  connection.session.receive(BytesView(buffer).first(*size));
  proceed(number);
}

// proceed sends what the session has to say and does what it asks for.
void SocksServer::proceed(std::uint64_t number) {
  Connection& connection = *connections_.at(number);
  const auto send_output = [&connection] {
    const Bytes output = connection.session.take_output();
    if (output.empty()) return true;
    // A fresh socket's buffer takes a few bytes; if not, the application is gone.
    const auto written = connection.stream.try_write(output);
    return written && *written == output.size();
  };
  bool is_alive = send_output();
  if (is_alive && connection.session.wanted() && !connection.flow && !connection.association &&
      !connection.session.is_closed()) {
    connection.timer.cancel();
    const wire::SocksRequest& wanted = *connection.session.wanted();
    if (wanted.command == wire::SocksCommand::connect) {
      return open_flow(number, connection, wanted.target);
    }
    associate(connection);
    is_alive = send_output();
  }
  if (!is_alive || connection.session.is_closed()) {
    connection.stream.shutdown_write();
    connections_.erase(number);
    return;
  }
  connection.stream.want_readable();
}

void SocksServer::open_flow(std::uint64_t number, Connection& connection, const Authority& target) {
  connection.flow = shell_.open(
      target, Protocol::tcp,
      [this, number](const std::optional<client::Outcome>& refusal) { answer(number, refusal); });
}

void SocksServer::associate(Connection& connection) {
  auto association = SocksAssociation::open(shell_, listener_->local().ip);
  if (!association) return connection.session.reply(wire::SocksReply::general_failure);
  connection.association = std::move(*association);
  connection.session.accept(connection.association->local());
}

void SocksServer::answer(std::uint64_t number, const std::optional<client::Outcome>& refusal) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  const std::unique_ptr<Connection> connection = std::move(found->second);
  connections_.erase(found);
  if (refusal) {
    connection->session.reply(*refusal);
  } else {
    connection->session.accept({});
  }
  const Bytes output = connection->session.take_output();
  const auto written = connection->stream.try_write(output);
  if (refusal) return connection->stream.shutdown_write();
  if (!written || *written != output.size()) return shell_.close(*connection->flow);
  const Bytes rest = connection->session.take_rest();
  shell_.attach(*connection->flow, connection->stream.release(), as_text(rest), [](bool) {});
}

}  // namespace zt::app
