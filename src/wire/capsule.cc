// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/capsule.h"

#include <algorithm>
#include <utility>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {

CapsuleParser::CapsuleParser(std::vector<CapsuleType> known, std::size_t value_size_max)
    : known_(std::move(known)), value_size_max_(value_size_max) {}

std::expected<std::optional<Capsule>, CapsuleError> CapsuleParser::next(BytesView& input) {
  while (true) {
    switch (state_) {
      case State::type: {
        const auto type = take_varint(input);
        if (!type) return std::nullopt;
        capsule_.type = static_cast<CapsuleType>(*type);
        state_ = State::length;
        break;
      }
      case State::length: {
        const auto size = take_varint(input);
        if (!size) return std::nullopt;
        begin_value(*size);
        break;
      }
      case State::value:
      case State::skip: {
        const std::uint64_t size = std::min<std::uint64_t>(missing_size_, input.size());
        const BytesView taken = input.first(static_cast<std::size_t>(size));
        input = input.subspan(taken.size());
        missing_size_ -= size;
        if (state_ == State::value) {
          capsule_.value.insert(capsule_.value.end(), taken.begin(), taken.end());
        }
        if (missing_size_ > 0) return std::nullopt;
        const bool is_known = std::exchange(state_, State::type) == State::value;
        if (is_known) return std::exchange(capsule_, {});
        break;
      }
      case State::failed:
        return std::unexpected(CapsuleError::value_too_long);
    }
  }
}

bool CapsuleParser::is_between_capsules() const {
  return state_ == State::type && pending_size_ == 0;
}

std::optional<std::uint64_t> CapsuleParser::take_varint(BytesView& input) {
  while (!input.empty()) {
    // A number has at most 8 bytes, as many as `pending_` holds.
    ZT_ASSERT(pending_size_ < pending_.size());
    pending_[pending_size_++] = input.front();
    input = input.subspan(1);
    Reader reader(BytesView(pending_).first(pending_size_));
    if (const auto value = reader.varint()) {
      pending_size_ = 0;
      return value;
    }
  }
  return std::nullopt;
}

void CapsuleParser::begin_value(std::uint64_t size) {
  missing_size_ = size;
  const bool is_known = std::ranges::find(known_, capsule_.type) != known_.end();
  if (!is_known) {
    state_ = State::skip;
  } else {
    state_ = size > value_size_max_ ? State::failed : State::value;
  }
}

Bytes encode_capsule(CapsuleType type, BytesView value) {
  const auto type_number = static_cast<std::uint64_t>(type);
  Bytes bytes(varint_size(type_number) + varint_size(value.size()) + value.size());
  Writer writer(bytes);
  writer.varint(type_number);
  writer.varint(value.size());
  writer.bytes(value);
  ZT_ASSERT(writer.is_complete());
  return bytes;
}

}  // namespace zt::wire
