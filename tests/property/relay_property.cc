// SPDX-License-Identifier: Apache-2.0
// The forwarding table against a plain model: a list of bindings that is searched from end to end;
// and its replicas against the table.

#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "zt/relay/engine.h"
#include "zt/relay/replica.h"

namespace zt::relay {
namespace {

constexpr Engine::Limits kLimits{
    .bindings_max = 12, .bindings_per_tenant_max = 7, .is_replicated = true};

// Model keeps what the header promises, in the plainest way.
class Model {
 public:
  struct Entry {
    Bind bind;
    Instant expires;
  };

  std::optional<BindError> bind(const Bind& request, const Now& now) {
    drop_expired(now.instant);
    if (request.expires <= now.unix_time) return BindError::expired;
    const auto held = std::ranges::find_if(
        entries_, [&](const Entry& entry) { return entry.bind.route == request.route; });
    if (held != entries_.end()) {
      if (held->bind.tenant != request.tenant || held->bind.certificate != request.certificate) {
        return BindError::route_taken;
      }
      ends_[held->bind.key] = EndReason::replaced;
      entries_.erase(held);
    } else {
      if (entries_.size() >= kLimits.bindings_max) return BindError::relay_full;
      const auto count = std::ranges::count_if(
          entries_, [&](const Entry& entry) { return entry.bind.tenant == request.tenant; });
      if (static_cast<std::size_t>(count) >= kLimits.bindings_per_tenant_max) {
        return BindError::tenant_full;
      }
    }
    displace(request, request.source);
    entries_.push_back({request, now.instant + (request.expires - now.unix_time)});
    return std::nullopt;
  }

  void unbind(BindingKey key, const Now& now) {
    drop_expired(now.instant);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.bind.key == key; });
  }

  void move(BindingKey key, const SocketAddress& source, const Now& now) {
    drop_expired(now.instant);
    const auto held =
        std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.bind.key == key; });
    if (held == entries_.end()) return;
    held->bind.source = source;
    displace(Bind(held->bind), source);
  }

  void drop_expired(Instant now) {
    std::erase_if(entries_, [&](const Entry& entry) {
      const bool is_over = entry.expires <= now;
      if (is_over) ends_[entry.bind.key] = EndReason::expired;
      return is_over;
    });
  }

  std::expected<SocketAddress, DropReason> forward(const SocketAddress& source,
                                                   const RouteId& route, Instant now) const {
    const Entry* from = nullptr;
    const Entry* to = nullptr;
    for (const Entry& entry : entries_) {
      if (entry.expires <= now) continue;
      if (entry.bind.source == source) from = &entry;
      if (entry.bind.route == route) to = &entry;
    }
    if (from == nullptr) return std::unexpected(DropReason::source_unbound);
    if (to == nullptr) return std::unexpected(DropReason::route_unbound);
    if (from->bind.tenant != to->bind.tenant) return std::unexpected(DropReason::tenant_differs);
    return to->bind.source;
  }

  std::map<BindingKey, EndReason> take_ends() { return std::exchange(ends_, {}); }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  void displace(const Bind& newcomer, const SocketAddress& source) {
    std::erase_if(entries_, [&](const Entry& entry) {
      if (entry.bind.source != source) return false;
      if (entry.bind.tenant == newcomer.tenant && entry.bind.certificate == newcomer.certificate) {
        return false;
      }
      ends_[entry.bind.key] = EndReason::displaced;
      return true;
    });
  }

  std::vector<Entry> entries_;
  std::map<BindingKey, EndReason> ends_;
};

template <class Value>
Value filled_with(std::uint64_t number) {
  Value value;
  value.bytes.back() = static_cast<std::byte>(number);
  return value;
}

// Thread is a replica behind a queue that may be full and is emptied now and then.
class Thread {
 public:
  explicit Thread(Random& random) : random_(random), replica_(random) {}

  void publish(const Engine& engine, const std::vector<RouteChange>& changes) {
    auto update = feed_.update(engine, changes);
    if (!update) return;
    if (queue_.size() < 3) {
      queue_.push_back(*std::move(update));
    } else {
      feed_.lost();
    }
  }
  void take_some() {
    for (std::size_t left = random_.below(4); left > 0 && !queue_.empty(); --left) {
      replica_.take(queue_.front());
      queue_.pop_front();
    }
  }
  // drain empties the queue, and tells the feed so, until there is nothing more to tell.
  void drain(const Engine& engine) {
    do {
      while (!queue_.empty()) {
        replica_.take(queue_.front());
        queue_.pop_front();
      }
      publish(engine, {});
    } while (!queue_.empty());
  }
  // forward is what the thread does with a datagram now.
  std::expected<SocketAddress, DropReason> forward(const SocketAddress& source,
                                                   const RouteId& route, Instant now) {
    return replica_.forward(source, route, {1, 1200}, now, feed_.epoch());
  }

 private:
  Random& random_;
  Replica replica_;
  Feed feed_;
  std::deque<Update> queue_;
};

void run_history(std::uint64_t seed) {
  SeededRandom random(seed);
  Engine engine(kLimits, random);
  Model model;
  Thread prompt(random);
  Thread late(random);
  Now now{Instant(std::chrono::seconds(1)), UnixTime(std::chrono::hours(480'000))};
  std::uint64_t next_key = 1;

  const auto some_address = [&] {
    return SocketAddress{IpAddress::v4({10, 0, 0, 1}),
                         static_cast<std::uint16_t>(1 + random.below(12))};
  };
  const auto some_key = [&] { return BindingKey(1 + random.below(next_key)); };

  for (int step = 0; step < 400; ++step) {
    INFO("seed " << seed << " step " << step);
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2: {
        const std::uint64_t node = random.below(10);
        const Bind request{
            .key = BindingKey(next_key++),
            .route = filled_with<RouteId>(random.below(16)),
            .tenant = {random.below(8) == 0 ? "ten_b" : "ten_a"},
            .certificate = filled_with<Digest>(node),
            .source = some_address(),
            .expires = now.unix_time + std::chrono::milliseconds(random.below(20'000))};
        const auto expected = model.bind(request, now);
        const auto result = engine.bind(request, now);
        REQUIRE(result.has_value() == !expected.has_value());
        if (expected) REQUIRE(result.error() == *expected);
        break;
      }
      case 3: {
        const BindingKey key = some_key();
        model.unbind(key, now);
        engine.unbind(key, now);
        break;
      }
      case 4: {
        const BindingKey key = some_key();
        const SocketAddress address = some_address();
        model.move(key, address, now);
        engine.move(key, address, now);
        break;
      }
      default: {
        const auto passed = std::chrono::milliseconds(random.below(3'000));
        now = {now.instant + passed, now.unix_time + passed};
        if (random.below(2) == 0) {
          model.drop_expired(now.instant);
          engine.handle_timeout(now);
        }
      }
    }
    std::map<BindingKey, EndReason> ends;
    while (const auto output = engine.poll_output()) {
      REQUIRE(ends.emplace(output->key, output->reason).second);
    }
    REQUIRE(ends == model.take_ends());
    REQUIRE(engine.binding_count() == model.entries().size());
    std::vector<RouteChange> changes;
    while (const auto change = engine.poll_change()) changes.push_back(*change);
    prompt.publish(engine, changes);
    prompt.drain(engine);
    late.publish(engine, changes);
    late.take_some();
    const bool has_caught_up = random.below(4) == 0;
    if (has_caught_up) late.drain(engine);
    for (int i = 0; i < 20; ++i) {
      const SocketAddress source = some_address();
      const auto route = filled_with<RouteId>(random.below(16));
      const auto expected = model.forward(source, route, now.instant);
      REQUIRE(engine.forward(source, route, {1, 1200}, now.instant) == expected);
      REQUIRE(prompt.forward(source, route, now.instant) == expected);
      const auto by_late = late.forward(source, route, now.instant);
      if (has_caught_up) REQUIRE(by_late == expected);
    }
  }
}

TEST_CASE("random histories forward as the model does, and end what it ends") {
  for (std::uint64_t i = 0; i < 200; ++i) run_history(Catch::getSeed() + i);
}

// --- Replicas.

struct Pair {
  SeededRandom random{7};
  Engine engine{kLimits, random};
  Feed feed;
  Replica replica{random};
  Now now{Instant(std::chrono::seconds(1)), UnixTime(std::chrono::hours(480'000))};

  static SocketAddress address(std::uint16_t port) { return {IpAddress::v4({10, 0, 0, 1}), port}; }
  void bind(std::uint64_t number) {
    const Bind request{.key = BindingKey(number),
                       .route = filled_with<RouteId>(number),
                       .tenant = {"ten_a"},
                       .certificate = filled_with<Digest>(number),
                       .source = address(static_cast<std::uint16_t>(number)),
                       .expires = now.unix_time + std::chrono::seconds(10)};
    REQUIRE(engine.bind(request, now));
  }
  std::optional<Update> update() {
    std::vector<RouteChange> changes;
    while (const auto change = engine.poll_change()) changes.push_back(*change);
    return feed.update(engine, changes);
  }
  bool forwards(std::uint16_t from, std::uint64_t to) {
    return replica
        .forward(address(from), filled_with<RouteId>(to), {1, 1200}, now.instant, feed.epoch())
        .has_value();
  }
};

TEST_CASE("a replica forwards nothing before its first update, which is the whole table") {
  Pair pair;
  pair.bind(1);
  pair.bind(2);
  CHECK_FALSE(pair.forwards(1, 2));
  CHECK(pair.replica.totals().dropped_for(DropReason::out_of_date) == Volume{1, 1200});
  const auto update = pair.update();
  REQUIRE(update);
  CHECK(update->is_whole);
  pair.replica.take(*update);
  CHECK(pair.forwards(1, 2));
  CHECK_FALSE(pair.update());  // Nothing has changed since.
}

TEST_CASE("an update that is lost takes the right to forward, until the whole table has come") {
  Pair pair;
  pair.bind(1);
  pair.bind(2);
  pair.bind(3);
  pair.replica.take(*pair.update());
  pair.engine.unbind(BindingKey{2}, pair.now);
  REQUIRE(pair.update());
  pair.feed.lost();  // Before the replica has taken anything: at once.
  CHECK_FALSE(pair.forwards(1, 2));
  CHECK_FALSE(pair.forwards(1, 3));
  pair.engine.unbind(BindingKey{3}, pair.now);
  const auto second = pair.update();
  REQUIRE(second);
  pair.feed.lost();  // Again, while the second is still on its way.
  pair.replica.take(*second);
  CHECK_FALSE(pair.forwards(1, 1));
  pair.replica.take(*pair.update());
  CHECK(pair.forwards(1, 1));
  CHECK_FALSE(pair.forwards(1, 2));
  CHECK_FALSE(pair.forwards(1, 3));
}

TEST_CASE("a binding ends in a replica at its deadline, without an update") {
  Pair pair;
  pair.bind(1);
  pair.bind(2);
  pair.replica.take(*pair.update());
  pair.now.instant += std::chrono::seconds(10) - Duration(1);
  CHECK(pair.forwards(1, 2));
  pair.now.instant += Duration(1);
  CHECK_FALSE(pair.forwards(1, 2));
}

}  // namespace
}  // namespace zt::relay
