// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/hash.h: SHA-256, and what is made of it.

#include <cstddef>
#include <span>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"

namespace zt::crypto {

// sha256 returns the hash of `data` (FIPS 180-4).
[[nodiscard]] Digest sha256(BytesView data);

// hmac_sha256 returns the tag of `data` under `key` (RFC 2104). Compare tags with
// equal_in_constant_time.
[[nodiscard]] Digest hmac_sha256(BytesView key, BytesView data);

// HkdfInput is what key material is made from (RFC 5869). `secret` must have entropy enough: this
// is no password hash. `info` says what the result is for, so that two uses never share a key.
struct HkdfInput {
  BytesView secret;
  BytesView salt;
  BytesView info;
};

inline constexpr std::size_t kHkdfOutputSizeMax = 255 * Digest::kSize;

// hkdf_sha256 fills `output`, of at most kHkdfOutputSizeMax bytes.
void hkdf_sha256(const HkdfInput& input, std::span<std::byte> output);

}  // namespace zt::crypto
