// SPDX-License-Identifier: Apache-2.0
#include "store/schema.h"

#include <fmt/format.h>

#include <array>

namespace zt::store {

namespace {

// Times are milliseconds since 1970. Keys begin with the tenant; so do references, so that a row
// cannot name another tenant's.
constexpr const char* kStepOne = R"sql(
CREATE TABLE tenant (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  revision INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE installation (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  authority_certificate TEXT NOT NULL,
  authority_key BLOB NOT NULL,
  https_certificate TEXT NOT NULL,
  https_key BLOB NOT NULL,
  https_hosts TEXT NOT NULL
) STRICT;

CREATE TABLE tenant_key (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  kid TEXT NOT NULL,
  seed BLOB NOT NULL,
  active_from INTEGER NOT NULL,
  retires INTEGER,
  PRIMARY KEY (tenant, kid)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  expires INTEGER,
  last_used INTEGER,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE network (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE connector (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  network TEXT NOT NULL,
  name TEXT NOT NULL,
  certificate BLOB NOT NULL UNIQUE,
  route BLOB NOT NULL UNIQUE,
  is_enabled INTEGER NOT NULL,
  software TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_seen INTEGER,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name),
  FOREIGN KEY (tenant, network) REFERENCES network (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX connector_network ON connector (tenant, network);

CREATE TABLE relay (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  region TEXT NOT NULL,
  address TEXT NOT NULL,
  certificate BLOB NOT NULL UNIQUE,
  is_enabled INTEGER NOT NULL,
  software TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_seen INTEGER,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE resource (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  network TEXT NOT NULL,
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  aliases TEXT NOT NULL,
  tcp TEXT NOT NULL,
  udp TEXT NOT NULL,
  is_enabled INTEGER NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name),
  FOREIGN KEY (tenant, network) REFERENCES network (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_network ON resource (tenant, network);

CREATE TABLE user_group (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  email TEXT NOT NULL,
  is_enabled INTEGER NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE service_account (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  is_enabled INTEGER NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE service_account_key (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE,
  is_revoked INTEGER NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  last_used INTEGER,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  FOREIGN KEY (tenant, account) REFERENCES service_account (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX service_account_key_account ON service_account_key (tenant, account);

CREATE TABLE device (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  subject TEXT NOT NULL,
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  os TEXT NOT NULL,
  certificate BLOB NOT NULL UNIQUE,
  route BLOB NOT NULL UNIQUE,
  is_enabled INTEGER NOT NULL,
  software TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_seen INTEGER,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_subject ON device (tenant, subject);

CREATE TABLE membership (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  user_group TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (tenant, user_group, subject),
  FOREIGN KEY (tenant, user_group) REFERENCES user_group (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_subject ON membership (tenant, subject);

CREATE TABLE access_rule (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  effect TEXT NOT NULL,
  subjects TEXT NOT NULL,
  resources TEXT NOT NULL,
  protocols TEXT NOT NULL,
  ports TEXT NOT NULL,
  valid_until INTEGER,
  is_enabled INTEGER NOT NULL,
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrolment_token (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  network TEXT,
  name TEXT NOT NULL,
  region TEXT NOT NULL,
  address TEXT NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE,
  uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  FOREIGN KEY (tenant, network) REFERENCES network (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolment_token_network ON enrolment_token (tenant, network);

CREATE TABLE issued_grant (
  tenant TEXT NOT NULL REFERENCES tenant (id),
  id TEXT NOT NULL,
  subject TEXT NOT NULL,
  device TEXT NOT NULL,
  resource TEXT NOT NULL,
  network TEXT NOT NULL,
  host TEXT NOT NULL,
  protocol TEXT NOT NULL,
  port INTEGER NOT NULL,
  client_certificate BLOB NOT NULL,
  decision TEXT NOT NULL,
  issued INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  is_revoked INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX issued_grant_expires ON issued_grant (tenant, expires);

CREATE TABLE flow_event (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL REFERENCES tenant (id),
  flow TEXT NOT NULL,
  kind TEXT NOT NULL,
  node TEXT NOT NULL,
  time INTEGER NOT NULL,
  decision TEXT NOT NULL,
  grant_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  device TEXT NOT NULL,
  resource TEXT NOT NULL,
  network TEXT NOT NULL,
  connector TEXT NOT NULL,
  client_address TEXT NOT NULL,
  target TEXT NOT NULL,
  target_address TEXT NOT NULL,
  protocol TEXT NOT NULL,
  bytes_up INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  reason TEXT NOT NULL,
  path TEXT NOT NULL,
  reporter TEXT NOT NULL,
  UNIQUE (tenant, flow, kind, node)
) STRICT;
CREATE INDEX flow_event_sequence ON flow_event (tenant, sequence);

CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL REFERENCES tenant (id),
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_sequence ON audit (tenant, sequence);

-- A subject is in one of two tables, which a foreign key cannot say: these triggers remove what a
-- subject owns, and refuse a membership or a device of a subject that is absent.
CREATE TRIGGER user_removed AFTER DELETE ON user BEGIN
  DELETE FROM membership WHERE tenant = old.tenant AND subject = old.id;
  DELETE FROM device WHERE tenant = old.tenant AND subject = old.id;
END;
CREATE TRIGGER service_account_removed AFTER DELETE ON service_account BEGIN
  DELETE FROM membership WHERE tenant = old.tenant AND subject = old.id;
  DELETE FROM device WHERE tenant = old.tenant AND subject = old.id;
END;
CREATE TRIGGER membership_dangles BEFORE INSERT ON membership
WHEN NOT EXISTS (SELECT 1 FROM user WHERE tenant = new.tenant AND id = new.subject)
 AND NOT EXISTS (SELECT 1 FROM service_account WHERE tenant = new.tenant AND id = new.subject)
BEGIN
  SELECT raise(ABORT, 'the subject is absent');
END;
CREATE TRIGGER device_dangles BEFORE INSERT ON device
WHEN NOT EXISTS (SELECT 1 FROM user WHERE tenant = new.tenant AND id = new.subject)
 AND NOT EXISTS (SELECT 1 FROM service_account WHERE tenant = new.tenant AND id = new.subject)
BEGIN
  SELECT raise(ABORT, 'the subject is absent');
END;
CREATE TRIGGER device_update_dangles BEFORE UPDATE OF subject ON device
WHEN NOT EXISTS (SELECT 1 FROM user WHERE tenant = new.tenant AND id = new.subject)
 AND NOT EXISTS (SELECT 1 FROM service_account WHERE tenant = new.tenant AND id = new.subject)
BEGIN
  SELECT raise(ABORT, 'the subject is absent');
END;
)sql";

// By which paths flows may travel.
constexpr const char* kStepTwo = R"sql(
ALTER TABLE network ADD COLUMN paths TEXT NOT NULL DEFAULT 'any';
ALTER TABLE network ADD COLUMN relays TEXT NOT NULL DEFAULT '';
ALTER TABLE network ADD COLUMN regions TEXT NOT NULL DEFAULT '';
ALTER TABLE network ADD COLUMN is_own_first INTEGER NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN has_path INTEGER NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN paths TEXT NOT NULL DEFAULT 'any';
ALTER TABLE resource ADD COLUMN relays TEXT NOT NULL DEFAULT '';
ALTER TABLE resource ADD COLUMN regions TEXT NOT NULL DEFAULT '';
ALTER TABLE resource ADD COLUMN is_own_first INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr std::array<const char*, 2> kSteps{kStepOne, kStepTwo};

// apply makes one step and its number last together.
StoreResult<void> apply(Database& database, const char* step, std::size_t number) {
  auto applied = database.run("BEGIN IMMEDIATE");
  if (applied) applied = database.run(step);
  if (applied) {
    const std::string marks = fmt::format("PRAGMA user_version = {}; PRAGMA application_id = {};",
                                          number, kApplicationId);
    applied = database.run(marks.c_str());
  }
  if (applied) applied = database.run("COMMIT");
  if (!applied && database.is_in_transaction()) (void)database.run("ROLLBACK");  // Undone anyway.
  return applied;
}

}  // namespace

std::span<const char* const> schema_steps() {
  return kSteps;
}

StoreResult<void> migrate(Database& database, std::span<const char* const> steps) {
  const auto application = database.number("PRAGMA application_id");
  const auto table_count = database.number("SELECT count(*) FROM sqlite_schema");
  const auto version = database.number("PRAGMA user_version");
  if (!application) return std::unexpected(application.error());
  if (!table_count) return std::unexpected(table_count.error());
  if (!version) return std::unexpected(version.error());
  if (*application != kApplicationId && *table_count > 0) {
    return std::unexpected(StoreError::corrupt);  // Somebody else's database.
  }
  if (*version < 0 || static_cast<std::size_t>(*version) > steps.size()) {
    return std::unexpected(StoreError::unsupported_schema);
  }
  for (auto done = static_cast<std::size_t>(*version); done < steps.size(); ++done) {
    if (const auto applied = apply(database, steps[done], done + 1); !applied) return applied;
  }
  return {};
}

}  // namespace zt::store
