// SPDX-License-Identifier: Apache-2.0
#pragma once
// allocations.h: counts calls of operator new. Its source replaces operator new, so what counts is
// a program of its own.

#include <cstddef>

namespace zt::test {

[[nodiscard]] std::size_t allocation_count();  // Since the program began.

}  // namespace zt::test
