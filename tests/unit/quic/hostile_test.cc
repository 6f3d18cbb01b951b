// SPDX-License-Identifier: Apache-2.0
// What strangers and hostile peers may send: garbage, other versions, floods.

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "link.h"
#include "quic/endpoint.h"

namespace zt::quic::test {
namespace {

Bytes random_bytes(Random& random, std::size_t size) {
  Bytes bytes(size);
  random.fill(bytes);
  return bytes;
}

// first_initial returns the first datagram of a handshake.
Bytes first_initial(Endpoint::Config config = client_config()) {
  Pair pair(config);
  Bytes first;
  pair.network.on_send = [&](Peer&, const SocketAddress&, Bytes& bytes) {
    if (first.empty()) first = bytes;
    return false;
  };
  REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.drain();
  REQUIRE(first.size() >= 1200);
  return first;
}

TEST_CASE("random bytes never make a connection, an event or more than they cost") {
  Pair pair;
  SeededRandom random(99);
  std::size_t received = 0;
  std::size_t answered = 0;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "server") answered += bytes.size();
    return false;
  };
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes = random_bytes(random, 1 + random.below(i % 10 == 0 ? 1500 : 64));
    // Now and then a plausible header.
    if (i % 3 == 0 && bytes.size() > 6) {
      bytes[0] = std::byte{0xc0};
      bytes[1] = bytes[2] = bytes[3] = std::byte{0};
      bytes[4] = std::byte{1};
      bytes[5] = static_cast<std::byte>(random.below(24));
    }
    received += bytes.size();
    pair.network.inject(pair.server, kClientAddress, bytes);
  }
  CHECK(pair.server.events.empty());
  CHECK(answered < 3 * received);
  CHECK(pair.server->connection_count() <= Endpoint::Limits{}.handshakes_max);
  pair.network.on_send = nullptr;
  pair.connect();  // It still works.
}

TEST_CASE("a damaged handshake harms nobody else") {
  const Bytes initial = first_initial();
  SeededRandom random(5);
  Pair pair;
  for (int i = 0; i < 3000; ++i) {
    Bytes bytes = initial;
    const std::size_t changes = 1 + random.below(3);
    for (std::size_t change = 0; change < changes; ++change) {
      bytes[random.below(random.below(2) == 0 ? 60 : bytes.size())] ^=
          static_cast<std::byte>(1 + random.below(255));
    }
    if (i % 5 == 0) bytes.resize(1 + random.below(bytes.size()));
    pair.network.inject(pair.server, {kClientAddress.ip, std::uint16_t(1 + i)}, bytes);
  }
  CHECK(pair.server.events.empty());
  CHECK(pair.server->connection_count() <= Endpoint::Limits{}.handshakes_max);
  pair.network.run(seconds(11));
  CHECK(pair.server->connection_count() == 0);
  pair.connect();
}

TEST_CASE("damaged packets of a live connection change nothing") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Pair pair;
    SeededRandom random(seed);
    pair.connect();
    pair.network.on_send = [&](Peer&, const SocketAddress&, Bytes& bytes) {
      switch (random.below(20)) {
        case 0:
          bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1 + random.below(255));
          break;
        case 1:
          bytes.resize(1 + random.below(bytes.size()));
          break;
        default:
          break;
      }
      return true;
    };
    const auto streams = pair.open_both();
    BodyWriter writer(pair.client, streams.first, 2 << 20, 1);
    BodyReader reader(pair.server, streams.second, 1);
    REQUIRE(pair.network.run(seconds(60), [&] {
      writer.push();
      reader.pull();
      return reader.is_end();
    }));
    CHECK(reader.read() == 2 << 20);
    CHECK(reader.wrong() == 0);
  }
}

TEST_CASE("another version is answered with ours, in less than it sent") {
  Bytes initial = first_initial();
  initial[1] = std::byte{0x1a};
  initial[2] = std::byte{0x2a};
  initial[3] = std::byte{0x3a};
  initial[4] = std::byte{0x4a};
  Pair pair;
  std::vector<Bytes> answers;
  pair.network.on_send = [&](Peer&, const SocketAddress&, Bytes& bytes) {
    answers.push_back(bytes);
    return false;
  };
  pair.network.inject(pair.server, kClientAddress, initial);
  REQUIRE(answers.size() == 1);
  // RFC 8999 section 6: version 0, then the IDs exchanged, then our versions.
  const Bytes& answer = answers[0];
  CHECK(answer.size() < 100);
  CHECK(Bytes(answer.begin() + 1, answer.begin() + 5) == Bytes(4));
  CHECK(Bytes(answer.end() - 4, answer.end()) ==
        Bytes{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}});
  CHECK(pair.server->connection_count() == 0);
  // QUIC v2 is another version too, though ngtcp2 knows it.
  const std::array<std::uint8_t, 4> v2 = {0x6b, 0x33, 0x43, 0xcf};
  for (std::size_t i = 0; i < 4; ++i) initial[1 + i] = std::byte{v2[i]};
  pair.network.inject(pair.server, kClientAddress, initial);
  CHECK(answers.size() == 2);
  // A short one gets nothing: it could be a spoofed address that is to be flooded.
  initial.resize(1199);
  pair.network.inject(pair.server, kClientAddress, initial);
  CHECK(answers.size() == 2);
  CHECK(pair.server->counters().versions_negotiated == 2);
}

TEST_CASE("a client that is offered no common version gives up") {
  Pair pair;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() != "client") return true;
    Bytes answer{std::byte{0x80}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}};
    const std::size_t dcid_size = std::to_integer<std::size_t>(bytes[5]);
    const std::size_t scid_size = std::to_integer<std::size_t>(bytes[6 + dcid_size]);
    answer.push_back(static_cast<std::byte>(scid_size));
    answer.insert(answer.end(), bytes.begin() + std::ptrdiff_t(7 + dcid_size),
                  bytes.begin() + std::ptrdiff_t(7 + dcid_size + scid_size));
    answer.push_back(static_cast<std::byte>(dcid_size));
    answer.insert(answer.end(), bytes.begin() + 6, bytes.begin() + std::ptrdiff_t(6 + dcid_size));
    for (const int octet : {0x1a, 0x2a, 0x3a, 0x4a}) answer.push_back(std::byte(octet));
    pair.client->handle({kServerAddress, answer, answer.size(), 0}, pair.network.now());
    return false;
  };
  REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.run(milliseconds(100));
  REQUIRE(pair.client.has<ConnectionClosed>());
  CHECK(pair.client.last<ConnectionClosed>()->reason == CloseReason::handshake_failed);
}

TEST_CASE("a token of ours from another address, or too late, is refused") {
  auto server = server_config();
  server.limits.handshakes_before_retry = 0;
  Pair pair(client_config(), server);
  Bytes with_token;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "client" && pair.server->counters().retries_sent == 1) {
      with_token = bytes;
      return false;
    }
    return true;
  };
  REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.run(milliseconds(30));
  REQUIRE_FALSE(with_token.empty());
  pair.network.inject(pair.server, {kClientAddress.ip, 1}, with_token);
  CHECK(pair.server->connection_count() == 0);
  CHECK(pair.server->counters().handshakes_dropped == 1);
  pair.network.inject(pair.server, kClientAddress, with_token);
  CHECK(pair.server->connection_count() == 1);

  Pair late(client_config(), server);
  late.network.run(seconds(11));
  late.network.inject(late.server, kClientAddress, with_token);
  CHECK(late.server->connection_count() == 0);
}

TEST_CASE("stateless replies are limited in number and smaller than what they answer") {
  auto server = server_config();
  server.limits.stateless_replies_max = 50;
  Pair pair(client_config(), server);
  SeededRandom random(3);
  std::size_t answers = 0;
  bool is_smaller = true;
  std::size_t size = 0;
  pair.network.on_send = [&](Peer&, const SocketAddress&, Bytes& bytes) {
    ++answers;
    is_smaller = is_smaller && bytes.size() < size;
    return false;
  };
  for (int i = 0; i < 1000; ++i) {
    size = 1 + random.below(100);
    Bytes bytes = random_bytes(random, size);
    bytes[0] = std::byte{0x40};
    pair.network.inject(pair.server, kClientAddress, bytes);
  }
  CHECK(answers == 50);
  CHECK(is_smaller);
  pair.network.run(seconds(1));
  Bytes bytes = random_bytes(random, 100);
  bytes[0] = std::byte{0x40};
  size = bytes.size();
  pair.network.inject(pair.server, kClientAddress, bytes);
  CHECK(answers == 51);
}

TEST_CASE("two endpoints do not answer each other's resets for ever") {
  Pair pair;
  Bytes bytes(1200, std::byte{0x41});
  pair.network.inject(pair.server, kClientAddress, bytes);
  const std::uint64_t before = pair.network.sent_count;
  pair.network.run(seconds(60));
  CHECK(pair.network.sent_count - before <= 30);
}

TEST_CASE("streams that are opened and reset quickly make no memory") {
  auto server = server_config();
  server.limits.streams_per_connection_max = 64;
  Pair pair(client_config(), server);
  pair.connect();
  std::size_t opened = 0;
  for (int round = 0; round < 500; ++round) {
    while (const auto stream =
               pair.client->open_request(pair.key, Pair::connect_request(), false)) {
      ++opened;
      pair.client->reset(*stream, 0x10c);
      pair.client->stop(*stream, 0x10c);
    }
    pair.network.run(milliseconds(20));
    // An application answers a reset stream by ending its own side.
    for (const auto& event : pair.server.all<RequestReceived>()) {
      pair.server->reset(event.stream, 0x10c);
    }
    CHECK(pair.server.event_backlog_max <= 64 * 4);
    for (const auto& closed : pair.client.all<ConnectionClosed>()) {
      FAIL("closed in round " << round << ": " << to_text(closed.reason) << " " << closed.code
                              << " " << closed.text);
    }
    pair.server.events.clear();
    pair.client.events.clear();
  }
  CHECK(opened > 1000);
  CHECK(pair.client->connection_count() == 1);
}

TEST_CASE("an application that does not end reset streams keeps the peer from opening more") {
  auto server = server_config();
  server.limits.streams_per_connection_max = 16;
  Pair pair(client_config(), server);
  pair.connect();
  for (int round = 0; round < 50; ++round) {
    while (const auto stream =
               pair.client->open_request(pair.key, Pair::connect_request(), false)) {
      CHECK(pair.client->write(*stream, as_bytes("x")) == 1);
    }
    pair.network.run(milliseconds(20));
  }
  CHECK(pair.server.all<RequestReceived>().size() == 16);
}

TEST_CASE("datagrams of unknown streams are dropped and counted") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  const auto closing = pair.open_both();
  pair.server->stop(closing.second, 1);
  CHECK(pair.client->send_datagram(closing.first, as_bytes("late")) == DatagramResult::queued);
  pair.network.run(milliseconds(100));
  CHECK(pair.server.datagrams.empty());
  CHECK(pair.server->counters().datagrams_dropped == 1);
  CHECK(pair.client->connection_count() == 1);
  CHECK(pair.client->send_datagram(streams.first, as_bytes("")) == DatagramResult::queued);
  pair.network.run(milliseconds(100));
  REQUIRE(pair.server.datagrams.size() == 1);
  CHECK(pair.server.datagrams[0].second.empty());
}

TEST_CASE("packets from a hundred addresses to a known connection ID leave its path alone") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.run(seconds(1));
  Bytes known;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "client") known = bytes;
    return true;
  };
  CHECK(pair.client->write(streams.first, as_bytes("one")) == 3);
  pair.network.run(milliseconds(100));
  REQUIRE_FALSE(known.empty());
  Bytes forged = known;
  for (std::size_t i = 17; i < forged.size(); ++i) forged[i] ^= std::byte{0x5a};
  for (std::uint16_t port = 1; port <= 100; ++port) {
    pair.network.inject(pair.server, {IpAddress::v4({7, 7, 7, 7}), port}, forged);
    pair.network.inject(pair.server, {IpAddress::v4({7, 7, 7, 8}), port}, known);  // Replayed.
  }
  CHECK(pair.server->remote_of(pair.server_key) == kClientAddress);
  CHECK(pair.client->write(streams.first, as_bytes("two")) == 3);
  pair.network.run(milliseconds(100));
  CHECK(as_text(pair.server->readable(streams.second).bytes) == "onetwo");
  CHECK_FALSE(pair.server.has<ConnectionMoved>());
}

}  // namespace
}  // namespace zt::quic::test
