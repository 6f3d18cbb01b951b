// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/jwk.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "fixture.h"

namespace zt::grant {
namespace {

using test::key_set;
using test::signing_key;

// RFC 8037 appendix A.2 and A.3.
constexpr std::string_view kX = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
constexpr std::string_view kKid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

std::string jwk(std::string_view more = "") {
  return R"({"kty":"OKP","crv":"Ed25519","x":")" + std::string(kX) + R"(","kid":")" +
         std::string(kKid) + "\"" + std::string(more) + "}";
}

std::string jwks(std::string_view keys) {
  return R"({"keys":[)" + std::string(keys) + "]}";
}

TEST_CASE("the thumbprint of RFC 8037 appendix A.3 is a key's name", "[rfc7638-3][rfc8037-a.3]") {
  const crypto::PublicKey key{crypto::PublicKeyBytes::parse(kX).value()};
  CHECK(thumbprint(key).to_text() == kKid);
}

TEST_CASE("a key set survives its text") {
  KeySet keys;
  for (const char seed : {'a', 'b', 'c'}) CHECK(keys.add(signing_key(seed).public_key()));
  const auto parsed = KeySet::parse(keys.to_json());
  REQUIRE(parsed);
  CHECK(*parsed == keys);
  CHECK(KeySet::parse(KeySet().to_json())->is_empty());
}

TEST_CASE("a key is found by its thumbprint and gone when removed") {
  KeySet keys = key_set(signing_key('a'));
  const Digest kid = thumbprint(signing_key('a').public_key());
  REQUIRE(keys.find(kid) != nullptr);
  CHECK(*keys.find(kid) == signing_key('a').public_key());
  CHECK(keys.find(thumbprint(signing_key('b').public_key())) == nullptr);
  keys.remove(kid);
  CHECK(keys.find(kid) == nullptr);
}

TEST_CASE("a set of keys takes sixteen keys and no seventeenth") {
  KeySet keys;
  for (char seed = 'a'; seed < 'a' + 16; ++seed) CHECK(keys.add(signing_key(seed).public_key()));
  CHECK_FALSE(keys.add(signing_key('Z').public_key()));
  CHECK(keys.add(signing_key('a').public_key()));  // Known: nothing changes.
  CHECK(keys.size() == KeySet::kKeysMax);
  CHECK(KeySet::parse(keys.to_json()));

  std::string many = R"({"kty":"RSA"})";
  for (int i = 1; i < 16; ++i) many += R"(,{"kty":"RSA"})";
  CHECK(KeySet::parse(jwks(many)));
  CHECK(KeySet::parse(jwks(many + R"(,{"kty":"RSA"})")).error() == KeySetError::too_large);
}

TEST_CASE("the text of a key set is read up to its limit and not beyond") {
  std::string text = jwks(jwk());
  text.resize(KeySet::kKeySetSizeMax, ' ');
  CHECK(KeySet::parse(text));
  text += ' ';
  CHECK(KeySet::parse(text).error() == KeySetError::too_large);
}

TEST_CASE("keys of other types are passed over", "[rfc7517-5]") {
  const auto keys =
      KeySet::parse(jwks(R"({"kty":"EC","crv":"P-256"},{"kty":"OKP","crv":"X25519"},)" +
                         jwk(R"(,"use":"sig","alg":"EdDSA","other":1)")));
  REQUIRE(keys);
  CHECK(keys->size() == 1);
}

TEST_CASE("a set with a key that must not be believed is refused whole") {
  const std::string good = jwk();
  const std::vector<std::string> texts = {
      "",
      "null",
      "[]",
      "{}",
      R"({"keys":{}})",
      R"({"keys":[1]})",
      R"({"keys":[{}]})",
      jwks(good) + "x",
      jwks(good + "," + good),
      jwks(jwk(R"(,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")")),
      jwks(jwk(R"(,"use":"enc")")),
      jwks(jwk(R"(,"use":null)")),
      jwks(jwk(R"(,"alg":"none")")),
      jwks(jwk(R"(,"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")")),
      jwks(test::replaced(good, "kPrK", "kPrL")),
      jwks(test::replaced(good, "11qY", "11qZ")),
      jwks(test::replaced(good, "URo\"", "URp\"")),
      jwks(test::replaced(good, "URo\"", "URo=\"")),
      jwks(test::replaced(good, "URo\"", "\"")),
      jwks(test::replaced(good, R"("x")", R"("y")")),
      jwks(test::replaced(good, R"("kid")", R"("kie")")),
      R"({"keys":[],"keys":[)" + good + "]}",
  };
  for (const std::string& text : texts) {
    INFO(text);
    CHECK(KeySet::parse(text).error() == KeySetError::malformed);
  }
}

}  // namespace
}  // namespace zt::grant
