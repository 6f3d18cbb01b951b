// SPDX-License-Identifier: Apache-2.0
// Frames of datagrams: what is taken out of any stream gives, framed again, what was consumed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/datagram_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  zt::Bytes stream(input.begin(), input.end());
  zt::Bytes again;
  std::size_t consumed = 0;
  while (true) {
    const auto train = zt::wire::take_train(std::span(stream).subspan(consumed));
    if (!train || train->consumed == 0) break;
    ZT_ASSERT(!train->bytes.empty());
    ZT_ASSERT(train->bytes.size() <= zt::wire::kTrainSizeMax);
    consumed += train->consumed;
    ZT_ASSERT(zt::wire::append_frames(again, train->bytes, train->segment_size));
  }
  ZT_ASSERT(std::ranges::equal(again, input.first(consumed)));
  return 0;
}
