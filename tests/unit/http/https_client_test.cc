// SPDX-License-Identifier: Apache-2.0
#include "http/https_client.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "http_world.h"

namespace zt::http {
namespace {

using std::chrono::seconds;
using test::get;

constexpr Instant kStart{seconds(1000)};

struct World {
  World() : server({.identity = &identity}, nullptr) {
    const auto opened = server.open(test::address(7, 1), kStart);
    REQUIRE(opened);
    key = *opened;
  }

  HttpsClient::Options options() const {
    return {.tls = {.pin = {.kind = quic::PeerPin::Kind::public_key,
                            .digest = identity.public_key_digest()},
                    .server_name = "zt.test"}};
  }

  void settle(HttpsClient& client, std::size_t step) {
    for (bool has_moved = true; has_moved;) {
      has_moved = false;
      if (const BytesView up = client.to_send(); !up.empty() && server.wants_receive(key)) {
        const std::size_t size = std::min(step, up.size());
        server.receive(key, up.subspan(0, size), kStart);
        client.sent(size, kStart);
        has_moved = true;
      }
      if (const BytesView down = server.to_send(key); !down.empty()) {
        const std::size_t size = std::min(step, down.size());
        client.receive(down.subspan(0, size), kStart);
        server.sent(key, size, kStart);
        has_moved = true;
      }
    }
    told.drain(server);
  }

  crypto::Identity identity = crypto::Identity::create("server", test::kToday);
  Server server;
  TcpKey key{};
  test::Told told;
};

std::string tell(HttpsClient& client) {
  std::string text;
  while (const auto event = client.poll_event()) {
    if (const auto* response = std::get_if<Http1Response>(&*event)) {
      text += std::to_string(response->response.status) + " ";
    } else if (const auto* chunk = std::get_if<Http1Chunk>(&*event)) {
      text += chunk->bytes;
    } else if (std::holds_alternative<Http1Ended>(*event)) {
      text += " end";
    } else {
      text += "!" + std::string(to_text(std::get<HttpsFailed>(*event)));
    }
  }
  return text;
}

TEST_CASE("HTTPS: requests started before the handshake and after it are answered") {
  for (const std::size_t step : {std::size_t{1}, std::size_t{100'000}}) {
    World world;
    HttpsClient client(TlsContext::client(nullptr), world.options(), kStart);
    for (const std::string path : {"/1", "/2"}) {
      REQUIRE(client.start(get(path), "", kStart));
      world.settle(client, step);
      REQUIRE_FALSE(world.told.arrived.empty());
      CHECK(world.told.arrived.back().request.path == path);
      const std::string body(100'000, path.back());
      world.server.carry_out(Respond{.exchange = world.told.arrived.back().exchange,
                                     .response = {.status = 200},
                                     .body = body},
                             kStart);
      world.settle(client, step);
      CHECK(tell(client) == "200 " + body + " end");
      CHECK(client.is_ready());
    }
    client.close();
    world.settle(client, step);
    CHECK(world.server.wants_close(world.key));
  }
}

TEST_CASE("HTTPS: a wrong peer is told as such, before anything was asked of it") {
  World world;
  const crypto::Identity other = crypto::Identity::create("other", test::kToday);
  auto options = world.options();
  options.tls.pin.digest = other.public_key_digest();
  HttpsClient client(TlsContext::client(nullptr), options, kStart);
  REQUIRE(client.start(get("/"), "", kStart));
  world.settle(client, 100'000);
  CHECK(tell(client) == "!the peer's certificate is not the expected one");
  CHECK(client.is_over());
  CHECK_FALSE(client.next_deadline());
  CHECK(world.told.arrived.empty());
  CHECK(client.start(get("/"), "", kStart).error() == Http1ClientError::busy);
}

TEST_CASE("HTTPS: a stream that breaks off is told as truncated") {
  World world;
  HttpsClient client(TlsContext::client(nullptr), world.options(), kStart);
  REQUIRE(client.start(get("/"), "", kStart));
  world.settle(client, 100'000);
  client.receive_end(kStart);
  CHECK(tell(client) == "!the stream ended without a TLS close");
  CHECK(client.is_over());
}

TEST_CASE("HTTPS: silence fails the request at its deadline") {
  World world;
  HttpsClient client(TlsContext::client(nullptr), world.options(), kStart);
  REQUIRE(client.start(get("/"), "", kStart));
  CHECK(client.next_deadline() == kStart + seconds(10));
  world.settle(client, 100'000);
  client.handle_timeout(kStart + seconds(10));
  CHECK(tell(client) == "!no answer in time");
  CHECK_FALSE(client.next_deadline());
}

}  // namespace
}  // namespace zt::http
