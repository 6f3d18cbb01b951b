// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_store.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "store/schema.h"

namespace zt::store {

using controller::AuditEntry;
using controller::AuditQuery;
using controller::FlowEvent;
using controller::FlowEventQuery;
using controller::IssuedGrant;
using controller::Membership;
using controller::NodeRow;
using controller::Owned;
using controller::Sighting;
using controller::StoredFlowEvent;
using controller::Tenant;
using controller::TenantKey;

namespace {

// How many rows prune_log removes of each kind in one call, so that it never holds up the loop.
constexpr std::int64_t kPruneBatch = 2'000;

// rows_of reads all rows with `read`, which fills one.
template <class Row, class Read>
StoreResult<std::vector<Row>> rows_of(Query& query, Read read) {
  std::vector<Row> rows;
  for (;;) {
    const auto has_row = query.step();
    if (!has_row) return std::unexpected(has_row.error());
    if (!*has_row) return rows;
    read(rows.emplace_back());
    if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
  }
}

// integer_of reads the only value of the only row, if there is one.
StoreResult<std::int64_t> integer_of(Query& query) {
  const auto has_row = query.step();
  if (!has_row) return std::unexpected(has_row.error());
  if (!*has_row) return std::unexpected(StoreError::not_found);
  std::int64_t value = 0;
  query.read(value);
  if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
  return value;
}

// run_counted runs a change and returns how many rows it changed.
StoreResult<std::size_t> run_counted(Database& database, Query& query) {
  if (const auto done = query.done(); !done) return std::unexpected(done.error());
  return database.changed_count();
}

// run_on_one runs a change of one row, which must be there.
StoreResult<void> run_on_one(Database& database, Query& query) {
  const auto count = run_counted(database, query);
  if (!count) return std::unexpected(count.error());
  if (*count == 0) return std::unexpected(StoreError::not_found);
  return {};
}

// note_in notes when a node was seen, in the table of its kind.
template <class Id>
StoreResult<void> note_in(Database& database, std::string_view table, const TenantId& tenant,
                          const Id& id, const Sighting& sighting) {
  Query query(
      database,
      fmt::format("UPDATE {} SET last_seen = ?, software = ? WHERE tenant = ? AND id = ?", table));
  query.bind_all(sighting.time, sighting.software, tenant, id);
  return run_on_one(database, query);
}

// Conditions are the WHERE of a filtered query, and its values in the same order.
class Conditions {
 public:
  void equal(const char* column, std::string_view value) {
    if (value.empty()) return;
    text_ += fmt::format(" AND {} = ?", column);
    binders_.emplace_back(std::string(value));
  }
  void compare(const char* condition, std::int64_t value) {
    text_ += fmt::format(" AND {} ?", condition);
    binders_.emplace_back(value);
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  void bind(Query& query) const {
    for (const auto& value : binders_) {
      std::visit([&](const auto& known) { query.bind(known); }, value);
    }
  }

 private:
  std::string text_;
  std::vector<std::variant<std::string, std::int64_t>> binders_;
};

template <class LogQuery>
void add_period(Conditions& conditions, const LogQuery& query) {
  if (query.since) conditions.compare("time >=", query.since->time_since_epoch().count());
  if (query.before) conditions.compare("time <", query.before->time_since_epoch().count());
  if (query.below_sequence > 0) conditions.compare("sequence <", query.below_sequence);
}

template <class Row>
StoreResult<void> insert_row(Database& database, const TenantId& tenant, const Row& row) {
  const std::string sql = std::string("INSERT INTO ") + Columns<Row>::kTable + " (tenant" +
                          column_list<Row>() + ") VALUES (?" + parameter_list<Row>() + ")";
  Query query(database, sql);
  query.bind(tenant);
  bind_columns(query, row);
  return query.done();
}

}  // namespace

StoreResult<std::unique_ptr<SqliteStore>> SqliteStore::open(const SqliteOptions& options) {
  auto database = Database::open(options.path);
  if (!database) return std::unexpected(database.error());
  Database& connection = **database;
  // The lock is taken by the first transaction, of which migrate() has at least a reading one.
  auto ready = connection.run(
      "PRAGMA busy_timeout = 2000; PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON;"
      "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;");
  if (ready) ready = connection.run("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;");
  // 16 MiB of pages in memory, and as much in the write-ahead log before it is folded in: the ids
  // of flows are random, so a busy log touches many pages, the same ones again and again.
  if (ready)
    ready = connection.run("PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4096;");
  if (ready && options.page_count_max > 0) {
    const std::string limit = fmt::format("PRAGMA max_page_count = {}", options.page_count_max);
    ready = connection.run(limit.c_str());
  }
  if (ready) ready = migrate(connection, schema_steps());
  if (!ready) return std::unexpected(ready.error());
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(*database)));
}

SqliteStore::SqliteStore(std::unique_ptr<Database> database)
    : database_(std::move(database)),
      api_keys_(*database_),
      networks_(*database_),
      connectors_(*database_),
      relays_(*database_),
      resources_(*database_),
      groups_(*database_),
      users_(*database_),
      service_accounts_(*database_),
      service_account_keys_(*database_),
      devices_(*database_),
      access_rules_(*database_),
      enrolment_tokens_(*database_) {}

StoreResult<controller::Installation> SqliteStore::installation() {
  Query query(*database_,
              "SELECT authority_certificate, authority_key, https_certificate, https_key, "
              "https_hosts FROM installation");
  const auto has_row = query.step();
  if (!has_row) return std::unexpected(has_row.error());
  if (!*has_row) return std::unexpected(StoreError::not_found);
  controller::Installation row;
  query.read(row.authority_certificate);
  query.read(row.authority_key);
  query.read(row.https_certificate);
  query.read(row.https_key);
  query.read(row.https_hosts);
  if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
  return row;
}

StoreResult<void> SqliteStore::put_installation(const controller::Installation& installation) {
  Query query(*database_,
              "INSERT OR REPLACE INTO installation (one, authority_certificate, authority_key, "
              "https_certificate, https_key, https_hosts) VALUES (1, ?, ?, ?, ?, ?)");
  query.bind_all(installation.authority_certificate, installation.authority_key,
                 installation.https_certificate, installation.https_key, installation.https_hosts);
  return query.done();
}

StoreResult<void> SqliteStore::insert_tenant(const Tenant& tenant) {
  Query query(*database_, "INSERT INTO tenant (id, name, created) VALUES (?, ?, ?)");
  query.bind_all(tenant.id, tenant.name, tenant.created);
  return query.done();
}

StoreResult<std::vector<Tenant>> SqliteStore::tenants() {
  Query query(*database_, "SELECT id, name, created FROM tenant ORDER BY id");
  return rows_of<Tenant>(query, [&](Tenant& row) {
    query.read(row.id);
    query.read(row.name);
    query.read(row.created);
  });
}

StoreResult<std::int64_t> SqliteStore::revision(const TenantId& tenant) {
  Query query(*database_, "SELECT revision FROM tenant WHERE id = ?");
  query.bind(tenant);
  return integer_of(query);
}

StoreResult<std::int64_t> SqliteStore::raise_revision(const TenantId& tenant) {
  Query query(*database_, "UPDATE tenant SET revision = revision + 1 WHERE id = ?");
  query.bind(tenant);
  if (const auto raised = run_on_one(*database_, query); !raised) {
    return std::unexpected(raised.error());
  }
  return revision(tenant);
}

StoreResult<void> SqliteStore::insert_key(const TenantId& tenant, const TenantKey& key) {
  Query query(*database_,
              "INSERT INTO tenant_key (tenant, kid, seed, active_from, retires) "
              "VALUES (?, ?, ?, ?, ?)");
  query.bind_all(tenant, key.kid, key.seed, key.active_from, key.retires);
  return query.done();
}

StoreResult<std::vector<TenantKey>> SqliteStore::keys(const TenantId& tenant) {
  Query query(*database_,
              "SELECT kid, seed, active_from, retires FROM tenant_key WHERE tenant = ? "
              "ORDER BY active_from, kid");
  query.bind(tenant);
  return rows_of<TenantKey>(query, [&](TenantKey& row) {
    query.read(row.kid);
    query.read(row.seed);
    query.read(row.active_from);
    query.read(row.retires);
  });
}

StoreResult<void> SqliteStore::retire_key(const TenantId& tenant, std::string_view kid,
                                          UnixTime retires) {
  Query query(*database_, "UPDATE tenant_key SET retires = ? WHERE tenant = ? AND kid = ?");
  query.bind_all(retires, tenant, kid);
  return run_on_one(*database_, query);
}

StoreResult<std::size_t> SqliteStore::remove_retired_keys(const TenantId& tenant, UnixTime now) {
  Query query(*database_, "DELETE FROM tenant_key WHERE tenant = ? AND retires <= ?");
  query.bind_all(tenant, now);
  return run_counted(*database_, query);
}

StoreResult<bool> SqliteStore::add_member(const TenantId& tenant, const Membership& membership) {
  Query query(*database_,
              "INSERT INTO membership (tenant, user_group, subject) VALUES (?, ?, ?) "
              "ON CONFLICT (tenant, user_group, subject) DO NOTHING");
  query.bind_all(tenant, membership.group, membership.subject);
  const auto count = run_counted(*database_, query);
  if (!count) return std::unexpected(count.error());
  return *count == 1;
}

StoreResult<void> SqliteStore::remove_member(const TenantId& tenant, const Membership& membership) {
  Query query(*database_,
              "DELETE FROM membership WHERE tenant = ? AND user_group = ? AND subject = ?");
  query.bind_all(tenant, membership.group, membership.subject);
  return run_on_one(*database_, query);
}

StoreResult<std::vector<Membership>> SqliteStore::memberships(const TenantId& tenant) {
  Query query(*database_,
              "SELECT user_group, subject FROM membership WHERE tenant = ? "
              "ORDER BY user_group, subject");
  query.bind(tenant);
  return rows_of<Membership>(query, [&](Membership& row) {
    query.read(row.group);
    query.read(row.subject);
  });
}

namespace {

// found_node widens a row to NodeRow.
template <class Row>
StoreResult<Owned<NodeRow>> found_node(StoreResult<Owned<Row>> found) {
  if (!found) return std::unexpected(found.error());
  return Owned<NodeRow>{.tenant = std::move(found->tenant), .row = std::move(found->row)};
}

}  // namespace

StoreResult<Owned<NodeRow>> SqliteStore::find_node(const Digest& certificate) {
  auto node = found_node(connectors_.find_by("certificate", certificate));
  if (node || node.error() != StoreError::not_found) return node;
  node = found_node(devices_.find_by("certificate", certificate));
  if (node || node.error() != StoreError::not_found) return node;
  return found_node(relays_.find_by("certificate", certificate));
}

StoreResult<Owned<controller::ApiKey>> SqliteStore::find_api_key(const Digest& secret_hash) {
  return api_keys_.find_by("secret_hash", secret_hash);
}

StoreResult<Owned<controller::ServiceAccountKey>> SqliteStore::find_service_account_key(
    const KeyId& id) {
  return service_account_keys_.find_by("id", id);
}

StoreResult<Owned<controller::EnrolmentTokenRow>> SqliteStore::find_enrolment_token(
    const Digest& secret_hash) {
  return enrolment_tokens_.find_by("secret_hash", secret_hash);
}

StoreResult<void> SqliteStore::note(const TenantId& tenant, const ConnectorId& id,
                                    const Sighting& sighting) {
  return note_in(*database_, "connector", tenant, id, sighting);
}

StoreResult<void> SqliteStore::note(const TenantId& tenant, const RelayId& id,
                                    const Sighting& sighting) {
  return note_in(*database_, "relay", tenant, id, sighting);
}

StoreResult<void> SqliteStore::note(const TenantId& tenant, const DeviceId& id,
                                    const Sighting& sighting) {
  return note_in(*database_, "device", tenant, id, sighting);
}

StoreResult<void> SqliteStore::note_api_key_used(const TenantId& tenant, const KeyId& id,
                                                 UnixTime time) {
  Query query(*database_, "UPDATE api_key SET last_used = ? WHERE tenant = ? AND id = ?");
  query.bind_all(time, tenant, id);
  return run_on_one(*database_, query);
}

StoreResult<void> SqliteStore::note_service_account_key_used(const TenantId& tenant,
                                                             const KeyId& id, UnixTime time) {
  Query query(*database_,
              "UPDATE service_account_key SET last_used = ? WHERE tenant = ? AND id = ?");
  query.bind_all(time, tenant, id);
  return run_on_one(*database_, query);
}

StoreResult<void> SqliteStore::insert_grant(const TenantId& tenant, const IssuedGrant& grant) {
  return insert_row(*database_, tenant, grant);
}

StoreResult<std::vector<IssuedGrant>> SqliteStore::grants(const TenantId& tenant, UnixTime now) {
  const std::string sql = "SELECT tenant" + column_list<IssuedGrant>() +
                          " FROM issued_grant WHERE tenant = ? AND expires > ? ORDER BY id";
  Query query(*database_, sql);
  query.bind_all(tenant, now);
  return rows_of<IssuedGrant>(query, [&](IssuedGrant& row) {
    TenantId owner;
    query.read(owner);
    read_columns(query, row);
  });
}

StoreResult<void> SqliteStore::revoke_grant(const TenantId& tenant, const GrantId& id,
                                            std::string_view reason) {
  Query query(*database_,
              "UPDATE issued_grant SET reason = iif(is_revoked, reason, ?), is_revoked = 1 "
              "WHERE tenant = ? AND id = ?");
  query.bind_all(reason, tenant, id);
  return run_on_one(*database_, query);
}

StoreResult<std::size_t> SqliteStore::count_grants(const TenantId& tenant, UnixTime now) {
  Query query(*database_, "SELECT count(*) FROM issued_grant WHERE tenant = ? AND expires > ?");
  query.bind_all(tenant, now);
  const auto count = integer_of(query);
  if (!count) return std::unexpected(count.error());
  return static_cast<std::size_t>(*count);
}

StoreResult<std::size_t> SqliteStore::remove_expired_grants(const TenantId& tenant, UnixTime now) {
  Query query(*database_, "DELETE FROM issued_grant WHERE tenant = ? AND expires <= ?");
  query.bind_all(tenant, now);
  return run_counted(*database_, query);
}

StoreResult<bool> SqliteStore::insert_flow_event(const TenantId& tenant, const FlowEvent& event) {
  const std::string sql = "INSERT INTO flow_event (tenant" + column_list<FlowEvent>() +
                          ") VALUES (?" + parameter_list<FlowEvent>() +
                          ") ON CONFLICT (tenant, flow, kind, node) DO NOTHING";
  Query query(*database_, sql);
  query.bind(tenant);
  bind_columns(query, event);
  const auto count = run_counted(*database_, query);
  if (!count) return std::unexpected(count.error());
  return *count == 1;
}

StoreResult<std::vector<StoredFlowEvent>> SqliteStore::flow_events(const TenantId& tenant,
                                                                   const FlowEventQuery& filter) {
  Conditions conditions;
  conditions.equal("subject", filter.subject);
  conditions.equal("device", filter.device);
  conditions.equal("resource", filter.resource);
  conditions.equal("network", filter.network);
  conditions.equal("connector", filter.connector);
  conditions.equal("flow", filter.flow);
  if (filter.kind) conditions.equal("kind", text_of(*filter.kind));
  add_period(conditions, filter);
  const std::string sql = "SELECT sequence" + column_list<FlowEvent>() +
                          " FROM flow_event WHERE tenant = ?" + conditions.text() +
                          " ORDER BY sequence DESC LIMIT ?";
  Query query(*database_, sql);
  query.bind(tenant);
  conditions.bind(query);
  query.bind(static_cast<std::int64_t>(filter.limit));
  return rows_of<StoredFlowEvent>(query, [&](StoredFlowEvent& row) {
    query.read(row.sequence);
    read_columns(query, row.event);
  });
}

StoreResult<std::int64_t> SqliteStore::append_audit(const TenantId& tenant,
                                                    const AuditEntry& entry) {
  if (const auto done = insert_row(*database_, tenant, entry); !done) {
    return std::unexpected(done.error());
  }
  return database_->number("SELECT last_insert_rowid()");
}

StoreResult<std::vector<AuditEntry>> SqliteStore::audit(const TenantId& tenant,
                                                        const AuditQuery& filter) {
  Conditions conditions;
  conditions.equal("actor", filter.actor);
  conditions.equal("action", filter.action);
  conditions.equal("target", filter.target);
  add_period(conditions, filter);
  const std::string sql = "SELECT sequence" + column_list<AuditEntry>() +
                          " FROM audit WHERE tenant = ?" + conditions.text() +
                          " ORDER BY sequence DESC LIMIT ?";
  Query query(*database_, sql);
  query.bind(tenant);
  conditions.bind(query);
  query.bind(static_cast<std::int64_t>(filter.limit));
  return rows_of<AuditEntry>(query, [&](AuditEntry& row) {
    query.read(row.sequence);
    read_columns(query, row);
  });
}

StoreResult<std::size_t> SqliteStore::prune_log(const TenantId& tenant, std::size_t flow_events_max,
                                                std::size_t audit_entries_max) {
  std::size_t count = 0;
  for (const auto& [table, kept] :
       {std::pair("flow_event", flow_events_max), std::pair("audit", audit_entries_max)}) {
    // The newest row that is one too many, and what is older.
    const std::string sql = fmt::format(
        "DELETE FROM {0} WHERE sequence IN (SELECT sequence FROM {0} WHERE tenant = ? AND "
        "sequence <= (SELECT sequence FROM {0} WHERE tenant = ? ORDER BY sequence DESC "
        "LIMIT 1 OFFSET ?) ORDER BY sequence LIMIT ?)",
        table);
    Query query(*database_, sql);
    query.bind_all(tenant, tenant, static_cast<std::int64_t>(kept), kPruneBatch);
    const auto removed = run_counted(*database_, query);
    if (!removed) return std::unexpected(removed.error());
    count += *removed;
  }
  return count;
}

StoreResult<void> SqliteStore::begin() {
  return database_->run("BEGIN IMMEDIATE");
}

StoreResult<void> SqliteStore::commit() {
  // A full disk may have ended the transaction behind our back, undoing it: then it did not happen.
  if (!database_->is_in_transaction()) return std::unexpected(StoreError::io_failure);
  return database_->run("COMMIT");
}

void SqliteStore::roll_back() noexcept {
  if (database_->is_in_transaction()) (void)database_->run("ROLLBACK");  // It cannot be kept.
}

}  // namespace zt::store
