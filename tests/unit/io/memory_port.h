// SPDX-License-Identifier: Apache-2.0
#pragma once
// memory_port.h: two byte ports in one memory, as if a QUIC connection lay between them.

#include <algorithm>
#include <functional>
#include <span>

#include "io/byte_port.h"
#include "io/loop.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::io {

// MemoryPort is one end of a wire. What it sends shows at its peer, within `size_max` bytes; the
// listeners are told from the loop, as the contract of BytePort demands.
class MemoryPort final : public BytePort {
 public:
  struct Listener {
    std::function<void()> readable;
    std::function<void()> writable;
    std::function<void()> reset;
  };

  MemoryPort(Loop& loop, std::size_t size_max)
      : buffer_(size_max), tell_(loop, [this] { tell_listener(); }) {}

  // The peer outlives every call.
  void connect(MemoryPort& peer) { peer_ = &peer; }
  void listen(Listener listener) { listener_ = std::move(listener); }

  std::span<std::byte> writable() override {
    if (is_held_) return {};
    if (is_finished_ || is_reset_) return {};
    const std::size_t start = (head_ + size_) % buffer_.size();
    const std::size_t end = start < head_ || size_ == buffer_.size() ? head_ : buffer_.size();
    if (size_ == buffer_.size()) {
      is_writer_waiting_ = true;
      return {};
    }
    return std::span(buffer_).subspan(start, end - start);
  }
  void commit(std::size_t size) override {
    size_ += size;
    ZT_ASSERT(size_ <= buffer_.size());
    size_seen_max = std::max(size_seen_max, size_);
    peer_->has_news_ = true;
    peer_->tell_.schedule();
  }
  void finish() override {
    is_finished_ = true;
    peer_->has_news_ = true;
    peer_->tell_.schedule();
  }
  void reset_send() override {
    is_reset_ = true;
    peer_->is_broken_ = true;
    peer_->tell_.schedule();
  }
  Readable readable() override {
    if (is_held_) return {};
    MemoryPort& from = *peer_;
    const std::size_t run = std::min(from.size_, from.buffer_.size() - from.head_);
    return {.bytes = std::span(from.buffer_).subspan(from.head_, run),
            .is_end = from.is_finished_ && run == from.size_};
  }
  void consume(std::size_t size) override {
    MemoryPort& from = *peer_;
    ZT_ASSERT(size <= from.size_);
    from.head_ = (from.head_ + size) % from.buffer_.size();
    from.size_ -= size;
    if (from.is_writer_waiting_ && size > 0) {
      from.is_writer_waiting_ = false;
      from.has_room_ = true;
      from.tell_.schedule();
    }
  }
  void stop_receive() override {
    is_stopped = true;
    peer_->is_broken_ = true;
    peer_->tell_.schedule();
  }

  // hold lets the port show neither bytes nor space nor an end, until it says that there may be all
  // of them.
  void hold() { is_held_ = true; }
  void release() {
    is_held_ = false;
    has_news_ = has_room_ = true;
    tell_.schedule();
  }

  std::size_t size_seen_max = 0;  // Most bytes that were held at once.
  bool is_stopped = false;
  [[nodiscard]] bool is_finished() const { return is_finished_; }
  [[nodiscard]] bool is_reset() const { return is_reset_; }

 private:
  void tell_listener() {
    if (is_broken_ && listener_.reset) listener_.reset();
    if (std::exchange(has_news_, false) && listener_.readable) listener_.readable();
    if (std::exchange(has_room_, false) && listener_.writable) listener_.writable();
  }

  MemoryPort* peer_ = nullptr;
  Bytes buffer_;  // What is sent and not yet consumed: a ring.
  std::size_t head_ = 0;
  std::size_t size_ = 0;
  bool is_held_ = false;
  bool is_finished_ = false;
  bool is_reset_ = false;
  bool is_broken_ = false;
  bool is_writer_waiting_ = false;
  bool has_news_ = false;
  bool has_room_ = false;
  Listener listener_;
  Deferred tell_;
};

}  // namespace zt::io
