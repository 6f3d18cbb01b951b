// SPDX-License-Identifier: Apache-2.0
#include "zt/base/bytes.h"

#include <array>
#include <cstdint>

namespace zt {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// kNotADigit marks characters outside the alphabet in a table of digit values.
constexpr std::uint8_t kNotADigit = 255;
using DigitTable = std::array<std::uint8_t, 256>;

constexpr DigitTable digit_table(std::string_view alphabet) {
  DigitTable table{};
  table.fill(kNotADigit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return table;
}

constexpr DigitTable kBase64Table = digit_table(kBase64);
constexpr DigitTable kBase64UrlTable = digit_table(kBase64Url);

constexpr DigitTable hex_table() {
  DigitTable table = digit_table(kHexDigits);
  for (unsigned char i = 0; i < 6; ++i) table['A' + i] = static_cast<std::uint8_t>(10 + i);
  return table;
}

constexpr DigitTable kHexTable = hex_table();

std::uint32_t digit_of(const DigitTable& table, char character) {
  return table[static_cast<unsigned char>(character)];
}

std::string encode_base64(BytesView bytes, std::string_view alphabet) {
  std::string text;
  text.reserve(((bytes.size() + 2) / 3) * 4);
  std::uint32_t pending = 0;
  unsigned pending_bits = 0;
  for (const std::byte byte : bytes) {
    pending = (pending << 8U) | std::to_integer<std::uint32_t>(byte);
    pending_bits += 8;
    while (pending_bits >= 6) {
      pending_bits -= 6;
      text.push_back(alphabet[(pending >> pending_bits) & 63U]);
    }
  }
  if (pending_bits > 0) text.push_back(alphabet[(pending << (6 - pending_bits)) & 63U]);
  return text;
}

std::expected<Bytes, TextError> decode_base64(std::string_view text, const DigitTable& table) {
  if (text.size() % 4 == 1) return std::unexpected(TextError::malformed);
  Bytes bytes;
  bytes.reserve((text.size() / 4 * 3) + 2);
  std::uint32_t pending = 0;
  unsigned pending_bits = 0;
  for (const char character : text) {
    const std::uint32_t digit = digit_of(table, character);
    if (digit == kNotADigit) return std::unexpected(TextError::malformed);
    pending = (pending << 6U) | digit;
    pending_bits += 6;
    if (pending_bits < 8) continue;
    pending_bits -= 8;
    bytes.push_back(static_cast<std::byte>((pending >> pending_bits) & 255U));
  }
  const std::uint32_t unused = pending & ((1U << pending_bits) - 1U);
  if (unused != 0) return std::unexpected(TextError::malformed);
  return bytes;
}

}  // namespace

std::string to_hex(BytesView bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    text.push_back(kHexDigits[value >> 4U]);
    text.push_back(kHexDigits[value & 15U]);
  }
  return text;
}

std::expected<Bytes, TextError> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::unexpected(TextError::malformed);
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const std::uint32_t high = digit_of(kHexTable, text[i]);
    const std::uint32_t low = digit_of(kHexTable, text[i + 1]);
    if (high == kNotADigit || low == kNotADigit) return std::unexpected(TextError::malformed);
    bytes.push_back(static_cast<std::byte>((high << 4U) | low));
  }
  return bytes;
}

std::string to_base64url(BytesView bytes) {
  return encode_base64(bytes, kBase64Url);
}

std::expected<Bytes, TextError> from_base64url(std::string_view text) {
  return decode_base64(text, kBase64UrlTable);
}

std::string to_base64(BytesView bytes) {
  std::string text = encode_base64(bytes, kBase64);
  while (text.size() % 4 != 0) text.push_back('=');
  return text;
}

std::expected<Bytes, TextError> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::unexpected(TextError::malformed);
  // At most two pads; the decoder refuses any further one as a character outside the alphabet.
  for (int pad = 0; pad < 2 && text.ends_with('='); ++pad) text.remove_suffix(1);
  return decode_base64(text, kBase64Table);
}

}  // namespace zt
