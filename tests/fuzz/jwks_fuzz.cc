// SPDX-License-Identifier: Apache-2.0
// A key set that is accepted is the same after being written and read again.

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/grant/jwk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto keys = zt::grant::KeySet::parse(zt::as_text(std::as_bytes(std::span(data, size))));
  if (!keys) return 0;
  ZT_ASSERT(keys->size() <= zt::grant::KeySet::kKeysMax);
  ZT_ASSERT(zt::grant::KeySet::parse(keys->to_json()) == keys);
  return 0;
}
