// SPDX-License-Identifier: Apache-2.0
// What a finder decides, and when. What it may send is in finder_limits_test.cc.

#include "zt/path/finder.h"

#include <catch2/catch_test_macros.hpp>

#include "fixture.h"

namespace zt::path {
namespace {

using std::chrono::nanoseconds;

const SocketAddress kHost = address("10.0.0.2:5000");
const SocketAddress kObserved = address("11.0.0.2:6000");

static_assert(Engine<PathFinder>);

TEST_CASE("host addresses are probed first, IPv6 before IPv4, observed ones last") {
  Bench bench;
  bench.start({observed("11.0.0.2:1"), configured("11.0.0.2:2"), host("10.0.0.2:3"),
               observed("[2001:db9::2]:4"), host("[2001:db9::2]:5")});
  bench.run_for(milliseconds(50));
  REQUIRE(bench.sent.size() == 5);
  constexpr std::uint16_t kOrder[] = {5, 3, 2, 4, 1};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(bench.sent[i].probe.target.port == kOrder[i]);
    CHECK(bench.sent[i].probe.probe.kind == wire::ProbeKind::ping);
  }
}

TEST_CASE("a socket probes only what it reaches") {
  Bench bench;
  bench.feed(LocalChanged{.sockets = {{SocketId{1}, true, false}, {SocketId{2}, false, true}},
                          .candidates = {}});
  bench.tell({host("10.0.0.2:1"), host("[2001:db9::2]:1")});
  bench.run_for(milliseconds(50));
  REQUIRE(bench.sent.size() == 2);
  CHECK(bench.sent[0].probe.socket == SocketId{2});
  CHECK(bench.sent[1].probe.socket == SocketId{1});
}

TEST_CASE("the second pong upgrades, the first does not") {
  Bench bench;
  bench.rtts[kHost] = milliseconds(10);
  bench.start({host("10.0.0.2:5000")});
  const Instant begin = bench.now.instant;
  bench.run_for(milliseconds(20) - nanoseconds(1));
  CHECK(bench.decisions.empty());
  bench.run_for(nanoseconds(1));
  REQUIRE(bench.count<Upgrade>() == 1);
  CHECK(bench.decisions[0].at == begin + milliseconds(20));
  CHECK(bench.is_live(kHost));
  CHECK(bench.finder.status(bench.now)[0].observed == address("11.9.9.9:999"));
}

TEST_CASE("a connector punches and answers, and never decides") {
  Bench bench(wire::ProbeSender::connector);
  bench.rtts[kHost] = milliseconds(10);
  bench.start({host("10.0.0.2:5000"), observed("11.0.0.2:6000")});
  bench.run_for(milliseconds(50));
  CHECK(bench.pings(kHost) == 1);  // It was answered: the way is open.
  CHECK(bench.pings(kObserved) == 1);
  bench.ping_from(kObserved);
  REQUIRE(bench.sent.size() == 4);
  CHECK(bench.sent[2].probe.probe.kind == wire::ProbeKind::pong);
  CHECK(bench.sent[2].probe.probe.observed == kObserved);
  CHECK(bench.sent[2].probe.probe.sender == wire::ProbeSender::connector);
  bench.run_for(minutes(5));
  CHECK(bench.pings(kObserved) == 2);  // And one at once, when it was heard.
  CHECK(bench.decisions.empty());
  CHECK_FALSE(bench.has_spun);
}

TEST_CASE("a migration that fails bars its pair for five seconds, then for ten") {
  Bench bench;
  bench.is_migrating = false;
  bench.rtts[kHost] = milliseconds(10);
  bench.start({host("10.0.0.2:5000")});
  bench.run_for(milliseconds(50));
  REQUIRE(bench.count<Upgrade>() == 1);
  const PairNumber pair = std::get<Upgrade>(bench.decisions[0].what).pair.number;
  for (const Duration bar : {seconds(5), seconds(10)}) {
    const std::size_t before = bench.count<Upgrade>();
    bench.feed(MigrationFailed{pair});
    bench.run_for(bar - nanoseconds(1));
    CHECK(bench.count<Upgrade>() == before);
    bench.run_for(nanoseconds(1));
    CHECK(bench.count<Upgrade>() == before + 1);
  }
}

TEST_CASE("a migration without an answer has failed after its time") {
  Bench bench;
  bench.is_migrating = false;
  bench.rtts[kHost] = milliseconds(10);
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.run_until([&] { return bench.count<Upgrade>() == 1; }, seconds(1)));
  bench.run_for(seconds(10) - nanoseconds(1));
  CHECK(bench.count<Upgrade>() == 1);
  bench.run_for(nanoseconds(1));
  CHECK(bench.count<Upgrade>() == 2);
}

TEST_CASE("a dead path is left within the bound, by round trip", "[bound]") {
  struct Row {
    Duration rtt;
    Duration bound;
  };
  // One interval, two round trips and 50 ms; or less.
  const Row rows[] = {{milliseconds(1), milliseconds(50 + 20 + 20 + 20)},
                      {milliseconds(10), milliseconds(50 + 20 + 40)},
                      {milliseconds(50), milliseconds(50 + 100 + 40)},
                      {milliseconds(100), milliseconds(100 + 200 + 40)},
                      {milliseconds(140), milliseconds(499)},
                      {milliseconds(400), milliseconds(400 + 800 + 40)}};
  for (const auto& [rtt, bound] : rows) {
    for (int phase = 0; phase < 20; ++phase) {
      CAPTURE(rtt.count(), phase);
      Bench bench;
      bench.start({host("10.0.0.2:5000")});
      REQUIRE(bench.go_direct(kHost, rtt));
      bench.run_for(seconds(3) + (rtt * phase / 20) + milliseconds(phase));
      bench.rtts.clear();
      const Instant death = bench.now.instant;
      REQUIRE(bench.run_until([&] { return bench.count<Downgrade>() == 1; }, seconds(5)));
      // Pongs that were on their way are heard until one round trip later at most; a path that
      // drops both ways at once loses these too, so the bound counts from the last sign of life.
      CHECK(bench.now.instant - death <= bound + rtt);
      const auto& decision = std::get<Downgrade>(bench.decisions.back().what);
      CHECK(decision.reason == DowngradeReason::dead);
      CHECK(decision.may_use_relay);
      CHECK_FALSE(bench.finder.live().has_value());
    }
  }
}

TEST_CASE("two lost pings kill nothing, three do") {
  for (const std::size_t lost_count : {1U, 2U, 3U}) {
    CAPTURE(lost_count);
    Bench bench;
    bench.start({host("10.0.0.2:5000")});
    REQUIRE(bench.go_direct(kHost, milliseconds(10)));
    bench.run_for(seconds(2));
    std::size_t left = lost_count;
    bench.is_lost = [&] { return left > 0 && left-- > 0; };
    bench.run_for(seconds(1));
    CHECK(bench.count<Downgrade>() == (lost_count == 3 ? 1 : 0));
  }
}

TEST_CASE("packets from the path are signs of life, but not for ever") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(2));
  bench.rtts.clear();
  const Instant death = bench.now.instant;
  // We hear the peer every 5 ms; it does not hear us.
  while (bench.count<Downgrade>() == 0 && bench.now.instant < death + seconds(3)) {
    bench.finder.note_heard(bench.now.instant);
    bench.run_for(milliseconds(5));
  }
  REQUIRE(bench.count<Downgrade>() == 1);
  CHECK(std::get<Downgrade>(bench.decisions.back().what).reason == DowngradeReason::dead_one_way);
  CHECK(bench.now.instant - death > milliseconds(900));
  CHECK(bench.now.instant - death < milliseconds(1100));
}

TEST_CASE("a path that loses half of the pings is left as lossy") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(2));
  bool is_odd = false;
  bench.is_lost = [&] { return std::exchange(is_odd, !is_odd); };
  REQUIRE(bench.run_until([&] { return bench.count<Downgrade>() == 1; }, seconds(5)));
  CHECK(std::get<Downgrade>(bench.decisions.back().what).reason == DowngradeReason::lossy);
  // And it is not taken again while it is so.
  bench.run_for(seconds(60));
  CHECK(bench.count<Upgrade>() == 1);
}

TEST_CASE("after a death a pair must work for a second, then for two, then for four") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  for (const Duration hold : {seconds(1), seconds(2), seconds(4)}) {
    bench.run_for(seconds(2));
    bench.rtts.clear();
    REQUIRE(bench.run_until([&] { return !bench.finder.live(); }, seconds(1)));
    bench.run_for(milliseconds(500));
    bench.rtts[kHost] = milliseconds(10);
    const auto is_working = [&] { return bench.finder.status(bench.now)[0].is_working; };
    REQUIRE(bench.run_until(is_working, seconds(100)));
    const std::size_t before = bench.count<Upgrade>();
    bench.run_for(hold - nanoseconds(1));
    CHECK(bench.count<Upgrade>() == before);
    bench.run_for(nanoseconds(1));
    CHECK(bench.count<Upgrade>() == before + 1);
    bench.run_for(nanoseconds(1));
  }
}

TEST_CASE("a path that held for a minute starts from one second again") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  for (const Duration use : {seconds(1), seconds(1), seconds(60)}) {
    REQUIRE(bench.go_direct(kHost, milliseconds(10)));
    bench.run_for(use);
    bench.rtts.clear();
    REQUIRE(bench.run_until([&] { return !bench.finder.live(); }, seconds(1)));
  }
  bench.rtts[kHost] = milliseconds(10);
  const Instant death = bench.now.instant;
  REQUIRE(bench.run_until([&] { return bench.finder.live().has_value(); }, seconds(100)));
  CHECK(bench.now.instant - death < milliseconds(1200));
}

TEST_CASE("a change of network forgets the hysteresis and probes all at once") {
  Bench bench;
  bench.start({host("10.0.0.2:5000"), observed("11.0.0.2:6000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(1));
  bench.rtts.clear();
  REQUIRE(bench.run_until([&] { return !bench.finder.live(); }, seconds(1)));
  bench.run_for(seconds(20));
  bench.rtts[kHost] = milliseconds(10);
  const Instant change = bench.now.instant;
  const std::size_t told_count = bench.told.size();
  bench.change_local();
  CHECK(bench.told.size() == told_count + 1);
  bench.run_for(milliseconds(5));
  CHECK(bench.pings(kHost, change) == 1);
  CHECK(bench.pings(kObserved, change) == 1);
  REQUIRE(bench.run_until([&] { return bench.is_live(kHost); }, seconds(1)));
  CHECK(bench.now.instant - change == milliseconds(20));
}

TEST_CASE("a live path that a change of network has broken is left at once") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(40)));
  bench.run_for(seconds(3));
  bench.rtts.clear();
  bench.run_for(milliseconds(80));
  const Instant change = bench.now.instant;
  bench.change_local();
  CHECK(bench.pings(kHost, change) == 1);
  REQUIRE(bench.run_until([&] { return !bench.finder.live(); }, seconds(1)));
  CHECK(bench.now.instant - change <= milliseconds(2 * 50 + 20));
}

TEST_CASE("a live path whose socket is gone is left in the same call") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.feed(LocalChanged{.sockets = {{SocketId{2}, true, true}}, .candidates = {}});
  REQUIRE(bench.count<Downgrade>() == 1);
  CHECK(std::get<Downgrade>(bench.decisions.back().what).reason == DowngradeReason::socket_gone);
}

TEST_CASE("a switch needs a pair that is clearly better, and five seconds") {
  struct Row {
    int live_ms;
    int other_ms;
    bool is_switched;
  };
  // Both observed and IPv4: 11 ms beside the round trip. A quarter of 39 + 11 is 12.5.
  constexpr Row kRows[] = {{39, 26, true}, {39, 27, false}, {9, 4, true}, {9, 5, false}};
  for (const auto& [live_ms, other_ms, is_switched] : kRows) {
    CAPTURE(live_ms, other_ms);
    Bench bench;
    bench.start({observed("11.0.0.2:6000"), observed("11.0.0.3:6000")});
    REQUIRE(bench.go_direct(kObserved, milliseconds(live_ms)));
    const Instant upgrade = bench.now.instant;
    bench.rtts[address("11.0.0.3:6000")] = milliseconds(other_ms);
    bench.run_for(seconds(5) - nanoseconds(1));
    CHECK(bench.count<Switch>() == 0);
    bench.run_for(seconds(10));
    REQUIRE(bench.count<Switch>() == (is_switched ? 1 : 0));
    if (is_switched) CHECK(bench.decisions.back().at >= upgrade + seconds(5));
    CHECK(bench.count<Downgrade>() == 0);
  }
}

TEST_CASE("at one round trip a host address is better than an observed one") {
  Bench bench;
  bench.rtts[kHost] = milliseconds(4);
  bench.rtts[kObserved] = milliseconds(4);
  bench.start({observed("11.0.0.2:6000"), host("10.0.0.2:5000")});
  bench.run_for(seconds(1));
  CHECK(bench.is_live(kHost));
}

TEST_CASE("a pair that loses pings costs more") {
  Bench bench;
  bench.start({host("10.0.0.2:5000"), host("10.0.0.3:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.rtts[address("10.0.0.3:5000")] = milliseconds(10);
  bench.run_for(seconds(10));
  CHECK(bench.is_live(kHost));
  unsigned count = 0;
  // One in five of the live pair's: not half, and yet reason enough.
  bench.is_lost = [&] {
    const bool is_host = bench.sent.back().probe.target == kHost;
    return is_host && ++count % 5 == 0;
  };
  REQUIRE(bench.run_until([&] { return bench.is_live(address("10.0.0.3:5000")); }, seconds(30)));
  CHECK(bench.count<Downgrade>() == 0);
}

TEST_CASE("always_relay tells no address, probes nothing and answers nothing") {
  for (const auto role : {wire::ProbeSender::client, wire::ProbeSender::connector}) {
    Bench bench(role, Paths::always_relay);
    bench.rtts[kHost] = milliseconds(1);
    bench.start({host("10.0.0.2:5000")});
    bench.ping_from(kHost);
    bench.ping_from(kObserved);
    bench.feed(FlowsActive{true});
    bench.run_for(minutes(10));
    CHECK(bench.sent.empty());
    CHECK(bench.told.empty());
    CHECK(bench.decisions.empty());
  }
}

TEST_CASE("a policy that becomes always_relay leaves the path and withdraws the addresses") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.feed(PolicyChanged{Paths::always_relay});
  REQUIRE(bench.count<Downgrade>() == 1);
  CHECK(std::get<Downgrade>(bench.decisions.back().what).reason == DowngradeReason::policy);
  CHECK(bench.told.back().candidates.empty());
  CHECK(bench.told.back().generation > bench.told.front().generation);
  const std::size_t sent_count = bench.sent.size();
  bench.run_for(seconds(10));
  CHECK(bench.sent.size() == sent_count);
  // And back: at once.
  bench.feed(PolicyChanged{Paths::any});
  bench.run_for(milliseconds(50));
  CHECK(bench.is_live(kHost));
}

TEST_CASE("a migration that was on its way when the policy forbade it is undone") {
  Bench bench;
  bench.is_migrating = false;
  bench.rtts[kHost] = milliseconds(10);
  bench.start({host("10.0.0.2:5000")});
  bench.run_for(milliseconds(50));
  REQUIRE(bench.count<Upgrade>() == 1);
  bench.feed(PolicyChanged{Paths::always_relay});
  bench.feed(PathInUse{std::get<Upgrade>(bench.decisions[0].what).pair.number});
  REQUIRE(bench.count<Downgrade>() == 1);
  CHECK_FALSE(bench.finder.live().has_value());
}

TEST_CASE("under never_relay a death forbids the relay, and the way up has no delay") {
  Bench bench(wire::ProbeSender::client, Paths::never_relay);
  bench.start({host("10.0.0.2:5000"), host("10.0.0.3:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(1));
  bench.rtts.clear();
  bench.rtts[address("10.0.0.3:5000")] = milliseconds(10);
  REQUIRE(bench.run_until([&] { return bench.count<Downgrade>() == 1; }, seconds(1)));
  CHECK_FALSE(std::get<Downgrade>(bench.decisions.back().what).may_use_relay);
  const Instant death = bench.now.instant;
  REQUIRE(bench.run_until([&] { return bench.is_live(address("10.0.0.3:5000")); }, seconds(1)));
  CHECK(bench.now.instant - death <= milliseconds(30));
}

TEST_CASE("an hour without a timer kills no path that answers") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(1));
  // The machine sleeps with a ping on its way.
  bench.now.instant += std::chrono::hours(1);
  bench.finder.handle_timeout(bench.now);
  bench.run_for(seconds(5));
  CHECK(bench.count<Downgrade>() == 0);
  CHECK(bench.is_live(kHost));
}

TEST_CASE("an idle path is pinged every 15 seconds, and at once when flows come") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.feed(FlowsActive{false});
  bench.run_for(seconds(1));
  const Instant idle = bench.now.instant;
  bench.run_for(seconds(60));
  CHECK(bench.pings(kHost, idle) == 4);
  const Instant busy = bench.now.instant;
  bench.feed(FlowsActive{true});
  CHECK(bench.pings(kHost, busy) == 1);
  bench.run_for(seconds(1));
  CHECK(bench.pings(kHost, busy) >= 20);
  CHECK(bench.pings(kHost, busy) <= 21);
}

TEST_CASE("while flows stay on the relay all is tried again after 30 seconds, then after 60") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  bench.feed(FlowsActive{true});
  const Instant begin = bench.now.instant;
  bench.run_for(seconds(30) - nanoseconds(1));
  CHECK(bench.pings(kHost) == 8);
  CHECK(bench.told.size() == 1);
  bench.run_for(nanoseconds(1));
  CHECK(bench.told.size() == 2);
  bench.run_for(seconds(60) - nanoseconds(1));
  CHECK(bench.pings(kHost, begin + seconds(30)) == 8);
  CHECK(bench.told.size() == 2);
  bench.run_for(nanoseconds(1));
  CHECK(bench.told.size() == 3);
}

TEST_CASE("flows that come to a relay after a long silence make a new try at once") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  bench.run_for(minutes(20));
  CHECK(bench.pings(kHost) == 8);
  bench.rtts[kHost] = milliseconds(10);
  bench.feed(FlowsActive{true});
  CHECK(bench.told.size() == 2);
  bench.run_for(milliseconds(21));
  CHECK(bench.is_live(kHost));
}

TEST_CASE("a list replaces the one before, and an old one is ignored") {
  Bench bench;
  bench.start({host("10.0.0.2:5000"), host("10.0.0.3:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.tell({host("10.0.0.4:5000")});
  // The live one stays until it dies; the other unnamed one is gone.
  const auto status = bench.finder.status(bench.now);
  REQUIRE(status.size() == 2);
  CHECK(status[0].pair.remote == kHost);
  CHECK(status[1].pair.remote == address("10.0.0.4:5000"));
  bench.feed(RemoteChanged{{.generation = 1, .candidates = {}}});
  CHECK(bench.finder.status(bench.now).size() == 2);
}

TEST_CASE("a source that nobody named becomes a pair, and may be the only one that works") {
  Bench bench;
  bench.start({observed("11.0.0.2:6000")});
  const SocketAddress learnt = address("11.0.0.2:7777");
  bench.rtts[learnt] = milliseconds(20);
  bench.run_for(milliseconds(30));
  bench.ping_from(learnt);
  REQUIRE(bench.run_until([&] { return bench.is_live(learnt); }, seconds(1)));
  CHECK(bench.finder.status(bench.now).back().is_learnt);
}

TEST_CASE("QUIC's own return to a relay is followed") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  bench.run_for(seconds(1));
  bench.feed(PathInUse{std::nullopt});
  CHECK_FALSE(bench.finder.live().has_value());
  CHECK(bench.count<Downgrade>() == 0);
  bench.run_for(seconds(2));
  CHECK(bench.is_live(kHost));
}

TEST_CASE("every downgrade has a text") {
  for (const auto reason :
       {DowngradeReason::dead, DowngradeReason::dead_one_way, DowngradeReason::lossy,
        DowngradeReason::socket_gone, DowngradeReason::policy}) {
    CHECK_FALSE(to_text(reason).empty());
  }
}

}  // namespace
}  // namespace zt::path
