// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>

namespace zt::store {

namespace {

StoreError translate(int extended_code) {
  switch (extended_code) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID:
      return StoreError::conflict;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
    case SQLITE_CONSTRAINT_TRIGGER:
      return StoreError::dangling;
    default:
      break;
  }
  switch (extended_code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
      return StoreError::full;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return StoreError::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return StoreError::corrupt;
    default:
      return StoreError::io_failure;
  }
}

// make_private_file creates the file for its owner only; SQLite gives its -wal file the same mode.
bool make_private_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return false;
  ::close(file);
  return true;
}

}  // namespace

void ConnectionDeleter::operator()(sqlite3* connection) const noexcept {
  sqlite3_close_v2(connection);
}

void StatementDeleter::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

StoreResult<std::unique_ptr<Database>> Database::open(const std::string& path) {
  if (path != ":memory:" && !make_private_file(path)) {
    return std::unexpected(StoreError::io_failure);
  }
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &connection,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<Database> database(new Database(connection));
  if (code != SQLITE_OK) return std::unexpected(translate(code));
  // Never obey a schema that somebody planted in the file.
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return database;
}

StoreResult<void> Database::run(const char* sql) {
  if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(error());
  }
  return {};
}

StoreResult<std::int64_t> Database::number(const char* sql) {
  Query query(*this, sql);
  const auto has_row = query.step();
  if (!has_row) return std::unexpected(has_row.error());
  std::int64_t value = 0;
  if (*has_row) query.read(value);
  return value;
}

bool Database::is_in_transaction() const {
  return sqlite3_get_autocommit(connection_.get()) == 0;
}

std::size_t Database::changed_count() const {
  return static_cast<std::size_t>(sqlite3_changes64(connection_.get()));
}

StoreError Database::error() const {
  return translate(sqlite3_extended_errcode(connection_.get()));
}

StoreResult<sqlite3_stmt*> Database::prepare(std::string_view sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) return found->second.get();
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return std::unexpected(translate(code));
  statements_.emplace(std::string(sql), statement);
  return statement;
}

Query::Query(Database& database, std::string_view sql) : database_(database) {
  const auto statement = database.prepare(sql);
  if (statement) {
    statement_ = *statement;
  } else {
    error_ = statement.error();
  }
}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);  // Secrets do not stay behind in them.
}

void Query::check(int code) {
  if (code != SQLITE_OK && !error_) error_ = translate(code);
}

void Query::bind(std::string_view value) {
  // An empty view may point nowhere, which SQLite would read as NULL.
  const char* const data = value.empty() ? "" : value.data();
  if (statement_ == nullptr) return;
  check(sqlite3_bind_text64(statement_, ++parameter_, data, value.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8));
}

void Query::bind(std::int64_t value) {
  if (statement_ == nullptr) return;
  check(sqlite3_bind_int64(statement_, ++parameter_, value));
}

void Query::bind_blob(BytesView value) {
  if (statement_ == nullptr) return;
  check(
      sqlite3_bind_blob64(statement_, ++parameter_, value.data(), value.size(), SQLITE_TRANSIENT));
}

void Query::bind_null() {
  if (statement_ == nullptr) return;
  check(sqlite3_bind_null(statement_, ++parameter_));
}

StoreResult<bool> Query::step() {
  if (error_) return std::unexpected(*error_);
  const int code = sqlite3_step(statement_);
  column_ = 0;
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  error_ = translate(code);
  return std::unexpected(*error_);
}

StoreResult<void> Query::done() {
  const auto has_row = step();
  if (!has_row) return std::unexpected(has_row.error());
  return {};
}

bool Query::is_null() const {
  return sqlite3_column_type(statement_, column_) == SQLITE_NULL;
}

void Query::read(std::string& value) {
  is_corrupt_ |= sqlite3_column_type(statement_, column_) != SQLITE_TEXT;
  const auto* const data = sqlite3_column_blob(statement_, column_);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_));
  ++column_;
  value.assign(static_cast<const char*>(size == 0 ? "" : data), size);
}

void Query::read(std::int64_t& value) {
  is_corrupt_ |= sqlite3_column_type(statement_, column_) != SQLITE_INTEGER;
  value = sqlite3_column_int64(statement_, column_++);
}

void Query::read(bool& value) {
  std::int64_t number = 0;
  read(number);
  is_corrupt_ |= number != 0 && number != 1;
  value = number == 1;
}

void Query::read(UnixTime& value) {
  std::int64_t number = 0;
  read(number);
  value = UnixTime(std::chrono::milliseconds(number));
}

void Query::read(std::uint16_t& value) {
  std::int64_t number = 0;
  read(number);
  is_corrupt_ |= number < 0 || number > std::numeric_limits<std::uint16_t>::max();
  value = static_cast<std::uint16_t>(number);
}

void Query::read(Secret& value) {
  value = Secret(as_text(read_blob()));
}

BytesView Query::read_blob() {
  is_corrupt_ |= sqlite3_column_type(statement_, column_) != SQLITE_BLOB;
  const void* const data = sqlite3_column_blob(statement_, column_);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_));
  ++column_;
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace zt::store
