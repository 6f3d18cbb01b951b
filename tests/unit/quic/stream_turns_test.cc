// SPDX-License-Identifier: Apache-2.0
#include "quic/stream_turns.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <vector>

#include "zt/base/random.h"

namespace zt::quic {
namespace {

constexpr std::size_t kTurnSize = 1000;

// Streams asks as Http3 does: who waits does not ask again before pass() has named it.
class Streams {
 public:
  // say makes bytes wait; a turn is of kTurnSize.
  void say(std::int64_t id, std::size_t size) { left_[id] += size; }
  void vanish(std::int64_t id) { left_.erase(id); }
  [[nodiscard]] std::size_t sent(std::int64_t id) { return sent_[id]; }

  // turn returns the stream that sends next, or -1 if none has anything. While one sends, all
  // others ask.
  std::int64_t turn() {
    for (;;) {
      std::vector<std::int64_t> ids;
      for (const auto& [id, left] : left_) ids.push_back(id);
      std::ranges::rotate(ids, std::ranges::upper_bound(ids, last_));
      for (const std::int64_t id : ids) {
        if (may_send(id)) return last_ = id;
      }
      const auto next = turns_.pass();
      if (!next) return -1;
      places_[*next].is_waiting = false;
    }
  }

  std::vector<std::int64_t> turns(int count) {
    std::vector<std::int64_t> order;
    for (int i = 0; i < count; ++i) order.push_back(turn());
    return order;
  }

 private:
  bool may_send(std::int64_t id) {
    StreamTurns::Place& place = places_[id];
    if (place.is_waiting) return false;
    if (left_[id] == 0) {
      turns_.leave(id);
      return false;
    }
    const std::size_t size = std::min(left_[id], kTurnSize);
    if (!turns_.ask(id, place, size)) return false;
    StreamTurns::charge(place, size);
    left_[id] -= size;
    sent_[id] += size;
    return true;
  }

  StreamTurns turns_;
  std::int64_t last_ = -1;
  std::map<std::int64_t, std::size_t> left_;
  std::map<std::int64_t, std::size_t> sent_;
  std::map<std::int64_t, StreamTurns::Place> places_;
};

}  // namespace

TEST_CASE("a stream that is alone sends turn after turn") {
  Streams streams;
  streams.say(0, 3 * kTurnSize);
  CHECK(streams.turns(4) == std::vector<std::int64_t>{0, 0, 0, -1});
}

TEST_CASE("bulk streams send in rounds") {
  Streams streams;
  for (const std::int64_t id : {0, 4, 8}) streams.say(id, 100 * kTurnSize);
  (void)streams.turns(6);
  const auto order = streams.turns(9);
  for (std::size_t i = 3; i < order.size(); ++i) CHECK(order[i] == order[i - 3]);
  CHECK(order[0] != order[1]);
  CHECK(order[1] != order[2]);
  CHECK(order[0] != order[2]);
}

TEST_CASE("a request comes right after the turn that is going on, however often it comes") {
  for (const int pause : {0, 1, 3, 16}) {
    CAPTURE(pause);
    Streams streams;
    for (std::int64_t id = 0; id < 8; ++id) streams.say(id, 1000 * kTurnSize);
    (void)streams.turns(20);
    for (int i = 0; i < 20; ++i) {
      streams.say(100, 10);
      const auto next = streams.turns(2);
      CHECK(std::ranges::find(next, 100) != next.end());
      (void)streams.turns(pause);
    }
  }
}

TEST_CASE("a stream that was silent for long has saved nothing up") {
  Streams streams;
  streams.say(0, 1000 * kTurnSize);
  (void)streams.turns(500);
  streams.say(4, 500 * kTurnSize);
  const std::size_t before = streams.sent(0);
  (void)streams.turns(100);
  CHECK(streams.sent(0) - before >= 49 * kTurnSize);
  CHECK(streams.sent(4) >= 49 * kTurnSize);
}

TEST_CASE("small requests without end take no more bytes than a bulk stream gets") {
  Streams streams;
  streams.say(0, 10'000 * kTurnSize);
  constexpr std::int64_t kRequests = 20;
  for (std::int64_t id = 1; id <= kRequests; ++id) streams.say(id, 10);
  for (int i = 0; i < 20'000; ++i) {
    const std::int64_t last = streams.turn();
    if (last > 0) streams.say(last, 10);  // It has something to say again at once.
  }
  for (std::int64_t id = 1; id <= kRequests; ++id) {
    CHECK(streams.sent(id) <= streams.sent(0) + kTurnSize);
  }
}

TEST_CASE("a stream that is gone when its turn comes holds up nobody") {
  Streams streams;
  for (const std::int64_t id : {0, 4, 8}) streams.say(id, 10 * kTurnSize);
  (void)streams.turns(4);
  streams.vanish(4);
  while (streams.turn() >= 0) continue;
  CHECK(streams.sent(0) == 10 * kTurnSize);
  CHECK(streams.sent(8) == 10 * kTurnSize);
}

TEST_CASE("everything that is said is sent, whoever comes and goes") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    Streams streams;
    std::map<std::int64_t, std::size_t> said;
    for (int i = 0; i < 500; ++i) {
      if (random.below(3) == 0) {
        const auto id = static_cast<std::int64_t>(random.below(12));
        const std::size_t size = 1 + random.below(5 * kTurnSize);
        streams.say(id, size);
        said[id] += size;
      }
      (void)streams.turn();
    }
    while (streams.turn() >= 0) continue;
    for (const auto& [id, size] : said) CHECK(streams.sent(id) == size);
  }
}

}  // namespace zt::quic
