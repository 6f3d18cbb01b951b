// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/certificate.h: the two digests by which a certificate is pinned.
//
// Theory of operation
//   Between nodes nobody builds chains. A peer is its leaf certificate, named by a SHA-256 digest
//   of the whole (RFC 8705 x5t#S256) or of its public key only (RFC 7469), which survives renewal.
//   The TLS handshake proves that the peer holds the private key; these digests say which key that
//   is.
//
// Threats  Only ever pass the leaf. A digest of any other certificate that a peer sent names
// nobody.

#include <cstddef>
#include <expected>

#include "crypto/error.h"
#include "zt/base/bytes.h"
#include "zt/base/ids.h"

struct x509_st;  // AWS-LC's X509.

namespace zt::crypto {

struct CertificateDigests {
  Digest certificate;  // SHA-256 of the DER certificate.
  Digest public_key;   // SHA-256 of the DER SubjectPublicKeyInfo.

  friend bool operator==(const CertificateDigests&, const CertificateDigests&) = default;
};

inline constexpr std::size_t kCertificateSizeMax = std::size_t{16} * 1024;

// digests_of_certificate parses `der`, one certificate and nothing after it. It fails with
// `malformed`, also above kCertificateSizeMax bytes.
[[nodiscard]] std::expected<CertificateDigests, CryptoError> digests_of_certificate(BytesView der);

// digests_of_certificate of a certificate that AWS-LC has parsed, such as a TLS peer's. It fails
// with `malformed` if the certificate cannot be written as DER again.
[[nodiscard]] std::expected<CertificateDigests, CryptoError> digests_of_certificate(
    x509_st& certificate);

}  // namespace zt::crypto
