// SPDX-License-Identifier: Apache-2.0
// What an endpoint allocates while it carries bulk: nothing, once its buffers have grown. The C
// libraries below take their memory from malloc and are not counted.
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>

#include "allocations.h"
#include "link.h"
#include "quic/endpoint.h"

namespace zt::quic::test {
namespace {

// Wire carries what the endpoints of a pair say, at once and without memory of its own: what is
// allocated meanwhile is the endpoints'.
class Wire {
 public:
  struct Options {
    unsigned loss_every = 0;  // Of so many batches upward one is lost; 0: none.
  };

  Wire(Pair& pair, const Options& options)
      : pair_(pair), options_(options), now_(pair.network.now()) {}

  // turn is a tenth of a millisecond. What arrives is consumed and counted.
  void turn() {
    now_ += std::chrono::microseconds(100);
    carry(*pair_.client, *pair_.server, kClientAddress, options_.loss_every);
    carry(*pair_.server, *pair_.client, kServerAddress, 0);
    for (Endpoint* endpoint : {&*pair_.client, &*pair_.server}) {
      const auto deadline = endpoint->next_deadline();
      if (deadline && *deadline <= now_) endpoint->handle_timeout(now_);
      take(*endpoint);
    }
  }

  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t packets() const { return packets_; }
  [[nodiscard]] Instant now() const { return now_; }

 private:
  void carry(Endpoint& from, Endpoint& to, const SocketAddress& source, unsigned loss_every) {
    while (const auto transmit = from.poll_transmit(buffer_, now_)) {
      packets_ += (transmit->size + transmit->segment_size - 1) / transmit->segment_size;
      if (transmit->segment_size > kPathSize) continue;  // A probe, lost.
      if (loss_every != 0 && ++batches_ % loss_every == 0) continue;
      to.handle(
          {source, BytesView(buffer_).first(transmit->size), transmit->segment_size, transmit->ecn},
          now_);
      take(to);
    }
  }

  void take(Endpoint& endpoint) {
    while (const auto datagram = endpoint.poll_datagram()) received_ += datagram->payload.size();
    while (const auto event = endpoint.poll_event()) {
      if (std::holds_alternative<ConnectionClosed>(*event)) FAIL("the connection is closed");
      const auto* readable = std::get_if<StreamReadable>(&*event);
      if (readable == nullptr) continue;
      for (;;) {
        const Readable body = endpoint.readable(readable->stream);
        if (body.bytes.empty()) break;
        received_ += body.bytes.size();
        endpoint.consume(readable->stream, body.bytes.size());
      }
    }
  }

  static constexpr std::size_t kPathSize = 1472;

  Pair& pair_;
  Options options_;
  Instant now_;
  std::array<std::byte, (64 << 10)> buffer_{};
  std::uint64_t batches_ = 0;
  std::uint64_t packets_ = 0;
  std::uint64_t received_ = 0;
};

constexpr std::uint64_t kWarmUp = 64 << 20;
constexpr std::uint64_t kMeasured = 256 << 20;
constexpr std::uint64_t kPacketsMin = 180'000;
// Queues that see more than ever before may grow. One allocation for each batch of 64 packets, or
// for each MiB, would be far above this.
constexpr std::size_t kAllocationsMax = 32;

struct Cost {
  std::size_t allocations = 0;
  std::uint64_t packets = 0;
};

// cost_of has `feed` give the endpoints work until enough has arrived.
template <typename Feed>
Cost cost_of(Wire& wire, Feed feed) {
  const auto run_until = [&](std::uint64_t received) {
    const Instant end = wire.now() + seconds(600);
    while (wire.received() < received && wire.now() < end) {
      feed();
      wire.turn();
    }
    REQUIRE(wire.received() >= received);
  };
  run_until(kWarmUp);
  const std::size_t allocations = zt::test::allocation_count();
  const std::uint64_t packets = wire.packets();
  run_until(wire.received() + kMeasured);
  return {.allocations = zt::test::allocation_count() - allocations,
          .packets = wire.packets() - packets};
}

void fill(Endpoint& endpoint, const StreamKey& stream) {
  for (;;) {
    const auto space = endpoint.writable(stream);
    if (space.empty()) return;
    endpoint.commit(stream, space.size());
  }
}

TEST_CASE("a bulk stream allocates nothing for a packet") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  Wire wire(pair, {});
  const Cost cost = cost_of(wire, [&] { fill(*pair.client, streams.first); });
  CHECK(cost.packets > kPacketsMin);
  CHECK(cost.allocations <= kAllocationsMax);
}

TEST_CASE("eight bulk streams in both directions allocate nothing for a packet") {
  Pair pair;
  pair.connect();
  std::array<std::pair<StreamKey, StreamKey>, 8> streams;
  for (auto& stream : streams) stream = pair.open_both();
  Wire wire(pair, {});
  const Cost cost = cost_of(wire, [&] {
    for (const auto& [up, down] : streams) {
      fill(*pair.client, up);
      fill(*pair.server, down);
    }
  });
  CHECK(cost.packets > kPacketsMin);
  CHECK(cost.allocations <= kAllocationsMax);
}

TEST_CASE("what is lost and sent again allocates nothing for a packet") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  Wire wire(pair, {.loss_every = 50});
  const Cost cost = cost_of(wire, [&] { fill(*pair.client, streams.first); });
  CHECK(pair.client->statistics(pair.key)->packets_lost > 1000);
  CHECK(cost.packets > kPacketsMin);
  CHECK(cost.allocations <= kAllocationsMax);
}

TEST_CASE("datagrams allocate nothing for a packet") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  Wire wire(pair, {});
  const std::array<std::byte, 1200> payload{};
  const Cost cost = cost_of(wire, [&] {
    for (int i = 0; i < 16; ++i) {
      (void)pair.client->send_datagram(streams.first, payload);
      (void)pair.server->send_datagram(streams.second, payload);
    }
  });
  CHECK(cost.packets > kPacketsMin);
  CHECK(cost.allocations <= kAllocationsMax);
}

}  // namespace
}  // namespace zt::quic::test
