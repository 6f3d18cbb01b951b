// SPDX-License-Identifier: Apache-2.0
// What a bulk stream gets of a path, and what it leaves of it to others.
#include <catch2/catch_test_macros.hpp>
#include <cstdint>

#include "link.h"
#include "quic/endpoint.h"

namespace zt::quic::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kRate = 12'500'000;  // Bytes a second: 100 Mbit/s.

Quality path_of(unsigned loss_per_mille, std::size_t queue_size_max) {
  Quality quality;
  quality.delay = milliseconds(25);
  quality.rate_bytes_per_s = kRate;
  quality.queue_size_max = queue_size_max;
  quality.loss_per_mille = loss_per_mille;
  return quality;
}

struct Share {
  double of_rate = 0;  // Of the path's bytes a second, what the reader got.
  Duration round_trip{};
};

struct Measured {
  Duration warm_up = seconds(3);
  Duration duration = seconds(10);
  std::uint64_t seed = 1;
};

// share_of lets one stream run for a while, and measures what comes next.
Share share_of(const Quality& quality, const Measured& measured) {
  Pair pair(client_config(), server_config(), quality, measured.seed);
  pair.connect();
  const auto streams = pair.open_both();
  BodyWriter writer(pair.client, streams.first, 1 << 30, 1);
  BodyReader reader(pair.server, streams.second, 1);
  const auto step = [&] {
    writer.push();
    reader.pull();
    return false;
  };
  (void)pair.network.run(measured.warm_up, step);
  const std::uint64_t before = reader.read();
  (void)pair.network.run(measured.duration, step);
  CHECK(reader.wrong() == 0);
  const double path = kRate * std::chrono::duration<double>(measured.duration).count();
  return {.of_rate = static_cast<double>(reader.read() - before) / path,
          .round_trip = pair.client->statistics(pair.key)->rtt_smoothed};
}

// On a path of Ethernet's size TCP with BBR gets 0.90 of the rate (lossy_path.sh, see
// tests/bench/README.md), CUBIC a thirtieth. Three quarters of that are 0.675. What a stream gets
// depends on which packets are lost: 24 seeds got 0.65 to 0.92 in ten seconds, 0.77 on average, and
// never less than 0.73 in forty. Larger packets are fewer in a round, where chance alone exceeds
// BBR's LossThresh more often: with 8952 bytes it was 0.60 to 0.87 in forty seconds of 30 seeds.
TEST_CASE("one packet lost of a hundred leaves a stream three quarters of what TCP with BBR gets",
          "[bound]") {
  constexpr double kOfTcp = 0.90;
  Quality quality = path_of(10, 625'000);
  quality.datagram_size_max = 1472;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    CAPTURE(seed);
    CHECK(share_of(quality, {.duration = seconds(40), .seed = seed}).of_rate > 0.75 * kOfTcp);
  }
}

TEST_CASE("a stream takes most of a path, and fills no queue", "[bound]") {
  for (const std::size_t queue_size : {64'000U, 625'000U, 5'000'000U}) {
    CAPTURE(queue_size);
    const Share share = share_of(path_of(0, queue_size), {});
    CHECK(share.of_rate > 0.78);
    CHECK(share.round_trip < milliseconds(60));
  }
}

// --- A path that shrinks, and nobody says so (RFC 8899 section 4.3).

TEST_CASE("a path that begins to swallow large packets costs a flow a second, in either direction",
          "[rfc8899][bound]") {
  for (const bool is_upward : {true, false}) {
    CAPTURE(is_upward);
    Pair pair(client_config(), server_config(), path_of(0, 625'000));
    pair.connect();
    const auto streams = pair.open_both();
    BodyWriter writer(is_upward ? pair.client : pair.server,
                      is_upward ? streams.first : streams.second, 1 << 30, 1);
    BodyReader reader(is_upward ? pair.server : pair.client,
                      is_upward ? streams.second : streams.first, 1);
    const auto step = [&] {
      writer.push();
      reader.pull();
      return false;
    };
    (void)pair.network.run(seconds(3), step);
    REQUIRE(pair.client->statistics(pair.key)->datagram_payload_size > 1400);
    pair.network.quality(pair.client, kServerAddress).datagram_size_max = 1300;
    pair.network.quality(pair.server, kClientAddress).datagram_size_max = 1300;
    (void)pair.network.run(milliseconds(200), step);  // What was on its way arrives.
    const std::uint64_t before = reader.read();
    const auto changed = pair.network.now();
    REQUIRE(pair.network.run(seconds(5), [&] {
      (void)step();
      return reader.read() > before + 100'000;
    }));
    CHECK(pair.network.now() - changed < seconds(1));
    // It is tried again whether the path has grown, and costs little if it has not.
    const std::uint64_t early = reader.read();
    (void)pair.network.run(seconds(30), step);
    CHECK(reader.read() - early > std::uint64_t{30} * kRate / 2);
    pair.network.quality(pair.client, kServerAddress).datagram_size_max = 65'535;
    pair.network.quality(pair.server, kClientAddress).datagram_size_max = 65'535;
    (void)pair.network.run(seconds(60), step);
    CHECK(pair.client->statistics(pair.key)->datagram_payload_size > 1400);
    CHECK(reader.wrong() == 0);
  }
}

}  // namespace
}  // namespace zt::quic::test
