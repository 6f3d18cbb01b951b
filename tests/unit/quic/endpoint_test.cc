// SPDX-License-Identifier: Apache-2.0
// The life of connections: handshakes, identities, limits, ends.

#include "quic/endpoint.h"

#include <catch2/catch_test_macros.hpp>

#include "link.h"

namespace zt::quic::test {
namespace {

TEST_CASE("a handshake tells both sides who the other is") {
  Pair pair;
  pair.connect();
  const auto at_client = *pair.client.last<ConnectionReady>();
  const auto at_server = *pair.server.last<ConnectionReady>();
  CHECK_FALSE(at_client.is_accepted);
  CHECK(at_server.is_accepted);
  CHECK(at_client.remote == kServerAddress);
  CHECK(at_server.remote == kClientAddress);
  REQUIRE(at_client.peer);
  CHECK(at_client.peer->certificate == identity(0).certificate_digest());
  CHECK(at_client.peer->public_key == identity(0).public_key_digest());
  REQUIRE(at_server.peer);
  CHECK(at_server.peer->certificate == identity(1).certificate_digest());
}

TEST_CASE("a handshake takes one round trip") {
  Pair pair;
  const Instant start = pair.network.now();
  pair.connect();
  CHECK(pair.network.now() - start <= milliseconds(16));
}

TEST_CASE("a request and its response cross with their fields") {
  Pair pair;
  pair.connect();
  http::Request request{.method = "POST",
                        .scheme = "https",
                        .authority = "controller.test",
                        .path = "/api/v1/grants?x=1",
                        .protocol = {},
                        .fields = {}};
  request.fields.add("content-type", "application/json");
  request.fields.add("proxy-authorization", "Bearer secret", true);
  const auto stream = pair.client->open_request(pair.key, request, false);
  REQUIRE(stream);
  CHECK(pair.client->write(*stream, as_bytes("hello")) == 5);
  pair.client->finish(*stream);
  REQUIRE(pair.network.run(seconds(1), [&] { return pair.server.has<StreamReadable>(); }));
  const auto received = *pair.server.last<RequestReceived>();
  CHECK(received.request == request);
  CHECK_FALSE(received.is_end);
  const Readable readable = pair.server->readable(received.stream);
  CHECK(as_text(readable.bytes) == "hello");
  CHECK(readable.is_end);
  pair.server->consume(received.stream, readable.bytes.size());
  http::Response response{.status = 201, .fields = {}};
  response.fields.add("x-answer", "42");
  REQUIRE(pair.server->respond(received.stream, response, false));
  CHECK(pair.server->write(received.stream, as_bytes("bye")) == 3);
  pair.server->finish(received.stream);
  REQUIRE(pair.network.run(seconds(1), [&] { return pair.client.has<StreamReadable>(); }));
  CHECK(pair.client.last<ResponseReceived>()->response == response);
  CHECK(as_text(pair.client->readable(*stream).bytes) == "bye");
  CHECK(pair.client->readable(*stream).is_end);
  pair.client->consume(*stream, 3);
  REQUIRE(pair.network.run(seconds(1), [&] {
    return pair.client.has<StreamClosed>() && pair.server.has<StreamClosed>();
  }));
}

TEST_CASE("the pin decides who the peer may be") {
  struct Row {
    const char* name;
    PeerPin pin;
    bool is_good;
  };
  const std::vector<Row> rows = {
      {"right certificate", {PeerPin::Kind::certificate, identity(0).certificate_digest()}, true},
      {"right key", {PeerPin::Kind::public_key, identity(0).public_key_digest()}, true},
      {"other certificate", {PeerPin::Kind::certificate, identity(2).certificate_digest()}, false},
      {"other key", {PeerPin::Kind::public_key, identity(2).public_key_digest()}, false},
      {"certificate taken for a key",
       {PeerPin::Kind::public_key, identity(0).certificate_digest()},
       false},
      {"nothing", {PeerPin::Kind::certificate, Digest{}}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Pair pair;
    auto options = connect_options();
    options.pin = row.pin;
    REQUIRE(pair.client->connect(options, pair.network.now()));
    pair.network.run(seconds(1));
    CHECK(pair.client.has<ConnectionReady>() == row.is_good);
    CHECK(pair.server.has<ConnectionReady>() == row.is_good);
    if (row.is_good) continue;
    const auto closed = pair.client.last<ConnectionClosed>();
    REQUIRE(closed);
    CHECK(closed->reason == CloseReason::handshake_failed);
    CHECK(closed->code == 0x100 + 42);  // bad_certificate, RFC 9001 section 4.8.
    // The server knows of no connection, and keeps none.
    CHECK(pair.server.events.empty());
    CHECK(pair.server->connection_count() == 0);
    CHECK(pair.server->counters().handshakes_failed == 1);
  }
}

TEST_CASE("a client without a certificate is refused where one is required") {
  for (const bool is_required : {true, false}) {
    CAPTURE(is_required);
    auto client = client_config();
    client.identity = nullptr;
    auto server = server_config();
    server.is_client_certificate_required = is_required;
    Pair pair(client, server);
    REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
    pair.network.run(seconds(1));
    REQUIRE(pair.server.has<ConnectionReady>() == !is_required);
    if (is_required) {
      REQUIRE(pair.client.has<ConnectionClosed>());
      CHECK(pair.client.last<ConnectionClosed>()->reason == CloseReason::handshake_failed);
      CHECK(pair.client.last<ConnectionClosed>()->code == 0x100 + 116);  // certificate_required.
    } else {
      CHECK_FALSE(pair.server.last<ConnectionReady>()->peer);
    }
  }
}

TEST_CASE("the first destination connection ID and all of ours carry the routes") {
  Pair pair;
  std::vector<std::pair<std::string, Bytes>> headers;  // Sender, destination ID.
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    const bool is_long = (std::to_integer<unsigned>(bytes[0]) & 0x80U) != 0;
    const std::size_t size = is_long ? std::to_integer<std::size_t>(bytes[5]) : 16;
    const std::size_t at = is_long ? 6 : 1;
    headers.emplace_back(from.name(), Bytes(bytes.begin() + std::ptrdiff_t(at),
                                            bytes.begin() + std::ptrdiff_t(at + size)));
    return true;
  };
  auto options = connect_options();
  options.peer_route = route(0xa0);
  pair.connect(options);
  pair.network.run(seconds(1));
  REQUIRE(headers.front().second.size() == 18);
  for (const auto& [sender, id] : headers) {
    const RouteId expected = sender == "client" ? route(0xa0) : route(0xc0);
    REQUIRE(id.size() >= 16);
    CHECK(std::equal(expected.bytes.begin(), expected.bytes.end(), id.begin()));
  }
}

TEST_CASE("Retry proves the address first, and keeps the route") {
  auto server = server_config();
  server.limits.handshakes_before_retry = 0;
  Pair pair(client_config(), server);
  bool has_first = false;
  bool is_routed = true;
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "client" && (std::to_integer<unsigned>(bytes[0]) & 0x80U) != 0) {
      if (has_first) is_routed = is_routed && bytes[6] == std::byte{0xa0};
      has_first = true;
    }
    return true;
  };
  pair.connect();
  CHECK(is_routed);
  CHECK(pair.server->counters().retries_sent == 1);
  CHECK(pair.server->counters().handshakes_started == 1);
}

TEST_CASE("Retry starts with the handshake after the last free one") {
  auto server = server_config();
  server.limits.handshakes_before_retry = 3;
  Pair pair(client_config(), server);
  // Server answers do not arrive: no handshake finishes.
  pair.network.quality(pair.server, kClientAddress).is_blocked = true;
  for (int i = 0; i < 5; ++i) REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.run(milliseconds(20));
  CHECK(pair.server->connection_count() == 3);
  CHECK(pair.server->counters().retries_sent == 2);
}

TEST_CASE("unfinished handshakes above the limit cost nothing") {
  auto server = server_config();
  server.limits.handshakes_max = 4;
  Pair pair(client_config(), server);
  pair.network.quality(pair.server, kClientAddress).is_blocked = true;
  for (int i = 0; i < 5; ++i) REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.run(milliseconds(20));
  CHECK(pair.server->connection_count() == 4);
  CHECK(pair.server->counters().handshakes_dropped == 1);
  // A deadline frees the places; the client gives up as well.
  pair.network.run(seconds(31));
  CHECK(pair.server->connection_count() == 0);
  CHECK(pair.client->connection_count() == 0);
  for (const auto& closed : pair.client.all<ConnectionClosed>()) {
    CHECK(closed.reason == CloseReason::handshake_timeout);
  }
  CHECK(pair.client.all<ConnectionClosed>().size() == 5);
}

TEST_CASE("connections_max limits both directions") {
  auto client = client_config();
  client.limits.connections_max = 2;
  Pair pair(client);
  CHECK(pair.client->connect(connect_options(), pair.network.now()));
  CHECK(pair.client->connect(connect_options(), pair.network.now()));
  const auto third = pair.client->connect(connect_options(), pair.network.now());
  REQUIRE_FALSE(third);
  CHECK(third.error() == ConnectError::limit);

  auto server = server_config();
  server.limits.connections_max = 1;
  Pair other(client_config(), server);
  other.connect();
  REQUIRE(other.client->connect(connect_options(), other.network.now()));
  other.network.run(seconds(1));
  CHECK(other.server->connection_count() == 1);
  CHECK(other.server->counters().handshakes_dropped > 0);
}

TEST_CASE("a close crosses with its code and its text") {
  Pair pair;
  pair.connect();
  pair.client->close(pair.key, 0x1234, "going home", pair.network.now());
  pair.network.run(milliseconds(20));
  const auto at_client = pair.client.last<ConnectionClosed>();
  const auto at_server = pair.server.last<ConnectionClosed>();
  REQUIRE(at_client);
  REQUIRE(at_server);
  CHECK(at_client->reason == CloseReason::local);
  CHECK(at_server->reason == CloseReason::peer);
  CHECK(at_server->code == 0x1234);
  CHECK(at_server->text == "going home");
  CHECK(pair.client->connection_count() == 0);
  CHECK(pair.server->connection_count() == 0);
  // Unknown keys are ignored.
  pair.client->close(pair.key, 1, "", pair.network.now());
  CHECK(pair.client.all<ConnectionClosed>().size() == 1);
  // Nothing stays behind.
  pair.network.run(seconds(5));
  CHECK_FALSE(pair.client->next_deadline());
  CHECK_FALSE(pair.server->next_deadline());
}

TEST_CASE("a close that is lost is said again when the peer goes on") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.quality(pair.client, kServerAddress).is_blocked = true;
  pair.client->close(pair.key, 7, "", pair.network.now());
  pair.network.drain();
  pair.network.quality(pair.client, kServerAddress).is_blocked = false;
  REQUIRE_FALSE(pair.server.has<ConnectionClosed>());
  const Bytes bytes(4000);
  CHECK(pair.server->write(streams.second, bytes) == bytes.size());
  REQUIRE(pair.network.run(milliseconds(100), [&] { return pair.server.has<ConnectionClosed>(); }));
  CHECK(pair.server.last<ConnectionClosed>()->code == 7);
}

TEST_CASE("an idle connection dies without keep-alive and lives with it") {
  for (const bool is_kept_alive : {false, true}) {
    CAPTURE(is_kept_alive);
    Pair pair;
    auto options = connect_options();
    options.is_kept_alive = is_kept_alive;
    pair.connect(options);
    pair.network.run(seconds(29));
    CHECK(pair.client->connection_count() == 1);
    pair.network.run(seconds(90));
    CHECK(pair.client->connection_count() == (is_kept_alive ? 1 : 0));
    CHECK(pair.server->connection_count() == (is_kept_alive ? 1 : 0));
    if (is_kept_alive) continue;
    CHECK(pair.client.last<ConnectionClosed>()->reason == CloseReason::idle);
    CHECK(pair.server.last<ConnectionClosed>()->reason == CloseReason::idle);
  }
}

TEST_CASE("an idle connection does not wake anybody but for keep-alive") {
  Pair pair;
  pair.connect();
  pair.network.run(seconds(5));
  const std::uint64_t before = pair.network.sent_count;
  pair.network.run(seconds(60));
  CHECK(pair.network.sent_count - before <= 6 * 3);
}

TEST_CASE("a peer that lost its state says so") {
  auto server = server_config();
  server.reset_key = Digest{};
  server.reset_key->bytes.fill(std::byte{7});
  Pair pair(client_config(), server);
  pair.connect();
  pair.network.run(seconds(1));
  pair.server.replace(server);
  REQUIRE(pair.client->open_request(pair.key, Pair::connect_request(), false));
  REQUIRE(pair.network.run(milliseconds(100), [&] { return pair.client.has<ConnectionClosed>(); }));
  CHECK(pair.client.last<ConnectionClosed>()->reason == CloseReason::stateless_reset);
}

TEST_CASE("a stateless reset stands under the route of the peer, by which a relay brings it back") {
  auto server = server_config();
  server.reset_key = Digest{};
  Pair pair(client_config(), server);
  pair.connect();
  pair.network.run(seconds(1));
  pair.server.replace(server);
  const RouteId& wanted = client_config().route;
  std::size_t reset_count = 0;
  pair.network.on_send = [&](const Peer& from, const SocketAddress&, const Bytes& bytes) {
    if (&from != &pair.server) return true;
    ++reset_count;
    CHECK(std::equal(wanted.bytes.begin(), wanted.bytes.end(), bytes.begin() + 1));
    return true;
  };
  REQUIRE(pair.client->open_request(pair.key, Pair::connect_request(), false));
  pair.network.run(seconds(1));
  CHECK(reset_count > 0);
}

TEST_CASE("a stateless reset under another key is not believed") {
  Pair pair;
  pair.connect();
  pair.network.run(seconds(1));
  pair.server.replace(server_config());
  REQUIRE(pair.client->open_request(pair.key, Pair::connect_request(), false));
  pair.network.run(seconds(1));
  CHECK(pair.server->counters().resets_sent > 0);
  CHECK(pair.client->connection_count() == 1);
}

TEST_CASE("both sides export the same key, and another for each label") {
  Pair pair;
  const auto early = pair.client->connect(connect_options(), pair.network.now());
  REQUIRE(early);
  CHECK_FALSE(pair.client->export_key(*early, "zt probe"));
  REQUIRE(pair.network.run(seconds(1), [&] { return pair.server.has<ConnectionReady>(); }));
  const auto server_key = pair.server.last<ConnectionReady>()->connection;
  const auto at_client = pair.client->export_key(*early, "zt probe");
  REQUIRE(at_client);
  CHECK(at_client == pair.server->export_key(server_key, "zt probe"));
  CHECK(at_client != pair.client->export_key(*early, "zt other"));
  CHECK_FALSE(pair.client->export_key(ConnectionKey{99}, "zt probe"));
}

TEST_CASE("set_route changes the prefix of later connection IDs") {
  Pair pair;
  pair.server->set_route(route(0xa1));
  std::byte seen{};
  pair.network.on_send = [&](Peer& from, const SocketAddress&, Bytes& bytes) {
    if (from.name() == "client" && (std::to_integer<unsigned>(bytes[0]) & 0x80U) == 0) {
      seen = bytes[1];
    }
    return true;
  };
  pair.connect();
  pair.network.run(seconds(1));
  CHECK(seen == std::byte{0xa1});
}

TEST_CASE("an endpoint that does not accept ignores Initials") {
  auto server = server_config();
  server.is_accepting = false;
  Pair pair(client_config(), server);
  REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
  pair.network.run(seconds(1));
  CHECK(pair.server->connection_count() == 0);
  CHECK(pair.server->counters().packets_discarded > 0);
}

TEST_CASE("a handshake survives heavy loss and reordering") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Quality quality;
    quality.loss_per_mille = 250;
    quality.duplication_per_mille = 100;
    quality.jitter = milliseconds(20);
    Pair pair(client_config(), server_config(), quality, seed);
    pair.connect();
  }
}

TEST_CASE("a thousand idle connections keep their deadlines apart") {
  auto server = server_config();
  server.limits.handshakes_before_retry = 10'000;
  server.limits.handshakes_max = 10'000;
  Pair pair(client_config(), server);
  constexpr std::size_t kCount = 300;
  for (std::size_t i = 0; i < kCount; ++i) {
    REQUIRE(pair.client->connect(connect_options(), pair.network.now()));
    pair.network.run(milliseconds(1));
  }
  REQUIRE(pair.network.run(seconds(5),
                           [&] { return pair.server.all<ConnectionReady>().size() == kCount; }));
  pair.network.run(seconds(60));
  CHECK(pair.server->connection_count() == kCount);
  const auto ready = pair.client.all<ConnectionReady>();
  for (std::size_t i = 0; i < kCount; i += 2) {
    pair.client->close(ready[i].connection, 0, "", pair.network.now());
  }
  pair.network.run(seconds(60));
  CHECK(pair.server->connection_count() == kCount / 2);
  CHECK(pair.client->connection_count() == kCount / 2);
}

}  // namespace
}  // namespace zt::quic::test
