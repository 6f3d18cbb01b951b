// SPDX-License-Identifier: Apache-2.0
// What a finder sends at most, and what it takes from whom.

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "fixture.h"

namespace zt::path {
namespace {

const SocketAddress kHost = address("10.0.0.2:5000");
const SocketAddress kVictim = address("11.0.0.9:53");

bool is_ping(const SendProbe& probe) {
  return probe.probe.kind == wire::ProbeKind::ping;
}

TEST_CASE("a silent address gets eight pings, further and further apart", "[threat]") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  bench.run_for(minutes(10));
  REQUIRE(bench.pings(kHost) == 8);
  constexpr int kGaps[] = {100, 200, 400, 800, 1600, 1600, 1600};
  for (std::size_t i = 0; i + 1 < 8; ++i) {
    CHECK(bench.sent[i + 1].at - bench.sent[i].at == milliseconds(kGaps[i]));
  }
}

TEST_CASE("one address gets at most 12 pings a second, whatever the ports", "[threat]") {
  for (const std::string prefix : {"11.0.0.9:", "[2001:db9::9]:"}) {
    Bench bench;
    bench.start({});
    for (int list = 0; list < 50; ++list) {
      std::vector<wire::Candidate> all;
      for (int port = 1; port <= 16; ++port) {
        all.push_back(observed(prefix + std::to_string((list * 16) + port)));
      }
      bench.tell(all);
      bench.run_for(milliseconds(100));
    }
    CHECK(bench.most_in_a_second(is_ping) <= 12);
    CHECK(bench.sent.size() <= 10 + (5 * 2) + 1);
    CHECK(bench.sent.size() >= 10);
    CHECK_FALSE(bench.has_spun);
  }
}

TEST_CASE("an IPv6 network of 64 bits counts as one address", "[threat]") {
  Bench bench;
  std::vector<wire::Candidate> all;
  for (int i = 1; i <= 16; ++i) all.push_back(observed("[2001:db9::" + std::to_string(i) + "]:53"));
  bench.start(all);
  bench.run_for(seconds(20));
  CHECK(bench.most_in_a_second(is_ping) <= 12);
}

TEST_CASE("a flood of lists makes at most 50 pings in a second and 10 in the long run",
          "[threat]") {
  Bench bench;
  bench.start({});
  const Instant begin = bench.now.instant;
  for (int list = 0; list < 600; ++list) {
    std::vector<wire::Candidate> all;
    for (int i = 0; i < 16; ++i) {
      const int number = (list * 16) + i;
      all.push_back(observed("11." + std::to_string(number / 65536) + "." +
                             std::to_string((number / 256) % 256) + "." +
                             std::to_string(number % 256) + ":53"));
    }
    bench.tell(all);
    bench.run_for(milliseconds(100));
  }
  CHECK(bench.most_in_a_second(is_ping) <= 50);
  const auto lasted = std::chrono::duration_cast<seconds>(bench.now.instant - begin).count();
  CHECK(bench.sent.size() <= 40 + (10 * static_cast<std::size_t>(lasted)) + 1);
  CHECK_FALSE(bench.has_spun);
}

TEST_CASE("an address that has answered gets at most 100 pings a second", "[threat]") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  REQUIRE(bench.go_direct(kHost, milliseconds(10)));
  for (int list = 0; list < 2000; ++list) {
    bench.tell({host("10.0.0.2:5000")});
    bench.run_for(milliseconds(1));
  }
  CHECK(bench.most_in_a_second(is_ping) <= 101);
}

TEST_CASE("addresses that nobody should be sent to are neither probed nor answered", "[threat]") {
  constexpr const char* kRefused[] = {
      "127.0.0.1:1",      "0.0.0.0:1",         "169.254.1.1:1",       "169.254.169.254:80",
      "224.0.0.1:1",      "255.255.255.255:1", "240.0.0.1:1",         "[::1]:1",
      "[fe80::1]:1",      "[ff02::1]:1",       "[::ffff:11.0.0.9]:1", "[64:ff9b::b00:9]:1",
      "[2002:b00:9::]:1", "10.0.0.1:4000",  // Our own.
  };
  for (const auto role : {wire::ProbeSender::client, wire::ProbeSender::connector}) {
    Bench bench(role);
    std::vector<wire::Candidate> all;
    for (const char* text : kRefused) all.push_back(host(text));
    bench.start(all);
    for (const char* text : kRefused) bench.ping_from(address(text));
    bench.run_for(seconds(20));
    CHECK(bench.sent.empty());
    CHECK(bench.finder.status(bench.now).empty());
  }
}

TEST_CASE("an address that nobody named gets three probes for each of its pings", "[threat]") {
  for (const auto role : {wire::ProbeSender::client, wire::ProbeSender::connector}) {
    for (const std::size_t ping_count : {1U, 2U, 5U, 50U}) {
      CAPTURE(ping_count);
      Bench bench(role);
      bench.start({});
      for (std::size_t i = 0; i < ping_count; ++i) {
        bench.ping_from(kVictim);
        CHECK(bench.sent.size() <= 3 * (i + 1));
        bench.run_for(milliseconds(20));
        CHECK(bench.sent.size() <= 3 * (i + 1));
      }
      bench.run_for(minutes(1));
      CHECK(bench.sent.size() <= 3 * ping_count);
      CHECK(bench.pings(kVictim) >= 1);
    }
  }
}

TEST_CASE("a ping is answered by one pong to where it came from, of its own size") {
  Bench bench(wire::ProbeSender::connector);
  bench.start({});
  bench.ping_from(kHost);
  REQUIRE_FALSE(bench.sent.empty());
  const SendProbe& pong = bench.sent[0].probe;
  CHECK(pong.target == kHost);
  CHECK(pong.socket == kSocket);
  CHECK(pong.probe.kind == wire::ProbeKind::pong);
  CHECK(pong.probe.transaction == 1);
  CHECK(pong.probe.pair == 1);
}

TEST_CASE("a ping is answered once", "[threat]") {
  Bench bench(wire::ProbeSender::connector);
  bench.start({});
  const auto pongs = [&] {
    return std::ranges::count_if(bench.sent,
                                 [](const Bench::Sent& one) { return !is_ping(one.probe); });
  };
  bench.feed(bench.make_ping(kHost, 300));
  CHECK(pongs() == 1);
  bench.feed(bench.make_ping(kHost, 300));
  bench.feed(bench.make_ping(kVictim, 300));
  CHECK(pongs() == 1);
  // The oldest that can be new, and the first that cannot.
  bench.feed(bench.make_ping(kHost, 300 - 255));
  CHECK(pongs() == 2);
  bench.feed(bench.make_ping(kHost, 300 - 255));
  bench.feed(bench.make_ping(kHost, 300 - 256));
  CHECK(pongs() == 2);
  bench.feed(bench.make_ping(kHost, 0));
  CHECK(pongs() == 2);
  bench.feed(bench.make_ping(kHost, UINT64_MAX));
  bench.feed(bench.make_ping(kHost, UINT64_MAX));
  bench.feed(bench.make_ping(kHost, 301));
  CHECK(pongs() == 3);
}

TEST_CASE("pongs end at 100, and go on at 50 a second", "[threat]") {
  Bench bench(wire::ProbeSender::connector);
  bench.start({});
  const auto pongs = [&] {
    return std::ranges::count_if(bench.sent,
                                 [](const Bench::Sent& one) { return !is_ping(one.probe); });
  };
  for (int i = 0; i < 1000; ++i) bench.ping_from(kHost);
  CHECK(pongs() == 100);
  bench.run_for(seconds(1));
  for (int i = 0; i < 1000; ++i) bench.ping_from(kHost);
  CHECK(pongs() == 150);
}

TEST_CASE("pings from ever new sources make at most eight pairs", "[threat]") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  for (std::uint16_t port = 1; port <= 1000; ++port) {
    bench.ping_from({kVictim.ip, port});
    bench.run_for(milliseconds(30));
  }
  CHECK(bench.finder.status(bench.now).size() <= 9);
  CHECK(bench.most_in_a_second([](const SendProbe& probe) {
    return is_ping(probe) && probe.target.ip == kVictim.ip;
  }) <= 12);
}

TEST_CASE("new sources are learnt at a rate", "[threat]") {
  Bench bench(wire::ProbeSender::connector);
  bench.start({});
  std::size_t pinged_count = 0;
  for (std::uint8_t i = 1; i <= 100; ++i) {
    const SocketAddress source{IpAddress::v4({11, 0, i, 1}), 53};
    bench.ping_from(source);
    bench.run_for(milliseconds(600) - std::chrono::nanoseconds(1));
    pinged_count += std::min<std::size_t>(bench.pings(source), 1);
  }
  CHECK(pinged_count == 8 + 1);  // One minute, less a hair.
}

TEST_CASE("a pong counts only as the answer that was asked for", "[threat]") {
  struct Row {
    const char* what;
    std::function<void(ProbeReceived&)> change;
    bool is_taken;
  };
  const Row rows[] = {
      {"as it is", [](ProbeReceived&) {}, true},
      {"from elsewhere", [](ProbeReceived& pong) { pong.source = kVictim; }, false},
      {"on another socket", [](ProbeReceived& pong) { pong.socket = SocketId{9}; }, false},
      {"another count", [](ProbeReceived& pong) { ++pong.probe.transaction; }, false},
      {"a guessed nonce", [](ProbeReceived& pong) { pong.probe.nonce = {}; }, false},
      {"another pair", [](ProbeReceived& pong) { ++pong.probe.pair; }, false},
      {"our own, sent back",
       [](ProbeReceived& pong) { pong.probe.sender = wire::ProbeSender::client; }, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Bench bench;
    bench.start({host("10.0.0.2:5000")});
    REQUIRE(bench.sent.size() == 1);
    ProbeReceived pong = bench.make_pong(bench.sent[0].probe);
    row.change(pong);
    bench.feed(pong);
    CHECK(bench.finder.status(bench.now)[0].is_working == row.is_taken);
    // Twice is as good as once.
    bench.feed(pong);
    CHECK(bench.count<Upgrade>() == 0);
  }
}

TEST_CASE("our own ping that comes back is not answered", "[threat]") {
  Bench bench;
  bench.start({host("10.0.0.2:5000")});
  const SendProbe ping = bench.sent[0].probe;
  bench.feed(ProbeReceived{kSocket, kHost, ping.probe});
  CHECK(bench.sent.size() == 1);
}

TEST_CASE("sockets above the limit are not used") {
  Bench bench;
  LocalChanged change;
  for (std::uint32_t i = 1; i <= 5; ++i) change.sockets.push_back({SocketId{i}, true, true});
  bench.feed(change);
  bench.tell({host("10.0.0.2:5000")});
  CHECK(bench.finder.status(bench.now).size() == 4);
}

TEST_CASE("the peer is told at most as many candidates as a list holds") {
  Bench bench;
  LocalChanged change{.sockets = {{kSocket, true, true}}, .candidates = {}};
  for (std::uint16_t i = 1; i <= 40; ++i) {
    change.candidates.push_back({wire::CandidateKind::host, {kHost.ip, i}});
  }
  bench.feed(change);
  REQUIRE(bench.told.size() == 1);
  CHECK(bench.told[0].candidates.size() == wire::kCandidatesMax);
  CHECK(wire::parse_candidates(wire::encode_candidates(bench.told[0])) == bench.told[0]);
}

// random_input is anything that a peer with the key, or a confused owner, may say.
PathFinder::Input random_input(Bench& bench, SeededRandom& random) {
  const SocketAddress somewhere{
      IpAddress::v4({11, 0, 0, static_cast<std::uint8_t>(random.below(30))}),
      static_cast<std::uint16_t>(random.below(4))};
  const auto number = PairNumber{static_cast<std::uint32_t>(random.below(40))};
  switch (random.below(8)) {
    case 0: {
      wire::CandidateList list{.generation = random.below(1000), .candidates = {}};
      for (std::uint64_t i = random.below(wire::kCandidatesMax + 1); i > 0; --i) {
        const auto kind = static_cast<wire::CandidateKind>(1 + random.below(3));
        const auto last = static_cast<std::uint8_t>(random.below(40));
        list.candidates.push_back({kind, {IpAddress::v4({11, 0, 0, last}), 1}});
      }
      return RemoteChanged{list};
    }
    case 1:
    case 2:
      return bench.make_ping(somewhere, random.below(2000));
    case 3:
      if (!bench.sent.empty()) {
        return bench.make_pong(bench.sent[random.below(bench.sent.size())].probe);
      }
      return PathInUse{std::nullopt};
    case 4:
      return PathInUse{random.below(4) == 0 ? std::nullopt : std::optional(number)};
    case 5:
      return MigrationFailed{number};
    case 6:
      return PolicyChanged{static_cast<Paths>(random.below(3))};
    default:
      return FlowsActive{random.below(2) == 0};
  }
}

TEST_CASE("whatever is said in whatever order, the limits hold and time goes on",
          "[threat][property]") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    Bench bench(seed % 2 == 0 ? wire::ProbeSender::client : wire::ProbeSender::connector);
    bench.is_migrating = seed % 3 == 0;
    bench.start({host("10.0.0.2:5000")});
    for (int step = 0; step < 400; ++step) {
      bench.feed(random_input(bench, random));
      bench.run_for(milliseconds(random.below(200)));
      if (random.below(50) == 0) bench.change_local();
      REQUIRE_FALSE(bench.has_spun);
      // Pairs: one socket, a list, what was learnt, and one in use.
      REQUIRE(bench.finder.status(bench.now).size() <= wire::kCandidatesMax + 8 + 2);
    }
    if (seed % 2 == 1) CHECK(bench.decisions.empty());
  }
}

}  // namespace
}  // namespace zt::path
