// SPDX-License-Identifier: Apache-2.0
#include "node/carrier.h"

#include <utility>
#include <variant>

#include "node/messages.h"
#include "zt/base/assert.h"

namespace zt::node {

Carrier::Carrier(const Limits& limits, quic::Endpoint& endpoint, TcpLinks& links, Random& random)
    : limits_(limits), endpoint_(endpoint), links_(links), backoff_(limits.probes, random) {}

void Carrier::begin(ServerPlace place, const Now& now) {
  end(now);
  phase_ = Phase::connecting;
  place_ = std::move(place);
  if (!limits_.is_tcp_allowed) return;
  if (links_.is_udp_blocked()) {
    open_link(now);
  } else {
    link_at_ = now.instant + limits_.head_start;
  }
}

void Carrier::connected(const SocketAddress& name, const Now& now) {
  ZT_ASSERT(phase_ == Phase::connecting);
  phase_ = Phase::connected;
  name_ = name;
  link_at_.reset();
  links_.set_udp_blocked(is_on_link_);
  if (!is_on_link_) return close_link();
  probe_at_ = now.instant + limits_.probe_first;
}

void Carrier::followed() {
  if (!is_on_link_) close_link();
}

void Carrier::distrust(const Now& now) {
  if (phase_ != Phase::connected || is_on_link_ || !limits_.is_tcp_allowed) return;
  if (std::exchange(is_distrusted_, true)) return;
  drained_at_.reset();
  if (link_ && is_link_open_) return take_link(name_, now);
  if (!link_) open_link(now);
}

void Carrier::trust() {
  if (!std::exchange(is_distrusted_, false) || is_on_link_) return;
  link_at_.reset();
  close_link();
}

void Carrier::end(const Now& now) {
  end_probe(now);
  close_link();
  phase_ = Phase::idle;
  is_on_link_ = false;
  is_distrusted_ = false;
  link_at_.reset();
  probe_at_.reset();
  changes_.clear();
}

// --- The link.

void Carrier::open_link(const Now& now) {
  link_at_.reset();
  link_ = links_.open(place_);
  is_link_open_ = false;
  link_by_ = now.instant + limits_.link_timeout;
}

void Carrier::close_link() {
  link_by_.reset();
  drained_at_.reset();
  if (link_) links_.close(*link_);
  link_.reset();
}

void Carrier::use_link() {
  links_.set_use({.link = *link_,
                  .name = name_,
                  .is_carrying = is_on_link_,
                  .is_probing = probe_.has_value()});
}

bool Carrier::link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now) {
  if (link != link_) return false;
  is_link_open_ = true;
  link_by_.reset();
  if (phase_ == Phase::connecting) {
    // By UDP the server is behind the port of its addresses; the one that answers may be of use.
    const std::uint16_t port = place_.remotes.empty() ? remote.port : place_.remotes.front().port;
    take_link({.ip = remote.ip, .port = port}, now);
  } else if (is_distrusted_) {
    take_link(name_, now);
  }
  return true;
}

void Carrier::take_link(const SocketAddress& name, const Now& now) {
  is_on_link_ = true;
  is_distrusted_ = false;
  name_ = name;
  use_link();
  if (phase_ == Phase::connected) {
    links_.set_udp_blocked(true);
    backoff_.reset();
    probe_at_ = now.instant + limits_.probe_first;
  }
  changes_.push_back({.kind = Change::Kind::to_link, .name = name, .reason = {}});
}

bool Carrier::link_closed(const SocketAddress& link, std::string_view reason, const Now& now) {
  if (link != link_) return false;
  lose_link(reason, now);
  return true;
}

void Carrier::lose_link(std::string_view reason, const Now& now) {
  end_probe(now);
  close_link();
  probe_at_.reset();
  is_distrusted_ = false;
  const bool has_carried = std::exchange(is_on_link_, false);
  if (!has_carried && phase_ != Phase::connecting) return;
  changes_.push_back({.kind = has_carried ? Change::Kind::lost : Change::Kind::link_failed,
                      .name = {},
                      .reason = std::string(reason)});
}

// --- Probes by UDP.

void Carrier::probe(const Now& now) {
  const auto connection = endpoint_.connect({.remote = *link_,
                                             .pin = place_.pin,
                                             .server_name = place_.server_name,
                                             .peer_route = std::nullopt,
                                             .is_kept_alive = false},
                                            now.instant);
  if (!connection) {
    probe_at_ = now.instant + backoff_.next();
    return;
  }
  probe_ = *connection;
  probe_by_ = now.instant + limits_.probe_timeout;
  use_link();
}

void Carrier::end_probe(const Now& now) {
  probe_by_.reset();
  if (!probe_) return;
  endpoint_.close(*probe_, kStreamNoError, "probe", now.instant);
  probe_.reset();
}

bool Carrier::handle(const quic::Event& event, const Now& now) {
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (ready->connection != probe_) return false;
    end_probe(now);
    is_on_link_ = false;
    use_link();
    links_.set_udp_blocked(false);
    backoff_.reset();
    drained_at_ = now.instant + limits_.drain_time;
    changes_.push_back({.kind = Change::Kind::to_udp, .name = {}, .reason = {}});
    return true;
  }
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    if (closed->connection != probe_) return false;
    probe_.reset();
    probe_by_.reset();
    use_link();
    probe_at_ = now.instant + backoff_.next();
    return true;
  }
  return false;
}

// --- Time.

void Carrier::handle_timeout(const Now& now) {
  const auto is_due = [&now](std::optional<Instant>& deadline) {
    if (!deadline || now.instant < *deadline) return false;
    deadline.reset();
    return true;
  };
  if (is_due(link_at_)) open_link(now);
  if (is_due(link_by_)) lose_link("no answer", now);
  if (is_due(drained_at_)) close_link();
  if (is_due(probe_at_)) probe(now);
  if (is_due(probe_by_)) {
    end_probe(now);
    use_link();
    probe_at_ = now.instant + backoff_.next();
  }
}

std::optional<Carrier::Change> Carrier::poll_change() {
  if (changes_.empty()) return std::nullopt;
  Change change = std::move(changes_.front());
  changes_.pop_front();
  return change;
}

std::optional<Instant> Carrier::next_deadline() const {
  return earlier_of(earlier_of(earlier_of(link_at_, link_by_), earlier_of(probe_at_, probe_by_)),
                    drained_at_);
}

}  // namespace zt::node
