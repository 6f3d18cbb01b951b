// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/datagram_frames.h"

#include <algorithm>

#include "zt/wire/cursor.h"

namespace zt::wire {

namespace {

// datagram_of returns the datagram of the first frame; none of no bytes if it is not complete.
std::expected<BytesView, FrameError> datagram_of(BytesView buffer) {
  Reader reader(buffer);
  const auto size = reader.u16();
  if (!size) return BytesView();
  if (*size == 0) return std::unexpected(FrameError::empty);
  if (*size > kFramedSizeMax) return std::unexpected(FrameError::too_large);
  return reader.bytes(*size).value_or(BytesView());
}

}  // namespace

std::expected<FramedTrain, FrameError> take_train(std::span<std::byte> buffer) {
  const auto first = datagram_of(buffer);
  if (!first) return std::unexpected(first.error());
  if (first->empty()) return FramedTrain();
  const std::size_t segment_size = first->size();
  std::size_t read = kFrameHeaderSize + segment_size;
  std::size_t joined = read;
  for (std::size_t count = 1; count < kTrainSegmentsMax; ++count) {
    // A frame that makes no sense is told of once the train before it is done with.
    const BytesView next = datagram_of(buffer.subspan(read)).value_or(BytesView());
    if (next.empty() || next.size() > segment_size) break;
    if (joined - kFrameHeaderSize + next.size() > kTrainSizeMax) break;
    std::ranges::copy(next, buffer.subspan(joined).begin());
    joined += next.size();
    read += kFrameHeaderSize + next.size();
    if (next.size() < segment_size) break;
  }
  return FramedTrain{.bytes = buffer.subspan(kFrameHeaderSize, joined - kFrameHeaderSize),
                     .segment_size = segment_size,
                     .consumed = read};
}

std::size_t framed_size(std::size_t size, std::size_t segment_size) {
  if (size == 0 || segment_size == 0) return 0;
  return size + (((size + segment_size - 1) / segment_size) * kFrameHeaderSize);
}

bool append_frames(Bytes& out, BytesView datagrams, std::size_t segment_size) {
  segment_size = std::min(segment_size, datagrams.size());
  if (segment_size == 0 || segment_size > kFramedSizeMax) return false;
  const std::size_t end = out.size();
  out.resize(end + framed_size(datagrams.size(), segment_size));
  Writer writer(std::span<std::byte>(out).subspan(end));
  while (!datagrams.empty()) {
    const BytesView segment = datagrams.first(std::min(segment_size, datagrams.size()));
    writer.u16(static_cast<std::uint16_t>(segment.size()));
    writer.bytes(segment);
    datagrams = datagrams.subspan(segment.size());
  }
  return true;
}

}  // namespace zt::wire
