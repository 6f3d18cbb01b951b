// SPDX-License-Identifier: Apache-2.0
// Migration: live streams survive every change of path.

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <vector>

#include "link.h"
#include "quic/endpoint.h"

namespace zt::quic::test {
namespace {

const SocketAddress kRelayAtClient{IpAddress::v4({203, 0, 113, 1}), 443};
const SocketAddress kRelayAtServer{IpAddress::v4({203, 0, 113, 1}), 444};

// Paths is a pair with a slow path (a relay) and a fast one (direct): kServerAddress is direct.
struct Paths : Pair {
  explicit Paths(std::uint64_t seed = 1) : Pair(client_config(), server_config(), direct(), seed) {
    network.join(client, kRelayAtClient, server, kRelayAtServer, relayed());
    auto options = connect_options();
    options.remote = kRelayAtClient;
    options.peer_route = route(0xa0);
    connect(options);
    network.run(milliseconds(200));  // HANDSHAKE_DONE and the connection IDs.
  }

  static Quality direct() {
    Quality quality;
    quality.delay = milliseconds(5);
    quality.rate_bytes_per_s = 12'000'000;
    quality.queue_size_max = 300'000;
    return quality;
  }
  static Quality relayed() {
    Quality quality;
    quality.delay = milliseconds(20);
    quality.rate_bytes_per_s = 6'000'000;
    quality.queue_size_max = 300'000;
    return quality;
  }

  void block(const SocketAddress& at_client, const SocketAddress& at_server, bool is_blocked) {
    network.quality(client, at_client).is_blocked = is_blocked;
    network.quality(server, at_server).is_blocked = is_blocked;
  }
};

TEST_CASE("a validating migration moves both sides and tells both") {
  Paths paths;
  CHECK(paths.client->remote_of(paths.key) == kRelayAtClient);
  REQUIRE(paths.client->migrate(paths.key, kServerAddress, false, paths.network.now()));
  // Until the new path has answered, the old one is used.
  CHECK(paths.client->remote_of(paths.key) == kRelayAtClient);
  paths.network.run(milliseconds(100));
  const auto at_client = paths.client.all<ConnectionMoved>();
  const auto at_server = paths.server.all<ConnectionMoved>();
  REQUIRE(at_client.size() == 1);
  CHECK(at_client[0].remote == kServerAddress);
  REQUIRE(at_server.size() == 1);
  CHECK(at_server[0].remote == kClientAddress);
  CHECK(paths.client->remote_of(paths.key) == kServerAddress);
  CHECK(paths.server->remote_of(paths.server_key) == kClientAddress);
}

TEST_CASE("migrate answers what it cannot do") {
  Paths paths;
  const Instant now = paths.network.now();
  CHECK(paths.client->migrate(ConnectionKey{99}, kServerAddress, false, now).error() ==
        MigrateError::gone);
  CHECK(paths.client->migrate(paths.key, kRelayAtClient, false, now).error() ==
        MigrateError::same_path);
  CHECK(paths.server->migrate(paths.server_key, kClientAddress, false, now).error() ==
        MigrateError::not_ready);
  const auto fresh = paths.client->connect(connect_options(), now);
  REQUIRE(fresh);
  CHECK(paths.client->migrate(*fresh, kRelayAtClient, true, now).error() ==
        MigrateError::not_ready);
  // Each call takes a connection ID of the peer's; without its answers they run out.
  paths.block(kRelayAtClient, kRelayAtServer, true);
  paths.block(kServerAddress, kClientAddress, true);
  std::expected<void, MigrateError> result;
  int calls = 0;
  do {
    const SocketAddress& target =
        paths.client->remote_of(paths.key) == kRelayAtClient ? kServerAddress : kRelayAtClient;
    result = paths.client->migrate(paths.key, target, true, paths.network.now());
    ++calls;
  } while (result && calls < 20);
  REQUIRE_FALSE(result);
  CHECK(result.error() == MigrateError::blocked);
  CHECK(calls == 8);
}

TEST_CASE("a validating migration to a dead path fails and disturbs nothing") {
  Paths paths;
  paths.block(kServerAddress, kClientAddress, true);
  const auto streams = paths.open_both();
  BodyWriter writer(paths.client, streams.first, 64 << 20, 1);
  BodyReader reader(paths.server, streams.second, 1);
  const auto step = [&] {
    writer.push();
    reader.pull();
    return false;
  };
  paths.network.run(seconds(1), step);
  REQUIRE(paths.client->migrate(paths.key, kServerAddress, false, paths.network.now()));
  const std::uint64_t before = reader.read();
  paths.network.run(seconds(1), step);
  CHECK(reader.read() - before > 4'000'000);
  paths.network.run(seconds(2), step);
  const auto failed = paths.client.all<MigrationFailed>();
  REQUIRE(failed.size() == 1);
  CHECK(failed[0].remote == kServerAddress);
  CHECK(paths.client->remote_of(paths.key) == kRelayAtClient);
  CHECK_FALSE(paths.client.has<ConnectionMoved>());
  CHECK(reader.wrong() == 0);
}

TEST_CASE("an immediate migration leaves a path that died") {
  Paths paths;
  const auto streams = paths.open_both();
  BodyWriter up(paths.client, streams.first, 12 << 20, 1);
  BodyReader up_reader(paths.server, streams.second, 1);
  BodyWriter down(paths.server, streams.second, 12 << 20, 2);
  BodyReader down_reader(paths.client, streams.first, 2);
  const auto step = [&] {
    up.push();
    down.push();
    up_reader.pull();
    down_reader.pull();
    return up_reader.is_end() && down_reader.is_end();
  };
  REQUIRE(paths.client->migrate(paths.key, kServerAddress, false, paths.network.now()));
  paths.network.run(milliseconds(300), step);
  REQUIRE(paths.client->remote_of(paths.key) == kServerAddress);
  paths.block(kServerAddress, kClientAddress, true);
  paths.network.run(milliseconds(60), step);
  REQUIRE(paths.client->migrate(paths.key, kRelayAtClient, true, paths.network.now()));
  const std::uint64_t before = down_reader.read();
  paths.network.run(milliseconds(500), step);
  CHECK(down_reader.read() > before + 500'000);
  REQUIRE(paths.network.run(seconds(30), step));
  CHECK(paths.server->remote_of(paths.server_key) == kRelayAtServer);
  CHECK(up_reader.read() == 12 << 20);
  CHECK(up_reader.wrong() == 0);
  CHECK(down_reader.read() == 12 << 20);
  CHECK(down_reader.wrong() == 0);
}

// ngtcp2 1.24.0 by itself follows eight switches, and none that returns within a second.
TEST_CASE("every one of many switches is followed") {
  for (const bool is_immediate : {false, true}) {
    for (const Duration pause : {Duration(milliseconds(500)), Duration(milliseconds(200))}) {
      CAPTURE(is_immediate, pause.count());
      Paths paths(3);
      const auto streams = paths.open_both();
      BodyWriter up(paths.client, streams.first, 1 << 30, 1);
      BodyReader up_reader(paths.server, streams.second, 1);
      BodyWriter down(paths.server, streams.second, 1 << 30, 2);
      BodyReader down_reader(paths.client, streams.first, 2);
      const auto step = [&] {
        up.push();
        down.push();
        up_reader.pull();
        down_reader.pull();
        return false;
      };
      for (int i = 0; i < 14; ++i) {
        CAPTURE(i);
        paths.network.run(pause, step);
        const bool is_to_direct = i % 2 == 0;
        const std::uint64_t up_before = up_reader.read();
        const std::uint64_t down_before = down_reader.read();
        REQUIRE(paths.client->migrate(paths.key, is_to_direct ? kServerAddress : kRelayAtClient,
                                      is_immediate, paths.network.now()));
        paths.network.run(pause, step);
        CHECK(paths.client->remote_of(paths.key) ==
              (is_to_direct ? kServerAddress : kRelayAtClient));
        CHECK(paths.server->remote_of(paths.server_key) ==
              (is_to_direct ? kClientAddress : kRelayAtServer));
        CHECK(up_reader.read() > up_before);
        CHECK(down_reader.read() > down_before);
      }
      CHECK(paths.client.all<ConnectionMoved>().size() == 14);
      CHECK(paths.server.all<ConnectionMoved>().size() == 14);
      CHECK(up_reader.wrong() == 0);
      CHECK(down_reader.wrong() == 0);
      CHECK(paths.client->connection_count() == 1);
    }
  }
}

TEST_CASE("a new migration ends the one before, and says so") {
  Paths paths;
  const SocketAddress elsewhere{IpAddress::v4({203, 0, 113, 77}), 9};
  REQUIRE(paths.client->migrate(paths.key, elsewhere, false, paths.network.now()));
  REQUIRE(paths.client->migrate(paths.key, kServerAddress, false, paths.network.now()));
  paths.network.run(seconds(2));
  const auto failed = paths.client.all<MigrationFailed>();
  REQUIRE(failed.size() == 1);
  CHECK(failed[0].remote == elsewhere);
  REQUIRE(paths.client.all<ConnectionMoved>().size() == 1);
  CHECK(paths.client->remote_of(paths.key) == kServerAddress);
}

TEST_CASE("a client whose address changes under it is followed") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.run(seconds(1));
  // A NAT gives the client another port: the server sees packets from elsewhere.
  const SocketAddress rebound{kClientAddress.ip, 50'001};
  pair.network.join(pair.client, kServerAddress, pair.server, rebound, {});
  CHECK(pair.client->write(streams.first, as_bytes("hello")) == 5);
  pair.network.run(seconds(2));
  CHECK(as_text(pair.server->readable(streams.second).bytes) == "hello");
  CHECK(pair.server->remote_of(pair.server_key) == rebound);
  REQUIRE(pair.server.all<ConnectionMoved>().size() == 1);
  CHECK(pair.server.last<ConnectionMoved>()->remote == rebound);
}

TEST_CASE("a client that knows that its address has changed is followed without sending data") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.run(seconds(1));
  const SocketAddress moved{kClientAddress.ip, 50'001};
  pair.network.join(pair.client, kServerAddress, pair.server, moved, {});
  REQUIRE(pair.client->rebind(pair.key, pair.network.now()));
  pair.network.run(milliseconds(500));
  CHECK(pair.server->remote_of(pair.server_key) == moved);
  CHECK(pair.client->remote_of(pair.key) == kServerAddress);
  CHECK_FALSE(pair.client.has<MigrationFailed>());
  CHECK(pair.server->write(streams.second, as_bytes("still here")) == 10);
  pair.network.run(seconds(1));
  CHECK(as_text(pair.client->readable(streams.first).bytes) == "still here");
  CHECK(pair.server->rebind(pair.server_key, pair.network.now()).error() ==
        MigrateError::not_ready);
  CHECK(pair.client->rebind(ConnectionKey{99}, pair.network.now()).error() == MigrateError::gone);
}

TEST_CASE("rebinding again and again, as a flapping network makes it, keeps the connection") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.run(seconds(1));
  for (std::uint16_t port = 50'001; port < 50'041; ++port) {
    pair.network.join(pair.client, kServerAddress, pair.server,
                      SocketAddress{kClientAddress.ip, port}, {});
    // Without an answer in between, connection IDs run out, and that is said.
    const auto result = pair.client->rebind(pair.key, pair.network.now());
    CHECK((result || result.error() == MigrateError::blocked));
    pair.network.run(milliseconds(port % 4 == 0 ? 200 : 1));
  }
  CHECK(pair.client->write(streams.first, as_bytes("hello")) == 5);
  pair.network.run(seconds(3));
  CHECK(as_text(pair.server->readable(streams.second).bytes) == "hello");
}

TEST_CASE("what was opened of a path shows when the peer was last alive") {
  Pair pair;
  pair.connect();
  pair.network.run(seconds(1));
  const auto before = pair.client->statistics(pair.key);
  REQUIRE(before);
  const auto streams = pair.open_both();
  CHECK(pair.server->write(streams.second, as_bytes("hello")) == 5);
  pair.network.run(milliseconds(300));
  const auto after = pair.client->statistics(pair.key);
  REQUIRE(after);
  CHECK(after->packets_received > before->packets_received);
  CHECK(after->arrived_last > before->arrived_last);
}

TEST_CASE("a client drops packets from addresses that it never used") {
  Pair pair;
  pair.connect();
  pair.network.run(seconds(1));
  const std::uint64_t before = pair.client->counters().packets_discarded;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "server") {
      pair.client->handle({{IpAddress::v4({9, 9, 9, 9}), 9}, bytes, bytes.size(), 0},
                          pair.network.now());
      return false;
    }
    return true;
  };
  const auto streams = pair.client->open_request(pair.key, Pair::connect_request(), false);
  REQUIRE(streams);
  pair.network.run(milliseconds(100));
  CHECK(pair.client->counters().packets_discarded > before);
  CHECK(pair.client->remote_of(pair.key) == kServerAddress);
}

TEST_CASE("batches never mix paths") {
  // Payloads of 1200 bytes are as large as path probes, which is what confuses aggregation.
  auto client = client_config();
  client.limits.payload_size_max = 1200;
  auto server = server_config();
  server.limits.payload_size_max = 1200;
  Pair pair(client, server, Paths::direct());
  pair.network.join(pair.client, kRelayAtClient, pair.server, kRelayAtServer, Paths::relayed());
  pair.connect();
  const auto streams = pair.open_both();
  BodyWriter up(pair.client, streams.first, 1 << 30, 1);
  BodyReader reader(pair.server, streams.second, 1);
  const auto step = [&] {
    up.push();
    reader.pull();
    return false;
  };
  pair.network.run(milliseconds(500), step);
  // While the new path is only being validated, it carries nothing but probes.
  pair.network.quality(pair.client, kRelayAtClient).is_blocked = true;
  std::uint64_t to_new_path = 0;
  pair.network.on_send = [&](Peer& from, const SocketAddress& to, Bytes&) {
    if (from.name() == "client" && to == kRelayAtClient) ++to_new_path;
    return true;
  };
  REQUIRE(pair.client->migrate(pair.key, kRelayAtClient, false, pair.network.now()));
  pair.network.run(seconds(2), step);
  CHECK(pair.client.has<MigrationFailed>());
  CHECK(to_new_path >= 1);
  CHECK(to_new_path <= 6);
  CHECK(reader.wrong() == 0);
}

}  // namespace
}  // namespace zt::quic::test
