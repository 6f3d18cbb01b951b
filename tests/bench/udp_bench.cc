// SPDX-License-Identifier: Apache-2.0
// udp_bench: what io::UdpSocket costs over the bare system calls, on loopback.
//
//   bench_udp [MILLISECONDS]
//
// Two threads, a sender and a receiver, with trains of full-size packets (bulk, 44 x 1452 bytes)
// and with single packets (1452 bytes). "bare" is recvmmsg and sendmsg in a loop that does nothing
// else. The sender outruns the receiver, so the figure to trust is the processor time of each
// thread for each GiB that it moved; the ratio is ours to bare. Each case is run three times, the
// best counts.

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "io/clock.h"
#include "io/descriptor.h"
#include "io/native_address.h"
#include "io/udp.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::io {
namespace {

struct Case {
  const char* name;
  std::size_t train_size;
  std::size_t segment_size;
};

struct Cost {
  double gib = 0;
  double seconds = 0;      // Wall.
  double cpu_seconds = 0;  // Of the thread.
  [[nodiscard]] double cpu_per_gib() const { return gib > 0 ? cpu_seconds / gib : 1e9; }
  [[nodiscard]] double gbit_per_s() const { return gib * 8.589934592 / seconds; }
};

double seconds_of(std::string_view milliseconds) {
  unsigned value = 1000;  // What is no number runs as long as nothing said.
  (void)std::from_chars(milliseconds.data(), milliseconds.data() + milliseconds.size(), value);
  return value / 1000.0;
}

double cpu_seconds() {
  timespec time{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double seconds_since(Instant start) {
  return std::chrono::duration<double>(read_monotonic_clock() - start).count();
}

// Meter measures the thread that makes it.
class Meter {
 public:
  [[nodiscard]] Cost stop(std::uint64_t bytes) const {
    return {.gib = static_cast<double>(bytes) / (1 << 30),
            .seconds = seconds_since(start_),
            .cpu_seconds = cpu_seconds() - cpu_start_};
  }

 private:
  Instant start_ = read_monotonic_clock();
  double cpu_start_ = cpu_seconds();
};

struct Run {
  Cost send;
  Cost receive;
};

constexpr UdpSocket::Options kOptions{.receive_buffer_size = 32 << 20,
                                      .send_buffer_size = 32 << 20};
const SocketAddress kAny{IpAddress::v4({127, 0, 0, 1}), 0};

Run run_ours(const Case& what, double seconds) {
  Run run;
  std::atomic<bool> is_over = false;
  std::atomic<bool> is_ready = false;
  SocketAddress target;
  std::thread receiver([&] {
    Loop loop;
    UdpBuffers buffers;
    std::uint64_t bytes = 0;
    UdpSocket::Handlers handlers;
    handlers.on_datagrams = [&](const Datagrams& train) { bytes += train.bytes.size(); };
    auto socket = UdpSocket::bind(loop, buffers, kAny, kOptions, std::move(handlers));
    ZT_ASSERT(socket.has_value());
    target = (*socket)->local();
    Timer watch(loop, [&] {
      if (is_over) return loop.stop();
      watch.arm(loop.now().instant + std::chrono::milliseconds(10));
    });
    watch.arm(loop.now().instant);
    is_ready = true;
    const Meter meter;
    loop.run();
    run.receive = meter.stop(bytes);
  });
  while (!is_ready) std::this_thread::yield();
  {
    Loop loop;
    UdpBuffers buffers;
    UdpSocket::Handlers handlers;
    handlers.on_datagrams = [](const Datagrams&) {};
    auto socket = UdpSocket::bind(loop, buffers, kAny, kOptions, std::move(handlers));
    ZT_ASSERT(socket.has_value());
    const Bytes bytes(what.train_size, std::byte{'x'});
    const Datagrams train{.remote = target, .bytes = bytes, .segment_size = what.segment_size};
    const Meter meter;
    const Instant start = read_monotonic_clock();
    std::uint64_t sent = 0;
    while (seconds_since(start) < seconds) {
      for (int i = 0; i < 64; ++i) sent += (*socket)->send(train).size;
    }
    run.send = meter.stop(sent);
  }
  is_over = true;
  receiver.join();
  return run;
}

Descriptor open_bare(bool is_receiving) {
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int size = 32 << 20;
  const int on = 1;
  (void)::setsockopt(socket.number(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  (void)::setsockopt(socket.number(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (is_receiving) (void)::setsockopt(socket.number(), SOL_UDP, UDP_GRO, &on, sizeof on);
  const NativeAddress any(kAny);
  const int bound = ::bind(socket.number(), &any.generic, any.size);
  ZT_ASSERT(bound == 0);
  return socket;
}

Cost receive_bare(const Descriptor& socket, const std::atomic<bool>& is_over) {
  constexpr std::size_t kCount = UdpBuffers::kTrainCount;
  std::vector<Bytes> buffers(kCount, Bytes(65536));
  std::array<mmsghdr, kCount> messages{};
  std::array<iovec, kCount> vectors{};
  for (std::size_t i = 0; i < kCount; ++i) {
    vectors[i] = {.iov_base = buffers[i].data(), .iov_len = buffers[i].size()};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t bytes = 0;
  const Meter meter;
  while (!is_over) {
    pollfd ready{.fd = socket.number(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 10) <= 0) continue;
    for (;;) {
      const int count = ::recvmmsg(socket.number(), messages.data(), kCount, MSG_DONTWAIT, nullptr);
      for (int i = 0; i < count; ++i) bytes += messages[static_cast<std::size_t>(i)].msg_len;
      if (count < static_cast<int>(kCount)) break;
    }
  }
  return meter.stop(bytes);
}

Cost send_bare(const Case& what, const SocketAddress& target, double seconds) {
  const Descriptor socket = open_bare(false);
  const Bytes bytes(what.train_size, std::byte{'x'});
  NativeAddress remote(target);
  iovec vector{.iov_base = const_cast<std::byte*>(bytes.data()),  // NOLINT: it is only read.
               .iov_len = bytes.size()};
  const int segment_size = static_cast<int>(what.segment_size);
  if (what.train_size > what.segment_size) {
    (void)::setsockopt(socket.number(), SOL_UDP, UDP_SEGMENT, &segment_size, sizeof segment_size);
  }
  msghdr message{};
  message.msg_name = &remote.generic;
  message.msg_namelen = remote.size;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  std::uint64_t sent = 0;
  const Meter meter;
  const Instant start = read_monotonic_clock();
  while (seconds_since(start) < seconds) {
    for (int i = 0; i < 64; ++i) {
      const ssize_t size = ::sendmsg(socket.number(), &message, 0);
      if (size > 0) sent += static_cast<std::uint64_t>(size);
    }
  }
  return meter.stop(sent);
}

Run run_bare(const Case& what, double seconds) {
  Run run;
  std::atomic<bool> is_over = false;
  const Descriptor socket = open_bare(true);
  std::thread receiver([&] { run.receive = receive_bare(socket, is_over); });
  run.send = send_bare(what, *local_address_of(socket.number()), seconds);
  is_over = true;
  receiver.join();
  return run;
}

void keep_best(std::optional<Run>& best, const Run& run) {
  if (!best) best = run;
  if (run.send.cpu_per_gib() < best->send.cpu_per_gib()) best->send = run.send;
  if (run.receive.cpu_per_gib() < best->receive.cpu_per_gib()) best->receive = run.receive;
}

void print(const char* name, const char* who, const Run& run) {
  std::printf(
      "%-8s %-5s  sent %5.1f Gbit/s %.3f cpu s/GiB   received %5.1f Gbit/s %.3f cpu s/GiB\n", name,
      who, run.send.gbit_per_s(), run.send.cpu_per_gib(), run.receive.gbit_per_s(),
      run.receive.cpu_per_gib());
}

int run(int argc, char** argv) {
  const double seconds = seconds_of(argc > 1 ? argv[1] : "1000");
  const std::array cases{Case{"bulk", std::size_t{44} * 1452, 1452}, Case{"single", 1452, 1452}};
  for (const Case& what : cases) {
    std::optional<Run> ours;
    std::optional<Run> bare;
    for (int i = 0; i < 3; ++i) {
      keep_best(bare, run_bare(what, seconds));
      keep_best(ours, run_ours(what, seconds));
    }
    print(what.name, "bare", *bare);
    print(what.name, "ours", *ours);
    std::printf("%-8s ratio of cost: send %.2f, receive %.2f\n", what.name,
                ours->send.cpu_per_gib() / bare->send.cpu_per_gib(),
                ours->receive.cpu_per_gib() / bare->receive.cpu_per_gib());
  }
  return 0;
}

}  // namespace
}  // namespace zt::io

int main(int argc, char** argv) {
  return zt::io::run(argc, argv);
}
