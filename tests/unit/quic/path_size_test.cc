// SPDX-License-Identifier: Apache-2.0
#include "quic/path_size.h"

#include <array>
#include <catch2/catch_test_macros.hpp>

namespace zt::quic {
namespace {

using std::chrono::milliseconds;

constexpr std::array<std::uint16_t, 6> kProbed = {1452, 1444, 1406, 1342, 8952, 4052};
constexpr Duration kProbeTimeout = milliseconds(100);
constexpr Duration kOneSize = PathSize::kProbeTimeouts * kProbeTimeout;

Instant at(Duration since_start) {
  return Instant(std::chrono::hours(1)) + since_start;
}

TEST_CASE("what is left to try follows from the order and from what was found") {
  struct Row {
    std::size_t size;
    int left;
  };
  for (const Row row : {Row{1200, 4}, Row{1342, 0}, Row{1406, 0}, Row{1444, 0}, Row{1452, 2},
                        Row{4052, 0}, Row{8952, 0}, Row{9000, 0}}) {
    CAPTURE(row.size);
    CHECK(PathSize::probes_left(kProbed, row.size) == row.left);
  }
  CHECK(PathSize::probes_left({}, 1200) == 0);
}

TEST_CASE("a size is settled when all that is left has had the time to fail") {
  PathSize path;
  CHECK_FALSE(path.is_settled(kProbed, kProbeTimeout, at({})));
  path.seen(1200, at({}));
  path.seen(1200, at(kOneSize));
  CHECK_FALSE(path.is_settled(kProbed, kProbeTimeout, at(4 * kOneSize - milliseconds(1))));
  CHECK(path.is_settled(kProbed, kProbeTimeout, at(4 * kOneSize)));
  CHECK_FALSE(path.is_settled(kProbed, 2 * kProbeTimeout, at(4 * kOneSize)));
}

TEST_CASE("a size that changes is not settled, unless nothing is left") {
  PathSize path;
  path.seen(1200, at({}));
  path.seen(1452, at(kOneSize));
  CHECK_FALSE(path.is_settled(kProbed, kProbeTimeout, at(3 * kOneSize - milliseconds(1))));
  CHECK(path.is_settled(kProbed, kProbeTimeout, at(3 * kOneSize)));
  path.seen(8952, at(3 * kOneSize));
  CHECK(path.is_settled(kProbed, kProbeTimeout, at(3 * kOneSize)));
}

TEST_CASE("another path begins anew, also with the same size") {
  PathSize path;
  path.seen(1200, at({}));
  REQUIRE(path.is_settled(kProbed, kProbeTimeout, at(4 * kOneSize)));
  path.path_changed();
  CHECK_FALSE(path.is_settled(kProbed, kProbeTimeout, at(4 * kOneSize)));
  path.seen(1200, at(4 * kOneSize));
  CHECK_FALSE(path.is_settled(kProbed, kProbeTimeout, at(8 * kOneSize - milliseconds(1))));
  CHECK(path.is_settled(kProbed, kProbeTimeout, at(8 * kOneSize)));
}

}  // namespace
}  // namespace zt::quic
