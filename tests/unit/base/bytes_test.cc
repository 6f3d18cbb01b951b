// SPDX-License-Identifier: Apache-2.0
#include "zt/base/bytes.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/random.h"

namespace zt {
namespace {

TEST_CASE("hexadecimal is lower case and reads either case") {
  CHECK(to_hex(as_bytes("\x00\x9f\xff" + std::string())) == "");
  CHECK(to_hex(as_bytes(std::string_view("\x00\x9f\xff", 3))) == "009fff");
  CHECK(as_text(from_hex("7A7a").value()) == "zz");
  CHECK(from_hex("").value().empty());
}

TEST_CASE("hexadecimal refuses what has no value") {
  for (const std::string_view text : {"0", "000", "0g", "g0", " 00", "0x00", "-1", "+1", "0\n"}) {
    CAPTURE(text);
    CHECK(from_hex(text) == std::unexpected(TextError::malformed));
  }
}

struct Vector {
  std::string_view plain;
  std::string_view padded;
  std::string_view url;
};

// The test vectors of RFC 4648 section 10.
const std::vector<Vector> kVectors = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xfe", "+//+", "-__-"},
};

TEST_CASE("base64 writes and reads the vectors of RFC 4648", "[rfc4648-10]") {
  for (const Vector& vector : kVectors) {
    CAPTURE(vector.padded);
    CHECK(to_base64(as_bytes(vector.plain)) == vector.padded);
    CHECK(to_base64url(as_bytes(vector.plain)) == vector.url);
    CHECK(as_text(from_base64(vector.padded).value()) == vector.plain);
    CHECK(as_text(from_base64url(vector.url).value()) == vector.plain);
  }
}

TEST_CASE("base64url refuses padding, foreign alphabets, odd lengths and loose bits") {
  for (const std::string_view text : {"Zg==", "Zm8=", "+//+", "Z", "Zm9vZ", "Zh", "Zm9", "Zm 8",
                                      "Zg\n", "=", "Zm9v\xff", "Zm9\x80"}) {
    CAPTURE(text);
    CHECK(from_base64url(text) == std::unexpected(TextError::malformed));
  }
  CHECK(from_base64url(std::string_view("Zm\0v", 4)) == std::unexpected(TextError::malformed));
}

TEST_CASE("base64 refuses missing and superfluous padding and loose bits") {
  for (const std::string_view text :
       {"Zg", "Zg=", "Zg===", "Z===", "====", "=", "Zh==", "Zm9=", "-__-", "Zg==Zg==", "Zm=v"}) {
    CAPTURE(text);
    CHECK(from_base64(text) == std::unexpected(TextError::malformed));
  }
}

TEST_CASE("one value has one text and comes back from it", "[property]") {
  constexpr std::uint64_t kSeed = 20261122;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes(random.below(70));
    random.fill(bytes);
    REQUIRE(from_hex(to_hex(bytes)) == bytes);
    REQUIRE(from_base64(to_base64(bytes)) == bytes);
    REQUIRE(from_base64url(to_base64url(bytes)) == bytes);
  }
  // Whatever text is accepted is the text that its value writes.
  constexpr std::string_view kCharacters = "ABZaz09-_+/=g";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::uint64_t i = random.below(9); i > 0; --i) {
      text.push_back(kCharacters[random.below(kCharacters.size())]);
    }
    CAPTURE(text);
    if (const auto value = from_base64url(text)) REQUIRE(to_base64url(*value) == text);
    if (const auto value = from_base64(text)) REQUIRE(to_base64(*value) == text);
  }
}

}  // namespace
}  // namespace zt
