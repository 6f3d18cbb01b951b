// SPDX-License-Identifier: Apache-2.0
#include "io/busy_poll.h"

#include <catch2/catch_test_macros.hpp>

namespace zt::io {

using std::chrono::microseconds;

namespace {
constexpr Duration kMax = microseconds(300);
}  // namespace

TEST_CASE("a loop that was allowed nothing never polls") {
  BusyPoll poll;
  CHECK(poll.window_max() == Duration::zero());
  poll.slept(microseconds(1));
  CHECK(poll.window() == Duration::zero());
}

TEST_CASE("a loop that was allowed to poll sleeps first") {
  BusyPoll poll;
  poll.allow(kMax);
  CHECK(poll.window_max() == kMax);
  CHECK(poll.window() == Duration::zero());
}

TEST_CASE("sleeps that were short make the window longer, up to what is allowed") {
  BusyPoll poll;
  poll.allow(kMax);
  for (const int expected : {20, 40, 80, 160, 300, 300}) {
    poll.slept(kMax);  // Just short enough.
    CHECK(poll.window() == microseconds(expected));
  }
}

TEST_CASE("a window that is allowed may be shorter than the first step") {
  BusyPoll poll;
  poll.allow(microseconds(5));
  poll.slept(microseconds(5));
  CHECK(poll.window() == microseconds(5));
}

TEST_CASE("waits that were long end polling in a few steps") {
  BusyPoll poll;
  poll.allow(kMax);
  for (int i = 0; i < 5; ++i) poll.slept(microseconds(1));
  for (const int expected : {150, 75, 37, 0, 0}) {
    poll.slept(kMax + Duration(1));
    CHECK(std::chrono::floor<microseconds>(poll.window()) == microseconds(expected));
  }
}

TEST_CASE("what is not allowed any more ends at once") {
  BusyPoll poll;
  poll.allow(kMax);
  for (int i = 0; i < 5; ++i) poll.slept(microseconds(1));
  poll.allow(microseconds(50));
  CHECK(poll.window() == microseconds(50));
  poll.allow(Duration::zero());
  CHECK(poll.window() == Duration::zero());
  poll.slept(Duration::zero());
  CHECK(poll.window() == Duration::zero());
}

}  // namespace zt::io
