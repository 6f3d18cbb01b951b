// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/pem.h: text to and from AWS-LC's memory BIOs. Included by the sources of crypto only.

#include <openssl/bio.h>

#include <cstddef>
#include <string_view>

namespace zt::crypto {

inline constexpr std::size_t kPemSizeMax = std::size_t{64} * 1024;

// memory_of returns a BIO that reads `text`, which outlives it.
[[nodiscard]] bssl::UniquePtr<BIO> memory_of(std::string_view text);

// contents views what was written to the memory BIO `bio`. AWS-LC wipes that memory when it
// frees it.
[[nodiscard]] std::string_view contents(const BIO& bio);

// no_password answers a PEM reader that an encrypted key cannot be read.
int no_password(char* buffer, int size, int is_writing, void* context) noexcept;

}  // namespace zt::crypto
