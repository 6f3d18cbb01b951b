// SPDX-License-Identifier: Apache-2.0
#include "zt/base/decimal.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zt {
namespace {

TEST_CASE("a decimal number is read up to its greatest, and not one further") {
  CHECK(parse_decimal("0", 0) == 0);
  CHECK_FALSE(parse_decimal("1", 0).has_value());
  CHECK_FALSE(parse_decimal("0", -1).has_value());
  CHECK(parse_decimal("7", 7) == 7);
  CHECK_FALSE(parse_decimal("8", 7).has_value());
  CHECK(parse_decimal<std::uint8_t>("255") == 255);
  CHECK_FALSE(parse_decimal<std::uint8_t>("256").has_value());
  CHECK_FALSE(parse_decimal<std::uint8_t>("1000").has_value());
  CHECK(parse_decimal<std::int64_t>("9223372036854775807") == INT64_MAX);
  CHECK_FALSE(parse_decimal<std::int64_t>("9223372036854775808").has_value());
}

TEST_CASE("the greatest of all 64-bit numbers does not wrap around") {
  CHECK(parse_decimal<std::uint64_t>("18446744073709551615") == UINT64_MAX);
  CHECK_FALSE(parse_decimal<std::uint64_t>("18446744073709551616").has_value());
  CHECK_FALSE(parse_decimal<std::uint64_t>("18446744073709551620").has_value());
  CHECK_FALSE(parse_decimal<std::uint64_t>(std::string(1000, '9')).has_value());
}

TEST_CASE("a decimal number has one spelling") {
  for (const std::string_view text :
       {"", "-0", "-1", "+1", "00", "007", " 1", "1 ", "1.0", "1e3", "0x1", "1_000", "x", "1x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_decimal<std::uint64_t>(text).has_value());
  }
}

TEST_CASE("every number is read back from its own text") {
  for (std::uint64_t number = 0; number <= 10'000; ++number) {
    REQUIRE(parse_decimal<std::uint64_t>(std::to_string(number), 9'999) ==
            (number <= 9'999 ? std::optional(number) : std::nullopt));
  }
}

}  // namespace
}  // namespace zt
