// SPDX-License-Identifier: Apache-2.0
// A link with delay, loss, a rate and a queue between two network namespaces, in user space.
//
//   impaired_link NAMESPACE NAMESPACE DELAY_MS LOSS_PER_MILLE RATE_MBIT QUEUE_MS
//
// Makes the interface `impaired` in each, and carries IP packets between the two until it is ended.
// Each packet waits for those before it (RATE_MBIT), unless it would wait longer than QUEUE_MS:
// then it is dropped, as is one of a thousand in LOSS_PER_MILLE, at random; then it travels for
// DELAY_MS.

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "io/clock.h"
#include "io/descriptor.h"
#include "zt/base/assert.h"

namespace zt::io {
namespace {

constexpr std::size_t kPacketSizeMax = 2048;
constexpr int kReadsPerTurnMax = 64;

struct Impairment {
  Duration delay;
  unsigned loss_per_mille = 0;
  double nanoseconds_per_byte = 0;
  Duration queue;
};

// open_tun makes the interface in a namespace. The process stays in that namespace.
Descriptor open_tun(const std::string& name) {
  const Descriptor space(::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!space.is_open() || ::setns(space.number(), CLONE_NEWNET) != 0) return {};
  Descriptor tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::string_view("impaired").copy(request.ifr_name, IFNAMSIZ - 1);
  if (!tun.is_open() || ::ioctl(tun.number(), TUNSETIFF, &request) != 0) return {};
  return tun;
}

// Direction is the way from one end to the other.
class Direction {
 public:
  Direction(const Impairment& impairment, int from, int to)
      : impairment_(impairment), from_(from), to_(to) {}

  void take(Instant now) {
    std::array<std::byte, kPacketSizeMax> buffer;
    for (int i = 0; i < kReadsPerTurnMax; ++i) {
      const ssize_t size = ::read(from_, buffer.data(), buffer.size());
      if (size <= 0) return;
      free_at_ = std::max(free_at_, now);
      if (free_at_ - now > impairment_.queue) continue;
      free_at_ +=
          Duration(static_cast<std::int64_t>(double(size) * impairment_.nanoseconds_per_byte));
      if (die_(random_) < impairment_.loss_per_mille) continue;
      flying_.push_back(
          {.due = free_at_ + impairment_.delay, .bytes = {buffer.begin(), buffer.begin() + size}});
    }
  }

  void give(Instant now) {
    while (!flying_.empty() && flying_.front().due <= now) {
      const std::vector<std::byte>& bytes = flying_.front().bytes;
      (void)!::write(to_, bytes.data(), bytes.size());  // What the kernel does not take is lost.
      flying_.pop_front();
    }
  }

  [[nodiscard]] Instant due() const {
    return flying_.empty() ? Instant::max() : flying_.front().due;
  }

 private:
  struct Flying {
    Instant due;
    std::vector<std::byte> bytes;
  };

  Impairment impairment_;
  int from_;
  int to_;
  Instant free_at_;
  std::deque<Flying> flying_;
  std::mt19937 random_{7};  // The same losses in each run.
  std::uniform_int_distribution<unsigned> die_{0, 999};
};

void run(const Impairment& impairment, const Descriptor& near, const Descriptor& far) {
  Direction there(impairment, near.number(), far.number());
  Direction back(impairment, far.number(), near.number());
  for (;;) {
    const Instant due = std::min(there.due(), back.due());
    timespec timeout{};
    if (due != Instant::max()) {
      const Duration wait = std::max(due - read_monotonic_clock(), Duration::zero());
      timeout = {.tv_sec = 0, .tv_nsec = static_cast<long>(wait.count())};
    }
    std::array<pollfd, 2> ends{pollfd{near.number(), POLLIN, 0}, pollfd{far.number(), POLLIN, 0}};
    (void)::ppoll(ends.data(), ends.size(), due == Instant::max() ? nullptr : &timeout, nullptr);
    const Instant now = read_monotonic_clock();
    there.take(now);
    back.take(now);
    there.give(now);
    back.give(now);
  }
}

unsigned number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ZT_ASSERT(error == std::errc() && end == text.data() + text.size());
  return value;
}

}  // namespace
}  // namespace zt::io

int main(int count, char** words) {
  using namespace zt::io;
  using std::chrono::milliseconds;
  if (count != 7) {
    std::fputs(
        "usage: impaired_link NAMESPACE NAMESPACE DELAY_MS LOSS_PER_MILLE RATE_MBIT "
        "QUEUE_MS\n",
        stderr);
    return 2;
  }
  const Impairment impairment{.delay = milliseconds(number(words[3])),
                              .loss_per_mille = number(words[4]),
                              .nanoseconds_per_byte = 8000.0 / number(words[5]),
                              .queue = milliseconds(number(words[6]))};
  const Descriptor near = open_tun(words[1]);
  const Descriptor far = open_tun(words[2]);
  if (!near.is_open() || !far.is_open()) {
    std::perror("impaired_link: cannot make an interface");
    return 1;
  }
  run(impairment, near, far);
}
