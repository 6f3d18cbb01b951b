// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/https_client.h: one HTTPS connection that asks: TLS and HTTP/1.1, without a socket.
//
// Theory of operation
//   A TlsSession and an Http1Client, joined. start() may be called before the handshake is over:
//   the request leaves as soon as it can. Whoever owns the socket carries receive() and to_send(),
//   and learns the outcome from poll_event(). A failure of TLS is told as such, with its reason.
//
// Limits   As in Http1Client; plaintext and ciphertext wait in buffers of one record each.
// Time     As in TlsSession and Http1Client; a request's time begins with start(), handshake
// included.

#include <deque>
#include <expected>
#include <optional>
#include <string_view>
#include <variant>

#include "http/http1_client.h"
#include "http/tls_session.h"
#include "zt/base/bytes.h"
#include "zt/base/time.h"
#include "zt/http/message.h"

namespace zt::http {

// HttpsFailed is the last event: the connection is over.
struct HttpsFailed {
  // Either why TLS failed, or why the exchange did.
  std::variant<TlsError, Http1ClientError> reason;
};
[[nodiscard]] std::string_view to_text(const HttpsFailed& failed);

using HttpsEvent = std::variant<Http1Response, Http1Chunk, Http1Ended, HttpsFailed>;

class HttpsClient {
 public:
  struct Options {
    TlsSession::ClientOptions tls;
    Http1Client::Limits http;
  };

  // `context` need not outlive the object.
  HttpsClient(const TlsContext& context, const Options& options, Instant now);
  HttpsClient(const HttpsClient&) = delete;
  HttpsClient& operator=(const HttpsClient&) = delete;

  // start asks, as Http1Client::start; once the response has ended the next request may follow.
  [[nodiscard]] std::expected<void, Http1ClientError> start(const Request& request,
                                                            std::string_view body, Instant now);
  [[nodiscard]] bool is_ready() const { return !is_failed_ && http_.is_ready(); }

  // receive takes ciphertext, all of it; receive_end says that the socket has no more.
  void receive(BytesView bytes, Instant now);
  void receive_end(Instant now);
  [[nodiscard]] std::optional<HttpsEvent> poll_event();

  // to_send returns ciphertext for the socket; sent drops the first `size` bytes of it.
  [[nodiscard]] BytesView to_send() { return tls_.to_send(); }
  void sent(std::size_t size, Instant now);
  // close says goodbye (close_notify): send what is left, then close the socket.
  void close() { tls_.shut(); }

  // is_over tells that no request can follow: send what is left, then close the socket.
  [[nodiscard]] bool is_over() const { return is_failed_ || http_.is_over(); }

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  void pump(Instant now);
  void fail(std::variant<TlsError, Http1ClientError> reason);

  TlsSession tls_;
  Http1Client http_;
  Bytes scratch_;  // For plaintext between TLS and HTTP/1.1.
  std::deque<HttpsEvent> events_;
  bool is_failed_ = false;
};

}  // namespace zt::http
