// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/datagram_frames.h: datagrams in a byte stream, for networks that let no UDP through.
//
// Theory of operation
//   A frame is the size of a datagram, two bytes in network order, and the datagram. Frames follow
//   each other with nothing in between. Datagrams travel in trains elsewhere (equal segments, the
//   last may be shorter): take_train finds neighbouring frames of one size and closes the gaps
//   between them where they lie, so that what was a train at the sender is one again.
//
// Limits   A datagram has 1 to kFramedSizeMax bytes: a jumbo frame's worth. A train has at most
//          kTrainSegmentsMax datagrams, as one send of UDP_SEGMENT takes.
// Cost     Each byte of a train but its first datagram's is moved once; no allocation.
// Threats  A size is compared with what is there before it is used. A stream whose sizes make no
//          sense is over: nothing in it says where the next frame begins.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "zt/base/bytes.h"

namespace zt::wire {

inline constexpr std::size_t kFrameHeaderSize = 2;
inline constexpr std::size_t kFramedSizeMax = 9216;
inline constexpr std::size_t kTrainSegmentsMax = 64;
inline constexpr std::size_t kTrainSizeMax = 65000;

enum class FrameError : std::uint8_t {
  empty,      // A datagram of no bytes: no protocol here has them.
  too_large,  // More than kFramedSizeMax.
};

// FramedTrain is what take_train found at the front of its buffer. Nothing is consumed if not even
// one frame is complete.
struct FramedTrain {
  BytesView bytes;               // The datagrams, one behind the other, in the buffer.
  std::size_t segment_size = 0;  // Of each but the last, which may be shorter.
  std::size_t consumed = 0;      // Bytes of the buffer that are done with, from its front.
};

// take_train joins the first frames of `buffer`, overwriting what it consumes.
[[nodiscard]] std::expected<FramedTrain, FrameError> take_train(std::span<std::byte> buffer);

// framed_size returns how many bytes append_frames adds for a train that it takes.
[[nodiscard]] std::size_t framed_size(std::size_t size, std::size_t segment_size);

// append_frames adds the datagrams of a train to `out`. It returns false, and adds nothing, if they
// are too large to be framed, or empty.
[[nodiscard]] bool append_frames(Bytes& out, BytesView datagrams, std::size_t segment_size);

}  // namespace zt::wire
