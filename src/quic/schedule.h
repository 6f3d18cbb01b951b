// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/schedule.h: which connection is next, by deadline and by turn.
//
// Theory of operation
//   DeadlineHeap is a binary heap of connections in which each connection knows its place, so that
//   a deadline moves in O(log n) without allocating. TurnQueue holds the connections that may have
//   something to send; a connection is in it at most once and goes to its end after each batch, so
//   that a bulk connection does not starve the others.

#include <cstddef>
#include <vector>

#include "quic/connection.h"
#include "quic/fifo.h"
#include "zt/base/time.h"

namespace zt::quic {

class DeadlineHeap {
 public:
  [[nodiscard]] Connection* top() const { return heap_.empty() ? nullptr : heap_.front(); }

  // set puts `connection` in, or moves it to another deadline.
  void set(Connection& connection, Instant deadline) {
    Connection::Schedule& schedule = connection.schedule;
    if (schedule.heap_index == Connection::Schedule::kNone) {
      schedule.heap_index = heap_.size();
      heap_.push_back(&connection);
    } else if (schedule.deadline == deadline) {
      return;
    }
    schedule.deadline = deadline;
    sift_down(sift_up(schedule.heap_index));
  }

  void remove(Connection& connection) {
    const std::size_t index = connection.schedule.heap_index;
    if (index == Connection::Schedule::kNone) return;
    connection.schedule.heap_index = Connection::Schedule::kNone;
    Connection* last = heap_.back();
    heap_.pop_back();
    if (last == &connection) return;
    place(index, last);
    sift_down(sift_up(index));
  }

 private:
  void place(std::size_t index, Connection* connection) {
    heap_[index] = connection;
    connection->schedule.heap_index = index;
  }

  [[nodiscard]] bool is_earlier(std::size_t a, std::size_t b) const {
    return heap_[a]->schedule.deadline < heap_[b]->schedule.deadline;
  }

  void exchange(std::size_t a, std::size_t b) {
    Connection* at_a = heap_[a];
    place(a, heap_[b]);
    place(b, at_a);
  }

  std::size_t sift_up(std::size_t index) {
    while (index > 0) {
      const std::size_t parent = (index - 1) / 2;
      if (!is_earlier(index, parent)) break;
      exchange(index, parent);
      index = parent;
    }
    return index;
  }

  void sift_down(std::size_t index) {
    for (;;) {
      std::size_t least = index;
      for (std::size_t child = 2 * index + 1; child <= 2 * index + 2; ++child) {
        if (child < heap_.size() && is_earlier(child, least)) least = child;
      }
      if (least == index) return;
      exchange(index, least);
      index = least;
    }
  }

  std::vector<Connection*> heap_;
};

class TurnQueue {
 public:
  [[nodiscard]] bool is_empty() const { return queue_.is_empty(); }

  void push(Connection& connection) {
    if (connection.schedule.is_queued) return;
    connection.schedule.is_queued = true;
    queue_.push(&connection);
  }

  // pop returns the connection whose turn it is; null in the place of one that was removed.
  Connection* pop() {
    Connection* connection = queue_.pop();
    if (connection != nullptr) connection->schedule.is_queued = false;
    return connection;
  }

  void remove(Connection& connection) {
    if (!connection.schedule.is_queued) return;
    connection.schedule.is_queued = false;
    for (std::size_t i = 0; i < queue_.count(); ++i) {
      if (queue_[i] == &connection) queue_[i] = nullptr;
    }
  }

 private:
  Fifo<Connection*> queue_;
};

}  // namespace zt::quic
