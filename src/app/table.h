// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/table.h: rows for people: columns as wide as their widest cell, two spaces between them.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace zt::app {

// printable replaces control characters by '?': text may be a stranger's, and a terminal obeys
// them.
[[nodiscard]] std::string printable(std::string text);

class Table {
 public:
  explicit Table(std::vector<std::string> heads) : rows_{std::move(heads)} {}

  // add appends a row with as many cells as there are heads, made printable.
  void add(std::vector<std::string> cells);

  [[nodiscard]] bool is_empty() const { return rows_.size() == 1; }
  [[nodiscard]] std::string to_text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace zt::app
