// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/sqlite_store.h: controller::Store in one SQLite file.
//
// Theory of operation
//   WAL, with synchronous=FULL: a committed change survives a power cut, which matters because a
//   revocation that was answered must not come undone. It costs one fsync a commit; the
//   controller's commits are an administrator's changes, grants (minutes apart for a client) and
//   batches of events, so hundreds of commits a second are plenty. The file is locked for this
//   process alone (locking_mode=EXCLUSIVE): two controllers on one file would each miss what the
//   other revokes. The lock goes with the process, however it ends.
//
// Limits   `page_count_max`, 4 KiB each; beyond it calls fail with `full`, as they do when the disk
// is
//          full.
// Threats  The file holds the tenant's signing keys: it is created readable by its owner only.

#include <memory>
#include <string>

#include "store/sqlite_table.h"

namespace zt::store {

struct SqliteOptions {
  std::string path = ":memory:";
  std::uint32_t page_count_max = 0;  // 0: SQLite's own, 16 TiB.
};

class SqliteStore final : public controller::Store {
 public:
  // open opens or creates the file and brings it up to date. It fails with `busy` (another process
  // has it), `corrupt`, `unsupported_schema`, `full` and `io_failure`; the file is then as it was.
  [[nodiscard]] static StoreResult<std::unique_ptr<SqliteStore>> open(const SqliteOptions& options);

  [[nodiscard]] StoreResult<controller::Installation> installation() override;
  [[nodiscard]] StoreResult<void> put_installation(
      const controller::Installation& installation) override;
  [[nodiscard]] StoreResult<void> insert_tenant(const controller::Tenant& tenant) override;
  [[nodiscard]] StoreResult<std::vector<controller::Tenant>> tenants() override;
  [[nodiscard]] StoreResult<std::int64_t> revision(const TenantId& tenant) override;
  [[nodiscard]] StoreResult<std::int64_t> raise_revision(const TenantId& tenant) override;

  [[nodiscard]] StoreResult<void> insert_key(const TenantId& tenant,
                                             const controller::TenantKey& key) override;
  [[nodiscard]] StoreResult<std::vector<controller::TenantKey>> keys(
      const TenantId& tenant) override;
  [[nodiscard]] StoreResult<void> retire_key(const TenantId& tenant, std::string_view kid,
                                             UnixTime retires) override;
  [[nodiscard]] StoreResult<std::size_t> remove_retired_keys(const TenantId& tenant,
                                                             UnixTime now) override;

  controller::Table<controller::ApiKey>& api_keys() override { return api_keys_; }
  controller::Table<controller::Network>& networks() override { return networks_; }
  controller::Table<controller::Connector>& connectors() override { return connectors_; }
  controller::Table<controller::Relay>& relays() override { return relays_; }
  controller::Table<controller::Resource>& resources() override { return resources_; }
  controller::Table<controller::Group>& groups() override { return groups_; }
  controller::Table<controller::User>& users() override { return users_; }
  controller::Table<controller::ServiceAccount>& service_accounts() override {
    return service_accounts_;
  }
  controller::Table<controller::ServiceAccountKey>& service_account_keys() override {
    return service_account_keys_;
  }
  controller::Table<controller::Device>& devices() override { return devices_; }
  controller::Table<controller::AccessRule>& access_rules() override { return access_rules_; }
  controller::Table<controller::EnrolmentTokenRow>& enrolment_tokens() override {
    return enrolment_tokens_;
  }

  [[nodiscard]] StoreResult<bool> add_member(const TenantId& tenant,
                                             const controller::Membership& membership) override;
  [[nodiscard]] StoreResult<void> remove_member(const TenantId& tenant,
                                                const controller::Membership& membership) override;
  [[nodiscard]] StoreResult<std::vector<controller::Membership>> memberships(
      const TenantId& tenant) override;

  [[nodiscard]] StoreResult<controller::Owned<controller::NodeRow>> find_node(
      const Digest& certificate) override;
  [[nodiscard]] StoreResult<controller::Owned<controller::ApiKey>> find_api_key(
      const Digest& secret_hash) override;
  [[nodiscard]] StoreResult<controller::Owned<controller::ServiceAccountKey>>
  find_service_account_key(const KeyId& id) override;
  [[nodiscard]] StoreResult<controller::Owned<controller::EnrolmentTokenRow>> find_enrolment_token(
      const Digest& secret_hash) override;

  [[nodiscard]] StoreResult<void> note(const TenantId& tenant, const ConnectorId& id,
                                       const controller::Sighting& sighting) override;
  [[nodiscard]] StoreResult<void> note(const TenantId& tenant, const RelayId& id,
                                       const controller::Sighting& sighting) override;
  [[nodiscard]] StoreResult<void> note(const TenantId& tenant, const DeviceId& id,
                                       const controller::Sighting& sighting) override;
  [[nodiscard]] StoreResult<void> note_api_key_used(const TenantId& tenant, const KeyId& id,
                                                    UnixTime time) override;
  [[nodiscard]] StoreResult<void> note_service_account_key_used(const TenantId& tenant,
                                                                const KeyId& id,
                                                                UnixTime time) override;

  [[nodiscard]] StoreResult<void> insert_grant(const TenantId& tenant,
                                               const controller::IssuedGrant& grant) override;
  [[nodiscard]] StoreResult<std::vector<controller::IssuedGrant>> grants(const TenantId& tenant,
                                                                         UnixTime now) override;
  [[nodiscard]] StoreResult<void> revoke_grant(const TenantId& tenant, const GrantId& id,
                                               std::string_view reason) override;
  [[nodiscard]] StoreResult<std::size_t> count_grants(const TenantId& tenant,
                                                      UnixTime now) override;
  [[nodiscard]] StoreResult<std::size_t> remove_expired_grants(const TenantId& tenant,
                                                               UnixTime now) override;

  [[nodiscard]] StoreResult<bool> insert_flow_event(const TenantId& tenant,
                                                    const controller::FlowEvent& event) override;
  [[nodiscard]] StoreResult<std::vector<controller::StoredFlowEvent>> flow_events(
      const TenantId& tenant, const controller::FlowEventQuery& filter) override;
  [[nodiscard]] StoreResult<std::int64_t> append_audit(
      const TenantId& tenant, const controller::AuditEntry& entry) override;
  [[nodiscard]] StoreResult<std::vector<controller::AuditEntry>> audit(
      const TenantId& tenant, const controller::AuditQuery& filter) override;
  [[nodiscard]] StoreResult<std::size_t> prune_log(const TenantId& tenant,
                                                   std::size_t flow_events_max,
                                                   std::size_t audit_entries_max) override;

 private:
  explicit SqliteStore(std::unique_ptr<Database> database);

  [[nodiscard]] StoreResult<void> begin() override;
  [[nodiscard]] StoreResult<void> commit() override;
  void roll_back() noexcept override;

  std::unique_ptr<Database> database_;
  SqliteTable<controller::ApiKey> api_keys_;
  SqliteTable<controller::Network> networks_;
  SqliteTable<controller::Connector> connectors_;
  SqliteTable<controller::Relay> relays_;
  SqliteTable<controller::Resource> resources_;
  SqliteTable<controller::Group> groups_;
  SqliteTable<controller::User> users_;
  SqliteTable<controller::ServiceAccount> service_accounts_;
  SqliteTable<controller::ServiceAccountKey> service_account_keys_;
  SqliteTable<controller::Device> devices_;
  SqliteTable<controller::AccessRule> access_rules_;
  SqliteTable<controller::EnrolmentTokenRow> enrolment_tokens_;
};

}  // namespace zt::store
