// SPDX-License-Identifier: Apache-2.0
#include "quic/paths.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

namespace zt::quic {
namespace {

SocketAddress remote(std::uint16_t port) {
  return {IpAddress::v4({192, 0, 2, 1}), port};
}

ConnectionId epoch(std::uint8_t mark) {
  ConnectionId id;
  id.size = kConnectionIdSize;
  id.bytes.fill(mark);
  return id;
}

TEST_CASE("a path is a pair of a remote and a connection ID, on the accepting side") {
  PathTable table;
  const PathNumber first = number_of(table.open(remote(1), {}, {}));
  CHECK(number_of(table.find_or_open(remote(1), {}, first)) == first);
  const PathNumber other_id = number_of(table.find_or_open(remote(1), epoch(1), first));
  CHECK(other_id != first);
  const PathNumber other_remote = number_of(table.find_or_open(remote(2), {}, first));
  CHECK(other_remote != first);
  CHECK(other_remote != other_id);
  CHECK(number_of(table.find_or_open(remote(1), epoch(1), first)) == other_id);
  CHECK(table.remote_of(other_remote) == remote(2));
  CHECK(table.remote_of(PathNumber{999}) == std::nullopt);
  CHECK(table.remote_of(PathNumber{}) == std::nullopt);
}

TEST_CASE("the newest path to a remote counts, on the opening side") {
  PathTable table;
  const PathNumber first = number_of(table.open(remote(1), {}, {}));
  CHECK(number_of(*table.find_newest(remote(1))) == first);
  const PathNumber second = number_of(table.open(remote(1), {}, first));
  CHECK(number_of(*table.find_newest(remote(1))) == second);
  CHECK(table.find_newest(remote(2)) == nullptr);
}

TEST_CASE("numbers are never used twice; the current and the kept paths stay") {
  PathTable table;
  const PathNumber current = number_of(table.open(remote(1), {}, {}));
  const PathNumber kept = number_of(table.open(remote(2), {}, current));
  table.keep(kept);
  std::set<PathNumber> seen = {current, kept};
  for (std::uint16_t port = 10; port < 1000; ++port) {
    const PathNumber number = number_of(table.find_or_open(remote(port), {}, current));
    CHECK(seen.insert(number).second);
    CHECK(table.remote_of(number) == remote(port));
  }
  CHECK(table.remote_of(current) == remote(1));
  CHECK(table.remote_of(kept) == remote(2));
  CHECK(table.remote_of(PathNumber{static_cast<std::uint32_t>(kept) + 1}) == std::nullopt);
}

TEST_CASE("the least recently used path makes room") {
  PathTable table;
  const PathNumber current = number_of(table.open(remote(1), {}, {}));
  const PathNumber busy = number_of(table.find_or_open(remote(2), {}, current));
  for (std::uint16_t port = 10; port < 100; ++port) {
    CHECK(number_of(table.find_or_open(remote(2), {}, current)) == busy);
    (void)table.find_or_open(remote(port), {}, current);
  }
}

TEST_CASE("ngtcp2 tells the virtual paths apart by their local address") {
  PathTable table;
  const ngtcp2_path& a = table.open(remote(1), {}, {});
  const ngtcp2_path& b = table.open(remote(1), {}, number_of(a));
  CHECK(ngtcp2_path_eq(&a, &b) == 0);
  CHECK(ngtcp2_path_eq(&a, &a) != 0);
}

}  // namespace
}  // namespace zt::quic
