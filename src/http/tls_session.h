// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/tls_session.h: TLS 1.3 over a byte stream that somebody else carries.
//
// Theory of operation
//   Ciphertext goes in with receive() and comes out of to_send(); plaintext goes in with write()
//   and comes out of read(). The two sides are joined by bounded buffers of one record each, so
//   that a slow reader on either side stops the other. A TlsContext holds what is common to many
//   sessions: our certificate and the rules below. A server asks for a client certificate and
//   accepts any, or none: the handshake proves that the client holds the key, and the digests in
//   peer() say which key that is. A client accepts exactly the certificate or public key that it
//   was told to expect. Nobody builds a chain.
//
// Limits   kBufferSize bytes wait in each direction.
// Time     The handshake must end within handshake_timeout.
// Threats  TLS 1.3 only, no resumption, no tickets, no 0-RTT, no renegotiation. The stream's end is
//          genuine only after close_notify: anything else is `truncated`. ALPN "http/1.1": a client
//          that offers only other protocols is refused (RFC 7301; cross-protocol attacks).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/identity.h"
#include "quic/endpoint.h"
#include "zt/base/bytes.h"
#include "zt/base/time.h"

struct bio_st;      // NOLINT(readability-identifier-naming): AWS-LC's BIO.
struct ssl_ctx_st;  // AWS-LC's SSL_CTX.
struct ssl_st;      // AWS-LC's SSL.

namespace zt::http {

enum class TlsError : std::uint8_t {
  timeout,     // The handshake did not end in time.
  wrong_peer,  // The peer's certificate is not the expected one, or none that can be read.
  refused,     // The peer sent a fatal alert.
  protocol,    // The peer broke TLS, or has no version or protocol in common with us.
  truncated,   // The stream ended without close_notify.
};
[[nodiscard]] std::string_view to_text(TlsError error);

struct TlsDeleter {
  void operator()(ssl_ctx_st* context) const noexcept;
  void operator()(ssl_st* session) const noexcept;
  void operator()(bio_st* bio) const noexcept;
};

class TlsContext {
 public:
  // server answers with the certificate of `identity`; client offers it if asked, if there is one.
  // Neither keeps a reference to `identity`.
  [[nodiscard]] static TlsContext server(const crypto::Identity& identity);
  [[nodiscard]] static TlsContext client(const crypto::Identity* identity);

  [[nodiscard]] ssl_ctx_st* native() const { return native_.get(); }

 private:
  explicit TlsContext(std::unique_ptr<ssl_ctx_st, TlsDeleter> native)
      : native_(std::move(native)) {}

  std::unique_ptr<ssl_ctx_st, TlsDeleter> native_;
};

class TlsSession {
 public:
  static constexpr std::size_t kBufferSize = 18
                                             << 10;  // One record (RFC 8446 section 5.2) and more.
  static constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

  enum class State : std::uint8_t {
    handshaking,
    ready,   // Plaintext flows.
    failed,  // See error(). An alert for the peer may still be in to_send().
  };

  struct ServerOptions {
    Duration handshake_timeout = kHandshakeTimeout;
  };
  struct ClientOptions {
    quic::PeerPin pin;
    std::string server_name;  // SNI; empty sends none, and an address is not to be sent.
    Duration handshake_timeout = kHandshakeTimeout;
  };

  // `context` need not outlive the session.
  TlsSession(const TlsContext& context, const ServerOptions& options, Instant now);
  TlsSession(const TlsContext& context, const ClientOptions& options, Instant now);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] TlsError error() const { return error_; }
  // error_detail is a few words of the TLS library about a failure; for logs, may be empty.
  [[nodiscard]] const std::string& error_detail() const { return error_detail_; }
  // peer identifies the other side, once the handshake has proven it; nothing if a client sent
  // none.
  [[nodiscard]] std::optional<quic::PeerIdentity> peer() const;

  // receive takes ciphertext and returns how much; the rest must come again after read() has made
  // room.
  [[nodiscard]] std::size_t receive(BytesView ciphertext);
  // receive_end says that the transport has no more ciphertext.
  void receive_end();

  // read moves plaintext into `buffer` and returns how much that is; 0 means nothing yet or nothing
  // any more.
  [[nodiscard]] std::size_t read(std::span<std::byte> buffer);
  // is_receive_ended tells whether the peer has said close_notify, and everything before was read.
  [[nodiscard]] bool is_receive_ended() const { return is_receive_ended_; }

  // write takes plaintext and returns how much; what was not taken must come again, first.
  [[nodiscard]] std::size_t write(BytesView plaintext);
  // shut sends close_notify, when there is room. write() must have taken everything before, and
  // takes nothing any more.
  void shut();

  // to_send returns ciphertext for the peer, if any; sent drops the first `size` bytes of it.
  [[nodiscard]] BytesView to_send();
  void sent(std::size_t size);

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // judge_peer is called by the TLS library in the handshake; it returns whether to go on.
  [[nodiscard]] bool judge_peer(BytesView certificate);

 private:
  TlsSession(const TlsContext& context, Duration handshake_timeout, Instant now);

  void advance();
  void handle_result(int result);
  void fail(TlsError error);
  void push_shut();

  std::unique_ptr<ssl_st, TlsDeleter> native_;
  std::unique_ptr<bio_st, TlsDeleter> network_;  // The far end of the session's own BIO.
  State state_ = State::handshaking;
  TlsError error_ = TlsError::protocol;
  std::string error_detail_;
  std::optional<quic::PeerPin> pin_;  // Of a client.
  std::optional<quic::PeerIdentity> peer_;
  Bytes outgoing_;
  std::size_t outgoing_offset_ = 0;
  Instant deadline_;
  bool is_transport_ended_ = false;
  bool is_receive_ended_ = false;
  bool is_shut_wanted_ = false;
  bool is_shut_ = false;
};

}  // namespace zt::http
