// SPDX-License-Identifier: Apache-2.0
// splice_bench: what two splices with a wire of memory between them cost, over a bare TCP proxy.
//
//   bench_splice [MILLISECONDS]
//
// A source thread writes, a sink thread reads, the thread between carries the bytes: "bare" by recv
// and send of 256 KiB, "ours" by Splice, MemoryPort (4 MiB, the send buffer of a QUIC stream),
// Splice. Both copy each byte twice. The processor time of the thread between counts, for each GiB.

#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>
#include <thread>

#include "../unit/io/memory_port.h"
#include "io/clock.h"
#include "io/native_address.h"
#include "io/splice.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::io {
namespace {

struct TcpPair {
  TcpPair() {
    const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const NativeAddress any({IpAddress::v4({127, 0, 0, 1}), 0});
    ZT_ASSERT(::bind(listener.number(), &any.generic, any.size) == 0);
    ZT_ASSERT(::listen(listener.number(), 1) == 0);
    const NativeAddress native(*local_address_of(listener.number()));
    a = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ZT_ASSERT(::connect(a.number(), &native.generic, native.size) == 0);
    b = Descriptor(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  Descriptor a;
  Descriptor b;
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

struct Cost {
  double gib = 0;
  double seconds = 0;
  double cpu = 0;
};

// measure runs source and sink around `carry`, which returns when the source has ended.
template <class Carry>
Cost measure(double seconds, Carry carry) {
  TcpPair left;
  TcpPair right;
  std::uint64_t received = 0;
  std::thread source([&] {
    const Bytes block(256 << 10, std::byte{'x'});
    const Instant end =
        read_monotonic_clock() + std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    while (read_monotonic_clock() < end) {
      if (::send(left.a.number(), block.data(), block.size(), MSG_NOSIGNAL) < 0) break;
    }
    (void)::shutdown(left.a.number(), SHUT_WR);
  });
  std::thread sink([&] {
    Bytes block(256 << 10);
    for (;;) {
      const ssize_t size = ::recv(right.b.number(), block.data(), block.size(), 0);
      if (size <= 0) break;
      received += static_cast<std::uint64_t>(size);
    }
    (void)::shutdown(right.b.number(), SHUT_WR);
  });
  const Instant start = read_monotonic_clock();
  const double cpu = cpu_seconds();
  carry(std::move(left.b), std::move(right.a));
  const Cost cost{.gib = 0,
                  .seconds = std::chrono::duration<double>(read_monotonic_clock() - start).count(),
                  .cpu = cpu_seconds() - cpu};
  (void)::shutdown(left.a.number(), SHUT_RDWR);
  source.join();
  sink.join();
  return {
      .gib = static_cast<double>(received) / (1 << 30), .seconds = cost.seconds, .cpu = cost.cpu};
}

void carry_bare(Descriptor from, Descriptor to) {
  Bytes block(256 << 10);
  for (;;) {
    const ssize_t size = ::recv(from.number(), block.data(), block.size(), 0);
    if (size <= 0) break;
    for (ssize_t sent = 0; sent < size;) {
      const ssize_t part = ::send(to.number(), block.data() + sent,
                                  static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
      if (part <= 0) return;
      sent += part;
    }
  }
  (void)::shutdown(to.number(), SHUT_WR);
}

void carry_ours(Descriptor from, Descriptor to, std::size_t turn_size_max) {
  Loop loop;
  MemoryPort near_port(loop, 4 << 20);
  MemoryPort far_port(loop, 4 << 20);
  near_port.connect(far_port);
  far_port.connect(near_port);
  int ends = 0;
  const auto count = [&](const Splice::Report&) {
    if (++ends == 2) loop.stop();
  };
  const Splice::Options options{.turn_size_max = turn_size_max};
  Splice near(loop, {.input = std::move(from)}, near_port, options, count);
  Splice far(loop, {.input = std::move(to)}, far_port, options, count);
  near_port.listen({.readable = [&] { near.on_port_readable(); },
                    .writable = [&] { near.on_port_writable(); },
                    .reset = [&] { near.on_port_reset(); }});
  far_port.listen({.readable = [&] { far.on_port_readable(); },
                   .writable = [&] { far.on_port_writable(); },
                   .reset = [&] { far.on_port_reset(); }});
  loop.run();
}

void print(const char* name, std::size_t size, const Cost& cost) {
  std::printf("%-5s %5zu KiB a turn  %5.1f Gbit/s  %.3f cpu s/GiB\n", name, size >> 10,
              cost.gib * 8.589934592 / cost.seconds, cost.cpu / cost.gib);
}

int run(int argc, char** argv) {
  const double seconds = seconds_of(argc > 1 ? argv[1] : "1000");
  const auto best_of_three = [&](auto carry) {
    std::optional<Cost> best;
    for (int i = 0; i < 3; ++i) {
      const Cost cost = measure(seconds, carry);
      if (!best || cost.cpu / cost.gib < best->cpu / best->gib) best = cost;
    }
    return *best;
  };
  print("bare", 256 << 10, best_of_three(carry_bare));
  for (const std::size_t size :
       {std::size_t{64} << 10, std::size_t{128} << 10, std::size_t{256} << 10,
        std::size_t{512} << 10, std::size_t{1024} << 10, std::size_t{4096} << 10}) {
    print("ours", size, best_of_three([size](Descriptor from, Descriptor to) {
            carry_ours(std::move(from), std::move(to), size);
          }));
  }
  return 0;
}

}  // namespace
}  // namespace zt::io

int main(int argc, char** argv) {
  return zt::io::run(argc, argv);
}
