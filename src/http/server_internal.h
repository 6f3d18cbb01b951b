// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/server_internal.h: what a Server keeps of each TCP connection and of each HTTP/3 stream.

#include "http/server.h"

namespace zt::http {

struct Server::Connection {
  Connection(const TlsContext& context, const SocketAddress& remote_given, Duration timeout,
             Instant now)
      : remote(remote_given),
        tls(std::make_unique<TlsSession>(
            context, TlsSession::ServerOptions{.handshake_timeout = timeout}, now)) {}

  SocketAddress remote;
  std::unique_ptr<TlsSession> tls;        // Until it is handed over.
  std::optional<Http1Server> http;        // Since the end of the handshake.
  std::optional<ExchangeKey> exchange;    // The one that the core is answering.
  Bytes received;                         // Ciphertext that TLS has no room for.
  std::optional<std::string> early;       // It becomes a link: what has come for it already.
  std::size_t counted_size = 0;           // Its part of received_size_.
  std::optional<Instant> close_deadline;  // Since nothing more is to be said.
  bool is_close_due = false;              // The deadline has passed.
};

struct Server::Stream {
  enum class Phase : std::uint8_t {
    receiving,  // The request's body is not complete.
    answering,  // The core has the request and has not ended the response.
    sending,    // The response is complete; some of it waits here.
    over,       // Everything was handed to the transport, or given up.
  };
  Phase phase = Phase::receiving;
  Request request;  // While receiving.
  std::string body;
  std::optional<ExchangeKey> exchange;  // While answering.
  std::string unsent;
  std::size_t unsent_offset = 0;
  bool is_head_method = false;
  bool is_response_begun = false;
  bool is_stalled = false;  // Some of `unsent` waits for the client, with a deadline.
};

}  // namespace zt::http
