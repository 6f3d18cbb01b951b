// SPDX-License-Identifier: Apache-2.0
#include "io/entropy.h"

#include <sys/random.h>

#include <cerrno>

#include "zt/base/assert.h"

namespace zt::io {

void KernelRandom::fill(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    const bool has_entropy = count > 0;
    ZT_ASSERT(has_entropy);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace zt::io
