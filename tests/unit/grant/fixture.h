// SPDX-License-Identifier: Apache-2.0
#pragma once
// A tenant, its key, and tokens that are properly signed however wrong they are.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/grant/jwk.h"
#include "zt/grant/jws.h"

namespace zt::grant::test {

inline constexpr UnixTime kNow = from_unix_seconds(1'800'000'000);

// id makes the same id of a kind for the same number.
template <class Tag>
Id<Tag> id(std::uint64_t number) {
  SeededRandom random(number);
  return make_id<Tag>(random);
}

inline Digest digest(std::uint8_t fill) {
  Digest value;
  value.bytes.fill(static_cast<std::byte>(fill));
  return value;
}

inline crypto::SigningKey signing_key(char fill) {
  return crypto::SigningKey::from_seed(Secret(std::string(32, fill))).value();
}

inline KeySet key_set(const crypto::SigningKey& key) {
  KeySet keys;
  static_cast<void>(keys.add(key.public_key()));
  return keys;
}

// sign_raw signs any header and payload texts.
inline std::string sign_raw(std::string_view header, std::string_view payload,
                            const crypto::SigningKey& key) {
  std::string token = to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload));
  const crypto::Signature signature = key.sign(as_bytes(token));
  return token + "." + signature.to_text();
}

// payload_of decodes the middle part of a token.
inline std::string payload_of(std::string_view token) {
  const std::size_t first = token.find('.') + 1;
  const std::size_t second = token.find('.', first);
  return std::string(as_text(from_base64url(token.substr(first, second - first)).value()));
}

// replaced returns `text` with the first `from` in it replaced; there must be one.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) return "nothing to replace in: " + text;
  return text.replace(at, from.size(), to);
}

}  // namespace zt::grant::test
