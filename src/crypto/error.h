// SPDX-License-Identifier: Apache-2.0
#pragma once
// crypto/error.h: why a key or a certificate was not accepted.

#include <cstdint>
#include <string_view>

namespace zt::crypto {

enum class CryptoError : std::uint8_t {
  malformed,    // Not the encoding that was asked for, or longer than it can be. Ask for another.
  unsupported,  // Well formed, but another kind of key than the one we use. Ask for another.
  mismatch,     // The private key does not belong to the certificate. The pair was mixed up.
};

// to_text returns a short English phrase, fit for the end of an error message.
[[nodiscard]] constexpr std::string_view to_text(CryptoError error) {
  switch (error) {
    case CryptoError::malformed:
      return "malformed";
    case CryptoError::unsupported:
      return "not a supported kind of key";
    case CryptoError::mismatch:
      return "the key does not belong to the certificate";
  }
  return "unknown";
}

}  // namespace zt::crypto
