// SPDX-License-Identifier: Apache-2.0
#include "checkers.h"

#include <fmt/format.h>

#include <algorithm>

namespace zt::sim {

namespace {

long milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::string to_text(const Door& door) {
  return fmt::format("{} port {}", zt::to_text(door.protocol), door.port);
}

}  // namespace

// --- AccessChecker

void AccessChecker::note_grants(const std::vector<Grant>& grants, const Reach& reach, Instant now) {
  for (const Grant& grant : grants) {
    // The first sight counts: clocks that are set later give no grant a longer life.
    const auto known =
        grants_
            .try_emplace(grant.id,
                         Known{.door = grant.door, .expires = grant.expires, .denial = {}})
            .first;
    if (grant.is_revoked && !known->second.denial) {
      known->second.denial = Denial{.at = now, .reach = reach};
    }
  }
  std::erase_if(grants_, [&](const auto& entry) {
    return entry.second.expires + 2 * kLifetime < now;  // Nobody asks about it any more.
  });
}

void AccessChecker::note_policy(const std::set<Door>& allowed, const Reach& reach, Instant now) {
  for (const Door& door : allowed) doors_[door].reset();
  for (auto& [door, denial] : doors_) {
    if (!allowed.contains(door) && !denial) denial = Denial{.at = now, .reach = reach};
  }
}

void AccessChecker::note_trouble(Instant now) {
  // Whole tens of milliseconds are enough to tell troubles apart.
  constexpr Duration kStep = std::chrono::milliseconds(10);
  troubles_.insert(Instant(now.time_since_epoch() / kStep * kStep));
  troubles_.erase(troubles_.begin(), troubles_.lower_bound(now - 2 * kLifetime));
}

bool AccessChecker::is_troubled(Instant from, Instant to) const {
  const auto found = troubles_.lower_bound(from);
  return found != troubles_.end() && *found <= to;
}

Instant AccessChecker::end_of(const Denial& denial, ActorNumber connector) const {
  const Instant told = denial.at + denial.reach.one_message;
  const bool is_reached =
      denial.reach.connectors.contains(connector) && !is_troubled(denial.at - kQuiet, told);
  return is_reached ? told : denial.at + kLifetime + kLeeway;
}

Violation AccessChecker::pass(ActorNumber connector, const Door& door, Duration clock_lag,
                              Instant now) const {
  const auto rule = doors_.find(door);
  if (rule == doors_.end())
    return fmt::format("a byte passed to {}, which was never allowed", to_text(door));
  if (rule->second && now > end_of(*rule->second, connector)) {
    return fmt::format("a byte passed to {} {} ms after the rules denied it", to_text(door),
                       milliseconds(now - rule->second->at));
  }
  const Duration slack = std::clamp(clock_lag, Duration{}, kLeeway);
  Violation why = fmt::format("a byte passed to {} without any grant", to_text(door));
  for (const auto& [id, known] : grants_) {
    if (known.door != door) continue;
    if (now >= known.expires + slack) {
      why = fmt::format("a byte passed to {} {} ms after the grant's end", to_text(door),
                        milliseconds(now - known.expires));
    } else if (known.denial && now > end_of(*known.denial, connector)) {
      why = fmt::format("a byte passed to {} {} ms after the grant was revoked", to_text(door),
                        milliseconds(now - known.denial->at));
    } else {
      return std::nullopt;
    }
  }
  return why;
}

// --- TrafficChecker

void TrafficChecker::forget(ActorNumber node) {
  std::erase_if(accounts_, [&](const auto& entry) { return entry.first.first == node; });
}

void TrafficChecker::received(ActorNumber node, const SocketAddress& from, BytesView datagram,
                              bool is_answer) {
  Account& account = accounts_[{node, from}];
  account.received_size += datagram.size();
  account.is_validated = account.is_validated || is_answer;
  const auto probe = wire::parse_probe(datagram);
  if (!probe) return;
  const auto probed = probed_.find({{node, probe->label}, from.ip});
  if (probed == probed_.end()) {
    probed_[{{node, probe->label}, from.ip}].credit = kAmplificationMax;
    return;
  }
  probed->second.credit += kAmplificationMax;
  probed->second.has_answered = probed->second.has_answered || probe->kind == wire::ProbeKind::pong;
}

Violation TrafficChecker::send(ActorNumber node, const SocketAddress& to, BytesView datagram,
                               Instant now) {
  if (const auto probe = wire::parse_probe(datagram)) return send_probe(node, to, *probe, now);
  Account& account = accounts_[{node, to}];
  if (account.is_validated || servers_.contains(to)) return std::nullopt;
  account.sent_size += datagram.size();
  if (account.sent_size <= kAmplificationMax * account.received_size) return std::nullopt;
  return fmt::format("{} bytes went to {}, which has sent {} and has not been validated",
                     account.sent_size, to.to_text(), account.received_size);
}

// The numbers are those that path/finder.h promises.
Violation TrafficChecker::send_probe(ActorNumber node, const SocketAddress& to,
                                     const wire::Probe& probe, Instant now) {
  const ProbeKey key{node, probe.label};
  Probed& probed = probed_[{key, to.ip}];
  if (probed.has_answered) {
    // 100 pings a second, and 100 + 50 a second pongs.
    if (probed.sent.put(250, std::chrono::microseconds(6600), now)) return std::nullopt;
    return fmt::format("more than 150 probes a second went to {}", to.to_text());
  }
  if (probed.credit > 0) {
    --probed.credit;
    return std::nullopt;
  }
  if (!probed.sent.put(10, std::chrono::milliseconds(500), now)) {
    return fmt::format("more than 10 and 2 a second probes went to {}, which has not answered",
                       to.to_text());
  }
  if (!probed_in_all_[key].put(40, std::chrono::milliseconds(100), now)) {
    return "more than 40 and 10 a second probes went to addresses that have not answered";
  }
  return std::nullopt;
}

bool TrafficChecker::Bucket::put(double burst, Duration period, Instant now) {
  const double gone = static_cast<double>((now - at).count()) / static_cast<double>(period.count());
  level = std::max(level - gone, 0.0) + 1;
  at = now;
  return level <= burst + 1;
}

// --- LimitChecker

Violation LimitChecker::within(std::string_view what, std::uint64_t count, std::uint64_t limit) {
  if (count <= limit) return std::nullopt;
  return fmt::format("{}: {}, of at most {}", what, count, limit);
}

}  // namespace zt::sim
