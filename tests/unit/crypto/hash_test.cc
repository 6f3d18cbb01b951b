// SPDX-License-Identifier: Apache-2.0
#include "crypto/hash.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>

#include "zt/base/bytes.h"

namespace zt::crypto {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

TEST_CASE("SHA-256 gives the digests of FIPS 180-4") {
  CHECK(to_hex(sha256({}).bytes) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256(as_bytes("abc")).bytes) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("HMAC-SHA-256 gives the tags of RFC 4231", "[rfc4231-4]") {
  CHECK(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?")).bytes) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const Bytes long_key(131, std::byte{0xAA});
  const std::string_view data = "Test Using Larger Than Block-Size Key - Hash Key First";
  CHECK(to_hex(hmac_sha256(long_key, as_bytes(data)).bytes) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("HKDF-SHA-256 gives the keys of RFC 5869", "[rfc5869-a]") {
  std::array<std::byte, 42> key{};
  hkdf_sha256({.secret = Bytes(22, std::byte{0x0B}),
               .salt = hex("000102030405060708090a0b0c"),
               .info = hex("f0f1f2f3f4f5f6f7f8f9")},
              key);
  CHECK(to_hex(key) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST_CASE("HKDF gives another key for another purpose, up to its longest output") {
  const Bytes secret(32, std::byte{7});
  Bytes one(kHkdfOutputSizeMax);
  Bytes two(kHkdfOutputSizeMax);
  hkdf_sha256({.secret = secret, .salt = {}, .info = as_bytes("one")}, one);
  hkdf_sha256({.secret = secret, .salt = {}, .info = as_bytes("two")}, two);
  CHECK(one != two);
}

}  // namespace
}  // namespace zt::crypto
