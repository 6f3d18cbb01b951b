// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/capsule.h: the Capsule Protocol (RFC 9297 section 3): typed values on a stream.
//
// Theory of operation
//   A capsule is a type and a length, both variable-length integers, and a value. The parser is fed
//   the stream in pieces of any size. It keeps the value of one capsule at a time, and only if the
//   type is one that its owner knows; values of other types are skipped as they come (RFC 9297
//   section 3.2), whatever their length.
// Limits: `value_size_max` for the value of a known type; a longer one ends the stream.
// Threats: the length is the peer's claim. Memory grows with what has arrived, never with the
// claim.

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <vector>

#include "zt/base/bytes.h"

namespace zt::wire {

// CapsuleType names a capsule; values are of IANA's registry "HTTP Capsule Types", or private.
// NOLINTNEXTLINE(performance-enum-size): a peer may send any 62-bit number.
enum class CapsuleType : std::uint64_t {
  datagram = 0,  // RFC 9297 section 3.5.
};

struct Capsule {
  CapsuleType type = CapsuleType::datagram;
  Bytes value;

  friend bool operator==(const Capsule&, const Capsule&) = default;
};

enum class CapsuleError : std::uint8_t {
  value_too_long,  // A known type with more than `value_size_max` bytes. Reset the stream.
};

class CapsuleParser {
 public:
  // CapsuleParser keeps values of the `known` types only.
  CapsuleParser(std::vector<CapsuleType> known, std::size_t value_size_max);

  // next takes bytes from the front of `input` until a known capsule is whole, and returns it, or
  // nothing when all of `input` is used. Call it until it returns nothing. After an error it
  // returns the same error for ever and takes nothing.
  [[nodiscard]] std::expected<std::optional<Capsule>, CapsuleError> next(BytesView& input);

  // is_between_capsules tells whether the stream may end here. If it ends elsewhere, the message is
  // malformed (RFC 9297 section 3.3).
  [[nodiscard]] bool is_between_capsules() const;

 private:
  enum class State : std::uint8_t { type, length, value, skip, failed };

  // take_varint moves bytes from `input` to `pending_` until they are one number.
  std::optional<std::uint64_t> take_varint(BytesView& input);
  void begin_value(std::uint64_t size);

  std::vector<CapsuleType> known_;
  std::size_t value_size_max_;
  State state_ = State::type;
  std::array<std::byte, 8> pending_{};  // The bytes of a number so far.
  std::size_t pending_size_ = 0;
  std::uint64_t missing_size_ = 0;  // Of the value.
  Capsule capsule_;
};

// encode_capsule returns a whole capsule.
[[nodiscard]] Bytes encode_capsule(CapsuleType type, BytesView value);

}  // namespace zt::wire
