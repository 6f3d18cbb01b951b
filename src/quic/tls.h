// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/tls.h: the two TLS configurations of an endpoint.
//
// Theory of operation
//   TLS 1.3 only, ALPN "h3" only. No session tickets and no resumption: every connection proves
//   both keys anew. No 0-RTT, which could be replayed. Nobody builds certificate chains: a peer is
//   its leaf certificate, and the handshake proves that it holds the key. The accepting side takes
//   any leaf and reports who it is; the connecting side demands its pin and refuses every other
//   leaf.
//
// Threats  A certificate that is huge or not a certificate: refused above crypto's size limit,
// before
//          anything else looks at it.

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <openssl/ssl.h>

#include <optional>
#include <string>

#include "quic/endpoint.h"

namespace zt::quic {

// TlsLink joins the TLS session of one connection with its ngtcp2_conn, and says what the handshake
// demands and has found. Its address is the session's application data: it does not move.
struct TlsLink {
  TlsLink();
  TlsLink(const TlsLink&) = delete;
  TlsLink& operator=(const TlsLink&) = delete;

  ngtcp2_crypto_conn_ref reference{};
  ngtcp2_conn* connection = nullptr;
  std::optional<PeerPin> pin;            // The connecting side's demand.
  std::optional<PeerIdentity> identity;  // Who the peer is, once it has sent a certificate.
  bool is_refused = false;               // The certificate is not the one demanded, or not one.
};

struct TlsConfig {
  const crypto::Identity* identity = nullptr;  // The connecting side may be without.
  bool is_server = false;
  bool is_client_certificate_required = true;
};

[[nodiscard]] bssl::UniquePtr<SSL_CTX> make_tls_context(const TlsConfig& config);

// make_tls_session makes the TLS side of one connection. `link` outlives it. `server_name` is the
// connecting side's SNI; empty sends none.
[[nodiscard]] bssl::UniquePtr<SSL> make_tls_session(SSL_CTX& context, bool is_server, TlsLink& link,
                                                    const std::string& server_name);

}  // namespace zt::quic
