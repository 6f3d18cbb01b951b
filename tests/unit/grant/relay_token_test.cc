// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/relay_token.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"

namespace zt::grant {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::digest;
using test::id;
using test::key_set;
using test::kNow;
using test::sign_raw;
using test::signing_key;

RelayToken sample() {
  RouteId route;
  route.bytes.fill(std::byte{9});
  return {
      .tenant = id<TenantIdTag>(1),
      .route = route,
      .node_certificate = digest(7),
      .issued_at = kNow,
      .not_before = kNow,
      .expires_at = kNow + hours(1),
  };
}

RelayTokenExpectations expectations() {
  return {.node_certificate = digest(7), .now = kNow};
}

// tenants: the first signs with key 'a', the second with key 'b'.
TenantKeys tenants() {
  return {{id<TenantIdTag>(1), key_set(signing_key('a'))},
          {id<TenantIdTag>(2), key_set(signing_key('b'))}};
}

std::string token_of(const RelayToken& token, char key = 'a') {
  return std::string(issue(token, signing_key(key)).value().reveal());
}

std::string header() {
  return R"({"alg":"EdDSA","kid":")" + thumbprint(signing_key('a').public_key()).to_text() +
         R"(","typ":"zt-relay+jwt"})";
}

std::string resigned(std::string_view from, std::string_view to) {
  return sign_raw(header(), test::replaced(test::payload_of(token_of(sample())), from, to),
                  signing_key('a'));
}

RelayTokenError error_of(std::string_view token,
                         const RelayTokenExpectations& expected = expectations()) {
  const auto result = verify(token, tenants(), expected);
  REQUIRE_FALSE(result);
  return result.error();
}

TEST_CASE("a relay token survives, and says nothing more than it must") {
  const std::string token = token_of(sample());
  CHECK(verify(token, tenants(), expectations()) == sample());
  CHECK(test::payload_of(token) ==
        R"({"aud":"zt-relay","cnf":{"x5t#S256":")" + digest(7).to_text() +
            R"("},"exp":1800003600,"iat":1800000000,"iss":")" + id<TenantIdTag>(1).text +
            R"(","nbf":1800000000,"rid":"CQkJCQkJCQk"})");
}

TEST_CASE("a tenant binds routes for itself only") {
  RelayToken token = sample();
  token.tenant = id<TenantIdTag>(2);
  CHECK(verify(token_of(token, 'b'), tenants(), expectations()) == token);
  CHECK(error_of(token_of(token, 'a')) == RelayTokenError::wrong_tenant);
  token.tenant = id<TenantIdTag>(3);
  CHECK(error_of(token_of(token, 'a')) == RelayTokenError::wrong_tenant);
}

TEST_CASE("a relay that knows no tenant believes nobody") {
  CHECK(verify(token_of(sample()), {}, expectations()).error() == RelayTokenError::unknown_key);
}

TEST_CASE("a relay token dies at its exp and begins with a leeway") {
  const std::string token = token_of(sample());
  RelayTokenExpectations expected = expectations();
  expected.now = sample().expires_at - milliseconds(1);
  CHECK(verify(token, tenants(), expected));
  expected.now = sample().expires_at;
  CHECK(error_of(token, expected) == RelayTokenError::expired);
  expected.now = kNow - seconds(30);
  CHECK(verify(token, tenants(), expected));
  expected.now -= milliseconds(1);
  CHECK(error_of(token, expected) == RelayTokenError::not_yet_valid);
}

TEST_CASE("a relay token lives a day and no second longer") {
  RelayToken token = sample();
  token.expires_at = kNow + RelayToken::kLifetimeMax;
  CHECK(verify(token_of(token), tenants(), expectations()));
  token.expires_at += seconds(1);
  CHECK(issue(token, signing_key('a')).error() == RelayTokenError::lifetime_too_long);
  CHECK(error_of(resigned("1800003600", "1800086401")) == RelayTokenError::lifetime_too_long);
}

TEST_CASE("a relay token is bound to the node's key") {
  RelayTokenExpectations expected = expectations();
  expected.node_certificate = digest(8);
  CHECK(error_of(token_of(sample()), expected) == RelayTokenError::wrong_node_key);
}

TEST_CASE("a token that is no relay token is refused") {
  const std::string payload = test::payload_of(token_of(sample()));
  CHECK(error_of("") == RelayTokenError::malformed);
  CHECK(error_of(sign_jws("zt-grant+jwt", payload, signing_key('a'))) ==
        RelayTokenError::wrong_type);
  CHECK(error_of(sign_jws("zt-relay+jwt", payload, signing_key('c'))) ==
        RelayTokenError::unknown_key);
  CHECK(error_of(sign_raw(header(), payload, signing_key('c'))) == RelayTokenError::bad_signature);
  CHECK(error_of(resigned("\"zt-relay\"", "\"zt-other\"")) == RelayTokenError::wrong_audience);
}

TEST_CASE("a claim that is missing, unknown or of the wrong form is refused") {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"aud\"", "\"bud\""},          {"\"rid\"", "\"sid\""},
      {"\"cnf\"", "\"cng\""},          {"\"iss\"", "\"ist\""},
      {"\"iat\"", "\"jat\""},          {"\"nbf\"", "\"nbg\""},
      {"\"exp\"", "\"exq\""},          {"{", R"({"sub":"somebody",)"},
      {"{", R"({"exp":1,)"},           {"\"zt-relay\"", "[\"zt-relay\"]"},
      {"CQkJCQkJCQk", "CQkJCQkJCQ"},   {"CQkJCQkJCQk", "CQkJCQkJCQl"},
      {"CQkJCQkJCQk", "CQkJCQkJCQkJ"}, {"1800003600", "1800000000"},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(error_of(resigned(from, to)) == RelayTokenError::malformed);
  }
}

TEST_CASE("a relay token that would not be believed is not issued") {
  RelayToken token = sample();
  token.tenant = {};
  CHECK(issue(token, signing_key('a')).error() == RelayTokenError::malformed);
  CHECK(to_text(RelayTokenError::expired) == "the relay token has expired");
}

}  // namespace
}  // namespace zt::grant
