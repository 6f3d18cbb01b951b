// SPDX-License-Identifier: Apache-2.0
#include "zt/path/finder.h"

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

#include "zt/base/assert.h"

namespace zt::path {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kWaitingMax = 32;  // Pings of a pair whose pongs are still taken.
constexpr std::size_t kMissesToDie = 3;  // Pings in a row.
constexpr unsigned kPongsToUpgrade = 2;  // In a row.
constexpr unsigned kPongsToSwitch = 3;
constexpr int kLossesEligibleMax = 4;  // Of the last 16.
constexpr int kLossesLiveMax = 7;
constexpr unsigned kCreditForPing = 3;
constexpr unsigned kCreditMax = 30;

constexpr Duration kStagger = milliseconds(5);  // Between the first pings of two pairs.
constexpr Duration kTryFirst = milliseconds(100);
constexpr unsigned kTryDoublingsMax = 4;
constexpr Duration kConfirmInterval = milliseconds(10);
constexpr Duration kPatienceMin = milliseconds(20);
constexpr Duration kPatienceMax = seconds(1);
constexpr Duration kPatienceUnknown = seconds(1);
constexpr Duration kOneWayMax = seconds(1);
constexpr Duration kStableAfter = minutes(1);
constexpr Duration kBarMin = seconds(5);
constexpr Duration kBarMax = minutes(5);

Duration penalty_of(wire::CandidateKind kind, const IpAddress& ip) {
  const Duration by_family = ip.is_v4() ? milliseconds(1) : milliseconds(0);
  switch (kind) {
    case wire::CandidateKind::host:
      return by_family;
    case wire::CandidateKind::configured:
      return by_family + milliseconds(5);
    case wire::CandidateKind::observed:
      return by_family + milliseconds(10);
  }
  return by_family;
}

// network_of returns what shares an allowance: one IPv4 address, or an IPv6 /64.
IpAddress network_of(const IpAddress& address) {
  if (address.is_v4()) return address;
  std::array<std::uint8_t, 16> octets = address.octets();
  std::fill(octets.begin() + 8, octets.end(), std::uint8_t{0});
  return IpAddress::v6(octets);
}

}  // namespace

std::string_view to_text(DowngradeReason reason) {
  switch (reason) {
    case DowngradeReason::dead:
      return "dead";
    case DowngradeReason::dead_one_way:
      return "dead in one direction";
    case DowngradeReason::lossy:
      return "lossy";
    case DowngradeReason::socket_gone:
      return "socket closed";
    case DowngradeReason::policy:
      return "policy";
  }
  return "";
}

bool PathFinder::ReplayWindow::take(std::uint64_t transaction) {
  if (transaction == 0) return false;
  if (transaction > highest_) {
    const std::uint64_t shift = transaction - highest_;
    seen_ = shift < seen_.size() ? seen_ << static_cast<std::size_t>(shift) : decltype(seen_){};
    highest_ = transaction;
    seen_.set(0);
    return true;
  }
  const std::uint64_t age = highest_ - transaction;
  if (age >= seen_.size() || seen_.test(static_cast<std::size_t>(age))) return false;
  seen_.set(static_cast<std::size_t>(age));
  return true;
}

PathFinder::PathFinder(const Limits& limits, wire::ProbeSender role, const wire::ProbeLabel& label,
                       Paths policy, Random& random, const Now& now)
    : limits_(limits),
      role_(role),
      label_(label),
      policy_(policy),
      random_(random),
      unanswered_all_(limits.unanswered_all, now.instant),
      pongs_(limits.pongs, now.instant),
      learnt_(limits.learnt, now.instant),
      round_at_(now.instant + limits.round_min),
      round_interval_(limits.round_min),
      now_(now.instant) {}

void PathFinder::handle(Input input, const Now& now) {
  now_ = now.instant;
  std::visit([&](const auto& value) { apply(value, now.instant); }, input);
  advance(now.instant);
}

void PathFinder::handle_timeout(const Now& now) {
  now_ = now.instant;
  advance(now.instant);
}

std::optional<PathFinder::Output> PathFinder::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

// --- Inputs.

void PathFinder::apply(const LocalChanged& input, Instant now) {
  sockets_ = input.sockets;
  if (sockets_.size() > limits_.sockets_max) sockets_.resize(limits_.sockets_max);
  local_ = input.candidates;
  hold_ = Duration::zero();
  round_interval_ = limits_.round_min;
  const State* live = live_ ? state_of(*live_) : nullptr;
  if (live != nullptr && !has_socket(live->pair.socket)) {
    downgrade(DowngradeReason::socket_gone, now);
  }
  rebuild_pairs(now);
  if (migration_ && state_of(migration_->target) == nullptr) migration_.reset();
  begin_round(now);
}

void PathFinder::apply(const RemoteChanged& input, Instant now) {
  if (input.list.generation <= remote_.generation) return;
  remote_ = input.list;
  rebuild_pairs(now);
  restart_all(now);
}

void PathFinder::apply(const ProbeReceived& input, Instant now) {
  if (policy_ == Paths::always_relay) return;
  if (input.probe.sender == role_) return;  // Our own, sent back.
  if (input.probe.kind == wire::ProbeKind::ping) {
    receive_ping(input, now);
  } else {
    receive_pong(input, now);
  }
}

void PathFinder::apply(const PathInUse& input, Instant now) {
  if (!is_client() || live_ == input.pair) return;
  migration_.reset();
  live_ = input.pair;
  changed_ = now;
  heard_ = now;
  if (!live_) {
    hold_ = std::max(hold_, limits_.hold_min);
    reschedule_all(now);
    return;
  }
  State* state = state_of(*live_);
  if (state == nullptr) {
    // QUIC validated a pair whose socket has gone, or that policy forbids by now.
    downgrade(
        policy_ == Paths::always_relay ? DowngradeReason::policy : DowngradeReason::socket_gone,
        now);
    return;
  }
  state->bar = Duration::zero();
  state->next_ping = now;
  round_interval_ = limits_.round_min;
  reschedule_all(now);
}

void PathFinder::apply(const MigrationFailed& input, Instant now) {
  if (!migration_ || migration_->target != input.pair) return;
  fail_migration(now);
}

void PathFinder::apply(const FlowsActive& input, Instant now) {
  if (is_active_ == input.is_active) return;
  is_active_ = input.is_active;
  reschedule_all(now);
  State* live = live_ ? state_of(*live_) : nullptr;
  if (live != nullptr && is_active_) live->next_ping = now;
}

void PathFinder::apply(const PolicyChanged& input, Instant now) {
  if (policy_ == input.policy) return;
  policy_ = input.policy;
  if (live_ && policy_ == Paths::always_relay) downgrade(DowngradeReason::policy, now);
  if (policy_ == Paths::always_relay) migration_.reset();
  hold_ = Duration::zero();
  rebuild_pairs(now);
  begin_round(now);
}

// --- Probes.

void PathFinder::receive_ping(const ProbeReceived& input, Instant now) {
  if (!has_socket(input.socket) || !may_probe(input.source)) return;
  if (!window_.take(input.probe.transaction)) return;
  if (!pongs_.take(now)) return;
  State* state = state_of(input.socket, input.source);
  if (state == nullptr) state = learn(input);
  wire::Probe pong = input.probe;
  pong.kind = wire::ProbeKind::pong;
  pong.sender = role_;
  pong.observed = input.source;
  outputs_.emplace_back(SendProbe{input.socket, input.source, pong});
  if (state == nullptr) return;
  if (state->is_learnt) state->credit = std::min(kCreditMax, state->credit + kCreditForPing) - 1;
  if (is_live(*state)) heard_ = now;
  const bool was_heard = std::exchange(state->is_heard, true);
  if (state->is_proven) return;
  // What they send reaches us, so what we send probably reaches them: ask at once. The connector
  // asks once, since its pong has opened its own side already.
  if (is_client() || !was_heard) {
    state->next_ping = now;
  } else {
    state->next_ping.reset();
  }
}

void PathFinder::receive_pong(const ProbeReceived& input, Instant now) {
  State* state = state_of(PairNumber{input.probe.pair});
  if (state == nullptr || state->pair.socket != input.socket) return;
  if (state->pair.remote != input.source) return;
  const auto ping = std::ranges::find(state->waiting, input.probe.transaction, &Ping::transaction);
  if (ping == state->waiting.end() || ping->nonce != input.probe.nonce) return;
  const Duration sample = now - ping->sent;
  const std::size_t older_count = static_cast<std::size_t>(ping - state->waiting.begin());
  state->waiting.erase(ping);
  if (state->is_proven) {
    forget_missed(*state, older_count, now);
  } else {
    // The way was not open yet when these were sent: no losses.
    state->waiting.erase(state->waiting.begin(),
                         state->waiting.begin() + static_cast<std::ptrdiff_t>(older_count));
  }
  count_result(*state, false);
  state->observed = input.probe.observed;
  if (!state->is_proven) {
    state->is_proven = true;
    state->tries = 0;
    state->rtt.reset();
  }
  if (!state->rtt) {
    state->rtt = sample;
    state->rtt_variation = sample / 8;
  } else {  // RFC 6298 section 2.
    const Duration error = *state->rtt > sample ? *state->rtt - sample : sample - *state->rtt;
    state->rtt_variation = ((state->rtt_variation * 3) + error) / 4;
    state->rtt = ((*state->rtt * 7) + sample) / 8;
  }
  if (state->pongs_in_row++ == 0) state->good_since = now;
  if (is_live(*state)) heard_ = now;
  schedule_next(*state);
  if (is_client() && !is_in_use(*state) && state->pongs_in_row < kPongsToSwitch) {
    state->next_ping = now;
  }
}

void PathFinder::count_result(State& state, bool is_lost) {
  const unsigned shifted = unsigned{state.losses} << 1U;
  state.losses = static_cast<std::uint16_t>(is_lost ? shifted | 1U : shifted);
}

// forget_missed drops those of the `older_count` first pings that have had their time.
void PathFinder::forget_missed(State& state, std::size_t older_count, Instant now) {
  const Duration patience = patience_of(state);
  for (std::size_t i = 0; i < older_count; ++i) {
    if (now - state.waiting.front().sent < patience) return;
    state.waiting.pop_front();
    count_result(state, true);
    state.pongs_in_row = 0;
  }
}

void PathFinder::tell_peer() {
  if (generation_ == 0 && (policy_ == Paths::always_relay || local_.empty())) return;
  wire::CandidateList list{.generation = ++generation_, .candidates = {}};
  if (policy_ != Paths::always_relay) {
    const std::size_t count = std::min(local_.size(), wire::kCandidatesMax);
    list.candidates.assign(local_.begin(), local_.begin() + static_cast<std::ptrdiff_t>(count));
  }
  outputs_.emplace_back(TellPeer{std::move(list)});
}

// --- Pairs.

void PathFinder::rebuild_pairs(Instant now) {
  std::vector<wire::Candidate> remotes;
  for (const wire::Candidate& candidate : remote_.candidates) {
    if (may_probe(candidate.address)) remotes.push_back(candidate);
  }
  std::ranges::sort(remotes, {}, [](const wire::Candidate& candidate) {
    return std::pair(penalty_of(candidate.kind, candidate.address.ip), candidate.address);
  });
  std::vector<State> old = std::exchange(pairs_, {});
  for (State& state : old) {
    // The one in use has answered under the connection's key, whatever is said of its address.
    const bool is_kept =
        has_socket(state.pair.socket) && (is_in_use(state) || may_probe(state.pair.remote));
    const auto named = std::ranges::find(remotes, state.pair.remote, &wire::Candidate::address);
    if (named != remotes.end()) {
      state.kind = named->kind;
      state.is_learnt = false;
    } else if (!is_in_use(state) && !state.is_learnt) {
      continue;
    }
    if (is_kept) pairs_.push_back(std::move(state));
  }
  for (const wire::Candidate& remote : remotes) {
    for (const LocalSocket& socket : sockets_) {
      if (!(remote.address.ip.is_v4() ? socket.is_v4 : socket.is_v6)) continue;
      if (state_of(socket.id, remote.address) != nullptr) continue;
      State& state = add_pair(socket.id, remote.address);
      state.kind = remote.kind;
      state.next_ping = now;
    }
  }
}

PathFinder::State& PathFinder::add_pair(SocketId socket, const SocketAddress& remote) {
  do {
    ++number_last_;
  } while (number_last_ == 0 || state_of(PairNumber{number_last_}) != nullptr);
  State& state = pairs_.emplace_back();
  state.pair = {PairNumber{number_last_}, socket, remote};
  return state;
}

bool PathFinder::may_probe(const SocketAddress& remote) const {
  if (policy_ == Paths::always_relay || remote.port == 0) return false;
  if (kind_of(remote.ip) != AddressKind::global || unwrapped(remote.ip) != remote.ip) return false;
  // Ourselves. What others say is our address may be a lie about the peer's.
  return std::ranges::none_of(local_, [&](const wire::Candidate& local) {
    return local.kind == wire::CandidateKind::host && local.address == remote;
  });
}

// learn makes a pair of a ping's source; null if there are too many that may still be of use.
PathFinder::State* PathFinder::learn(const ProbeReceived& input) {
  if (!learnt_.take(now_)) return nullptr;
  const auto count = std::ranges::count_if(pairs_, &State::is_learnt);
  if (static_cast<std::size_t>(count) >= limits_.learnt_max) {
    const auto useless = std::ranges::find_if(pairs_, [&](const State& state) {
      return state.is_learnt && !state.is_proven && !is_in_use(state);
    });
    if (useless == pairs_.end()) return nullptr;
    pairs_.erase(useless);
  }
  State& state = add_pair(input.socket, input.source);
  state.kind = wire::CandidateKind::observed;
  state.is_learnt = true;
  return &state;
}

// restart probes a pair from the start; the one in use keeps what is known of it.
void PathFinder::restart(State& state, Instant at) const {
  state.tries = 0;
  state.is_heard = false;
  state.next_ping = std::max(at, state.last_sent + kConfirmInterval);
  if (!is_client()) state.is_proven = false;  // It punches anew, and within the limits.
  if (is_in_use(state)) return;
  state.pongs_in_row = 0;
  state.losses = 0;
  state.waiting.clear();
}

void PathFinder::restart_all(Instant now) {
  std::vector<State*> order;
  order.reserve(pairs_.size());
  for (State& state : pairs_) order.push_back(&state);
  std::ranges::sort(order, {}, [&](const State* state) {
    return std::tuple(!is_in_use(*state), penalty_of(state->kind, state->pair.remote.ip),
                      state->pair.number);
  });
  Instant at = now;
  for (State* state : order) {
    restart(*state, at);
    at += kStagger;
  }
}

void PathFinder::begin_round(Instant now) {
  tell_peer();
  restart_all(now);
  round_at_ = now + round_interval_;
}

void PathFinder::reschedule_all(Instant now) {
  for (State& state : pairs_) {
    if (!state.is_proven) continue;
    schedule_next(state);
    if (state.next_ping) state.next_ping = std::max(*state.next_ping, now);
  }
}

// --- Time.

void PathFinder::advance(Instant now) {
  if (round_at_ <= now && is_active_ && is_client() && !live_ && !migration_) {
    round_interval_ = std::min(round_interval_ * 2, limits_.round_max);
    begin_round(now);
  }
  for (State& state : pairs_) count_misses(state, now);
  decide(now);
  send_due_pings(now);
}

// count_misses takes a pair's good name from it when its pings stay without an answer.
void PathFinder::count_misses(State& state, Instant now) {
  if (!state.is_proven || is_live(state)) return;
  const std::size_t misses = missed_count(state, now);
  if (misses > 0) state.pongs_in_row = 0;
  if (misses < kMissesToDie) return;
  mark_dead(state, now);
}

void PathFinder::mark_dead(State& state, Instant now) const {
  state.is_proven = false;
  restart(state, now);
}

void PathFinder::send_due_pings(Instant now) {
  for (State& state : pairs_) {
    const auto due = due_at(state);
    if (!due || *due > now) continue;
    const auto permitted = permitted_at(state, now);
    if (!permitted || *permitted > now) {
      state.next_ping = permitted;
      continue;
    }
    take_permission(state, now);
    send_ping(state, now);
  }
}

void PathFinder::send_ping(State& state, Instant now) {
  if (state.waiting.size() == kWaitingMax) state.waiting.pop_front();
  const std::uint64_t transaction = ++transaction_last_;
  wire::ProbeNonce nonce;
  random_.fill(nonce.bytes);
  state.waiting.push_back({transaction, nonce, now});
  state.last_sent = now;
  ++state.pings;
  if (!state.is_proven) ++state.tries;
  outputs_.emplace_back(SendProbe{state.pair.socket, state.pair.remote,
                                  wire::Probe{.kind = wire::ProbeKind::ping,
                                              .sender = role_,
                                              .label = label_,
                                              .transaction = transaction,
                                              .nonce = nonce,
                                              .pair = static_cast<std::uint32_t>(state.pair.number),
                                              .observed = {}}});
  schedule_next(state);
}

// permitted_at returns when a ping may go to the pair, or nothing if only a ping from there permits
// it.
std::optional<Instant> PathFinder::permitted_at(const State& state, Instant now) {
  if (state.is_proven) return now;
  if (state.is_learnt && state.credit == 0) return std::nullopt;
  Allowance* allowance = allowance_of(state.pair.remote.ip, now);
  if (allowance == nullptr) return std::nullopt;
  return std::max(allowance->available_at(now), unanswered_all_.available_at(now));
}

void PathFinder::take_permission(State& state, Instant now) {
  if (state.is_proven) return;
  if (state.is_learnt) --state.credit;
  // permitted_at has found both.
  ZT_ASSERT(allowance_of(state.pair.remote.ip, now)->take(now));
  ZT_ASSERT(unanswered_all_.take(now));
}

// allowance_of returns null if too many addresses are remembered. Those that were left alone long
// enough are forgotten: a new allowance is the same.
Allowance* PathFinder::allowance_of(const IpAddress& address, Instant now) {
  const IpAddress network = network_of(address);
  if (const auto found = unanswered_.find(network); found != unanswered_.end()) {
    return &found->second;
  }
  if (unanswered_.size() >= limits_.addresses_max) {
    std::erase_if(unanswered_, [&](auto& entry) { return entry.second.is_full(now); });
  }
  if (unanswered_.size() >= limits_.addresses_max) return nullptr;
  return &unanswered_.emplace(network, Allowance(limits_.unanswered_address, now)).first->second;
}

// schedule_next plans the ping after the last one.
void PathFinder::schedule_next(State& state) const {
  state.next_ping.reset();
  if (state.is_proven) {
    if (const auto interval = interval_of(state)) state.next_ping = state.last_sent + *interval;
    return;
  }
  if (state.tries >= limits_.tries_max || (state.is_heard && !is_client())) return;
  const unsigned doublings = std::min(state.tries == 0 ? 0 : state.tries - 1, kTryDoublingsMax);
  state.next_ping = state.last_sent + (kTryFirst * (1U << doublings));
}

// interval_of returns how often a pair that answers is asked; nothing means never again.
std::optional<Duration> PathFinder::interval_of(const State& state) const {
  if (!is_client()) return std::nullopt;
  const Duration rtt = state.rtt.value_or(Duration::zero());
  if (is_in_use(state)) {
    return is_active_ ? std::clamp<Duration>(rtt, milliseconds(50), milliseconds(500))
                      : Duration(seconds(15));
  }
  if (live_) return is_active_ ? seconds(5) : seconds(30);
  return is_active_ ? std::clamp<Duration>(rtt, milliseconds(100), milliseconds(500))
                    : Duration(seconds(2));
}

// due_at returns when a pair is pinged: as planned, or earlier to confirm that the live one is
// dead.
std::optional<Instant> PathFinder::due_at(const State& state) const {
  if (!is_live(state) || state.waiting.empty()) return state.next_ping;
  if (silent_count(state) >= kMissesToDie) return state.next_ping;
  const Instant suspected = std::max(state.waiting.front().sent, heard_) + patience_of(state);
  const Instant confirm = std::max(suspected, state.last_sent + kConfirmInterval);
  return earlier_of(state.next_ping, std::optional(confirm));
}

Duration PathFinder::patience_of(const State& state) {
  if (!state.rtt) return kPatienceUnknown;
  return std::clamp<Duration>(*state.rtt + (state.rtt_variation * 4) + milliseconds(10),
                              kPatienceMin, kPatienceMax);
}

// missed_count counts the pings that have had their time.
std::size_t PathFinder::missed_count(const State& state, Instant now) {
  const Instant limit = now - patience_of(state);
  return static_cast<std::size_t>(
      std::ranges::count_if(state.waiting, [&](const Ping& ping) { return ping.sent <= limit; }));
}

// silent_count counts the pings since anything was heard from the live pair.
std::size_t PathFinder::silent_count(const State& state) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(state.waiting, [&](const Ping& ping) { return ping.sent >= heard_; }));
}

std::optional<Instant> PathFinder::next_deadline() const {
  std::optional<Instant> deadline;
  const auto consider = [&](Instant instant) {
    // What is past has been looked at, and changed nothing.
    if (instant > now_) deadline = earlier_of(deadline, std::optional(instant));
  };
  for (const State& state : pairs_) {
    if (const auto due = due_at(state)) consider(*due);
    if (!state.is_proven) continue;
    const Duration patience = patience_of(state);
    for (const Ping& ping : state.waiting) consider(ping.sent + patience);
    if (is_live(state)) {
      if (state.waiting.empty()) continue;
      consider(heard_ + patience);
      consider(state.waiting.front().sent + kOneWayMax);
    } else if (is_client() && state.pongs_in_row >= kPongsToUpgrade) {
      consider(state.good_since + hold_);
      consider(state.barred_until);
    }
  }
  if (migration_) consider(migration_->deadline);
  if (live_) consider(changed_ + limits_.switch_interval_min);
  if (is_active_ && is_client() && !live_ && !migration_) consider(round_at_);
  return deadline;
}

// --- Decisions; the client's only.

void PathFinder::decide(Instant now) {
  if (!is_client()) return;
  if (migration_ && now >= migration_->deadline) fail_migration(now);
  if (State* live = live_ ? state_of(*live_) : nullptr) {
    if (const auto reason = reason_to_leave(*live, now)) {
      mark_dead(*live, now);
      downgrade(*reason, now);
      begin_round(now);
      return;
    }
  }
  if (migration_) return;
  if (State* target = best(now)) migrate_to(*target, now);
}

std::optional<DowngradeReason> PathFinder::reason_to_leave(const State& state, Instant now) const {
  const Instant limit = now - patience_of(state);
  const auto silent_misses = std::ranges::count_if(
      state.waiting, [&](const Ping& ping) { return ping.sent >= heard_ && ping.sent <= limit; });
  if (static_cast<std::size_t>(silent_misses) >= kMissesToDie) return DowngradeReason::dead;
  if (missed_count(state, now) >= kMissesToDie && now - state.waiting.front().sent >= kOneWayMax) {
    return DowngradeReason::dead_one_way;
  }
  if (std::popcount(state.losses) > kLossesLiveMax) return DowngradeReason::lossy;
  return std::nullopt;
}

void PathFinder::downgrade(DowngradeReason reason, Instant now) {
  const bool is_stable = now - changed_ >= kStableAfter;
  hold_ = hold_ == Duration::zero() || is_stable ? limits_.hold_min
                                                 : std::min(hold_ * 2, limits_.hold_max);
  const bool may_use_relay = policy_ != Paths::never_relay;
  if (!may_use_relay) hold_ = Duration::zero();
  live_.reset();
  migration_.reset();
  changed_ = now;
  round_interval_ = limits_.round_min;
  outputs_.emplace_back(Downgrade{reason, may_use_relay});
}

// best returns the pair to migrate to, if there is one that is worth it.
PathFinder::State* PathFinder::best(Instant now) {
  State* found = nullptr;
  for (State& state : pairs_) {
    if (is_live(state) || !is_eligible(state, now)) continue;
    if (found == nullptr || cost_of(state) < cost_of(*found)) found = &state;
  }
  const State* live = live_ ? state_of(*live_) : nullptr;
  if (found == nullptr || live == nullptr) return found;
  if (now - changed_ < limits_.switch_interval_min) return nullptr;
  const Duration margin = std::max<Duration>(milliseconds(5), cost_of(*live) / 4);
  return cost_of(*found) + margin <= cost_of(*live) ? found : nullptr;
}

Duration PathFinder::cost_of(const State& state) {
  return state.rtt.value_or(kPatienceMax) + penalty_of(state.kind, state.pair.remote.ip) +
         (milliseconds(10) * std::popcount(state.losses));
}

bool PathFinder::is_eligible(const State& state, Instant now) const {
  if (!state.is_proven || missed_count(state, now) > 0) return false;
  if (std::popcount(state.losses) > kLossesEligibleMax || now < state.barred_until) return false;
  if (live_) return state.pongs_in_row >= kPongsToSwitch;
  return state.pongs_in_row >= kPongsToUpgrade && now - state.good_since >= hold_;
}

void PathFinder::migrate_to(State& target, Instant now) {
  migration_ = Migration{target.pair.number, now + limits_.migration_timeout};
  if (live_) {
    outputs_.emplace_back(Switch{target.pair});
  } else {
    outputs_.emplace_back(Upgrade{target.pair});
  }
}

void PathFinder::fail_migration(Instant now) {
  if (!migration_) return;
  State* target = state_of(migration_->target);
  migration_.reset();
  if (target == nullptr) return;
  target->bar = std::clamp<Duration>(target->bar * 2, kBarMin, kBarMax);
  target->barred_until = now + target->bar;
}

// --- Looking.

std::optional<Pair> PathFinder::find(PairNumber number) const {
  const State* state = state_of(number);
  return state == nullptr ? std::nullopt : std::optional(state->pair);
}

std::vector<PairStatus> PathFinder::status(const Now& now) const {
  std::vector<PairStatus> all;
  all.reserve(pairs_.size());
  for (const State& state : pairs_) {
    all.push_back({.pair = state.pair,
                   .kind = state.kind,
                   .is_learnt = state.is_learnt,
                   .is_working = state.is_proven && missed_count(state, now.instant) == 0,
                   .is_live = is_live(state),
                   .rtt = state.rtt,
                   .losses = static_cast<unsigned>(std::popcount(state.losses)),
                   .observed = state.observed,
                   .pings = state.pings});
  }
  return all;
}

bool PathFinder::has_socket(SocketId socket) const {
  return std::ranges::find(sockets_, socket, &LocalSocket::id) != sockets_.end();
}

bool PathFinder::is_in_use(const State& state) const {
  return is_live(state) || (migration_ && migration_->target == state.pair.number);
}

PathFinder::State* PathFinder::state_of(PairNumber number) {
  const auto found =
      std::ranges::find(pairs_, number, [](const State& state) { return state.pair.number; });
  return found == pairs_.end() ? nullptr : &*found;
}

const PathFinder::State* PathFinder::state_of(PairNumber number) const {
  const auto found =
      std::ranges::find(pairs_, number, [](const State& state) { return state.pair.number; });
  return found == pairs_.end() ? nullptr : &*found;
}

PathFinder::State* PathFinder::state_of(SocketId socket, const SocketAddress& remote) {
  const auto found = std::ranges::find_if(pairs_, [&](const State& state) {
    return state.pair.socket == socket && state.pair.remote == remote;
  });
  return found == pairs_.end() ? nullptr : &*found;
}

}  // namespace zt::path
