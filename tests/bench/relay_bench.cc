// SPDX-License-Identifier: Apache-2.0
// bench_relay: what a relay's forwarding costs.
//
//   bench_relay           nanoseconds of one segment in the table, for batches as UDP_GRO gives
//   them,
//                         over tables of growing size; the sockets' share is not in it
//   bench_relay forward   processor seconds of the forwarding thread for each GiB over loopback,
//   and
//                         their ratio to a bare loop of recvmmsg (UDP_GRO) and sendmsg
//                         (UDP_SEGMENT)
//
// A sender outruns the forwarder, so the ratio of processor time is the figure to trust. The sink
// counts what arrives and does nothing else. Each case is run three times, the best counts.

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "io/descriptor.h"
#include "io/loop.h"
#include "io/native_address.h"
#include "io/udp.h"
#include "zt/base/assert.h"
#include "zt/relay/dispatch.h"

namespace zt::relay {
namespace {

constexpr std::size_t kSegmentSize = 1452;

RouteId some_route(Random& random) {
  RouteId route;
  random.fill(route.bytes);
  return route;
}

SocketAddress address_of(std::size_t number) {
  return {
      IpAddress::v4({10, static_cast<std::uint8_t>(number >> 16U),
                     static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number)}),
      443};
}

struct Setting {
  std::size_t bindings_count;
  std::size_t segments_per_batch;
  std::size_t runs_per_batch;
};

double nanoseconds_per_segment(const Setting& setting) {
  SeededRandom random(1);
  Engine engine(
      {.bindings_max = setting.bindings_count, .bindings_per_tenant_max = setting.bindings_count},
      random);
  const Now now{Instant(std::chrono::seconds(1)), UnixTime(std::chrono::hours(480'000))};
  std::vector<RouteId> routes;
  for (std::size_t i = 0; i < setting.bindings_count; ++i) {
    Digest certificate;
    random.fill(certificate.bytes);
    routes.push_back(some_route(random));
    (void)engine.bind({.key = BindingKey(i),  // Cannot fail: the limits are as large.
                       .route = routes.back(),
                       .tenant = {"ten_bench"},
                       .certificate = certificate,
                       .source = address_of(i),
                       .expires = now.unix_time + std::chrono::hours(1)},
                      now);
  }
  constexpr std::size_t kBatches = 512;  // Enough to leave the first caches.
  std::vector<Bytes> batches(kBatches, Bytes(setting.segments_per_batch * kSegmentSize));
  for (Bytes& batch : batches) {
    RouteId route;
    for (std::size_t i = 0; i < setting.segments_per_batch; ++i) {
      const std::size_t run_length = setting.segments_per_batch / setting.runs_per_batch;
      if (i % run_length == 0) route = routes[random.below(routes.size())];
      const std::span segment = std::span(batch).subspan(i * kSegmentSize);
      segment[0] = std::byte{0x40};
      std::copy(route.bytes.begin(), route.bytes.end(), segment.begin() + 1);
    }
  }
  std::size_t segments = 0;
  std::uint64_t sum = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t round = 0; segments < 20'000'000; ++round) {
    const Bytes& batch = batches[round % kBatches];
    const SocketAddress source = address_of(round % setting.bindings_count);
    for_each_run(batch, kSegmentSize, [&](const Run& run) {
      sum += dispatch(engine, RouteId{}, source, run, now.instant).target.port;
    });
    segments += setting.segments_per_batch;
  }
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
  if (sum == 0) fmt::print("nothing was forwarded\n");
  return spent.count() / static_cast<double>(segments);
}

// --- Over loopback.

constexpr std::size_t kTrainSize = 44 * kSegmentSize;
const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

io::Descriptor open_udp(std::uint16_t& port) {
  io::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ZT_ASSERT(socket.is_open());
  const io::NativeAddress any(SocketAddress{kLoopback, 0});
  const int bound = ::bind(socket.number(), &any.generic, any.size);
  ZT_ASSERT(bound == 0);
  const int on = 1;
  (void)::setsockopt(socket.number(), SOL_UDP, UDP_GRO, &on, sizeof on);
  sockaddr_in name{};
  socklen_t size = sizeof name;
  (void)::getsockname(socket.number(), reinterpret_cast<sockaddr*>(&name), &size);  // NOLINT
  port = ntohs(name.sin_port);
  return socket;
}

void send_train(int socket, std::span<const std::byte> bytes, std::size_t segment_size,
                const SocketAddress& to) {
  io::NativeAddress native(to);
  iovec vector{.iov_base = const_cast<std::byte*>(bytes.data()),  // NOLINT: sendmsg only reads.
               .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_name = &native.generic;
  message.msg_namelen = native.size;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t))> control{};
  if (bytes.size() > segment_size) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
    const auto value = static_cast<std::uint16_t>(segment_size);
    std::memcpy(CMSG_DATA(header), &value, sizeof value);
  }
  (void)::sendmsg(socket, &message, 0);  // What does not fit is lost, as in a router.
}

double thread_seconds() {
  timespec time{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// bare_forward forwards to `target` until `is_over`, and returns the bytes.
std::uint64_t bare_forward(int socket, const SocketAddress& target,
                           const std::atomic<bool>& is_over) {
  constexpr std::size_t kTrains = io::UdpBuffers::kTrainCount;
  constexpr std::size_t kSize = io::UdpBuffers::kTrainSizeMax;
  std::vector<std::byte> memory(kTrains * kSize);
  std::array<mmsghdr, kTrains> messages{};
  std::array<iovec, kTrains> vectors{};
  struct Control {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> bytes;
  };
  std::array<Control, kTrains> controls{};
  std::uint64_t sum = 0;
  while (!is_over) {
    for (std::size_t i = 0; i < kTrains; ++i) {
      vectors[i] = {.iov_base = &memory[i * kSize], .iov_len = kSize};
      msghdr& message = messages[i].msg_hdr;
      message = {};
      message.msg_iov = &vectors[i];
      message.msg_iovlen = 1;
      message.msg_control = controls[i].bytes.data();
      message.msg_controllen = controls[i].bytes.size();
    }
    pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 20) <= 0) continue;
    const int count = ::recvmmsg(socket, messages.data(), kTrains, MSG_DONTWAIT, nullptr);
    for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count); ++i) {
      std::size_t segment_size = messages[i].msg_len;
      msghdr& message = messages[i].msg_hdr;
      for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level != SOL_UDP || at->cmsg_type != UDP_GRO) continue;
        int size = 0;
        std::memcpy(&size, CMSG_DATA(at), sizeof size);
        segment_size = static_cast<std::size_t>(size);
      }
      send_train(socket, std::span(&memory[i * kSize], messages[i].msg_len), segment_size, target);
      sum += messages[i].msg_len;
    }
  }
  return sum;
}

// table_forward does what a thread of a relay does: socket, runs, replica, socket.
std::uint64_t table_forward(io::Loop& loop, const Replica& replica,
                            const std::atomic<bool>& is_over) {
  std::unique_ptr<io::Timer> watch;
  watch = std::make_unique<io::Timer>(loop, [&] {
    if (is_over) loop.stop();
    watch->arm(loop.now().instant + std::chrono::milliseconds(20));
  });
  watch->arm(loop.now().instant);
  loop.run();
  return replica.totals().forwarded.bytes;
}

struct Cost {
  std::uint64_t bytes = 0;
  double seconds = 0;
  [[nodiscard]] double per_gib() const { return seconds / (double(bytes) / (1 << 30)); }
};

Cost forward_once(bool is_bare) {
  std::uint16_t sender_port = 0;
  std::uint16_t sink_port = 0;
  const io::Descriptor sender = open_udp(sender_port);
  const io::Descriptor sink = open_udp(sink_port);
  const SocketAddress source{kLoopback, sender_port};
  const SocketAddress target{kLoopback, sink_port};
  std::uint16_t bare_port = 0;
  const io::Descriptor bare = open_udp(bare_port);

  SeededRandom random(1);
  Engine engine({.is_replicated = true}, random);
  const io::Loop clock;
  std::array<RouteId, 2> routes{some_route(random), some_route(random)};
  for (std::size_t i = 0; i < 2; ++i) {
    Digest certificate;
    random.fill(certificate.bytes);
    (void)engine.bind({.key = BindingKey(i + 1),
                       .route = routes[i],
                       .tenant = {"ten_bench"},
                       .certificate = certificate,
                       .source = i == 0 ? source : target,
                       .expires = clock.now().unix_time + std::chrono::hours(1)},
                      clock.now());
  }
  Feed feed;
  Replica replica(random);
  replica.take(*feed.update(engine, {}));
  io::Loop loop;
  io::UdpBuffers buffers;
  std::unique_ptr<io::UdpPort> port;
  auto made =
      io::UdpPort::bind(loop, buffers, {.ip = kLoopback, .port = 0}, {},
                        {.on_datagrams =
                             [&](const io::Datagrams& train) {
                               const Instant now = loop.now().instant;
                               for_each_run(train.bytes, train.segment_size, [&](const Run& run) {
                                 const Verdict verdict = dispatch(replica, feed.epoch(), RouteId{},
                                                                  train.remote, run, now);
                                 if (verdict.place != Verdict::Place::forward) return;
                                 (void)port->send({.remote = verdict.target,
                                                   .bytes = run.bytes,
                                                   .segment_size = run.segment_size,
                                                   .ecn = train.ecn});
                               });
                             },
                         .on_writable = {},
                         .on_error = {}});
  ZT_ASSERT(made.has_value());
  port = std::move(*made);

  Bytes train(kTrainSize);
  for (std::size_t at = 0; at < train.size(); at += kSegmentSize) {
    train[at] = std::byte{0x40};
    std::copy(routes[1].bytes.begin(), routes[1].bytes.end(),
              train.begin() + std::ptrdiff_t(at) + 1);
  }
  std::atomic<bool> is_over = false;
  Cost cost;
  std::jthread forwarder([&] {
    const double begin = thread_seconds();
    cost.bytes = is_bare ? bare_forward(bare.number(), target, is_over)
                         : table_forward(loop, replica, is_over);
    cost.seconds = thread_seconds() - begin;
  });
  std::jthread reader([&] {
    std::vector<std::byte> memory(1 << 16);
    while (!is_over) {
      pollfd waiting{.fd = sink.number(), .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 20) > 0) {
        (void)::recv(sink.number(), memory.data(), memory.size(), MSG_DONTWAIT);
      }
    }
  });
  const SocketAddress at{kLoopback, is_bare ? bare_port : port->port()};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    send_train(sender.number(), train, kSegmentSize, at);
  }
  is_over = true;
  forwarder.join();
  reader.join();
  return cost;
}

void compare_forwarding() {
  std::array<double, 2> best{1e9, 1e9};
  for (int round = 0; round < 3; ++round) {
    for (const bool is_bare : {true, false}) {
      double& held = best[is_bare ? 0 : 1];
      held = std::min(held, forward_once(is_bare).per_gib());
    }
  }
  fmt::print("bare  {:.3f} CPU s/GiB\nrelay {:.3f} CPU s/GiB\nratio {:.2f}\n", best[0], best[1],
             best[1] / best[0]);
}

}  // namespace
}  // namespace zt::relay

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  if (arguments.size() > 1 && std::string_view(arguments[1]) == "forward") {
    zt::relay::compare_forwarding();
    return 0;
  }
  fmt::print("{:>9} {:>9} {:>6} {:>12}\n", "bindings", "segments", "runs", "ns/segment");
  for (const std::size_t bindings : {2UL, 1000UL, 60'000UL}) {
    for (const auto& [segments, runs] : {std::pair{1UL, 1UL}, {40UL, 1UL}, {40UL, 40UL}}) {
      fmt::print("{:>9} {:>9} {:>6} {:>12.1f}\n", bindings, segments, runs,
                 zt::relay::nanoseconds_per_segment({bindings, segments, runs}));
    }
  }
}
