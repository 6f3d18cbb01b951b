// SPDX-License-Identifier: Apache-2.0
#include "crypto/signing_key.h"

#include <openssl/err.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "crypto/identity.h"
#include "crypto/pem.h"
#include "zt/base/bytes.h"

namespace zt::crypto {
namespace {

// The first key of RFC 8032 section 7.1; RFC 8037 appendix A uses it too.
constexpr std::string_view kSeed =
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

SigningKey known_key() {
  const Bytes seed = from_hex(kSeed).value();
  return SigningKey::from_seed(Secret(as_text(seed))).value();
}

TEST_CASE("Ed25519 signs as RFC 8032 does", "[rfc8032-7.1]") {
  const SigningKey key = known_key();
  CHECK(to_hex(key.public_key().raw.bytes) ==
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  CHECK(to_hex(key.sign({}).bytes) ==
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b");
}

TEST_CASE("the signature of RFC 8037 appendix A.4 is made and verified", "[rfc8037-a.4]") {
  const SigningKey key = known_key();
  const std::string_view input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  const Signature signature = key.sign(as_bytes(input));
  CHECK(signature.to_text() ==
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  CHECK(key.public_key().verify(as_bytes(input), signature));
}

TEST_CASE("a signature is refused for another message, key or spelling") {
  const SigningKey key = SigningKey::create();
  const Signature signature = key.sign(as_bytes("open"));
  CHECK(key.public_key().verify(as_bytes("open"), signature));
  CHECK_FALSE(key.public_key().verify(as_bytes("opem"), signature));
  CHECK_FALSE(key.public_key().verify(as_bytes("open "), signature));
  CHECK_FALSE(SigningKey::create().public_key().verify(as_bytes("open"), signature));

  // S + L is the same scalar; RFC 8032 section 5.1.7 wants S below L.
  const Bytes order =
      from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").value();
  Signature other = signature;
  unsigned carry = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const unsigned sum = std::to_integer<unsigned>(other.bytes[32 + i]) +
                         std::to_integer<unsigned>(order[i]) + carry;
    other.bytes[32 + i] = static_cast<std::byte>(sum & 0xFFU);
    carry = sum >> 8U;
  }
  CHECK_FALSE(key.public_key().verify(as_bytes("open"), other));
}

TEST_CASE("bytes that are no point of the curve verify nothing") {
  const SigningKey key = SigningKey::create();
  PublicKey broken;
  broken.raw.bytes.fill(std::byte{0xFF});
  CHECK_FALSE(broken.verify(as_bytes("open"), key.sign(as_bytes("open"))));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("a key survives its seed and its PEM") {
  const SigningKey key = SigningKey::create();
  const auto from_seed = SigningKey::from_seed(key.seed());
  const auto from_pem = SigningKey::from_pem(key.pem());
  REQUIRE(from_seed);
  REQUIRE(from_pem);
  CHECK(from_seed->public_key() == key.public_key());
  CHECK(from_pem->public_key() == key.public_key());
  CHECK(from_pem->sign(as_bytes("x")) == key.sign(as_bytes("x")));
  CHECK(SigningKey::create().public_key() != key.public_key());
}

TEST_CASE("a seed has exactly 32 bytes") {
  CHECK_FALSE(SigningKey::from_seed(Secret(std::string(31, 's'))));
  CHECK(SigningKey::from_seed(Secret(std::string(32, 's'))));
  CHECK_FALSE(SigningKey::from_seed(Secret(std::string(33, 's'))));
}

TEST_CASE("PEM that holds no Ed25519 key is refused with the reason") {
  const Identity identity = Identity::create("node", from_unix_seconds(1'800'000'000));
  CHECK(SigningKey::from_pem(identity.key_pem()).error() == CryptoError::unsupported);
  CHECK(SigningKey::from_pem(Secret(identity.certificate_pem())).error() == CryptoError::malformed);
  CHECK(SigningKey::from_pem(Secret()).error() == CryptoError::malformed);
  const std::string pem(SigningKey::create().pem().reveal());
  CHECK(SigningKey::from_pem(Secret(pem.substr(0, pem.size() / 2))).error() ==
        CryptoError::malformed);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("PEM is read up to its limit and not beyond") {
  std::string pem(SigningKey::create().pem().reveal());
  pem.resize(kPemSizeMax, '\n');
  CHECK(SigningKey::from_pem(Secret(pem)));
  pem += '\n';
  CHECK(SigningKey::from_pem(Secret(pem)).error() == CryptoError::malformed);
}

}  // namespace
}  // namespace zt::crypto
