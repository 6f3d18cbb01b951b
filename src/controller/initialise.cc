// SPDX-License-Identifier: Apache-2.0
#include "controller/initialise.h"

#include <utility>

#include "controller/api_key.h"
#include "controller/key_ring.h"
#include "crypto/hash.h"

namespace zt::controller {

namespace {

using crypto::CertificateAuthority;
using crypto::Identity;

std::vector<std::string> texts_of(const std::vector<Host>& hosts) {
  std::vector<std::string> texts;
  texts.reserve(hosts.size());
  for (const Host& host : hosts) texts.push_back(to_text(host));
  return texts;
}

Installation row_of(const CertificateAuthority& authority, const Identity& https,
                    const std::vector<Host>& hosts) {
  return {.authority_certificate = authority.certificate_pem(),
          .authority_key = authority.key_pem(),
          .https_certificate = https.certificate_pem(),
          .https_key = https.key_pem(),
          .https_hosts = texts_of(hosts)};
}

StoreResult<Initialised> first_start(Store& store, const InitialiseOptions& options, Random& random,
                                     UnixTime now) {
  const auto authority = CertificateAuthority::create("zt installation CA", now);
  Identity https = authority.issue_server(options.hosts, now);
  const Tenant tenant{
      .id = make_id<TenantIdTag>(random), .name = options.tenant_name, .created = now};
  Secret api_key = make_api_key(random);
  const ApiKey row{.id = make_id<KeyIdTag>(random),
                   .name = options.api_key_name,
                   .secret_hash = crypto::sha256(as_bytes(api_key.reveal())),
                   .created = now};

  auto transaction = Transaction::begin(store);
  if (!transaction) return std::unexpected(transaction.error());
  auto done = store.put_installation(row_of(authority, https, options.hosts));
  if (done) done = store.insert_tenant(tenant);
  if (done) done = store.insert_key(tenant.id, KeyRing::make_row(now));
  if (done) done = store.api_keys().insert(tenant.id, row);
  if (done) {
    const auto noted = store.append_audit(tenant.id, {.time = now,
                                                      .actor = std::string(kController),
                                                      .action = "tenant.create",
                                                      .target = tenant.id.text,
                                                      .detail = "{}"});
    if (!noted) done = std::unexpected(noted.error());
  }
  if (done) done = transaction->commit();
  if (!done) return std::unexpected(done.error());
  return Initialised{.https = std::move(https),
                     .authority_certificate = authority.certificate_pem(),
                     .tenant = tenant.id,
                     .api_key = std::move(api_key)};
}

}  // namespace

StoreResult<Initialised> initialise(Store& store, const InitialiseOptions& options, Random& random,
                                    UnixTime now) {
  const auto kept = store.installation();
  if (!kept && kept.error() == StoreError::not_found) {
    return first_start(store, options, random, now);
  }
  if (!kept) return std::unexpected(kept.error());
  const auto tenants = store.tenants();
  if (!tenants) return std::unexpected(tenants.error());
  auto authority = CertificateAuthority::from_pem(kept->authority_certificate, kept->authority_key);
  auto https = Identity::from_pem(kept->https_certificate, kept->https_key);
  if (!authority || !https || tenants->empty()) return std::unexpected(StoreError::corrupt);
  const bool is_renewal_due =
      now >= https->renewal_time() || kept->https_hosts != texts_of(options.hosts);
  if (is_renewal_due) {
    https = authority->renew_server(*https, options.hosts, now);
    const auto put = store.put_installation(row_of(*authority, *https, options.hosts));
    if (!put) return std::unexpected(put.error());
  }
  return Initialised{.https = *std::move(https),
                     .authority_certificate = kept->authority_certificate,
                     .tenant = tenants->front().id,
                     .api_key = std::nullopt};
}

}  // namespace zt::controller
