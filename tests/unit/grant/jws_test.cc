// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/jws.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "fixture.h"

namespace zt::grant {
namespace {

using test::key_set;
using test::sign_raw;
using test::signing_key;

constexpr JwsExpectations kExpected{.type = "zt-test+jwt"};
constexpr std::string_view kPayload = R"({"a":1})";

std::string kid() {
  return thumbprint(signing_key('a').public_key()).to_text();
}

std::string header(std::string_view more = "") {
  return R"({"alg":"EdDSA","kid":")" + kid() + R"(","typ":"zt-test+jwt")" + std::string(more) + "}";
}

JwsError error_of(std::string_view token) {
  const auto result = verify_jws(token, kExpected, key_set(signing_key('a')));
  INFO(token);
  REQUIRE_FALSE(result);
  return result.error();
}

TEST_CASE("what was signed is read again") {
  const std::string token = sign_jws(kExpected.type, kPayload, signing_key('a'));
  CHECK(token == sign_raw(header(), kPayload, signing_key('a')));
  CHECK(verify_jws(token, kExpected, key_set(signing_key('a'))) == std::string(kPayload));
  CHECK(key_id_of_jws(token, kExpected) == thumbprint(signing_key('a').public_key()));
  const std::string empty = sign_jws(kExpected.type, "", signing_key('a'));
  CHECK(verify_jws(empty, kExpected, key_set(signing_key('a'))) == std::string());
}

TEST_CASE("a token signed with the old or the new key is read while both are in the set") {
  KeySet keys = key_set(signing_key('a'));
  REQUIRE(keys.add(signing_key('b').public_key()));
  CHECK(verify_jws(sign_jws(kExpected.type, "old", signing_key('a')), kExpected, keys));
  CHECK(verify_jws(sign_jws(kExpected.type, "new", signing_key('b')), kExpected, keys));
  keys.remove(thumbprint(signing_key('a').public_key()));
  CHECK(verify_jws(sign_jws(kExpected.type, "old", signing_key('a')), kExpected, keys).error() ==
        JwsError::unknown_key);
}

TEST_CASE("only EdDSA is an algorithm", "[rfc8725-2.1]") {
  for (const std::string_view algorithm :
       {"none", "None", "", "HS256", "ES256", "RS256", "Ed25519", "eddsa"}) {
    const std::string text =
        test::replaced(header(), "\"EdDSA\"", "\"" + std::string(algorithm) + "\"");
    CHECK(error_of(sign_raw(text, kPayload, signing_key('a'))) == JwsError::wrong_algorithm);
  }
  CHECK(error_of(sign_raw(test::replaced(header(), "\"EdDSA\"", "[\"EdDSA\"]"), kPayload,
                          signing_key('a'))) == JwsError::wrong_algorithm);
}

TEST_CASE("alg none without a signature opens nothing") {
  const std::string head = test::replaced(header(), "EdDSA", "none");
  const std::string token = to_base64url(as_bytes(head)) + "." + to_base64url(as_bytes(kPayload));
  CHECK(error_of(token + ".") == JwsError::wrong_algorithm);
  CHECK(error_of(token) == JwsError::malformed);
}

TEST_CASE("a public key is no HMAC secret") {
  const crypto::PublicKey key = signing_key('a').public_key();
  const std::string head = test::replaced(header(), "EdDSA", "HS256");
  const std::string input = to_base64url(as_bytes(head)) + "." + to_base64url(as_bytes(kPayload));
  const Digest tag = crypto::hmac_sha256(key.raw.bytes, as_bytes(input));
  CHECK(error_of(input + "." + tag.to_text()) == JwsError::wrong_algorithm);
}

TEST_CASE("a token of another type is refused", "[rfc8725-3.11]") {
  for (const std::string_view type :
       {"zt-other+jwt", "ZT-TEST+JWT", "JWT", "", "zt-test+jwt ", "application/zt-test+jwt"}) {
    CHECK(error_of(sign_jws(type, kPayload, signing_key('a'))) == JwsError::wrong_type);
  }
}

TEST_CASE("a token signed with an unknown key is refused") {
  CHECK(error_of(sign_jws(kExpected.type, kPayload, signing_key('b'))) == JwsError::unknown_key);
  for (const std::string& bad : {std::string(), kid().substr(1), kid() + "A"}) {
    const std::string head = test::replaced(header(), kid(), bad);
    CHECK(error_of(sign_raw(head, kPayload, signing_key('a'))) == JwsError::unknown_key);
  }
}

TEST_CASE("a token that names our key but is signed with another is refused") {
  CHECK(error_of(sign_raw(header(), kPayload, signing_key('b'))) == JwsError::bad_signature);
}

TEST_CASE("a header has exactly the members that we write", "[rfc7515-4.1.11]") {
  const std::string x = signing_key('b').public_key().raw.to_text();
  for (const std::string& more : std::vector<std::string>{
           R"(,"crit":["exp"])", R"(,"b64":false)", R"(,"jku":"https://evil.test/jwks")",
           R"(,"jwk":{"kty":"OKP","crv":"Ed25519","x":")" + x + R"("})", R"(,"x5c":["AA"])",
           R"(,"x5u":"https://evil.test")", R"(,"zip":"DEF")", R"(,"cty":"JWT")"}) {
    CHECK(error_of(sign_raw(header(more), kPayload, signing_key('a'))) == JwsError::wrong_header);
  }
  for (const std::string_view head :
       {R"({})", R"({"alg":"EdDSA"})", R"({"alg":"EdDSA","typ":"zt-test+jwt"})"}) {
    CHECK(error_of(sign_raw(head, kPayload, signing_key('a'))) == JwsError::wrong_header);
  }
}

TEST_CASE("a header is one strict JSON object") {
  for (const std::string& head : std::vector<std::string>{
           "", "[]", "1", "null", header() + "{}", header() + "x", header(R"(,"alg":"EdDSA")"),
           header(R"(,"typ":"zt-test+jwt")"), header().substr(0, header().size() - 1),
           header(R"(,"x":)" + std::string(17, '[') + std::string(17, ']'))}) {
    CHECK(error_of(sign_raw(head, kPayload, signing_key('a'))) == JwsError::malformed);
  }
}

TEST_CASE("a header is read up to its limit and not beyond") {
  const auto padded = [](std::size_t encoded_size) {
    std::string text = header();
    text.resize(encoded_size / 4 * 3, ' ');
    return sign_raw(text, kPayload, signing_key('a'));
  };
  CHECK(verify_jws(padded(kJwsHeaderSizeMax), kExpected, key_set(signing_key('a'))));
  CHECK(error_of(padded(kJwsHeaderSizeMax + 4)) == JwsError::malformed);
}

TEST_CASE("a token is read up to its limit and not beyond") {
  const auto sized = [](std::size_t size) {
    return sign_jws(kExpected.type, std::string(size, 'p'), signing_key('a'));
  };
  const std::string fits = sized(9000);
  const JwsExpectations exact{.type = kExpected.type, .size_max = fits.size()};
  CHECK(verify_jws(fits, exact, key_set(signing_key('a'))));
  CHECK(verify_jws(sized(9001), exact, key_set(signing_key('a'))).error() == JwsError::too_large);
  CHECK(error_of(sized(kTokenSizeMax)) == JwsError::too_large);
}

TEST_CASE("a token has one spelling", "[rfc7515-5.2]") {
  const std::string token = sign_jws(kExpected.type, kPayload, signing_key('a'));
  const std::size_t first = token.find('.');
  const std::size_t second = token.find('.', first + 1);
  const std::string head = token.substr(0, first);
  const std::string body = token.substr(first + 1, second - first - 1);
  const std::string signature = token.substr(second + 1);

  // 64 bytes end in a character with four unused bits; any of them set is another spelling.
  std::string loose = signature;
  loose.back() = static_cast<char>(loose.back() + 1);
  for (const std::string& bad : std::vector<std::string>{
           "", ".", "..", "...", head, head + "." + body, head + "." + body + ".",
           "." + body + "." + signature, token + ".", token + "." + signature, token + "=",
           token + "\n", token + " ", " " + token, head + "=." + body + "." + signature,
           head + "." + body + "." + loose, head + "." + body + "." + signature.substr(1),
           head + "." + body + "." + signature + "AA",
           // A JSON serialisation (RFC 7515 section 7.2) is no token.
           R"({"protected":")" + head + R"(","payload":")" + body + R"(","signature":")" +
               signature + R"("})"}) {
    CHECK(error_of(bad) == JwsError::malformed);
  }
  CHECK(error_of(head + ".." + signature) == JwsError::bad_signature);
  CHECK(error_of(head + "." + body + "=." + signature) == JwsError::bad_signature);
}

TEST_CASE("a payload that is no base64url is refused although it is signed") {
  const std::string input = to_base64url(as_bytes(header())) + ".!";
  const crypto::Signature signature = signing_key('a').sign(as_bytes(input));
  CHECK(error_of(input + "." + signature.to_text()) == JwsError::malformed);
}

TEST_CASE("RFC 8037's own token lacks what we demand", "[rfc8037-a.4]") {
  CHECK(error_of("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1"
                 "PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg") ==
        JwsError::wrong_header);
}

TEST_CASE("every error has a text of its own") {
  CHECK(to_text(JwsError::bad_signature) == "the token's signature is wrong");
  CHECK(to_text(JwsError::unknown_key) != to_text(JwsError::wrong_type));
}

}  // namespace
}  // namespace zt::grant
