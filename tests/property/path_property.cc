// SPDX-License-Identifier: Apache-2.0
// Two finders, a NAT in front of each, and a network between: in which cells they go direct, how
// soon, and what they send. What is possible is said by a search that knows nothing of finders.

#include <algorithm>
#include <array>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "../sim/nat.h"
#include "zt/base/random.h"
#include "zt/path/finder.h"
#include "zt/wire/cursor.h"

namespace zt::path {
namespace {

using sim::Nat;
using sim::NatBehavior;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kClient = 0;
constexpr std::size_t kConnector = 1;
constexpr SocketId kSocket{1};

const SocketAddress kRelay{IpAddress::v4({11, 0, 9, 9}), 443};
const SocketAddress kAttacker{IpAddress::v4({11, 0, 6, 6}), 666};

// Place is where an end stands: behind a NAT or on the public network.
struct Place {
  std::optional<std::pair<NatBehavior, NatBehavior>> nat;  // Mapping and filtering.

  [[nodiscard]] std::string to_text() const {
    if (!nat) return "public";
    return std::string(sim::to_text(nat->first)) + " mapping, " +
           std::string(sim::to_text(nat->second)) + " filtering";
  }
};

std::vector<Place> all_places() {
  constexpr NatBehavior kAll[] = {NatBehavior::endpoint_independent, NatBehavior::address_dependent,
                                  NatBehavior::address_and_port_dependent};
  std::vector<Place> places{Place{}};
  for (const NatBehavior mapping : kAll) {
    for (const NatBehavior filtering : kAll) places.push_back({std::pair(mapping, filtering)});
  }
  return places;
}

// Topology is two hosts, the NATs before them, and what happens to a packet between them.
class Topology {
 public:
  struct Options {
    std::array<Place, 2> places;
    bool is_one_nat = false;       // Both behind the client's.
    bool is_hairpinning = false;   // That one.
    bool is_lan_isolated = false;  // The hosts behind it do not see each other.
  };

  explicit Topology(const Options& options) : options_(options) {
    for (const std::size_t end : {kClient, kConnector}) {
      const auto number = static_cast<std::uint8_t>(end + 1);
      const std::size_t nat_of = options.is_one_nat ? kClient : end;
      const auto& behavior = options.places[nat_of].nat;
      hosts_[end] = {
          behavior ? IpAddress::v4({10, 0, number, 2}) : IpAddress::v4({11, 0, number, 2}),
          static_cast<std::uint16_t>(4000 + end)};
      if (!behavior || (options.is_one_nat && end == kConnector)) continue;
      nats_[end] = std::make_unique<Nat>(
          Nat::Config{.external = IpAddress::v4({11, 0, number, 1}),
                      .mapping = behavior->first,
                      .filtering = behavior->second,
                      .is_hairpinning = options.is_hairpinning,
                      .first_port = static_cast<std::uint16_t>(20000 + (1000 * end))});
    }
  }

  struct Arrival {
    std::size_t end = 0;
    SocketAddress source;
  };

  // Departure is a packet that has left its sender's NAT.
  struct Departure {
    SocketAddress source;
    SocketAddress target;
    std::optional<Arrival> arrival;  // It never left the LAN or the NAT.
    Duration detour{};               // To the NAT and back: more than jitter.
  };

  std::optional<Departure> depart(std::size_t end, const SocketAddress& target, Instant now) {
    const std::size_t other = 1 - end;
    const bool is_shared = options_.is_one_nat;
    if (is_shared && target == hosts_[other]) {
      if (options_.is_lan_isolated) return std::nullopt;
      return Departure{hosts_[end], target, Arrival{other, hosts_[end]}, {}};
    }
    Nat* nat = nat_of(end);
    if (nat == nullptr) return Departure{hosts_[end], target, std::nullopt, {}};
    if (target.ip == nat->config().external) {
      const auto turned = nat->hairpin(hosts_[end], target, now);
      if (!turned || turned->destination != hosts_[other]) return std::nullopt;
      return Departure{turned->source, target, Arrival{other, turned->source}, milliseconds(3)};
    }
    const auto source = nat->outbound(hosts_[end], target, now);
    if (!source) return std::nullopt;
    return Departure{*source, target, std::nullopt, {}};
  }

  // arrive says who gets a packet that came over the public network.
  std::optional<Arrival> arrive(const Departure& departure, Instant now) {
    if (departure.arrival) return departure.arrival;
    for (const std::size_t end : {kClient, kConnector}) {
      Nat* nat = nat_of(end);
      if (nat == nullptr) {
        if (departure.target == hosts_[end]) return Arrival{end, departure.source};
      } else if (nat->inbound(departure.source, departure.target, now) == hosts_[end]) {
        return Arrival{end, departure.source};
      }
    }
    return std::nullopt;
  }

  // works tells whether a packet and its answer pass between the client and `remote`.
  bool works(const SocketAddress& remote, Instant now) {
    const auto there = depart(kClient, remote, now);
    const auto arrived = there ? arrive(*there, now) : std::nullopt;
    if (!arrived || arrived->end != kConnector) return false;
    const auto back = depart(kConnector, arrived->source, now);
    const auto returned = back ? arrive(*back, now) : std::nullopt;
    return returned && returned->end == kClient && returned->source == remote;
  }

  // candidates returns what an end knows of itself: its host address, and what a relay sees.
  std::vector<wire::Candidate> candidates(std::size_t end, Instant now) {
    std::vector<wire::Candidate> all{{wire::CandidateKind::host, hosts_[end]}};
    const auto observed = depart(end, kRelay, now);
    if (observed && observed->source != hosts_[end]) {
      all.push_back({wire::CandidateKind::observed, observed->source});
    }
    return all;
  }

  [[nodiscard]] const SocketAddress& host(std::size_t end) const { return hosts_[end]; }
  [[nodiscard]] Nat* nat_of(std::size_t end) const {
    return nats_[options_.is_one_nat ? kClient : end].get();
  }

 private:
  Options options_;
  std::array<SocketAddress, 2> hosts_;
  std::array<std::unique_ptr<Nat>, 2> nats_;
};

// is_direct_possible lets both ends send to everything that they know of, again and again.
bool is_direct_possible(const Topology::Options& options) {
  Topology topology(options);
  const Instant now(seconds(1));
  std::array<std::set<SocketAddress>, 2> known;
  for (const std::size_t end : {kClient, kConnector}) {
    for (const auto& candidate : topology.candidates(1 - end, now)) {
      known[end].insert(candidate.address);
    }
  }
  for (int round = 0; round < 6; ++round) {
    for (const std::size_t end : {kClient, kConnector}) {
      const std::set<SocketAddress> targets = known[end];
      for (const SocketAddress& target : targets) {
        const auto departure = topology.depart(end, target, now);
        const auto arrival = departure ? topology.arrive(*departure, now) : std::nullopt;
        if (arrival) known[arrival->end].insert(arrival->source);
      }
    }
  }
  return std::ranges::any_of(
      known[kClient], [&](const SocketAddress& remote) { return topology.works(remote, now); });
}

// Sum stands for a MAC (FNV-1a with a key), and is none.
struct Sum {
  std::uint64_t key = 7;
  wire::ProbeMac operator()(BytesView bytes) const {
    std::uint64_t sum = 0xcbf29ce484222325 ^ key;
    for (const std::byte byte : bytes) {
      sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
    }
    wire::ProbeMac mac;
    wire::Writer writer(mac.bytes);
    writer.u64(sum);
    writer.u64(~sum);
    return mac;
  }
};

// Run is two finders on a topology under virtual time. Signals take as long as packets.
class Run {
 public:
  Run(const Topology::Options& options, std::uint64_t seed)
      : topology(options),
        random_(seed),
        client_(PathFinder::Limits{}, wire::ProbeSender::client, {}, {}, random_, now),
        connector_(PathFinder::Limits{}, wire::ProbeSender::connector, {}, {}, random_, now) {}

  void start() {
    for (const std::size_t end : {kClient, kConnector}) {
      keep_mapping(end);
      feed(end, FlowsActive{true});
    }
  }

  bool run_until(const std::function<bool()>& is_done, Duration limit) {
    const Instant end = now.instant + limit;
    while (!is_done()) {
      Instant next = end;
      if (!events_.empty()) next = std::min(next, events_.begin()->first.first);
      for (const PathFinder* finder : {&client_, &connector_}) {
        const auto deadline = finder->next_deadline();
        if (!deadline) continue;
        REQUIRE(*deadline > now.instant);
        next = std::min(next, *deadline);
      }
      now.instant = next;
      while (!events_.empty() && events_.begin()->first.first <= now.instant) {
        const auto event = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        event();
      }
      for (const std::size_t one : {kClient, kConnector}) {
        finder(one).handle_timeout(now);
        drain(one);
      }
      if (next == end) return is_done();
    }
    return true;
  }
  void run_for(Duration duration) {
    (void)run_until([] { return false; }, duration);
  }

  void feed(std::size_t end, PathFinder::Input input) {
    finder(end).handle(std::move(input), now);
    drain(end);
  }
  [[nodiscard]] PathFinder& finder(std::size_t end) {
    return end == kClient ? client_ : connector_;
  }
  [[nodiscard]] bool is_direct() const { return client_.live().has_value(); }
  // draw returns a number in [0, 1).
  [[nodiscard]] double draw() { return static_cast<double>(random_.below(1000)) / 1000; }

  // attack sends what an observer who has no key can send: bytes that it has seen, the same with a
  // bit turned over, and probes of its own making.
  void attack() {
    if (captured_.empty()) return;
    wire::ProbeBytes bytes = captured_[random_.below(captured_.size())];
    switch (random_.below(3)) {
      case 0:
        break;
      case 1:
        bytes[random_.below(bytes.size())] ^= std::byte{1} << random_.below(8);
        break;
      default:
        bytes = wire::seal_probe({.kind = wire::ProbeKind::ping,
                                  .sender = wire::ProbeSender::client,
                                  .label = {},
                                  .transaction = 1 + random_.below(100000),
                                  .nonce = {},
                                  .pair = 1,
                                  .observed = {}},
                                 Sum{8});
    }
    const std::size_t end = random_.below(2);
    const SocketAddress source = random_.below(2) == 0 ? kAttacker : captured_source_;
    receive(end, source, bytes);
  }

  Now now{Instant(seconds(1000)), UnixTime(std::chrono::hours(480'000))};
  Topology topology;
  Duration delay = milliseconds(50);
  double loss = 0;
  bool is_blocked = false;
  bool is_raced = false;  // Whatever arrives, arrives from the attacker's address a moment earlier.
  std::size_t raced = 0;
  std::size_t upgrades = 0;
  std::size_t downgrades = 0;
  std::size_t probes = 0;
  std::size_t toward_attacker = 0;

 private:
  void after(Duration wait, std::function<void()> event) {
    events_.emplace(std::pair(now.instant + wait, ++sequence_), std::move(event));
  }

  // keep_mapping is the traffic with the relay, which also tells when the observed address changes.
  void keep_mapping(std::size_t end) {
    auto candidates = topology.candidates(end, now.instant);
    if (candidates != told_[end]) {
      told_[end] = candidates;
      feed(end, LocalChanged{.sockets = {{kSocket, true, false}}, .candidates = candidates});
    }
    after(seconds(5), [this, end] { keep_mapping(end); });
  }

  void drain(std::size_t end) {
    while (auto output = finder(end).poll_output()) {
      if (const auto* probe = std::get_if<SendProbe>(&*output)) {
        send(end, *probe);
      } else if (const auto* told = std::get_if<TellPeer>(&*output)) {
        const auto list = wire::parse_candidates(wire::encode_candidates(told->list));
        REQUIRE(list == told->list);
        after(delay, [this, end, list] { feed(1 - end, RemoteChanged{*list}); });
      } else if (const auto* up = std::get_if<Upgrade>(&*output)) {
        migrate(end, up->pair);
        ++upgrades;
      } else if (const auto* change = std::get_if<Switch>(&*output)) {
        migrate(end, change->pair);
      } else {
        REQUIRE(end == kClient);
        ++downgrades;
      }
    }
  }

  // migrate validates the path as QUIC does: a round trip, and one more try.
  void migrate(std::size_t end, const Pair& pair) {
    REQUIRE(end == kClient);
    after(delay * 2, [this, pair] {
      if (!is_blocked && topology.works(pair.remote, now.instant)) {
        feed(kClient, PathInUse{pair.number});
      } else {
        feed(kClient, MigrationFailed{pair.number});
      }
    });
  }

  void send(std::size_t end, const SendProbe& probe) {
    ++probes;
    if (probe.target.ip == kAttacker.ip) ++toward_attacker;
    const wire::ProbeBytes bytes = wire::seal_probe(probe.probe, Sum{});
    const auto departure = topology.depart(end, probe.target, now.instant);
    if (!departure || is_blocked || draw() < loss) return;
    const Duration jitter = milliseconds(random_.below(3));
    after(delay + departure->detour + jitter, [this, departure, bytes] {
      const auto arrival = topology.arrive(*departure, now.instant);
      if (!arrival || is_blocked) return;
      if (is_raced) {
        ++raced;
        receive(arrival->end, kAttacker, bytes);
      }
      receive(arrival->end, arrival->source, bytes);
      captured_.push_back(bytes);
      captured_source_ = arrival->source;
      if (captured_.size() > 64) captured_.erase(captured_.begin());
    });
  }

  void receive(std::size_t end, const SocketAddress& source, const wire::ProbeBytes& bytes) {
    const auto probe = wire::open_probe(bytes, Sum{});
    if (probe) feed(end, ProbeReceived{kSocket, source, *probe});
  }

  SeededRandom random_;
  PathFinder client_;
  PathFinder connector_;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t sequence_ = 0;
  std::array<std::vector<wire::Candidate>, 2> told_;
  std::vector<wire::ProbeBytes> captured_;
  SocketAddress captured_source_ = kAttacker;
};

TEST_CASE("the search agrees with what was worked out by hand", "[rfc4787]") {
  // Rows: the client is public, or its mapping and filtering are (independent, independent),
  // (independent, address), (independent, port), (address, independent) and so on. Columns: the
  // connector's. A NAT whose mapping is not independent is reached only by who is heard first.
  constexpr std::array<std::string_view, 10> kPossible = {
      "xxxxxxxxxx",  //
      "xxxxxxxxxx",  // "Full cone".
      "xxxxxxxxxx",  // "Restricted cone".
      "xxxx......",  // "Port-restricted cone".
      "xxx.xx.xx.",  //
      "xxx.x..x..",  //
      "xxx.......",  //
      "xxx.xx....",  //
      "xxx.x.....",  //
      "xxx.......",  // "Symmetric".
  };
  const std::vector<Place> places = all_places();
  for (std::size_t client = 0; client < 10; ++client) {
    for (std::size_t connector = 0; connector < 10; ++connector) {
      CAPTURE(client, connector);
      CHECK(is_direct_possible({.places = {places[client], places[connector]}}) ==
            (kPossible[client][connector] == 'x'));
    }
  }
}

// check_cell asserts everything that a cell promises.
void check_cell(const Topology::Options& options, std::uint64_t seed) {
  const bool is_possible = is_direct_possible(options);
  Run run(options, seed);
  const Instant begin = run.now.instant;
  run.start();
  if (!is_possible) {
    run.run_for(minutes(5));
    CHECK(run.upgrades == 0);
    // From both ends, in four rounds, eight pings to each of two candidates: 128. Each that is
    // heard costs a pong; each of the 8 + 10 learnt addresses of each end a dozen of both.
    CHECK(run.probes <= (128 * 2) + (2 * 18 * 12));
    return;
  }
  // 50 ms for the candidates, and two round trips of 100 ms, beside what a filter costs.
  REQUIRE(run.run_until([&] { return run.is_direct(); }, seconds(1)));
  INFO("direct after " << (run.now.instant - begin).count() / 1000000 << " ms");
  CHECK(run.topology.works(run.finder(kClient).find(*run.finder(kClient).live())->remote,
                           run.now.instant));
  run.run_for(seconds(10));
  CHECK(run.is_direct());
  CHECK(run.downgrades == 0);
  // All of it for eleven seconds: ten pings a second and their pongs, and the search before.
  CHECK(run.probes <= (11 * 10 * 2) + 100);
  // Death is noticed within one interval, two round trips and 50 ms; jitter takes a little more.
  run.is_blocked = true;
  const Instant death = run.now.instant;
  REQUIRE(run.run_until([&] { return !run.is_direct(); }, seconds(2)));
  CHECK(run.now.instant - death <= milliseconds(100 + 200 + 50 + 50));
  // And nobody goes back before it has worked for a second.
  run.is_blocked = false;
  const Instant healed = run.now.instant;
  REQUIRE(run.run_until([&] { return run.is_direct(); }, seconds(10)));
  CHECK(run.now.instant - healed >= seconds(1));
}

TEST_CASE("direct is found in every cell of NATs where it is possible, and only there",
          "[rfc4787]") {
  const std::uint64_t seed = Catch::getSeed();
  CAPTURE(seed);
  const std::vector<Place> places = all_places();
  for (const Place& client : places) {
    for (const Place& connector : places) {
      CAPTURE(client.to_text(), connector.to_text());
      const Topology::Options options{.places = {client, connector}};
      check_cell(options, seed);
    }
  }
}

TEST_CASE("behind one NAT the LAN is used, else a hairpin if there is one", "[rfc4787-6]") {
  const std::uint64_t seed = Catch::getSeed();
  CAPTURE(seed);
  for (const Place& place : all_places()) {
    if (!place.nat) continue;
    CAPTURE(place.to_text());
    for (const bool is_hairpinning : {false, true}) {
      for (const bool is_isolated : {false, true}) {
        CAPTURE(is_hairpinning, is_isolated);
        const Topology::Options options{.places = {place, place},
                                        .is_one_nat = true,
                                        .is_hairpinning = is_hairpinning,
                                        .is_lan_isolated = is_isolated};
        if (!is_hairpinning) CHECK(is_direct_possible(options) == !is_isolated);
        check_cell(options, seed);
        if (is_isolated) continue;
        Run run(options, seed);
        run.start();
        run.run_for(seconds(5));
        const auto pair = run.finder(kClient).find(*run.finder(kClient).live());
        CHECK(pair->remote == run.topology.host(kConnector));
      }
    }
  }
}

TEST_CASE("loss delays a direct path, and does not prevent it") {
  const std::uint64_t seed = Catch::getSeed();
  CAPTURE(seed);
  for (const Place& client : all_places()) {
    for (const Place& connector : all_places()) {
      const Topology::Options options{.places = {client, connector}};
      if (!is_direct_possible(options)) continue;
      CAPTURE(client.to_text(), connector.to_text());
      Run run(options, seed);
      run.loss = 0.1;
      run.start();
      CHECK(run.run_until([&] { return run.is_direct(); }, minutes(2)));
    }
  }
}

TEST_CASE("who brings a probe before its original gets three for it at most, and no path",
          "[threat]") {
  const std::uint64_t seed = Catch::getSeed();
  CAPTURE(seed);
  for (const Place& connector : all_places()) {
    CAPTURE(connector.to_text());
    Run run({.places = {Place{}, connector}}, seed);
    run.is_raced = true;
    run.start();
    for (int i = 0; i < 600; ++i) {
      run.run_for(milliseconds(100));
      REQUIRE(run.toward_attacker <= 3 * run.raced);
      const auto live = run.finder(kClient).live();
      REQUIRE((!live || run.finder(kClient).find(*live)->remote != kAttacker));
    }
    // Left alone, all is well.
    run.is_raced = false;
    CHECK(run.run_until([&] { return run.is_direct(); }, minutes(2)));
  }
}

// One random history: links die and heal, NATs forget, flows come and go, and somebody who sees
// everything sends it again from elsewhere.
void run_history(std::uint64_t seed) {
  SeededRandom random(seed);
  const std::vector<Place> places = all_places();
  const Topology::Options options{
      .places = {places[random.below(places.size())], places[random.below(places.size())]}};
  CAPTURE(seed, options.places[0].to_text(), options.places[1].to_text());
  Run run(options, seed);
  run.delay = milliseconds(1 + random.below(150));
  run.start();
  for (int step = 0; step < 60; ++step) {
    switch (random.below(8)) {
      case 0:
        run.is_blocked = !run.is_blocked;
        break;
      case 1:
        run.loss = static_cast<double>(random.below(60)) / 100;
        break;
      case 2:
        if (Nat* nat = run.topology.nat_of(random.below(2))) nat->forget();
        break;
      case 3:
        run.feed(kClient, FlowsActive{random.below(2) == 0});
        break;
      case 4:
        run.delay = milliseconds(1 + random.below(150));
        break;
      default:
        for (int i = 0; i < 20; ++i) run.attack();
    }
    run.run_for(milliseconds(random.below(4000)));
  }
  CHECK(run.toward_attacker == 0);
  // Faults stop: direct comes where it can, and stays.
  run.is_blocked = false;
  run.loss = 0;
  run.feed(kClient, FlowsActive{true});
  run.run_for(minutes(5));
  CHECK(run.is_direct() == is_direct_possible(options));
  const std::size_t downgrades = run.downgrades;
  run.run_for(minutes(1));
  CHECK(run.downgrades == downgrades);
}

TEST_CASE("after any history direct comes back where it can, and an observer gains nothing",
          "[threat]") {
  const std::uint64_t seed = Catch::getSeed();
  for (std::uint64_t i = 0; i < 60; ++i) run_history(seed + i);
}

}  // namespace
}  // namespace zt::path
