// SPDX-License-Identifier: Apache-2.0
// The part of Server that speaks HTTP/1.1 over TLS over TCP.

#include <fmt/format.h>

#include <utility>

#include "http/server.h"
#include "http/server_internal.h"
#include "http/text.h"
#include "zt/base/assert.h"

namespace zt::http {

namespace {

Http1Server::Limits http1_limits(const Server::Limits& limits) {
  return {.body_size_max = limits.body_size_max,
          .queued_size_max = limits.queued_size_max,
          .head_timeout = limits.head_timeout,
          .body_timeout = limits.body_timeout,
          .idle_timeout = limits.idle_timeout,
          .send_timeout = limits.send_timeout};
}

Peer peer_of(const SocketAddress& remote, const std::optional<quic::PeerIdentity>& identity) {
  Peer peer{.remote = remote, .certificate = std::nullopt, .public_key = std::nullopt};
  if (identity) {
    peer.certificate = identity->certificate;
    peer.public_key = identity->public_key;
  }
  return peer;
}

}  // namespace

std::optional<TcpKey> Server::open(const SocketAddress& remote, Instant now) {
  if (connections_.size() >= limits_.connections_max) return std::nullopt;
  const TcpKey key{next_connection_++};
  auto connection =
      std::make_unique<Connection>(tls_context_, remote, limits_.handshake_timeout, now);
  connection_deadlines_.set(key, connection->tls->next_deadline());
  connections_.emplace(key, std::move(connection));
  return key;
}

void Server::receive(TcpKey key, BytesView bytes, Instant now) {
  Connection* connection = find(key);
  if (connection == nullptr) return;
  connection->received.insert(connection->received.end(), bytes.begin(), bytes.end());
  pump(key, *connection, now);
}

bool Server::wants_receive(TcpKey key) const {
  const Connection* connection = find(key);
  return connection != nullptr && connection->received.empty() && !wants_close(key);
}

BytesView Server::to_send(TcpKey key) {
  Connection* connection = find(key);
  return connection == nullptr ? BytesView() : connection->tls->to_send();
}

void Server::sent(TcpKey key, std::size_t size, Instant now) {
  Connection* connection = find(key);
  if (connection == nullptr) return;
  connection->tls->sent(size);
  pump(key, *connection, now);
}

bool Server::wants_close(TcpKey key) const {
  Connection* connection = find(key);
  if (connection == nullptr || !connection->close_deadline) return false;
  return connection->is_close_due || connection->tls->to_send().empty();
}

void Server::closed(TcpKey key) {
  Connection* connection = find(key);
  if (connection == nullptr) return;
  lose_exchange(connection->exchange);
  received_size_ -= connection->counted_size;
  connection_deadlines_.set(key, std::nullopt);
  touched_.erase(key);
  connections_.erase(key);
}

std::optional<std::pair<TcpKey, Upgraded>> Server::poll_upgraded() {
  if (upgraded_.empty()) return std::nullopt;
  std::pair<TcpKey, Upgraded> upgraded = std::move(upgraded_.front());
  upgraded_.pop_front();
  return upgraded;
}

std::optional<TcpKey> Server::poll_touched() {
  if (touched_.empty()) return std::nullopt;
  return touched_.extract(touched_.begin()).value();
}

Server::Connection* Server::find(TcpKey key) const {
  const auto found = connections_.find(key);
  return found == connections_.end() ? nullptr : found->second.get();
}

void Server::respond(TcpKey key, Connection& connection, Respond command, Instant now) {
  if (alt_svc_port_) {
    command.response.fields.add("alt-svc", fmt::format("h3=\":{}\"; ma=86400", *alt_svc_port_));
  }
  ZT_ASSERT(connection.http);
  connection.http->respond(command.response, command.body, command.is_end, now);
  if (command.is_end) {
    end_exchange(connection.exchange);
  } else if (!connection.http->is_answering()) {
    // HEAD, or a status without content: whatever would follow is not sent.
    lose_exchange(connection.exchange);
  }
  pump(key, connection, now);
}

void Server::append(TcpKey key, Connection& connection, std::string_view chunk, Instant now) {
  ZT_ASSERT(connection.http);
  if (!connection.http->append(chunk, now)) lose_exchange(connection.exchange);
  pump(key, connection, now);
}

void Server::finish(TcpKey key, Connection& connection, Instant now) {
  ZT_ASSERT(connection.http);
  connection.http->finish(now);
  end_exchange(connection.exchange);
  pump(key, connection, now);
}

// pump moves bytes between the socket, TLS, HTTP/1.1 and the core until nothing moves.
void Server::pump(TcpKey key, Connection& connection, Instant now) {
  while (pump_once(key, connection, now)) {
  }
  account(connection);
  if (connection.early && connection.http && connection.http->to_send().empty()) {
    return hand_over(key, connection, std::move(*connection.early));
  }
  const bool is_failed = connection.tls->state() == TlsSession::State::failed;
  const bool is_peer_gone = is_failed || connection.tls->is_receive_ended();
  if (is_peer_gone) {
    // Whoever has said goodbye waits for no answer; what is already complete is still sent.
    if (connection.http && connection.exchange) connection.http->abort();
    connection.received.clear();
  }
  const bool is_over = is_peer_gone || (connection.http && connection.http->is_over());
  if (is_over) {
    lose_exchange(connection.exchange);
    if (!connection.close_deadline) connection.close_deadline = now + limits_.close_timeout;
  }
  // An aborted response must look truncated, so it gets no close_notify.
  if (connection.http && !connection.http->is_aborted() && connection.http->to_send().empty() &&
      (is_over || connection.http->is_send_closed())) {
    connection.tls->shut();
  }
  auto deadline = earlier_of(connection.tls->next_deadline(), connection.close_deadline);
  if (connection.http) deadline = earlier_of(deadline, connection.http->next_deadline());
  if (connection.is_close_due) deadline.reset();
  connection_deadlines_.set(key, deadline);
  touched_.insert(key);
}

// pump_once returns whether anything moved.
bool Server::pump_once(TcpKey key, Connection& connection, Instant now) {
  bool has_moved = false;
  if (!connection.received.empty()) {
    const auto taken = static_cast<std::ptrdiff_t>(connection.tls->receive(connection.received));
    connection.received.erase(connection.received.begin(), connection.received.begin() + taken);
    has_moved = taken > 0;
  }
  if (connection.tls->state() != TlsSession::State::ready) return has_moved;
  if (!connection.http) {
    connection.http.emplace(http1_limits(limits_), now);
    has_moved = true;
  }
  Http1Server& http = *connection.http;
  if (http.wants_receive()) {
    const std::size_t size = connection.tls->read(scratch_);
    http.receive(as_text(BytesView(scratch_).subspan(0, size)), now);
    has_moved = has_moved || size > 0;
  }
  if (auto request = http.poll_request()) {
    if (is_upgrade(*request)) {
      connection.early = http.switch_protocols(kDatagramsProtocol, now);
    } else if (is_full()) {
      const Problem problem{.status = 503, .detail = "The server has too many requests."};
      http.respond(response_of(problem), to_json(problem), true, now);
    } else {
      connection.exchange =
          begin_exchange(key, std::move(request->request), std::move(request->body),
                         peer_of(connection.remote, connection.tls->peer()));
    }
    has_moved = true;
  }
  const std::size_t written = connection.tls->write(as_bytes(http.to_send()));
  http.sent(written, now);
  return has_moved || written > 0;
}

bool Server::is_upgrade(const Http1Request& request) const {
  return is_upgrade_allowed_ && request.request.method == "GET" &&
         request.request.path == kDatagramsPath && request.body.empty() &&
         equals_ignoring_case(request.upgrade, kDatagramsProtocol);
}

// hand_over lets go of a connection whose 101 is with TLS.
void Server::hand_over(TcpKey key, Connection& connection, std::string early) {
  upgraded_.emplace_back(key, Upgraded{.tls = std::move(connection.tls),
                                       .early = std::move(early),
                                       .ciphertext = std::move(connection.received)});
  closed(key);
}

// account keeps the sum of all unfinished requests, and ends the connection that breaks its limit.
void Server::account(Connection& connection) {
  if (!connection.http) return;
  const std::size_t size = connection.http->received_size();
  received_size_ += size;
  received_size_ -= std::exchange(connection.counted_size, size);
  if (received_size_ <= limits_.received_size_max || size == 0) return;
  connection.http->abort();
  received_size_ -= std::exchange(connection.counted_size, 0);
}

void Server::handle_connection_timeout(TcpKey key, Instant now) {
  Connection* connection = find(key);
  ZT_ASSERT(connection != nullptr);
  connection->tls->handle_timeout(now);
  if (connection->http) connection->http->handle_timeout(now);
  if (connection->close_deadline && *connection->close_deadline <= now) {
    connection->is_close_due = true;
  }
  pump(key, *connection, now);
}

}  // namespace zt::http
