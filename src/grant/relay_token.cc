// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/relay_token.h"

#include <algorithm>
#include <optional>
#include <string>

#include "grant/claims.h"
#include "wire/json.h"
#include "zt/grant/jws.h"

namespace zt::grant {
namespace {

constexpr std::string_view kType = "zt-relay+jwt";
constexpr std::string_view kAudience = "zt-relay";

wire::Json to_claims(const RelayToken& token) {
  wire::Json claims;
  claims["iss"] = token.tenant.text;
  claims["aud"] = kAudience;
  claims["rid"] = token.route.to_text();
  claims["cnf"] = to_confirmation(token.node_certificate);
  set_validity(claims, {.issued_at = token.issued_at,
                        .not_before = token.not_before,
                        .expires_at = token.expires_at});
  return claims;
}

// parse_claims checks the form; the audience is the caller's, as it has an error of its own.
std::optional<RelayToken> parse_claims(const wire::Json& claims) {
  if (!wire::has_exactly(claims, {"iss", "aud", "rid", "cnf", "iat", "nbf", "exp"}))
    return std::nullopt;
  RelayToken token;
  if (!id_member(claims, "iss", token.tenant)) return std::nullopt;
  const auto route_text = wire::text_member(claims, "rid");
  const auto route = route_text ? RouteId::parse(*route_text) : std::nullopt;
  const auto certificate = confirmation_of(claims);
  const auto validity = validity_of(claims);
  if (!route || !certificate || !validity || !wire::text_member(claims, "aud")) return std::nullopt;
  token.route = *route;
  token.node_certificate = *certificate;
  token.issued_at = validity->issued_at;
  token.not_before = validity->not_before;
  token.expires_at = validity->expires_at;
  return token;
}

std::optional<RelayTokenError> mismatch(const RelayToken& token,
                                        const RelayTokenExpectations& expected) {
  const auto has_begun_here = [&](UnixTime time) {
    return has_begun(time, expected.now, expected.leeway, RelayTokenExpectations::kLeewayMax);
  };
  if (token.node_certificate != expected.node_certificate) return RelayTokenError::wrong_node_key;
  if (token.expires_at - token.issued_at > RelayToken::kLifetimeMax) {
    return RelayTokenError::lifetime_too_long;
  }
  if (!has_begun_here(token.not_before) || !has_begun_here(token.issued_at)) {
    return RelayTokenError::not_yet_valid;
  }
  if (expected.now >= token.expires_at) return RelayTokenError::expired;
  return std::nullopt;
}

bool knows(const KeySet& keys, const Digest& kid) {
  return keys.find(kid) != nullptr;
}

}  // namespace

std::string_view to_text(RelayTokenError error) {
  switch (error) {
    case RelayTokenError::too_large:
      return "the relay token is too large";
    case RelayTokenError::malformed:
      return "the relay token is malformed";
    case RelayTokenError::wrong_header:
      return "the relay token's header has members that are not allowed, or lacks some";
    case RelayTokenError::wrong_algorithm:
      return "the relay token's algorithm is not EdDSA";
    case RelayTokenError::wrong_type:
      return "the token is not a relay token";
    case RelayTokenError::unknown_key:
      return "the relay token is signed with an unknown key";
    case RelayTokenError::bad_signature:
      return "the relay token's signature is wrong";
    case RelayTokenError::wrong_tenant:
      return "the relay token is signed with another tenant's key";
    case RelayTokenError::wrong_audience:
      return "the relay token is not for relays";
    case RelayTokenError::wrong_node_key:
      return "the relay token is bound to another node's key";
    case RelayTokenError::lifetime_too_long:
      return "the relay token lives longer than is allowed";
    case RelayTokenError::not_yet_valid:
      return "the relay token is not yet valid";
    case RelayTokenError::expired:
      return "the relay token has expired";
  }
  return "unknown";
}

std::expected<Secret, RelayTokenError> issue(const RelayToken& token,
                                             const crypto::SigningKey& key) {
  const std::string payload = wire::json_text(to_claims(token));
  const auto claims = wire::parse_json(payload);
  const std::optional<RelayToken> parsed = claims ? parse_claims(*claims) : std::nullopt;
  if (!parsed) return std::unexpected(RelayTokenError::malformed);
  if (parsed->expires_at - parsed->issued_at > RelayToken::kLifetimeMax) {
    return std::unexpected(RelayTokenError::lifetime_too_long);
  }
  return Secret(sign_jws(kType, payload, key));
}

std::expected<RelayToken, RelayTokenError> verify(std::string_view token, const TenantKeys& tenants,
                                                  const RelayTokenExpectations& expected) {
  const JwsExpectations form{.type = kType};
  const auto kid = key_id_of_jws(token, form);
  if (!kid) return std::unexpected(from_jws_error<RelayTokenError>(kid.error()));

  // Which tenant has the key does not matter yet: a thumbprint names one key wherever it stands.
  const auto holder =
      std::ranges::find_if(tenants, [&](const auto& entry) { return knows(entry.second, *kid); });
  if (holder == tenants.end()) return std::unexpected(RelayTokenError::unknown_key);
  const auto payload = verify_jws(token, form, holder->second);
  if (!payload) return std::unexpected(from_jws_error<RelayTokenError>(payload.error()));

  const auto claims = wire::parse_json(*payload);
  const std::optional<RelayToken> parsed = claims ? parse_claims(*claims) : std::nullopt;
  if (!parsed) return std::unexpected(RelayTokenError::malformed);
  const auto tenant = tenants.find(parsed->tenant);
  if (tenant == tenants.end() || !knows(tenant->second, *kid)) {
    return std::unexpected(RelayTokenError::wrong_tenant);
  }
  if (wire::text_member(*claims, "aud") != kAudience) {
    return std::unexpected(RelayTokenError::wrong_audience);
  }
  if (const auto error = mismatch(*parsed, expected)) return std::unexpected(*error);
  return *parsed;
}

}  // namespace zt::grant
