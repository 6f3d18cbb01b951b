// SPDX-License-Identifier: Apache-2.0
#include "quic/tls.h"

#include <ngtcp2/ngtcp2_crypto_boringssl.h>
#include <openssl/pool.h>

#include <array>
#include <cstdint>
#include <span>

#include "crypto/certificate.h"
#include "zt/base/assert.h"

namespace zt::quic {
namespace {

constexpr std::array<std::uint8_t, 3> kAlpn = {2, 'h', '3'};

ngtcp2_conn* connection_of(ngtcp2_crypto_conn_ref* reference) noexcept {
  return static_cast<TlsLink*>(reference->user_data)->connection;
}

TlsLink& link_of(const SSL& session) {
  auto* reference = static_cast<ngtcp2_crypto_conn_ref*>(SSL_get_app_data(&session));
  return *static_cast<TlsLink*>(reference->user_data);
}

// check_certificate records who the peer is. Only the leaf counts, and its key is proved by the
// CertificateVerify message (RFC 8446 section 4.4.3), which AWS-LC checks.
bool check_certificate(const SSL& session, TlsLink& link) {
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(&session);
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return false;
  const CRYPTO_BUFFER* leaf = sk_CRYPTO_BUFFER_value(chain, 0);
  const auto der = std::as_bytes(std::span(CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf)));
  const auto digests = crypto::digests_of_certificate(der);
  if (!digests) return false;
  link.identity = PeerIdentity{digests->certificate, digests->public_key};
  if (!link.pin) return true;
  switch (link.pin->kind) {
    case PeerPin::Kind::certificate:
      return link.pin->digest == digests->certificate;
    case PeerPin::Kind::public_key:
      return link.pin->digest == digests->public_key;
  }
  return false;
}

ssl_verify_result_t verify(SSL* session, std::uint8_t* alert) noexcept {
  TlsLink& link = link_of(*session);
  if (check_certificate(*session, link)) return ssl_verify_ok;
  link.identity.reset();
  link.is_refused = true;
  *alert = SSL_AD_BAD_CERTIFICATE;
  return ssl_verify_invalid;
}

// select_protocol takes "h3" or ends the handshake with no_application_protocol (RFC 7301 section
// 3.2, RFC 9001 section 8.1).
int select_protocol(SSL* /*session*/, const std::uint8_t** selected, std::uint8_t* selected_size,
                    const std::uint8_t* offered, unsigned offered_size, void* /*unused*/) noexcept {
  const std::span names(offered, offered_size);
  for (std::size_t at = 0; at < names.size(); at += 1 + std::size_t{names[at]}) {
    const std::size_t size = names[at];
    if (size + 1 > names.size() - at) break;
    if (size == 2 && names[at + 1] == 'h' && names[at + 2] == '3') {
      *selected = &names[at + 1];
      *selected_size = 2;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

TlsLink::TlsLink() {
  reference = {.get_conn = connection_of, .user_data = this};
}

bssl::UniquePtr<SSL_CTX> make_tls_context(const TlsConfig& config) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  ZT_ASSERT(context != nullptr);
  const int configured = config.is_server
                             ? ngtcp2_crypto_boringssl_configure_server_context(context.get())
                             : ngtcp2_crypto_boringssl_configure_client_context(context.get());
  ZT_ASSERT(configured == 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_early_data_enabled(context.get(), 0);
  // A key share of ML-KEM would make each first flight two datagrams: twice as much that a lossy
  // network may lose, and that a server looks at before it knows whom it talks to.
  ZT_ASSERT(SSL_CTX_set1_groups_list(context.get(), "X25519:P-256") == 1);
  SSL_CTX_set_max_cert_list(context.get(), 2 * crypto::kCertificateSizeMax);
  if (config.identity != nullptr) {
    ZT_ASSERT(SSL_CTX_use_certificate(context.get(), config.identity->native_certificate()) == 1);
    ZT_ASSERT(SSL_CTX_use_PrivateKey(context.get(), config.identity->native_key()) == 1);
  }
  int mode = SSL_VERIFY_PEER;
  if (config.is_server) {
    if (config.is_client_certificate_required) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
  } else {
    ZT_ASSERT(SSL_CTX_set_alpn_protos(context.get(), kAlpn.data(), kAlpn.size()) == 0);
  }
  SSL_CTX_set_custom_verify(context.get(), mode, verify);
  return context;
}

bssl::UniquePtr<SSL> make_tls_session(SSL_CTX& context, bool is_server, TlsLink& link,
                                      const std::string& server_name) {
  bssl::UniquePtr<SSL> session(SSL_new(&context));
  ZT_ASSERT(session != nullptr);
  SSL_set_app_data(session.get(), &link.reference);
  SSL_set_shed_handshake_config(session.get(), 1);
  if (is_server) {
    SSL_set_accept_state(session.get());
  } else {
    SSL_set_connect_state(session.get());
    // A name that cannot be one (RFC 6066 section 3) is not sent; the pin decides, not the name.
    if (!server_name.empty()) (void)SSL_set_tlsext_host_name(session.get(), server_name.c_str());
  }
  return session;
}

}  // namespace zt::quic
