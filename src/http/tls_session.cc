// SPDX-License-Identifier: Apache-2.0
#include "http/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>

#include "crypto/certificate.h"
#include "zt/base/assert.h"

namespace zt::http {

namespace {

constexpr std::string_view kProtocol = "http/1.1";
constexpr std::string_view kProtocolList = "\x08http/1.1";

const std::uint8_t* as_octets(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());  // NOLINT: AWS-LC's idea of bytes.
}

int clamp_size(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
}

ssl_verify_result_t verify_peer(SSL* ssl, std::uint8_t* alert) noexcept {
  auto& session = *static_cast<TlsSession*>(SSL_get_ex_data(ssl, 0));
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  BytesView leaf;
  if (chain != nullptr && sk_CRYPTO_BUFFER_num(chain) > 0) {
    const CRYPTO_BUFFER* first = sk_CRYPTO_BUFFER_value(chain, 0);
    leaf = std::as_bytes(std::span(CRYPTO_BUFFER_data(first), CRYPTO_BUFFER_len(first)));
  }
  if (session.judge_peer(leaf)) return ssl_verify_ok;
  *alert = SSL_AD_BAD_CERTIFICATE;
  return ssl_verify_invalid;
}

int select_protocol(SSL* /*ssl*/, const std::uint8_t** selected, std::uint8_t* selected_size,
                    const std::uint8_t* offered, unsigned offered_size, void* /*unused*/) noexcept {
  // RFC 7301 section 3.1: a list of names, each behind a byte that holds its size.
  std::string_view rest = as_text(std::as_bytes(std::span(offered, offered_size)));
  while (!rest.empty()) {
    const auto size = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    if (rest.substr(0, size) == kProtocol) {
      *selected = as_octets(kProtocol);
      *selected_size = static_cast<std::uint8_t>(kProtocol.size());
      return SSL_TLSEXT_ERR_OK;
    }
    rest.remove_prefix(std::min<std::size_t>(size, rest.size()));
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void use_identity(SSL_CTX* context, const crypto::Identity& identity) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509(identity.native_certificate(), &der);
  ZT_ASSERT(size > 0);
  const bssl::UniquePtr<std::uint8_t> owned(der);
  const bssl::UniquePtr<CRYPTO_BUFFER> leaf(
      CRYPTO_BUFFER_new(der, static_cast<std::size_t>(size), nullptr));
  std::array<CRYPTO_BUFFER*, 1> chain = {leaf.get()};
  const int is_set = SSL_CTX_set_chain_and_key(context, chain.data(), chain.size(),
                                               identity.native_key(), nullptr);
  ZT_ASSERT(is_set == 1);
}

std::unique_ptr<SSL_CTX, TlsDeleter> make_context() {
  std::unique_ptr<SSL_CTX, TlsDeleter> context(SSL_CTX_new(TLS_with_buffers_method()));
  ZT_ASSERT(context != nullptr);
  const bool is_version_set = SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
                              SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) == 1;
  ZT_ASSERT(is_version_set);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_early_data_enabled(context.get(), 0);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Without SSL_VERIFY_FAIL_IF_NO_PEER_CERT: a server asks, and goes on without one.
  SSL_CTX_set_custom_verify(context.get(), SSL_VERIFY_PEER, verify_peer);
  return context;
}

}  // namespace

std::string_view to_text(TlsError error) {
  switch (error) {
    case TlsError::timeout:
      return "the TLS handshake took too long";
    case TlsError::wrong_peer:
      return "the peer's certificate is not the expected one";
    case TlsError::refused:
      return "the peer refused the TLS handshake";
    case TlsError::protocol:
      return "the peer does not speak TLS 1.3 as it should";
    case TlsError::truncated:
      return "the stream ended without a TLS close";
  }
  return "unknown";
}

void TlsDeleter::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}
void TlsDeleter::operator()(ssl_st* session) const noexcept {
  SSL_free(session);
}
void TlsDeleter::operator()(bio_st* bio) const noexcept {
  BIO_free(bio);
}

TlsContext TlsContext::server(const crypto::Identity& identity) {
  auto context = make_context();
  use_identity(context.get(), identity);
  SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
  return TlsContext(std::move(context));
}

TlsContext TlsContext::client(const crypto::Identity* identity) {
  auto context = make_context();
  if (identity != nullptr) use_identity(context.get(), *identity);
  // This call returns 0 for success.
  const int is_failed =
      SSL_CTX_set_alpn_protos(context.get(), as_octets(kProtocolList), kProtocolList.size());
  ZT_ASSERT(is_failed == 0);
  return TlsContext(std::move(context));
}

TlsSession::TlsSession(const TlsContext& context, Duration handshake_timeout, Instant now)
    : native_(SSL_new(context.native())), deadline_(now + handshake_timeout) {
  ZT_ASSERT(native_ != nullptr);
  BIO* inner = nullptr;
  BIO* outer = nullptr;
  const int is_made = BIO_new_bio_pair(&inner, kBufferSize, &outer, kBufferSize);
  ZT_ASSERT(is_made == 1);
  network_.reset(outer);
  SSL_set_bio(native_.get(), inner, inner);  // Takes `inner`.
  SSL_set_ex_data(native_.get(), 0, this);
}

TlsSession::TlsSession(const TlsContext& context, const ServerOptions& options, Instant now)
    : TlsSession(context, options.handshake_timeout, now) {
  SSL_set_accept_state(native_.get());
}

TlsSession::TlsSession(const TlsContext& context, const ClientOptions& options, Instant now)
    : TlsSession(context, options.handshake_timeout, now) {
  pin_ = options.pin;
  SSL_set_connect_state(native_.get());
  if (!options.server_name.empty() &&
      SSL_set_tlsext_host_name(native_.get(), options.server_name.c_str()) != 1) {
    ERR_clear_error();  // Not a name that can be sent; the pin decides anyway.
  }
  advance();
}

TlsSession::~TlsSession() = default;

std::optional<quic::PeerIdentity> TlsSession::peer() const {
  return state_ == State::handshaking ? std::nullopt : peer_;
}

bool TlsSession::judge_peer(BytesView certificate) {
  const auto digests = crypto::digests_of_certificate(certificate);
  if (!digests) {
    error_ = TlsError::wrong_peer;
    return false;
  }
  const quic::PeerIdentity peer{.certificate = digests->certificate,
                                .public_key = digests->public_key};
  if (pin_) {
    const bool is_certificate = pin_->kind == quic::PeerPin::Kind::certificate;
    if (pin_->digest != (is_certificate ? peer.certificate : peer.public_key)) {
      error_ = TlsError::wrong_peer;
      return false;
    }
  }
  peer_ = peer;
  return true;
}

std::size_t TlsSession::receive(BytesView ciphertext) {
  std::size_t taken = 0;
  while (taken < ciphertext.size() && state_ != State::failed) {
    const BytesView rest = ciphertext.subspan(taken);
    const int written = BIO_write(network_.get(), rest.data(), clamp_size(rest.size()));
    if (written <= 0) break;  // Full.
    taken += static_cast<std::size_t>(written);
    if (state_ == State::handshaking) advance();
  }
  return state_ == State::failed ? ciphertext.size() : taken;
}

void TlsSession::receive_end() {
  is_transport_ended_ = true;
  if (state_ == State::handshaking) fail(TlsError::truncated);
}

// advance takes the handshake as far as it goes with what was received.
void TlsSession::advance() {
  ERR_clear_error();
  const int result = SSL_do_handshake(native_.get());
  if (result == 1) {
    state_ = State::ready;
    return;
  }
  handle_result(result);
}

// handle_result judges a result that is no success, of a call that was just made.
void TlsSession::handle_result(int result) {
  switch (SSL_get_error(native_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return;
    case SSL_ERROR_ZERO_RETURN:
      is_receive_ended_ = true;
      return;
    default:
      break;
  }
  if (error_ == TlsError::wrong_peer) return fail(error_);  // judge_peer has said why.
  const std::uint32_t code = ERR_peek_error();
  const bool is_alert =
      ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
  fail(is_alert ? TlsError::refused : TlsError::protocol);
}

void TlsSession::fail(TlsError error) {
  state_ = State::failed;
  error_ = error;
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  if (reason != nullptr) error_detail_ = reason;
  ERR_clear_error();
}

std::size_t TlsSession::read(std::span<std::byte> buffer) {
  if (state_ != State::ready || is_receive_ended_ || buffer.empty()) return 0;
  ERR_clear_error();
  const int result = SSL_read(native_.get(), buffer.data(), clamp_size(buffer.size()));
  if (result > 0) return static_cast<std::size_t>(result);
  handle_result(result);
  if (state_ == State::ready && is_transport_ended_ && !is_receive_ended_) {
    fail(TlsError::truncated);
  }
  return 0;
}

std::size_t TlsSession::write(BytesView plaintext) {
  std::size_t taken = 0;
  while (taken < plaintext.size() && state_ == State::ready && !is_shut_wanted_) {
    const BytesView rest = plaintext.subspan(taken);
    ERR_clear_error();
    const int result = SSL_write(native_.get(), rest.data(), clamp_size(rest.size()));
    if (result <= 0) {
      handle_result(result);
      break;
    }
    taken += static_cast<std::size_t>(result);
  }
  return taken;
}

void TlsSession::shut() {
  is_shut_wanted_ = true;
  push_shut();
}

void TlsSession::push_shut() {
  if (!is_shut_wanted_ || is_shut_ || state_ != State::ready) return;
  ERR_clear_error();
  const int result = SSL_shutdown(native_.get());
  if (result >= 0) {
    is_shut_ = true;
  } else {
    handle_result(result);  // The buffer is full: sent() tries again.
  }
}

BytesView TlsSession::to_send() {
  if (outgoing_offset_ == outgoing_.size()) {
    outgoing_.resize(BIO_ctrl_pending(network_.get()));
    outgoing_offset_ = 0;
    if (!outgoing_.empty()) {
      const int size = BIO_read(network_.get(), outgoing_.data(), clamp_size(outgoing_.size()));
      ZT_ASSERT(size > 0);
      outgoing_.resize(static_cast<std::size_t>(size));
    }
    push_shut();
  }
  return BytesView(outgoing_).subspan(outgoing_offset_);
}

void TlsSession::sent(std::size_t size) {
  ZT_ASSERT(size <= outgoing_.size() - outgoing_offset_);
  outgoing_offset_ += size;
  if (state_ == State::handshaking) advance();  // It may have waited for room.
}

void TlsSession::handle_timeout(Instant now) {
  if (state_ == State::handshaking && deadline_ <= now) fail(TlsError::timeout);
}

std::optional<Instant> TlsSession::next_deadline() const {
  return state_ == State::handshaking ? std::optional(deadline_) : std::nullopt;
}

}  // namespace zt::http
