// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/fixture.h: one PathFinder, virtual time, and addresses that answer after a round trip.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "zt/base/random.h"
#include "zt/path/finder.h"

namespace zt::path {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

inline constexpr SocketId kSocket{1};

inline SocketAddress address(std::string_view text) {
  return SocketAddress::parse(text).value();
}

inline wire::Candidate host(std::string_view text) {
  return {wire::CandidateKind::host, address(text)};
}
inline wire::Candidate observed(std::string_view text) {
  return {wire::CandidateKind::observed, address(text)};
}
inline wire::Candidate configured(std::string_view text) {
  return {wire::CandidateKind::configured, address(text)};
}

class Bench {
 public:
  struct Sent {
    Instant at;
    SendProbe probe;
  };
  struct Decision {
    Instant at;
    std::variant<Upgrade, Switch, Downgrade> what;
  };

  Now now{Instant(seconds(1000)), UnixTime(std::chrono::hours(480'000))};

  explicit Bench(wire::ProbeSender role = wire::ProbeSender::client, Paths policy = Paths::any)
      : role_(role), finder(PathFinder::Limits{}, role, {}, policy, random_, now) {}

  // start gives both lists. Our own is one host address and a socket of both families.
  void start(std::vector<wire::Candidate> remote) {
    change_local();
    tell(std::move(remote));
  }
  void change_local() {
    feed(LocalChanged{.sockets = {{kSocket, true, true}}, .candidates = {host("10.0.0.1:4000")}});
  }
  void tell(std::vector<wire::Candidate> remote) {
    feed(RemoteChanged{{.generation = ++generation_, .candidates = std::move(remote)}});
  }

  void feed(PathFinder::Input input) {
    finder.handle(std::move(input), now);
    drain();
  }

  // ping_from lets the peer ping us.
  void ping_from(const SocketAddress& source) { feed(make_ping(source, ++peer_transaction_)); }
  [[nodiscard]] ProbeReceived make_ping(const SocketAddress& source,
                                        std::uint64_t transaction) const {
    return {kSocket,
            source,
            {.kind = wire::ProbeKind::ping,
             .sender = other_role(),
             .label = {},
             .transaction = transaction,
             .nonce = {},
             .pair = 1,
             .observed = {}}};
  }
  [[nodiscard]] ProbeReceived make_pong(const SendProbe& ping) const {
    wire::Probe pong = ping.probe;
    pong.kind = wire::ProbeKind::pong;
    pong.sender = other_role();
    pong.observed = address("11.9.9.9:999");
    return {ping.socket, ping.target, pong};
  }
  [[nodiscard]] wire::ProbeSender other_role() const {
    return role_ == wire::ProbeSender::client ? wire::ProbeSender::connector
                                              : wire::ProbeSender::client;
  }

  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }

  // run_until returns whether `is_done` came true within `limit`.
  bool run_until(const std::function<bool()>& is_done, Duration limit) {
    const Instant end = now.instant + limit;
    while (!is_done()) {
      Instant next = end;
      if (const auto deadline = finder.next_deadline()) next = std::min(next, *deadline);
      const bool has_arrival = !arrivals_.empty() && arrivals_.begin()->first <= next;
      if (has_arrival) next = arrivals_.begin()->first;
      has_spun = has_spun || (!has_arrival && next <= now.instant && next < end);
      if (has_spun) return false;
      now.unix_time += std::chrono::duration_cast<milliseconds>(next - now.instant);
      now.instant = next;
      if (has_arrival) {
        PathFinder::Input input = std::move(arrivals_.begin()->second);
        arrivals_.erase(arrivals_.begin());
        feed(std::move(input));
      } else if (next == end) {
        finder.handle_timeout(now);
        drain();
        return is_done();
      } else {
        finder.handle_timeout(now);
        drain();
      }
    }
    return true;
  }

  // pings returns how many were sent to `target` in [from, to).
  [[nodiscard]] std::size_t pings(const SocketAddress& target, Instant from = {},
                                  Instant to = Instant::max()) const {
    return static_cast<std::size_t>(std::ranges::count_if(sent, [&](const Sent& one) {
      return one.probe.target == target && one.probe.probe.kind == wire::ProbeKind::ping &&
             from <= one.at && one.at < to;
    }));
  }

  // most_in_a_second returns the most pings that `matches` in any span of a second.
  [[nodiscard]] std::size_t most_in_a_second(
      const std::function<bool(const SendProbe&)>& matches) const {
    std::size_t most = 0;
    for (auto first = sent.begin(); first != sent.end(); ++first) {
      const auto count = std::count_if(first, sent.end(), [&](const Sent& one) {
        return one.at < first->at + seconds(1) && matches(one.probe);
      });
      most = std::max(most, static_cast<std::size_t>(count));
    }
    return most;
  }

  template <class What>
  [[nodiscard]] std::size_t count() const {
    return static_cast<std::size_t>(std::ranges::count_if(decisions, [](const Decision& decision) {
      return std::holds_alternative<What>(decision.what);
    }));
  }
  [[nodiscard]] bool is_live(const SocketAddress& remote) const {
    return finder.live() && finder.find(*finder.live())->remote == remote;
  }
  // go_direct makes `remote` the live pair.
  bool go_direct(const SocketAddress& remote, Duration rtt) {
    rtts[remote] = rtt;
    feed(FlowsActive{true});
    return run_until([&] { return is_live(remote); }, seconds(100));
  }

 private:
  SeededRandom random_{1};
  wire::ProbeSender role_;
  std::multimap<Instant, PathFinder::Input> arrivals_;
  std::uint64_t generation_ = 0;
  std::uint64_t peer_transaction_ = 0;

  void drain() {
    while (auto output = finder.poll_output()) {
      if (const auto* probe = std::get_if<SendProbe>(&*output)) {
        sent.push_back({now.instant, *probe});
        const auto rtt = rtts.find(probe->target);
        if (probe->probe.kind != wire::ProbeKind::ping || rtt == rtts.end()) continue;
        if (is_lost && is_lost()) continue;
        arrivals_.emplace(now.instant + rtt->second, make_pong(*probe));
      } else if (const auto* told_list = std::get_if<TellPeer>(&*output)) {
        told.push_back(told_list->list);
      } else if (const auto* up = std::get_if<Upgrade>(&*output)) {
        decisions.push_back({now.instant, *up});
        if (is_migrating) arrivals_.emplace(now.instant, PathInUse{up->pair.number});
      } else if (const auto* change = std::get_if<Switch>(&*output)) {
        decisions.push_back({now.instant, *change});
        if (is_migrating) arrivals_.emplace(now.instant, PathInUse{change->pair.number});
      } else if (const auto* down = std::get_if<Downgrade>(&*output)) {
        decisions.push_back({now.instant, *down});
      }
    }
  }

 public:
  PathFinder finder;
  std::map<SocketAddress, Duration> rtts;  // Who answers, and after how long.
  std::function<bool()> is_lost;           // Asked for each ping that would be answered.
  bool is_migrating = true;                // Upgrade and Switch succeed at once.
  bool has_spun = false;                   // A deadline was not in the future: a bug.
  std::vector<Sent> sent;
  std::vector<Decision> decisions;
  std::vector<wire::CandidateList> told;
};

}  // namespace zt::path
