// SPDX-License-Identifier: Apache-2.0
#include "zt/base/rfc3339.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/random.h"

namespace zt {
namespace {

using std::chrono::milliseconds;

UnixTime at(std::int64_t ms) {
  return UnixTime(milliseconds(ms));
}

TEST_CASE("known instants are written and read") {
  for (const auto& [text, ms] : std::vector<std::pair<std::string_view, std::int64_t>>{
           {"1970-01-01T00:00:00Z", 0},
           {"1970-01-01T00:00:00.001Z", 1},
           {"1969-12-31T23:59:59.999Z", -1},
           {"2000-02-29T12:00:00Z", 951825600000},
           {"2026-11-22T09:30:00.250Z", 1795339800250},
           {"2038-01-19T03:14:08Z", 2147483648000},
           {"0000-01-01T00:00:00Z", -62167219200000},
           {"9999-12-31T23:59:59.999Z", 253402300799999}}) {
    CAPTURE(text);
    CHECK(to_rfc3339(at(ms)) == text);
    CHECK(parse_rfc3339(text) == at(ms));
  }
}

TEST_CASE("a time beyond four digits of a year is written as the nearest one") {
  CHECK(to_rfc3339(at(253402300800000)) == "9999-12-31T23:59:59.999Z");
  CHECK(to_rfc3339(UnixTime::max()) == "9999-12-31T23:59:59.999Z");
  CHECK(to_rfc3339(at(-62167219200001)) == "0000-01-01T00:00:00Z");
  CHECK(to_rfc3339(UnixTime::min()) == "0000-01-01T00:00:00Z");
}

TEST_CASE("offsets, fractions and leap seconds are read", "[rfc3339-5.8]") {
  for (const auto& [text, same] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"},
           {"1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"},
           {"1990-12-31T23:59:60Z", "1990-12-31T23:59:59Z"},
           {"1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59Z"},
           {"1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z"},
           {"2026-11-22t09:30:00z", "2026-11-22T09:30:00Z"},
           {"2026-11-22T09:30:00.9999999999999999999999Z", "2026-11-22T09:30:00.999Z"},
           {"2026-11-22T09:30:00-00:00", "2026-11-22T09:30:00Z"},
           {"2024-02-29T00:00:00+23:59", "2024-02-28T00:01:00Z"}}) {
    CAPTURE(text);
    REQUIRE(parse_rfc3339(text).has_value());
    CHECK(to_rfc3339(*parse_rfc3339(text)) == same);
  }
}

TEST_CASE("what is no date-time is refused") {
  for (const std::string_view text : {"",
                                      "2026",
                                      "2026-11-22",
                                      "2026-11-22T09:30Z",
                                      "2026-11-22T09:30:00",
                                      "2026-11-22 09:30:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-01-00T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "2025-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:60:00Z",
                                      "2026-01-01T00:00:61Z",
                                      "2026-01-01T00:00:60Z",
                                      "2026-01-01T23:59:60+01:00",
                                      "2026-01-01T00:00:00.Z",
                                      "2026-01-01T00:00:00,5Z",
                                      "2026-01-01T00:00:00+24:00",
                                      "2026-01-01T00:00:00+01:60",
                                      "2026-01-01T00:00:00+0100",
                                      "2026-01-01T00:00:00Zz",
                                      "2026-01-01T00:00:00Z ",
                                      " 2026-01-01T00:00:00Z",
                                      "+026-01-01T00:00:00Z",
                                      "26-01-01T00:00:00Z",
                                      "2026-1-1T00:00:00Z",
                                      "0000-01-01T00:00:00+00:01",
                                      "9999-12-31T23:59:59-00:01"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_rfc3339(text).has_value());
  }
}

TEST_CASE("a written time is read as itself", "[property]") {
  constexpr std::uint64_t kSeed = 3339;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    const UnixTime time =
        at(static_cast<std::int64_t>(random.below(315569519999999)) - 62167219200000);
    const std::string text = to_rfc3339(time);
    CAPTURE(text);
    REQUIRE(parse_rfc3339(text) == time);
  }
}

TEST_CASE("durations have one unit, are above zero and end at ten years") {
  using namespace std::chrono_literals;
  CHECK(parse_duration("1ms") == Duration(1ms));
  CHECK(parse_duration("250ms") == Duration(250ms));
  CHECK(parse_duration("90s") == Duration(90s));
  CHECK(parse_duration("15m") == Duration(15min));
  CHECK(parse_duration("12h") == Duration(12h));
  CHECK(parse_duration("30d") == Duration(720h));
  CHECK(parse_duration("3650d") == Duration(87600h));
  CHECK(parse_duration("315360000s") == Duration(87600h));
  for (const std::string_view text : {"",
                                      "0s",
                                      "000s",
                                      "s",
                                      "90",
                                      "90 s",
                                      "-1s",
                                      "+1s",
                                      "1.5h",
                                      "1h30m",
                                      "1S",
                                      "1w",
                                      "1us",
                                      "3651d",
                                      "87601h",
                                      "315360001s",
                                      "315360000001ms",
                                      "1000000000000ms",
                                      "9223372036854775807s",
                                      "99999999999999999999s",
                                      "1s "}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text).has_value());
  }
}

TEST_CASE("unix seconds round down on both sides of 1970") {
  CHECK(unix_seconds(at(1999)) == 1);
  CHECK(unix_seconds(at(2000)) == 2);
  CHECK(unix_seconds(at(-1)) == -1);
  CHECK(unix_seconds(at(-1000)) == -1);
  CHECK(unix_seconds(from_unix_seconds(100000000000)) == 100000000000);
}

}  // namespace
}  // namespace zt
