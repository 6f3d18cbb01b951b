// SPDX-License-Identifier: Apache-2.0
#include "zt/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace zt {

void fail_assert(const char* condition, const char* file, int line) noexcept {
  // The process is about to end: nothing can be done about a failed write.
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): allocates nothing and cannot throw.
  (void)std::fprintf(stderr, "zt: bug: %s is false at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace zt
