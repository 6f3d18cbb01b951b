// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/loop.h: one thread's event loop: readiness, timers, signals, and "when this turn ends".
//
// Theory of operation
//   A loop runs in turns. A turn (1) waits until something is ready, unless work is due already;
//   (2) fires the timers that are due, so that what ends by its time has ended before another byte
//   moves, however late it is (a machine that slept); (3) runs up to `handlers_per_turn_max` ready
//   callbacks; (4) fires the timers that are due by then; (5) runs the Deferred callbacks that were
//   scheduled before this step began. An engine is
//   therefore fed by any number of callbacks in a turn and drained once, by its Deferred, at the
//   end. What a Deferred schedules runs in the next turn, which then does not wait: two parties
//   that keep waking each other cannot starve the sockets.
//
//   Everything else here is an object that belongs to a loop: it outlives none of its callbacks.
//   Destroying a Watch, Timer, Deferred or Signals cancels what it waits for; its callback is never
//   called again, and may itself destroy the object that called it.
//
//   Asio lives in loop.cc and nowhere else: it is the reactor under Watch and Signals.
//
// Limits   handlers_per_turn_max, timers_per_turn_max, posts_max.
// Time     Timers keep their deadline on CLOCK_BOOTTIME and fire at it or up to some 60 us after
// it,
//          in the order of their deadlines, equal ones in the order of arming. Never early.
// Cost     A turn is one or two epoll_wait calls; waiting for readiness once is one epoll_ctl.
//          Arming a timer again costs no allocation, and a system call only if it becomes the
//          earliest of all and earlier than the last one asked for.
// Threads  A loop and its objects belong to the thread that calls run(). Only post() and stop() may
//          be called from other threads.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <utility>

#include "zt/base/time.h"

namespace zt::io {

using Callback = std::move_only_function<void()>;

class Deferred;
class Timer;

class Loop {
 public:
  struct Limits {
    // Callbacks for readiness in one turn, before timers and engines get theirs. A callback moves
    // at most some 256 KiB (a splice), or 512 KiB or 64 lone datagrams (a UDP socket): under 50 and
    // 150 us. What eight of them bring fits the queues of those who are drained at the turn's end.
    std::size_t handlers_per_turn_max = 8;
    std::size_t timers_per_turn_max = 1024;
    std::size_t posts_max = 4096;  // Posted and not yet run.
  };

  Loop() : Loop(Limits{}) {}
  explicit Loop(const Limits& limits);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  // All Watches, Timers, Deferreds and Signals of the loop are gone before it.
  ~Loop();

  // now reads both clocks. Two readings never go backwards in `instant`.
  [[nodiscard]] Now now() const;

  // run takes turns until stop(). A stop() before run() makes it return at once.
  void run();

  // turn takes one turn, and try_turn one that does not wait; true if anything ran. For tests, and
  // for embedding into another loop.
  bool turn();
  bool try_turn();

  // stop makes run() return at the end of its turn. Safe from any thread and from callbacks.
  void stop();

  // post runs `callback` in a turn soon, in the loop's thread. Safe from any thread. False if
  // `posts_max` callbacks are waiting; then it will not run.
  [[nodiscard]] bool post(Callback callback);

 private:
  friend class Deferred;
  friend class Signals;
  friend class Timer;
  friend class Watch;

  using TimerKey = std::pair<Instant, std::uint64_t>;
  using Timers = std::map<TimerKey, Timer*>;

  class Impl;

  bool take_turn(bool may_wait);
  bool fire_timers();
  bool run_deferred();
  // Calls the callback of `owner`, which may destroy `owner`.
  template <class Owner>
  void call(Owner& owner);

  const Limits limits_;
  std::unique_ptr<Impl> impl_;
  Timers timers_;
  std::uint64_t timers_armed_ = 0;
  Deferred* deferred_first_ = nullptr;
  Deferred* deferred_last_ = nullptr;
  std::size_t deferred_count_ = 0;
  const void* calling_ = nullptr;  // The Timer or Deferred whose callback runs; null if it died.
};

// Timer calls back once, at its deadline.
class Timer {
 public:
  Timer(Loop& loop, Callback callback);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  // arm sets the deadline, in place of an earlier one. A deadline in the past is due at once.
  void arm(Instant deadline);
  // cancel forgets the deadline. The callback is kept: the timer can be armed again.
  void cancel();
  [[nodiscard]] bool is_armed() const { return is_armed_; }

 private:
  friend class Loop;

  Loop& loop_;
  Callback callback_;
  bool is_armed_ = false;
  Loop::Timers::iterator place_;
  Loop::Timers::node_type node_;  // Kept while unarmed, so that arming does not allocate.
};

// Deferred calls back once, at the end of the turn in which it was scheduled.
class Deferred {
 public:
  Deferred(Loop& loop, Callback callback);
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred();

  // schedule may be called any number of times in a turn; the callback runs once.
  void schedule();
  void cancel();
  [[nodiscard]] bool is_scheduled() const { return is_scheduled_; }

 private:
  friend class Loop;

  Loop& loop_;
  Callback callback_;
  bool is_scheduled_ = false;
  Deferred* previous_ = nullptr;
  Deferred* next_ = nullptr;
};

// Watch waits for a descriptor to become readable, writable or broken, once per want_…().
//
// An error or hang-up of the descriptor counts as both: the next read or write tells what it is. So
// does a descriptor that epoll does not know (a regular file), which is always ready.
class Watch {
 public:
  // `descriptor` is borrowed: it stays open until the Watch is gone. It is made non-blocking.
  Watch(Loop& loop, int descriptor, Callback readable, Callback writable, Callback broken = {});
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  // want_readable asks for one call of `readable`. Repeated calls before it ask for the same one.
  void want_readable();
  void want_writable();
  // want_broken asks for one call of `broken` (which must be given) when the descriptor has an
  // error or both of its sides are closed, also while nobody wants to read or write.
  void want_broken();
  // ignore_readable takes the wish back.
  void ignore_readable();
  void ignore_writable();

  struct State;  // Of loop.cc. It outlives the Watch until the kernel's last answer is in.

 private:
  State* state_;
};

// Signals calls back with the number of each signal of a set that the process receives. One object
// per process; while it lives the signals do not end the process. Before exec the dispositions need
// no care: a caught signal becomes the default there.
class Signals {
 public:
  Signals(Loop& loop, std::initializer_list<int> numbers,
          std::move_only_function<void(int)> callback);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  struct State;

 private:
  State* state_;
};

}  // namespace zt::io
