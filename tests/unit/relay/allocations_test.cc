// SPDX-License-Identifier: Apache-2.0
// What a relay's table allocates for the packets that it forwards: nothing.
#include "allocations.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <vector>

#include "zt/base/random.h"
#include "zt/relay/dispatch.h"

namespace zt::relay {
namespace {

constexpr std::size_t kSegmentSize = 1452;
constexpr std::size_t kSegments = 44;
constexpr std::uint8_t kBindings = 200;

SocketAddress address_of(std::uint8_t number) {
  return {IpAddress::v4({10, 0, 0, number}), 443};
}

TEST_CASE("a relay allocates nothing for a packet") {
  SeededRandom random(1);
  Engine engine({}, random);
  const Now now{Instant(std::chrono::seconds(1)), UnixTime(std::chrono::hours(480'000))};
  std::vector<RouteId> routes(kBindings);
  for (std::uint8_t i = 0; i < kBindings; ++i) {
    Digest certificate;
    random.fill(certificate.bytes);
    random.fill(routes[i].bytes);
    REQUIRE(engine.bind({.key = BindingKey(i),
                         .route = routes[i],
                         .tenant = {"ten_one"},
                         .certificate = certificate,
                         .source = address_of(i),
                         .expires = now.unix_time + std::chrono::hours(1)},
                        now));
  }
  Bytes batch(kSegments * kSegmentSize);
  std::size_t forwarded = 0;
  const auto forward = [&](std::uint64_t number) {
    for (std::size_t i = 0; i < kSegments; ++i) {  // Two runs, to two routes.
      const RouteId& route = routes[(number + i / (kSegments / 2)) % kBindings];
      const std::span segment = std::span(batch).subspan(i * kSegmentSize, kSegmentSize);
      segment[0] = std::byte{0x40};
      std::ranges::copy(route.bytes, segment.begin() + 1);
    }
    const SocketAddress source = address_of(static_cast<std::uint8_t>(number % kBindings));
    for_each_run(batch, kSegmentSize, [&](const Run& run) {
      const Verdict verdict = dispatch(engine, RouteId{}, source, run, now.instant);
      if (verdict.place == Verdict::Place::forward) forwarded += run.bytes.size() / kSegmentSize;
    });
  };
  const std::size_t before = test::allocation_count();
  for (std::uint64_t number = 0; number < 10'000; ++number) forward(number);
  CHECK(test::allocation_count() == before);
  CHECK(forwarded == 10'000 * kSegments);
}

}  // namespace
}  // namespace zt::relay
