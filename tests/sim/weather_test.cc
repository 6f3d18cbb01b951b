// SPDX-License-Identifier: Apache-2.0
// Weather: whatever happens to networks and nodes, in whatever order, what arrived was right, and
// once it stops all goes on. House's checkers look at every datagram and byte meanwhile.
#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "house.h"

namespace zt::sim {
namespace {

using namespace std::chrono_literals;

// Wall clocks may be wrong by so much while it storms. When the storm is over they are wrong by no
// more than lets any two differ by the leeway of grant/grant.h, and all must work.
constexpr std::int64_t kClockErrorInStormS = 120;
constexpr std::int64_t kClockErrorS = 14;

// A run of this many seeds takes seconds; ZT_SEEDS asks for more, and ZT_SEED for the first one.
constexpr std::uint64_t kSeedCount = 40;
constexpr int kFaultCount = 12;

// Storm does to a house what its seed says.
class Storm {
 public:
  explicit Storm(House& house)
      : house_(house),
        random_(house.world.seed() * 7919 + 1),
        home_(house.client->place()),
        connector_home_(house.connector->place()) {
    house_.world.set_tcp(random_.below(2) == 0);
  }

  // strike makes one fault; some of them end the one before of their kind.
  void strike() {
    switch (random_.below(20)) {
      case 0:
        return cut(pick_address(), pick_address());
      case 1:
        return toggle(pick_relay());
      case 2:
        return reboot(*pick_relay().first);
      case 3:
        return reboot(pick_connector());
      case 4:
        return replace(pick_connector());
      case 5:
        return reboot(*house_.controller);
      case 6:
        return reboot_client();
      case 7:
        return forget();
      case 8:
        return house_.world.set_default_link({.delay = 10ms, .jitter = 10ms, .loss = 0.2});
      case 9:
        return house_.world.set_default_link({.delay = 60ms, .jitter = 20ms, .duplication = 0.1});
      case 10:
        return house_.world.set_clock_offset(pick_actor(), clock_error(kClockErrorInStormS));
      case 11:
        return house_.world.set_timer_delay(pick_actor(),
                                            std::chrono::milliseconds(random_.below(3000)));
      case 12:
        return allow(!is_allowed_);
      case 13:
        return roam();
      case 14:
        return roam_with_connector();
      case 15:
        return nap(*house_.client);
      case 16:
        return nap(pick_connector());
      case 17:
        return toggle_udp();
      case 18:
        return replace(*pick_relay().first);
      default:
        return rule();
    }
  }

  // clear ends every fault, but that clocks are never quite right.
  void clear() {
    for (const auto& [from, to] : cuts_) house_.world.set_one_way_link(from, to, {.delay = 10ms});
    for (const IpAddress& ip : without_udp_) house_.world.block_udp(ip, false);
    house_.world.set_default_link({.delay = 10ms});
    for (Actor* actor : actors()) {
      house_.world.set_clock_offset(*actor, clock_error(kClockErrorS));
      house_.world.set_timer_delay(*actor, {});
    }
    if (!house_.controller->is_running()) house_.controller->restart();
    for (const Relay& relay : relays()) {
      if (!relay.first->is_admitted()) {
        replace(*relay.first);
      } else if (!relay.first->is_running()) {
        relay.first->restart();
      }
      if (!house_.world.is_attached(*relay.first)) toggle(relay);
    }
    for (ConnectorActor* connector : house_.connectors()) {
      if (!connector->is_admitted()) {
        replace(*connector);
      } else if (!connector->is_running()) {
        connector->restart();
      }
    }
    allow(true);
    set_rule(Paths::any);
  }

  [[nodiscard]] Duration pause() { return std::chrono::milliseconds(random_.below(4000)); }
  // client_lives counts how often the client was started: no flow outlives it.
  [[nodiscard]] int client_lives() const { return client_lives_; }

 private:
  using Relay = std::pair<RelayActor*, SocketAddress>;

  [[nodiscard]] std::vector<Relay> relays() const {
    return {{house_.relay.get(), kRelayAt}, {house_.more_relays[0].get(), kSecondRelayAt}};
  }
  [[nodiscard]] std::vector<Actor*> actors() const {
    std::vector<Actor*> all{house_.controller.get(), house_.client.get()};
    for (const Relay& relay : relays()) all.push_back(relay.first);
    for (ConnectorActor* connector : house_.connectors()) all.push_back(connector);
    return all;
  }
  [[nodiscard]] Relay pick_relay() { return relays()[random_.below(2)]; }
  [[nodiscard]] ConnectorActor& pick_connector() { return *house_.connectors()[random_.below(2)]; }
  [[nodiscard]] Actor& pick_actor() { return *actors()[random_.below(actors().size())]; }
  // client_ip and connector_ip are what the public network sees of the two.
  [[nodiscard]] IpAddress client_ip() const {
    const Place& place = house_.client->place();
    return place.realm == kPublic ? place.address.ip : kClientNatIp;
  }
  [[nodiscard]] IpAddress connector_ip() const {
    const Place& place = house_.connector->place();
    return place.realm == kPublic ? place.address.ip : kConnectorNatIp;
  }
  [[nodiscard]] IpAddress pick_address() {
    const std::array addresses{kControllerAt.ip,      kRelayAt.ip, kSecondRelayAt.ip,
                               kSecondConnectorAt.ip, client_ip(), connector_ip()};
    return addresses[random_.below(addresses.size())];
  }
  [[nodiscard]] std::chrono::seconds clock_error(std::int64_t error_max_s) {
    const auto drawn = random_.below(static_cast<std::uint64_t>(2 * error_max_s + 1));
    return std::chrono::seconds(static_cast<std::int64_t>(drawn) - error_max_s);
  }

  void cut(const IpAddress& from, const IpAddress& to) {
    if (from == to) return;
    house_.world.set_one_way_link(from, to, {.is_blocked = true});
    cuts_.emplace_back(from, to);
  }
  // toggle pulls a relay's cable, or puts it back.
  void toggle(const Relay& relay) {
    if (!relay.first->is_running()) return;
    if (house_.world.is_attached(*relay.first)) {
      house_.world.detach(*relay.first);
    } else {
      house_.world.attach(*relay.first, relay.second);
    }
  }
  // reboot kills a node, which comes back at once or the next time.
  template <class ActorType>
  void reboot(ActorType& actor) {
    if (!is_admitted(actor)) return;
    if (actor.is_running()) {
      actor.crash();
      if (random_.below(2) == 0) return;
    }
    actor.restart();
  }
  // is_admitted tells whether a node has what it starts with again. Whoever has not goes on looking
  // for the controller.
  template <class ActorType>
  static bool is_admitted(const ActorType& actor) {
    return actor.is_admitted();
  }
  static bool is_admitted(const ControllerActor&) { return true; }
  // replace puts a new machine in the place of a connector's.
  void replace(ConnectorActor& connector) {
    if (!house_.controller->is_running()) return;
    if (connector.is_running()) connector.crash();
    connector.enrol(house_.connector_token("spare-" + std::to_string(++replaced_count_)));
  }
  // replace puts a new machine, with a key of its own, at the address of a relay that is lost.
  void replace(RelayActor& relay) {
    if (!house_.controller->is_running()) return;
    if (relay.is_running()) relay.crash();
    const wire::Json rows = house_.controller->ask("GET", "relays", nullptr, 200);
    for (const wire::Json& row : rows.at("items")) {
      if (row.at("address") != relay.address().to_text()) continue;
      (void)house_.controller->ask("DELETE", "relays/" + row.at("id").get<std::string>(), nullptr,
                                   204);
    }
    relay.enrol(
        house_.relay_token("spare-relay-" + std::to_string(++replaced_count_), relay.address()));
  }
  void reboot_client() {
    house_.client->crash();
    if (random_.below(3) == 0) house_.client->forget();
    house_.client->restart();
    ++client_lives_;
  }
  void forget() {
    for (const Realm realm : {house_.client->place().realm, house_.connector->place().realm}) {
      if (realm != kPublic) house_.world.nat(realm).forget();
    }
  }
  void allow(bool is_allowed) {
    if (!house_.controller->is_running()) return;
    is_allowed_ = is_allowed;
    house_.controller->ask("PATCH", "access-rules/" + house_.rule_id, {{"enabled", is_allowed}},
                           200);
  }
  void roam() {
    const Place elsewhere{.address = {IpAddress::v4({198, 18, 0, 44}), kClientAt.port}};
    house_.client->move(house_.client->place() == home_ ? elsewhere : home_);
  }
  void roam_with_connector() {
    if (!house_.connector->is_running()) return;
    const Place elsewhere{.address = {IpAddress::v4({198, 18, 0, 43}), kConnectorAt.port}};
    house_.connector->move(house_.connector->place() == connector_home_ ? elsewhere
                                                                        : connector_home_);
  }
  // nap lets a machine sleep and wake up again.
  template <class ActorType>
  void nap(ActorType& actor) {
    if (!actor.is_running()) return;
    house_.world.detach(actor);
    house_.world.run_for(std::chrono::seconds(1 + random_.below(random_.below(2) == 0 ? 20 : 600)));
    house_.world.attach(actor, actor.place());
  }
  // toggle_udp makes the network of one end let no UDP through, or let it through again.
  void toggle_udp() {
    const IpAddress ip = random_.below(2) == 0 ? client_ip() : connector_ip();
    const bool is_blocked = without_udp_.erase(ip) == 0;
    if (is_blocked) without_udp_.insert(ip);
    house_.world.block_udp(ip, is_blocked);
  }
  void rule() {
    constexpr std::array kRules{Paths::any, Paths::never_relay, Paths::always_relay};
    set_rule(kRules[random_.below(kRules.size())]);
  }
  void set_rule(Paths paths) {
    if (!house_.controller->is_running()) return;
    (void)house_.controller->ask("PATCH", "networks/" + house_.network_id,
                                 {{"path", {{"paths", to_text(paths)}}}}, 200);
  }

  House& house_;
  SeededRandom random_;
  Place home_;            // The client's.
  Place connector_home_;  // The first connector's.
  std::set<IpAddress> without_udp_;
  std::vector<std::pair<IpAddress, IpAddress>> cuts_;
  bool is_allowed_ = true;
  int replaced_count_ = 0;
  int client_lives_ = 1;
};

// Talk is a flow whose echo is compared with what was said.
struct Talk {
  client::FlowKey flow{};
  std::string said;                 // If it is TCP.
  std::set<std::string> datagrams;  // If it is UDP.
};

Talk begin(House& house, Protocol protocol) {
  return {.flow = house.client->open("db.internal:5432", protocol), .said = {}, .datagrams = {}};
}

void say(House& house, Talk& talk) {
  if (house.client->flow(talk.flow).protocol == Protocol::udp) {
    const std::string text = std::string(kCanary) + std::to_string(std::to_underlying(talk.flow)) +
                             ":" + std::to_string(talk.datagrams.size());
    talk.datagrams.insert(text);
    house.client->send_datagram(talk.flow, text);
    return;
  }
  const std::string text = std::string(kCanary) + std::to_string(talk.said.size());
  talk.said += text;
  house.client->send(talk.flow, text, false);
}

// Bytes come in order and without a gap; datagrams in any order, and at most once.
bool is_right(House& house, const Talk& talk) {
  const AppFlow& flow = house.client->flow(talk.flow);
  const std::set<std::string> heard(flow.datagrams.begin(), flow.datagrams.end());
  return talk.said.starts_with(flow.received) && heard.size() == flow.datagrams.size() &&
         std::ranges::includes(talk.datagrams, heard);
}

// has_lived_on tells whether a flow that nobody has ended has lost nothing that it must not lose.
bool has_lived_on(House& house, const Talk& talk) {
  const AppFlow& flow = house.client->flow(talk.flow);
  if (flow.protocol == Protocol::tcp) return flow.received == talk.said;
  return !flow.is_ready || house.call(talk.flow, "still there", 5s);
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
    const int lives = storm.client_lives();
    storm.strike();
    if (storm.client_lives() != lives) talks.clear();
    talks.push_back(begin(house, random.below(3) == 0 ? Protocol::udp : Protocol::tcp));
    for (Talk& talk : talks) {
      const AppFlow& flow = house.client->flow(talk.flow);
      if (!flow.is_over && !flow.refusal) say(house, talk);
    }
    house.world.run_for(storm.pause());
    for (const Talk& talk : talks) REQUIRE(is_right(house, talk));
  }

  storm.clear();
  // The longest waits of a node: QUIC's idle timeout, the pauses between tries, and the time by
  // which the controller's clock was set back: what it says meanwhile seems to be old.
  house.world.run_for(60s + std::chrono::seconds(kClockErrorInStormS + kClockErrorS));
  Talk last = begin(house, Protocol::tcp);
  say(house, last);
  const AppFlow& state = house.client->flow(last.flow);
  const bool is_through = house.world.run_until([&] { return state.received == last.said; }, 5s);
  INFO("the last flow: " << (state.refusal ? state.refusal->text : house.path_of(last.flow)));
  CHECK(is_through);
  CHECK(house.call(begin(house, Protocol::udp).flow, kCanary, 5s));
  // Whoever lived through it has it all.
  for (const Talk& talk : talks) {
    const AppFlow& flow = house.client->flow(talk.flow);
    REQUIRE(is_right(house, talk));
    if (!flow.is_over && !flow.refusal) CHECK(has_lived_on(house, talk));
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
