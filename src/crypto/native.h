// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/native.h: how our bytes look to AWS-LC. Included by the sources of crypto only.

#include <openssl/err.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/bytes.h"

namespace zt::crypto {

// octets lends the bytes of a view to a C function. unsigned char may alias any object.
[[nodiscard]] inline const std::uint8_t* octets(BytesView view) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): see above.
  return reinterpret_cast<const std::uint8_t*>(view.data());
}

// mutable_octets lends them to be written.
[[nodiscard]] inline std::uint8_t* mutable_octets(std::span<std::byte> view) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): see above.
  return reinterpret_cast<std::uint8_t*>(view.data());
}

// ErrorQueueCleaner leaves AWS-LC's per-thread error queue empty at the end of its scope: what
// is left in it would be taken for the reason of somebody else's failure.
class ErrorQueueCleaner {
 public:
  ErrorQueueCleaner() = default;
  ErrorQueueCleaner(const ErrorQueueCleaner&) = delete;
  ErrorQueueCleaner& operator=(const ErrorQueueCleaner&) = delete;
  ErrorQueueCleaner(ErrorQueueCleaner&&) = delete;
  ErrorQueueCleaner& operator=(ErrorQueueCleaner&&) = delete;
  ~ErrorQueueCleaner() { ERR_clear_error(); }
};

}  // namespace zt::crypto
