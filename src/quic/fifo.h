// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/fifo.h: a queue that stops allocating once it has been as long as it gets.
//
// Theory of operation
//   A vector and the index of its front. The memory of popped elements is reused when the queue
//   runs empty (the usual case: engines are drained after each input), or once half of the vector
//   is popped, so that each element is moved at most once on average. std::deque would allocate a
//   block for every few elements of this size.

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "zt/base/assert.h"

namespace zt::quic {

template <class T>
class Fifo {
 public:
  [[nodiscard]] bool is_empty() const { return front_index_ == items_.size(); }
  [[nodiscard]] std::size_t count() const { return items_.size() - front_index_; }

  // operator[] counts from the front.
  [[nodiscard]] T& operator[](std::size_t index) { return items_[front_index_ + index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const {
    return items_[front_index_ + index];
  }
  [[nodiscard]] T& front() { return items_[front_index_]; }
  [[nodiscard]] const T& front() const { return items_[front_index_]; }
  [[nodiscard]] T& back() { return items_.back(); }

  void push(T item) { items_.push_back(std::move(item)); }

  // pop removes and returns the front. The queue must not be empty.
  T pop() {
    ZT_ASSERT(!is_empty());
    T item = std::move(items_[front_index_]);
    ++front_index_;
    if (is_empty()) {
      clear();
    } else if (front_index_ >= kCompactCountMin && front_index_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), std::next(items_.begin(), std::ptrdiff_t(front_index_)));
      front_index_ = 0;
    }
    return item;
  }

  void clear() {
    items_.clear();
    front_index_ = 0;
  }

 private:
  static constexpr std::size_t kCompactCountMin = 32;

  std::vector<T> items_;
  std::size_t front_index_ = 0;
};

}  // namespace zt::quic
