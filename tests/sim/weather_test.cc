// SPDX-License-Identifier: Apache-2.0
// Weather: whatever happens to networks and nodes, in whatever order, what arrived was right, and
// once it stops all goes on. House's checkers look at every datagram and byte meanwhile.
#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// A run of this many seeds takes seconds; ZT_SEEDS asks for more, and ZT_SEED for the first one.
constexpr std::uint64_t kSeedCount = 40;
constexpr int kFaultCount = 12;

// Storm does to a house what its seed says.
class Storm {
 public:
  explicit Storm(House& house) : house_(house), random_(house.world.seed() * 7919 + 1) {}

  // strike makes one fault; some of them end the one before of their kind.
  void strike() {
    switch (random_.below(7)) {
      case 0:
        return cut(pick_address(), pick_address());
      case 1:
        return toggle(*house_.relay, kRelayAt, is_first_away_);
      case 2:
        return toggle(*house_.more_relays[0], kSecondRelayAt, is_second_away_);
      case 3: {
        ConnectorActor& connector =
            random_.below(2) == 0 ? *house_.connector : *house_.more_connectors[0];
        connector.crash();
        return connector.restart();
      }
      case 4:
        return forget();
      case 5:
        return house_.world.set_default_link({.delay = 10ms, .jitter = 10ms, .loss = 0.2});
      default:
        return house_.world.set_default_link({.delay = 60ms, .jitter = 20ms, .duplication = 0.1});
    }
  }

  // clear ends every fault.
  void clear() {
    for (const auto& [from, to] : cuts_) house_.world.set_one_way_link(from, to, {.delay = 10ms});
    if (is_first_away_) toggle(*house_.relay, kRelayAt, is_first_away_);
    if (is_second_away_) toggle(*house_.more_relays[0], kSecondRelayAt, is_second_away_);
    house_.world.set_default_link({.delay = 10ms});
  }

  [[nodiscard]] Duration pause() { return std::chrono::milliseconds(random_.below(4000)); }

 private:
  [[nodiscard]] IpAddress pick_address() {
    const std::array addresses{
        kControllerAt.ip,
        kRelayAt.ip,
        kSecondRelayAt.ip,
        kSecondConnectorAt.ip,
        house_.client->place().realm == kPublic ? kClientAt.ip : kClientNatIp,
        house_.connector->place().realm == kPublic ? kConnectorAt.ip : kConnectorNatIp};
    return addresses[random_.below(addresses.size())];
  }
  void cut(const IpAddress& from, const IpAddress& to) {
    if (from == to) return;
    house_.world.set_one_way_link(from, to, {.is_blocked = true});
    cuts_.emplace_back(from, to);
  }
  void toggle(RelayActor& relay, const SocketAddress& address, bool& is_away) {
    if (is_away) {
      house_.world.attach(relay, address);
    } else {
      house_.world.detach(relay);
    }
    is_away = !is_away;
  }
  void forget() {
    for (const Realm realm : {house_.client->place().realm, house_.connector->place().realm}) {
      if (realm != kPublic) house_.world.nat(realm).forget();
    }
  }

  House& house_;
  SeededRandom random_;
  std::vector<std::pair<IpAddress, IpAddress>> cuts_;
  bool is_first_away_ = false;
  bool is_second_away_ = false;
};

// Talk is a flow whose echo is compared with what was said.
struct Talk {
  client::FlowKey flow{};
  std::string said;
};

void say(House& house, Talk& talk) {
  const std::string text = std::string(kCanary) + std::to_string(talk.said.size());
  talk.said += text;
  house.client->send(talk.flow, text, false);
}

bool is_right(House& house, const Talk& talk) {
  return talk.said.starts_with(house.client->flow(talk.flow).received);
}

void weather(std::uint64_t seed) {
  SeededRandom random(seed);
  House house(seed, {.delay = 10ms}, [&](World& world) {
    const auto nat_of = [&](const IpAddress& ip) -> std::optional<Nat::Config> {
      const std::size_t kind = random.below(std::size(kNatKinds) + 1);
      if (kind == std::size(kNatKinds)) return std::nullopt;
      return nat_config(kNatKinds[kind], ip);
    };
    const auto client = nat_of(kClientNatIp);
    return lay_out_behind(world, client, nat_of(kConnectorNatIp));
  });
  INFO("replay: " << house.world.replay());
  house.add_relay("second", kSecondRelayAt);
  house.add_connector("second", kSecondConnectorAt);
  REQUIRE(house.boot(30s));
  house.world.run_for(1s);

  Storm storm(house);
  std::vector<Talk> talks;
  for (int i = 0; i < kFaultCount; ++i) {
    storm.strike();
    talks.push_back({.flow = house.client->open("db.internal:5432"), .said = {}});
    for (Talk& talk : talks) {
      const AppFlow& flow = house.client->flow(talk.flow);
      if (!flow.is_over && !flow.refusal) say(house, talk);
    }
    house.world.run_for(storm.pause());
    for (const Talk& talk : talks) REQUIRE(is_right(house, talk));
  }

  storm.clear();
  // The longest waits of a node: QUIC's idle timeout, and the pauses between tries.
  house.world.run_for(60s);
  Talk last{.flow = house.client->open("db.internal:5432"), .said = {}};
  say(house, last);
  CHECK(house.world.run_until([&] { return house.client->flow(last.flow).received == last.said; },
                              5s));
  // Whoever lived through it has it all.
  for (const Talk& talk : talks) {
    const AppFlow& flow = house.client->flow(talk.flow);
    REQUIRE(is_right(house, talk));
    if (!flow.is_over && !flow.refusal) CHECK(flow.received == talk.said);
  }
}

TEST_CASE("after any weather new flows work, and nothing that arrived was wrong",
          "[sim][property][nightly]") {
  const std::uint64_t first = seed_of(1000);
  for (std::uint64_t seed = first; seed < first + seed_count_of(kSeedCount); ++seed) {
    CAPTURE(seed);
    weather(seed);
  }
}

}  // namespace
}  // namespace zt::sim
