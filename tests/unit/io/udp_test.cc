// SPDX-License-Identifier: Apache-2.0
#include "io/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "run_until.h"
#include "zt/base/bytes.h"

namespace zt::io {
namespace {

const IpAddress kLoopbackV4 = IpAddress::v4({127, 0, 0, 1});
const IpAddress kLoopbackV6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

// A pattern in which every byte of every datagram tells its place.
Bytes pattern(std::size_t size, unsigned salt) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + (i >> 8) * 13 + salt) & 0xff);
  }
  return bytes;
}

// Sink keeps what a socket receives, cut into datagrams.
struct Sink {
  std::vector<Bytes> datagrams;
  std::vector<std::uint8_t> marks;
  std::vector<SocketAddress> remotes;
  std::size_t train_count = 0;

  UdpSocket::Handlers handlers() {
    UdpSocket::Handlers result;
    result.on_datagrams = [this](const Datagrams& train) {
      ++train_count;
      remotes.push_back(train.remote);
      marks.push_back(train.ecn);
      for_each_datagram(train, [this](std::span<const std::byte> bytes) {
        datagrams.emplace_back(bytes.begin(), bytes.end());
      });
    };
    return result;
  }
};

std::unique_ptr<UdpSocket> bind(Loop& loop, UdpBuffers& buffers, const IpAddress& ip, Sink& sink) {
  auto socket = UdpSocket::bind(loop, buffers, {ip, 0}, {}, sink.handlers());
  REQUIRE(socket.has_value());
  return std::move(*socket);
}

}  // namespace

TEST_CASE("a train arrives whole, with every segment boundary kept") {
  Loop loop;
  UdpBuffers buffers;
  const IpAddress ip = GENERATE(kLoopbackV4, kLoopbackV6);
  struct Case {
    std::size_t size;
    std::size_t segment_size;
  };
  const auto [size, segment_size] =
      GENERATE(Case{1, 1}, Case{1200, 1200}, Case{1201, 1200}, Case{44 * 1452, 1452},
               Case{64 * 1000, 1000}, Case{65 * 100, 100}, Case{65000, 1350}, Case{65488, 65488},
               Case{3 * 60000 + 5, 60000}, Case{300 * 200 + 1, 200});
  CAPTURE(ip.is_v4(), size, segment_size);
  Sink sink;
  Sink none;
  const auto receiver = bind(loop, buffers, ip, sink);
  const auto sender = bind(loop, buffers, ip, none);
  const Bytes bytes = pattern(size, 1);
  const auto result =
      sender->send({.remote = receiver->local(), .bytes = bytes, .segment_size = segment_size});
  CHECK(result.size == size);
  CHECK_FALSE(result.is_blocked);
  const std::size_t count = (size + segment_size - 1) / segment_size;
  REQUIRE(run_until(loop, [&] { return sink.datagrams.size() >= count; }));
  REQUIRE(sink.datagrams.size() == count);
  Bytes joined;
  for (std::size_t i = 0; i < count; ++i) {
    CHECK(sink.datagrams[i].size() == std::min(segment_size, size - i * segment_size));
    joined.insert(joined.end(), sink.datagrams[i].begin(), sink.datagrams[i].end());
  }
  CHECK(joined == bytes);
  CHECK(sink.remotes.front() == sender->local());
}

TEST_CASE("a 64 KiB train travels as one, not as datagrams") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  Sink none;
  const auto receiver = bind(loop, buffers, kLoopbackV4, sink);
  const auto sender = bind(loop, buffers, kLoopbackV4, none);
  const Bytes bytes = pattern(44 * 1452, 2);
  (void)sender->send({.remote = receiver->local(), .bytes = bytes, .segment_size = 1452});
  REQUIRE(run_until(loop, [&] { return sink.datagrams.size() == 44; }));
  CHECK(sink.train_count == 1);
  CHECK(sender->statistics().is_segmenting);
  CHECK(sender->statistics().trains_sent == 1);
}

TEST_CASE("the ECN mark of a train arrives with it") {
  Loop loop;
  UdpBuffers buffers;
  const IpAddress ip = GENERATE(kLoopbackV4, kLoopbackV6);
  Sink sink;
  Sink none;
  const auto receiver = bind(loop, buffers, ip, sink);
  const auto sender = bind(loop, buffers, ip, none);
  const Bytes bytes = pattern(3000, 3);
  for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
    (void)sender->send(
        {.remote = receiver->local(), .bytes = bytes, .segment_size = 1000, .ecn = ecn});
  }
  REQUIRE(run_until(loop, [&] { return sink.datagrams.size() == 12; }));
  CHECK(sink.marks == std::vector<std::uint8_t>{0, 1, 2, 3});
}

TEST_CASE("an empty datagram is a datagram") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  Sink none;
  const auto receiver = bind(loop, buffers, kLoopbackV4, sink);
  const auto sender = bind(loop, buffers, kLoopbackV4, none);
  (void)sender->send({.remote = receiver->local()});
  REQUIRE(run_until(loop, [&] { return sink.datagrams.size() == 1; }));
  CHECK(sink.datagrams.front().empty());
}

TEST_CASE("a datagram that no route takes is dropped and counted; the next one passes") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  Sink none;
  const auto receiver = bind(loop, buffers, kLoopbackV4, sink);
  const auto sender = bind(loop, buffers, kLoopbackV4, none);
  const Bytes too_large = pattern(65508, 4);
  auto result = sender->send(
      {.remote = receiver->local(), .bytes = too_large, .segment_size = too_large.size()});
  CHECK(result.size == too_large.size());
  CHECK(sender->statistics().datagrams_dropped_size == 1);
  const Bytes fits = pattern(65507, 4);
  (void)sender->send({.remote = receiver->local(), .bytes = fits, .segment_size = fits.size()});
  REQUIRE(run_until(loop, [&] { return sink.datagrams.size() == 1; }));
  CHECK(sink.datagrams.front() == fits);
}

TEST_CASE("a socket may be destroyed by its own handler in the middle of a batch") {
  Loop loop;
  UdpBuffers buffers;
  Sink none;
  std::unique_ptr<UdpSocket> receiver;
  int trains = 0;
  UdpSocket::Handlers handlers;
  handlers.on_datagrams = [&](const Datagrams&) {
    ++trains;
    receiver.reset();
  };
  auto opened = UdpSocket::bind(loop, buffers, {kLoopbackV4, 0}, {}, std::move(handlers));
  REQUIRE(opened.has_value());
  receiver = std::move(*opened);
  const auto sender = bind(loop, buffers, kLoopbackV4, none);
  const Bytes bytes = pattern(100, 5);
  const SocketAddress remote = receiver->local();
  for (int i = 0; i < 5; ++i) {
    (void)sender->send({.remote = remote, .bytes = bytes, .segment_size = 100});
  }
  REQUIRE(run_until(loop, [&] { return trains > 0; }));
  (void)loop.try_turn();
  CHECK(trains == 1);
}

TEST_CASE("a connected socket hears its remote only, and learns that nobody listens") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  Sink none;
  auto server = bind(loop, buffers, kLoopbackV4, none);
  const auto stranger = bind(loop, buffers, kLoopbackV4, none);
  std::vector<SocketError> errors;
  UdpSocket::Handlers handlers = sink.handlers();
  handlers.on_error = [&](SocketError error) { errors.push_back(error); };
  const auto opened = UdpSocket::connect(loop, buffers, server->local(), {.is_fragmented = true},
                                         std::move(handlers));
  REQUIRE(opened.has_value());
  UdpSocket& client = **opened;
  const Bytes bytes = pattern(10, 6);
  const Datagrams train{.remote = client.local(), .bytes = bytes, .segment_size = 10};
  (void)stranger->send(train);
  (void)server->send(train);
  REQUIRE(run_until(loop, [&] { return !sink.datagrams.empty(); }));
  (void)loop.try_turn();
  CHECK(sink.datagrams.size() == 1);
  server.reset();
  (void)client.send({.bytes = bytes, .segment_size = 10});
  REQUIRE(run_until(loop, [&] { return !errors.empty(); }));
  CHECK(errors.front() == SocketError::refused);
}

TEST_CASE("a port is the same number in both families, and answers in the family of the asker") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  Sink answers;
  const auto port = UdpPort::bind(loop, buffers, {}, {}, sink.handlers());
  REQUIRE(port.has_value());
  REQUIRE((*port)->has_v4());
  REQUIRE((*port)->has_v6());
  const Bytes bytes = pattern(10, 8);
  for (const IpAddress& ip : {kLoopbackV4, kLoopbackV6}) {
    const auto asker = bind(loop, buffers, ip, answers);
    const std::size_t seen = sink.datagrams.size();
    const std::size_t answered = answers.datagrams.size();
    (void)asker->send({.remote = {ip, (*port)->port()}, .bytes = bytes, .segment_size = 10});
    REQUIRE(run_until(loop, [&] { return sink.datagrams.size() > seen; }));
    CHECK(sink.remotes.back() == asker->local());
    (void)(*port)->send({.remote = sink.remotes.back(), .bytes = bytes, .segment_size = 10});
    REQUIRE(run_until(loop, [&] { return answers.datagrams.size() > answered; }));
    CHECK(answers.remotes.back() == SocketAddress{ip, (*port)->port()});
  }
}

TEST_CASE("a port that is taken is `in_use`, in either family alone too") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  const auto taken = bind(loop, buffers, kLoopbackV4, sink);
  const auto again = UdpSocket::bind(loop, buffers, taken->local(), {}, sink.handlers());
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error() == SocketError::in_use);
  const auto both =
      UdpPort::bind(loop, buffers, {.port = taken->local().port}, {}, sink.handlers());
  REQUIRE_FALSE(both.has_value());
  CHECK(both.error() == SocketError::in_use);
}

TEST_CASE("an address of another machine cannot be bound") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  const auto socket =
      UdpSocket::bind(loop, buffers, {IpAddress::v4({192, 0, 2, 1}), 0}, {}, sink.handlers());
  REQUIRE_FALSE(socket.has_value());
  CHECK(socket.error() == SocketError::invalid);
}

TEST_CASE("without the family of its remote a train is lost and counted") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  const auto port = UdpPort::bind(loop, buffers, {.ip = kLoopbackV4}, {}, sink.handlers());
  REQUIRE(port.has_value());
  const Bytes bytes = pattern(25, 9);
  const auto result =
      (*port)->send({.remote = {kLoopbackV6, 9}, .bytes = bytes, .segment_size = 10});
  CHECK(result.size == 25);
  CHECK((*port)->statistics().datagrams_dropped_error == 3);
}

TEST_CASE("the granted buffers are reported in the unit in which they were asked for") {
  Loop loop;
  UdpBuffers buffers;
  Sink sink;
  const auto socket = UdpSocket::bind(loop, buffers, {kLoopbackV4, 0},
                                      {.receive_buffer_size = 100'000, .send_buffer_size = 90'000},
                                      sink.handlers());
  REQUIRE(socket.has_value());
  CHECK((*socket)->buffer_sizes().receive == 100'000);
  CHECK((*socket)->buffer_sizes().send == 90'000);
}

}  // namespace zt::io
