// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/stream.h: the bytes of one request stream that are waiting, in each direction.
//
// Theory of operation
//   Bytes live in chunks that never move while somebody may point at them. The user writes into
//   free space of the last chunk of a SendBuffer; QUIC takes views of it, and the bytes stay where
//   they are until the peer has acknowledged them, because they may have to be sent again. A
//   ReceiveBuffer copies what a packet brought into its last chunk, and the user reads from the
//   first.
//
//   A stream begins with small chunks and goes on to large ones when it turns out to be a bulk
//   stream, so that neither a thousand idle streams nor a peer that sends one byte on each of them
//   holds much memory. A buffer without bytes holds no chunk.
//
//   A SendBuffer takes little more than what can leave soon. Bytes that wait for the network are
//   better off with the writer, which for a flow is the kernel's socket: they are copied here when
//   their turn is near, and are still in the processor's cache when they are sealed.
//
// Limits   A SendBuffer holds `size_max` bytes, unacknowledged ones included, of which at most
//          `untaken_size_max` were not taken yet. A ReceiveBuffer holds
//          what the stream's flow-control window allows. The pool keeps kSpareCountMax chunks a
//          size.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quic/fifo.h"

namespace zt::quic {

inline constexpr std::size_t kChunkSizeSmall = 4 << 10;
inline constexpr std::size_t kChunkSizeLarge = 64 << 10;
// From so many bytes on, a stream gets large chunks.
inline constexpr std::size_t kBulkSizeMin = 16 << 10;

// Chunk is a block of memory with `begin` ≤ `end` ≤ size.
struct Chunk {
  std::unique_ptr<std::byte[]> memory;  // NOLINT(modernize-avoid-c-arrays)
  std::uint32_t size = 0;
  std::uint32_t begin = 0;  // Of the bytes that count.
  std::uint32_t end = 0;

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {memory.get() + begin, std::size_t{end} - begin};
  }
  [[nodiscard]] std::span<std::byte> space() const {
    return {memory.get() + end, std::size_t{size} - end};
  }
};

// ChunkPool keeps some chunks for the next one who needs one.
class ChunkPool {
 public:
  static constexpr std::size_t kSpareCountMax = 64;  // Of each size: 4 MiB and 256 KiB.

  ChunkPool() = default;
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  [[nodiscard]] Chunk take(std::size_t size);
  void give(Chunk chunk);

 private:
  std::vector<Chunk>& spares_of(std::size_t size);

  std::vector<Chunk> small_;
  std::vector<Chunk> large_;
};

class SendBuffer {
 public:
  SendBuffer(ChunkPool& pool, std::size_t size_max, std::size_t untaken_size_max)
      : pool_(pool), size_max_(size_max), untaken_size_max_(std::min(untaken_size_max, size_max)) {}
  SendBuffer(const SendBuffer&) = delete;
  SendBuffer& operator=(const SendBuffer&) = delete;
  ~SendBuffer() { drop(); }

  // space returns free contiguous memory, empty if the buffer is full. It is valid until the next
  // call that is not const.
  [[nodiscard]] std::span<std::byte> space();

  // commit says that the first `size` bytes of space() have been written.
  void commit(std::size_t size);

  // take fills `views` with committed bytes that were not taken before, at most `size_max` in all,
  // and returns how many views were filled. They are valid until acknowledged or dropped.
  [[nodiscard]] std::size_t take(std::span<std::span<const std::byte>> views, std::size_t size_max);

  // acknowledge frees the oldest `size` taken bytes.
  void acknowledge(std::size_t size);

  // drop frees everything; the views that were taken are dead.
  void drop();

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool has_untaken() const { return untaken_size() > 0; }
  [[nodiscard]] std::size_t untaken_size() const { return size_ - taken_size_; }
  [[nodiscard]] bool is_full() const {
    return size_ >= size_max_ || untaken_size() >= untaken_size_max_;
  }
  // has_room tells whether it is worth waking the writer: a quarter of the buffer is free, and half
  // of what may wait in it has been taken.
  [[nodiscard]] bool has_room() const {
    return size_ <= size_max_ - size_max_ / 4 && untaken_size() <= untaken_size_max_ / 2;
  }

 private:
  ChunkPool& pool_;
  std::size_t size_max_;
  std::size_t untaken_size_max_;
  std::size_t size_ = 0;        // Committed and not acknowledged.
  std::size_t taken_size_ = 0;  // The part of it that was taken.
  std::uint64_t total_ = 0;     // Ever committed.
  Fifo<Chunk> chunks_;
  std::size_t take_index_ = 0;   // Of the chunk to take from next.
  std::size_t take_offset_ = 0;  // Within that chunk's memory.
};

class ReceiveBuffer {
 public:
  explicit ReceiveBuffer(ChunkPool& pool) : pool_(pool) {}
  ReceiveBuffer(const ReceiveBuffer&) = delete;
  ReceiveBuffer& operator=(const ReceiveBuffer&) = delete;
  ~ReceiveBuffer() { drop(); }

  void append(std::span<const std::byte> bytes);

  // front returns the oldest contiguous bytes.
  [[nodiscard]] std::span<const std::byte> front() const {
    return chunks_.is_empty() ? std::span<const std::byte>() : chunks_.front().bytes();
  }

  // consume frees the first `size` bytes of front().
  void consume(std::size_t size);

  // drop frees everything and returns how many bytes that were.
  std::size_t drop();

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  ChunkPool& pool_;
  std::size_t size_ = 0;
  std::uint64_t total_ = 0;  // Ever appended.
  Fifo<Chunk> chunks_;
};

}  // namespace zt::quic
