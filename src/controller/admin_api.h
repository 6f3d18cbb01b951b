// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/admin_api.h: the administrators' REST API, below /api/v1/admin/.
//
// Theory of operation
//   An API key names the tenant and the author; nothing else does. Objects of all kinds work alike:
//
//     GET    KIND            {"items":[…],"next_cursor":…}; ?limit= (1 to 500), ?cursor=, ?name=
//     POST   KIND            201, the object
//     GET    KIND/ID         the object, with an ETag
//     PATCH  KIND/ID         the members to change
//     DELETE KIND/ID         204; 409 while something refers to it
//
//   PATCH and DELETE with If-Match answer 412 if the object has changed, and change nothing.
//   KIND is networks, connectors, relays, resources, groups, users, service-accounts,
//   devices, access-rules, api-keys, enrolment-tokens. Secrets are made here and shown once:
//
//     POST networks/ID/connector-tokens, POST relay-tokens    201 {"token":"zt1.…", …}
//     POST service-accounts/ID/keys                           201 {"file":"{…}", …}
//     POST api-keys                                           201 {"token":"zta_…", …}
//     GET service-accounts/ID/keys; PATCH service-accounts/ID/keys/ID; DELETE revokes it
//     GET groups/ID/members; PUT and DELETE groups/ID/members/SUBJECT
//     GET signing-keys; POST signing-keys/rotate
//     GET events, audit      newest first, with filters
//     GET explain            ?subject=ID&host=&port=&protocol=: a decision and what led to it
//
//   No change leaves a tenant without an API key that lets somebody in: the last valid one cannot
//   be deleted, and no `expires` may be in the past. A key that will expire counts until it does.
//
//   Every change is one transaction with its audit entry (see access.h).
//
// Limits   objects_per_table_max, members_per_tenant_max.

#include <string>
#include <string_view>

#include "controller/admin_objects.h"
#include "controller/node_api.h"

namespace zt::controller {

class AdminApi {
 public:
  // `nodes` says who is online.
  AdminApi(const ApiContext& context, const NodeApi& nodes) : context_(context), nodes_(nodes) {}

  // handle answers a request whose path begins with api, v1, admin.
  [[nodiscard]] Outcome handle(const Call& call);

 private:
  // Administrator is an authenticated request.
  struct Administrator {
    const Call& call;
    TenantId tenant;
    KeyId key;
    const TenantState& state;
  };

  [[nodiscard]] Attempt<Administrator> authenticate(const Call& call);
  [[nodiscard]] Outcome dispatch(const Administrator& admin);
  [[nodiscard]] Outcome dispatch_nested(const Administrator& admin);

  template <class Row>
  [[nodiscard]] Outcome objects(const Administrator& admin);
  template <class Row>
  [[nodiscard]] Outcome list(const Administrator& admin);
  template <class Row>
  [[nodiscard]] Outcome create(const Administrator& admin);
  template <class Row>
  [[nodiscard]] Outcome edit(const Administrator& admin, Row row);
  template <class Row>
  [[nodiscard]] Outcome remove(const Administrator& admin, const Row& row);
  template <class Row>
  [[nodiscard]] Attempt<void> insert_and_commit(const Administrator& admin, const Row& row,
                                                const wire::Json& detail);
  template <class Row>
  [[nodiscard]] Attempt<void> require_room(const Administrator& admin);
  template <class Row>
  [[nodiscard]] wire::Json shown(const Administrator& admin, const Row& row) const;
  [[nodiscard]] static Attempt<void> require_no_references(const Administrator& admin,
                                                           const std::string& id);
  [[nodiscard]] Attempt<void> require_other_live_key(const Administrator& admin, const KeyId& key);

  [[nodiscard]] static Outcome members(const Administrator& admin, const Group& group);
  [[nodiscard]] Outcome member(const Administrator& admin, const Group& group);
  [[nodiscard]] Outcome keys(const Administrator& admin, const ServiceAccount& account);
  [[nodiscard]] Outcome create_key(const Administrator& admin, const ServiceAccount& account);
  [[nodiscard]] Outcome key(const Administrator& admin, const ServiceAccount& account);
  [[nodiscard]] Outcome change_key(const Administrator& admin, ServiceAccountKey row,
                                   std::string_view verb);
  [[nodiscard]] Outcome create_api_key(const Administrator& admin);
  [[nodiscard]] Outcome create_token(const Administrator& admin, EnrolmentTokenRow row);
  [[nodiscard]] static Outcome signing_keys(const Administrator& admin);
  [[nodiscard]] Outcome rotate_signing_key(const Administrator& admin);
  [[nodiscard]] Outcome events(const Administrator& admin);
  [[nodiscard]] Outcome audit(const Administrator& admin);
  [[nodiscard]] Outcome explain(const Administrator& admin);

  ApiContext context_;
  const NodeApi& nodes_;
};

}  // namespace zt::controller
