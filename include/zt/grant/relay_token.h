// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/relay_token.h: the signed permission to bind a route at a relay.
//
// Theory of operation
//   A JWT of `typ` zt-relay+jwt that a relay verifies offline. It tells the relay nothing that it
//   does not need: which tenant (an opaque id), which route id, which certificate, until when. Its
//   claims are exactly iss (tenant), aud ("zt-relay"), rid (route id, base64url), cnf {"x5t#S256":
//   digest of the node's certificate}, iat, nbf, exp.
//
//   A relay serves many tenants, each with its keys. A token is believed only if the key that
//   signed it belongs to the tenant that it names, so that no tenant can bind a route for another.
//
// Time     As in grant.h: `exp` is exact, `nbf` and `iat` have a leeway.
// Limits   kTokenSizeMax, kLifetimeMax.

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"
#include "zt/grant/jwk.h"

namespace zt::grant {

struct RelayToken {
  static constexpr std::chrono::hours kLifetimeMax{24};

  TenantId tenant;
  RouteId route;
  Digest node_certificate;
  UnixTime issued_at;  // Whole seconds in the token: parts of seconds are cut.
  UnixTime not_before;
  UnixTime expires_at;

  friend bool operator==(const RelayToken&, const RelayToken&) = default;
};

// RelayTokenError says why nothing is bound. The token's errors come first, as in JwsError.
enum class RelayTokenError : std::uint8_t {
  too_large,
  malformed,
  wrong_header,
  wrong_algorithm,
  wrong_type,
  unknown_key,
  bad_signature,
  wrong_tenant,    // Signed with another tenant's key.
  wrong_audience,  // Not for relays.
  wrong_node_key,  // For another certificate than the one on this connection.
  lifetime_too_long,
  not_yet_valid,
  expired,
};

// to_text returns a sentence without a full stop: "the relay token has expired".
[[nodiscard]] std::string_view to_text(RelayTokenError error);

// issue signs a relay token. It fails with `malformed` or `lifetime_too_long`.
[[nodiscard]] std::expected<Secret, RelayTokenError> issue(const RelayToken& token,
                                                           const crypto::SigningKey& key);

// TenantKeys is what a relay knows: the keys of each tenant that it serves.
using TenantKeys = std::map<TenantId, KeySet>;

struct RelayTokenExpectations {
  static constexpr std::chrono::seconds kLeewayMax{30};

  Digest node_certificate;  // From the TLS session that presents the token.
  UnixTime now;
  std::chrono::seconds leeway = kLeewayMax;  // Of nbf and iat; clamped to 0…kLeewayMax.
};

// verify returns the relay token if every claim holds; else the first error in the order of
// RelayTokenError.
[[nodiscard]] std::expected<RelayToken, RelayTokenError> verify(
    std::string_view token, const TenantKeys& tenants, const RelayTokenExpectations& expected);

}  // namespace zt::grant
