// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/stream_turns.h: which stream of a connection sends next.
//
// Theory of operation
//   Streams send in turns of about a batch, not of a packet: a batch of one stream is read from one
//   socket and written to one socket, where eight interleaved streams would cost eight smaller
//   writes and eight cold caches at the far end. A batch is at most what leaves in a millisecond
//   (the send quantum of congestion control), so a turn is soon over.
//
//   Turns are shared out by bytes, by fair queueing. Each stream has a tag, the bytes that it has
//   sent, which is not allowed to fall behind the tag of the stream whose turn it is. The next is
//   who would have the lowest tag after its turn; who would have a lower one than the stream whose
//   turn it is may send beside it. So bulk streams go round, and a request of a few bytes does not
//   wait, however many bulk streams there are. Many such requests cannot starve a bulk stream:
//   their tags grow, too.
//
//   A stream asks before it hands bytes out. It may send if the turn is its own, or nobody's, or if
//   it has so little; otherwise it waits, and pass() names it when its turn comes.
//
// Limits   Each stream waits at most once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

namespace zt::quic {

class StreamTurns {
 public:
  // Place is what each stream keeps.
  struct Place {
    bool is_waiting = false;
    std::uint64_t tag = 0;  // Bytes.
  };

  // ask tells whether the stream `id` may hand out a turn of `size` bytes. If not, it waits.
  [[nodiscard]] bool ask(std::int64_t id, Place& place, std::size_t size) {
    if (holder_ == id && !is_used_) {
      is_used_ = true;
      return true;
    }
    if (place.is_waiting) return false;
    if (holder_ == id) holder_.reset();  // Its turn is over.
    place.tag = std::max(place.tag, tag_);
    const std::uint64_t end = place.tag + size;
    if (!holder_ && waiting_.empty()) {
      hold(id, place.tag, end);
      is_used_ = true;
      return true;
    }
    const bool is_first = waiting_.empty() || end < std::get<0>(waiting_.front());
    if (holder_ && end < holder_end_ && is_first) return true;
    place.is_waiting = true;
    waiting_.emplace_back(end, ++asked_count_, place.tag, id);
    std::ranges::push_heap(waiting_, std::greater<>{});
    return false;
  }

  // charge says how many bytes the stream has handed out in its turn.
  static void charge(Place& place, std::size_t size) {
    place.tag += std::max<std::size_t>(size, 1);
  }

  // leave says that the stream has nothing to send; it may ask again.
  void leave(std::int64_t id) {
    if (holder_ == id) holder_.reset();
  }

  // pass gives the turn to a stream that waits, when nobody who may send has anything, and returns
  // it; nothing if none waits. The caller says in its place that it does not wait any more, and
  // lets it ask. One that does not, because it is gone or blocked, loses its turn to the next.
  [[nodiscard]] std::optional<std::int64_t> pass() {
    holder_.reset();
    if (waiting_.empty()) return std::nullopt;
    std::ranges::pop_heap(waiting_, std::greater<>{});
    const auto [end, order, begin, id] = waiting_.back();
    waiting_.pop_back();
    hold(id, begin, end);
    return holder_;
  }

 private:
  // The tag after the turn, the order of asking, the tag before, the id.
  using Entry = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::int64_t>;

  void hold(std::int64_t id, std::uint64_t begin, std::uint64_t end) {
    holder_ = id;
    holder_end_ = end;
    tag_ = std::max(tag_, begin);
    is_used_ = false;
  }

  std::optional<std::int64_t> holder_;  // Whose turn it is.
  std::uint64_t holder_end_ = 0;        // Its tag when its turn is over.
  bool is_used_ = false;                // It was let send.
  std::uint64_t tag_ = 0;               // The greatest that a holder had when its turn began.
  std::uint64_t asked_count_ = 0;
  std::vector<Entry> waiting_;  // A heap with the least at its front.
};

}  // namespace zt::quic
