// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/assert.h: checks for bugs in this program. Never for bytes that a peer sent.

namespace zt {

// fail_assert prints `condition` and its place to standard error and aborts.
[[noreturn]] void fail_assert(const char* condition, const char* file, int line) noexcept;

}  // namespace zt

// ZT_ASSERT stays on in release builds: a door that opens wrongly is worse than one that stays
// shut.
#define ZT_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::zt::fail_assert(#condition, __FILE__, __LINE__))
