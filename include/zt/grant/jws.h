// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/jws.h: signed JSON: one algorithm, one serialisation, one header.
//
// Theory of operation
//   A token is header.payload.signature in base64url (RFC 7515 section 7.1). Its header has exactly
//   the members `alg` ("EdDSA", RFC 8037), `kid` (a thumbprint) and `typ`, because we write all
//   tokens that we read: there is nothing to negotiate, and so nothing to confuse. Every object
//   that is signed has a `typ` of its own (RFC 8725 section 3.11), so that one is never taken for
//   another.
//
//   verify_jws reads the protected header, finds the key, checks the signature over the bytes as
//   they came, and only then decodes the payload. Key material inside a token is never looked at.
//
// Limits   The caller's `size_max`; kJwsHeaderSizeMax for what is parsed before the signature is
//          known to be right.
// Threats  `alg: none` and HMAC with a public key (RFC 8725 section 2.1), `crit`, embedded keys
// (jwk,
//          jku, x5c, x5u), repeated members, other spellings of base64url, trailing bytes: refused.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/grant/jwk.h"

namespace zt::grant {

inline constexpr std::size_t kTokenSizeMax = std::size_t{16} * 1024;
inline constexpr std::size_t kJwsHeaderSizeMax = 512;  // Of base64url text.

// JwsError says why a token is not believed. Nothing in it may be used then.
enum class JwsError : std::uint8_t {
  too_large,        // More bytes than the caller reads.
  malformed,        // Not three parts of canonical base64url around one strict JSON header.
  wrong_header,     // A member that we never write (crit, jwk, x5c, …), or one of ours missing.
  wrong_algorithm,  // Any `alg` but EdDSA, "none" among them.
  wrong_type,       // Signed for another purpose.
  unknown_key,      // `kid` names no key of the set; fetch the JWKS anew and try once more.
  bad_signature,    // Changed on the way, or forged.
};

[[nodiscard]] std::string_view to_text(JwsError error);

// sign_jws signs `payload` as it is, under the media type `type` without its "application/".
[[nodiscard]] std::string sign_jws(std::string_view type, std::string_view payload,
                                   const crypto::SigningKey& key);

// JwsExpectations is what a caller of verify_jws insists on.
struct JwsExpectations {
  std::string_view type;
  std::size_t size_max = kTokenSizeMax;
};

// verify_jws returns the payload of a token that a key of `keys` signed.
[[nodiscard]] std::expected<std::string, JwsError> verify_jws(std::string_view token,
                                                              const JwsExpectations& expected,
                                                              const KeySet& keys);

// key_id_of_jws returns the `kid` in the header of a token that may be forged: good for choosing
// among key sets, and for nothing else. It checks what verify_jws checks before it looks for a key.
[[nodiscard]] std::expected<Digest, JwsError> key_id_of_jws(std::string_view token,
                                                            const JwsExpectations& expected);

}  // namespace zt::grant
