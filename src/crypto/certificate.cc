// SPDX-License-Identifier: Apache-2.0
#include "crypto/certificate.h"

#include <openssl/mem.h>
#include <openssl/x509.h>

#include <cstdint>

#include "crypto/hash.h"
#include "crypto/native.h"

namespace zt::crypto {
namespace {

// encoded returns the DER that `encode` makes of `object`, or nothing at all.
template <class Object>
Bytes encoded(Object* object, int (*encode)(Object*, std::uint8_t**)) {
  std::uint8_t* data = nullptr;
  const int size = encode(object, &data);
  const bssl::UniquePtr<std::uint8_t> owner(data);
  if (size <= 0) return {};
  const auto view = std::as_bytes(std::span(data, static_cast<std::size_t>(size)));
  return {view.begin(), view.end()};
}

}  // namespace

std::expected<CertificateDigests, CryptoError> digests_of_certificate(BytesView der) {
  const ErrorQueueCleaner cleaner;
  if (der.size() > kCertificateSizeMax) return std::unexpected(CryptoError::malformed);
  const std::uint8_t* position = octets(der);
  const bssl::UniquePtr<X509> certificate(
      d2i_X509(nullptr, &position, static_cast<long>(der.size())));
  if (!certificate || position != octets(der.subspan(der.size()))) {
    return std::unexpected(CryptoError::malformed);
  }
  auto digests = digests_of_certificate(*certificate);
  if (digests) digests->certificate = sha256(der);  // The bytes that were sent, whatever they are.
  return digests;
}

std::expected<CertificateDigests, CryptoError> digests_of_certificate(x509_st& certificate) {
  const ErrorQueueCleaner cleaner;
  const Bytes whole = encoded<X509>(&certificate, i2d_X509);
  const Bytes key = encoded<const X509_PUBKEY>(X509_get_X509_PUBKEY(&certificate), i2d_X509_PUBKEY);
  if (whole.empty() || key.empty()) return std::unexpected(CryptoError::malformed);
  return CertificateDigests{.certificate = sha256(whole), .public_key = sha256(key)};
}

}  // namespace zt::crypto
