// SPDX-License-Identifier: Apache-2.0
// Each checker sees what it is there for, at its border: it can fail.
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "checkers.h"
#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

constexpr ActorNumber kNode{1};
constexpr ActorNumber kOther{2};
constexpr Door kDoor{.protocol = Protocol::tcp, .port = 5432};
constexpr Door kUdpDoor{.protocol = Protocol::udp, .port = 5432};
constexpr Door kOtherDoor{.protocol = Protocol::tcp, .port = 80};
constexpr Instant kStart{1h};
const SocketAddress kVictim{IpAddress::v4({198, 18, 9, 9}), 53};

// Access is a checker that knows of one grant, given out at kStart, and of a rule that allows it.
struct Access {
  Access() {
    checker.note_policy({kDoor}, reach, kStart);
    checker.note_grants({grant}, reach, kStart);
  }
  void revoke(Instant at) {
    grant.is_revoked = true;
    checker.note_grants({grant}, reach, at);
  }
  [[nodiscard]] bool may_pass(Instant at, ActorNumber node = kNode, Duration lag = {}) const {
    return !checker.pass(node, kDoor, lag, at);
  }

  AccessChecker::Reach reach{.connectors = {kNode}, .one_message = 60ms};
  AccessChecker::Grant grant{.id = {"gra_a"}, .door = kDoor, .expires = kStart + 5min};
  AccessChecker checker;
};

TEST_CASE("a byte passes while a grant lives, and not at its end", "[checker]") {
  const Access access;
  CHECK(access.may_pass(kStart));
  CHECK(access.may_pass(kStart + 5min - 1ns));
  CHECK_FALSE(access.may_pass(kStart + 5min));
  CHECK(access.checker.pass(kNode, kOtherDoor, {}, kStart));
  CHECK(access.checker.pass(kNode, kUdpDoor, {}, kStart));
  AccessChecker without_grant;
  without_grant.note_policy({kDoor}, access.reach, kStart);
  CHECK(without_grant.pass(kNode, kDoor, {}, kStart));
}

TEST_CASE("a clock that is behind lengthens a grant up to the leeway", "[checker]") {
  const Access access;
  CHECK(access.may_pass(kStart + 5min + 10s - 1ns, kNode, 10s));
  CHECK_FALSE(access.may_pass(kStart + 5min + 10s, kNode, 10s));
  CHECK_FALSE(access.may_pass(kStart + 5min + 30s, kNode, 2min));
  CHECK_FALSE(access.may_pass(kStart + 5min, kNode, -2min));
}

TEST_CASE("after a revocation bytes pass for one message, or for the life of a grant",
          "[checker]") {
  Access access;
  access.grant.expires = kStart + 1h;
  access.checker = {};
  access.checker.note_policy({kDoor}, access.reach, kStart);
  access.revoke(kStart + 1min);
  CHECK(access.may_pass(kStart + 1min + 60ms));
  CHECK_FALSE(access.may_pass(kStart + 1min + 60ms + 1ns));
  // The other one is not connected.
  CHECK(access.may_pass(kStart + 6min + 30s, kOther));
  CHECK_FALSE(access.may_pass(kStart + 6min + 30s + 1ns, kOther));
}

TEST_CASE("what is lost near the controller excuses, if it was lost in time", "[checker]") {
  Access access;
  SECTION("shortly before") {
    access.checker.note_trouble(kStart + 31s);
    access.revoke(kStart + 1min);
    CHECK(access.may_pass(kStart + 1min + 1s));
  }
  SECTION("long before") {
    access.checker.note_trouble(kStart + 29s);
    access.revoke(kStart + 1min);
    CHECK_FALSE(access.may_pass(kStart + 1min + 1s));
  }
  SECTION("afterwards") {
    access.revoke(kStart + 1min);
    access.checker.note_trouble(kStart + 1min + 80ms);
    CHECK_FALSE(access.may_pass(kStart + 1min + 1s));
  }
}

TEST_CASE("a rule that is gone ends a flow, whatever became of its grant", "[checker]") {
  Access access;
  access.checker.note_policy({}, access.reach, kStart + 1s);
  CHECK(access.may_pass(kStart + 1s + 60ms));
  CHECK_FALSE(access.may_pass(kStart + 2s));
  access.checker.note_policy({kDoor}, access.reach, kStart + 3s);
  CHECK(access.may_pass(kStart + 3s));
}

TEST_CASE("three times what came may go to an unproven address, and no byte more", "[checker]") {
  TrafficChecker checker;
  const std::vector<std::byte> bytes(100, std::byte{0x40});
  const BytesView datagram(bytes);
  CHECK(checker.send(kNode, kVictim, datagram, kStart));
  checker = {};
  checker.received(kNode, kVictim, datagram, false);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(checker.send(kNode, kVictim, datagram, kStart));
  CHECK(checker.send(kNode, kVictim, datagram.first(1), kStart));
  CHECK(checker.send(kOther, kVictim, datagram, kStart));
  // Whoever answers has proved it; who has lost his memory asks again.
  checker.received(kNode, kVictim, datagram, true);
  CHECK_FALSE(checker.send(kNode, kVictim, datagram, kStart));
  checker.forget(kNode);
  CHECK(checker.send(kNode, kVictim, datagram, kStart));
  checker.allow(kVictim);
  CHECK_FALSE(checker.send(kNode, kVictim, datagram, kStart));
}

wire::ProbeBytes probe(wire::ProbeKind kind) {
  wire::Probe content{.kind = kind, .transaction = 1};
  if (kind == wire::ProbeKind::pong) content.observed = kVictim;
  return wire::encode_probe(content);
}

TEST_CASE("ten probes and two a second may go to an address that has not answered", "[checker]") {
  const wire::ProbeBytes ping = probe(wire::ProbeKind::ping);
  TrafficChecker checker;
  for (int i = 0; i < 11; ++i) CHECK_FALSE(checker.send(kNode, kVictim, ping, kStart));
  CHECK(checker.send(kNode, {kVictim.ip, 54}, ping, kStart));
  CHECK_FALSE(checker.send(kNode, kVictim, ping, kStart + 1s));
  checker.received(kNode, kVictim, probe(wire::ProbeKind::pong), false);
  for (int i = 0; i < 100; ++i) CHECK_FALSE(checker.send(kNode, kVictim, ping, kStart + 1s));
  bool is_seen = false;
  for (int i = 0; i < 200; ++i) {
    is_seen = is_seen || checker.send(kNode, kVictim, ping, kStart + 1s);
  }
  CHECK(is_seen);
}

TEST_CASE("forty probes and ten a second may go to all who have not answered", "[checker]") {
  const wire::ProbeBytes ping = probe(wire::ProbeKind::ping);
  TrafficChecker checker;
  const auto send_to = [&](std::uint8_t number) {
    return checker.send(kNode, {IpAddress::v4({198, 18, 9, number}), 53}, ping, kStart);
  };
  for (std::uint8_t i = 0; i < 41; ++i) CHECK_FALSE(send_to(i));
  CHECK(send_to(41));
}

TEST_CASE("a limit holds at its border", "[checker]") {
  CHECK_FALSE(LimitChecker::within("flows", 5, 5));
  CHECK(LimitChecker::within("flows", 6, 5));
}

// --- The same, as a House asks them.

struct Seen {
  explicit Seen(House& house) {
    house.on_violation = [this](const std::string& what) { all.push_back(what); };
  }
  [[nodiscard]] bool has(const std::string& text) const {
    for (const std::string& what : all) {
      if (what.contains(text)) return true;
    }
    return false;
  }
  std::vector<std::string> all;
};

TEST_CASE("a House sees a byte that nothing allows", "[checker]") {
  House house(seed_of(700));
  Seen seen(house);
  REQUIRE(house.boot());
  house.connector->on_bytes(kOtherDoor);
  CHECK(seen.has("never allowed"));
  house.connector->on_bytes(kDoor);
  CHECK(seen.has("tcp port 5432 without any grant"));
  (void)house.open_echo();
  house.world.run_for(40s);
  seen.all.clear();
  house.connector->on_bytes(kDoor);
  CHECK(seen.all.empty());
  house.connector->on_bytes(kUdpDoor);
  CHECK(seen.has("udp port 5432 without any grant"));
  seen.all.clear();
  house.controller->ask("DELETE", "access-rules/" + house.rule_id, nullptr, 204);
  house.world.run_for(100ms);
  CHECK(seen.all.empty());
  house.connector->on_bytes(kDoor);
  CHECK(seen.has("after the rules denied it"));
}

TEST_CASE("a House sees a payload in the clear, and a datagram to whoever did not ask",
          "[checker]") {
  House house(seed_of(701));
  Seen seen(house);
  REQUIRE(house.boot());
  house.world.send(*house.relay, kVictim, as_bytes(kCanary), kCanary.size(), 0);
  CHECK(seen.has("readable"));
  CHECK(seen.has("has not been validated"));
}

TEST_CASE("a House sees what is left of a client that it does not know", "[checker]") {
  std::unique_ptr<ClientActor> stranger;  // Outlives the House.
  std::vector<std::string> all;
  {
    House house(seed_of(702));
    house.on_violation = [&all](const std::string& what) { all.push_back(what); };
    const auto key = house.controller->ask("POST", "service-accounts/" + house.account_id + "/keys",
                                           wire::Json::object(), 201);
    const Place place{.address = {IpAddress::v4({198, 18, 0, 77}), 40077}};
    stranger = std::make_unique<ClientActor>(house.world, 7021, key.at("file").get<std::string>(),
                                             place, Paths::always_relay);
    house.world.attach(*stranger, place);
    REQUIRE(house.boot());
    REQUIRE(house.world.run_until([&] { return stranger->has_view; }, 10s));
    const auto flow = stranger->open("db.internal:5432");
    REQUIRE(house.world.run_until([&] { return stranger->flow(flow).is_ready; }, 10s));
    CHECK(all.empty());
  }
  REQUIRE(all.size() >= 2);
  CHECK(all[0].starts_with("peers that are left"));
  CHECK(all[1].starts_with("flows that are left"));
}

}  // namespace
}  // namespace zt::sim
