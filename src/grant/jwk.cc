// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/jwk.h"

#include <optional>

#include "crypto/hash.h"
#include "wire/json.h"
#include "zt/base/bytes.h"

namespace zt::grant {
namespace {

bool is_absent_or(const wire::Json& jwk, const char* name, std::string_view value) {
  return !jwk.contains(name) || wire::text_member(jwk, name) == value;
}

// parse_key reads a key that claims to be OKP/Ed25519.
std::optional<crypto::PublicKey> parse_key(const wire::Json& jwk) {
  if (jwk.contains("d"))
    return std::nullopt;  // A private key: whoever sent it must make a new one.
  if (!is_absent_or(jwk, "use", "sig") || !is_absent_or(jwk, "alg", "EdDSA")) return std::nullopt;
  const auto x = wire::text_member(jwk, "x");
  const auto kid = wire::text_member(jwk, "kid");
  if (!x || !kid) return std::nullopt;
  const auto raw = crypto::PublicKeyBytes::parse(*x);
  if (!raw) return std::nullopt;
  const crypto::PublicKey key{*raw};
  if (thumbprint(key).to_text() != *kid) return std::nullopt;
  return key;
}

}  // namespace

Digest thumbprint(const crypto::PublicKey& key) {
  // The required members in lexicographic order, without white space (RFC 7638 section 3.2).
  const std::string canonical = R"({"crv":"Ed25519","kty":"OKP","x":")" + key.raw.to_text() + "\"}";
  return crypto::sha256(as_bytes(canonical));
}

std::expected<KeySet, KeySetError> KeySet::parse(std::string_view json) {
  if (json.size() > kKeySetSizeMax) return std::unexpected(KeySetError::too_large);
  const auto value = wire::parse_json(json);
  if (!value || !value->is_object() || !value->contains("keys")) {
    return std::unexpected(KeySetError::malformed);
  }
  const wire::Json& keys = (*value)["keys"];
  if (!keys.is_array()) return std::unexpected(KeySetError::malformed);
  if (keys.size() > kKeysMax) return std::unexpected(KeySetError::too_large);
  KeySet set;
  for (const wire::Json& jwk : keys) {
    const auto type = wire::text_member(jwk, "kty");
    if (!type) return std::unexpected(KeySetError::malformed);
    if (type != "OKP" || wire::text_member(jwk, "crv") != "Ed25519") continue;
    const std::optional<crypto::PublicKey> key = parse_key(jwk);
    if (!key || set.find(thumbprint(*key)) != nullptr || !set.add(*key)) {
      return std::unexpected(KeySetError::malformed);
    }
  }
  return set;
}

std::string KeySet::to_json() const {
  wire::Json keys = wire::Json::array();
  for (const auto& [kid, key] : keys_) {
    keys.push_back({{"kty", "OKP"},
                    {"crv", "Ed25519"},
                    {"x", key.raw.to_text()},
                    {"kid", kid.to_text()},
                    {"use", "sig"},
                    {"alg", "EdDSA"}});
  }
  return wire::json_text(wire::Json{{"keys", std::move(keys)}});
}

bool KeySet::add(const crypto::PublicKey& key) {
  const Digest kid = thumbprint(key);
  if (keys_.contains(kid)) return true;
  if (keys_.size() >= kKeysMax) return false;
  keys_.emplace(kid, key);
  return true;
}

const crypto::PublicKey* KeySet::find(const Digest& kid) const {
  const auto found = keys_.find(kid);
  return found == keys_.end() ? nullptr : &found->second;
}

}  // namespace zt::grant
