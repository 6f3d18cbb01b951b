// SPDX-License-Identifier: Apache-2.0
#include "zt/base/ascii.h"

#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace zt {
namespace {

TEST_CASE("the 26 letters change their case, and no other byte does") {
  constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::size_t place = kUpper.find(c);
    INFO("byte " << byte);
    CHECK(is_upper(c) == (place != std::string_view::npos));
    CHECK(to_lower(c) == (place == std::string_view::npos ? c : kLower[place]));
  }
}

TEST_CASE("a text is lowered letter by letter, and what is not ASCII stays") {
  CHECK(to_lower(std::string_view()).empty());
  CHECK(to_lower(std::string_view("Db.Internal-7")) == "db.internal-7");
  CHECK(to_lower(std::string_view("B\xc3\x9cRO")) == "b\xc3\x9cro");
}

TEST_CASE("texts that differ in case only are equal, and no others") {
  CHECK(equals_ignoring_case("", ""));
  CHECK(equals_ignoring_case("bEARER", "Bearer"));
  CHECK_FALSE(equals_ignoring_case("Bearer", "Bearer "));
  CHECK_FALSE(equals_ignoring_case("[", "{"));  // They differ by the same bit as letters do.
  CHECK_FALSE(equals_ignoring_case("@", "`"));
  CHECK_FALSE(equals_ignoring_case("\xc3\x9c", "\xc3\xbc"));
}

}  // namespace
}  // namespace zt
