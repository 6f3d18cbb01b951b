// SPDX-License-Identifier: Apache-2.0
#include "zt/base/secret.h"

#include <span>

namespace zt {

void wipe(void* data, std::size_t size) noexcept {
  // Volatile writes are observable behaviour, which the optimiser must keep.
  for (volatile char& byte : std::span(static_cast<volatile char*>(data), size)) byte = 0;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  // Volatile keeps the compiler from leaving the loop at the first difference.
  volatile unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(
        difference | (static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i])));
  }
  return difference == 0;
}

}  // namespace zt
