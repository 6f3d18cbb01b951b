// SPDX-License-Identifier: Apache-2.0
#include "app/proxy_ingress.h"

#include <array>
#include <utility>

#include "zt/base/bytes.h"

namespace zt::app {

struct HttpProxy::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, io::Callback readable, io::Callback late)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               io::Callback()),
        deadline(loop, std::move(late)) {}
  io::Stream stream;
  io::Timer deadline;
  http::ProxyRequestReader reader;
  std::optional<ClientShell::FlowKey> flow;
  std::string early;
};

int http_status_of(client::Outcome::Kind kind) {
  switch (kind) {
    case client::Outcome::Kind::no_resource:
    case client::Outcome::Kind::denied:
      return 403;
    case client::Outcome::Kind::not_signed_in:
      return 407;
    case client::Outcome::Kind::refused:
    case client::Outcome::Kind::dns_failed:
    case client::Outcome::Kind::unreachable:
      return 502;
    case client::Outcome::Kind::timed_out:
      return 504;
    case client::Outcome::Kind::limit:
      return 503;
  }
  return 502;
}

wire::ProxyError proxy_error_of(client::Outcome::Kind kind) {
  switch (kind) {
    case client::Outcome::Kind::no_resource:
    case client::Outcome::Kind::denied:
    case client::Outcome::Kind::not_signed_in:
      return wire::ProxyError::http_request_denied;
    case client::Outcome::Kind::refused:
      return wire::ProxyError::connection_refused;
    case client::Outcome::Kind::dns_failed:
      return wire::ProxyError::dns_error;
    case client::Outcome::Kind::unreachable:
      return wire::ProxyError::destination_unavailable;
    case client::Outcome::Kind::timed_out:
      return wire::ProxyError::connection_timeout;
    case client::Outcome::Kind::limit:
      return wire::ProxyError::connection_limit_reached;
  }
  return wire::ProxyError::proxy_internal_error;
}

std::expected<std::unique_ptr<HttpProxy>, io::SocketError> HttpProxy::open(
    ClientShell& shell, const SocketAddress& local) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<HttpProxy> proxy(new HttpProxy(shell));
  HttpProxy& self = *proxy;
  auto listener = io::TcpListener::open(
      shell.loop(), local, {},
      [&self](io::Descriptor socket, const SocketAddress&) { self.accept(std::move(socket)); });
  if (!listener) return std::unexpected(listener.error());
  proxy->listener_ = std::move(*listener);
  return proxy;
}

HttpProxy::HttpProxy(ClientShell& shell) : shell_(shell) {}

HttpProxy::~HttpProxy() {
  for (const auto& [number, connection] : connections_) {
    if (connection->flow) shell_.close(*connection->flow);
  }
}

void HttpProxy::accept(io::Descriptor socket) {
  if (connections_.size() >= kConnectionsMax) return;  // Closing it says so.
  const std::uint64_t number = next_number_++;
  auto connection = std::make_unique<Connection>(
      shell_.loop(), std::move(socket), [this, number] { receive(number); },
      [this, number] { connections_.erase(number); });
  connection->deadline.arm(shell_.loop().now().instant + kHeadTimeout);
  connection->stream.want_readable();
  connections_[number] = std::move(connection);
}

void HttpProxy::receive(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  std::array<std::byte, 4096> buffer{};
  const auto size = connection.stream.try_read(buffer);
  if (!size && size.error() == io::SocketError::would_block) {
    return connection.stream.want_readable();
  }
  if (!size || *size == 0) {
    connections_.erase(found);
    return;
  }
  auto outcome = connection.reader.receive(as_text(BytesView(buffer).first(*size)));
  if (!outcome) return connection.stream.want_readable();
  connection.deadline.cancel();
  if (const auto* refusal = std::get_if<http::ProxyRefusal>(&*outcome)) {
    refuse(connection, refusal->answer);
    connections_.erase(found);
    return;
  }
  auto& connect = std::get<http::ProxyConnect>(*outcome);
  connection.early = std::move(connect.early);
  connection.flow = shell_.open(
      connect.target, Protocol::tcp,
      [this, number](const std::optional<client::Outcome>& refused) { answer(number, refused); });
}

void HttpProxy::answer(std::uint64_t number, const std::optional<client::Outcome>& refusal) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  const std::unique_ptr<Connection> connection = std::move(found->second);
  connections_.erase(found);
  if (refusal) {
    return refuse(
        *connection,
        http::proxy_failure(http_status_of(refusal->kind), refusal->text,
                            wire::to_text(wire::ProxyStatus{.proxy = "zt-client",
                                                            .error = proxy_error_of(refusal->kind),
                                                            .details = refusal->text})));
  }
  // A fresh socket's buffer takes a response line; if not, the application is gone.
  const std::string established = http::proxy_established();
  const auto written = connection->stream.try_write(as_bytes(established));
  if (!written || *written != established.size()) return shell_.close(*connection->flow);
  shell_.attach(*connection->flow, connection->stream.release(), connection->early, [](bool) {});
}

void HttpProxy::refuse(Connection& connection, const std::string& response) {
  // What does not fit into a fresh socket's buffer is lost with a client that does not read.
  (void)connection.stream.try_write(as_bytes(response));
  connection.stream.shutdown_write();
}

}  // namespace zt::app
