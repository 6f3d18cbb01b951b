// SPDX-License-Identifier: Apache-2.0
#include "zt/path/allowance.h"

#include <catch2/catch_test_macros.hpp>

namespace zt::path {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr Allowance::Rate kRate{.burst = 3, .period = milliseconds(100)};

TEST_CASE("an allowance gives a burst, and then one a period") {
  Instant now(milliseconds(5));
  Allowance allowance(kRate, now);
  for (int i = 0; i < 3; ++i) CHECK(allowance.take(now));
  CHECK_FALSE(allowance.take(now));
  CHECK(allowance.available_at(now) == now + milliseconds(100));
  CHECK_FALSE(allowance.take(now + milliseconds(100) - nanoseconds(1)));
  CHECK(allowance.take(now + milliseconds(100)));
  CHECK_FALSE(allowance.take(now + milliseconds(199)));
  CHECK(allowance.take(now + milliseconds(200)));
}

TEST_CASE("an allowance saves up no more than its burst") {
  Instant now(milliseconds(5));
  Allowance allowance(kRate, now);
  CHECK(allowance.take(now));
  CHECK_FALSE(allowance.is_full(now + milliseconds(99)));
  CHECK(allowance.is_full(now + milliseconds(100)));
  now += std::chrono::hours(24 * 365);
  for (int i = 0; i < 3; ++i) CHECK(allowance.take(now));
  CHECK_FALSE(allowance.take(now));
}

TEST_CASE("a new allowance is full") {
  CHECK(Allowance(kRate, Instant()).is_full(Instant()));
}

}  // namespace
}  // namespace zt::path
