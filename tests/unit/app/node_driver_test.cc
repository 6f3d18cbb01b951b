// SPDX-License-Identifier: Apache-2.0
#include "app/node_driver.h"

#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <vector>

namespace zt::app {
namespace {

// FakeNode sends what it is told to, and keeps who sent to it.
struct FakeNode {
  using Effect = int;

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& /*now*/) {
    heard.push_back(datagrams.remote);
  }
  void handle_timeout(const Now& /*now*/) {}
  bool leave(const Now& /*now*/) { return !std::exchange(has_left, true); }
  std::optional<Effect> poll_effect(const Now& /*now*/) { return std::nullopt; }
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> /*buffer*/, const Now&) {
    if (targets.empty()) return std::nullopt;
    const quic::Transmit transmit{.remote = targets.front(),
                                  .size = 100,
                                  .segment_size = 100,
                                  .ecn = 0,
                                  .rtt_minimum = rtt_minimum};
    targets.pop_front();
    return transmit;
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const { return std::nullopt; }

  std::deque<SocketAddress> targets;
  std::vector<SocketAddress> heard;
  Duration rtt_minimum = Duration::max();
  bool has_left = false;
};

struct World {
  World()
      : driver(loop, node, [](int&, const Now&) {}, {}),
        port(io::UdpPort::bind(
            loop, buffers, {.ip = IpAddress::v6({}), .port = 0}, {},
            {.on_datagrams = [](const io::Datagrams&) {}, .on_writable = {}, .on_error = {}})) {
    if (port) driver.use_port(**port);
  }

  io::Loop loop;
  io::UdpBuffers buffers;
  FakeNode node;
  NodeDriver<FakeNode> driver;
  std::expected<std::unique_ptr<io::UdpPort>, io::SocketError> port;
};

io::Datagrams from(const SocketAddress& remote, BytesView bytes) {
  return {.remote = remote, .bytes = bytes, .segment_size = bytes.size(), .ecn = 0};
}

TEST_CASE("nothing that comes by UDP is from a TCP link, whatever it says", "[threat]") {
  World world;
  const Bytes bytes(10);
  const SocketAddress link = node::link_address(1);
  const SocketAddress other{IpAddress::v4({198, 18, 0, 1}), 443};
  world.driver.on_datagrams(from(link, bytes));
  world.driver.on_datagrams(from({*IpAddress::parse("100::ffff"), 443}, bytes));
  CHECK(world.node.heard.empty());
  world.driver.on_datagrams(from(other, bytes));
  world.driver.on_link_datagrams(from(link, bytes));
  CHECK(world.node.heard == std::vector{other, link});
}

TEST_CASE("what is for a TCP link never leaves by UDP", "[threat]") {
  World world;
  if (!world.port) SKIP("this machine has no IPv6");
  world.node.targets = {node::link_address(1), node::link_address(2)};
  world.driver.settle();
  (void)world.loop.try_turn();
  CHECK(world.node.targets.empty());
  world.node.targets = {node::link_address(3)};
  world.driver.leave();
  CHECK(world.node.targets.empty());
  CHECK((*world.port)->statistics().bytes_sent == 0);
  CHECK((*world.port)->statistics().datagrams_dropped_error == 0);
}

TEST_CASE("the loop may poll while the peer that was sent to is near, if that is wanted") {
  using Driver = NodeDriver<FakeNode>;
  struct Row {
    Duration rtt_minimum;
    Duration busy_poll_max;
  };
  for (const bool is_wanted : {false, true}) {
    CAPTURE(is_wanted);
    World world;
    if (!world.port) SKIP("this machine has no IPv6");
    if (is_wanted) world.driver.use_busy_polling();
    for (const Row& row :
         {Row{Duration::max(), Duration::zero()}, Row{Driver::kNearRttMax, Driver::kBusyPollMax},
          Row{Duration::max(), Driver::kBusyPollMax},  // Says nothing.
          Row{Driver::kNearRttMax + Duration(1), Duration::zero()}}) {
      CAPTURE(row.rtt_minimum);
      world.node.rtt_minimum = row.rtt_minimum;
      world.node.targets = {node::link_address(1)};
      world.driver.settle();
      (void)world.loop.try_turn();
      CHECK(world.loop.busy_poll_max() == (is_wanted ? row.busy_poll_max : Duration::zero()));
    }
  }
}

}  // namespace
}  // namespace zt::app
