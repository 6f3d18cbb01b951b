// SPDX-License-Identifier: Apache-2.0
#include "quic/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "zt/base/assert.h"

namespace zt::quic {
namespace {

std::size_t chunk_size_for(std::uint64_t total) {
  return total < kBulkSizeMin ? kChunkSizeSmall : kChunkSizeLarge;
}

}  // namespace

std::vector<Chunk>& ChunkPool::spares_of(std::size_t size) {
  return size == kChunkSizeSmall ? small_ : large_;
}

Chunk ChunkPool::take(std::size_t size) {
  std::vector<Chunk>& spares = spares_of(size);
  Chunk chunk;
  if (spares.empty()) {
    chunk.memory = std::make_unique_for_overwrite<std::byte[]>(size);  // NOLINT(*-avoid-c-arrays)
    chunk.size = static_cast<std::uint32_t>(size);
    return chunk;
  }
  chunk = std::move(spares.back());
  spares.pop_back();
  chunk.begin = 0;
  chunk.end = 0;
  return chunk;
}

void ChunkPool::give(Chunk chunk) {
  std::vector<Chunk>& spares = spares_of(chunk.size);
  if (spares.size() < kSpareCountMax) spares.push_back(std::move(chunk));
}

std::span<std::byte> SendBuffer::space() {
  if (is_full()) return {};
  if (chunks_.is_empty() || chunks_.back().space().empty()) {
    chunks_.push(pool_.take(chunk_size_for(total_)));
    if (chunks_.count() == 1) {
      take_index_ = 0;
      take_offset_ = 0;
    }
  }
  const std::span<std::byte> space = chunks_.back().space();
  return space.first(
      std::min({space.size(), size_max_ - size_, untaken_size_max_ - untaken_size()}));
}

void SendBuffer::commit(std::size_t size) {
  if (size == 0) return;
  ZT_ASSERT(!chunks_.is_empty() && size <= chunks_.back().space().size());
  chunks_.back().end += static_cast<std::uint32_t>(size);
  size_ += size;
  total_ += size;
}

std::size_t SendBuffer::take(std::span<std::span<const std::byte>> views, std::size_t size_max) {
  std::size_t count = 0;
  while (count < views.size() && size_max > 0 && take_index_ < chunks_.count()) {
    const Chunk& chunk = chunks_[take_index_];
    const std::size_t size = std::min(chunk.end - take_offset_, size_max);
    if (size > 0) {
      views[count++] = {chunk.memory.get() + take_offset_, size};
      take_offset_ += size;
      taken_size_ += size;
      size_max -= size;
    }
    // The last chunk may still grow; a full one is done with.
    if (take_offset_ < chunk.size) break;
    ++take_index_;
    take_offset_ = 0;
  }
  return count;
}

void SendBuffer::acknowledge(std::size_t size) {
  ZT_ASSERT(size <= taken_size_);
  size_ -= size;
  taken_size_ -= size;
  while (!chunks_.is_empty()) {
    Chunk& chunk = chunks_.front();
    const std::size_t here = std::min<std::size_t>(size, chunk.end - chunk.begin);
    chunk.begin += static_cast<std::uint32_t>(here);
    size -= here;
    const bool is_exhausted = chunk.begin == chunk.end && (chunk.end == chunk.size || size_ == 0);
    if (!is_exhausted) break;
    pool_.give(chunks_.pop());
    if (take_index_ > 0) {
      --take_index_;
    } else {
      take_offset_ = 0;
    }
  }
}

void SendBuffer::drop() {
  while (!chunks_.is_empty()) pool_.give(chunks_.pop());
  size_ = 0;
  taken_size_ = 0;
  take_index_ = 0;
  take_offset_ = 0;
}

void ReceiveBuffer::append(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (chunks_.is_empty() || chunks_.back().space().empty()) {
      chunks_.push(pool_.take(chunk_size_for(total_)));
    }
    Chunk& chunk = chunks_.back();
    const std::size_t size = std::min(bytes.size(), chunk.space().size());
    std::memcpy(chunk.space().data(), bytes.data(), size);
    chunk.end += static_cast<std::uint32_t>(size);
    total_ += size;
    bytes = bytes.subspan(size);
  }
}

void ReceiveBuffer::consume(std::size_t size) {
  if (size == 0) return;
  ZT_ASSERT(!chunks_.is_empty() && size <= chunks_.front().bytes().size());
  Chunk& chunk = chunks_.front();
  chunk.begin += static_cast<std::uint32_t>(size);
  size_ -= size;
  if (chunk.begin == chunk.end && (chunk.end == chunk.size || size_ == 0)) {
    pool_.give(chunks_.pop());
  }
}

std::size_t ReceiveBuffer::drop() {
  const std::size_t size = std::exchange(size_, 0);
  while (!chunks_.is_empty()) pool_.give(chunks_.pop());
  return size;
}

}  // namespace zt::quic
