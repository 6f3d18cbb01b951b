// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/identity.h: who a node is: a private key and the certificate that goes with it.
//
// Theory of operation
//   Every node makes an ECDSA P-256 key (the curve that every TLS stack and every hardware token
//   speaks) and a certificate for it, signed by itself. The node IS the digest of that certificate:
//   the controller records it at enrolment and signs it into grants, everybody pins it, nobody
//   builds a chain. The certificate is therefore valid for ten years: what ends an identity is the
//   controller that no longer vouches for its digest, within seconds, not a date within it.
//
//   The controller also answers browsers, curl and reverse proxies, which do build chains. Its
//   certificate is issued by a CertificateAuthority that the installation owns. Nodes pin the
//   public key of that certificate, so a renewal keeps the key.
//
// Time     No clock is read; `now` is an argument. Keys, serials and signatures draw their entropy
//          inside AWS-LC.
// Threats  A key that was swapped for another: from_pem checks that key and certificate match.
//          The private key leaves only as a Secret, to be written to the node's own state.

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/certificate.h"
#include "crypto/error.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"

struct x509_st;      // AWS-LC's X509.
struct evp_pkey_st;  // AWS-LC's EVP_PKEY.

namespace zt::crypto {

// NativeDeleter frees AWS-LC's objects where only their forward declarations are known.
struct NativeDeleter {
  void operator()(x509_st* certificate) const noexcept;
  void operator()(evp_pkey_st* key) const noexcept;
};
using NativeCertificate = std::unique_ptr<x509_st, NativeDeleter>;
using NativeKey = std::unique_ptr<evp_pkey_st, NativeDeleter>;

inline constexpr std::size_t kServerHostsMax = 64;

// Certificates begin an hour before they are made, for the sake of peers whose clock is behind.
inline constexpr std::chrono::hours kClockAllowance{1};
inline constexpr std::chrono::hours kIdentityLifetime{24 * 3652};  // Ten years.
inline constexpr std::chrono::hours kAuthorityLifetime{24 * 3652};
inline constexpr std::chrono::hours kServerLifetime{24 * 398};  // The most that browsers accept.

// Identity is an ECDSA P-256 key and a certificate for it. It moves but does not copy; a moved-from
// Identity may only be destroyed or assigned to.
class Identity {
 public:
  // create makes a key and a certificate signed by it, for both ends of TLS (RFC 5280 section
  // 4.2.1.12). `common_name` is a label for people: cut to 64 characters, and what is not printable
  // ASCII becomes '?'. `now` must lie in the years 1951 to 9980.
  [[nodiscard]] static Identity create(std::string_view common_name, UnixTime now);

  // from_pem reads what certificate_pem() and key_pem() wrote. It fails with `malformed`, with
  // `unsupported` for a key that is not P-256, and with `mismatch`.
  [[nodiscard]] static std::expected<Identity, CryptoError> from_pem(
      std::string_view certificate_pem, const Secret& key_pem);

  // certificate_pem returns the certificate (RFC 7468 section 5).
  [[nodiscard]] std::string certificate_pem() const;

  // key_pem returns the private key as unencrypted PKCS #8 (RFC 7468 section 10).
  [[nodiscard]] Secret key_pem() const;

  // derived_key returns what only a holder of the private key can make, the same after each start
  // and another for each purpose. It tells nothing about the private key.
  [[nodiscard]] Digest derived_key(std::string_view purpose) const;

  [[nodiscard]] const Digest& certificate_digest() const { return digests_.certificate; }
  [[nodiscard]] const Digest& public_key_digest() const { return digests_.public_key; }

  // not_before and not_after are the certificate's own bounds, in whole seconds, both included.
  [[nodiscard]] UnixTime not_before() const { return not_before_; }
  [[nodiscard]] UnixTime not_after() const { return not_after_; }

  // renewal_time is when two thirds of the certificate's life are over.
  [[nodiscard]] UnixTime renewal_time() const;

  // native_certificate and native_key lend AWS-LC's objects for as long as the Identity lives.
  [[nodiscard]] x509_st* native_certificate() const { return certificate_.get(); }
  [[nodiscard]] evp_pkey_st* native_key() const { return key_.get(); }

 private:
  friend class CertificateAuthority;
  Identity(NativeKey key, NativeCertificate certificate);

  NativeKey key_;
  NativeCertificate certificate_;
  CertificateDigests digests_;
  UnixTime not_before_;
  UnixTime not_after_;
};

// CertificateAuthority issues the certificates with which a controller answers HTTPS. It may sign
// leaf certificates for servers only (basicConstraints pathlen 0).
class CertificateAuthority {
 public:
  // create makes a P-256 key and a CA certificate for it, for ten years. `common_name` as in
  // Identity::create.
  [[nodiscard]] static CertificateAuthority create(std::string_view common_name, UnixTime now);

  // from_pem is Identity::from_pem, and fails with `unsupported` if the certificate is not a CA's.
  [[nodiscard]] static std::expected<CertificateAuthority, CryptoError> from_pem(
      std::string_view certificate_pem, const Secret& key_pem);

  [[nodiscard]] std::string certificate_pem() const { return self_.certificate_pem(); }
  [[nodiscard]] Secret key_pem() const { return self_.key_pem(); }

  // issue_server makes a key and a certificate for a server that is reached as any of `hosts` (1 to
  // kServerHostsMax of them; subjectAltName, RFC 9525). It ends after kServerLifetime, or with the
  // CA. Send it without the CA's certificate: whoever checks chains has that.
  [[nodiscard]] Identity issue_server(std::span<const Host> hosts, UnixTime now) const;

  // renew_server issues a new certificate for the key of `previous`: public_key_digest(), which the
  // nodes pin, stays. Call it from previous.renewal_time() on, or when the hosts change.
  [[nodiscard]] Identity renew_server(const Identity& previous, std::span<const Host> hosts,
                                      UnixTime now) const;

  // identity is the CA's own key and certificate.
  [[nodiscard]] const Identity& identity() const { return self_; }

 private:
  explicit CertificateAuthority(Identity self) : self_(std::move(self)) {}
  [[nodiscard]] Identity issue(NativeKey key, std::span<const Host> hosts, UnixTime now) const;

  Identity self_;
};

}  // namespace zt::crypto
