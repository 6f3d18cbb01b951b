// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/bind.h"

namespace zt::policy {

BindVerdict judge_bind(const BindPolicy& policy, const BindRequest& request, UnixTime now) {
  if (request.certificate != request.token_certificate) return BindVerdict::wrong_certificate;
  if (!policy.tenants.contains(request.tenant)) return BindVerdict::unknown_tenant;
  if (policy.blocked_certificates.contains(request.certificate)) return BindVerdict::blocked;
  if (now < request.not_before) return BindVerdict::not_yet_valid;
  if (now >= request.expires) return BindVerdict::expired;
  return BindVerdict::allowed;
}

std::string_view to_text(BindVerdict verdict) {
  switch (verdict) {
    case BindVerdict::allowed:
      return "the node may bind";
    case BindVerdict::wrong_certificate:
      return "the relay token belongs to another node";
    case BindVerdict::unknown_tenant:
      return "this relay does not serve the tenant";
    case BindVerdict::blocked:
      return "the node is blocked";
    case BindVerdict::not_yet_valid:
      return "the relay token is not yet valid";
    case BindVerdict::expired:
      return "the relay token has expired";
  }
  return "the node may not bind";
}

}  // namespace zt::policy
