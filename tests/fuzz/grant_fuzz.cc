// SPDX-License-Identifier: Apache-2.0
// The first byte chooses a verifier, the rest is either a whole token (of a stranger) or a payload
// that our own key signs, so that the claims are reached too. What is accepted means the same when
// it is issued again.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/secret.h"
#include "zt/grant/grant.h"
#include "zt/grant/jws.h"
#include "zt/grant/node_config.h"
#include "zt/grant/relay_token.h"

namespace zt::grant {
namespace {

constexpr UnixTime kNow = from_unix_seconds(1'800'000'000);

// Party is the tenant and the verifier that the corpus is made for.
struct Party {
  crypto::SigningKey key = crypto::SigningKey::from_seed(Secret(std::string(32, 'a'))).value();
  TenantId tenant{"ten_00000000000000000000000000"};
  KeySet keys;
  Digest certificate;  // All zero.

  Party() { ZT_ASSERT(keys.add(key.public_key())); }
};

void check_grant(const Party& party, std::string_view token) {
  const GrantExpectations expected{
      .tenant = party.tenant,
      .network = {"net_00000000000000000000000000"},
      .client_certificate = party.certificate,
      .now = kNow,
  };
  const auto grant = verify(token, party.keys, expected);
  if (!grant) return;
  ZT_ASSERT(kNow < grant->expires_at);
  const auto again = issue(*grant, party.key);
  ZT_ASSERT(again.has_value());
  ZT_ASSERT(verify(again->reveal(), party.keys, expected) == grant);
}

void check_relay_token(const Party& party, std::string_view token) {
  const RelayTokenExpectations expected{.node_certificate = party.certificate, .now = kNow};
  const TenantKeys tenants = {{party.tenant, party.keys}};
  const auto relay_token = verify(token, tenants, expected);
  if (!relay_token) return;
  ZT_ASSERT(kNow < relay_token->expires_at);
  const auto again = issue(*relay_token, party.key);
  ZT_ASSERT(again.has_value());
  ZT_ASSERT(verify(again->reveal(), tenants, expected) == relay_token);
}

void check_config(const Party& party, std::string_view token) {
  const NodeConfigExpectations expected{
      .tenant = party.tenant,
      .node = {"con_00000000000000000000000000"},
      .now = kNow,
  };
  const auto config = verify(token, party.keys, expected);
  if (!config) return;
  ResourceTable table;
  static_cast<void>(apply(table, *config));  // Any answer will do.
  const auto again = issue(*config, party.key);
  ZT_ASSERT(again.has_value());
  ZT_ASSERT(verify(*again, party.keys, expected) == config);
}

void run(const Party& party, char choice, std::string_view rest) {
  switch (choice) {
    case 'G':
      return check_grant(party, rest);
    case 'g':
      return check_grant(party, sign_jws("zt-grant+jwt", rest, party.key));
    case 'R':
      return check_relay_token(party, rest);
    case 'r':
      return check_relay_token(party, sign_jws("zt-relay+jwt", rest, party.key));
    case 'C':
      return check_config(party, rest);
    case 'c':
      return check_config(party, sign_jws("zt-config+jwt", rest, party.key));
    default:
      return;
  }
}

}  // namespace
}  // namespace zt::grant

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const zt::grant::Party party;
  const std::string_view input = zt::as_text(std::as_bytes(std::span(data, size)));
  if (!input.empty()) zt::grant::run(party, input.front(), input.substr(1));
  return 0;
}
