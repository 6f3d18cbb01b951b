// SPDX-License-Identifier: Apache-2.0
// What controller::Store promises, on SQLite; and what the file promises.

#include "store/sqlite_store.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "store/schema.h"
#include "zt/base/random.h"

namespace zt::store {
namespace {

using controller::AccessRule;
using controller::ApiKey;
using controller::Connector;
using controller::Device;
using controller::Effect;
using controller::EnrolmentTokenRow;
using controller::FlowEvent;
using controller::FlowEventKind;
using controller::FlowEventQuery;
using controller::Group;
using controller::Installation;
using controller::IssuedGrant;
using controller::Network;
using controller::NodeRow;
using controller::Owned;
using controller::Relay;
using controller::Resource;
using controller::ServiceAccount;
using controller::ServiceAccountKey;
using controller::Store;
using controller::Table;
using controller::Tenant;
using controller::Transaction;
using controller::User;

UnixTime at(std::int64_t seconds) {
  return from_unix_seconds(seconds);
}

Digest digest_of(std::uint8_t number) {
  Digest digest;
  digest.bytes.fill(std::byte{number});
  return digest;
}

RouteId route_of(std::uint8_t number) {
  RouteId route;
  route.bytes.fill(std::byte{number});
  return route;
}

// TemporaryFile is a path that is free, and is removed with what SQLite puts beside it.
class TemporaryFile {
 public:
  TemporaryFile() {
    std::string name = "/tmp/zt-store-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      std::remove((path() + suffix).c_str());
    }
    rmdir(folder_.c_str());
  }
  [[nodiscard]] std::string path() const { return folder_ + "/zt.db"; }

 private:
  std::string folder_;
};

std::unique_ptr<SqliteStore> open(const SqliteOptions& options = {}) {
  auto store = SqliteStore::open(options);
  REQUIRE(store.has_value());
  return *std::move(store);
}

TenantId add_tenant(Store& store, Random& random, const std::string& name) {
  const Tenant tenant{.id = make_id<TenantIdTag>(random), .name = name, .created = at(1)};
  REQUIRE(store.insert_tenant(tenant));
  return tenant.id;
}

// Fixture is a store with two tenants.
struct Fixture {
  std::unique_ptr<SqliteStore> store = open();
  SeededRandom random{1};
  TenantId tenant = add_tenant(*store, random, "one");
  TenantId other = add_tenant(*store, random, "two");

  Network add_network(const TenantId& owner, const std::string& name) {
    const Network network{.id = make_id<NetworkIdTag>(random), .name = name, .created = at(2)};
    REQUIRE(store->networks().insert(owner, network));
    return network;
  }
  ServiceAccount add_account(const TenantId& owner, const std::string& name) {
    const ServiceAccount account{
        .id = make_id<ServiceAccountIdTag>(random), .name = name, .created = at(2)};
    REQUIRE(store->service_accounts().insert(owner, account));
    return account;
  }
};

TEST_CASE("every kind of object reads back as it was written") {
  Fixture f;
  const Network network = f.add_network(f.tenant, "office");
  const ServiceAccount account = f.add_account(f.tenant, "ci");
  const auto check = [&]<class Row>(Table<Row>& table, const Row& row) {
    REQUIRE(table.insert(f.tenant, row));
    CHECK(table.find(f.tenant, row.id) == row);
    CHECK(table.find_named(f.tenant, row.name) == row);
    CHECK(table.find(f.other, row.id).error() == StoreError::not_found);
    CHECK(table.count(f.other) == 0);
  };
  check(f.store->api_keys(), ApiKey{.id = make_id<KeyIdTag>(f.random),
                                    .name = "first",
                                    .secret_hash = digest_of(1),
                                    .created = at(1),
                                    .expires = at(9)});
  const Connector connector{.id = make_id<ConnectorIdTag>(f.random),
                            .network = network.id,
                            .name = "con",
                            .certificate = digest_of(2),
                            .route = route_of(2),
                            .is_enabled = false,
                            .software = "1",
                            .created = at(1),
                            .last_seen = at(3)};
  check(f.store->connectors(), connector);
  check(f.store->relays(), Relay{.id = make_id<RelayIdTag>(f.random),
                                 .name = "rly",
                                 .region = "eu",
                                 .address = "r.example:443",
                                 .certificate = digest_of(3),
                                 .created = at(1)});
  check(f.store->resources(), Resource{.id = make_id<ResourceIdTag>(f.random),
                                       .network = network.id,
                                       .name = "db",
                                       .address = "db.internal",
                                       .aliases = {"a.internal", "*.b.internal"},
                                       .tcp = {{1, 1}, {8000, 8100}},
                                       .created = at(1)});
  check(f.store->groups(), Group{.id = make_id<GroupIdTag>(f.random), .name = "g"});
  check(f.store->users(),
        User{.id = make_id<UserIdTag>(f.random), .name = "u", .email = "u@example"});
  check(f.store->service_account_keys(), ServiceAccountKey{.id = make_id<KeyIdTag>(f.random),
                                                           .account = account.id,
                                                           .name = "k",
                                                           .secret_hash = digest_of(4),
                                                           .is_revoked = true});
  check(f.store->devices(), Device{.id = make_id<DeviceIdTag>(f.random),
                                   .subject = {account.id.text},
                                   .key = make_id<KeyIdTag>(f.random),
                                   .name = "laptop",
                                   .os = "linux",
                                   .certificate = digest_of(5),
                                   .route = route_of(5)});
  check(f.store->access_rules(), AccessRule{.id = make_id<RuleIdTag>(f.random),
                                            .name = "rule",
                                            .effect = Effect::deny,
                                            .subjects = {"everyone"},
                                            .resources = {"everything", "res_x"},
                                            .protocols = {Protocol::udp, Protocol::tcp},
                                            .ports = {{53, 53}},
                                            .valid_until = at(99)});
  check(f.store->enrolment_tokens(), EnrolmentTokenRow{.id = make_id<TokenIdTag>(f.random),
                                                       .network = network.id,
                                                       .name = "t",
                                                       .secret_hash = digest_of(6),
                                                       .uses_left = 3,
                                                       .expires = at(5)});
}

TEST_CASE("an update needs the version that it was read with, and counts it up") {
  Fixture f;
  Network network = f.add_network(f.tenant, "office");
  network.name = "home";
  CHECK(f.store->networks().update(f.tenant, network) == 2);
  CHECK(f.store->networks().update(f.tenant, network).error() == StoreError::stale);
  network.version = 2;
  CHECK(f.store->networks().update(f.other, network).error() == StoreError::not_found);
  CHECK(f.store->networks().update(f.tenant, network) == 3);
  CHECK(f.store->networks().find(f.tenant, network.id)->name == "home");
}

TEST_CASE("names are unique within a tenant, certificates and secrets in the installation") {
  Fixture f;
  const Network network = f.add_network(f.tenant, "office");
  f.add_network(f.other, "office");
  const Network again{.id = make_id<NetworkIdTag>(f.random), .name = "office"};
  CHECK(f.store->networks().insert(f.tenant, again).error() == StoreError::conflict);
  CHECK(f.store->networks().insert(f.tenant, network).error() == StoreError::conflict);
  Relay relay{.id = make_id<RelayIdTag>(f.random), .name = "a", .certificate = digest_of(1)};
  REQUIRE(f.store->relays().insert(f.tenant, relay));
  relay.id = make_id<RelayIdTag>(f.random);
  relay.name = "b";
  CHECK(f.store->relays().insert(f.other, relay).error() == StoreError::conflict);
}

TEST_CASE("nothing refers to what is absent or another tenant's, and what is used stays") {
  Fixture f;
  const Network mine = f.add_network(f.tenant, "office");
  const Network theirs = f.add_network(f.other, "office");
  Resource resource{
      .id = make_id<ResourceIdTag>(f.random), .network = theirs.id, .name = "db", .address = "db"};
  CHECK(f.store->resources().insert(f.tenant, resource).error() == StoreError::dangling);
  resource.network = mine.id;
  REQUIRE(f.store->resources().insert(f.tenant, resource));
  CHECK(f.store->networks().remove(f.tenant, mine.id).error() == StoreError::dangling);
  REQUIRE(f.store->resources().remove(f.tenant, resource.id));
  CHECK(f.store->networks().remove(f.other, mine.id).error() == StoreError::not_found);
  CHECK(f.store->networks().remove(f.tenant, mine.id));
  CHECK(f.store->networks().remove(f.tenant, mine.id).error() == StoreError::not_found);
}

TEST_CASE("what belongs to a service account goes with it") {
  Fixture f;
  const ServiceAccount account = f.add_account(f.tenant, "ci");
  const SubjectId subject{account.id.text};
  const Group group{.id = make_id<GroupIdTag>(f.random), .name = "g"};
  REQUIRE(f.store->groups().insert(f.tenant, group));
  CHECK(f.store->add_member(f.tenant, {group.id, subject}) == true);
  CHECK(f.store->add_member(f.tenant, {group.id, subject}) == false);
  CHECK(f.store->add_member(f.tenant, {group.id, {"usr_absent"}}).error() == StoreError::dangling);
  CHECK(f.store->add_member(f.other, {group.id, subject}).error() == StoreError::dangling);
  const ServiceAccountKey key{.id = make_id<KeyIdTag>(f.random), .account = account.id};
  REQUIRE(f.store->service_account_keys().insert(f.tenant, key));
  const Device device{.id = make_id<DeviceIdTag>(f.random), .subject = subject, .key = key.id};
  REQUIRE(f.store->devices().insert(f.tenant, device));
  REQUIRE(f.store->service_accounts().remove(f.tenant, account.id));
  CHECK(f.store->memberships(f.tenant)->empty());
  CHECK(f.store->service_account_keys().count(f.tenant) == 0);
  CHECK(f.store->devices().count(f.tenant) == 0);
}

TEST_CASE("a list is cut into pages that together are everything, once") {
  Fixture f;
  std::set<std::string> expected;
  for (int i = 0; i < 25; ++i) expected.insert(f.add_network(f.tenant, std::to_string(i)).id.text);
  std::set<std::string> seen;
  Page page{.limit = 10, .after = {}};
  for (const std::size_t size : {10U, 10U, 5U, 0U}) {
    const auto rows = f.store->networks().list(f.tenant, page);
    REQUIRE(rows.has_value());
    CHECK(rows->size() == size);
    for (const Network& row : *rows) CHECK(seen.insert(row.id.text).second);
    if (!rows->empty()) page.after = rows->back().id.text;
  }
  CHECK(seen == expected);
}

TEST_CASE("a transaction is everything or nothing") {
  Fixture f;
  {
    auto transaction = Transaction::begin(*f.store);
    REQUIRE(transaction.has_value());
    f.add_network(f.tenant, "undone");
    CHECK(f.store->raise_revision(f.tenant) == 2);
  }
  CHECK(f.store->networks().count(f.tenant) == 0);
  CHECK(f.store->revision(f.tenant) == 1);
  {
    auto transaction = Transaction::begin(*f.store);
    REQUIRE(transaction.has_value());
    f.add_network(f.tenant, "done");
    CHECK(f.store->raise_revision(f.tenant) == 2);
    CHECK(transaction->commit());
  }
  CHECK(f.store->networks().count(f.tenant) == 1);
  CHECK(f.store->revision(f.tenant) == 2);
  CHECK(f.store->revision(f.other) == 1);
}

TEST_CASE("a node is found by its certificate, whatever its kind") {
  Fixture f;
  const ServiceAccount account = f.add_account(f.other, "ci");
  const Relay relay{.id = make_id<RelayIdTag>(f.random), .name = "r", .certificate = digest_of(1)};
  const Device device{.id = make_id<DeviceIdTag>(f.random),
                      .subject = {account.id.text},
                      .certificate = digest_of(2)};
  REQUIRE(f.store->relays().insert(f.tenant, relay));
  REQUIRE(f.store->devices().insert(f.other, device));
  CHECK(f.store->find_node(digest_of(1)) == Owned<NodeRow>{f.tenant, relay});
  CHECK(f.store->find_node(digest_of(2)) == Owned<NodeRow>{f.other, device});
  CHECK(f.store->find_node(digest_of(3)).error() == StoreError::not_found);
}

IssuedGrant grant_until(Random& random, std::int64_t expires) {
  return {.id = make_id<GrantIdTag>(random),
          .host = "db",
          .port = 65535,
          .client_certificate = digest_of(1),
          .issued = at(1),
          .expires = at(expires)};
}

TEST_CASE("a grant is remembered until the moment at which it expires, revoked or not") {
  Fixture f;
  IssuedGrant early = grant_until(f.random, 10);
  const IssuedGrant late = grant_until(f.random, 20);
  REQUIRE(f.store->insert_grant(f.tenant, early));
  REQUIRE(f.store->insert_grant(f.tenant, late));
  CHECK(f.store->revoke_grant(f.tenant, early.id, "first"));
  CHECK(f.store->revoke_grant(f.tenant, early.id, "second"));
  CHECK(f.store->revoke_grant(f.other, early.id, "x").error() == StoreError::not_found);
  early.is_revoked = true;
  early.reason = "first";
  const auto all = f.store->grants(f.tenant, at(10) - std::chrono::milliseconds(1));
  REQUIRE(all.has_value());
  CHECK(all->size() == 2);
  CHECK(std::ranges::find(*all, early) != all->end());
  CHECK(f.store->grants(f.tenant, at(10)) == std::vector{late});
  CHECK(f.store->count_grants(f.tenant, at(10)) == 1);
  CHECK(f.store->grants(f.other, at(0))->empty());
  CHECK(f.store->remove_expired_grants(f.tenant, at(10)) == 1);
  CHECK(f.store->count_grants(f.tenant, at(0)) == 1);
}

TEST_CASE("a flow event is stored once per flow, kind and reporter") {
  Fixture f;
  FlowEvent event{.flow = make_id<FlowIdTag>(f.random), .node = "con_a", .time = at(5)};
  event.bytes_up = INT64_MAX;
  event.target = "db.internal:5432";
  CHECK(f.store->insert_flow_event(f.tenant, event) == true);
  CHECK(f.store->insert_flow_event(f.tenant, event) == false);
  CHECK(f.store->insert_flow_event(f.other, event) == true);
  FlowEvent closed = event;
  closed.kind = FlowEventKind::closed;
  closed.time = at(6);
  CHECK(f.store->insert_flow_event(f.tenant, closed) == true);
  FlowEvent by_client = event;
  by_client.node = "dev_b";
  CHECK(f.store->insert_flow_event(f.tenant, by_client) == true);

  const auto all = f.store->flow_events(f.tenant, {});
  REQUIRE(all.has_value());
  REQUIRE(all->size() == 3);
  CHECK((*all)[0].event == by_client);  // Newest first.
  CHECK((*all)[2].event == event);
  const auto only = [&](FlowEventQuery query) {
    const auto found = f.store->flow_events(f.tenant, query);
    return found ? found->size() : std::size_t{99};
  };
  CHECK(only({.kind = FlowEventKind::closed}) == 1);
  CHECK(only({.since = at(6)}) == 1);
  CHECK(only({.before = at(6)}) == 2);
  CHECK(only({.subject = "x"}) == 0);
  CHECK(only({.flow = event.flow.text}) == 3);
  CHECK(only({.below_sequence = (*all)[0].sequence}) == 2);
  CHECK(only({.limit = 1}) == 1);
}

TEST_CASE("pruning keeps the newest entries of each tenant") {
  Fixture f;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(f.store->append_audit(f.tenant, {.actor = "a", .action = std::to_string(i)}));
  }
  REQUIRE(f.store->append_audit(f.other, {.actor = "a", .action = "theirs"}));
  CHECK(f.store->prune_log(f.tenant, 5, 10) == 0);
  CHECK(f.store->prune_log(f.tenant, 5, 3) == 7);
  const auto kept = f.store->audit(f.tenant, {});
  REQUIRE(kept.has_value());
  REQUIRE(kept->size() == 3);
  CHECK((*kept)[0].action == "9");
  CHECK((*kept)[2].action == "7");
  CHECK(f.store->audit(f.other, {})->size() == 1);
  CHECK(f.store->audit(f.tenant, {.action = "8"})->size() == 1);
}

TEST_CASE("a tenant's keys come in the order of activity, and go when they retire") {
  Fixture f;
  const auto add = [&](const char* kid, std::int64_t active) {
    REQUIRE(f.store->insert_key(f.tenant, {kid, Secret(std::string(32, 'x')), at(active), {}}));
  };
  add("b", 20);
  add("a", 10);
  REQUIRE(f.store->retire_key(f.tenant, "a", at(30)));
  CHECK(f.store->retire_key(f.other, "a", at(30)).error() == StoreError::not_found);
  auto keys = f.store->keys(f.tenant);
  REQUIRE(keys.has_value());
  REQUIRE(keys->size() == 2);
  CHECK(keys->front().kid == "a");
  CHECK(keys->front().seed.reveal() == std::string(32, 'x'));
  CHECK(f.store->remove_retired_keys(f.tenant, at(30) - std::chrono::milliseconds(1)) == 0);
  CHECK(f.store->remove_retired_keys(f.tenant, at(30)) == 1);
}

// --- The file.

TEST_CASE("what was committed is there after the next start; the file is its owner's alone") {
  const TemporaryFile file;
  SeededRandom random(2);
  TenantId tenant;
  {
    const auto store = open({.path = file.path()});
    tenant = add_tenant(*store, random, "one");
    REQUIRE(store->raise_revision(tenant));
    const Installation installation{.authority_certificate = "A",
                                    .authority_key = Secret(std::string("B")),
                                    .https_certificate = "C",
                                    .https_key = Secret(std::string("D")),
                                    .https_hosts = {"e", "f"}};
    CHECK(store->installation().error() == StoreError::not_found);
    REQUIRE(store->put_installation(installation));
  }
  const auto store = open({.path = file.path()});
  CHECK(store->revision(tenant) == 2);
  const auto installation = store->installation();
  REQUIRE(installation.has_value());
  CHECK(installation->https_key.reveal() == "D");
  CHECK(installation->https_hosts == std::vector<std::string>{"e", "f"});
  for (const char* suffix : {"", "-wal"}) {
    struct stat status{};
    if (stat((file.path() + suffix).c_str(), &status) == 0) CHECK((status.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a process that is killed in a transaction leaves what was before it") {
  const TemporaryFile file;
  SeededRandom random(3);
  const pid_t child = fork();
  if (child == 0) {
    auto store = SqliteStore::open({.path = file.path()});
    const Tenant tenant{.id = make_id<TenantIdTag>(random), .name = "kept"};
    bool is_good = store && (*store)->insert_tenant(tenant).has_value();
    auto transaction = is_good ? Transaction::begin(**store) : std::unexpected(StoreError::busy);
    is_good = transaction && (*store)->raise_revision(tenant.id).has_value() &&
              (*store)->insert_tenant({.id = {"ten_b"}, .name = "lost"}).has_value();
    kill(getpid(), is_good ? SIGKILL : SIGABRT);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGKILL);
  const auto store = open({.path = file.path()});
  const auto tenants = store->tenants();
  REQUIRE(tenants.has_value());
  REQUIRE(tenants->size() == 1);
  CHECK(tenants->front().name == "kept");
  CHECK(store->revision(tenants->front().id) == 1);
}

TEST_CASE("events that were committed are there after kill -9, each once") {
  const TemporaryFile file;
  SeededRandom random(5);
  const Tenant tenant{.id = make_id<TenantIdTag>(random), .name = "kept"};
  const FlowEvent event{.flow = make_id<FlowIdTag>(random), .node = "con_a", .time = at(5)};
  const pid_t child = fork();
  if (child == 0) {
    auto store = SqliteStore::open({.path = file.path()});
    bool is_good = store && (*store)->insert_tenant(tenant).has_value();
    auto transaction = is_good ? Transaction::begin(**store) : std::unexpected(StoreError::busy);
    is_good = transaction && (*store)->insert_flow_event(tenant.id, event) == true &&
              transaction->commit().has_value();
    kill(getpid(), is_good ? SIGKILL : SIGABRT);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGKILL);
  const auto store = open({.path = file.path()});
  // The answer did not arrive, so the node tells it again.
  CHECK(store->insert_flow_event(tenant.id, event) == false);
  const auto events = store->flow_events(tenant.id, {});
  REQUIRE(events.has_value());
  REQUIRE(events->size() == 1);
  CHECK(events->front().event == event);
}

TEST_CASE("a second controller on the same file is told that it is busy") {
  const TemporaryFile file;
  const auto first = open({.path = file.path()});
  CHECK(SqliteStore::open({.path = file.path()}).error() == StoreError::busy);
}

TEST_CASE("a full disk is named, loses nothing, and heals") {
  const TemporaryFile file;
  SeededRandom random(4);
  TenantId tenant;
  std::size_t kept = 0;
  {
    const auto store = open({.path = file.path(), .page_count_max = 140});
    tenant = add_tenant(*store, random, "one");
    const controller::AuditEntry entry{
        .actor = "a", .action = "b", .detail = std::string(2000, 'x')};
    StoreResult<std::int64_t> appended = 1;
    while (appended) {
      auto transaction = Transaction::begin(*store);
      REQUIRE(transaction.has_value());
      appended = store->append_audit(tenant, entry);
      if (appended) {
        REQUIRE(transaction->commit());
        ++kept;
      }
    }
    CHECK(appended.error() == StoreError::full);
    CHECK(store->audit(tenant, {.limit = 10'000})->size() == kept);
    REQUIRE(store->prune_log(tenant, 1, 1) == kept - 1);
    CHECK(store->append_audit(tenant, entry).has_value());
  }
  const auto store = open({.path = file.path()});
  CHECK(store->audit(tenant, {})->size() == 2);
}

void write_file(const std::string& path, const std::string& content) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(std::fwrite(content.data(), 1, content.size(), file) == content.size());
  REQUIRE(std::fclose(file) == 0);
}

TEST_CASE("what is no database of ours is refused by name and left alone") {
  const TemporaryFile file;
  SECTION("not a database") {
    write_file(file.path(), std::string(8192, 'x'));
    CHECK(SqliteStore::open({.path = file.path()}).error() == StoreError::corrupt);
  }
  SECTION("somebody else's database") {
    auto database = Database::open(file.path());
    REQUIRE(database.has_value());
    REQUIRE((*database)->run("CREATE TABLE theirs (x)"));
    database->reset();
    CHECK(SqliteStore::open({.path = file.path()}).error() == StoreError::corrupt);
  }
  SECTION("a later version's") {
    open({.path = file.path()});
    auto database = Database::open(file.path());
    REQUIRE(database.has_value());
    REQUIRE((*database)->run("PRAGMA user_version = 1000"));
    database->reset();
    CHECK(SqliteStore::open({.path = file.path()}).error() == StoreError::unsupported_schema);
  }
  SECTION("a folder that is not there") {
    CHECK(SqliteStore::open({.path = "/nowhere/at/all"}).error() == StoreError::io_failure);
  }
}

TEST_CASE("a damaged page is an error of its own and never a default value") {
  const TemporaryFile file;
  SeededRandom random(5);
  {
    const auto store = open({.path = file.path()});
    const TenantId tenant = add_tenant(*store, random, "one");
    for (int i = 0; i < 50; ++i) {
      REQUIRE(store->append_audit(tenant, {.detail = std::string(500, 'x')}));
    }
  }
  std::FILE* const raw = std::fopen(file.path().c_str(), "r+b");
  REQUIRE(raw != nullptr);
  REQUIRE(std::fseek(raw, 4096, SEEK_SET) == 0);
  const std::string noise(200 * 1024, '\x5a');
  REQUIRE(std::fwrite(noise.data(), 1, noise.size(), raw) == noise.size());
  REQUIRE(std::fclose(raw) == 0);
  const auto store = SqliteStore::open({.path = file.path()});
  if (store) {
    CHECK((*store)->tenants().error() == StoreError::corrupt);
  } else {
    CHECK(store.error() == StoreError::corrupt);
  }
}

TEST_CASE("a step of the schema happens whole or not at all") {
  auto database = Database::open(":memory:");
  REQUIRE(database.has_value());
  const std::array<const char*, 2> broken{"CREATE TABLE a (x);",
                                          "CREATE TABLE b (x); CREATE TABLE b (x);"};
  CHECK_FALSE(migrate(**database, broken).has_value());
  CHECK((*database)->number("PRAGMA user_version") == 1);
  CHECK((*database)->number("SELECT count(*) FROM sqlite_schema") == 1);
  const std::array<const char*, 2> mended{"never run again", "CREATE TABLE b (x);"};
  CHECK(migrate(**database, mended).has_value());
  CHECK((*database)->number("PRAGMA user_version") == 2);
  CHECK((*database)->number("SELECT count(*) FROM sqlite_schema") == 2);
  CHECK(migrate(**database, mended).has_value());
  const std::array<const char*, 1> older{"CREATE TABLE a (x);"};
  CHECK(migrate(**database, older).error() == StoreError::unsupported_schema);
}

TEST_CASE("networks and resources of before path rules have none after the upgrade") {
  const TemporaryFile file;
  SeededRandom random(7);
  const auto tenant = make_id<TenantIdTag>(random);
  const auto network = make_id<NetworkIdTag>(random);
  const auto resource = make_id<ResourceIdTag>(random);
  {
    auto database = Database::open(file.path());
    REQUIRE(database.has_value());
    REQUIRE(migrate(**database, schema_steps().first(1)));
    const std::string rows = "INSERT INTO tenant VALUES ('" + tenant.text + "', 'one', 1, 1);" +
                             "INSERT INTO network VALUES ('" + tenant.text + "', '" + network.text +
                             "', 'office', 1, 3);" + "INSERT INTO resource VALUES ('" +
                             tenant.text + "', '" + resource.text + "', '" + network.text +
                             "', 'db', 'db.internal', '', '5432\n', '', 1, 1, 1);";
    REQUIRE((*database)->run(rows.c_str()));
  }
  const auto store = open({.path = file.path()});
  auto office = store->networks().find(tenant, network);
  REQUIRE(office);
  CHECK(office->path == controller::PathSettings{});
  CHECK(office->version == 3);
  auto db = store->resources().find(tenant, resource);
  REQUIRE(db);
  CHECK_FALSE(db->has_path);
  CHECK(db->path == controller::PathSettings{});

  office->path = {.paths = Paths::never_relay,
                  .relays = {"rly_1", "rly_2"},
                  .regions = {"eu west"},
                  .is_own_first = true};
  REQUIRE(store->networks().update(tenant, *office));
  CHECK(store->networks().find(tenant, network)->path == office->path);
  db->has_path = true;
  db->path.paths = Paths::always_relay;
  REQUIRE(store->resources().update(tenant, *db));
  CHECK(store->resources().find(tenant, resource)->has_path);
  CHECK(store->resources().find(tenant, resource)->path == db->path);
}

}  // namespace
}  // namespace zt::store
