// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/signing_key.h: Ed25519 (RFC 8032), with which a tenant signs what nodes must believe.
//
// Theory of operation
//   A SigningKey is the 32-byte seed of RFC 8032 section 5.1.5. Signatures are deterministic:
//   nothing is drawn while signing. AWS-LC's verification refuses a scalar that is not reduced,
//   so a valid signature cannot be turned into another one.

#include <compare>
#include <cstddef>
#include <expected>
#include <utility>

#include "crypto/error.h"
#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"

namespace zt::crypto {

struct SignatureTag;
using Signature = Fixed<SignatureTag, 64>;

struct PublicKeyTag;
using PublicKeyBytes = Fixed<PublicKeyTag, 32>;

// PublicKey verifies what the SigningKey with the same bytes signed.
struct PublicKey {
  PublicKeyBytes raw;

  // verify tells whether `signature` is over exactly `message`. Bytes that are no point of the
  // curve verify nothing.
  [[nodiscard]] bool verify(BytesView message, const Signature& signature) const;

  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
  friend bool operator==(const PublicKey&, const PublicKey&) = default;
};

// SigningKey moves but does not copy; a moved-from one may only be destroyed or assigned to.
class SigningKey {
 public:
  static constexpr std::size_t kSeedSize = 32;

  // create draws a new key.
  [[nodiscard]] static SigningKey create();

  // from_seed takes the kSeedSize bytes that seed() returns; any other size is `malformed`.
  [[nodiscard]] static std::expected<SigningKey, CryptoError> from_seed(const Secret& seed);

  // from_pem reads unencrypted PKCS #8 (RFC 8410 section 7). It fails with `malformed`, and with
  // `unsupported` for another kind of key.
  [[nodiscard]] static std::expected<SigningKey, CryptoError> from_pem(const Secret& pem);

  [[nodiscard]] Secret seed() const;
  [[nodiscard]] Secret pem() const;
  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] Signature sign(BytesView message) const;

 private:
  SigningKey(Secret expanded, const PublicKey& public_key)
      : expanded_(std::move(expanded)), public_key_(public_key) {}

  Secret expanded_;  // The seed and the public key, 64 bytes, as AWS-LC wants them.
  PublicKey public_key_;
};

}  // namespace zt::crypto
