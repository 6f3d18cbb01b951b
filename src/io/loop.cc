// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "io/busy_poll.h"
#include "io/clock.h"
#include "io/descriptor.h"
#include "zt/base/assert.h"

namespace zt::io {
namespace {

constexpr std::uint32_t kReadable = EPOLLIN;
constexpr std::uint32_t kWritable = EPOLLOUT;
constexpr std::uint32_t kBroken = EPOLLERR;
constexpr std::uint32_t kAlwaysReported = EPOLLERR | EPOLLHUP;

constexpr std::size_t kEventsMax = 64;  // Taken from the kernel at once.

timespec to_timespec(Duration duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = static_cast<time_t>(seconds.count()),
          .tv_nsec = static_cast<long>((duration - seconds).count())};
}

// SchedulingAttributes is sched_attr of sched_setattr(2), version 0, for which no header of the C
// library can be counted on.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = 0;  // 0: SCHED_OTHER.
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// become_prompt makes the kernel wake this thread at the time that was asked for, and on a busy
// machine soon: it gets short slices of the processor, and these earlier. What it cannot have (the
// slice before Linux 6.12) costs nothing but promptness.
void become_prompt() {
  // Packets are paced by tens of microseconds; by default the kernel would add 50 to each wait.
  (void)::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  constexpr std::uint64_t kSlice = 100'000;  // Nanoseconds, the shortest; the default is some 3 ms.
  SchedulingAttributes attributes;
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != 0) return;  // Somebody knows better.
  attributes.runtime = kSlice;
  (void)::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

// Poller is the kernel's side of a loop: epoll, the timer for far deadlines, and the bell by which
// other threads end a wait.
class Loop::Poller {
 public:
  Poller() {
    // The first descriptors of a loop: without them the process cannot start.
    ZT_ASSERT(epoll_.is_open() && timer_.is_open() && bell_.is_open());
    // Edge-triggered: each expiry and each ring ends one wait, and nothing has to be read.
    for (const Descriptor* own : {&timer_, &bell_}) {
      epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
      const int result = ::epoll_ctl(epoll_.number(), EPOLL_CTL_ADD, own->number(), &event);
      ZT_ASSERT(result == 0);
    }
  }

  // collect waits until anything is ready, until `deadline` (nothing: for ever) or not at all, and
  // puts what is ready and wanted into `ready`.
  void collect(bool may_wait, std::optional<Instant> deadline) {
    while (!changed.is_empty()) apply(changed.take_first());
    if (!ready.is_empty()) may_wait = false;  // Some need no kernel to be so.
    std::array<epoll_event, kEventsMax> events{};
    for (const epoll_event& event : wait(events, may_wait, deadline)) {
      if (event.data.ptr != nullptr) note(*static_cast<Watch*>(event.data.ptr), event.events);
    }
  }

  // remove makes the kernel forget `watch`, and everybody here.
  void remove(Watch& watch) {
    changed.remove(watch);
    ready.remove(watch);
    if (watch.is_registered_) unregister(watch);
  }

  // cut_back makes the kernel report nothing more of `watch` than what is wanted by the next wait.
  void cut_back(Watch& watch) {
    watch.is_unwanted_ = true;
    changed.add(watch);
  }

  // ring ends the wait of the loop's thread, or the next one. Safe from any thread.
  void ring() const {
    const std::uint64_t one = 1;
    (void)!::write(bell_.number(), &one, sizeof one);  // Fails only if it rings already.
  }

  BusyPoll busy_poll;
  LinkedList<Watch, &Watch::changed_link_> changed;  // The kernel may have to be told.
  LinkedList<Watch, &Watch::ready_link_> ready;
  LinkedList<Deferred, &Deferred::link_> deferred;

  std::atomic<bool> is_stopping = false;
  std::mutex posted_mutex;
  std::vector<Callback> posted;               // Under the mutex.
  std::atomic<std::size_t> posted_count = 0;  // Read without it.

 private:
  std::span<epoll_event> wait(std::span<epoll_event> events, bool may_wait,
                              std::optional<Instant> deadline) {
    std::optional<Duration> timeout;
    if (!may_wait) {
      timeout = Duration::zero();
    } else if (deadline) {
      timeout = std::max(*deadline - read_monotonic_clock(), Duration::zero());
      if (*timeout > kTimeoutMax || (!has_short_waits_ && *timeout > Duration::zero())) {
        wake_at(*deadline);
        timeout.reset();
      }
    }
    const bool may_poll = may_wait && busy_poll.window_max() > Duration::zero();
    const int count = may_poll ? poll_and_wait(events, timeout) : wait(events, timeout);
    return events.first(static_cast<std::size_t>(std::max(count, 0)));
  }

  // poll_and_wait is wait, with polling before it.
  int poll_and_wait(std::span<epoll_event> events, std::optional<Duration> timeout) {
    const Instant begin = read_monotonic_clock();
    const Duration window = std::min(busy_poll.window(), timeout.value_or(Duration::max()));
    Duration waited{};
    while (waited < window) {
      const int count = wait(events, Duration::zero());
      if (count != 0) return count;
      (void)::sched_yield();
      waited = read_monotonic_clock() - begin;
    }
    if (timeout && *timeout <= waited) return 0;
    if (timeout) *timeout -= waited;
    const int count = wait(events, timeout);
    busy_poll.slept(read_monotonic_clock() - begin);
    return count;
  }

  int wait(std::span<epoll_event> events, std::optional<Duration> timeout) {
    const int size = static_cast<int>(events.size());
    if (!timeout || *timeout == Duration::zero()) {
      return ::epoll_wait(epoll_.number(), events.data(), size, timeout ? 0 : -1);
    }
    const timespec time = to_timespec(*timeout);
    const int count = ::epoll_pwait2(epoll_.number(), events.data(), size, &time, nullptr);
    // Too old a kernel, or a sandbox that does not know the call. This turn does not wait.
    if (count < 0 && errno != EINTR) has_short_waits_ = false;
    return count;
  }

  // wake_at makes the timer end a wait at `deadline` or, if it was told so before, earlier.
  void wake_at(Instant deadline) {
    if (wake_ && *wake_ <= deadline && read_monotonic_clock() < *wake_) return;
    wake_ = deadline;
    itimerspec setting{};
    setting.it_value = to_timespec(std::max(deadline.time_since_epoch(), Duration(1)));
    const int result = ::timerfd_settime(timer_.number(), TFD_TIMER_ABSTIME, &setting, nullptr);
    ZT_ASSERT(result == 0);
  }

  // note takes what the kernel reports of `watch`.
  void note(Watch& watch, std::uint32_t events) {
    watch.is_hung_up_ = (events & kAlwaysReported) != 0;
    if (watch.is_hung_up_) events |= kReadable | kWritable | kBroken;
    watch.ready_ = events & watch.wanted_;
    if (watch.ready_ != 0) {
      ready.add(watch);
    } else {
      cut_back(watch);
    }
  }

  // apply tells the kernel what it has to know about `watch` before the next wait.
  void apply(Watch& watch) {
    const bool is_unwanted = std::exchange(watch.is_unwanted_, false);
    if (watch.is_always_ready_) {
      watch.ready_ = watch.wanted_ & ~kBroken;
      if (watch.ready_ != 0) ready.add(watch);
      return;
    }
    const std::uint32_t events = watch.wanted_ & ~kAlwaysReported;
    if (!watch.is_registered_) {
      if (watch.wanted_ != 0) tell(watch, EPOLL_CTL_ADD, events);
    } else if (is_unwanted && watch.is_hung_up_ && watch.wanted_ == 0) {
      unregister(watch);
    } else if (is_unwanted ? events != watch.registered_ : (events & ~watch.registered_) != 0) {
      tell(watch, EPOLL_CTL_MOD, events);
    }
  }

  void tell(Watch& watch, int operation, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.ptr = &watch}};
    if (::epoll_ctl(epoll_.number(), operation, watch.descriptor_, &event) == 0) {
      watch.registered_ = events;
      watch.is_registered_ = true;
      return;
    }
    watch.is_registered_ = false;
    watch.is_always_ready_ = true;
    changed.add(watch);
  }

  void unregister(Watch& watch) {
    // It fails only if the descriptor was closed before its time, which is the same to epoll.
    (void)::epoll_ctl(epoll_.number(), EPOLL_CTL_DEL, watch.descriptor_, nullptr);
    watch.registered_ = 0;
    watch.is_registered_ = false;
  }

  Descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  Descriptor timer_{::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)};
  Descriptor bell_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::optional<Instant> wake_;  // What the timer was last set to.
  bool has_short_waits_ = true;
};

// --- Loop

Loop::Loop(const Limits& limits) : limits_(limits), poller_(std::make_unique<Poller>()) {}

Loop::~Loop() {
  ZT_ASSERT(timers_.empty());
  ZT_ASSERT(poller_->deferred.is_empty());
}

// NOLINTNEXTLINE(readability-convert-member-functions-to-static): callers ask their loop.
Now Loop::now() const {
  return read_clocks();
}

void Loop::run() {
  become_prompt();
  while (!poller_->is_stopping.exchange(false)) (void)take_turn(true);
}

bool Loop::turn() {
  return take_turn(true);
}
bool Loop::try_turn() {
  return take_turn(false);
}

void Loop::set_busy_poll_max(Duration window_max) {
  poller_->busy_poll.allow(window_max);
}

Duration Loop::busy_poll_max() const {
  return poller_->busy_poll.window_max();
}

void Loop::stop() {
  poller_->is_stopping = true;
  poller_->ring();
}

bool Loop::post(Callback callback) {
  {
    const std::scoped_lock lock(poller_->posted_mutex);
    if (poller_->posted.size() >= limits_.posts_max) return false;
    poller_->posted.push_back(std::move(callback));
    poller_->posted_count = poller_->posted.size();
  }
  poller_->ring();
  return true;
}

bool Loop::take_turn(bool may_wait) {
  // What is still ready of the last wait comes before another one.
  if (poller_->ready.is_empty()) {
    may_wait = may_wait && poller_->deferred.is_empty() && poller_->posted_count == 0;
    std::optional<Instant> earliest;
    if (!timers_.empty()) earliest = timers_.begin()->first.first;
    poller_->collect(may_wait, earliest);
  }
  bool has_run = fire_timers();
  if (call_ready()) has_run = true;
  if (run_posted()) has_run = true;
  if (fire_timers()) has_run = true;
  if (run_deferred()) has_run = true;
  return has_run;
}

template <class Owner>
void Loop::call(Owner& owner, Callback Owner::* callback) {
  ZT_ASSERT(calling_ == nullptr);  // A callback does not run the loop.
  Callback called = std::move(owner.*callback);
  calling_ = &owner;
  called();
  if (calling_ == &owner) owner.*callback = std::move(called);
  calling_ = nullptr;
}

void Loop::forget(const void* owner) {
  if (calling_ == owner) calling_ = nullptr;
}

bool Loop::call_ready() {
  bool has_run = false;
  for (std::size_t i = 0; i < limits_.handlers_per_turn_max && !poller_->ready.is_empty(); ++i) {
    Watch& watch = poller_->ready.take_first();
    const std::uint32_t event = watch.ready_ & (~watch.ready_ + 1);  // One of them.
    watch.ready_ &= ~event;
    if (watch.ready_ != 0) poller_->ready.add(watch);
    watch.wanted_ &= ~event;
    // A socket that could be written to can be still, and most often there is nothing to write.
    if (event != kReadable) poller_->cut_back(watch);
    call(watch, event == kReadable   ? &Watch::readable_
                : event == kWritable ? &Watch::writable_
                                     : &Watch::broken_);
    has_run = true;
  }
  return has_run;
}

bool Loop::fire_timers() {
  if (timers_.empty()) return false;
  const Instant now = read_monotonic_clock();
  bool has_fired = false;
  for (std::size_t i = 0; i < limits_.timers_per_turn_max; ++i) {
    if (timers_.empty() || timers_.begin()->first.first > now) break;
    Timer& timer = *timers_.begin()->second;
    timer.cancel();
    call(timer, &Timer::callback_);
    has_fired = true;
  }
  return has_fired;
}

bool Loop::run_posted() {
  if (poller_->posted_count == 0) return false;
  std::vector<Callback> callbacks;
  {
    const std::scoped_lock lock(poller_->posted_mutex);
    callbacks.swap(poller_->posted);
    poller_->posted_count = 0;
  }
  for (Callback& callback : callbacks) callback();
  return true;
}

bool Loop::run_deferred() {
  const std::size_t count = poller_->deferred.size();
  for (std::size_t i = 0; i < count && !poller_->deferred.is_empty(); ++i) {
    call(poller_->deferred.take_first(), &Deferred::callback_);
  }
  return count > 0;
}

// --- Timer

Timer::Timer(Loop& loop, Callback callback) : loop_(loop), callback_(std::move(callback)) {}

Timer::~Timer() {
  cancel();
  loop_.forget(this);
}

void Timer::arm(Instant deadline) {
  cancel();
  const Loop::TimerKey key(deadline, loop_.timers_armed_++);
  if (node_.empty()) {
    place_ = loop_.timers_.emplace(key, this).first;
  } else {
    node_.key() = key;
    place_ = loop_.timers_.insert(std::move(node_)).position;
  }
  is_armed_ = true;
}

void Timer::cancel() {
  if (!is_armed_) return;
  node_ = loop_.timers_.extract(place_);
  is_armed_ = false;
}

// --- Deferred

Deferred::Deferred(Loop& loop, Callback callback) : loop_(loop), callback_(std::move(callback)) {}

Deferred::~Deferred() {
  cancel();
  loop_.forget(this);
}

void Deferred::schedule() {
  loop_.poller_->deferred.add(*this);
}

void Deferred::cancel() {
  loop_.poller_->deferred.remove(*this);
}

// --- Watch

Watch::Watch(Loop& loop, int descriptor, Callback readable, Callback writable, Callback broken)
    : loop_(loop),
      descriptor_(descriptor),
      readable_(std::move(readable)),
      writable_(std::move(writable)),
      broken_(std::move(broken)) {}

Watch::~Watch() {
  loop_.poller_->remove(*this);
  loop_.forget(this);
}

void Watch::want(Events event) {
  if ((wanted_ & event) != 0) return;
  wanted_ |= event;
  if (!is_registered_ || (event & ~registered_ & ~kBroken) != 0) loop_.poller_->changed.add(*this);
}

void Watch::ignore(Events event) {
  wanted_ &= ~event;
  ready_ &= ~event;
  if (ready_ == 0) loop_.poller_->ready.remove(*this);
}

void Watch::want_readable() {
  want(kReadable);
}

void Watch::want_writable() {
  want(kWritable);
}

void Watch::want_broken() {
  want(kBroken);
}

void Watch::ignore_readable() {
  ignore(kReadable);
}

void Watch::ignore_writable() {
  ignore(kWritable);
}

}  // namespace zt::io
