// SPDX-License-Identifier: Apache-2.0
// The simulated network itself: who reaches whom through NATs and firewalls, and from which
// address.
#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "world.h"
#include "zt/base/bytes.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRoundTrip = 10ms;  // On the default link.

const IpAddress kNatIp = IpAddress::v4({11, 0, 1, 1});
const IpAddress kOtherNatIp = IpAddress::v4({11, 0, 2, 1});
const SocketAddress kServerAt{IpAddress::v4({11, 0, 9, 9}), 443};
const SocketAddress kInside{IpAddress::v4({10, 0, 0, 2}), 4000};
const SocketAddress kBeside{IpAddress::v4({10, 0, 0, 3}), 4000};
const SocketAddress kPublicHost{IpAddress::v4({11, 0, 3, 3}), 4000};

// Host sends what it is told to, answers each "ping" with "pong", and remembers what it gets.
class Host final : public Actor {
 public:
  struct Message {
    SocketAddress remote;
    std::string text;

    friend bool operator==(const Message&, const Message&) = default;
  };

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& /*now*/) override {
    received.push_back({datagrams.remote, std::string(as_text(datagrams.bytes))});
    if (received.back().text == "ping") unsent.push_back({datagrams.remote, "pong"});
  }
  void handle_timeout(const Now& /*now*/) override {}
  void settle(const Now& /*now*/) override {}
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                              const Now& /*now*/) override {
    if (unsent.empty()) return std::nullopt;
    const Message message = unsent.front();
    unsent.pop_front();
    std::ranges::copy(as_bytes(std::string_view(message.text)), buffer.begin());
    return quic::Transmit{
        .remote = message.remote, .size = message.text.size(), .segment_size = message.text.size()};
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }

  [[nodiscard]] bool has(std::string_view text) const {
    return std::ranges::any_of(received,
                               [&](const Message& message) { return message.text == text; });
  }

  std::vector<Message> received;
  std::deque<Message> unsent;
};

void send(World& world, Host& host, const SocketAddress& to, std::string_view text) {
  host.unsent.push_back({to, std::string(text)});
  world.wake(host);
}

// source_of returns the address under which `server` sees `host`, which sends to it.
SocketAddress source_of(World& world, Host& host, Host& server) {
  server.received.clear();
  send(world, host, kServerAt, "who am I");
  world.run_for(kRoundTrip);
  REQUIRE(server.received.size() == 1);
  return server.received.back().remote;
}

// is_answered tells whether a ping is answered, from the address that it was sent to.
bool is_answered(World& world, Host& host, const SocketAddress& remote) {
  host.received.clear();
  send(world, host, remote, "ping");
  world.run_for(kRoundTrip);
  return std::ranges::find(host.received, Host::Message{remote, "pong"}) != host.received.end();
}

TEST_CASE("punching crosses two NATs unless a symmetric one looks for a port in vain",
          "[rfc4787]") {
  // Rows and columns: public, then kNatKinds.
  constexpr std::array<std::string_view, 5> kCrossed = {"xxxxx",  //
                                                        "xxxxx",  //
                                                        "xxxxx",  //
                                                        "xxxx.",  //
                                                        "xxx.."};
  for (std::size_t left = 0; left < kCrossed.size(); ++left) {
    for (std::size_t right = 0; right < kCrossed.size(); ++right) {
      CAPTURE(left, right);
      World world(1);
      Host server;
      Host a;
      Host b;
      world.attach(server, kServerAt);
      const auto stand = [&](Host& host, std::size_t kind, const IpAddress& external) {
        if (kind == 0) return world.attach(host, {external, 4000});
        world.attach(host, {world.add_nat(nat_config(kNatKinds.at(kind - 1), external)), kInside});
      };
      stand(a, left, kNatIp);
      stand(b, right, kOtherNatIp);
      const SocketAddress a_seen = source_of(world, a, server);
      const SocketAddress b_seen = source_of(world, b, server);
      CHECK(a_seen.ip == kNatIp);
      CHECK(b_seen.ip == kOtherNatIp);
      for (int round = 0; round < 3; ++round) {
        send(world, a, b_seen, "ping");
        send(world, b, a_seen, "ping");
        world.run_for(kRoundTrip);
      }
      const bool is_crossed = kCrossed.at(left)[right] == 'x';
      CHECK((a.has("pong") || b.has("pong")) == is_crossed);
    }
  }
}

TEST_CASE("a NAT lets in when the datagram arrives, not when it is sent", "[rfc4787-5]") {
  World world(1);
  Host server;
  Host a;
  Host b;
  world.attach(server, kServerAt);
  world.attach(a, {world.add_nat(nat_config(kPortRestrictedCone, kNatIp)), kInside});
  world.attach(b, {world.add_nat(nat_config(kPortRestrictedCone, kOtherNatIp)), kInside});
  const SocketAddress a_seen = source_of(world, a, server);
  const SocketAddress b_seen = source_of(world, b, server);
  SECTION("two that cross on the way open the door for each other") {
    send(world, a, b_seen, "ping");
    world.run_for(4ms);
    send(world, b, a_seen, "ping");
    world.run_for(kRoundTrip);
    CHECK(a.has("ping"));
    CHECK(b.has("ping"));
  }
  SECTION("the first is lost if the second starts after its arrival") {
    send(world, a, b_seen, "ping");
    world.run_for(6ms);
    send(world, b, a_seen, "ping");
    world.run_for(kRoundTrip);
    CHECK(a.has("ping"));
    CHECK_FALSE(b.has("ping"));
  }
}

TEST_CASE("hosts behind one NAT meet inside, and outside only by a hairpin", "[rfc4787-6]") {
  for (const bool is_hairpinning : {false, true}) {
    CAPTURE(is_hairpinning);
    World world(1);
    Host server;
    Host a;
    Host b;
    Nat::Config config = nat_config(kFullCone, kNatIp);
    config.is_hairpinning = is_hairpinning;
    const Realm home = world.add_nat(config);
    world.attach(server, kServerAt);
    world.attach(a, {home, kInside});
    world.attach(b, {home, kBeside});
    CHECK(is_answered(world, a, kBeside));
    CHECK(b.received.back().remote == kInside);
    CHECK(world.nat(home).mapping_count() == 0);
    const SocketAddress a_seen = source_of(world, a, server);
    const SocketAddress b_seen = source_of(world, b, server);
    CHECK(is_answered(world, a, b_seen) == is_hairpinning);
    if (is_hairpinning) CHECK(b.received.back().remote == a_seen);
  }
}

TEST_CASE("a carrier's NAT in front of two homes", "[rfc4787]") {
  const IpAddress home_ip = IpAddress::v4({100, 64, 0, 1});
  const IpAddress other_home_ip = IpAddress::v4({100, 64, 0, 2});
  for (const bool is_hairpinning : {false, true}) {
    CAPTURE(is_hairpinning);
    World world(1);
    Host server;
    Host a;
    Host b;
    Nat::Config config = nat_config(kFullCone, kNatIp);
    config.is_hairpinning = is_hairpinning;
    const Realm carrier = world.add_nat(config);
    const Realm home = world.add_nat(nat_config(kFullCone, home_ip), carrier);
    const Realm other_home = world.add_nat(nat_config(kFullCone, other_home_ip), carrier);
    world.attach(server, kServerAt);
    world.attach(a, {home, kInside});
    world.attach(b, {other_home, kInside});
    const SocketAddress a_seen = source_of(world, a, server);
    const SocketAddress b_seen = source_of(world, b, server);
    CHECK(a_seen.ip == kNatIp);
    CHECK(b_seen.ip == kNatIp);
    CHECK(a_seen != b_seen);
    // An answer descends through both.
    CHECK(is_answered(world, server, a_seen));
    CHECK(is_answered(world, a, b_seen) == is_hairpinning);
    // Inside of the carrier's network the homes are hosts like any other.
    CHECK(is_answered(world, a, {other_home_ip, world.nat(other_home).config().first_port}));
    CHECK(b.received.back().remote.ip == home_ip);
    // Either device may restart.
    world.nat(home).forget();
    CHECK_FALSE(is_answered(world, server, a_seen));
    CHECK(source_of(world, a, server) != a_seen);
    world.nat(carrier).forget();
    CHECK_FALSE(is_answered(world, server, b_seen));
    CHECK(source_of(world, b, server) != b_seen);
  }
}

TEST_CASE("two realms may use the same addresses") {
  World world(1);
  Host server;
  Host a;
  Host b;
  Host beside_b;
  world.attach(server, kServerAt);
  const Realm home = world.add_nat(nat_config(kFullCone, kNatIp));
  const Realm other_home = world.add_nat(nat_config(kFullCone, kOtherNatIp));
  world.attach(a, {home, kInside});
  world.attach(b, {other_home, kInside});
  world.attach(beside_b, {other_home, kBeside});
  const SocketAddress a_seen = source_of(world, a, server);
  const SocketAddress b_seen = source_of(world, b, server);
  CHECK(a_seen != b_seen);
  b.received.clear();
  CHECK(is_answered(world, server, a_seen));
  CHECK(b.received.empty());
  CHECK(is_answered(world, a, kInside));  // By itself.
  CHECK(b.received.empty());
  CHECK(is_answered(world, a, b_seen));
  CHECK_FALSE(is_answered(world, a, kBeside));
  CHECK(beside_b.received.empty());
}

TEST_CASE("a NAT that has forgotten lets nobody in, and gives another port") {
  World world(1);
  Host server;
  Host a;
  world.attach(server, kServerAt);
  const Realm home = world.add_nat(nat_config(kFullCone, kNatIp));
  world.attach(a, {home, kInside});
  const SocketAddress seen = source_of(world, a, server);
  CHECK(is_answered(world, server, seen));
  world.nat(home).forget();
  CHECK_FALSE(is_answered(world, server, seen));
  const SocketAddress seen_later = source_of(world, a, server);
  CHECK(seen_later != seen);
  CHECK(is_answered(world, server, seen_later));
  CHECK_FALSE(is_answered(world, server, seen));
}

TEST_CASE("a mapping lives as long as the NAT says", "[rfc4787-4.3]") {
  World world(1);
  Host server;
  Host a;
  world.attach(server, kServerAt);
  Nat::Config config = nat_config(kFullCone, kNatIp);
  config.timeout = 30s;
  world.attach(a, {world.add_nat(config), kInside});
  const SocketAddress seen = source_of(world, a, server);  // Lets a round trip pass.
  world.run_for(30s - kRoundTrip - 5ms - 1ns);
  send(world, server, seen, "just in time");
  world.run_for(1ns);
  send(world, server, seen, "too late");
  world.run_for(kRoundTrip);
  CHECK(a.has("just in time"));
  CHECK_FALSE(a.has("too late"));
}

TEST_CASE("a firewall shows a host's own address, and lets in answers only") {
  World world(1);
  Host server;
  Host guarded;
  Host beside;
  Host stranger;
  const Realm office = world.add_nat({.external = {}, .is_translating = false});
  const SocketAddress guarded_at{IpAddress::v4({11, 0, 4, 2}), 4000};
  const SocketAddress beside_at{IpAddress::v4({11, 0, 4, 3}), 4000};
  world.attach(server, kServerAt);
  world.attach(stranger, kPublicHost);
  world.attach(guarded, {office, guarded_at});
  world.attach(beside, {office, beside_at});
  CHECK_FALSE(is_answered(world, server, guarded_at));
  CHECK(is_answered(world, guarded, kServerAt));
  CHECK(server.received.back().remote == guarded_at);
  CHECK(is_answered(world, server, guarded_at));
  CHECK_FALSE(is_answered(world, stranger, guarded_at));
  CHECK(is_answered(world, guarded, beside_at));
}

TEST_CASE("a firewall and a NAT are punched through together") {
  World world(1);
  Host server;
  Host guarded;
  Host a;
  const Realm office = world.add_nat({.external = {}, .is_translating = false});
  const SocketAddress guarded_at{IpAddress::v4({11, 0, 4, 2}), 4000};
  world.attach(server, kServerAt);
  world.attach(guarded, {office, guarded_at});
  world.attach(a, {world.add_nat(nat_config(kPortRestrictedCone, kNatIp)), kInside});
  CHECK_FALSE(is_answered(world, a, guarded_at));
  const SocketAddress a_seen = source_of(world, a, server);
  send(world, guarded, a_seen, "ping");
  CHECK(is_answered(world, a, guarded_at));
}

TEST_CASE("a link is cut in one direction, by the addresses that the hop bears") {
  World world(1);
  Host server;
  Host other;
  Host a;
  Host b;
  world.attach(server, kServerAt);
  world.attach(other, kPublicHost);
  const Realm home = world.add_nat(nat_config(kFullCone, kNatIp));
  world.attach(a, {home, kInside});
  world.attach(b, {home, kBeside});
  const SocketAddress seen = source_of(world, a, server);
  const Link blocked{.is_blocked = true};
  SECTION("out") {
    world.set_one_way_link(kNatIp, kServerAt.ip, blocked);
    CHECK_FALSE(is_answered(world, a, kServerAt));
    CHECK_FALSE(server.has("ping"));
    send(world, server, seen, "one way");
    world.run_for(kRoundTrip);
    CHECK(a.has("one way"));
  }
  SECTION("in") {
    world.set_one_way_link(kServerAt.ip, kNatIp, blocked);
    CHECK_FALSE(is_answered(world, a, kServerAt));
    CHECK(server.has("ping"));
  }
  SECTION("both, and open again") {
    world.set_link(kServerAt.ip, kNatIp, blocked);
    CHECK_FALSE(is_answered(world, a, kServerAt));
    CHECK_FALSE(is_answered(world, server, seen));
    world.set_link(kServerAt.ip, kNatIp, {});
    CHECK(is_answered(world, a, kServerAt));
  }
  SECTION("inside") {
    world.set_one_way_link(kInside.ip, kBeside.ip, blocked, home);
    CHECK_FALSE(is_answered(world, a, kBeside));
    CHECK_FALSE(b.has("ping"));
    send(world, b, kInside, "one way");
    world.run_for(kRoundTrip);
    CHECK(a.has("one way"));
  }
  CHECK(is_answered(world, a, kPublicHost));  // Other links are as before.
}

TEST_CASE("who moves is heard from the new place, and found at the old one no more") {
  World world(1);
  Host server;
  Host a;
  Host next;
  world.attach(server, kServerAt);
  const Realm home = world.add_nat(nat_config(kFullCone, kNatIp));
  const Realm cafe = world.add_nat(nat_config(kFullCone, kOtherNatIp));
  world.attach(a, {home, kInside});
  const SocketAddress seen_at_home = source_of(world, a, server);
  send(world, server, seen_at_home, "on its way");
  world.run_for(4ms);
  world.move(a, {cafe, kInside});
  world.run_for(kRoundTrip);
  CHECK(a.received.empty());
  CHECK_FALSE(is_answered(world, server, seen_at_home));
  const SocketAddress seen_at_cafe = source_of(world, a, server);
  CHECK(seen_at_cafe.ip == kOtherNatIp);
  CHECK(is_answered(world, server, seen_at_cafe));
  // The address at home is free, and its mapping is theirs who take it next.
  world.attach(next, {home, kInside});
  send(world, server, seen_at_home, "for the next");
  world.run_for(kRoundTrip);
  CHECK(next.has("for the next"));
  // And out into the open.
  world.move(a, {.address = kPublicHost});
  CHECK(source_of(world, a, server) == kPublicHost);
  CHECK(is_answered(world, server, kPublicHost));
}

TEST_CASE("an actor sends each family from its own address") {
  World world(1);
  Host server;
  Host a;
  const SocketAddress server_v6{*IpAddress::parse("2400:9::9"), 443};
  const SocketAddress a_v6{*IpAddress::parse("2400:1::2"), 4000};
  world.attach(server, kServerAt);
  world.attach(a, {world.add_nat(nat_config(kFullCone, kNatIp)), kInside});
  CHECK_FALSE(is_answered(world, a, server_v6));
  world.attach(server, server_v6);
  world.attach(a, {world.add_nat({.external = {}, .is_translating = false}), a_v6});
  CHECK(is_answered(world, a, server_v6));
  CHECK(server.received.back().remote == a_v6);
  CHECK(source_of(world, a, server).ip == kNatIp);
  world.move(a, {.address = kPublicHost});
  CHECK(source_of(world, a, server) == kPublicHost);
  CHECK(is_answered(world, a, server_v6));
}

TEST_CASE("the wire shows each datagram once, as it bears its addresses there") {
  World world(1);
  Host server;
  Host a;
  Host b;
  world.attach(server, kServerAt);
  Nat::Config config = nat_config(kSymmetric, kNatIp);
  config.mappings_max = 1;
  const Realm home = world.add_nat(config);
  world.attach(a, {home, kInside});
  world.attach(b, {home, kBeside});
  std::vector<Hop> hops;
  world.on_wire = [&](const Hop& hop, std::span<const std::byte>) { hops.push_back(hop); };
  const SocketAddress outside{kNatIp, config.first_port};

  send(world, a, kServerAt, "through the NAT");
  send(world, a, kBeside, "past the NAT");
  send(world, a, kPublicHost, "dropped by the full NAT");
  send(world, a, outside, "dropped for want of a hairpin");
  send(world, server, outside, "back");
  send(world, server, {kNatIp, 1}, "not let in");
  const std::vector<Hop> expected{
      {.realm = kPublic, .from = outside, .to = kServerAt},
      {.realm = home, .from = kInside, .to = kBeside},
      {.realm = home, .from = kInside, .to = kPublicHost},
      {.realm = home, .from = kInside, .to = outside},
      {.realm = kPublic, .from = kServerAt, .to = outside},
      {.realm = kPublic, .from = kServerAt, .to = {kNatIp, 1}},
  };
  CHECK((hops == expected));
  world.run_for(kRoundTrip);
  CHECK(a.received == std::vector<Host::Message>{{kServerAt, "back"}});
}

TEST_CASE("a seed repeats a run through NATs", "[sim]") {
  const auto run = [](std::uint64_t seed) {
    World world(seed);
    Host server;
    Host a;
    Host b;
    world.set_default_link({.jitter = 20ms, .loss = 0.3, .duplication = 0.3});
    world.attach(server, kServerAt);
    world.attach(a, {world.add_nat(nat_config(kSymmetric, kNatIp)), kInside});
    world.attach(b, {world.add_nat(nat_config(kFullCone, kOtherNatIp)), kInside});
    for (int count = 0; count < 50; ++count) {
      send(world, a, kServerAt, std::to_string(count));
      send(world, b, kServerAt, std::to_string(count));
      world.run_for(1ms);
    }
    world.run_for(1s);
    return server.received;
  };
  CHECK((run(1) == run(1)));
  CHECK((run(1) != run(2)));
}

}  // namespace
}  // namespace zt::sim
