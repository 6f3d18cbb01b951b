// SPDX-License-Identifier: Apache-2.0
#include "zt/http/url.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace zt::http {
namespace {

TEST_CASE("an https URL is read into host, port and path, and written in one spelling") {
  struct Row {
    std::string_view text;
    std::string_view canonical;
    std::string_view authority;
    std::uint16_t port;
    std::string_view path;
  };
  const std::vector<Row> rows = {
      {"https://zt.example.com", "https://zt.example.com/", "zt.example.com", 443, "/"},
      {"HTTPS://ZT.Example.com/", "https://zt.example.com/", "zt.example.com", 443, "/"},
      {"https://zt.example.com:443/", "https://zt.example.com/", "zt.example.com", 443, "/"},
      {"https://zt.example.com:8443/zt", "https://zt.example.com:8443/zt", "zt.example.com:8443",
       8443, "/zt"},
      {"https://10.0.0.1:1/a%20b/", "https://10.0.0.1:1/a%20b/", "10.0.0.1:1", 1, "/a%20b/"},
      {"https://[fd00::1]", "https://[fd00::1]/", "[fd00::1]", 443, "/"},
      {"https://[fd00::1]:65535/...", "https://[fd00::1]:65535/...", "[fd00::1]:65535", 65535,
       "/..."},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto url = Url::parse(row.text);
    REQUIRE(url);
    CHECK(url->to_text() == row.canonical);
    CHECK(url->authority() == row.authority);
    CHECK(url->port == row.port);
    CHECK(url->path == row.path);
    CHECK(Url::parse(url->to_text()) == url);
  }
}

TEST_CASE("whatever two parsers could read differently is no URL") {
  struct Row {
    std::string_view text;
    UrlError error;
  };
  const std::vector<Row> rows = {
      {"", UrlError::not_https},
      {"zt.example.com", UrlError::not_https},
      {"http://zt.example.com", UrlError::not_https},
      {" https://zt.example.com", UrlError::not_https},
      {"https:/zt.example.com", UrlError::not_https},
      {"https://", UrlError::host},
      {"https:///path", UrlError::host},
      {"https://:443", UrlError::host},
      {"https://user@zt.example.com", UrlError::host},
      {"https://user:pw@zt.example.com", UrlError::host},
      {"https://zt.example.com\\@evil.test", UrlError::path},
      {"https://zt example.com", UrlError::host},
      {"https://fd00::1", UrlError::host},
      {"https://[fd00::1", UrlError::host},
      {"https://[fd00::1]x", UrlError::host},
      {"https://[10.0.0.1]", UrlError::host},
      {"https://[zt.example.com]", UrlError::host},
      {"https://0x7f.1", UrlError::host},
      {"https://zt.example.com:", UrlError::port},
      {"https://zt.example.com:0", UrlError::port},
      {"https://zt.example.com:65536", UrlError::port},
      {"https://zt.example.com:+80", UrlError::port},
      {"https://zt.example.com:443:443", UrlError::host},
      {"https://zt.example.com/?a=b", UrlError::path},
      {"https://zt.example.com?a=b", UrlError::path},
      {"https://zt.example.com/#f", UrlError::path},
      {"https://zt.example.com/a b", UrlError::path},
      {"https://zt.example.com/../b", UrlError::path},
      {"https://zt.example.com/a/..", UrlError::path},
      {"https://zt.example.com/./b", UrlError::path},
      {"https://zt.example.com/%2e%2E/b", UrlError::path},
      {"https://zt.example.com/a%2f..%2fb", UrlError::path},
      {"https://zt.example.com/%", UrlError::path},
      {"https://zt.example.com/%0", UrlError::path},
      {"https://zt.example.com/%0a", UrlError::path},
      {"https://zt.example.com/%zz", UrlError::path},
      {"https://zt.example.com/\x01", UrlError::path},
      {"https://zt.example.com/\xc3\xa4", UrlError::path},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto url = Url::parse(row.text);
    REQUIRE_FALSE(url);
    CHECK(url.error() == row.error);
    CHECK_FALSE(to_text(url.error()).empty());
  }
}

TEST_CASE("a URL of kUrlSizeMax bytes is read and a longer one is not") {
  const std::string head = "https://a.test/";
  const std::string fits = head + std::string(kUrlSizeMax - head.size(), 'x');
  CHECK(Url::parse(fits));
  CHECK(Url::parse(fits + "x").error() == UrlError::too_long);
}

TEST_CASE("an authority without a port gets the default, and brackets mean IPv6") {
  CHECK(parse_host_and_port("a.test", 443)->to_text() == "a.test:443");
  CHECK(parse_host_and_port("a.test:80", 443)->to_text() == "a.test:80");
  CHECK(parse_host_and_port("[::1]", 443)->to_text() == "[::1]:443");
  CHECK(parse_host_and_port("[::1]:80", 443)->to_text() == "[::1]:80");
  for (const std::string_view text : {"", ":80", "a.test:", "::1", "[::1]80", "[::1", "a.test:80:1",
                                      "a.test, b.test", "a.test/", "user@a.test", "[a.test]:80"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_host_and_port(text, 443));
  }
}

}  // namespace
}  // namespace zt::http
