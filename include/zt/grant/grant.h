// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/grant.h: the signed permission to open flows to one resource.
//
// Theory of operation
//   A grant is a JWT (RFC 7519) of `typ` zt-grant+jwt. It opens one resource, at concrete hosts,
//   for one client key, in one remote network, for minutes; a flow is carried while now < exp. Its
//   claims are exactly these, all of them required and none other allowed:
//
//     iss  tenant                    sub  subject (usr_… or svc_…)     dev  device
//     aud  remote network            jti  the grant's own id           iat, nbf, exp  NumericDates
//     cnf  {"x5t#S256": digest of the client's certificate} (RFC 8705 section 3.1)
//     rev  policy revision           dec  the decision's id
//     authorization_details (RFC 9396): [{"type":"zt-resource","resource":"res_…",
//       "hosts":["db.internal"],"protocols":["tcp"],"ports":["5432","8000-8100"]}, …]
//
//   An unknown claim is refused because it may be a restriction that this version does not know.
//   Several permissions (such as TCP 5432 and UDP 53) stand in one grant only for one resource.
//
// Time     `exp` is exact: no leeway ever makes a grant live longer than was signed. `nbf` and
// `iat`
//          may lie up to `leeway` ahead of our clock, because the issuer's may be ahead of it.
// Limits   kPermissionsMax, kHostsMax, kPortsMax, kTokenSizeMax, kLifetimeMax.
// Threats  Stolen: useless without the key of `cnf`. Replayed elsewhere: `iss`, `aud`, `cnf`.
// Forged:
//          jws.h. A flow also needs the connector's own configuration: a grant alone opens no door.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/signing_key.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/protocol.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"
#include "zt/grant/jwk.h"

namespace zt::grant {

// Permission allows each of `protocols` to each of `ports` at each of `hosts`.
struct Permission {
  std::vector<Host> hosts;
  std::vector<Protocol> protocols;
  std::vector<PortRange> ports;

  friend bool operator==(const Permission&, const Permission&) = default;
};

struct Grant {
  static constexpr std::size_t kPermissionsMax = 4;
  static constexpr std::size_t kHostsMax = 4;   // In one permission.
  static constexpr std::size_t kPortsMax = 64;  // Ranges in one permission.
  static constexpr std::chrono::hours kLifetimeMax{1};

  TenantId tenant;
  SubjectId subject;
  DeviceId device;
  NetworkId network;
  GrantId id;
  UnixTime issued_at;  // These three are whole seconds in the token: parts of seconds are cut.
  UnixTime not_before;
  UnixTime expires_at;
  Digest client_certificate;
  std::uint64_t policy_revision = 0;  // Below 2^53.
  DecisionId decision;
  ResourceId resource;
  std::vector<Permission> permissions;

  friend bool operator==(const Grant&, const Grant&) = default;
};

// GrantError says why a grant opens nothing. The token's errors come first, as in JwsError.
enum class GrantError : std::uint8_t {
  too_large,
  malformed,  // The token's form, or a claim that is missing, unknown, repeated or out of range.
  wrong_header,
  wrong_algorithm,
  wrong_type,
  unknown_key,
  bad_signature,
  unknown_authorization,  // An authorization type that this version does not understand.
  wrong_tenant,           // Signed for another tenant.
  wrong_audience,         // For another remote network.
  wrong_client_key,       // For another client certificate than the one on this connection.
  lifetime_too_long,      // exp - iat is above kLifetimeMax.
  not_yet_valid,          // nbf or iat is ahead of our clock by more than the leeway.
  expired,                // exp has come. Ask the controller for a new one.
};

// to_text returns a sentence without a full stop: "the grant has expired".
[[nodiscard]] std::string_view to_text(GrantError error);

// issue signs a grant. It fails with what verify would say of the result on the ground of its form:
// `malformed`, `too_large` or `lifetime_too_long`.
[[nodiscard]] std::expected<Secret, GrantError> issue(const Grant& grant,
                                                      const crypto::SigningKey& key);

// GrantExpectations is who the verifier is, who stands before it, and when.
struct GrantExpectations {
  static constexpr std::chrono::seconds kLeewayMax{30};

  TenantId tenant;
  NetworkId network;
  Digest client_certificate;  // From the TLS session that presents the grant.
  UnixTime now;
  std::chrono::seconds leeway = kLeewayMax;  // Of nbf and iat; clamped to 0…kLeewayMax.
};

// verify returns the grant of a token if every claim holds. If several do not, the error is the
// first in the order of GrantError.
[[nodiscard]] std::expected<Grant, GrantError> verify(std::string_view token, const KeySet& keys,
                                                      const GrantExpectations& expected);

// mismatch judges a grant that was verified before once more, for the time and the one who shows it
// now: nothing else about a signed text can change.
[[nodiscard]] std::optional<GrantError> mismatch(const Grant& grant,
                                                 const GrantExpectations& expected);

// covers tells whether `grant` allows a flow to `target`. Hosts compare as they are written: a name
// never covers an address, and no IPv6 disguise of an IPv4 address covers it. Time is not looked
// at.
[[nodiscard]] bool covers(const Grant& grant, const Authority& target, Protocol protocol);

}  // namespace zt::grant
