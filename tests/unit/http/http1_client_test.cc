// SPDX-License-Identifier: Apache-2.0
#include "http/http1_client.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace zt::http {
namespace {

using std::chrono::seconds;

constexpr Instant kStart{seconds(1000)};

Request get(std::string path = "/") {
  return {.method = "GET", .scheme = "https", .authority = "zt.test", .path = std::move(path)};
}

// tell writes down the events of a client: "200", "+body", "end", "!error".
std::string tell(Http1Client& client) {
  std::string text;
  while (const auto event = client.poll_event()) {
    if (const auto* response = std::get_if<Http1Response>(&*event)) {
      text += std::to_string(response->response.status) + " ";
    } else if (const auto* chunk = std::get_if<Http1Chunk>(&*event)) {
      text += chunk->bytes;
    } else if (std::holds_alternative<Http1Ended>(*event)) {
      text += " end";
    } else {
      text += "!" + std::string(to_text(std::get<Http1Failed>(*event).error));
    }
  }
  return text;
}

void flush(Http1Client& client) {
  client.sent(client.to_send().size());
}

std::string exchange(std::string_view answer, bool is_bytewise, Http1Client::Limits limits = {}) {
  Http1Client client(limits);
  REQUIRE(client.start(get(), "", kStart));
  flush(client);
  std::string text;
  const std::size_t step = is_bytewise ? 1 : answer.size();
  for (std::size_t i = 0; i < answer.size(); i += step) {
    client.receive(answer.substr(i, step), kStart);
    text += tell(client);
  }
  return text;
}

TEST_CASE("a request is written with its host, its fields and the length of its body") {
  Http1Client client({});
  Request request = get("/a?b");
  request.method = "POST";
  request.fields.add("accept", "application/json");
  request.fields.add("transfer-encoding", "chunked");  // Not ours to send.
  REQUIRE(client.start(request, "hello", kStart));
  CHECK(client.to_send() ==
        "POST /a?b HTTP/1.1\r\nhost: zt.test\r\naccept: application/json\r\n"
        "content-length: 5\r\n\r\nhello");
  CHECK(client.start(get(), "", kStart).error() == Http1ClientError::busy);
}

TEST_CASE("a request that would split into two is not sent") {
  for (const auto& change : std::vector<void (*)(Request&)>{
           [](Request& r) { r.path = "/a b"; }, [](Request& r) { r.path = ""; },
           [](Request& r) { r.path = "/\r\nx: y"; }, [](Request& r) { r.method = "GET /"; },
           [](Request& r) { r.method = "CONNECT"; }, [](Request& r) { r.authority = "a\r\nb"; },
           [](Request& r) { r.fields.add("x", "a\nb"); },
           [](Request& r) { r.fields.add("X", "a"); }}) {
    Request request = get();
    change(request);
    Http1Client client({});
    CHECK(client.start(request, "", kStart).error() == Http1ClientError::malformed);
    CHECK(client.to_send().empty());
    CHECK(client.is_ready());
  }
}

TEST_CASE("responses are read in each framing, a byte at a time as well") {
  struct Row {
    std::string_view answer;
    std::string_view told;
  };
  const std::vector<Row> rows = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello end"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200  end"},
      {"HTTP/1.1 204 No Content\r\n\r\n", "204  end"},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304  end"},
      {"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
       "200 abcde end"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
       "HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
       "201 x end"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.answer);
    CHECK(exchange(row.answer, false) == row.told);
    CHECK(exchange(row.answer, true) == row.told);
  }
}

TEST_CASE("a response to HEAD has no body") {
  Http1Client client({});
  Request request = get();
  request.method = "HEAD";
  REQUIRE(client.start(request, "", kStart));
  flush(client);
  client.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", kStart);
  CHECK(tell(client) == "200  end");
  CHECK(client.is_ready());
}

TEST_CASE("a connection carries one request after the other") {
  Http1Client client({});
  for (int i = 0; i < 3; ++i) {
    REQUIRE(client.is_ready());
    REQUIRE(client.start(get(), "", kStart));
    flush(client);
    client.receive("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", kStart);
    CHECK(tell(client) == "200 ok end");
  }
  REQUIRE(client.start(get(), "", kStart));
  flush(client);
  client.receive("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", kStart);
  CHECK(tell(client) == "200  end");
  CHECK(client.is_over());
}

TEST_CASE("bytes that answer nothing end the connection") {
  Http1Client client({});
  client.receive("HTTP/1.1 200 OK\r\n", kStart);
  CHECK(client.is_over());
  Http1Client twice({});
  REQUIRE(twice.start(get(), "", kStart));
  flush(twice);
  twice.receive("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n", kStart);
  CHECK(tell(twice) == "200  end");
  CHECK(twice.is_over());
}

TEST_CASE("a response before the end of the request leaves the connection unusable") {
  Http1Client client({});
  REQUIRE(client.start(get(), "", kStart));
  client.receive("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", kStart);
  CHECK(tell(client) == "413  end");
  CHECK(client.is_over());
}

TEST_CASE("ambiguous and malformed responses fail") {
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
      "HTTP/1.1 099 Low\r\n\r\n",
      "HTTP/1.1 600 High\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.1 200 OK\nX: a\n\n",
      "GET / HTTP/1.1\r\n\r\n",
      "SSH-2.0-x\r\n",
  };
  for (const std::string& answer : answers) {
    CAPTURE(answer);
    CHECK(exchange(answer, false) == "!malformed HTTP");
    CHECK(exchange(answer, true) == "!malformed HTTP");
  }
}

TEST_CASE("a body that ends with the connection is complete only if the end is genuine") {
  for (const bool is_genuine : {true, false}) {
    Http1Client client({});
    REQUIRE(client.start(get(), "", kStart));
    flush(client);
    client.receive("HTTP/1.1 200 OK\r\n\r\nhello", kStart);
    CHECK(tell(client) == "200 hello");
    client.receive_end(is_genuine);
    CHECK(tell(client) == (is_genuine ? " end" : "!the connection ended within the answer"));
    CHECK(client.is_over());
  }
}

TEST_CASE("a connection that ends early is truncation, genuine or not") {
  for (const std::string_view answer :
       {"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    CAPTURE(answer);
    Http1Client client({});
    REQUIRE(client.start(get(), "", kStart));
    flush(client);
    client.receive(answer, kStart);
    (void)tell(client);
    client.receive_end(true);
    CHECK(tell(client) == "!the connection ended within the answer");
    CHECK(client.is_over());
  }
}

TEST_CASE("a body of body_size_max bytes is read and a larger one is not; without limit all is") {
  const std::string_view five = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  CHECK(exchange(five, true, {.body_size_max = 5}) == "200 hello end");
  CHECK(exchange(five, true, {.body_size_max = 4}) == "200 hell!the answer is too large");
  CHECK(exchange(five, true, {.body_size_max = std::nullopt}) == "200 hello end");
  const std::string head = "HTTP/1.1 200 OK\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n";
  CHECK(exchange(head, false) == "!the answer is too large");
}

TEST_CASE("interim responses are skipped up to interim_max") {
  std::string answer;
  for (int i = 0; i < 8; ++i) answer += "HTTP/1.1 102 Processing\r\n\r\n";
  const std::string final = "HTTP/1.1 204 No Content\r\n\r\n";
  CHECK(exchange(answer + final, false) == "204  end");
  CHECK(exchange(answer + "HTTP/1.1 102 Processing\r\n\r\n" + final, false) ==
        "!the answer is too large");
}

TEST_CASE("a server that says nothing in time fails the request") {
  Http1Client client({.response_timeout = seconds(10), .silence_max = seconds(45)});
  CHECK_FALSE(client.next_deadline());
  REQUIRE(client.start(get(), "", kStart));
  flush(client);
  CHECK(client.next_deadline() == kStart + seconds(10));
  client.receive("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", kStart + seconds(9));
  CHECK(client.next_deadline() == kStart + seconds(54));
  client.receive("x", kStart + seconds(50));
  CHECK(client.next_deadline() == kStart + seconds(95));
  client.handle_timeout(kStart + seconds(94));
  CHECK(tell(client) == "200 x");
  client.handle_timeout(kStart + seconds(95));
  CHECK(tell(client) == "!no answer in time");
  CHECK(client.is_over());
}

}  // namespace
}  // namespace zt::http
