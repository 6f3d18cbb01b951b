// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/jwk.h: the public keys of a tenant, as a JSON Web Key Set (RFC 7517, RFC 8037).
//
// Theory of operation
//   A key's name (`kid`) is its thumbprint (RFC 7638), so that a name can stand for one key only.
//   Keys rotate by overlap: the set holds the next key before anything is signed with it, and the
//   last one until everything that it signed has expired.
//
// Limits   kKeysMax keys, kKeySetSizeMax bytes of text.
// Threats  A set that names a key wrongly, twice, or gives away a private key is refused whole.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/base/ids.h"

namespace zt::grant {

// thumbprint returns the `kid` of an Ed25519 key (RFC 7638 section 3, RFC 8037 section 2).
[[nodiscard]] Digest thumbprint(const crypto::PublicKey& key);

enum class KeySetError : std::uint8_t {
  malformed,  // Not a JWKS, or one with a key that must not be believed. Keep the set you have.
  too_large,  // Above kKeySetSizeMax bytes or kKeysMax keys. Keep the set you have.
};

// KeySet is a value: public keys by thumbprint.
class KeySet {
 public:
  static constexpr std::size_t kKeysMax = 16;
  static constexpr std::size_t kKeySetSizeMax = std::size_t{16} * 1024;

  // parse reads {"keys":[…]}. Keys of another type than OKP/Ed25519 are passed over (RFC 7517
  // section 5): they verify nothing. A key of ours needs `x` and a `kid` that is its thumbprint;
  // `use` and `alg`, if given, must be "sig" and "EdDSA".
  [[nodiscard]] static std::expected<KeySet, KeySetError> parse(std::string_view json);

  // to_json writes what parse reads, ordered by thumbprint.
  [[nodiscard]] std::string to_json() const;

  // add puts a key into the set; it returns false if the set is full. A known key changes nothing.
  [[nodiscard]] bool add(const crypto::PublicKey& key);

  // remove takes a key out of the set, if it is there.
  void remove(const Digest& kid) { keys_.erase(kid); }

  // find returns the key, or null. The pointer lives until the set changes.
  [[nodiscard]] const crypto::PublicKey* find(const Digest& kid) const;

  [[nodiscard]] std::size_t size() const { return keys_.size(); }
  [[nodiscard]] bool is_empty() const { return keys_.empty(); }
  [[nodiscard]] const std::map<Digest, crypto::PublicKey>& keys() const { return keys_; }
  friend bool operator==(const KeySet&, const KeySet&) = default;

 private:
  std::map<Digest, crypto::PublicKey> keys_;
};

}  // namespace zt::grant
