// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/loop.h: one thread's event loop: readiness, timers, and "when this turn ends".
//
// Theory of operation
//   A loop runs in turns. A turn (1) waits until something is ready, unless work is due already;
//   (2) fires the timers that are due, so that what ends by its time has ended before another byte
//   moves, however late it is (a machine that slept); (3) runs up to `handlers_per_turn_max` ready
//   callbacks, and what was posted; (4) fires the timers that are due by then; (5) runs the
//   Deferred callbacks that were scheduled before this step began. An engine is therefore fed by
//   any number of callbacks in a turn and drained once, by its Deferred, at the end. What a
//   Deferred schedules runs in the next turn, which then does not wait: two parties that keep
//   waking each other cannot starve the sockets.
//
//   Everything else here is an object that belongs to a loop: it outlives none of its callbacks.
//   Destroying a Watch, Timer or Deferred cancels what it waits for; its callback is never called
//   again, and may itself destroy the object that called it.
//
//   Readiness is epoll's, level-triggered. What a Watch wants is told to the kernel once, before
//   the next wait, however often it changes in a turn; and it is left there when the wish is
//   fulfilled, because whoever reads will most often want to read again. Only when the kernel
//   reports what nobody wants is the descriptor's entry cut back. A socket that is read all the
//   time thus costs one system call in its life beside its reads.
//
//   A loop whose owner says that microseconds matter polls for a while before it sleeps
//   (io/busy_poll.h). In between it offers the processor to other threads.
//
//   Near deadlines end a wait by its own timeout. Its clock stands still while the machine sleeps,
//   so deadlines farther than `kTimeoutMax` are given to a kernel timer on CLOCK_BOOTTIME.
//
// Limits   handlers_per_turn_max, timers_per_turn_max, posts_max.
// Time     Timers keep their deadline on CLOCK_BOOTTIME and fire at it or some 10 us after it, in
//          the order of their deadlines, equal ones in the order of arming. Never early. A deadline
//          that the machine slept through fires on waking, or kTimeoutMax later.
// Cost     A turn is one epoll_pwait2, and one epoll_ctl for each Watch that wants what it did not
//          want before. Arming a timer costs no allocation; a far one that becomes the earliest of
//          all and earlier than the last far one costs a system call. Where the kernel has no
//          epoll_pwait2 (before 5.11) every deadline counts as far.
// Threads  A loop and its objects belong to the thread that calls run(). Only post() and stop() may
//          be called from other threads. run() changes how its thread is scheduled: timers without
//          slack, and slices of 0.1 ms, which on a busy machine come the sooner.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "io/linked_list.h"
#include "zt/base/time.h"

namespace zt::io {

using Callback = std::move_only_function<void()>;

class Deferred;
class Timer;
class Watch;

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

  // The farthest deadline that is left to the timeout of a wait.
  static constexpr Duration kTimeoutMax = std::chrono::milliseconds(100);

  Loop() : Loop(Limits{}) {}
  explicit Loop(const Limits& limits);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  // All Watches, Timers and Deferreds of the loop are gone before it.
  ~Loop();

  // now reads both clocks. Two readings never go backwards in `instant`.
  [[nodiscard]] Now now() const;

  // run takes turns until stop(). A stop() before run() makes it return at once.
  void run();

  // turn takes one turn, and try_turn one that does not wait; true if anything ran. For tests, and
  // for embedding into another loop.
  bool turn();
  bool try_turn();

  // set_busy_poll_max lets a wait poll for up to `window_max` before it sleeps, as long as waits
  // turn out to be that short; zero, as at first, never. What a loop polls it is billed for.
  void set_busy_poll_max(Duration window_max);
  [[nodiscard]] Duration busy_poll_max() const;

  // stop makes run() return at the end of its turn. Safe from any thread and from callbacks.
  void stop();

  // post runs `callback` in a turn soon, in the loop's thread. Safe from any thread. False if
  // `posts_max` callbacks are waiting; then it will not run.
  [[nodiscard]] bool post(Callback callback);

 private:
  friend class Deferred;
  friend class Timer;
  friend class Watch;

  using TimerKey = std::pair<Instant, std::uint64_t>;
  using Timers = std::map<TimerKey, Timer*>;

  class Poller;

  bool take_turn(bool may_wait);
  bool call_ready();
  bool fire_timers();
  bool run_posted();
  bool run_deferred();
  // Calls `callback` of `owner`, which may destroy `owner`.
  template <class Owner>
  void call(Owner& owner, Callback Owner::* callback);
  // forget is told of the death of a Watch, Timer or Deferred.
  void forget(const void* owner);

  const Limits limits_;
  std::unique_ptr<Poller> poller_;
  Timers timers_;
  std::uint64_t timers_armed_ = 0;
  const void* calling_ = nullptr;  // Whose callback runs; null if it died.
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
  [[nodiscard]] bool is_scheduled() const { return link_.is_linked; }

 private:
  friend class Loop;

  Loop& loop_;
  Callback callback_;
  Link<Deferred> link_;
};

// Watch waits for a descriptor to become readable, writable or broken, once per want_…().
//
// An error or hang-up of the descriptor counts as all three: the next read or write tells what it
// is. A descriptor that epoll does not take (a regular file; any, when the kernel is out of memory)
// is always ready.
class Watch {
 public:
  // `descriptor` is borrowed: it stays open until the Watch is gone. Reads and writes of it do not
  // block, because it is non-blocking or because they say so.
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

 private:
  friend class Loop;

  // A set of wishes, or of what has come true: the bits are epoll's EPOLLIN, EPOLLOUT and EPOLLERR.
  using Events = std::uint32_t;

  void want(Events event);
  void ignore(Events event);

  Loop& loop_;
  const int descriptor_;
  Callback readable_;
  Callback writable_;
  Callback broken_;
  Events wanted_ = 0;
  Events ready_ = 0;       // Wanted, has come true, and is still to be called.
  Events registered_ = 0;  // What the kernel reports; errors always.
  bool is_registered_ = false;
  bool is_unwanted_ = false;  // The kernel has reported, or soon will, what nobody wants.
  bool is_hung_up_ = false;   // What it reports then cannot be switched off.
  bool is_always_ready_ = false;
  Link<Watch> changed_link_;
  Link<Watch> ready_link_;
};

}  // namespace zt::io
