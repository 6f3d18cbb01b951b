// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "http_world.h"

namespace zt::http {
namespace {

using std::chrono::seconds;
using test::get;
using test::post;
using test::TcpClient;
using test::Told;

constexpr Instant kStart{seconds(1000)};

struct World {
  explicit World(const Server::Limits& limits = {})
      : server({.identity = &identity, .alt_svc_port = 8443, .limits = limits}, nullptr) {}

  TcpClient client(std::size_t step = 100'000) {
    return TcpClient(server, identity, &client_identity, kStart, step);
  }

  crypto::Identity identity = crypto::Identity::create("server", test::kToday);
  crypto::Identity client_identity = crypto::Identity::create("client", test::kToday);
  Server server;
  Told told;
};

TEST_CASE(
    "HTTP/1.1: a request over TLS reaches the core with the client's proven key, and is answered") {
  for (const std::size_t step : {std::size_t{1}, std::size_t{100'000}}) {
    World world;
    TcpClient client(world.server, world.identity, &world.client_identity, kStart, step);
    REQUIRE(client.http.start(post("/api"), "hello", kStart));
    client.settle(kStart);
    world.told.drain(world.server);
    REQUIRE(world.told.arrived.size() == 1);
    const RequestArrived& request = world.told.arrived[0];
    CHECK(request.request.path == "/api");
    CHECK(request.body == "hello");
    CHECK(request.peer.remote == test::address(7, 4321));
    CHECK(request.peer.certificate == world.client_identity.certificate_digest());
    CHECK(request.peer.public_key == world.client_identity.public_key_digest());

    world.server.carry_out(Respond{.exchange = request.exchange,
                                   .response = {.status = 201, .fields = {{"x-a", "b"}}},
                                   .body = "made"},
                           kStart);
    client.settle(kStart);
    CHECK(client.told() == "201 made end");
    CHECK(client.last.fields == Fields{{"x-a", "b"}, {"alt-svc", "h3=\":8443\"; ma=86400"}});
    CHECK(world.server.exchange_count() == 0);
    world.told.drain(world.server);
    CHECK(world.told.gone.empty());

    // The connection goes on.
    REQUIRE(client.http.start(get("/2"), "", kStart));
    client.settle(kStart);
    world.told.drain(world.server);
    CHECK(world.told.arrived.size() == 2);
    CHECK(world.told.arrived[1].exchange != world.told.arrived[0].exchange);
  }
}

TEST_CASE("HTTP/1.1: a client without a certificate has no key") {
  World world;
  TcpClient client(world.server, world.identity, nullptr, kStart);
  REQUIRE(client.http.start(get("/"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  REQUIRE(world.told.arrived.size() == 1);
  CHECK_FALSE(world.told.arrived[0].peer.certificate);
  CHECK_FALSE(world.told.arrived[0].peer.public_key);
}

TEST_CASE(
    "HTTP/1.1: a large answer flows as fast as the client reads, and is never the client's fault") {
  World world({.queued_size_max = 1000});
  TcpClient client = world.client(777);
  REQUIRE(client.http.start(get("/"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  std::string body(3'000'000, 'x');
  body.back() = '!';
  world.server.carry_out(
      Respond{
          .exchange = world.told.arrived.at(0).exchange, .response = {.status = 200}, .body = body},
      kStart);
  client.settle(kStart);
  CHECK(client.told() == "200 " + body + " end");
}

TEST_CASE("HTTP/1.1: a watch gives its lines as they are appended, until it is finished") {
  World world;
  TcpClient client = world.client();
  REQUIRE(client.http.start(get("/watch"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  world.server.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false},
      kStart);
  client.settle(kStart);
  CHECK(client.told() == "200 ");
  for (int i = 0; i < 3; ++i) {
    world.server.carry_out(Append{exchange, std::to_string(i) + "\n"}, kStart);
    client.settle(kStart);
    CHECK(client.told() == std::to_string(i) + "\n");
  }
  CHECK_FALSE(world.server.next_deadline());
  world.server.carry_out(Finish{exchange}, kStart);
  client.settle(kStart);
  CHECK(client.told() == " end");
  CHECK(world.server.exchange_count() == 0);
  world.server.carry_out(Append{exchange, "late"}, kStart);  // Ignored.
  world.server.carry_out(Finish{exchange}, kStart);
}

TEST_CASE("HTTP/1.1: a watcher that leaves is gone, politely or not") {
  for (const bool is_polite : {true, false}) {
    World world;
    TcpClient client = world.client();
    REQUIRE(client.http.start(get("/watch"), "", kStart));
    client.settle(kStart);
    world.told.drain(world.server);
    const ExchangeKey exchange = world.told.arrived.at(0).exchange;
    world.server.carry_out(
        Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false},
        kStart);
    client.settle(kStart);
    if (is_polite) {
      client.tls.shut();
      client.settle(kStart);
      CHECK(world.server.wants_close(client.key));
    } else {
      world.server.closed(client.key);
    }
    world.told.drain(world.server);
    REQUIRE(world.told.gone.size() == 1);
    CHECK(world.told.gone[0] == exchange);
    world.server.carry_out(Append{exchange, "late"}, kStart);  // Ignored.
    world.server.closed(client.key);
    CHECK(world.server.connection_count() == 0);
    CHECK(world.server.exchange_count() == 0);
    CHECK_FALSE(world.server.next_deadline());
  }
}

TEST_CASE("HTTP/1.1: a watcher that does not read is gone when queued_size_max is reached") {
  World world({.queued_size_max = 100'000});
  TcpClient client = world.client();
  REQUIRE(client.http.start(get("/watch"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  client.is_reading = false;
  world.server.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false},
      kStart);
  std::size_t appended = 0;
  while (world.told.gone.empty() && appended < 1'000'000) {
    world.server.carry_out(Append{exchange, std::string(1000, 'x')}, kStart);
    appended += 1000;
    world.told.drain(world.server);
  }
  REQUIRE(world.told.gone.size() == 1);
  CHECK(appended > 100'000);
  CHECK(appended < 100'000 + 2 * TlsSession::kBufferSize);
  // What is left cannot be mistaken for a whole answer.
  client.is_reading = true;
  client.settle(kStart);
  client.tls.receive_end();
  client.settle(kStart);
  CHECK_FALSE(client.tls.is_receive_ended());
  CHECK(client.tls.state() == TlsSession::State::failed);
  CHECK(world.server.wants_close(client.key));
}

TEST_CASE("HTTP/1.1: a client that reads nothing of an answer is closed after send_timeout") {
  World world({.send_timeout = seconds(30), .close_timeout = seconds(5)});
  TcpClient client = world.client();
  REQUIRE(client.http.start(get("/"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  client.is_reading = false;
  world.server.carry_out(Respond{.exchange = world.told.arrived.at(0).exchange,
                                 .response = {.status = 200},
                                 .body = std::string(1'000'000, 'x')},
                         kStart);
  CHECK(world.server.next_deadline() == kStart + seconds(30));
  world.server.handle_timeout(kStart + seconds(30));
  CHECK_FALSE(world.server.wants_close(client.key));  // The last bytes have their time.
  CHECK(world.server.next_deadline() == kStart + seconds(35));
  world.server.handle_timeout(kStart + seconds(35));
  CHECK(world.server.wants_close(client.key));
  CHECK_FALSE(world.server.next_deadline());
}

TEST_CASE("HTTP/1.1: a handshake, a head and an idle connection have deadlines") {
  World world;
  const auto silent = world.server.open(test::address(9, 9), kStart);
  REQUIRE(silent);
  CHECK(world.server.next_deadline() == kStart + seconds(10));
  TcpClient client = world.client();
  client.settle(kStart);
  world.server.handle_timeout(kStart + seconds(10));
  CHECK(world.server.wants_close(*silent));
  CHECK_FALSE(world.server.wants_close(client.key));  // It has sent no request: close_notify first.
  client.settle(kStart + seconds(10));
  CHECK(client.tls.is_receive_ended());
  CHECK(world.server.wants_close(client.key));
  CHECK_FALSE(world.server.wants_receive(*silent));
}

TEST_CASE("HTTP/1.1: the sum of unfinished requests is bounded") {
  World world({.body_size_max = 100'000, .received_size_max = 250'000});
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<TcpClient>(world.server, world.identity, nullptr, kStart));
    Request request = post("/");
    request.fields.add("x-number", std::to_string(i));
    REQUIRE(clients.back()->http.start(request, std::string(90'000, 'x'), kStart));
  }
  // All but the last bytes of each arrive.
  for (auto& client : clients) {
    const std::string_view all = client->http.to_send();
    client->settle(kStart);
    CHECK(all.size() > 90'000);
  }
  world.told.drain(world.server);
  CHECK(world.told.arrived.size() == 4);  // Whole requests belong to the core and do not count.

  World partial({.body_size_max = 100'000, .received_size_max = 250'000});
  int closed = 0;
  std::vector<std::unique_ptr<TcpClient>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<TcpClient>(partial.server, partial.identity, nullptr, kStart));
    slow.back()->settle(kStart);
    const std::string text = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" +
                             std::string(90'000, 'x');
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t taken = slow.back()->tls.write(as_bytes(rest));
      rest.remove_prefix(taken);
      slow.back()->settle(kStart);
      if (taken == 0 || partial.server.wants_close(slow.back()->key)) break;
    }
    if (partial.server.wants_close(slow.back()->key)) ++closed;
  }
  CHECK(closed == 2);
}

TEST_CASE("HTTP/1.1: connections_max and exchanges_max are kept") {
  World world({.connections_max = 2, .exchanges_max = 1});
  TcpClient first = world.client();
  TcpClient second = world.client();
  CHECK_FALSE(world.server.open(test::address(9, 9), kStart));
  REQUIRE(first.http.start(get("/"), "", kStart));
  first.settle(kStart);
  REQUIRE(second.http.start(get("/"), "", kStart));
  second.settle(kStart);
  CHECK(second.told().starts_with("503 "));
  world.told.drain(world.server);
  CHECK(world.told.arrived.size() == 1);
  world.server.closed(first.key);
  CHECK(world.server.open(test::address(9, 9), kStart));
}

TEST_CASE(
    "HTTP/1.1: a malformed request is answered, the connection ended, and the core hears nothing") {
  World world;
  TcpClient client = world.client();
  client.settle(kStart);
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
  CHECK(client.tls.write(as_bytes(text)) == text.size());
  client.settle(kStart);
  CHECK(client.tls.is_receive_ended());  // close_notify followed.
  CHECK_FALSE(world.server.wants_close(client.key));
  world.server.handle_timeout(kStart + seconds(2));
  CHECK(world.server.wants_close(client.key));
  world.told.drain(world.server);
  CHECK(world.told.arrived.empty());
}

TEST_CASE("HTTP/1.1: an answer to HEAD that would be endless ends at once") {
  World world;
  TcpClient client = world.client();
  Request request = get("/watch");
  request.method = "HEAD";
  REQUIRE(client.http.start(request, "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  world.server.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "x", .is_end = false},
      kStart);
  client.settle(kStart);
  CHECK(client.told() == "200  end");
  world.told.drain(world.server);
  CHECK(world.told.gone == std::vector{exchange});
}

TEST_CASE("HTTP/1.1: touched connections are named once") {
  World world;
  TcpClient client = world.client();
  client.settle(kStart);
  CHECK(world.server.poll_touched() == client.key);
  CHECK_FALSE(world.server.poll_touched());
  REQUIRE(client.http.start(get("/"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  CHECK(world.server.poll_touched() == client.key);
  world.server.carry_out(
      Respond{.exchange = world.told.arrived.at(0).exchange, .response = {.status = 204}}, kStart);
  CHECK(world.server.poll_touched() == client.key);
  CHECK_FALSE(world.server.to_send(client.key).empty());
}

TEST_CASE("HTTP/1.1: a renewed certificate serves the connections opened after it") {
  World world;
  const crypto::Identity renewed = crypto::Identity::create("renewed", test::kToday);
  world.server.set_identity(renewed);
  TcpClient client(world.server, renewed, nullptr, kStart);
  REQUIRE(client.http.start(get("/"), "", kStart));
  client.settle(kStart);
  world.told.drain(world.server);
  CHECK(world.told.arrived.size() == 1);
}

TEST_CASE("HTTP/1.1: unknown connections are ignored") {
  World world;
  const TcpKey unknown{77};
  world.server.receive(unknown, as_bytes("x"), kStart);
  world.server.sent(unknown, 0, kStart);
  world.server.closed(unknown);
  CHECK(world.server.to_send(unknown).empty());
  CHECK_FALSE(world.server.wants_receive(unknown));
  CHECK_FALSE(world.server.wants_close(unknown));
}

}  // namespace
}  // namespace zt::http
