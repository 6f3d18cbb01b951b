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

}  // namespace
}  // namespace zt::quic::test
