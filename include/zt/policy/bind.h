// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/bind.h: may this node bind a route at this relay?
//
// Theory of operation
//   A relay knows the tenants that it serves and the certificates that were blocked; a relay token
//   knows its tenant, its node's certificate and its time. A node may bind if the tenant is served,
//   the certificate presents itself and is not blocked, and not_before <= now < expires. Who holds
//   a route already, and how many there may be, is the relay's own business. The token's signature
//   has been verified before.

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "zt/base/ids.h"
#include "zt/base/time.h"

namespace zt::policy {

struct BindPolicy {
  std::set<TenantId> tenants;  // That this relay serves.
  std::set<Digest> blocked_certificates;
};

struct BindRequest {
  TenantId tenant;  // These four are the token's claims.
  Digest token_certificate;
  UnixTime not_before;
  UnixTime expires;
  Digest certificate;  // Of the connection.
};

// BindVerdict: the order is the order of judgement.
enum class BindVerdict : std::uint8_t {
  allowed,
  wrong_certificate,  // The token belongs to another node.
  unknown_tenant,
  blocked,
  not_yet_valid,
  expired,
};

[[nodiscard]] BindVerdict judge_bind(const BindPolicy& policy, const BindRequest& request,
                                     UnixTime now);

// to_text returns a sentence without a full stop: "the relay token has expired".
[[nodiscard]] std::string_view to_text(BindVerdict verdict);

}  // namespace zt::policy
