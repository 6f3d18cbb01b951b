// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/bootstrap.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"
#include "zt/grant/enrolment_token.h"
#include "zt/grant/service_key.h"

namespace zt::grant {
namespace {

using test::digest;
using test::id;

constexpr std::string_view kSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

Authority controller() {
  return Authority::parse("zt.example.com:443").value();
}

EnrolmentToken sample_token() {
  return {controller(), digest(7), Secret(kSecret), NodeKind::connector};
}

ServiceKey sample_key() {
  return {controller(), digest(7), id<KeyIdTag>(1), Secret(kSecret)};
}

std::string token_json() {
  return R"({"k":"connector","p":")" + digest(7).to_text() + R"(","s":")" + std::string(kSecret) +
         R"(","u":"https://zt.example.com"})";
}

std::string encoded(std::string_view json) {
  return "zt1." + to_base64url(as_bytes(json));
}

BootstrapError token_error(std::string_view text) {
  const auto result = EnrolmentToken::parse(Secret(text));
  REQUIRE_FALSE(result);
  return result.error();
}

BootstrapError key_error(std::string_view text) {
  const auto result = ServiceKey::parse(Secret(text));
  REQUIRE_FALSE(result);
  return result.error();
}

TEST_CASE("a controller's URL is https, a host and perhaps a port") {
  const std::vector<std::pair<std::string, std::string>> good = {
      {"https://zt.example.com", "zt.example.com:443"},
      {"https://zt.example.com:8443", "zt.example.com:8443"},
      {"https://ZT.example.com:443", "zt.example.com:443"},
      {"https://192.0.2.1", "192.0.2.1:443"},
      {"https://[2001:db8::1]", "[2001:db8::1]:443"},
      {"https://[2001:db8::1]:8443", "[2001:db8::1]:8443"},
  };
  for (const auto& [url, authority] : good) {
    INFO(url);
    const auto parsed = parse_controller_url(url);
    REQUIRE(parsed);
    CHECK(parsed->to_text() == authority);
    CHECK(parse_controller_url(to_controller_url(*parsed)) == parsed);
  }
  for (const std::string_view url :
       {"", "https://", "zt.example.com", "http://zt.example.com", "HTTPS://zt.example.com",
        "https://zt.example.com/", "https://zt.example.com/api", "https://zt.example.com?x",
        "https://zt.example.com#x", "https://user@zt.example.com", "https://zt.example.com:0",
        "https://zt.example.com:65536", "https://zt.example.com:", "https://zt.example.com:443:443",
        "https://zt.example.com ", "https:// zt.example.com", "https://2001:db8::1"}) {
    INFO(url);
    CHECK_FALSE(parse_controller_url(url));
  }
  CHECK(to_controller_url(controller()) == "https://zt.example.com");
}

TEST_CASE("a shared secret is 256 random bits") {
  SeededRandom random(1);
  const Secret one = make_shared_secret(random);
  const Secret two = make_shared_secret(random);
  CHECK(is_shared_secret(one.reveal()));
  CHECK_FALSE(one.matches(two.reveal()));
  CHECK_FALSE(is_shared_secret(""));
  CHECK_FALSE(is_shared_secret(kSecret.substr(1)));
  CHECK_FALSE(is_shared_secret(std::string(kSecret) + "A"));
  CHECK_FALSE(is_shared_secret(std::string(kSecret) + "="));
}

TEST_CASE("an enrolment token survives its text") {
  for (const NodeKind kind : {NodeKind::connector, NodeKind::relay}) {
    EnrolmentToken token = sample_token();
    token.kind = kind;
    const auto parsed = EnrolmentToken::parse(token.format());
    REQUIRE(parsed);
    CHECK(parsed->controller == token.controller);
    CHECK(parsed->controller_key == token.controller_key);
    CHECK(parsed->secret.matches(kSecret));
    CHECK(parsed->kind == kind);
  }
  CHECK(sample_token().format().matches(encoded(token_json())));
}

TEST_CASE("a text that is no enrolment token gets its reason") {
  const std::string good(sample_token().format().reveal());
  CHECK(token_error("") == BootstrapError::wrong_kind);
  CHECK(token_error("eyJhbGciOiJFZERTQSJ9") == BootstrapError::wrong_kind);
  CHECK(token_error(" " + good) == BootstrapError::wrong_kind);
  CHECK(token_error("ZT1" + good.substr(3)) == BootstrapError::wrong_kind);
  CHECK(token_error("zt." + good.substr(4)) == BootstrapError::wrong_kind);
  CHECK(token_error("ztx." + good.substr(4)) == BootstrapError::wrong_kind);
  CHECK(token_error("zt2." + good.substr(4)) == BootstrapError::unsupported_version);
  CHECK(token_error("zt10." + good.substr(4)) == BootstrapError::unsupported_version);
  CHECK(token_error("zt1.") == BootstrapError::malformed);
  CHECK(token_error(good + "\n") == BootstrapError::malformed);
  CHECK(token_error(encoded(test::replaced(token_json(), "https", "http"))) ==
        BootstrapError::wrong_url);
}

TEST_CASE("an enrolment token that was cut off anywhere is damaged") {
  const std::string good(sample_token().format().reveal());
  for (std::size_t size = 4; size < good.size(); ++size) {
    CHECK(token_error(good.substr(0, size)) == BootstrapError::malformed);
  }
}

TEST_CASE("an enrolment token has exactly its four members") {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"k\"", "\"q\""},
      {"\"p\"", "\"q\""},
      {"\"s\"", "\"q\""},
      {"\"u\"", "\"q\""},
      {"{", "{\"k\":\"relay\","},
      {"{", "{\"x\":1,"},
      {"connector", "client"},
      {digest(7).to_text(), "AAAA"},
      {std::string(kSecret), "AAAA"},
      {"\"connector\"", "1"},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(token_error(encoded(test::replaced(token_json(), from, to))) ==
          BootstrapError::malformed);
  }
}

TEST_CASE("an enrolment token is read up to its limit and not beyond") {
  const auto sized = [](std::size_t json_size) {
    std::string json = token_json();
    json.resize(json_size, ' ');
    return encoded(json);
  };
  const std::size_t fits = (kEnrolmentTokenSizeMax - 4) / 4 * 3;
  CHECK(EnrolmentToken::parse(Secret(sized(fits))));
  CHECK(token_error(sized(fits + 1)) == BootstrapError::malformed);
}

TEST_CASE("a service key survives its file") {
  const auto parsed = ServiceKey::parse(sample_key().format());
  REQUIRE(parsed);
  CHECK(parsed->controller == controller());
  CHECK(parsed->controller_key == digest(7));
  CHECK(parsed->id == id<KeyIdTag>(1));
  CHECK(parsed->secret.matches(kSecret));
}

TEST_CASE("a service key's file is JSON for people") {
  CHECK(sample_key().format().reveal() ==
        "{\n  \"key_id\": \"" + id<KeyIdTag>(1).text + "\",\n  \"pin\": \"" + digest(7).to_text() +
            "\",\n  \"secret\": \"" + std::string(kSecret) +
            "\",\n  \"url\": \"https://zt.example.com\",\n  \"zt\": \"service-key\"\n}\n");
}

TEST_CASE("a text that is no service key gets its reason") {
  const std::string good(sample_key().format().reveal());
  CHECK(key_error("") == BootstrapError::malformed);
  CHECK(key_error("{}") == BootstrapError::wrong_kind);
  CHECK(key_error("[]") == BootstrapError::wrong_kind);
  CHECK(key_error(R"({"type":"service_account"})") == BootstrapError::wrong_kind);
  CHECK(key_error(test::replaced(good, "https", "http")) == BootstrapError::wrong_url);
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"pin\"", "\"pim\""},
      {"\"url\"", "\"uri\""},
      {"{", "{\"x\":1,"},
      {"{", "{\"zt\":\"service-key\","},
      {id<KeyIdTag>(1).text, "key_1"},
      {digest(7).to_text(), "AAAA"},
      {std::string(kSecret), "AAAA"},
      {"}\n", "} x"},
      {"}\n", ""},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(key_error(test::replaced(good, from, to)) == BootstrapError::malformed);
  }
}

TEST_CASE("a service key is read up to its limit and not beyond") {
  std::string text(sample_key().format().reveal());
  text.resize(kServiceKeySizeMax, ' ');
  CHECK(ServiceKey::parse(Secret(text)));
  text += ' ';
  CHECK(key_error(text) == BootstrapError::malformed);
}

}  // namespace
}  // namespace zt::grant
