// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/grant.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "grant/claims.h"
#include "wire/json.h"
#include "zt/grant/jws.h"

namespace zt::grant {
namespace {

constexpr std::string_view kType = "zt-grant+jwt";
constexpr std::string_view kAuthorizationType = "zt-resource";

wire::Json to_details(const Grant& grant) {
  wire::Json details = wire::Json::array();
  for (const Permission& permission : grant.permissions) {
    wire::Json hosts = wire::Json::array();
    for (const Host& host : permission.hosts) hosts.push_back(to_text(host));
    wire::Json protocols = wire::Json::array();
    for (const Protocol protocol : permission.protocols) protocols.push_back(to_text(protocol));
    wire::Json detail;
    detail["type"] = kAuthorizationType;
    detail["resource"] = grant.resource.text;
    detail["hosts"] = std::move(hosts);
    detail["protocols"] = std::move(protocols);
    detail["ports"] = to_ports(permission.ports);
    details.push_back(std::move(detail));
  }
  return details;
}

wire::Json to_claims(const Grant& grant) {
  wire::Json claims;
  claims["iss"] = grant.tenant.text;
  claims["sub"] = grant.subject.text;
  claims["dev"] = grant.device.text;
  claims["aud"] = grant.network.text;
  claims["jti"] = grant.id.text;
  claims["cnf"] = to_confirmation(grant.client_certificate);
  claims["rev"] = grant.policy_revision;
  claims["dec"] = grant.decision.text;
  claims["authorization_details"] = to_details(grant);
  set_validity(claims, {.issued_at = grant.issued_at,
                        .not_before = grant.not_before,
                        .expires_at = grant.expires_at});
  return claims;
}

std::optional<std::vector<Host>> hosts_of(const wire::Json& detail) {
  const wire::Json* list = wire::array_member(detail, "hosts", Grant::kHostsMax);
  if (list == nullptr || list->empty()) return std::nullopt;
  std::vector<Host> hosts;
  for (const wire::Json& entry : *list) {
    if (!entry.is_string()) return std::nullopt;
    const auto& text = entry.get_ref<const std::string&>();
    auto host = parse_host(text);
    if (!host || to_text(*host) != text) return std::nullopt;  // One host, one spelling.
    hosts.push_back(std::move(*host));
  }
  return hosts;
}

std::optional<std::vector<Protocol>> protocols_of(const wire::Json& detail) {
  const wire::Json* list = wire::array_member(detail, "protocols", 2);
  if (list == nullptr || list->empty()) return std::nullopt;
  std::vector<Protocol> protocols;
  for (const wire::Json& entry : *list) {
    if (!entry.is_string()) return std::nullopt;
    const auto protocol = parse_protocol(entry.get_ref<const std::string&>());
    if (!protocol || std::ranges::count(protocols, *protocol) != 0) return std::nullopt;
    protocols.push_back(*protocol);
  }
  return protocols;
}

// read_details reads authorization_details (RFC 9396 section 2) into `grant`.
std::optional<GrantError> read_details(const wire::Json& claims, Grant& grant) {
  const wire::Json* details =
      wire::array_member(claims, "authorization_details", Grant::kPermissionsMax);
  if (details == nullptr || details->empty()) return GrantError::malformed;
  for (const wire::Json& detail : *details) {
    const auto type = wire::text_member(detail, "type");
    if (!type) return GrantError::malformed;
    if (type != kAuthorizationType) return GrantError::unknown_authorization;
    if (!wire::has_exactly(detail, {"type", "resource", "hosts", "protocols", "ports"})) {
      return GrantError::malformed;
    }
    ResourceId resource;
    auto hosts = hosts_of(detail);
    auto protocols = protocols_of(detail);
    auto ports = ports_of(detail["ports"], Grant::kPortsMax);
    if (!id_member(detail, "resource", resource) || !hosts || !protocols || !ports) {
      return GrantError::malformed;
    }
    const bool is_first = grant.permissions.empty();
    if (!is_first && resource != grant.resource) return GrantError::malformed;
    grant.resource = std::move(resource);
    grant.permissions.push_back({
        .hosts = std::move(*hosts),
        .protocols = std::move(*protocols),
        .ports = std::move(*ports),
    });
  }
  return std::nullopt;
}

bool read_subject(const wire::Json& claims, SubjectId& subject) {
  const auto text = wire::text_member(claims, "sub");
  if (!text || (!parse_id_as<UserIdTag>(*text) && !parse_id_as<ServiceAccountIdTag>(*text))) {
    return false;
  }
  subject = SubjectId{std::string(*text)};
  return true;
}

// parse_claims checks everything that can be told from the payload alone.
std::expected<Grant, GrantError> parse_claims(std::string_view payload) {
  const auto malformed = std::unexpected(GrantError::malformed);
  const auto claims = wire::parse_json(payload);
  if (!claims ||
      !wire::has_exactly(*claims, {"iss", "sub", "dev", "aud", "jti", "iat", "nbf", "exp", "cnf",
                                   "rev", "dec", "authorization_details"})) {
    return malformed;
  }
  Grant grant;
  if (!id_member(*claims, "iss", grant.tenant) || !read_subject(*claims, grant.subject) ||
      !id_member(*claims, "dev", grant.device) || !id_member(*claims, "aud", grant.network) ||
      !id_member(*claims, "jti", grant.id) || !id_member(*claims, "dec", grant.decision)) {
    return malformed;
  }
  const auto certificate = confirmation_of(*claims);
  const auto revision = wire::integer_member(*claims, "rev");
  const auto validity = validity_of(*claims);
  if (!certificate || !revision || !validity) return malformed;
  grant.client_certificate = *certificate;
  grant.policy_revision = *revision;
  grant.issued_at = validity->issued_at;
  grant.not_before = validity->not_before;
  grant.expires_at = validity->expires_at;
  if (const auto error = read_details(*claims, grant)) return std::unexpected(*error);
  return grant;
}

}  // namespace

std::string_view to_text(GrantError error) {
  switch (error) {
    case GrantError::too_large:
      return "the grant is too large";
    case GrantError::malformed:
      return "the grant is malformed";
    case GrantError::wrong_header:
      return "the grant's header has members that are not allowed, or lacks some";
    case GrantError::wrong_algorithm:
      return "the grant's algorithm is not EdDSA";
    case GrantError::wrong_type:
      return "the token is not a grant";
    case GrantError::unknown_key:
      return "the grant is signed with an unknown key";
    case GrantError::bad_signature:
      return "the grant's signature is wrong";
    case GrantError::unknown_authorization:
      return "the grant has an authorization of an unknown type";
    case GrantError::wrong_tenant:
      return "the grant is for another tenant";
    case GrantError::wrong_audience:
      return "the grant is for another network";
    case GrantError::wrong_client_key:
      return "the grant is bound to another client key";
    case GrantError::lifetime_too_long:
      return "the grant lives longer than is allowed";
    case GrantError::not_yet_valid:
      return "the grant is not yet valid";
    case GrantError::expired:
      return "the grant has expired";
  }
  return "unknown";
}

std::expected<Secret, GrantError> issue(const Grant& grant, const crypto::SigningKey& key) {
  const std::string payload = wire::json_text(to_claims(grant));
  const std::expected<Grant, GrantError> parsed = parse_claims(payload);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->expires_at - parsed->issued_at > Grant::kLifetimeMax) {
    return std::unexpected(GrantError::lifetime_too_long);
  }
  Secret token(sign_jws(kType, payload, key));
  if (token.reveal().size() > kTokenSizeMax) return std::unexpected(GrantError::too_large);
  return token;
}

std::expected<Grant, GrantError> verify(std::string_view token, const KeySet& keys,
                                        const GrantExpectations& expected) {
  const auto payload = verify_jws(token, {.type = kType}, keys);
  if (!payload) return std::unexpected(from_jws_error<GrantError>(payload.error()));
  std::expected<Grant, GrantError> grant = parse_claims(*payload);
  if (!grant) return grant;
  if (const auto error = mismatch(*grant, expected)) return std::unexpected(*error);
  return grant;
}

std::optional<GrantError> mismatch(const Grant& grant, const GrantExpectations& expected) {
  const auto has_begun_here = [&](UnixTime time) {
    return has_begun(time, expected.now, expected.leeway, GrantExpectations::kLeewayMax);
  };
  if (grant.tenant != expected.tenant) return GrantError::wrong_tenant;
  if (grant.network != expected.network) return GrantError::wrong_audience;
  if (grant.client_certificate != expected.client_certificate) return GrantError::wrong_client_key;
  if (grant.expires_at - grant.issued_at > Grant::kLifetimeMax) {
    return GrantError::lifetime_too_long;
  }
  if (!has_begun_here(grant.not_before) || !has_begun_here(grant.issued_at)) {
    return GrantError::not_yet_valid;
  }
  if (expected.now >= grant.expires_at) return GrantError::expired;
  return std::nullopt;
}

bool covers(const Grant& grant, const Authority& target, Protocol protocol) {
  return std::ranges::any_of(grant.permissions, [&](const Permission& permission) {
    return std::ranges::count(permission.hosts, target.host) != 0 &&
           std::ranges::count(permission.protocols, protocol) != 0 &&
           std::ranges::any_of(permission.ports,
                               [&](const PortRange& range) { return range.contains(target.port); });
  });
}

}  // namespace zt::grant
