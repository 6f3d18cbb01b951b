// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/cursor.h: the two cursors through which all received and sent formats pass.
//
// Theory of operation
//   A Reader walks forward over borrowed bytes. Each step gives a value or nothing; a step that
//   gives nothing has not moved. There is no way to read outside the bytes, whatever a length field
//   says, because every length is compared with what is left before it is used. A Writer fills a
//   borrowed span. A step that does not fit writes nothing and makes the Writer incomplete for
//   good, so that a sequence of steps needs one check at its end.
// Cost: no allocation; all inline.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::wire {

// kVarintMax is the largest number that a variable-length integer holds (RFC 9000 section 16).
inline constexpr std::uint64_t kVarintMax = (std::uint64_t{1} << 62U) - 1;

// varint_size returns 1, 2, 4 or 8: the bytes of the shortest encoding of `value`, which is at most
// kVarintMax.
[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) {
  if (value < (std::uint64_t{1} << 6U)) return 1;
  if (value < (std::uint64_t{1} << 14U)) return 2;
  if (value < (std::uint64_t{1} << 30U)) return 4;
  return 8;
}

class Reader {
 public:
  // Reader borrows `bytes`; the views it returns live as long as they do.
  explicit Reader(BytesView bytes) : rest_(bytes) {}

  [[nodiscard]] std::size_t remaining_size() const { return rest_.size(); }
  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }

  // u8, u16, u32 and u64 read a number in network byte order.
  [[nodiscard]] std::optional<std::uint8_t> u8() { return number<std::uint8_t>(); }
  [[nodiscard]] std::optional<std::uint16_t> u16() { return number<std::uint16_t>(); }
  [[nodiscard]] std::optional<std::uint32_t> u32() { return number<std::uint32_t>(); }
  [[nodiscard]] std::optional<std::uint64_t> u64() { return number<std::uint64_t>(); }

  // varint reads a variable-length integer (RFC 9000 section 16). Longer encodings than needed are
  // accepted, as the RFC demands.
  [[nodiscard]] std::optional<std::uint64_t> varint() {
    if (rest_.empty()) return std::nullopt;
    const auto first = std::to_integer<std::uint64_t>(rest_[0]);
    const std::size_t size = std::size_t{1} << (first >> 6U);
    if (rest_.size() < size) return std::nullopt;
    std::uint64_t value = first & 0x3fU;
    for (std::size_t i = 1; i < size; ++i) {
      value = (value << 8U) | std::to_integer<std::uint64_t>(rest_[i]);
    }
    rest_ = rest_.subspan(size);
    return value;
  }

  // bytes reads exactly `size` bytes.
  [[nodiscard]] std::optional<BytesView> bytes(std::uint64_t size) {
    if (size > rest_.size()) return std::nullopt;
    const BytesView taken = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  // rest reads everything that is left.
  [[nodiscard]] BytesView rest() {
    const BytesView taken = rest_;
    rest_ = {};
    return taken;
  }

 private:
  template <class Unsigned>
  std::optional<Unsigned> number() {
    if (rest_.size() < sizeof(Unsigned)) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
      value = (value << 8U) | std::to_integer<std::uint64_t>(rest_[i]);
    }
    rest_ = rest_.subspan(sizeof(Unsigned));
    return static_cast<Unsigned>(value);
  }

  BytesView rest_;
};

class Writer {
 public:
  // Writer borrows `space`.
  explicit Writer(std::span<std::byte> space) : space_(space) {}

  // u8, u16, u32 and u64 write a number in network byte order.
  void u8(std::uint8_t value) { number(value, sizeof(value)); }
  void u16(std::uint16_t value) { number(value, sizeof(value)); }
  void u32(std::uint32_t value) { number(value, sizeof(value)); }
  void u64(std::uint64_t value) { number(value, sizeof(value)); }

  // varint writes the shortest encoding of `value`, which is at most kVarintMax.
  void varint(std::uint64_t value) {
    ZT_ASSERT(value <= kVarintMax);
    const std::size_t size = varint_size(value);
    // The two highest bits of the first byte hold the logarithm of the size.
    const auto size_code = static_cast<std::uint64_t>(std::countr_zero(size));
    number(value | (size_code << ((8 * size) - 2)), size);
  }

  void bytes(BytesView value) {
    const std::span<std::byte> target = take(value.size());
    for (std::size_t i = 0; i < target.size(); ++i) target[i] = value[i];
  }

  // is_complete tells whether every step so far has fitted.
  [[nodiscard]] bool is_complete() const { return is_complete_; }

  // written returns what the steps wrote, up to the first that did not fit.
  [[nodiscard]] std::span<std::byte> written() const { return space_.first(written_size_); }

 private:
  // take returns the next `size` bytes of the space, or none if they do not fit.
  std::span<std::byte> take(std::size_t size) {
    if (!is_complete_ || size > space_.size() - written_size_) {
      is_complete_ = false;
      return {};
    }
    const std::span<std::byte> target = space_.subspan(written_size_, size);
    written_size_ += size;
    return target;
  }

  void number(std::uint64_t value, std::size_t size) {
    const std::span<std::byte> target = take(size);
    for (std::size_t i = target.size(); i > 0; --i) {
      target[i - 1] = static_cast<std::byte>(value & 0xffU);
      value >>= 8U;
    }
  }

  std::span<std::byte> space_;
  std::size_t written_size_ = 0;
  bool is_complete_ = true;
};

}  // namespace zt::wire
