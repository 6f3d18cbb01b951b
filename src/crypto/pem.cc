// SPDX-License-Identifier: Apache-2.0
#include "crypto/pem.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::crypto {

bssl::UniquePtr<BIO> memory_of(std::string_view text) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
  ZT_ASSERT(bio != nullptr);
  return bio;
}

std::string_view contents(const BIO& bio) {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  ZT_ASSERT(BIO_mem_contents(&bio, &data, &size) == 1);
  return as_text(std::as_bytes(std::span(data, size)));
}

int no_password(char* /*buffer*/, int /*size*/, int /*is_writing*/, void* /*context*/) noexcept {
  return -1;
}

}  // namespace zt::crypto
