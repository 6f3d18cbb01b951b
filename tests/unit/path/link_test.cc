// SPDX-License-Identifier: Apache-2.0
#include "zt/path/link.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <vector>

#include "zt/base/random.h"

namespace zt::path {
namespace {

constexpr SocketId kFirst{1};
constexpr SocketId kSecond{2};
constexpr LinkNumber kNone{};

SocketAddress address(std::uint16_t port) {
  return {IpAddress::v4({11, 0, 0, 1}), port};
}

TEST_CASE("a link is a socket and a remote address") {
  LinkTable table({.links_max = 4, .relays_max = 1});
  const LinkNumber number = table.find_or_open(kFirst, address(1));
  CHECK(number != kNone);
  CHECK(table.find_or_open(kFirst, address(1)) == number);
  CHECK(table.find_or_open(kSecond, address(1)) != number);
  CHECK(table.find_or_open(kFirst, address(2)) != number);
  CHECK(table.find(number) == Link{kFirst, address(1), std::nullopt});
  CHECK(table.find(number)->is_direct());
  CHECK_FALSE(table.find(kNone).has_value());
}

TEST_CASE("a link is by a relay exactly while its address is one") {
  LinkTable table({.links_max = 4, .relays_max = 1});
  const RelayId relay{"rly_1"};
  const LinkNumber before = table.find_or_open(kFirst, address(1));
  CHECK(table.set_relay(address(1), relay));
  CHECK(table.find(before)->relay == relay);
  CHECK_FALSE(table.find(before)->is_direct());
  CHECK_FALSE(table.set_relay(address(2), relay));
  CHECK(table.set_relay(address(1), RelayId{"rly_2"}));
  table.forget_relay(address(1));
  CHECK(table.find(before)->is_direct());
  CHECK(table.set_relay(address(2), relay));
}

TEST_CASE("the least recently used link makes room, and a held one never", "[threat]") {
  LinkTable table({.links_max = 3, .relays_max = 1});
  const LinkNumber held = table.find_or_open(kFirst, address(1));
  table.hold(held);
  const LinkNumber used = table.find_or_open(kFirst, address(2));
  const LinkNumber unused = table.find_or_open(kFirst, address(3));
  CHECK(table.find_or_open(kFirst, address(2)) == used);
  const LinkNumber fourth = table.find_or_open(kFirst, address(4));
  CHECK_FALSE(table.find(unused).has_value());
  CHECK(table.find(held).has_value());
  CHECK(table.find(used).has_value());
  CHECK(table.link_count() == 3);
  // All held: no number. One released: a number again.
  table.hold(used);
  table.hold(fourth);
  CHECK(table.find_or_open(kFirst, address(5)) == kNone);
  table.release(used);
  CHECK(table.find_or_open(kFirst, address(5)) != kNone);
  CHECK_FALSE(table.find(used).has_value());
}

TEST_CASE("a link is held until it was released as often") {
  LinkTable table({.links_max = 1, .relays_max = 1});
  const LinkNumber link = table.find_or_open(kFirst, address(1));
  table.hold(link);
  table.hold(link);
  table.release(link);
  CHECK(table.find_or_open(kFirst, address(2)) == kNone);
  table.release(link);
  table.release(link);  // Too often: ignored.
  CHECK(table.find_or_open(kFirst, address(2)) != kNone);
}

TEST_CASE("a closed socket's links end, held or not, and their numbers are dead") {
  LinkTable table({.links_max = 4, .relays_max = 1});
  const LinkNumber held = table.find_or_open(kFirst, address(1));
  table.hold(held);
  const LinkNumber idle = table.find_or_open(kFirst, address(2));
  const LinkNumber other = table.find_or_open(kSecond, address(1));
  table.forget_socket(kFirst);
  CHECK_FALSE(table.find(held).has_value());
  CHECK_FALSE(table.find(idle).has_value());
  CHECK(table.find(other).has_value());
  table.release(held);
  CHECK(table.find_or_open(kFirst, address(1)) > other);
  CHECK(table.link_count() == 2);
}

TEST_CASE("a random history never gives one number to two links", "[property]") {
  constexpr std::uint64_t kSeed = 4787;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  LinkTable table({.links_max = 8, .relays_max = 1});
  std::map<LinkNumber, Link> meanings;
  std::map<LinkNumber, int> held;
  for (int step = 0; step < 20000; ++step) {
    const Link link{SocketId{static_cast<std::uint32_t>(random.below(2))},
                    address(static_cast<std::uint16_t>(1 + random.below(12))), std::nullopt};
    const LinkNumber number = table.find_or_open(link.socket, link.remote);
    REQUIRE(table.link_count() <= 8);
    if (number == kNone) {
      REQUIRE(held.size() == 8);
    } else {
      REQUIRE(meanings.try_emplace(number, link).first->second == link);
      REQUIRE(table.find(number) == link);
      if (random.below(4) == 0) {
        table.hold(number);
        ++held[number];
      }
    }
    if (!held.empty() && random.below(4) == 0) {
      table.release(held.begin()->first);
      if (--held.begin()->second == 0) held.erase(held.begin());
    }
    for (const auto& [one, holds] : held) REQUIRE(table.find(one).has_value());
  }
}

}  // namespace
}  // namespace zt::path
