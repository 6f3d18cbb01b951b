// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/proxy_status.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/random.h"

namespace zt::wire {
namespace {

TEST_CASE("every error has the text of RFC 9209 and comes back from it", "[rfc9209-2.3]") {
  CHECK(to_text(ProxyError::dns_timeout) == "dns_timeout");
  CHECK(to_text(ProxyError::destination_ip_prohibited) == "destination_ip_prohibited");
  CHECK(to_text(ProxyError::connection_refused) == "connection_refused");
  CHECK(to_text(ProxyError::connection_limit_reached) == "connection_limit_reached");
  CHECK(to_text(ProxyError::http_request_denied) == "http_request_denied");
  CHECK(to_text(ProxyError::http_upgrade_failed) == "http_upgrade_failed");
  CHECK(to_text(ProxyError::proxy_internal_error) == "proxy_internal_error");
  CHECK(to_text(ProxyError::proxy_loop_detected) == "proxy_loop_detected");
  const auto last = static_cast<unsigned>(ProxyError::proxy_loop_detected);
  for (unsigned i = 0; i <= last; ++i) {
    const auto error = static_cast<ProxyError>(i);
    CHECK(parse_proxy_error(to_text(error)) == error);
  }
  CHECK_FALSE(parse_proxy_error("").has_value());
  CHECK_FALSE(parse_proxy_error("DNS_ERROR").has_value());
}

TEST_CASE("one member is written with what it has") {
  CHECK(to_text(ProxyStatus{.proxy = "zt-connector"}) == "zt-connector");
  CHECK(to_text(ProxyStatus{.proxy = "zt-connector",
                            .error = ProxyError::connection_refused,
                            .details = R"(said "no" \ twice)"}) ==
        R"(zt-connector; error=connection_refused; details="said \"no\" \\ twice")");
  CHECK(to_text(ProxyStatus{.proxy = "eu west", .details = "a\nb\xc3\xa9\x7f"}) ==
        R"("eu west"; details="a?b???")");
  CHECK(to_text(ProxyStatus{}) == "\"\"");
}

TEST_CASE("the examples of RFC 9209 are read", "[rfc9209-2]") {
  const auto first = parse_proxy_status("revproxy1.example.net, ExampleCDN");
  REQUIRE(first.has_value());
  CHECK(*first ==
        std::vector<ProxyStatus>{{.proxy = "revproxy1.example.net"}, {.proxy = "ExampleCDN"}});
  const auto second = parse_proxy_status("ExampleCDN; error=connection_timeout; next-hop=\"a:80\"");
  REQUIRE(second.has_value());
  CHECK(second->front().error == ProxyError::connection_timeout);
  const auto third = parse_proxy_status(
      "cdn.example.org; next-hop=backend.example.org:8001; received-status=404;"
      "details=\"Malformed response header: space before colon\"; next-protocol=h2");
  REQUIRE(third.has_value());
  CHECK(third->front().details == "Malformed response header: space before colon");
}

TEST_CASE("parameters of every type are skipped", "[rfc8941-4.2]") {
  const auto members = parse_proxy_status(
      "  \"a b\";a;b=1;c=-1.5;d=?0;e=:aGk=:;f=*tok/en;g=\"x\\\"y\\\\\"; *k_-.*=2;error=dns_error "
      ",\tb ");
  REQUIRE(members.has_value());
  CHECK(*members ==
        std::vector<ProxyStatus>{{.proxy = "a b", .error = ProxyError::dns_error}, {.proxy = "b"}});
  CHECK(parse_proxy_status("")->empty());
}

TEST_CASE("of repeated parameters the last counts", "[rfc8941-4.2.3.2]") {
  CHECK(parse_proxy_status("a;error=dns_error;error=dns_timeout")->front().error ==
        ProxyError::dns_timeout);
  CHECK_FALSE(parse_proxy_status("a;error=dns_error;error=new_error")->front().error.has_value());
  CHECK_FALSE(parse_proxy_status("a;error=dns_error;error=1")->front().error.has_value());
  CHECK(parse_proxy_status("a;details=\"x\";details")->front().details.empty());
}

TEST_CASE("a malformed field is refused as a whole", "[rfc8941-4.2]") {
  for (const std::string_view field : {"a,",
                                       ",a",
                                       "a,,b",
                                       "a b",
                                       "a;",
                                       "a; ",
                                       "a;B=1",
                                       "a;b=",
                                       "a;b= 1",
                                       "a ;b=1",
                                       "a;b=\"",
                                       "a;b=\"\\x\"",
                                       "a;b=\"\x80\"",
                                       "a;b=\"\n\"",
                                       "a;b=:a",
                                       "a;b=?2",
                                       "a;b=1.",
                                       "a;b=1.0000",
                                       "a;b=--1",
                                       "a;b=1234567890123456",
                                       "a;b=1234567890123.1",
                                       "(a b)",
                                       "1",
                                       "?1",
                                       ":aGk=:",
                                       "a\tb",
                                       "\"a",
                                       "\t"}) {
    CAPTURE(field);
    CHECK_FALSE(parse_proxy_status(field).has_value());
  }
}

TEST_CASE("limits of members, parameters and size") {
  const auto repeat = [](std::string_view text, std::size_t count) {
    std::string repeated;
    for (std::size_t i = 0; i < count; ++i) repeated.append(text);
    return repeated;
  };
  CHECK(parse_proxy_status(repeat("a,", kProxyStatusMembersMax - 1) + "a").has_value());
  CHECK_FALSE(parse_proxy_status(repeat("a,", kProxyStatusMembersMax) + "a").has_value());
  CHECK(parse_proxy_status("a" + repeat(";b", kProxyStatusParametersMax)).has_value());
  CHECK_FALSE(parse_proxy_status("a" + repeat(";b", kProxyStatusParametersMax + 1)).has_value());
  CHECK(parse_proxy_status(std::string(kProxyStatusSizeMax, 'a')).has_value());
  CHECK_FALSE(parse_proxy_status(std::string(kProxyStatusSizeMax + 1, 'a')).has_value());
}

TEST_CASE("a written member is read as itself", "[property]") {
  constexpr std::uint64_t kSeed = 9209;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  const auto draw = [&random] {
    std::string text;
    for (std::uint64_t i = random.below(20); i > 0; --i) {
      text.push_back(static_cast<char>(' ' + random.below(95)));
    }
    return text;
  };
  for (int round = 0; round < 5000; ++round) {
    const ProxyStatus status{
        .proxy = draw(), .error = static_cast<ProxyError>(random.below(32)), .details = draw()};
    const std::string text = to_text(status);
    CAPTURE(text);
    REQUIRE(parse_proxy_status(text) == std::vector{status});
    REQUIRE(parse_proxy_status(text + ", " + text) == std::vector{status, status});
  }
}

}  // namespace
}  // namespace zt::wire
