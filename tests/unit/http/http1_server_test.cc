// SPDX-License-Identifier: Apache-2.0
#include "http/http1_server.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace zt::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Instant kStart{seconds(1000)};

// drain takes everything that the server wants to send.
std::string drain(Http1Server& server, Instant now = kStart) {
  std::string text(server.to_send());
  server.sent(text.size(), now);
  return text;
}

void feed_bytewise(Http1Server& server, std::string_view text, Instant now = kStart) {
  for (const char& c : text) server.receive({&c, 1}, now);
}

std::string status_line_of(std::string_view answer) {
  return std::string(answer.substr(0, answer.find("\r\n")));
}

constexpr std::string_view kGet = "GET /a?b=c HTTP/1.1\r\nHost: zt.test\r\n\r\n";

TEST_CASE("a request arrives whole, without the fields of the connection") {
  for (const bool is_bytewise : {false, true}) {
    Http1Server server({}, kStart);
    const std::string_view text =
        "POST /api/v1/grants HTTP/1.1\r\nHost: zt.test:8443\r\nAuthorization: Bearer x\r\n"
        "X-Thing: \t a b \r\nX-Empty:\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n"
        "Content-Length: 5\r\n\r\nhello";
    if (is_bytewise) {
      feed_bytewise(server, text);
    } else {
      server.receive(text, kStart);
    }
    const auto request = server.poll_request();
    REQUIRE(request);
    CHECK(request->request.method == "POST");
    CHECK(request->request.scheme == "https");
    CHECK(request->request.authority == "zt.test:8443");
    CHECK(request->request.path == "/api/v1/grants");
    CHECK(request->request.fields ==
          Fields{{"authorization", "Bearer x", true}, {"x-thing", "a b"}, {"x-empty", ""}});
    CHECK(request->body == "hello");
    CHECK_FALSE(server.poll_request());
    CHECK(server.to_send().empty());
  }
}

TEST_CASE("a chunked body is put together, and its extensions and trailers are dropped") {
  const std::string_view text =
      "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5;ext=\"v\"\r\nhello\r\nA\r\n, world!!!\r\n0\r\nX-Trailer: t\r\nAuthorization: evil\r\n\r\n";
  Http1Server server({}, kStart);
  feed_bytewise(server, text);
  const auto request = server.poll_request();
  REQUIRE(request);
  CHECK(request->body == "hello, world!!!");
  CHECK(request->request.fields.count() == 0);
}

TEST_CASE("responses are framed by length, by chunks, or not at all") {
  Http1Server server({}, kStart);
  server.receive(kGet, kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200, .fields = {{"content-type", "text/plain"}}}, "hi", true, kStart);
  CHECK(drain(server) ==
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi");

  server.receive(kGet, kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200}, "one", false, kStart);
  CHECK(server.append("two\n", kStart));
  CHECK(server.append("", kStart));
  server.finish(kStart);
  CHECK(drain(server) ==
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n4\r\ntwo\n\r\n0\r\n\r\n");

  server.receive(kGet, kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 204, .fields = {{"content-length", "7"}}}, "", true, kStart);
  CHECK(drain(server) == "HTTP/1.1 204 No Content\r\n\r\n");

  server.receive("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200}, "hidden", true, kStart);
  CHECK(drain(server) == "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n");

  server.receive("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200}, "hidden", false, kStart);
  CHECK_FALSE(server.is_answering());
  CHECK(drain(server) == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  CHECK_FALSE(server.is_over());
}

TEST_CASE("pipelined requests are handed out one at a time and answered in order") {
  Http1Server server({}, kStart);
  std::string text;
  for (int i = 0; i < 3; ++i) {
    text += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a.test\r\n\r\n";
  }
  server.receive(text, kStart);
  for (int i = 0; i < 3; ++i) {
    const auto request = server.poll_request();
    REQUIRE(request);
    CHECK(request->request.path == "/" + std::to_string(i));
    CHECK_FALSE(server.poll_request());
    server.respond({.status = 200}, std::to_string(i), true, kStart);
    CHECK(drain(server).ends_with("\r\n\r\n" + std::to_string(i)));
  }
  CHECK_FALSE(server.poll_request());
}

TEST_CASE("input is refused before it overruns its limit") {
  Http1Server server({.received_size_max = 100}, kStart);
  server.receive(kGet, kStart);
  REQUIRE(server.is_answering());
  server.receive(std::string(50, 'x'), kStart);
  CHECK(server.wants_receive());
  server.receive("x", kStart);
  CHECK_FALSE(server.wants_receive());
  server.receive(std::string(49, 'x'), kStart);
  CHECK_FALSE(server.is_over());
  server.receive("x", kStart);
  CHECK(server.is_over());
  CHECK(server.to_send().empty());
}

TEST_CASE("connection: close and HTTP/1.1's default decide whether another request may follow") {
  Http1Server server({}, kStart);
  server.receive("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n",
                 kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200}, "", true, kStart);
  CHECK(server.is_over());
  CHECK(drain(server).find("\r\nconnection: close\r\n") != std::string::npos);
  CHECK_FALSE(server.poll_request());
}

TEST_CASE("Expect: 100-continue is answered when the body has not been sent yet") {
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  Http1Server server({}, kStart);
  server.receive(head, kStart);
  CHECK(drain(server) == "HTTP/1.1 100 Continue\r\n\r\n");
  server.receive("ok", kStart);
  CHECK(server.poll_request()->body == "ok");

  Http1Server eager({}, kStart);
  eager.receive(head + "ok", kStart);
  CHECK(eager.to_send().empty());
  CHECK(eager.poll_request()->body == "ok");

  Http1Server large({.body_size_max = 1}, kStart);
  large.receive(head, kStart);
  CHECK(status_line_of(drain(large)) == "HTTP/1.1 413 Content Too Large");
}

// The list of ways in which two parsers have disagreed about where a request ends. [rfc9112-11.2]
TEST_CASE("whatever could be read in two ways is refused and ends the connection") {
  const std::string get = "GET / HTTP/1.1\r\n";
  const std::string post = "POST / HTTP/1.1\r\nHost: a.test\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  struct Row {
    std::string name;
    std::string text;
    int status = 400;
  };
  const std::vector<Row> rows = {
      {"length and chunked", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
      {"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"},
      {"one length twice", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"},
      {"list of lengths", post + "Content-Length: 3, 3\r\n\r\n"},
      {"signed length", post + "Content-Length: +3\r\n\r\n"},
      {"negative length", post + "Content-Length: -3\r\n\r\n"},
      {"hexadecimal length", post + "Content-Length: 0x3\r\n\r\n"},
      {"empty length", post + "Content-Length: \r\n\r\n"},
      {"spaced length", post + "Content-Length: 1 3\r\n\r\n"},
      {"overflowing length", post + "Content-Length: 18446744073709551617\r\n\r\n"},
      {"large length", post + "Content-Length: 999999999999999999\r\n\r\n", 413},
      {"identity", post + "Transfer-Encoding: identity\r\n\r\n"},
      {"gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {"chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n"},
      {"chunked twice in one", post + "Transfer-Encoding: chunked, chunked\r\n\r\n"},
      {"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n"},
      {"chunked with vertical tab", post + "Transfer-Encoding: \x0b"
                                           "chunked\r\n\r\n"},
      {"quoted chunked", post + "Transfer-Encoding: \"chunked\"\r\n\r\n"},
      {"empty coding", post + "Transfer-Encoding:\r\n\r\n"},
      {"folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n"},
      {"space before colon", post + "Transfer-Encoding : chunked\r\n\r\n"},
      {"space before length's colon", post + "Content-Length : 3\r\n\r\n"},
      {"folded field", get + "Host: a.test\r\nX: a\r\n b\r\n\r\n"},
      {"folded host", get + "Host:\r\n a.test\r\n\r\n"},
      {"space before first field", get + " Host: a.test\r\n\r\n"},
      {"field without colon", get + "Host: a.test\r\nX\r\n\r\n"},
      {"empty field name", get + "Host: a.test\r\n: x\r\n\r\n"},
      {"NUL in a value", get + "Host: a.test\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n"},
      {"NUL in a name", get + "Host: a.test\r\nX" + std::string(1, '\0') + ": b\r\n\r\n"},
      {"bare CR in a value", get + "Host: a.test\r\nX: a\rb\r\n\r\n"},
      {"bare LF after a field", get + "Host: a.test\n\r\n"},
      {"bare LF after the start", "GET / HTTP/1.1\nHost: a.test\r\n\r\n", 505},
      {"bare LF at the end", get + "Host: a.test\r\n\n"},
      {"bare CR at the end", get + "Host: a.test\r\n\rX"},
      {"no host", get + "\r\n"},
      {"two hosts", get + "Host: a.test\r\nHost: a.test\r\n\r\n"},
      {"two other hosts", get + "Host: a.test\r\nHost: b.test\r\n\r\n"},
      {"empty host", get + "Host:\r\n\r\n"},
      {"list of hosts", get + "Host: a.test, b.test\r\n\r\n"},
      {"host with path", get + "Host: a.test/x\r\n\r\n"},
      {"host with user", get + "Host: u@a.test\r\n\r\n"},
      {"host with bad port", get + "Host: a.test:99999\r\n\r\n"},
      {"host with space", get + "Host: a.test b\r\n\r\n"},
      {"absolute form of another host", "GET https://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"absolute form of another port", "GET https://a.test:1/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"absolute form with user", "GET https://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"absolute form without path", "GET https://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"absolute form of http", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"asterisk of GET", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"space in the target", "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"non-ASCII target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"tab after the method", "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"lower-case method", "get / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"unknown method", "FROB / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"HTTP/0.9", "GET /\r\n\r\n", 505},
      {"lower-case version", "GET / http/1.1\r\nHost: a.test\r\n\r\n"},
      {"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", 505},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505},
      {"HTTP/1.1 with a tail", "GET / HTTP/1.1x\r\nHost: a.test\r\n\r\n", 505},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"CONNECT", "CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n", 501},
      {"unknown expectation", get + "Host: a.test\r\nExpect: x\r\n\r\n", 417},
      {"chunk size with sign", chunked + "+1\r\nx\r\n0\r\n\r\n"},
      {"chunk size with 0x", chunked + "0x1\r\nx\r\n0\r\n\r\n"},
      {"chunk size with space before", chunked + " 1\r\nx\r\n0\r\n\r\n"},
      {"chunk size with space behind", chunked + "1 \r\nx\r\n0\r\n\r\n"},
      {"chunk size overflow", chunked + "10000000000000001\r\nx\r\n0\r\n\r\n"},
      {"no chunk size", chunked + "\r\nx\r\n0\r\n\r\n"},
      {"chunk size with bare LF", chunked + "1\nx\r\n0\r\n\r\n"},
      {"chunk extension with bare LF", chunked + "1;a\nx\r\n0\r\n\r\n"},
      {"chunk extension with bare CR", chunked + "1;a\rx\r\nx\r\n0\r\n\r\n"},
      {"chunk without its end", chunked + "1\r\nx0\r\n\r\n"},
      {"chunk with bare LF", chunked + "1\r\nx\n0\r\n\r\n"},
      {"chunk longer than said", chunked + "1\r\nxy\r\n0\r\n\r\n"},
      {"last chunk with bare LF", chunked + "1\r\nx\r\n0\n\n"},
      {"garbage", std::string("\x16\x03\x01\x02\x00", 5)},
  };
  for (const Row& row : rows) {
    for (const bool is_bytewise : {false, true}) {
      CAPTURE(row.name, is_bytewise);
      Http1Server server({}, kStart);
      if (is_bytewise) {
        feed_bytewise(server, row.text);
      } else {
        server.receive(row.text, kStart);
      }
      CHECK_FALSE(server.poll_request());
      const std::string answer = drain(server);
      CHECK(answer.starts_with("HTTP/1.1 " + std::to_string(row.status) + " "));
      CHECK(answer.find("\r\nconnection: close\r\n") != std::string::npos);
      CHECK(answer.find("application/problem+json") != std::string::npos);
      CHECK(server.is_send_closed());
      server.receive(kGet, kStart);
      CHECK_FALSE(server.poll_request());
      CHECK(server.to_send().empty());
      server.handle_timeout(kStart + seconds(2));
      CHECK(server.is_over());
    }
  }
}

TEST_CASE("forms that look odd but have one meaning are accepted") {
  struct Row {
    std::string_view text;
    std::string_view authority;
    std::string_view path;
  };
  const std::vector<Row> rows = {
      {"GET https://A.test:443/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test", "/x"},
      {"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test", "*"},
      {"GET //b.test/ HTTP/1.1\r\nHost: [fd00::1]:8443\r\n\r\n", "[fd00::1]:8443", "//b.test/"},
      {"\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test", "/"},
      {"GET / HTTP/1.1\r\nhOsT:a.test\r\nX: \xc3\xa4\r\n\r\n", "a.test", "/"},
      {"DELETE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", "a.test", "/"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    Http1Server server({}, kStart);
    feed_bytewise(server, row.text);
    const auto request = server.poll_request();
    REQUIRE(request);
    CHECK(request->request.authority == row.authority);
    CHECK(request->request.path == row.path);
  }
}

TEST_CASE("a head of head_size_max bytes and fields_max fields is read, a larger one is not") {
  const Http1Server::Limits limits{.head = {.head_size_max = 1000, .fields_max = 10}};
  const std::string begin = "GET / HTTP/1.1\r\nHost: a.test\r\nX: ";
  const auto head_of = [&](std::size_t size) {
    return begin + std::string(size - begin.size() - 4, 'x') + "\r\n\r\n";
  };
  const auto fields_of = [](std::size_t count) {
    std::string text = "GET / HTTP/1.1\r\nHost: a.test\r\n";
    for (std::size_t i = 1; i < count; ++i) text += "a: b\r\n";
    return text + "\r\n";
  };
  const auto answer_to = [&](const std::string& text) {
    Http1Server server(limits, kStart);
    server.receive(text, kStart);
    return server.poll_request() ? "accepted" : status_line_of(drain(server));
  };
  const std::string refused = "HTTP/1.1 431 Request Header Fields Too Large";
  CHECK(answer_to(head_of(1000)) == "accepted");
  CHECK(answer_to(head_of(1001)) == refused);
  CHECK(answer_to(head_of(50'000)) == refused);
  CHECK(answer_to(fields_of(10)) == "accepted");
  CHECK(answer_to(fields_of(11)) == refused);
  CHECK(answer_to(std::string(2000, '\n')) == refused);
  std::string empty_lines;
  for (int i = 0; i < 600; ++i) empty_lines += "\r\n";
  CHECK(answer_to(empty_lines) == refused);
}

TEST_CASE("a body of body_size_max bytes is read, a larger one is not, however it is framed") {
  const Http1Server::Limits limits{.body_size_max = 8};
  const auto answer_to = [&](const std::string& framing) {
    Http1Server server(limits, kStart);
    server.receive("POST / HTTP/1.1\r\nHost: a.test\r\n" + framing, kStart);
    return server.poll_request() ? "accepted" : status_line_of(drain(server));
  };
  const std::string refused = "HTTP/1.1 413 Content Too Large";
  CHECK(answer_to("Content-Length: 8\r\n\r\n12345678") == "accepted");
  CHECK(answer_to("Content-Length: 9\r\n\r\n") == refused);
  CHECK(answer_to("Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n") == "accepted");
  CHECK(answer_to("Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n1\r\n9") == refused);
}

TEST_CASE("chunk extensions and trailers cannot go on for ever") {
  for (const std::string_view beginning : {"1;x=", "0\r\nX: "}) {
    Http1Server server({}, kStart);
    server.receive("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", kStart);
    server.receive(beginning, kStart);
    std::size_t sent = 0;
    while (!server.is_send_closed() && sent < 1'000'000) {
      server.receive("xxxxxxxxxx", kStart);
      sent += 10;
    }
    CHECK(sent < 40'000);
    CHECK(status_line_of(drain(server)) == "HTTP/1.1 400 Bad Request");
  }
}

TEST_CASE("a body in one-byte chunks is read") {
  Http1Server server({}, kStart);
  server.receive("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", kStart);
  for (int i = 0; i < 100'000; ++i) server.receive("1\r\nx\r\n", kStart);
  server.receive("0\r\n\r\n", kStart);
  const auto request = server.poll_request();
  REQUIRE(request);
  CHECK(request->body.size() == 100'000);
}

TEST_CASE("slow heads, slow bodies and silent connections end at their deadlines") {
  const Http1Server::Limits limits{.head_timeout = seconds(10),
                                   .body_timeout = seconds(30),
                                   .idle_timeout = seconds(60),
                                   .send_timeout = seconds(300)};
  SECTION("a connection without a byte is closed without a word") {
    Http1Server server(limits, kStart);
    CHECK(server.next_deadline() == kStart + seconds(10));
    server.handle_timeout(kStart + seconds(10) - milliseconds(1));
    CHECK_FALSE(server.is_over());
    server.handle_timeout(kStart + seconds(10));
    CHECK(server.is_over());
    CHECK(server.to_send().empty());
  }
  SECTION("a byte now and then does not prolong a head") {
    Http1Server server(limits, kStart);
    for (int i = 0; i < 9; ++i) server.receive("G", kStart + seconds(i));
    Http1Server slow(limits, kStart);
    slow.receive("GET", kStart + seconds(9));
    CHECK(slow.next_deadline() == kStart + seconds(10));
    slow.handle_timeout(kStart + seconds(10));
    CHECK(status_line_of(drain(slow)) == "HTTP/1.1 408 Request Timeout");
  }
  SECTION("a body has its time from the end of the head") {
    Http1Server server(limits, kStart);
    server.receive("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n",
                   kStart + seconds(5));
    server.receive("x", kStart + seconds(30));
    CHECK(server.next_deadline() == kStart + seconds(35));
    server.handle_timeout(kStart + seconds(35));
    CHECK(status_line_of(drain(server)) == "HTTP/1.1 408 Request Timeout");
  }
  SECTION("an answer may take as long as its author wants") {
    Http1Server server(limits, kStart);
    server.receive(kGet, kStart);
    REQUIRE(server.poll_request());
    CHECK_FALSE(server.next_deadline());
  }
  SECTION("between requests a connection may idle, and a new head has its own time") {
    Http1Server server(limits, kStart);
    server.receive(kGet, kStart);
    REQUIRE(server.poll_request());
    server.respond({.status = 204}, "", true, kStart + seconds(1));
    (void)drain(server, kStart + seconds(1));  // The text is of no interest here.
    CHECK(server.next_deadline() == kStart + seconds(61));
    server.receive("G", kStart + seconds(60));
    CHECK(server.next_deadline() == kStart + seconds(70));
    server.handle_timeout(kStart + seconds(61));
    CHECK_FALSE(server.is_over());
  }
}

TEST_CASE(
    "a client that reads nothing is cut off by time, and a watcher by the size of its queue") {
  Http1Server server({.queued_size_max = 1000, .send_timeout = seconds(30)}, kStart);
  server.receive(kGet, kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200}, "", false, kStart);
  CHECK(server.next_deadline() == kStart + seconds(30));
  server.sent(1, kStart + seconds(20));
  CHECK(server.next_deadline() == kStart + seconds(50));
  (void)drain(server);
  CHECK_FALSE(server.next_deadline());

  CHECK(server.append(std::string(500, 'x'), kStart));
  const std::size_t queued = server.to_send().size();
  CHECK(server.append(std::string(1000 - queued, 'x'), kStart));
  CHECK_FALSE(server.append(std::string(1000, 'x'), kStart));
  CHECK(server.is_over());
  CHECK(server.to_send().empty());
}

TEST_CASE("a response that would split into two is not sent") {
  for (const Response& response : {Response{.status = 200, .fields = {{"x", "a\r\nb: c"}}},
                                   Response{.status = 200, .fields = {{"x\r\ny", "a"}}},
                                   Response{.status = 200, .fields = {{"X", "a"}}},
                                   Response{.status = 200, .fields = {{"", "a"}}},
                                   Response{.status = 200, .fields = {{"x", std::string("\0", 1)}}},
                                   Response{.status = 101}, Response{.status = 1000}}) {
    Http1Server server({}, kStart);
    server.receive(kGet, kStart);
    REQUIRE(server.poll_request());
    server.respond(response, "body", true, kStart);
    CHECK(status_line_of(drain(server)) == "HTTP/1.1 500 Internal Server Error");
  }
}

TEST_CASE("framing fields of a response are the transport's own") {
  Http1Server server({}, kStart);
  server.receive(kGet, kStart);
  REQUIRE(server.poll_request());
  server.respond({.status = 200,
                  .fields = {{"content-length", "99"},
                             {"transfer-encoding", "chunked"},
                             {"connection", "close"}}},
                 "ok", true, kStart);
  CHECK(drain(server) == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

}  // namespace
}  // namespace zt::http
