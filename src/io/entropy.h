// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/entropy.h: the kernel's random numbers, for keys, connection IDs, secrets and jitter.

#include <cstddef>
#include <span>

#include "zt/base/random.h"

namespace zt::io {

// KernelRandom is getrandom(2). It waits until the kernel's generator is seeded (early boot), and
// ends the process if the kernel has no entropy to give. It buffers nothing: a forked child or a
// core dump holds no value that will be used.
class KernelRandom final : public Random {
 public:
  void fill(std::span<std::byte> bytes) override;
};

}  // namespace zt::io
