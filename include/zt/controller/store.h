// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/store.h: the one interface through which the controller remembers.
//
// Theory of operation
//   Synchronous and transactional. Every row belongs to a tenant, which is the first argument of
//   every call; the few lookups that must find out the tenant (by a certificate's digest, by the
//   hash of a secret) return it. Editable objects share five verbs, Table<Row>; what has a life of
//   its own (grants, events, audit) has verbs of its own.
//
//   A Transaction is everything or nothing, across a crash of the process and of the machine: after
//   commit() has returned, the change is on the disk. Calls outside of a Transaction are one each.
//
//   References hold: a row cannot name a row that is absent (or another tenant's), and what is
//   named cannot be removed; both answer `dangling`. What is owned goes with its owner: the keys of
//   a service account; the devices and memberships of a user or service account; the memberships of
//   a group; the enrolment tokens of a network. The memory of a grant stays until the grant
//   expires, whatever is removed. Lists inside a row (the subjects and resources of a rule) are not
//   checked here.
//
// Time     No clock is read.
// Threats  T-CTL-1, one tenant reads or changes another's objects: the tenant is in every key.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/assert.h"
#include "zt/controller/model.h"

namespace zt::controller {

enum class StoreError : std::uint8_t {
  not_found,           // This tenant has no such row. Tell the caller so.
  conflict,            // Another row has this name, id or certificate. Choose another.
  stale,               // The row has changed since `version` was read. Read it again.
  dangling,            // A reference would point at nothing; see above.
  full,                // The disk is full. Nothing was changed; make room.
  busy,                // Another process holds the file. Nothing was changed; try again.
  corrupt,             // The file is no database, or damaged. Stop, and restore a copy.
  unsupported_schema,  // The file was written by a later version. Stop, and use that.
  io_failure,          // The disk does not work. Nothing was changed; stop.
};

[[nodiscard]] std::string_view to_text(StoreError error);

template <class T>
using StoreResult = std::expected<T, StoreError>;

// Page asks for at most `limit` rows whose id is above `after`, in the order of ids.
struct Page {
  std::size_t limit = 100;
  std::string after;  // Empty: from the beginning.
};

// Table is the five verbs of a kind of object, and count.
template <class Row>
class Table {
 public:
  using IdType = decltype(Row::id);

  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  virtual ~Table() = default;

  // insert adds `row`. It fails with `conflict` and `dangling`.
  [[nodiscard]] virtual StoreResult<void> insert(const TenantId& tenant, const Row& row) = 0;

  // find returns the row. It fails with `not_found`.
  [[nodiscard]] virtual StoreResult<Row> find(const TenantId& tenant, const IdType& id) = 0;

  // find_named returns the row of that name. It fails with `not_found`.
  [[nodiscard]] virtual StoreResult<Row> find_named(const TenantId& tenant,
                                                    std::string_view name) = 0;

  [[nodiscard]] virtual StoreResult<std::vector<Row>> list(const TenantId& tenant,
                                                           const Page& page) = 0;

  // update replaces the row of this id if it still has `row.version`, and counts its version up. It
  // returns the new version. It fails with `not_found`, `stale`, `conflict` and `dangling`.
  [[nodiscard]] virtual StoreResult<std::int64_t> update(const TenantId& tenant,
                                                         const Row& row) = 0;

  // remove fails with `not_found` and `dangling`.
  [[nodiscard]] virtual StoreResult<void> remove(const TenantId& tenant, const IdType& id) = 0;

  [[nodiscard]] virtual StoreResult<std::size_t> count(const TenantId& tenant) = 0;
};

// Sighting is what a node says about itself again and again. Noting it does not change the row's
// version: nobody edits it.
struct Sighting {
  UnixTime time;
  std::string software;
};

// FlowEventQuery filters flow events; an empty text filters nothing. Newest first.
struct FlowEventQuery {
  std::string subject;
  std::string device;
  std::string resource;
  std::string network;
  std::string connector;
  std::string flow;
  std::optional<FlowEventKind> kind;
  std::optional<UnixTime> since;    // This time or later.
  std::optional<UnixTime> before;   // Earlier than this.
  std::int64_t below_sequence = 0;  // The cursor; 0: from the newest.
  std::size_t limit = 100;
};

// StoredFlowEvent is a flow event and its place in the order in which events arrived.
struct StoredFlowEvent {
  std::int64_t sequence = 0;
  FlowEvent event;
};

struct AuditQuery {
  std::string actor;
  std::string action;
  std::string target;
  std::optional<UnixTime> since;
  std::optional<UnixTime> before;
  std::int64_t below_sequence = 0;
  std::size_t limit = 100;
};

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  // --- The installation and its tenants.

  // installation fails with `not_found` before the first put_installation.
  [[nodiscard]] virtual StoreResult<Installation> installation() = 0;
  [[nodiscard]] virtual StoreResult<void> put_installation(const Installation& installation) = 0;
  [[nodiscard]] virtual StoreResult<void> insert_tenant(const Tenant& tenant) = 0;
  [[nodiscard]] virtual StoreResult<std::vector<Tenant>> tenants() = 0;

  // revision is the tenant's policy revision: 1 at first, one more with each raise_revision, which
  // returns the new one. It never repeats, whatever crashes.
  [[nodiscard]] virtual StoreResult<std::int64_t> revision(const TenantId& tenant) = 0;
  [[nodiscard]] virtual StoreResult<std::int64_t> raise_revision(const TenantId& tenant) = 0;

  // --- What a tenant signs with; ordered by active_from, then kid.
  [[nodiscard]] virtual StoreResult<void> insert_key(const TenantId& tenant,
                                                     const TenantKey& key) = 0;
  [[nodiscard]] virtual StoreResult<std::vector<TenantKey>> keys(const TenantId& tenant) = 0;
  [[nodiscard]] virtual StoreResult<void> retire_key(const TenantId& tenant, std::string_view kid,
                                                     UnixTime retires) = 0;
  // remove_retired_keys removes the keys whose `retires` is at or before `now`; it returns how
  // many.
  [[nodiscard]] virtual StoreResult<std::size_t> remove_retired_keys(const TenantId& tenant,
                                                                     UnixTime now) = 0;

  // --- Objects.
  [[nodiscard]] virtual Table<ApiKey>& api_keys() = 0;
  [[nodiscard]] virtual Table<Network>& networks() = 0;
  [[nodiscard]] virtual Table<Connector>& connectors() = 0;
  [[nodiscard]] virtual Table<Relay>& relays() = 0;
  [[nodiscard]] virtual Table<Resource>& resources() = 0;
  [[nodiscard]] virtual Table<Group>& groups() = 0;
  [[nodiscard]] virtual Table<User>& users() = 0;
  [[nodiscard]] virtual Table<ServiceAccount>& service_accounts() = 0;
  [[nodiscard]] virtual Table<ServiceAccountKey>& service_account_keys() = 0;
  [[nodiscard]] virtual Table<Device>& devices() = 0;
  [[nodiscard]] virtual Table<AccessRule>& access_rules() = 0;
  [[nodiscard]] virtual Table<EnrolmentTokenRow>& enrolment_tokens() = 0;

  // --- Memberships, in their order. add_member of a member changes nothing and
  // returns false; remove_member fails with `not_found`.
  [[nodiscard]] virtual StoreResult<bool> add_member(const TenantId& tenant,
                                                     const Membership& membership) = 0;
  [[nodiscard]] virtual StoreResult<void> remove_member(const TenantId& tenant,
                                                        const Membership& membership) = 0;
  [[nodiscard]] virtual StoreResult<std::vector<Membership>> memberships(
      const TenantId& tenant) = 0;

  // --- Lookups that find the tenant. All fail with `not_found`.
  [[nodiscard]] virtual StoreResult<Owned<NodeRow>> find_node(const Digest& certificate) = 0;
  [[nodiscard]] virtual StoreResult<Owned<ApiKey>> find_api_key(const Digest& secret_hash) = 0;
  [[nodiscard]] virtual StoreResult<Owned<ServiceAccountKey>> find_service_account_key(
      const KeyId& id) = 0;
  [[nodiscard]] virtual StoreResult<Owned<EnrolmentTokenRow>> find_enrolment_token(
      const Digest& secret_hash) = 0;

  // --- What changes without being edited.
  [[nodiscard]] virtual StoreResult<void> note(const TenantId& tenant, const ConnectorId& id,
                                               const Sighting& sighting) = 0;
  [[nodiscard]] virtual StoreResult<void> note(const TenantId& tenant, const RelayId& id,
                                               const Sighting& sighting) = 0;
  [[nodiscard]] virtual StoreResult<void> note(const TenantId& tenant, const DeviceId& id,
                                               const Sighting& sighting) = 0;
  [[nodiscard]] virtual StoreResult<void> note_api_key_used(const TenantId& tenant, const KeyId& id,
                                                            UnixTime time) = 0;
  [[nodiscard]] virtual StoreResult<void> note_service_account_key_used(const TenantId& tenant,
                                                                        const KeyId& id,
                                                                        UnixTime time) = 0;

  // --- Grants, until they expire.
  [[nodiscard]] virtual StoreResult<void> insert_grant(const TenantId& tenant,
                                                       const IssuedGrant& grant) = 0;
  // grants returns those, revoked or not, whose `expires` is after `now`, in the order of ids.
  [[nodiscard]] virtual StoreResult<std::vector<IssuedGrant>> grants(const TenantId& tenant,
                                                                     UnixTime now) = 0;
  // revoke_grant fails with `not_found`; revoking again changes nothing.
  [[nodiscard]] virtual StoreResult<void> revoke_grant(const TenantId& tenant, const GrantId& id,
                                                       std::string_view reason) = 0;
  [[nodiscard]] virtual StoreResult<std::size_t> count_grants(const TenantId& tenant,
                                                              UnixTime now) = 0;
  // remove_expired_grants removes those whose `expires` is at or before `now`.
  [[nodiscard]] virtual StoreResult<std::size_t> remove_expired_grants(const TenantId& tenant,
                                                                       UnixTime now) = 0;

  // --- The log. insert_flow_event returns false if the event is there already.
  [[nodiscard]] virtual StoreResult<bool> insert_flow_event(const TenantId& tenant,
                                                            const FlowEvent& event) = 0;
  [[nodiscard]] virtual StoreResult<std::vector<StoredFlowEvent>> flow_events(
      const TenantId& tenant, const FlowEventQuery& query) = 0;
  // append_audit gives the entry its sequence, and returns it.
  [[nodiscard]] virtual StoreResult<std::int64_t> append_audit(const TenantId& tenant,
                                                               const AuditEntry& entry) = 0;
  [[nodiscard]] virtual StoreResult<std::vector<AuditEntry>> audit(const TenantId& tenant,
                                                                   const AuditQuery& query) = 0;
  // prune_log removes what arrived before the newest `flow_events_max` events and
  // `audit_entries_max` entries, a bounded batch a call; it returns how many.
  [[nodiscard]] virtual StoreResult<std::size_t> prune_log(const TenantId& tenant,
                                                           std::size_t flow_events_max,
                                                           std::size_t audit_entries_max) = 0;

 private:
  friend class Transaction;
  [[nodiscard]] virtual StoreResult<void> begin() = 0;
  [[nodiscard]] virtual StoreResult<void> commit() = 0;
  virtual void roll_back() noexcept = 0;
};

// Transaction is a change that happens whole or not at all: undone by the destructor unless
// commit() succeeded. They do not nest.
class Transaction {
 public:
  // begin fails with `busy`, and with what a broken disk says.
  [[nodiscard]] static StoreResult<Transaction> begin(Store& store) {
    if (const auto begun = store.begin(); !begun) return std::unexpected(begun.error());
    return Transaction(store);
  }

  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  Transaction(Transaction&& other) noexcept : store_(other.store_) { other.store_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction() {
    if (store_ != nullptr) store_->roll_back();
  }

  // commit makes the change last. If it fails, nothing has changed.
  [[nodiscard]] StoreResult<void> commit() {
    ZT_ASSERT(store_ != nullptr);
    auto committed = store_->commit();
    if (!committed) store_->roll_back();
    store_ = nullptr;
    return committed;
  }

 private:
  explicit Transaction(Store& store) : store_(&store) {}

  Store* store_;  // Null once committed or moved from.
};

}  // namespace zt::controller
