// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/sqlite.h: SQLite's connection and statements, with owners and with our errors.
//
// Theory of operation
//   A Database is one connection. A Query borrows one of its prepared statements, which are kept
//   for ever by their text, and gives it back when it dies. Values are bound in order and read in
//   order: each type that a row may hold has one bind() and one read(), which are each other's
//   inverse. What read() cannot understand makes the Query corrupt, so that a damaged row is an
//   error, never a default.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "store/text_column.h"
#include "zt/controller/store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace zt::store {

using controller::StoreError;
using controller::StoreResult;

struct ConnectionDeleter {
  void operator()(sqlite3* connection) const noexcept;
};
struct StatementDeleter {
  void operator()(sqlite3_stmt* statement) const noexcept;
};

// Database is a resource.
class Database {
 public:
  // open opens or creates the file, readable by its owner only; ":memory:" is a database without
  // one. It fails with `io_failure`.
  [[nodiscard]] static StoreResult<std::unique_ptr<Database>> open(const std::string& path);

  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() = default;

  // run executes statements that return nothing of interest.
  [[nodiscard]] StoreResult<void> run(const char* sql);

  // number runs a query that returns one integer.
  [[nodiscard]] StoreResult<std::int64_t> number(const char* sql);

  [[nodiscard]] bool is_in_transaction() const;

  // changed_count returns how many rows the latest statement changed, without those of triggers.
  [[nodiscard]] std::size_t changed_count() const;

  // error translates the latest failure.
  [[nodiscard]] StoreError error() const;

 private:
  friend class Query;
  explicit Database(sqlite3* connection) : connection_(connection) {}
  [[nodiscard]] StoreResult<sqlite3_stmt*> prepare(std::string_view sql);

  std::unique_ptr<sqlite3, ConnectionDeleter> connection_;
  std::map<std::string, std::unique_ptr<sqlite3_stmt, StatementDeleter>, std::less<>> statements_;
};

// Query is one use of a statement. An error at any step is kept and returned by step() and done().
class Query {
 public:
  Query(Database& database, std::string_view sql);
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  // bind_all binds `values` to the next parameters.
  template <class... Values>
  Query& bind_all(const Values&... values) {
    (bind(values), ...);
    return *this;
  }

  void bind(std::string_view value);
  void bind(const std::string& value) { bind(std::string_view(value)); }
  void bind(std::int64_t value);
  void bind(bool value) { bind(std::int64_t{value ? 1 : 0}); }
  void bind(std::uint16_t value) { bind(std::int64_t{value}); }
  void bind(UnixTime value) { bind(std::int64_t{value.time_since_epoch().count()}); }
  void bind(const SubjectId& value) { bind(std::string_view(value.text)); }
  void bind(const Secret& value) { bind_blob(as_bytes(value.reveal())); }
  template <class Tag>
  void bind(const Id<Tag>& value) {
    bind(std::string_view(value.text));
  }
  template <class Tag, std::size_t Size>
  void bind(const Fixed<Tag, Size>& value) {
    bind_blob(value.bytes);
  }
  template <class Value>
    requires std::is_enum_v<Value>
  void bind(Value value) {
    bind(text_of(value));
  }
  template <class Value>
  void bind(const std::vector<Value>& values) {
    bind(join_column(values));
  }
  template <class Value>
  void bind(const std::optional<Value>& value) {
    if (value) {
      bind(*value);
    } else {
      bind_null();
    }
  }

  // step fetches the next row; it returns false after the last.
  [[nodiscard]] StoreResult<bool> step();

  // done runs a statement that returns no rows.
  [[nodiscard]] StoreResult<void> done();

  void read(std::string& value);
  void read(std::int64_t& value);
  void read(bool& value);
  void read(UnixTime& value);
  void read(std::uint16_t& value);
  void read(SubjectId& value) { read(value.text); }
  void read(Secret& value);
  template <class Tag>
  void read(Id<Tag>& value) {
    read(value.text);
  }
  template <class Tag, std::size_t Size>
  void read(Fixed<Tag, Size>& value) {
    const auto read_value = Fixed<Tag, Size>::from(read_blob());
    is_corrupt_ |= !read_value;
    if (read_value) value = *read_value;
  }
  template <class Value>
    requires std::is_enum_v<Value>
  void read(Value& value) {
    std::string text;
    read(text);
    is_corrupt_ |= !parse_text(text, value);
  }
  template <class Value>
  void read(std::vector<Value>& values) {
    std::string text;
    read(text);
    is_corrupt_ |= !split_column(text, values);
  }
  template <class Value>
  void read(std::optional<Value>& value) {
    if (is_null()) {
      value.reset();
      ++column_;
      return;
    }
    read(value.emplace());
  }

  // is_corrupt tells whether anything that was read could not be understood.
  [[nodiscard]] bool is_corrupt() const { return is_corrupt_; }

 private:
  void bind_blob(BytesView value);
  void bind_null();
  void check(int code);
  [[nodiscard]] bool is_null() const;
  [[nodiscard]] BytesView read_blob();

  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
  std::optional<StoreError> error_;
  int parameter_ = 0;
  int column_ = 0;
  bool is_corrupt_ = false;
};

}  // namespace zt::store
