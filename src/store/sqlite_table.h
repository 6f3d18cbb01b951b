// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/sqlite_table.h: the five verbs of controller::Table on one table.

#include <string>
#include <vector>

#include "store/columns.h"
#include "store/sqlite.h"

namespace zt::store {

using controller::Page;

// column_list writes ", name, network, …": the visited columns, each with a comma before it.
template <class Row>
[[nodiscard]] std::string column_list() {
  std::string text;
  const Row row{};
  Columns<Row>::visit(row, [&](const char* name, const auto&) { text.append(", ").append(name); });
  return text;
}

// parameter_list writes ", ?" for each visited column.
template <class Row>
[[nodiscard]] std::string parameter_list() {
  std::string text;
  const Row row{};
  Columns<Row>::visit(row, [&](const char*, const auto&) { text.append(", ?"); });
  return text;
}

template <class Row>
void bind_columns(Query& query, const Row& row) {
  Columns<Row>::visit(row, [&](const char*, const auto& member) { query.bind(member); });
}

template <class Row>
void read_columns(Query& query, Row& row) {
  Columns<Row>::visit(row, [&](const char*, auto& member) { query.read(member); });
}

template <class Row>
class SqliteTable final : public controller::Table<Row> {
 public:
  using IdType = typename controller::Table<Row>::IdType;

  explicit SqliteTable(Database& database) : database_(database), sql_(make_sql()) {}

  [[nodiscard]] StoreResult<void> insert(const TenantId& tenant, const Row& row) override {
    Query query(database_, sql_.insert);
    query.bind_all(tenant, row.id, row.version);
    bind_columns(query, row);
    return query.done();
  }

  [[nodiscard]] StoreResult<Row> find(const TenantId& tenant, const IdType& id) override {
    Query query(database_, sql_.find);
    query.bind_all(tenant, id);
    return only(query);
  }

  [[nodiscard]] StoreResult<Row> find_named(const TenantId& tenant,
                                            std::string_view name) override {
    Query query(database_, sql_.find_named);
    query.bind_all(tenant, name);
    return only(query);
  }

  [[nodiscard]] StoreResult<std::vector<Row>> list(const TenantId& tenant,
                                                   const Page& page) override {
    Query query(database_, sql_.list);
    query.bind_all(tenant, page.after, static_cast<std::int64_t>(page.limit));
    std::vector<Row> rows;
    for (;;) {
      const auto has_row = query.step();
      if (!has_row) return std::unexpected(has_row.error());
      if (!*has_row) return rows;
      rows.push_back(read(query));
      if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
    }
  }

  [[nodiscard]] StoreResult<std::int64_t> update(const TenantId& tenant, const Row& row) override {
    Query query(database_, sql_.update);
    query.bind(std::int64_t{row.version + 1});
    bind_columns(query, row);
    query.bind_all(tenant, row.id, row.version);
    if (const auto done = query.done(); !done) return std::unexpected(done.error());
    if (database_.changed_count() == 1) return row.version + 1;
    const auto current = find(tenant, row.id);
    return std::unexpected(current ? StoreError::stale : current.error());
  }

  [[nodiscard]] StoreResult<void> remove(const TenantId& tenant, const IdType& id) override {
    Query query(database_, sql_.remove);
    query.bind_all(tenant, id);
    if (const auto done = query.done(); !done) return done;
    if (database_.changed_count() == 0) return std::unexpected(StoreError::not_found);
    return {};
  }

  [[nodiscard]] StoreResult<std::size_t> count(const TenantId& tenant) override {
    Query query(database_, sql_.count);
    query.bind(tenant);
    const auto has_row = query.step();
    if (!has_row) return std::unexpected(has_row.error());
    std::int64_t value = 0;
    query.read(value);
    return static_cast<std::size_t>(value);
  }

  // find_by returns the one row whose unique `column` has `value`, of whichever tenant.
  template <class Value>
  [[nodiscard]] StoreResult<controller::Owned<Row>> find_by(const char* column,
                                                            const Value& value) {
    const std::string sql = "SELECT tenant, id, version" + column_list<Row>() + " FROM " +
                            Columns<Row>::kTable + " WHERE " + column + " = ?";
    Query query(database_, sql);
    query.bind(value);
    const auto has_row = query.step();
    if (!has_row) return std::unexpected(has_row.error());
    if (!*has_row) return std::unexpected(StoreError::not_found);
    controller::Owned<Row> owned;
    query.read(owned.tenant);
    owned.row = read(query);
    if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
    return owned;
  }

 private:
  struct Sql {
    std::string insert;
    std::string find;
    std::string find_named;
    std::string list;
    std::string update;
    std::string remove;
    std::string count;
  };

  static Sql make_sql() {
    const std::string table = Columns<Row>::kTable;
    const std::string select = "SELECT id, version" + column_list<Row>() + " FROM " + table;
    std::string assignments;
    const Row row{};
    Columns<Row>::visit(row, [&](const char* name, const auto&) {
      assignments.append(", ").append(name).append(" = ?");
    });
    return {
        .insert = "INSERT INTO " + table + " (tenant, id, version" + column_list<Row>() +
                  ") VALUES (?, ?, ?" + parameter_list<Row>() + ")",
        .find = select + " WHERE tenant = ? AND id = ?",
        .find_named = select + " WHERE tenant = ? AND name = ? ORDER BY id LIMIT 1",
        .list = select + " WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
        .update = "UPDATE " + table + " SET version = ?" + assignments +
                  " WHERE tenant = ? AND id = ? AND version = ?",
        .remove = "DELETE FROM " + table + " WHERE tenant = ? AND id = ?",
        .count = "SELECT count(*) FROM " + table + " WHERE tenant = ?",
    };
  }

  static Row read(Query& query) {
    Row row{};
    query.read(row.id);
    query.read(row.version);
    read_columns(query, row);
    return row;
  }

  static StoreResult<Row> only(Query& query) {
    const auto has_row = query.step();
    if (!has_row) return std::unexpected(has_row.error());
    if (!*has_row) return std::unexpected(StoreError::not_found);
    Row row = read(query);
    if (query.is_corrupt()) return std::unexpected(StoreError::corrupt);
    return row;
  }

  Database& database_;
  Sql sql_;
};

}  // namespace zt::store
