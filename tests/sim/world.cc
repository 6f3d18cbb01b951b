// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "node/tcp_links.h"
#include "zt/base/assert.h"

namespace zt::sim {

namespace {

constexpr std::uint64_t kEventsMax = 50'000'000;

}  // namespace

void Actor::link_opened(const SocketAddress& /*link*/, const SocketAddress& /*remote*/,
                        const Now& /*now*/) {}
void Actor::link_closed(const SocketAddress& /*link*/, const Now& /*now*/) {}

World::World(std::uint64_t seed)
    : seed_(seed),
      random_(seed),
      now_{.instant = Instant(std::chrono::hours(1)),
           .unix_time = from_unix_seconds(1'800'000'000)},
      buffer_(65536) {}

Realm World::add_nat(const Nat::Config& config, Realm outer) {
  ZT_ASSERT(outer == kPublic || networks_.contains(outer));
  ZT_ASSERT(!config.is_translating || !has_address(outer, config.external));
  const Realm realm{static_cast<std::uint32_t>(networks_.size() + 1)};
  networks_.emplace(realm, Network{.nat = Nat(config), .outer = outer});
  return realm;
}

void World::attach(Actor& actor, const Place& place) {
  ZT_ASSERT(!is_taken(place));
  Attached* attached = find(actor);
  if (attached == nullptr) {
    attached = &actors_.emplace_back(Attached{.actor = &actor, .places = {}});
  }
  ZT_ASSERT(attached->place_for(place.address.ip) == nullptr);
  attached->places.push_back(place);
  settle(*attached);
}

void World::detach(Actor& actor) {
  const std::vector<Pipe> pipes = pipes_;
  for (const Pipe& pipe : pipes) {
    if (pipe.near == &actor || pipe.far == &actor) end_pipe(pipe);
  }
  std::erase_if(actors_, [&](const Attached& attached) { return attached.actor == &actor; });
}

void World::crash(Actor& actor) {
  detach(actor);
  if (on_crashed) on_crashed(actor);
}

void World::move(Actor& actor, const Place& place) {
  Attached* attached = find(actor);
  ZT_ASSERT(attached != nullptr);
  std::erase_if(attached->places, [&](const Place& old) {
    return old.address.ip.is_v4() == place.address.ip.is_v4();
  });
  ZT_ASSERT(!is_taken(place));
  attached->places.push_back(place);
}

void World::wake(Actor& actor) {
  if (Attached* attached = find(actor)) settle(*attached);
}

void World::set_link(const IpAddress& a, const IpAddress& b, const Link& link, Realm realm) {
  set_one_way_link(a, b, link, realm);
  set_one_way_link(b, a, link, realm);
}

void World::set_one_way_link(const IpAddress& from, const IpAddress& to, const Link& link,
                             Realm realm) {
  links_[{realm, from, to}] = link;
}

void World::send(const Actor& from, const SocketAddress& to, std::span<const std::byte> bytes,
                 std::size_t segment_size, std::uint8_t ecn) {
  const Attached* attached = find(from);
  ZT_ASSERT(attached != nullptr);
  send(*attached, to, bytes, segment_size, ecn);
}

void World::send(const Attached& from, const SocketAddress& to, std::span<const std::byte> bytes,
                 std::size_t segment_size, std::uint8_t ecn) {
  ZT_ASSERT(segment_size > 0);
  if (node::is_link_address(to.ip)) return pipe_datagrams(*from.actor, to, bytes, segment_size);
  const Place* place = from.place_for(to.ip);
  if (place == nullptr) return;  // No route to this family.
  const Hop start{.realm = place->realm, .from = place->address, .to = to};
  for (std::size_t at = 0; at < bytes.size(); at += segment_size) {
    put_on_wire(*from.actor, start, bytes.subspan(at, std::min(segment_size, bytes.size() - at)),
                ecn);
  }
}

void World::put_on_wire(const Actor& sender, const Hop& start, std::span<const std::byte> datagram,
                        std::uint8_t ecn) {
  if (on_sent) on_sent(sender, start.to, datagram);
  const std::optional<Hop> hop = climb(start);
  if (on_wire) on_wire(hop.value_or(start), datagram);
  if (!hop) return lose(start);
  carry({.hop = *hop, .sender = &sender, .addressed = start.to, .sent = event_count_}, datagram,
        ecn);
}

void World::lose(const Hop& hop) const {
  if (on_lost) on_lost(hop);
}

// climb returns the hop of a datagram that starts as `hop`; nothing: a Nat on the way dropped it.
std::optional<Hop> World::climb(Hop hop) {
  while (hop.realm != kPublic && !has_address(hop.realm, hop.to.ip)) {
    auto& [nat, outer] = networks_.at(hop.realm);
    ZT_ASSERT(!nat.config().is_translating || nat.config().external.is_v4() == hop.from.ip.is_v4());
    if (nat.config().is_translating && hop.to.ip == nat.config().external) {
      const auto turned = nat.hairpin(hop.from, hop.to, now_.instant);
      if (!turned) return std::nullopt;
      return Hop{.realm = hop.realm, .from = turned->source, .to = turned->destination};
    }
    const auto source = nat.outbound(hop.from, hop.to, now_.instant);
    if (!source) return std::nullopt;
    hop = {.realm = outer, .from = *source, .to = hop.to};
  }
  return hop;
}

// has_address tells whether datagrams to `ip` go to somebody in the realm, or down from it.
bool World::has_address(Realm realm, const IpAddress& ip) const {
  const auto stands_at = [&](const Place& place) {
    return place.realm == realm && place.address.ip == ip;
  };
  const auto is_host = [&](const Attached& attached) {
    return std::ranges::any_of(attached.places, stands_at);
  };
  const auto leads_down = [&](const auto& entry) {
    const auto& [inner, network] = entry;
    if (network.outer != realm) return false;
    const Nat::Config& config = network.nat.config();
    return config.is_translating ? config.external == ip : has_address(inner, ip);
  };
  return std::ranges::any_of(actors_, is_host) || std::ranges::any_of(networks_, leads_down);
}

bool World::is_taken(const Place& place) const {
  const auto is_there = [&](const Attached& attached) { return attached.stands_at(place); };
  const auto is_external = [&](const auto& entry) {
    const auto& [nat, outer] = entry.second;
    return outer == place.realm && nat.config().is_translating &&
           nat.config().external == place.address.ip;
  };
  return std::ranges::any_of(actors_, is_there) || std::ranges::any_of(networks_, is_external);
}

void World::carry(const Flight& flight, std::span<const std::byte> datagram, std::uint8_t ecn) {
  const Hop& hop = flight.hop;
  if (udp_blocked_.contains(hop.from.ip) || udp_blocked_.contains(hop.to.ip)) return lose(hop);
  const LinkKey key(hop.realm, hop.from.ip, hop.to.ip);
  const Link& link = link_of(key);
  if (link.is_blocked || draw() < link.loss) return lose(hop);
  Instant leaves = now_.instant;
  if (link.rate_bits_per_s > 0) {
    Instant& busy_until = busy_until_[key];
    leaves = std::max(leaves, busy_until);
    const auto bits_to_duration = [&](std::uint64_t bits) {
      return Duration(static_cast<std::int64_t>(bits * 1'000'000'000 / link.rate_bits_per_s));
    };
    if (leaves - now_.instant > bits_to_duration(link.queue_size_max * 8)) return lose(hop);
    leaves += bits_to_duration(datagram.size() * 8);
    busy_until = leaves;
  }
  const int copies = draw() < link.duplication ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    const auto jitter =
        Duration(static_cast<std::int64_t>(draw() * static_cast<double>(link.jitter.count())));
    arrivals_.emplace(
        std::pair(leaves + link.delay + jitter, next_sequence_++),
        Arrival{.flight = flight, .bytes = {datagram.begin(), datagram.end()}, .ecn = ecn});
  }
}

// --- TCP links.

void World::set_tcp(bool is_working) {
  is_tcp_working_ = is_working;
  const std::vector<Pipe> pipes = pipes_;
  for (const Pipe& pipe : pipes) {
    if (!is_working) end_pipe(pipe);
  }
}

void World::block_udp(const IpAddress& ip, bool is_blocked) {
  if (is_blocked) {
    udp_blocked_.insert(ip);
  } else {
    udp_blocked_.erase(ip);
  }
}

void World::call_at(Instant instant, std::function<void()> call) {
  calls_.emplace(std::pair(instant, next_sequence_++), std::move(call));
}

void World::open_link(Actor& from, const SocketAddress& link,
                      const std::vector<SocketAddress>& remotes) {
  call_at(now_.instant + 6 * default_link_.delay, [this, &from, link, remotes] {
    if (find(from) == nullptr || closed_early_.contains({&from, link})) return;
    Attached* far = nullptr;
    SocketAddress remote;
    for (const SocketAddress& each : remotes) {
      for (Attached& attached : actors_) {
        if (far != nullptr || !attached.stands_at({.realm = kPublic, .address = each})) continue;
        far = &attached;
        remote = each;
      }
    }
    if (far == nullptr || !is_tcp_working_) {
      from.link_closed(link, now_of(from));
    } else {
      pipes_.push_back({.near = &from,
                        .near_name = link,
                        .far = far->actor,
                        .far_name = node::link_address(next_pipe_++)});
      from.link_opened(link, remote, now_of(from));
    }
    wake(from);
  });
}

void World::close_link(Actor& from, const SocketAddress& link) {
  const auto found = std::ranges::find_if(pipes_, [&](const Pipe& pipe) {
    return (pipe.near == &from && pipe.near_name == link) ||
           (pipe.far == &from && pipe.far_name == link);
  });
  if (found != pipes_.end()) {
    end_pipe(Pipe(*found));
  } else {
    closed_early_.emplace(&from, link);
  }
}

// end_pipe tells both ends; what is on its way is lost.
void World::end_pipe(const Pipe& pipe) {
  std::erase_if(pipes_, [&](const Pipe& each) { return each.far_name == pipe.far_name; });
  for (const Attached& attached : actors_) {
    if (attached.actor != pipe.far) continue;
    lose({.realm = kPublic, .from = pipe.near_name, .to = attached.places.front().address});
  }
  const auto tell = [this](Actor& actor, const SocketAddress& name) {
    call_at(now_.instant + default_link_.delay, [this, &actor, name] {
      if (find(actor) == nullptr) return;
      actor.link_closed(name, now_of(actor));
      wake(actor);
    });
  };
  tell(*pipe.near, pipe.near_name);
  tell(*pipe.far, pipe.far_name);
}

void World::pipe_datagrams(const Actor& from, const SocketAddress& to,
                           std::span<const std::byte> bytes, std::size_t segment_size) {
  for (const Pipe& pipe : pipes_) {
    const bool is_up = pipe.near == &from && pipe.near_name == to;
    if (!is_up && (pipe.far != &from || pipe.far_name != to)) continue;
    Actor* receiver = is_up ? pipe.far : pipe.near;
    const SocketAddress name = is_up ? pipe.far_name : pipe.near_name;
    const SocketAddress pipe_name = pipe.far_name;
    if (on_sent) on_sent(from, to, bytes);
    if (on_wire) on_wire({.realm = kPublic, .from = to, .to = name}, bytes);
    call_at(now_.instant + default_link_.delay, [this, receiver, name, pipe_name, segment_size,
                                                 copy = std::vector<std::byte>(bytes.begin(),
                                                                               bytes.end())] {
      if (std::ranges::find(pipes_, pipe_name, &Pipe::far_name) == pipes_.end()) return;
      receiver->handle({.remote = name, .bytes = copy, .segment_size = segment_size, .ecn = 0},
                       now_of(*receiver));
      wake(*receiver);
    });
    return;
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
  const bool is_call = !calls_.empty() && (!next || calls_.begin()->first.first <= *next);
  if (is_call) next = calls_.begin()->first.first;
  Attached* late = nullptr;
  for (Attached& attached : actors_) {
    const auto deadline = deadline_of(*attached.actor);
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
    late->actor->handle_timeout(now_of(*late->actor));
    settle(*late);
    return true;
  }
  if (is_call) {
    const auto call = std::move(calls_.begin()->second);
    calls_.erase(calls_.begin());
    call();
    return true;
  }
  const Arrival arrival = std::move(arrivals_.begin()->second);
  arrivals_.erase(arrivals_.begin());
  const Flight& flight = arrival.flight;
  Attached* receiver = find_receiver(flight.hop);
  if (receiver == nullptr) {
    lose(flight.hop);
    return true;
  }
  if (on_delivered) {
    on_delivered(*receiver->actor, {.sender = flight.sender,
                                    .addressed = flight.addressed,
                                    .sent = flight.sent,
                                    .remote = flight.hop.from,
                                    .bytes = arrival.bytes});
  }
  receiver->actor->handle({.remote = flight.hop.from,
                           .bytes = arrival.bytes,
                           .segment_size = arrival.bytes.size(),
                           .ecn = arrival.ecn},
                          now_of(*receiver->actor));
  settle(*receiver);
  return true;
}

Now World::now_of(const Actor& actor) const {
  return {.instant = now_.instant, .unix_time = now_.unix_time + clock_offset(actor)};
}

std::chrono::milliseconds World::clock_offset(const Actor& actor) const {
  const auto found = clock_offsets_.find(&actor);
  return found == clock_offsets_.end() ? std::chrono::milliseconds{} : found->second;
}

std::optional<Instant> World::deadline_of(const Actor& actor) const {
  const auto deadline = actor.next_deadline();
  const auto delay = timer_delays_.find(&actor);
  if (!deadline || delay == timer_delays_.end()) return deadline;
  return *deadline + delay->second;
}

bool World::is_attached(const Actor& actor) const {
  return std::ranges::find(actors_, &actor, &Attached::actor) != actors_.end();
}

Duration World::one_way_delay_max() const {
  const auto delay_of = [](const Link& link) { return link.delay + link.jitter; };
  Duration longest = delay_of(default_link_);
  for (const auto& [key, link] : links_) {
    if (!link.is_blocked) longest = std::max(longest, delay_of(link));
  }
  return longest;
}

World::Attached* World::find(const Actor& actor) {
  const auto found = std::ranges::find(actors_, &actor, &Attached::actor);
  return found == actors_.end() ? nullptr : &*found;
}

// find_receiver descends from the hop's realm to whoever gets the datagram; null: nobody.
World::Attached* World::find_receiver(const Hop& hop) {
  for (Attached& attached : actors_) {
    if (attached.stands_at({.realm = hop.realm, .address = hop.to})) return &attached;
  }
  for (const auto& [inner, network] : networks_) {
    if (network.outer != hop.realm) continue;
    const auto inside = network.nat.inbound(hop.from, hop.to, now_.instant);
    if (inside) return find_receiver({.realm = inner, .from = hop.from, .to = *inside});
  }
  return nullptr;
}

// settle drains an actor completely: what is carried out may make more to send.
void World::settle(Attached& attached) {
  const Now now = now_of(*attached.actor);
  attached.actor->settle(now);
  while (const auto transmit = attached.actor->poll_transmit(buffer_, now)) {
    send(attached, transmit->remote, std::span(buffer_).first(transmit->size),
         transmit->segment_size, transmit->ecn);
    attached.actor->settle(now);
  }
}

bool World::Attached::stands_at(const Place& place) const {
  return std::ranges::find(places, place) != places.end();
}

const Place* World::Attached::place_for(const IpAddress& remote) const {
  const auto found = std::ranges::find_if(
      places, [&](const Place& place) { return place.address.ip.is_v4() == remote.is_v4(); });
  return found == places.end() ? nullptr : &*found;
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

const Link& World::link_of(const LinkKey& key) const {
  const auto found = links_.find(key);
  return found == links_.end() ? default_link_ : found->second;
}

std::string World::replay() const {
  return fmt::format("ZT_SEED={} build/tests/sim/sim  (simulated {} ms, event {})", seed_,
                     std::chrono::duration_cast<std::chrono::milliseconds>(
                         now_.instant.time_since_epoch() - std::chrono::hours(1))
                         .count(),
                     event_count_);
}

namespace {

std::optional<std::uint64_t> number_in_environment(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread.
  if (text == nullptr) return std::nullopt;
  return std::strtoull(text, nullptr, 0);
}

}  // namespace

std::uint64_t seed_of(std::uint64_t fallback) {
  return number_in_environment("ZT_SEED").value_or(fallback);
}

std::uint64_t seed_count_of(std::uint64_t fallback) {
  const auto count = number_in_environment("ZT_SEEDS");
  if (!count && number_in_environment("ZT_SEED")) return 1;
  return count.value_or(fallback);
}

}  // namespace zt::sim
