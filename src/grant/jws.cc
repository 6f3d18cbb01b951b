// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/jws.h"

#include <optional>
#include <utility>

#include "wire/json.h"
#include "zt/base/bytes.h"

namespace zt::grant {
namespace {

// Parts are the three texts of a compact serialisation, and what the last one signs.
struct Parts {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view signing_input;
};

std::optional<Parts> split(std::string_view token) {
  const std::size_t first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  return Parts{
      .header = token.substr(0, first),
      .payload = token.substr(first + 1, second - first - 1),
      .signature = token.substr(second + 1),  // A third dot is no base64url.
      .signing_input = token.substr(0, second),
  };
}

// check_header returns the key's id if the protected header is exactly one that we write.
std::expected<Digest, JwsError> check_header(std::string_view part, std::string_view type) {
  if (part.size() > kJwsHeaderSizeMax) return std::unexpected(JwsError::malformed);
  const auto decoded = from_base64url(part);
  if (!decoded) return std::unexpected(JwsError::malformed);
  const auto header = wire::parse_json(as_text(*decoded));
  if (!header || !header->is_object()) return std::unexpected(JwsError::malformed);
  if (!wire::has_exactly(*header, {"alg", "kid", "typ"})) {
    return std::unexpected(JwsError::wrong_header);
  }
  if (wire::text_member(*header, "alg") != "EdDSA")
    return std::unexpected(JwsError::wrong_algorithm);
  if (wire::text_member(*header, "typ") != type) return std::unexpected(JwsError::wrong_type);
  const auto kid_text = wire::text_member(*header, "kid");
  const auto kid = kid_text ? Digest::parse(*kid_text) : std::nullopt;
  if (!kid) return std::unexpected(JwsError::unknown_key);
  return *kid;
}

// Opened is a token whose form and header are right and whose signature nobody has looked at.
struct Opened {
  Parts parts;
  Digest kid;
};

std::expected<Opened, JwsError> open(std::string_view token, const JwsExpectations& expected) {
  if (token.size() > expected.size_max) return std::unexpected(JwsError::too_large);
  const std::optional<Parts> parts = split(token);
  if (!parts) return std::unexpected(JwsError::malformed);
  const std::expected<Digest, JwsError> kid = check_header(parts->header, expected.type);
  if (!kid) return std::unexpected(kid.error());
  return Opened{.parts = *parts, .kid = *kid};
}

}  // namespace

std::string_view to_text(JwsError error) {
  switch (error) {
    case JwsError::too_large:
      return "the token is too large";
    case JwsError::malformed:
      return "the token is malformed";
    case JwsError::wrong_header:
      return "the token's header has members that are not allowed, or lacks some";
    case JwsError::wrong_algorithm:
      return "the token's algorithm is not EdDSA";
    case JwsError::wrong_type:
      return "the token is of another type";
    case JwsError::unknown_key:
      return "the token is signed with an unknown key";
    case JwsError::bad_signature:
      return "the token's signature is wrong";
  }
  return "unknown";
}

std::string sign_jws(std::string_view type, std::string_view payload,
                     const crypto::SigningKey& key) {
  const wire::Json header = {
      {"alg", "EdDSA"}, {"kid", thumbprint(key.public_key()).to_text()}, {"typ", type}};
  std::string token = to_base64url(as_bytes(wire::json_text(header)));
  token += '.';
  token += to_base64url(as_bytes(payload));
  const crypto::Signature signature = key.sign(as_bytes(token));
  token += '.';
  token += signature.to_text();
  return token;
}

std::expected<std::string, JwsError> verify_jws(std::string_view token,
                                                const JwsExpectations& expected,
                                                const KeySet& keys) {
  const std::expected<Opened, JwsError> opened = open(token, expected);
  if (!opened) return std::unexpected(opened.error());
  const crypto::PublicKey* key = keys.find(opened->kid);
  if (key == nullptr) return std::unexpected(JwsError::unknown_key);
  const auto signature = crypto::Signature::parse(opened->parts.signature);
  if (!signature) return std::unexpected(JwsError::malformed);
  if (!key->verify(as_bytes(opened->parts.signing_input), *signature)) {
    return std::unexpected(JwsError::bad_signature);
  }
  const auto payload = from_base64url(opened->parts.payload);
  if (!payload) return std::unexpected(JwsError::malformed);
  return std::string(as_text(*payload));
}

std::expected<Digest, JwsError> key_id_of_jws(std::string_view token,
                                              const JwsExpectations& expected) {
  const std::expected<Opened, JwsError> opened = open(token, expected);
  if (!opened) return std::unexpected(opened.error());
  return opened->kid;
}

}  // namespace zt::grant
