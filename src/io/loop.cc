// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <atomic>
#include <optional>

#include "io/clock.h"
#include "io/descriptor.h"
#include "zt/base/assert.h"

namespace zt::io {

// --- Loop

class Loop::Impl {
 public:
  // One thread runs the reactor; only the queue of post() and stop() is shared.
  Impl() : context(ASIO_CONCURRENCY_HINT_UNSAFE_IO), work(context.get_executor()) {
    const bool has_timer = timer_descriptor_.is_open();
    ZT_ASSERT(has_timer);  // The first descriptor of a loop: the process cannot start without it.
  }

  // watch_timer listens to the kernel's timer. Apart from the constructor: Watch looks into `loop`.
  void watch_timer(Loop& loop) {
    timer_watch_ =
        std::make_unique<Watch>(loop, timer_descriptor_.number(), [this] { note_wake(); }, [] {});
    timer_watch_->want_readable();
  }

  // wake_at makes the kernel end a wait at `deadline` or, if it was told so before, earlier.
  void wake_at(Instant deadline) {
    if (wake_ && *wake_ <= deadline) return;
    wake_ = deadline;
    const Duration since_start = std::max(deadline.time_since_epoch(), Duration(1));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_start);
    itimerspec setting{};
    setting.it_value.tv_sec = static_cast<time_t>(seconds.count());
    setting.it_value.tv_nsec = static_cast<long>((since_start - seconds).count());
    const int result =
        ::timerfd_settime(timer_descriptor_.number(), TFD_TIMER_ABSTIME, &setting, nullptr);
    ZT_ASSERT(result == 0);
  }

  // time_passes fires the timers that are due, once in a turn and before its callbacks.
  void time_passes(Loop& loop) {
    if (!std::exchange(has_time_passed, true)) (void)loop.fire_timers();
  }

  asio::io_context context;
  bool has_time_passed = false;  // In this turn.
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::atomic<bool> is_stopping = false;
  std::atomic<std::size_t> posts = 0;

 private:
  // The kernel's timer has fired. Reading it makes it unreadable until it is set again.
  void note_wake() {
    std::uint64_t expirations = 0;
    const ssize_t size = ::read(timer_descriptor_.number(), &expirations, sizeof expirations);
    if (size > 0) wake_.reset();
    timer_watch_->want_readable();
  }

  Descriptor timer_descriptor_{::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)};
  std::unique_ptr<Watch> timer_watch_;
  std::optional<Instant> wake_;  // What the kernel's timer is set to.
};

// --- Watch: the state is shared by the Watch and by the waits that Asio holds for it. Whoever is
// last deletes it. One thread, so a plain count.

struct Watch::State {
  struct Direction {
    Callback callback;
    bool is_wanted = false;
    bool is_waiting = false;  // Asio holds a wait.
  };

  State(Loop& of_loop, Callback readable_callback, Callback writable_callback,
        Callback broken_callback)
      : loop(of_loop),
        descriptor(of_loop.impl_->context),
        readable{.callback = std::move(readable_callback)},
        writable{.callback = std::move(writable_callback)},
        broken{.callback = std::move(broken_callback)} {}

  // time_passes lets the loop do what is due before anything is made of readiness.
  void time_passes() const { loop.impl_->time_passes(loop); }

  Loop& loop;
  asio::posix::stream_descriptor descriptor;
  Direction readable;
  Direction writable;
  Direction broken;
  bool is_abandoned = false;
  int holders = 1;
};

namespace {

void drop_holder(Watch::State* state) {
  if (--state->holders == 0) delete state;  // NOLINT(cppcoreguidelines-owning-memory)
}

// Wait is the completion handler of one asynchronous wait. Asio moves it about and destroys it,
// called or not.
class Wait {
 public:
  using Direction = Watch::State::Direction;

  Wait(Watch::State* state, Direction Watch::State::* direction)
      : state_(state), direction_(direction) {
    ++state_->holders;
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  Wait(Wait&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), direction_(other.direction_) {}
  Wait& operator=(Wait&&) = delete;
  ~Wait() {
    if (state_ != nullptr) drop_holder(state_);
  }

  void operator()(const asio::error_code& error) {
    Direction& direction = state_->*direction_;
    direction.is_waiting = false;
    if (error == asio::error::operation_aborted) return;
    state_->time_passes();
    if (state_->is_abandoned || !direction.is_wanted) return;
    direction.is_wanted = false;
    direction.callback();
  }

 private:
  Watch::State* state_;
  Direction Watch::State::* direction_;
};

void want(Watch::State* state, Wait::Direction Watch::State::* member,
          asio::posix::stream_descriptor::wait_type type) {
  Wait::Direction& direction = state->*member;
  direction.is_wanted = true;
  if (direction.is_waiting) return;
  direction.is_waiting = true;
  state->descriptor.async_wait(type, Wait(state, member));
}

}  // namespace

Loop::Loop(const Limits& limits) : limits_(limits), impl_(std::make_unique<Impl>()) {
  impl_->watch_timer(*this);
}

Loop::~Loop() {
  ZT_ASSERT(timers_.empty());
  ZT_ASSERT(deferred_first_ == nullptr);
}

// NOLINTNEXTLINE(readability-convert-member-functions-to-static): callers ask their loop.
Now Loop::now() const {
  return read_clocks();
}

void Loop::run() {
  while (!impl_->is_stopping.exchange(false)) (void)take_turn(true);
}

bool Loop::turn() {
  return take_turn(true);
}
bool Loop::try_turn() {
  return take_turn(false);
}

void Loop::stop() {
  impl_->is_stopping = true;
  asio::post(impl_->context, [] {});  // Ends the wait.
}

bool Loop::post(Callback callback) {
  if (impl_->posts.fetch_add(1) >= limits_.posts_max) {
    impl_->posts.fetch_sub(1);
    return false;
  }
  asio::post(impl_->context, [this, callback = std::move(callback)]() mutable {
    impl_->posts.fetch_sub(1);
    callback();
  });
  return true;
}

bool Loop::take_turn(bool may_wait) {
  if (deferred_first_ != nullptr) may_wait = false;
  if (may_wait && !timers_.empty()) {
    const Instant earliest = timers_.begin()->first.first;
    if (earliest <= read_monotonic_clock()) {
      may_wait = false;
    } else {
      impl_->wake_at(earliest);
    }
  }
  impl_->has_time_passed = false;
  asio::io_context& context = impl_->context;
  std::size_t handled = may_wait ? context.run_one() : context.poll_one();
  bool has_run = handled > 0;
  for (std::size_t i = 1; handled > 0 && i < limits_.handlers_per_turn_max; ++i) {
    handled = context.poll_one();
  }
  if (fire_timers()) has_run = true;
  if (run_deferred()) has_run = true;
  return has_run;
}

template <class Owner>
void Loop::call(Owner& owner) {
  ZT_ASSERT(calling_ == nullptr);  // A callback does not run the loop.
  Callback callback = std::move(owner.callback_);
  calling_ = &owner;
  callback();
  if (calling_ == &owner) owner.callback_ = std::move(callback);
  calling_ = nullptr;
}

bool Loop::fire_timers() {
  if (timers_.empty()) return false;
  const Instant now = read_monotonic_clock();
  bool has_fired = false;
  for (std::size_t i = 0; i < limits_.timers_per_turn_max; ++i) {
    if (timers_.empty() || timers_.begin()->first.first > now) break;
    Timer& timer = *timers_.begin()->second;
    timer.cancel();
    call(timer);
    has_fired = true;
  }
  return has_fired;
}

bool Loop::run_deferred() {
  const std::size_t count = deferred_count_;
  for (std::size_t i = 0; i < count && deferred_first_ != nullptr; ++i) {
    Deferred& deferred = *deferred_first_;
    deferred.cancel();
    call(deferred);
  }
  return count > 0;
}

// --- Timer

Timer::Timer(Loop& loop, Callback callback) : loop_(loop), callback_(std::move(callback)) {}

Timer::~Timer() {
  cancel();
  if (loop_.calling_ == this) loop_.calling_ = nullptr;
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
  if (loop_.calling_ == this) loop_.calling_ = nullptr;
}

void Deferred::schedule() {
  if (is_scheduled_) return;
  is_scheduled_ = true;
  previous_ = loop_.deferred_last_;
  next_ = nullptr;
  (previous_ != nullptr ? previous_->next_ : loop_.deferred_first_) = this;
  loop_.deferred_last_ = this;
  ++loop_.deferred_count_;
}

void Deferred::cancel() {
  if (!is_scheduled_) return;
  is_scheduled_ = false;
  (previous_ != nullptr ? previous_->next_ : loop_.deferred_first_) = next_;
  (next_ != nullptr ? next_->previous_ : loop_.deferred_last_) = previous_;
  --loop_.deferred_count_;
}

// --- Watch

Watch::Watch(Loop& loop, int descriptor, Callback readable, Callback writable, Callback broken)
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): see drop_holder.
    : state_(new State(loop, std::move(readable), std::move(writable), std::move(broken))) {
  asio::error_code error;
  // Without memory in the kernel the descriptor stays unknown; each wait then ends at once, and
  // what the caller does next tells it.
  (void)state_->descriptor.assign(descriptor, error);
}

Watch::~Watch() {
  // The state lives: this Watch is one of its holders.
  state_->is_abandoned = true;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
  if (state_->descriptor.is_open()) (void)state_->descriptor.release();
  drop_holder(state_);
}

void Watch::want_readable() {
  want(state_, &State::readable, asio::posix::stream_descriptor::wait_read);
}

void Watch::want_writable() {
  want(state_, &State::writable, asio::posix::stream_descriptor::wait_write);
}

void Watch::want_broken() {
  want(state_, &State::broken, asio::posix::stream_descriptor::wait_error);
}

void Watch::ignore_readable() {
  state_->readable.is_wanted = false;
}
void Watch::ignore_writable() {
  state_->writable.is_wanted = false;
}

// --- Signals: the same arrangement as Watch.

struct Signals::State {
  State(asio::io_context& context, std::move_only_function<void(int)> function)
      : set(context), callback(std::move(function)) {}

  asio::signal_set set;
  std::move_only_function<void(int)> callback;
  bool is_abandoned = false;
  int holders = 1;
};

namespace {

void drop_holder(Signals::State* state) {
  if (--state->holders == 0) delete state;  // NOLINT(cppcoreguidelines-owning-memory)
}

class SignalWait {
 public:
  explicit SignalWait(Signals::State* state) : state_(state) { ++state_->holders; }
  SignalWait(const SignalWait&) = delete;
  SignalWait& operator=(const SignalWait&) = delete;
  SignalWait(SignalWait&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  SignalWait& operator=(SignalWait&&) = delete;
  ~SignalWait() {
    if (state_ != nullptr) drop_holder(state_);
  }

  void operator()(const asio::error_code& error, int number) {
    if (error || state_->is_abandoned) return;
    state_->callback(number);
    if (!state_->is_abandoned) state_->set.async_wait(SignalWait(state_));
  }

 private:
  Signals::State* state_;
};

}  // namespace

Signals::Signals(Loop& loop, std::initializer_list<int> numbers,
                 std::move_only_function<void(int)> callback)
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): see drop_holder.
    : state_(new State(loop.impl_->context, std::move(callback))) {
  for (const int number : numbers) {
    asio::error_code error;
    (void)state_->set.add(number, error);
    ZT_ASSERT(!error);  // Only a number that is no signal fails.
  }
  state_->set.async_wait(SignalWait(state_));
}

Signals::~Signals() {
  state_->is_abandoned = true;
  asio::error_code error;
  (void)state_->set.clear(error);  // Restores the default dispositions.
  (void)state_->set.cancel(error);
  drop_holder(state_);
}

}  // namespace zt::io
