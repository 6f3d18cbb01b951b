// SPDX-License-Identifier: Apache-2.0
// A capsule stream gives the same capsules in whatever pieces it comes, and none above the limit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/capsule.h"

namespace {

constexpr std::size_t kValueSizeMax = 64;

struct Outcome {
  std::vector<zt::wire::Capsule> capsules;
  bool has_failed = false;
  bool may_end = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome parse_in_pieces(zt::BytesView stream, std::size_t piece_size) {
  Outcome outcome;
  zt::wire::CapsuleParser parser({zt::wire::CapsuleType::datagram, zt::wire::CapsuleType{0x2b}},
                                 kValueSizeMax);
  while (!stream.empty() && !outcome.has_failed) {
    zt::BytesView piece = stream.first(std::min(piece_size, stream.size()));
    stream = stream.subspan(piece.size());
    while (true) {
      auto capsule = parser.next(piece);
      outcome.has_failed = !capsule.has_value();
      if (!capsule || !*capsule) break;
      outcome.capsules.push_back(**std::move(capsule));
      ZT_ASSERT(outcome.capsules.back().value.size() <= kValueSizeMax);
    }
    ZT_ASSERT(outcome.has_failed || piece.empty());
  }
  outcome.may_end = parser.is_between_capsules();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto stream = std::as_bytes(std::span(data, size));
  const Outcome whole = parse_in_pieces(stream, std::max<std::size_t>(size, 1));
  ZT_ASSERT(parse_in_pieces(stream, 1) == whole);
  ZT_ASSERT(parse_in_pieces(stream, 7) == whole);
  return 0;
}
