// SPDX-License-Identifier: Apache-2.0
#include "crypto/signing_key.h"

#include <openssl/curve25519.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <utility>

#include "crypto/native.h"
#include "crypto/pem.h"
#include "zt/base/assert.h"

namespace zt::crypto {

static_assert(Signature::kSize == ED25519_SIGNATURE_LEN);
static_assert(PublicKeyBytes::kSize == ED25519_PUBLIC_KEY_LEN);

bool PublicKey::verify(BytesView message, const Signature& signature) const {
  const ErrorQueueCleaner cleaner;
  return ED25519_verify(octets(message), message.size(), octets(signature.bytes),
                        octets(raw.bytes)) == 1;
}

SigningKey SigningKey::create() {
  std::array<std::byte, ED25519_PRIVATE_KEY_LEN> expanded{};
  PublicKey public_key;
  ED25519_keypair(mutable_octets(public_key.raw.bytes), mutable_octets(expanded));
  Secret secret(as_text(expanded));
  wipe(expanded.data(), expanded.size());
  return {std::move(secret), public_key};
}

std::expected<SigningKey, CryptoError> SigningKey::from_seed(const Secret& seed) {
  if (seed.reveal().size() != kSeedSize) return std::unexpected(CryptoError::malformed);
  std::array<std::byte, ED25519_PRIVATE_KEY_LEN> expanded{};
  PublicKey public_key;
  ED25519_keypair_from_seed(mutable_octets(public_key.raw.bytes), mutable_octets(expanded),
                            octets(as_bytes(seed.reveal())));
  Secret secret(as_text(expanded));
  wipe(expanded.data(), expanded.size());
  return SigningKey(std::move(secret), public_key);
}

std::expected<SigningKey, CryptoError> SigningKey::from_pem(const Secret& pem) {
  const ErrorQueueCleaner cleaner;
  if (pem.reveal().size() > kPemSizeMax) return std::unexpected(CryptoError::malformed);
  const bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(memory_of(pem.reveal()).get(), nullptr, no_password, nullptr));
  if (!key) return std::unexpected(CryptoError::malformed);
  if (EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519) {
    return std::unexpected(CryptoError::unsupported);
  }
  std::array<std::byte, kSeedSize> seed{};
  std::size_t size = seed.size();
  ZT_ASSERT(EVP_PKEY_get_raw_private_key(key.get(), mutable_octets(seed), &size) == 1);
  const Secret secret(as_text(seed));
  wipe(seed.data(), seed.size());
  return from_seed(secret);
}

Secret SigningKey::seed() const {
  return Secret(expanded_.reveal().substr(0, kSeedSize));
}

Secret SigningKey::pem() const {
  const ErrorQueueCleaner cleaner;
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_ED25519, nullptr, octets(as_bytes(expanded_.reveal())), kSeedSize));
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  ZT_ASSERT(key && bio);
  ZT_ASSERT(PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                          nullptr) == 1);
  return Secret(contents(*bio));
}

Signature SigningKey::sign(BytesView message) const {
  Signature signature;
  ZT_ASSERT(ED25519_sign(mutable_octets(signature.bytes), octets(message), message.size(),
                         octets(as_bytes(expanded_.reveal()))) == 1);
  return signature;
}

}  // namespace zt::crypto
