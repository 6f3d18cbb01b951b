// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <fmt/format.h>

#include <algorithm>

#include "zt/base/assert.h"

namespace zt::sim {

namespace {

constexpr std::uint64_t kEventsMax = 50'000'000;

}  // namespace

World::World(std::uint64_t seed)
    : seed_(seed),
      random_(seed),
      now_{.instant = Instant(std::chrono::hours(1)),
           .unix_time = from_unix_seconds(1'800'000'000)},
      buffer_(65536) {}

void World::attach(Actor& actor, const SocketAddress& address) {
  actors_.push_back({.actor = &actor, .address = address});
  settle(actors_.back());
}

void World::detach(Actor& actor) {
  std::erase_if(actors_, [&](const Attached& attached) { return attached.actor == &actor; });
}

void World::wake(Actor& actor) {
  for (Attached& attached : actors_) {
    if (attached.actor == &actor) return settle(attached);
  }
}

void World::set_link(const IpAddress& a, const IpAddress& b, const Link& link) {
  links_[{a, b}] = link;
  links_[{b, a}] = link;
}

void World::send(const SocketAddress& from, const SocketAddress& to,
                 std::span<const std::byte> bytes, std::size_t segment_size, std::uint8_t ecn) {
  ZT_ASSERT(segment_size > 0);
  for (std::size_t at = 0; at < bytes.size(); at += segment_size) {
    put_on_wire(from, to, bytes.subspan(at, std::min(segment_size, bytes.size() - at)), ecn);
  }
}

void World::put_on_wire(const SocketAddress& from, const SocketAddress& to,
                        std::span<const std::byte> datagram, std::uint8_t ecn) {
  if (on_wire) on_wire(from, to, datagram);
  const Link& link = link_between(from.ip, to.ip);
  if (link.is_blocked || draw() < link.loss) return;
  Instant leaves = now_.instant;
  if (link.rate_bits_per_s > 0) {
    Instant& busy_until = busy_until_[{from.ip, to.ip}];
    leaves = std::max(leaves, busy_until);
    const auto bits_to_duration = [&](std::uint64_t bits) {
      return Duration(static_cast<std::int64_t>(bits * 1'000'000'000 / link.rate_bits_per_s));
    };
    if (leaves - now_.instant > bits_to_duration(link.queue_size_max * 8)) return;
    leaves += bits_to_duration(datagram.size() * 8);
    busy_until = leaves;
  }
  const int copies = draw() < link.duplication ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    const auto jitter =
        Duration(static_cast<std::int64_t>(draw() * static_cast<double>(link.jitter.count())));
    arrivals_.emplace(
        std::pair(leaves + link.delay + jitter, next_sequence_++),
        Arrival{.from = from, .to = to, .bytes = {datagram.begin(), datagram.end()}, .ecn = ecn});
  }
}

bool World::run_until(const std::function<bool()>& is_done, Duration limit) {
  const Instant end = now_.instant + limit;
  while (!is_done()) {
    if (!step(end)) return is_done();
  }
  return true;
}

void World::run_for(Duration duration) {
  const Instant end = now_.instant + duration;
  while (step(end)) {
  }
}

// step does the next thing that happens before `limit`; if there is none, time jumps to the limit.
bool World::step(Instant limit) {
  ZT_ASSERT(++event_count_ < kEventsMax);
  std::optional<Instant> next;
  if (!arrivals_.empty()) next = arrivals_.begin()->first.first;
  Attached* late = nullptr;
  for (Attached& attached : actors_) {
    const auto deadline = attached.actor->next_deadline();
    if (!deadline) continue;
    if (!next || *deadline < *next) {
      next = *deadline;
      late = &attached;
    }
  }
  if (!next || *next > limit) {
    advance(limit);
    return false;
  }
  advance(*next);
  if (late != nullptr) {
    late->actor->handle_timeout(now_);
    settle(*late);
    return true;
  }
  const Arrival arrival = std::move(arrivals_.begin()->second);
  arrivals_.erase(arrivals_.begin());
  for (Attached& attached : actors_) {
    if (attached.address != arrival.to) continue;
    attached.actor->handle({.remote = arrival.from,
                            .bytes = arrival.bytes,
                            .segment_size = arrival.bytes.size(),
                            .ecn = arrival.ecn},
                           now_);
    settle(attached);
    break;
  }
  return true;
}

// settle drains an actor completely: what is carried out may make more to send.
void World::settle(Attached& attached) {
  attached.actor->settle(now_);
  while (const auto transmit = attached.actor->poll_transmit(buffer_, now_)) {
    send(attached.address, transmit->remote, std::span(buffer_).first(transmit->size),
         transmit->segment_size, transmit->ecn);
    attached.actor->settle(now_);
  }
}

void World::advance(Instant instant) {
  if (instant <= now_.instant) return;  // A deadline in the past is due at once.
  now_.unix_time += std::chrono::floor<std::chrono::milliseconds>(instant.time_since_epoch()) -
                    std::chrono::floor<std::chrono::milliseconds>(now_.instant.time_since_epoch());
  now_.instant = instant;
}

double World::draw() {
  constexpr double kScale = 1.0 / 18446744073709551616.0;  // 2^-64
  return static_cast<double>(random_.next()) * kScale;
}

const Link& World::link_between(const IpAddress& a, const IpAddress& b) const {
  const auto found = links_.find({a, b});
  return found == links_.end() ? default_link_ : found->second;
}

std::string World::replay() const {
  return fmt::format("ZT_SEED={} build/tests/sim/sim  (simulated {} ms, event {})", seed_,
                     std::chrono::duration_cast<std::chrono::milliseconds>(
                         now_.instant.time_since_epoch() - std::chrono::hours(1))
                         .count(),
                     event_count_);
}

}  // namespace zt::sim
