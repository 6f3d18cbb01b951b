// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <utility>

#include "http/server_internal.h"
#include "zt/base/assert.h"

namespace zt::http {

namespace {

constexpr std::size_t kScratchSize = 16 << 10;  // One TLS record's plaintext.

}  // namespace

Server::Server(const Config& config, quic::Endpoint* endpoint)
    : limits_(config.limits),
      is_upgrade_allowed_(config.is_upgrade_allowed),
      alt_svc_port_(config.alt_svc_port),
      endpoint_(endpoint),
      tls_context_(TlsContext::server(*config.identity)),
      scratch_(kScratchSize) {}

Server::~Server() = default;

void Server::set_identity(const crypto::Identity& identity) {
  tls_context_ = TlsContext::server(identity);
}

std::optional<Server::Output> Server::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

ExchangeKey Server::begin_exchange(const Place& place, Request request, std::string body,
                                   const Peer& peer) {
  const ExchangeKey exchange{next_exchange_++};
  exchanges_.emplace(exchange, place);
  outputs_.emplace_back(RequestArrived{
      .exchange = exchange, .request = std::move(request), .body = std::move(body), .peer = peer});
  return exchange;
}

void Server::end_exchange(std::optional<ExchangeKey>& exchange) {
  if (exchange) exchanges_.erase(*exchange);
  exchange.reset();
}

void Server::lose_exchange(std::optional<ExchangeKey>& exchange) {
  if (exchange) outputs_.emplace_back(ExchangeGone{*exchange});
  end_exchange(exchange);
}

void Server::carry_out(Command command, Instant now) {
  const ExchangeKey exchange =
      std::visit([](const auto& concrete) { return concrete.exchange; }, command);
  const auto found = exchanges_.find(exchange);
  if (found == exchanges_.end()) return;  // It crossed an ExchangeGone.
  const Place place = found->second;      // The entry may go while the command is carried out.
  if (const auto* key = std::get_if<TcpKey>(&place)) {
    Connection* connection = find(*key);
    ZT_ASSERT(connection != nullptr);
    if (auto* response = std::get_if<Respond>(&command)) {
      respond(*key, *connection, std::move(*response), now);
    } else if (const auto* more = std::get_if<Append>(&command)) {
      append(*key, *connection, more->chunk, now);
    } else {
      finish(*key, *connection, now);
    }
    return;
  }
  const auto& key = std::get<quic::StreamKey>(place);
  Stream* stream = find(key);
  ZT_ASSERT(stream != nullptr);
  if (auto* response = std::get_if<Respond>(&command)) {
    respond(key, *stream, response->response, std::move(response->body), response->is_end, now);
  } else if (const auto* more = std::get_if<Append>(&command)) {
    append(key, *stream, more->chunk, now);
  } else {
    finish(key, *stream, now);
  }
}

void Server::handle_timeout(Instant now) {
  while (const auto key = stream_deadlines_.take_due(now)) handle_stream_timeout(*key, now);
  while (const auto key = connection_deadlines_.take_due(now)) {
    handle_connection_timeout(*key, now);
  }
}

std::optional<Instant> Server::next_deadline() const {
  return earlier_of(stream_deadlines_.earliest(), connection_deadlines_.earliest());
}

}  // namespace zt::http
