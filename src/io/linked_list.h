// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/linked_list.h: a list whose links are inside of what it holds.
//
// Theory of operation
//   Entering and leaving, from any place, costs a few stores and no memory. An object has one Link
//   for each LinkedList that it may stand in, at most once in each. A LinkedList owns nothing:
//   whoever dies leaves first.

#include <cstddef>

#include "zt/base/assert.h"

namespace zt::io {

template <class T>
struct Link {
  T* previous = nullptr;
  T* next = nullptr;
  bool is_linked = false;
};

template <class T, Link<T> T::* kLink>
class LinkedList {
 public:
  [[nodiscard]] bool is_empty() const { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // add puts `object` last, unless it stands in the list already.
  void add(T& object) {
    Link<T>& link = object.*kLink;
    if (link.is_linked) return;
    link = {.previous = last_, .next = nullptr, .is_linked = true};
    (last_ != nullptr ? (last_->*kLink).next : first_) = &object;
    last_ = &object;
    ++size_;
  }

  // remove takes `object` out, if it stands in the list.
  void remove(T& object) {
    Link<T>& link = object.*kLink;
    if (!link.is_linked) return;
    (link.previous != nullptr ? (link.previous->*kLink).next : first_) = link.next;
    (link.next != nullptr ? (link.next->*kLink).previous : last_) = link.previous;
    link = {};
    --size_;
  }

  // take_first takes the first one out. The list is not empty.
  T& take_first() {
    ZT_ASSERT(first_ != nullptr);
    T& object = *first_;
    remove(object);
    return object;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace zt::io
