// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/clock.h"
#include "io/descriptor.h"
#include "io/entropy.h"
#include "io/signals.h"
#include "run_until.h"

namespace zt::io {
namespace {

using std::chrono::milliseconds;

struct Pair {
  Pair() {
    std::array<int, 2> numbers{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, numbers.data()) == 0);
    near = Descriptor(numbers[0]);
    far = Descriptor(numbers[1]);
  }
  void poke() const { REQUIRE(::write(far.number(), "x", 1) == 1); }
  Descriptor near;
  Descriptor far;
};

}  // namespace

TEST_CASE("timers fire in the order of their deadlines, equal ones in the order of arming") {
  Loop loop;
  std::vector<int> fired;
  Timer late(loop, [&] { fired.push_back(3); });
  Timer early(loop, [&] { fired.push_back(1); });
  Timer equal(loop, [&] { fired.push_back(2); });
  const Instant now = loop.now().instant;
  late.arm(now + milliseconds(3));
  early.arm(now + milliseconds(1));
  equal.arm(now + milliseconds(1));
  REQUIRE(run_until(loop, [&] { return fired.size() == 3; }));
  CHECK(fired == std::vector{1, 2, 3});
}

TEST_CASE("a timer never fires before its deadline") {
  Loop loop;
  std::optional<Instant> fired;
  Timer timer(loop, [&] { fired = loop.now().instant; });
  const Instant deadline = loop.now().instant + milliseconds(5);
  timer.arm(deadline);
  REQUIRE(run_until(loop, [&] { return fired.has_value(); }));
  CHECK(*fired >= deadline);
}

TEST_CASE("a timer that is armed again forgets its first deadline, earlier or later") {
  Loop loop;
  int fired = 0;
  Timer timer(loop, [&] { ++fired; });
  const Instant now = loop.now().instant;
  timer.arm(now + std::chrono::hours(1));
  timer.arm(now + milliseconds(1));
  REQUIRE(run_until(loop, [&] { return fired == 1; }));
  timer.arm(now + milliseconds(2));
  timer.arm(now + std::chrono::hours(1));
  bool is_passed = false;
  Timer other(loop, [&] { is_passed = true; });
  other.arm(now + milliseconds(4));
  REQUIRE(run_until(loop, [&] { return is_passed; }));
  CHECK(fired == 1);
  CHECK(timer.is_armed());
}

TEST_CASE("a cancelled timer stays silent, and can be armed again") {
  Loop loop;
  int fired = 0;
  Timer timer(loop, [&] { ++fired; });
  timer.arm(loop.now().instant);
  timer.cancel();
  (void)loop.try_turn();
  CHECK(fired == 0);
  timer.arm(loop.now().instant);
  (void)loop.try_turn();
  CHECK(fired == 1);
}

TEST_CASE("a timer may destroy itself, or arm itself, in its callback") {
  Loop loop;
  int fired = 0;
  auto suicide = std::make_unique<std::optional<Timer>>();
  (*suicide).emplace(loop, [&, keep = std::vector<int>(100, 7)] {
    suicide->reset();
    fired += keep.back();  // The callback outlives its owner.
  });
  (*suicide)->arm(loop.now().instant);
  int repeats = 0;
  Timer repeating(loop, [&] {
    if (++repeats < 3) repeating.arm(loop.now().instant);
  });
  repeating.arm(loop.now().instant);
  REQUIRE(run_until(loop, [&] { return repeats == 3 && fired == 7; }));
}

TEST_CASE("what is due by its time comes before what has become ready, however late the turn is") {
  Loop loop;
  const Pair pair;
  std::vector<std::string> calls;
  std::optional<Watch> cut;
  Watch watch(loop, pair.near.number(), [&] { calls.emplace_back("bytes"); }, [] {});
  const Pair other;
  cut.emplace(loop, other.near.number(), [&] { calls.emplace_back("bytes of the cut"); }, [] {});
  Timer timer(loop, [&] {
    calls.emplace_back("end");
    cut.reset();  // It is ready, and is not called any more.
  });
  watch.want_readable();
  cut->want_readable();
  pair.poke();
  other.poke();
  timer.arm(loop.now().instant);
  REQUIRE(run_until(loop, [&] { return calls.size() >= 2; }));
  CHECK(calls == std::vector<std::string>{"end", "bytes"});
}

TEST_CASE("a timer that always arms itself in the past does not starve sockets") {
  Loop loop;
  Timer busy(loop, [&] { busy.arm(Instant{}); });
  busy.arm(Instant{});
  Pair pair;
  bool is_readable = false;
  Watch watch(loop, pair.near.number(), [&] { is_readable = true; }, [] {});
  watch.want_readable();
  pair.poke();
  CHECK(run_until(loop, [&] { return is_readable; }));
}

TEST_CASE("a deferred callback runs once at the end of the turn, after all that was ready") {
  Loop loop;
  std::vector<std::string> log;
  Deferred drain(loop, [&] { log.emplace_back("drain"); });
  Pair a;
  Pair b;
  const auto feed = [&] {
    log.emplace_back("feed");
    drain.schedule();
  };
  Watch watch_a(loop, a.near.number(), feed, [] {});
  Watch watch_b(loop, b.near.number(), feed, [] {});
  watch_a.want_readable();
  watch_b.want_readable();
  a.poke();
  b.poke();
  REQUIRE(run_until(loop, [&] { return log.size() >= 3; }));
  CHECK(log == std::vector<std::string>{"feed", "feed", "drain"});
}

TEST_CASE("what a deferred callback schedules runs in the next turn, which does not wait") {
  Loop loop;
  int ping_count = 0;
  Deferred ping(loop, [&] {
    ++ping_count;
    ping.schedule();
  });
  ping.schedule();
  (void)loop.turn();
  CHECK(ping_count == 1);
  (void)loop.turn();
  CHECK(ping_count == 2);
  ping.cancel();
}

TEST_CASE("a deferred callback may destroy the next one, and itself") {
  Loop loop;
  int count = 0;
  std::optional<Deferred> second;
  std::optional<Deferred> first;
  first.emplace(loop, [&] {
    second.reset();
    first.reset();
    ++count;
  });
  second.emplace(loop, [&] { ++count; });
  first->schedule();
  second->schedule();
  (void)loop.try_turn();
  CHECK(count == 1);
}

TEST_CASE("a watch calls once per wish, and again only when asked") {
  Loop loop;
  Pair pair;
  int readable = 0;
  Watch watch(loop, pair.near.number(), [&] { ++readable; }, [] {});
  pair.poke();
  watch.want_readable();
  watch.want_readable();
  REQUIRE(run_until(loop, [&] { return readable == 1; }));
  (void)loop.try_turn();
  CHECK(readable == 1);
  watch.want_readable();  // The byte is still there.
  REQUIRE(run_until(loop, [&] { return readable == 2; }));
}

TEST_CASE("a watch that is ignored, or gone, does not call") {
  Loop loop;
  Pair pair;
  int readable = 0;
  Watch ignored(loop, pair.near.number(), [&] { ++readable; }, [] {});
  ignored.want_readable();
  ignored.ignore_readable();
  pair.poke();
  Pair other;
  {
    Watch gone(loop, other.near.number(), [&] { ++readable; }, [&] { ++readable; });
    gone.want_readable();
    gone.want_writable();
    other.poke();
  }
  for (int i = 0; i < 4; ++i) (void)loop.try_turn();
  CHECK(readable == 0);
  ignored.want_readable();
  CHECK(run_until(loop, [&] { return readable == 1; }));
}

TEST_CASE("what nobody wants wakes nobody, and is there when it is wanted") {
  Loop loop;
  Pair pair;
  int readable = 0;
  Watch watch(loop, pair.near.number(), [&] { ++readable; }, [] {});
  watch.want_readable();
  pair.poke();
  REQUIRE(run_until(loop, [&] { return readable == 1; }));
  CHECK_FALSE(loop.try_turn());  // The kernel reports the byte once more, and is told not to.
  Timer timer(loop, [] {});
  timer.arm(loop.now().instant + milliseconds(20));
  int turns = 0;
  while (timer.is_armed()) {
    (void)loop.turn();
    ++turns;
  }
  CHECK(turns <= 2);  // Not a turn for each look at the byte.
  watch.want_readable();
  CHECK(run_until(loop, [&] { return readable == 2; }));
}

TEST_CASE("a descriptor that was hung up wakes nobody who does not want it, and then at once") {
  Loop loop;
  Pair pair;
  int broken = 0;
  int readable = 0;
  Watch watch(loop, pair.near.number(), [&] { ++readable; }, [] {}, [&] { ++broken; });
  watch.want_broken();
  pair.far.close();
  REQUIRE(run_until(loop, [&] { return broken == 1; }));
  Timer timer(loop, [] {});
  timer.arm(loop.now().instant + milliseconds(20));
  int turns = 0;
  while (timer.is_armed()) {
    (void)loop.turn();
    ++turns;
  }
  CHECK(turns <= 2);
  watch.want_readable();
  watch.want_broken();
  CHECK(run_until(loop, [&] { return readable == 1 && broken == 2; }));
}

TEST_CASE("a wish that comes true with another is called too, unless the first takes it back") {
  for (const bool is_taken_back : {false, true}) {
    CAPTURE(is_taken_back);
    Loop loop;
    Pair pair;
    int readable = 0;
    int writable = 0;
    std::optional<Watch> watch;
    watch.emplace(
        loop, pair.near.number(),
        [&] {
          ++readable;
          if (is_taken_back) watch->ignore_writable();
        },
        [&] { ++writable; });
    pair.poke();
    watch->want_readable();
    watch->want_writable();
    REQUIRE(run_until(loop, [&] { return readable == 1; }));
    for (int i = 0; i < 4; ++i) (void)loop.try_turn();
    CHECK(readable == 1);
    CHECK(writable == (is_taken_back ? 0 : 1));
  }
}

TEST_CASE("a far deadline and a near one fire in their order") {
  Loop loop;
  std::vector<int> fired;
  Timer far(loop, [&] { fired.push_back(2); });
  Timer near(loop, [&] { fired.push_back(1); });
  const Instant now = loop.now().instant;
  far.arm(now + Loop::kTimeoutMax + milliseconds(20));
  (void)loop.try_turn();
  near.arm(now + milliseconds(2));
  while (fired.size() < 2) (void)loop.turn();  // Without a tick that would wake the loop.
  CHECK(fired == std::vector{1, 2});
  CHECK(loop.now().instant >= now + Loop::kTimeoutMax + milliseconds(20));
}

TEST_CASE("a ready callback beyond the limit of a turn comes in the next, before another wait") {
  Loop loop(Loop::Limits{.handlers_per_turn_max = 1});
  Pair a;
  Pair b;
  int calls = 0;
  Watch watch_a(loop, a.near.number(), [&] { ++calls; }, [] {});
  Watch watch_b(loop, b.near.number(), [&] { ++calls; }, [] {});
  watch_a.want_readable();
  watch_b.want_readable();
  a.poke();
  b.poke();
  (void)loop.turn();
  CHECK(calls == 1);
  (void)loop.turn();
  CHECK(calls == 2);
}

// A chain of messages, each sent because the last one came, beside a timer: with polling, most
// waits end without a sleep.
TEST_CASE("a loop that may poll loses no event and no deadline, and fires none early") {
  const std::chrono::microseconds window_max = std::chrono::microseconds(GENERATE(0, 50, 300'000));
  CAPTURE(window_max);
  Loop loop;
  loop.set_busy_poll_max(window_max);
  const Pair pair;
  int arrived = 0;
  int fired = 0;
  bool is_early = false;
  Instant deadline;
  Timer timer(loop, [&] {
    is_early = is_early || loop.now().instant < deadline;
    deadline = loop.now().instant + std::chrono::microseconds(100);
    if (++fired < 100) timer.arm(deadline);
  });
  timer.arm(deadline = loop.now().instant);
  Watch watch(
      loop, pair.near.number(),
      [&] {
        std::array<char, 8> bytes{};
        arrived += static_cast<int>(::read(pair.near.number(), bytes.data(), bytes.size()));
        if (arrived == 100) return;
        watch.want_readable();
        pair.poke();
      },
      [] {});
  watch.want_readable();
  pair.poke();
  REQUIRE(run_until(loop, [&] { return arrived == 100 && fired == 100; }));
  CHECK_FALSE(is_early);
}

TEST_CASE("a loop that polls hears of posts from other threads, and of its end") {
  Loop loop;
  loop.set_busy_poll_max(std::chrono::seconds(60));  // Longer than any test waits.
  std::future<void> other;
  int left = 100;
  std::function<void()> again = [&] {
    if (--left == 0) return loop.stop();
    other = std::async(std::launch::async, [&] { REQUIRE(loop.post([&] { again(); })); });
  };
  REQUIRE(loop.post([&] { again(); }));
  loop.run();
  CHECK(left == 0);
}

TEST_CASE("a watch may be destroyed by its own callback, and by another ready one") {
  Loop loop;
  Pair a;
  Pair b;
  int calls = 0;
  std::optional<Watch> watch_a;
  std::optional<Watch> watch_b;
  const auto destroy = [&, keep = std::vector<int>(100, 1)] {
    watch_a.reset();
    watch_b.reset();
    calls += keep.back();
  };
  watch_a.emplace(loop, a.near.number(), destroy, [] {});
  watch_b.emplace(loop, b.near.number(), destroy, [] {});
  watch_a->want_readable();
  watch_b->want_readable();
  a.poke();
  b.poke();
  REQUIRE(run_until(loop, [&] { return calls > 0; }));
  (void)loop.try_turn();
  CHECK(calls == 1);
}

TEST_CASE("a loop may end while a destroyed watch's wait is still with the kernel") {
  Pair pair;
  Loop loop;
  Watch watch(loop, pair.near.number(), [] {}, [] {});
  watch.want_readable();
  CHECK(true);  // The leak checker is the judge.
}

TEST_CASE("a regular file is always ready") {
  Loop loop;
  const Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  bool is_readable = false;
  Watch watch(loop, file.number(), [&] { is_readable = true; }, [] {});
  watch.want_readable();
  CHECK(run_until(loop, [&] { return is_readable; }));
}

TEST_CASE("post runs in the loop's thread, and stop ends it, from another thread") {
  Loop loop;
  std::thread::id ran_in;
  std::thread other([&] {
    std::promise<void> ran;
    const bool is_posted = loop.post([&] {
      ran_in = std::this_thread::get_id();
      ran.set_value();
    });
    if (is_posted) ran.get_future().wait();  // A stop may overtake what was posted before it.
    loop.stop();
  });
  loop.run();
  other.join();
  CHECK(ran_in == std::this_thread::get_id());
}

TEST_CASE("a stop before run makes run return at once, and only once") {
  Loop loop;
  loop.stop();
  loop.run();
  bool has_run = false;
  Timer timer(loop, [&] {
    has_run = true;
    loop.stop();
  });
  timer.arm(loop.now().instant);
  loop.run();
  CHECK(has_run);
}

TEST_CASE("posts_max callbacks wait; one more is refused") {
  Loop loop(Loop::Limits{.posts_max = 2});
  int runs = 0;
  CHECK(loop.post([&] { ++runs; }));
  CHECK(loop.post([&] { ++runs; }));
  CHECK_FALSE(loop.post([&] { ++runs; }));
  REQUIRE(run_until(loop, [&] { return runs == 2; }));
  CHECK(loop.post([&] { ++runs; }));
}

TEST_CASE("signals arrive as calls with their number") {
  Loop loop;
  std::vector<int> numbers;
  Signals signals(loop, {SIGTERM, SIGHUP}, [&](int number) { numbers.push_back(number); });
  REQUIRE(::raise(SIGHUP) == 0);
  REQUIRE(run_until(loop, [&] { return numbers.size() == 1; }));
  REQUIRE(::raise(SIGTERM) == 0);
  REQUIRE(run_until(loop, [&] { return numbers.size() == 2; }));
  CHECK(numbers == std::vector{SIGHUP, SIGTERM});
}

TEST_CASE("signals are as before when nobody listens any more") {
  Loop loop;
  struct sigaction former{};
  REQUIRE(::sigaction(SIGUSR1, nullptr, &former) == 0);
  {
    const Signals signals(loop, {SIGUSR1}, [](int) {});
  }
  struct sigaction after{};
  REQUIRE(::sigaction(SIGUSR1, nullptr, &after) == 0);
  CHECK(after.sa_handler == former.sa_handler);
  const Signals again(loop, {SIGUSR1}, [](int) {});  // One at a time, any number in turn.
}

TEST_CASE("the clocks agree with each other and do not go back") {
  const Now first = read_clocks();
  const Now second = read_clocks();
  CHECK(second.instant >= first.instant);
  CHECK(first.unix_time > from_unix_seconds(1'700'000'000));
}

TEST_CASE("the kernel's random numbers fill every byte and do not repeat") {
  KernelRandom random;
  std::array<std::byte, 1000> a{};
  std::array<std::byte, 1000> b{};
  random.fill(a);
  random.fill(b);
  CHECK(a != b);
  // 16 zero bytes in a row have a chance of 2^-118 or so.
  for (std::size_t i = 0; i + 16 <= a.size(); ++i) {
    bool is_zero = true;
    for (std::size_t j = 0; j < 16; ++j) is_zero = is_zero && a[i + j] == std::byte{};
    CHECK_FALSE(is_zero);
  }
}

}  // namespace zt::io
