// SPDX-License-Identifier: Apache-2.0
// What one forwarded segment costs in the relay's table: nanoseconds, for batches as UDP_GRO gives
// them, over tables of growing size. The sockets' share is not in it.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <vector>

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

}  // namespace
}  // namespace zt::relay

int main() {
  fmt::print("{:>9} {:>9} {:>6} {:>12}\n", "bindings", "segments", "runs", "ns/segment");
  for (const std::size_t bindings : {2UL, 1000UL, 60'000UL}) {
    for (const auto& [segments, runs] : {std::pair{1UL, 1UL}, {40UL, 1UL}, {40UL, 40UL}}) {
      fmt::print("{:>9} {:>9} {:>6} {:>12.1f}\n", bindings, segments, runs,
                 zt::relay::nanoseconds_per_segment({bindings, segments, runs}));
    }
  }
}
