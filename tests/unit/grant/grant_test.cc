// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/grant.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"

namespace zt::grant {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using test::digest;
using test::id;
using test::key_set;
using test::kNow;
using test::sign_raw;
using test::signing_key;

Host host(std::string_view text) {
  return parse_host(text).value();
}
Authority target(std::string_view text) {
  return Authority::parse(text).value();
}

Grant sample() {
  return {
      .tenant = id<TenantIdTag>(1),
      .subject = {id<ServiceAccountIdTag>(1).text},
      .device = id<DeviceIdTag>(1),
      .network = id<NetworkIdTag>(1),
      .id = id<GrantIdTag>(1),
      .issued_at = kNow,
      .not_before = kNow,
      .expires_at = kNow + minutes(5),
      .client_certificate = digest(7),
      .policy_revision = 42,
      .decision = id<DecisionIdTag>(1),
      .resource = id<ResourceIdTag>(1),
      .permissions = {{.hosts = {host("db.internal"), host("10.0.0.5")},
                       .protocols = {Protocol::tcp},
                       .ports = {{5432, 5432}, {8000, 8100}}}},
  };
}

GrantExpectations expectations() {
  const Grant grant = sample();
  return {
      .tenant = grant.tenant,
      .network = grant.network,
      .client_certificate = grant.client_certificate,
      .now = kNow,
  };
}

std::string token_of(const Grant& grant) {
  return std::string(issue(grant, signing_key('a')).value().reveal());
}

std::string header() {
  return R"({"alg":"EdDSA","kid":")" + thumbprint(signing_key('a').public_key()).to_text() +
         R"(","typ":"zt-grant+jwt"})";
}

// resigned returns the sample's token with `from` replaced in its payload and a right signature.
std::string resigned(std::string_view from, std::string_view to) {
  return sign_raw(header(), test::replaced(test::payload_of(token_of(sample())), from, to),
                  signing_key('a'));
}

GrantError error_of(std::string_view token, const GrantExpectations& expected = expectations()) {
  const auto result = verify(token, key_set(signing_key('a')), expected);
  REQUIRE_FALSE(result);
  return result.error();
}

bool is_good(std::string_view token, const GrantExpectations& expected = expectations()) {
  return verify(token, key_set(signing_key('a')), expected).has_value();
}

TEST_CASE("a grant survives its token") {
  const auto grant = verify(token_of(sample()), key_set(signing_key('a')), expectations());
  REQUIRE(grant);
  CHECK(*grant == sample());
}

TEST_CASE("a grant's token says exactly this") {
  const Grant grant = sample();
  CHECK(test::payload_of(token_of(grant)) ==
        R"({"aud":")" + grant.network.text +
            R"(","authorization_details":[{"hosts":["db.internal","10.0.0.5"],)" +
            R"("ports":["5432","8000-8100"],"protocols":["tcp"],"resource":")" +
            grant.resource.text + R"(","type":"zt-resource"}],"cnf":{"x5t#S256":")" +
            digest(7).to_text() + R"("},"dec":")" + grant.decision.text + R"(","dev":")" +
            grant.device.text + R"(","exp":1800000300,"iat":1800000000,"iss":")" +
            grant.tenant.text + R"(","jti":")" + grant.id.text +
            R"(","nbf":1800000000,"rev":42,"sub":")" + grant.subject.text + R"("})");
}

TEST_CASE("a grant dies at its exp, whatever the leeway") {
  const std::string token = token_of(sample());
  GrantExpectations expected = expectations();
  expected.now = sample().expires_at - milliseconds(1);
  CHECK(is_good(token, expected));
  expected.now = sample().expires_at;
  CHECK(error_of(token, expected) == GrantError::expired);
  expected.leeway = seconds(0);
  CHECK(error_of(token, expected) == GrantError::expired);
}

TEST_CASE("a grant may begin up to the leeway ahead of our clock") {
  const std::string token = token_of(sample());
  GrantExpectations expected = expectations();
  expected.now = kNow - seconds(30);
  CHECK(is_good(token, expected));
  expected.now -= milliseconds(1);
  CHECK(error_of(token, expected) == GrantError::not_yet_valid);

  expected.leeway = seconds(1000);  // Clamped.
  CHECK(error_of(token, expected) == GrantError::not_yet_valid);
  expected.leeway = seconds(-5);  // Clamped.
  expected.now = kNow;
  CHECK(is_good(token, expected));
  expected.now -= milliseconds(1);
  CHECK(error_of(token, expected) == GrantError::not_yet_valid);
}

TEST_CASE("nbf and iat each keep a grant shut") {
  Grant later = sample();
  later.not_before = kNow + seconds(31);
  CHECK(error_of(token_of(later)) == GrantError::not_yet_valid);
  later.not_before = kNow;
  later.issued_at = kNow + seconds(31);
  CHECK(error_of(token_of(later)) == GrantError::not_yet_valid);
}

TEST_CASE("a grant lives an hour and no second longer") {
  Grant grant = sample();
  grant.expires_at = kNow + Grant::kLifetimeMax;
  CHECK(is_good(token_of(grant)));
  grant.expires_at += seconds(1);
  CHECK(issue(grant, signing_key('a')).error() == GrantError::lifetime_too_long);
  CHECK(error_of(resigned("\"exp\":1800000300", "\"exp\":1800003601")) ==
        GrantError::lifetime_too_long);
}

TEST_CASE("a grant is for one tenant, one network and one client key") {
  const std::string token = token_of(sample());
  GrantExpectations expected = expectations();
  expected.tenant = id<TenantIdTag>(2);
  CHECK(error_of(token, expected) == GrantError::wrong_tenant);
  expected = expectations();
  expected.network = id<NetworkIdTag>(2);
  CHECK(error_of(token, expected) == GrantError::wrong_audience);
  expected = expectations();
  expected.client_certificate = digest(8);
  CHECK(error_of(token, expected) == GrantError::wrong_client_key);
}

TEST_CASE("the first thing wrong with a grant is its error") {
  Grant grant = sample();
  grant.issued_at = grant.not_before = kNow - minutes(10);
  grant.expires_at = kNow - minutes(5);
  GrantExpectations expected = expectations();
  CHECK(error_of(token_of(grant), expected) == GrantError::expired);
  expected.client_certificate = digest(8);
  CHECK(error_of(token_of(grant), expected) == GrantError::wrong_client_key);
  expected.network = id<NetworkIdTag>(2);
  CHECK(error_of(token_of(grant), expected) == GrantError::wrong_audience);
  expected.tenant = id<TenantIdTag>(2);
  CHECK(error_of(token_of(grant), expected) == GrantError::wrong_tenant);
}

TEST_CASE("the token's own errors are a grant's errors") {
  const std::string good = token_of(sample());
  const std::string payload = test::payload_of(good);
  CHECK(error_of("") == GrantError::malformed);
  CHECK(error_of(good + std::string(kTokenSizeMax, 'A')) == GrantError::too_large);
  CHECK(error_of(sign_raw(header(), payload, signing_key('b'))) == GrantError::bad_signature);
  CHECK(error_of(sign_jws("zt-grant+jwt", payload, signing_key('b'))) == GrantError::unknown_key);
  CHECK(error_of(sign_jws("zt-relay+jwt", payload, signing_key('a'))) == GrantError::wrong_type);
  CHECK(error_of(sign_raw(test::replaced(header(), "EdDSA", "none"), payload, signing_key('a'))) ==
        GrantError::wrong_algorithm);
  CHECK(error_of(sign_raw(test::replaced(header(), "{", R"({"crit":["exp"],)"), payload,
                          signing_key('a'))) == GrantError::wrong_header);
}

TEST_CASE("a grant without one of its claims is refused") {
  for (const std::string_view claim :
       {"iss", "sub", "dev", "aud", "jti", "iat", "nbf", "exp", "cnf", "rev", "dec",
        "authorization_details", "type", "resource", "hosts", "protocols", "ports", "x5t#S256"}) {
    INFO(claim);
    const std::string name = "\"" + std::string(claim) + "\":";
    CHECK(error_of(resigned(name, "\"other\":")) == GrantError::malformed);
  }
}

TEST_CASE("a grant with a claim that we do not know is refused") {
  CHECK(error_of(resigned("{", R"({"only_on_sundays":true,)")) == GrantError::malformed);
  CHECK(error_of(resigned(R"({"hosts")", R"({"actions":["read"],"hosts")")) ==
        GrantError::malformed);
  CHECK(error_of(resigned(R"({"x5t#S256")", R"({"jkt":"x","x5t#S256")")) == GrantError::malformed);
}

TEST_CASE("a grant that says one thing twice is refused") {
  CHECK(error_of(resigned("{", R"({"exp":1800003000,)")) == GrantError::malformed);
  CHECK(error_of(resigned(R"({"hosts")", R"({"hosts":["other.internal"],"hosts")")) ==
        GrantError::malformed);
}

TEST_CASE("an authorization of an unknown type is refused") {
  CHECK(error_of(resigned("zt-resource", "zt-network")) == GrantError::unknown_authorization);
  CHECK(error_of(resigned("zt-resource", "")) == GrantError::unknown_authorization);
}

TEST_CASE("a claim of the wrong form is refused") {
  const Grant grant = sample();
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"" + grant.tenant.text + "\"", "1"},
      {"\"" + grant.tenant.text + "\"", "[\"" + grant.tenant.text + "\"]"},
      {grant.tenant.text, id<NetworkIdTag>(1).text},
      {grant.subject.text, id<DeviceIdTag>(1).text},
      {grant.subject.text, "svc_admin"},
      {grant.device.text, ""},
      {"\"" + grant.network.text + "\"", "[\"" + grant.network.text + "\"]"},
      {grant.id.text, grant.id.text + "0"},
      {grant.decision.text, grant.resource.text},
      {grant.resource.text, grant.network.text},
      {digest(7).to_text(), digest(7).to_text() + "A"},
      {digest(7).to_text(), ""},
      {"\"exp\":1800000300", "\"exp\":\"1800000300\""},
      {"\"exp\":1800000300", "\"exp\":1800000300.5"},
      {"\"exp\":1800000300", "\"exp\":1.8000003e9"},
      {"\"exp\":1800000300", "\"exp\":-1"},
      {"\"exp\":1800000300", "\"exp\":null"},
      {"\"exp\":1800000300", "\"exp\":253402300800"},
      {"\"exp\":1800000300", "\"exp\":18446744073709551616"},
      {"\"exp\":1800000300", "\"exp\":1800000000"},  // Not after nbf.
      {"\"iat\":1800000000", "\"iat\":1800000300"},
      {"\"rev\":42", "\"rev\":-1"},
      {"\"rev\":42", "\"rev\":true"},
      {"\"rev\":42", "\"rev\":9007199254740992"},
      {R"(["db.internal","10.0.0.5"])", R"([])"},
      {R"(["db.internal","10.0.0.5"])", R"("db.internal")"},
      {R"("db.internal")", R"("DB.internal")"},
      {R"("db.internal")", R"("db.internal.")"},
      {R"("db.internal")", R"("*.internal")"},
      {R"("db.internal")", R"("10.0.0.0/8")"},
      {R"("db.internal")", R"("[::1]")"},
      {R"("db.internal")", R"("")"},
      {R"("db.internal")", "\"db\xFF\""},
      {R"(["tcp"])", R"([])"},
      {R"(["tcp"])", R"(["TCP"])"},
      {R"(["tcp"])", R"(["icmp"])"},
      {R"(["tcp"])", R"(["tcp","tcp"])"},
      {R"("5432")", R"(5432)"},
      {R"("5432")", R"("0")"},
      {R"("5432")", R"("65536")"},
      {R"("5432")", R"("05432")"},
      {R"("5432")", R"("5432-5432")"},
      {R"("8000-8100")", R"("8100-8000")"},
      {R"(["5432","8000-8100"])", R"([])"},
      {R"(["5432","8000-8100"])", R"("all")"},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(error_of(resigned(from, to)) == GrantError::malformed);
  }
  CHECK(is_good(resigned("\"rev\":42", "\"rev\":9007199254740991")));
  CHECK(is_good(resigned(R"(["tcp"])", R"(["udp","tcp"])")));
}

TEST_CASE("a user's grant is as good as a service account's") {
  Grant grant = sample();
  grant.subject = {id<UserIdTag>(1).text};
  CHECK(is_good(token_of(grant)));
}

TEST_CASE("each list of a grant has a limit") {
  Grant grant = sample();
  Permission permission = grant.permissions.front();
  permission.ports.assign(Grant::kPortsMax, {1, 65535});
  permission.hosts.assign(Grant::kHostsMax, host(std::string(60, 'h') + ".internal"));
  grant.permissions.assign(Grant::kPermissionsMax, permission);
  CHECK(is_good(token_of(grant)));

  const auto refused = [](const Grant& wish) {
    return issue(wish, signing_key('a')) == std::unexpected(GrantError::malformed);
  };
  Grant wish = grant;
  wish.permissions.push_back(permission);
  CHECK(refused(wish));
  wish = grant;
  wish.permissions[0].ports.push_back({1, 1});
  CHECK(refused(wish));
  wish = grant;
  wish.permissions[3].hosts.push_back(host("one.more"));
  CHECK(refused(wish));
}

TEST_CASE("the largest grant that the limits allow fits into a token") {
  Grant grant = sample();
  const std::string name = std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                           std::string(63, 'c') + "." + std::string(61, 'd');
  Permission permission;
  permission.hosts.assign(Grant::kHostsMax, host(name));
  permission.protocols = {Protocol::tcp, Protocol::udp};
  permission.ports.assign(Grant::kPortsMax, {10000, 65535});
  grant.permissions.assign(Grant::kPermissionsMax, permission);
  CHECK(token_of(grant).size() <= kTokenSizeMax);
}

TEST_CASE("a grant that would not be believed is not issued") {
  const auto refused = [](auto&& change) {
    Grant grant = sample();
    change(grant);
    return issue(grant, signing_key('a')) == std::unexpected(GrantError::malformed);
  };
  CHECK(refused([](Grant& grant) { grant.tenant = {}; }));
  CHECK(refused([](Grant& grant) { grant.subject = {"root"}; }));
  CHECK(refused([](Grant& grant) { grant.permissions.clear(); }));
  CHECK(refused([](Grant& grant) { grant.permissions[0].hosts.clear(); }));
  CHECK(refused([](Grant& grant) { grant.permissions[0].protocols.clear(); }));
  CHECK(refused([](Grant& grant) { grant.permissions[0].ports.clear(); }));
  CHECK(refused([](Grant& grant) { grant.permissions[0].ports[0] = {9, 8}; }));
  CHECK(refused([](Grant& grant) { grant.permissions[0].ports[0] = {0, 8}; }));
  CHECK(refused([](Grant& grant) { grant.expires_at = grant.not_before; }));
  CHECK(refused([](Grant& grant) { grant.issued_at = from_unix_seconds(-1); }));
}

TEST_CASE("one grant opens one resource") {
  Grant grant = sample();
  grant.permissions.push_back(
      {.hosts = {host("db.internal")}, .protocols = {Protocol::udp}, .ports = {{53, 53}}});
  const std::string token = token_of(grant);
  CHECK(verify(token, key_set(signing_key('a')), expectations()) == grant);

  const std::string two =
      test::replaced(test::payload_of(token), grant.resource.text, id<ResourceIdTag>(2).text);
  CHECK(error_of(sign_raw(header(), two, signing_key('a'))) == GrantError::malformed);
}

TEST_CASE("a grant covers its hosts, ports and protocols, and their neighbours not") {
  Grant grant = sample();
  grant.permissions.push_back(
      {.hosts = {host("db.internal")}, .protocols = {Protocol::udp}, .ports = {{53, 53}}});
  struct Row {
    std::string_view target;
    Protocol protocol;
    bool is_covered;
  };
  const std::vector<Row> rows = {
      {"db.internal:5432", Protocol::tcp, true},
      {"DB.Internal:5432", Protocol::tcp, true},  // Names have no case; both are canonical.
      {"db.internal:5431", Protocol::tcp, false},
      {"db.internal:5433", Protocol::tcp, false},
      {"db.internal:7999", Protocol::tcp, false},
      {"db.internal:8000", Protocol::tcp, true},
      {"db.internal:8100", Protocol::tcp, true},
      {"db.internal:8101", Protocol::tcp, false},
      {"db.internal:5432", Protocol::udp, false},
      {"db.internal:53", Protocol::udp, true},
      {"db.internal:53", Protocol::tcp, false},
      {"10.0.0.5:5432", Protocol::tcp, true},
      {"10.0.0.5:53", Protocol::udp, false},
      {"10.0.0.6:5432", Protocol::tcp, false},
      {"[::ffff:10.0.0.5]:5432", Protocol::tcp, false},
      {"x.db.internal:5432", Protocol::tcp, false},
      {"db.internal.evil.test:5432", Protocol::tcp, false},
      {"internal:5432", Protocol::tcp, false},
  };
  for (const Row& row : rows) {
    INFO(row.target << " " << to_text(row.protocol));
    CHECK(covers(grant, target(row.target), row.protocol) == row.is_covered);
  }
  CHECK_FALSE(covers(Grant{}, target("db.internal:5432"), Protocol::tcp));
}

TEST_CASE("every error of a grant has a text of its own") {
  CHECK(to_text(GrantError::expired) == "the grant has expired");
  CHECK(to_text(GrantError::wrong_client_key) == "the grant is bound to another client key");
}

}  // namespace
}  // namespace zt::grant
