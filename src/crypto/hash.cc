// SPDX-License-Identifier: Apache-2.0
#include "crypto/hash.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "crypto/native.h"
#include "zt/base/assert.h"

namespace zt::crypto {

Digest sha256(BytesView data) {
  Digest digest;
  SHA256(octets(data), data.size(), mutable_octets(digest.bytes));
  return digest;
}

Digest hmac_sha256(BytesView key, BytesView data) {
  Digest digest;
  unsigned size = 0;
  const std::uint8_t* tag = HMAC(EVP_sha256(), key.data(), key.size(), octets(data), data.size(),
                                 mutable_octets(digest.bytes), &size);
  ZT_ASSERT(tag != nullptr);  // Fails only when memory is out.
  ZT_ASSERT(size == Digest::kSize);
  return digest;
}

void hkdf_sha256(const HkdfInput& input, std::span<std::byte> output) {
  ZT_ASSERT(output.size() <= kHkdfOutputSizeMax);
  const int is_done = HKDF(mutable_octets(output), output.size(), EVP_sha256(),
                           octets(input.secret), input.secret.size(), octets(input.salt),
                           input.salt.size(), octets(input.info), input.info.size());
  ZT_ASSERT(is_done == 1);
}

}  // namespace zt::crypto
