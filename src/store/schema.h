// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/schema.h: the tables, as the numbered steps that made them.
//
// Theory of operation
//   Step n turns a file of schema n - 1 into one of schema n, in one transaction together with
//   `user_version`. Steps are never edited once released, only added. A file whose number is above
//   ours was written by a later program, which we do not understand: it is refused, untouched.

#include <span>

#include "store/sqlite.h"

namespace zt::store {

// kApplicationId marks our files (PRAGMA application_id).
inline constexpr std::int64_t kApplicationId = 0x7a740a11;

// schema_steps returns the steps, the first one first.
[[nodiscard]] std::span<const char* const> schema_steps();

// migrate brings the file up to the latest schema. It fails with `unsupported_schema`, with
// `corrupt` for a database that is not ours, and with what a broken disk says.
[[nodiscard]] StoreResult<void> migrate(Database& database, std::span<const char* const> steps);

}  // namespace zt::store
