// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/bytes.h: bytes, and the two ways in which we write them as text.

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zt {

using Bytes = std::vector<std::byte>;
using BytesView = std::span<const std::byte>;

// as_bytes views the characters of `text`.
[[nodiscard]] inline BytesView as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// as_text views `bytes` as characters of no particular encoding.
[[nodiscard]] inline std::string_view as_text(BytesView bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): char may alias any object.
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class TextError : unsigned char {
  malformed,  // A character outside the alphabet, a wrong length, or bits that must be zero.
};

// to_hex writes two lower-case digits a byte.
[[nodiscard]] std::string to_hex(BytesView bytes);

// from_hex accepts digits of either case; it fails with `malformed`.
[[nodiscard]] std::expected<Bytes, TextError> from_hex(std::string_view text);

// to_base64url writes the unpadded URL-safe alphabet (RFC 4648 section 5, RFC 7515 appendix C).
[[nodiscard]] std::string to_base64url(BytesView bytes);

// from_base64url accepts the unpadded URL-safe alphabet only, and only the canonical text of a
// value (unused bits zero), so that one value has one spelling. It fails with `malformed`.
[[nodiscard]] std::expected<Bytes, TextError> from_base64url(std::string_view text);

// to_base64 and from_base64 are the padded alphabet of RFC 4648 section 4 (PEM, HTTP basic), with
// the same strictness.
[[nodiscard]] std::string to_base64(BytesView bytes);
[[nodiscard]] std::expected<Bytes, TextError> from_base64(std::string_view text);

}  // namespace zt
