// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_list.h: lists of the administrators' API, as tables for people or JSON for programs.
//
// Theory of operation
//   A ListView says which members of an object become columns. Members that hold ids are shown as
//   names, if the object still exists. JSON is what the API said, unchanged.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "app/admin_session.h"
#include "wire/json.h"

namespace zt::app {

struct Column {
  enum class Form : std::uint8_t {
    text,    // A string or a number as it is.
    yes_no,  // A flag.
    list,    // Texts, or one: ports ("all"), aliases.
    name,    // An id, or a list of ids, shown as names.
    size,    // Bytes, with a unit.
  };
  std::string_view head;
  const char* member;
  Form form = Form::text;
};

struct ListView {
  std::span<const Column> columns;
  std::span<const Kind> referred;  // Whose names the columns of form `name` need.
};

// view_of returns how the objects of a kind are listed.
[[nodiscard]] ListView view_of(const Kind& kind);
[[nodiscard]] ListView members_view();
[[nodiscard]] ListView keys_view();
[[nodiscard]] ListView signing_keys_view();
[[nodiscard]] ListView events_view();
[[nodiscard]] ListView audit_view();

// list_text writes the table, one line for each of `items` below the heads.
[[nodiscard]] std::string list_text(const wire::Json& items, std::span<const Column> columns,
                                    const Names& names);

// line_text writes one item as one line, two spaces between its cells.
[[nodiscard]] std::string line_text(const wire::Json& item, std::span<const Column> columns,
                                    const Names& names);

// print_list prints items to standard output.
[[nodiscard]] Done print_list(const AdminSession& session, const wire::Json& items,
                              const ListView& view, bool is_json);

}  // namespace zt::app
