// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "http_world.h"

namespace zt::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::get;
using test::post;
using test::QuicWorld;

// text_of writes a call's event down: "200 body", "started 200", "line x", "end", "!error".
std::string text_of(const CallEvent& event) {
  if (const auto* answered = std::get_if<Answered>(&event)) {
    return std::to_string(answered->response.status) + " " + answered->body;
  }
  if (const auto* started = std::get_if<Started>(&event)) {
    return "started " + std::to_string(started->response.status);
  }
  if (const auto* line = std::get_if<Line>(&event)) return "line " + line->text;
  if (std::holds_alternative<Ended>(event)) return "end";
  return "!" + std::string(to_text(std::get<Failed>(event).error));
}

std::vector<std::string> texts(QuicWorld& world) {
  std::vector<std::string> all;
  for (const CallEvent& event : world.call_events) all.push_back(text_of(event));
  world.call_events.clear();
  return all;
}

using Texts = std::vector<std::string>;

// status_of returns the first number of an answer's text.
std::string status_of(const Texts& all) {
  return all.empty() ? "" : all[0].substr(0, 3);
}

TEST_CASE(
    "HTTP/3: a call over HTTP/3 reaches the core with the client's proven key, and is answered") {
  QuicWorld world;
  Request request = post("/api");
  request.fields.add("authorization", "Bearer x", true);
  world.calls.start(world.connection, request, "hello", world.now);
  world.settle();
  REQUIRE(world.told.arrived.size() == 1);
  const RequestArrived& arrived = world.told.arrived[0];
  CHECK(arrived.request.method == "POST");
  CHECK(arrived.request.scheme == "https");
  CHECK(arrived.request.authority == "zt.test");
  CHECK(arrived.request.path == "/api");
  CHECK(arrived.request.fields == Fields{{"authorization", "Bearer x", true}});
  CHECK(arrived.body == "hello");
  CHECK(arrived.peer.remote == world.client_address);
  CHECK(arrived.peer.certificate == world.client_identity.certificate_digest());
  CHECK(arrived.peer.public_key == world.client_identity.public_key_digest());

  world.carry_out(Respond{.exchange = arrived.exchange,
                          .response = {.status = 201, .fields = {{"x-a", "b"}}},
                          .body = "made"});
  CHECK(texts(world) == Texts{"201 made"});
  CHECK(world.server.exchange_count() == 0);
  CHECK(world.told.gone.empty());
}

TEST_CASE("HTTP/3: the core is told when a client that it is answering has moved") {
  QuicWorld world;
  world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  REQUIRE(world.told.arrived.size() == 1);
  const ExchangeKey exchange = world.told.arrived[0].exchange;
  world.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false});
  world.client_address.port = 5001;
  REQUIRE(world.client_endpoint.rebind(world.connection, world.now));
  world.advance(seconds(1));
  CHECK(world.told.moved ==
        std::vector<PeerMoved>{{.exchange = exchange, .remote = world.client_address}});
  // What comes later comes from there, and who has no exchange is not told of.
  world.carry_out(Finish{exchange});
  world.calls.start(world.connection, get("/"), "", world.now);
  world.settle();
  CHECK(world.told.arrived.back().peer.remote == world.client_address);
}

TEST_CASE("HTTP/3: bodies up to the limits travel whole in both directions") {
  QuicWorld world;
  std::string up(std::size_t{1} << 20U, 'u');
  std::string down(std::size_t{1} << 20U, 'd');
  up.back() = down.back() = '!';
  world.calls.start(world.connection, post("/"), up, world.now);
  world.advance(seconds(1));
  REQUIRE(world.told.arrived.size() == 1);
  CHECK(world.told.arrived[0].body == up);
  world.carry_out(Respond{
      .exchange = world.told.arrived[0].exchange, .response = {.status = 200}, .body = down});
  world.advance(seconds(1));
  CHECK(texts(world) == Texts{"200 " + down});
}

TEST_CASE("HTTP/3: a request body over body_size_max is refused, announced or not") {
  for (const bool is_announced : {true, false}) {
    QuicWorld world({.body_size_max = 1000});
    Request request = post("/");
    if (is_announced) request.fields.add("content-length", "1001");
    world.calls.start(world.connection, request, std::string(1001, 'x'), world.now);
    world.advance(seconds(1));
    CHECK(status_of(texts(world)) == "413");
    CHECK(world.told.arrived.empty());

    world.calls.start(world.connection, post("/"), std::string(1000, 'x'), world.now);
    world.advance(seconds(1));
    CHECK(world.told.arrived.size() == 1);
  }
}

TEST_CASE("HTTP/3: an answer over the caller's limit fails the call and tells the core") {
  QuicWorld world({}, {.body_size_max = 1000});
  for (const std::size_t size : {std::size_t{1000}, std::size_t{1001}}) {
    world.calls.start(world.connection, get("/"), "", world.now);
    world.settle();
    world.carry_out(Respond{.exchange = world.told.arrived.back().exchange,
                            .response = {.status = 200},
                            .body = std::string(size, 'x')});
    world.advance(seconds(1));
    CHECK(status_of(texts(world)) == (size == 1000 ? "200" : "!th"));
  }
}

TEST_CASE("HTTP/3: what is no request to an origin server is refused") {
  struct Row {
    std::string_view name;
    void (*change)(Request&);
    std::string_view status;
  };
  const std::vector<Row> rows = {
      {"host disagrees", [](Request& r) { r.fields.add("host", "other.test"); }, "400"},
      {"bad authority", [](Request& r) { r.authority = "a.test, b.test"; }, "400"},
      {"user in the authority", [](Request& r) { r.authority = "u@a.test"; }, "400"},
      {"fragment", [](Request& r) { r.path = "/a#b"; }, "400"},
      {"http", [](Request& r) { r.scheme = "http"; }, "400"},
      {"CONNECT",
       [](Request& r) {
         r = {.method = "CONNECT", .scheme = {}, .authority = "a.test:1", .path = {}};
       },
       "501"},
      {"extended CONNECT",
       [](Request& r) {
         r.method = "CONNECT";
         r.protocol = "zt-bind";
       },
       "501"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    QuicWorld world;
    Request request = get("/");
    row.change(request);
    world.calls.start(world.connection, request, "", world.now);
    world.settle();
    // Where HTTP/3 itself calls the request malformed, the endpoint may reset it before.
    const std::string status = status_of(texts(world));
    CHECK((status == row.status || status == "!th"));
    CHECK(world.told.arrived.empty());
  }
}

TEST_CASE("HTTP/3: a watch gives each line once, whole, however it was cut") {
  QuicWorld world;
  world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  world.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false});
  CHECK(texts(world) == Texts{"started 200"});
  world.carry_out(Append{exchange, "on"});
  CHECK(texts(world).empty());
  world.carry_out(Append{exchange, "e\n\ntwo\nth"});
  CHECK(texts(world) == Texts{"line one", "line two"});
  world.carry_out(Append{exchange, "ree\n"});
  CHECK(texts(world) == Texts{"line three"});
  CHECK_FALSE(world.server.next_deadline());
  world.carry_out(Finish{exchange});
  CHECK(texts(world) == Texts{"end"});
  CHECK(world.server.exchange_count() == 0);
  world.carry_out(Append{exchange, "late"});  // Ignored.
}

TEST_CASE("HTTP/3: a refused watch is answered like any call") {
  QuicWorld world;
  world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  world.carry_out(Respond{
      .exchange = world.told.arrived.at(0).exchange, .response = {.status = 401}, .body = "no"});
  CHECK(texts(world) == Texts{"401 no"});
}

TEST_CASE("HTTP/3: a line of line_size_max is given and a longer one fails the watch") {
  for (const std::size_t size : {std::size_t{1000}, std::size_t{1001}}) {
    for (const bool has_newline : {true, false}) {
      if (size == 1000 && !has_newline) continue;
      QuicWorld world({}, {.line_size_max = 1000});
      world.calls.start_streaming(world.connection, get("/watch"), world.now);
      world.settle();
      const ExchangeKey exchange = world.told.arrived.at(0).exchange;
      world.carry_out(
          Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false});
      (void)texts(world);
      world.carry_out(Append{exchange, std::string(size, 'x') + (has_newline ? "\n" : "")});
      world.advance(milliseconds(100));
      if (size == 1000) {
        CHECK(texts(world) == Texts{"line " + std::string(1000, 'x')});
      } else {
        CHECK(texts(world) == Texts{"!the answer is too large"});
        CHECK(world.told.gone == std::vector{exchange});
      }
    }
  }
}

TEST_CASE("HTTP/3: a caller that cancels is gone") {
  QuicWorld world;
  const CallKey call = world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  world.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "x\n", .is_end = false});
  (void)texts(world);
  world.calls.cancel(call);
  world.settle();
  CHECK(texts(world).empty());
  CHECK(world.told.gone == std::vector{exchange});
  CHECK(world.server.exchange_count() == 0);
  world.carry_out(Append{exchange, "late"});
  world.calls.cancel(call);
}

TEST_CASE("HTTP/3: when the connection ends, callers fail and the core is told") {
  for (const bool is_server_closing : {true, false}) {
    QuicWorld world;
    world.calls.start_streaming(world.connection, get("/watch"), world.now);
    world.calls.start(world.connection, get("/slow"), "", world.now);
    world.settle();
    REQUIRE(world.told.arrived.size() == 2);
    world.carry_out(Respond{.exchange = world.told.arrived[0].exchange,
                            .response = {.status = 200},
                            .body = "",
                            .is_end = false});
    (void)texts(world);
    if (is_server_closing) {
      // The server knows the connection only by its own key; an idle client is the same to it.
      world.client_endpoint.close(world.connection, 0x100, "done", world.now);
    } else {
      world.client_endpoint.close(world.connection, 0, "", world.now);
    }
    world.settle();
    CHECK(texts(world) == Texts{"!the connection was lost", "!the connection was lost"});
    CHECK(world.told.gone.size() == 2);
    CHECK(world.server.exchange_count() == 0);
    CHECK_FALSE(world.server.next_deadline());
    CHECK_FALSE(world.calls.next_deadline());
    world.calls.start(world.connection, get("/"), "", world.now);
    world.settle();
    CHECK(texts(world) == Texts{"!the connection was lost"});
  }
}

TEST_CASE(
    "HTTP/3: a call without an answer fails at its deadline, a silent watch after silence_max") {
  QuicWorld world({}, {.timeout = seconds(5), .silence_max = seconds(8)});
  const Instant started = world.now;
  world.calls.start(world.connection, get("/slow"), "", world.now);
  world.advance_until(started + seconds(5) - milliseconds(1));
  CHECK(texts(world).empty());
  world.advance_until(started + seconds(5));
  CHECK(texts(world) == Texts{"!no answer in time"});
  world.settle();
  CHECK(world.told.gone.size() == 1);

  world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  const ExchangeKey exchange = world.told.arrived.at(1).exchange;
  world.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false});
  world.advance(seconds(7));
  world.carry_out(Append{exchange, "ping\n"});
  world.advance(seconds(7));
  CHECK(texts(world) == Texts{"started 200", "line ping"});
  world.advance(seconds(1));
  CHECK(texts(world) == Texts{"!no answer in time"});
}

TEST_CASE("HTTP/3: a watcher that does not read is gone when queued_size_max is reached") {
  QuicWorld world({.queued_size_max = 100'000}, {},
                  {.stream_receive_size_max = 50'000, .stream_send_size_max = 50'000});
  world.calls.start_streaming(world.connection, get("/watch"), world.now);
  world.settle();
  const ExchangeKey exchange = world.told.arrived.at(0).exchange;
  world.carry_out(
      Respond{.exchange = exchange, .response = {.status = 200}, .body = "", .is_end = false});
  world.is_client_reading = false;
  std::size_t appended = 0;
  while (world.told.gone.empty() && appended < 1'000'000) {
    world.carry_out(Append{exchange, std::string(1000, 'x')});
    appended += 1000;
  }
  CHECK(world.told.gone == std::vector{exchange});
  CHECK(appended > 100'000);
  CHECK(appended < 400'000);
  CHECK(world.server.exchange_count() == 0);
}

TEST_CASE("HTTP/3: a slow reader gets everything, as fast as it reads") {
  QuicWorld world({.queued_size_max = 1000}, {.body_size_max = 3'000'000},
                  {.stream_receive_size_max = 50'000, .stream_send_size_max = 50'000});
  world.calls.start(world.connection, get("/"), "", world.now);
  world.settle();
  std::string body(2'000'000, 'x');
  body.back() = '!';
  world.carry_out(Respond{
      .exchange = world.told.arrived.at(0).exchange, .response = {.status = 200}, .body = body});
  world.advance(seconds(3));
  CHECK(texts(world) == Texts{"200 " + body});
}

TEST_CASE("HTTP/3: exchanges_max and calls_max are kept") {
  QuicWorld world({.exchanges_max = 1}, {.calls_max = 3});
  for (int i = 0; i < 4; ++i) world.calls.start(world.connection, get("/"), "", world.now);
  world.settle();
  CHECK(world.told.arrived.size() == 1);
  const Texts all = texts(world);
  REQUIRE(all.size() == 3);
  CHECK(all[0] == "!too many requests at once");
  CHECK(all[1].starts_with("503 "));
  CHECK(all[2].starts_with("503 "));
}

TEST_CASE("HTTP/3: a HEAD request is answered without a body, and an endless answer ends") {
  QuicWorld world;
  Request request = get("/");
  request.method = "HEAD";
  for (const bool is_end : {true, false}) {
    world.calls.start(world.connection, request, "", world.now);
    world.settle();
    world.carry_out(Respond{.exchange = world.told.arrived.back().exchange,
                            .response = {.status = 200},
                            .body = "hidden",
                            .is_end = is_end});
    CHECK(texts(world) == Texts{"200 "});
    CHECK(world.told.gone.size() == (is_end ? 0U : 1U));
  }
}

TEST_CASE("HTTP/3: an unsendable answer becomes a 500") {
  QuicWorld world;
  world.calls.start(world.connection, get("/"), "", world.now);
  world.settle();
  world.carry_out(Respond{.exchange = world.told.arrived.at(0).exchange,
                          .response = {.status = 200, .fields = {{"x", "a\r\nb"}}},
                          .body = "x"});
  CHECK(status_of(texts(world)) == "500");
}

TEST_CASE("HTTP/3: a refusal before the end of a request body leaves no stream behind") {
  QuicWorld world({.body_size_max = 1000}, {},
                  {.stream_receive_size_max = 50'000, .stream_send_size_max = 50'000});
  for (int i = 0; i < 20; ++i) {
    world.calls.start(world.connection, post("/"), std::string(500'000, 'x'), world.now);
    world.advance(seconds(1));
    CHECK(status_of(texts(world)) == "413");
  }
  world.calls.start(world.connection, post("/"), "small", world.now);
  world.advance(seconds(1));
  CHECK(world.told.arrived.size() == 1);
}

}  // namespace
}  // namespace zt::http
