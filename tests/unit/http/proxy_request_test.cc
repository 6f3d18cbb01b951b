// SPDX-License-Identifier: Apache-2.0
#include "http/proxy_request.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace zt::http {
namespace {

std::optional<ProxyOutcome> read_bytewise(std::string_view text) {
  ProxyRequestReader reader;
  for (const char& c : text) {
    if (auto outcome = reader.receive({&c, 1})) return outcome;
  }
  return std::nullopt;
}

TEST_CASE("CONNECT names its target, and what follows the head belongs to the target") {
  ProxyRequestReader reader;
  const auto outcome = reader.receive(
      "CONNECT db.internal:5432 HTTP/1.1\r\nHost: other:1\r\nProxy-Authorization: Basic eA==\r\n"
      "\r\n\x16\x03\x01 early");
  REQUIRE(outcome);
  const auto* connect = std::get_if<ProxyConnect>(&*outcome);
  REQUIRE(connect != nullptr);
  CHECK(connect->target.to_text() == "db.internal:5432");
  CHECK(connect->early == "\x16\x03\x01 early");
}

TEST_CASE("CONNECT is read a byte at a time, from HTTP/1.0 too, for names and addresses") {
  for (const std::string_view target : {"db.internal:5432", "10.0.0.1:22", "[fd00::1]:443"}) {
    for (const std::string_view version : {"1.0", "1.1"}) {
      const std::string head =
          "CONNECT " + std::string(target) + " HTTP/" + std::string(version) + "\r\n\r\n";
      CAPTURE(head);
      const auto outcome = read_bytewise(head);
      REQUIRE(outcome);
      const auto* connect = std::get_if<ProxyConnect>(&*outcome);
      REQUIRE(connect != nullptr);
      CHECK(connect->target.to_text() == target);
      CHECK(connect->early.empty());
    }
  }
}

TEST_CASE("anything but a well-formed CONNECT is refused with a whole answer") {
  struct Row {
    std::string_view text;
    int status;
  };
  const std::vector<Row> rows = {
      {"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 405},
      {"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc", 405},
      {"CONNECT db.internal HTTP/1.1\r\n\r\n", 400},
      {"CONNECT db.internal:0 HTTP/1.1\r\n\r\n", 400},
      {"CONNECT db.internal:99999 HTTP/1.1\r\n\r\n", 400},
      {"CONNECT fd00::1:443 HTTP/1.1\r\n\r\n", 400},
      {"CONNECT user@db.internal:22 HTTP/1.1\r\n\r\n", 400},
      {"CONNECT db.internal:22/ HTTP/1.1\r\n\r\n", 400},
      {"CONNECT db.internal:22 HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 400},
      {"CONNECT db.internal:22 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"CONNECT db.internal:22 HTTP/2.0\r\n\r\n", 505},
      {"CONNECT  db.internal:22 HTTP/1.1\r\n\r\n", 400},
      {"\x05\x01\x00", 400},              // SOCKS5
      {"\x16\x03\x01\x02\x00\x01", 400},  // TLS
      {"SSH-2.0-OpenSSH_9.2\r\n", 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto outcome = read_bytewise(row.text);
    REQUIRE(outcome);
    const auto* refusal = std::get_if<ProxyRefusal>(&*outcome);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->status == row.status);
    CHECK(refusal->answer.starts_with("HTTP/1.1 " + std::to_string(row.status) + " "));
    CHECK(refusal->answer.find("connection: close\r\n") != std::string::npos);
    CHECK(refusal->answer.ends_with("\n"));
  }
}

TEST_CASE("a head of head_size_max bytes is read and a longer one is refused") {
  const std::string begin = "CONNECT a.test:1 HTTP/1.1\r\nx: ";
  const std::string end = "\r\n\r\n";
  const std::string fits =
      begin + std::string(kProxyHeadSizeMax - begin.size() - end.size(), 'x') + end;
  ProxyRequestReader reader;
  const auto outcome = reader.receive(fits);
  REQUIRE(outcome);
  CHECK(std::holds_alternative<ProxyConnect>(*outcome));

  ProxyRequestReader full;
  const auto refused = full.receive(begin + "x" + fits.substr(begin.size()));
  REQUIRE(refused);
  REQUIRE(std::holds_alternative<ProxyRefusal>(*refused));
  CHECK(std::get<ProxyRefusal>(*refused).status == 431);
}

TEST_CASE("the answers of the proxy carry the connector's outcome") {
  CHECK(proxy_established() == "HTTP/1.1 200 Connection established\r\n\r\n");
  const std::string answer = proxy_failure(403, "denied by rule rul_1", "zt-connector; error=x");
  CHECK(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"));
  CHECK(answer.find("\r\nproxy-status: zt-connector; error=x\r\n") != std::string::npos);
  CHECK(answer.ends_with("\r\n\r\ndenied by rule rul_1\n"));
  CHECK(proxy_failure(502, "x", "a\r\nb: c").find("proxy-status") == std::string::npos);
}

}  // namespace
}  // namespace zt::http
