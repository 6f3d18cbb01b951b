// SPDX-License-Identifier: Apache-2.0
#include "node/relay_bindings.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "node/messages.h"
#include "zt/base/assert.h"
#include "zt/wire/capsule.h"
#include "zt/wire/draining.h"

namespace zt::node {

// Leg is the relation to one relay.
//   waiting → looking_up → connecting → binding → bound
struct RelayBindings::Leg {
  enum class State : std::uint8_t { waiting, looking_up, connecting, binding, bound };

  static wire::CapsuleParser make_parser() {
    return {{wire::kDrainingCapsule}, wire::kDrainingValueSizeMax};
  }

  Leg(RelayPlace place_of_relay, const Backoff::Limits& limits, Random& random,
      std::unique_ptr<Carrier> carrier_of_leg)
      : place(std::move(place_of_relay)),
        backoff(limits, random),
        carrier(std::move(carrier_of_leg)) {}

  RelayPlace place;
  Backoff backoff;
  std::unique_ptr<Carrier> carrier;
  State state = State::waiting;
  std::vector<SocketAddress> untried;  // In reverse order; by UDP.
  SocketAddress remote;
  std::optional<quic::ConnectionKey> connection;
  std::optional<quic::StreamKey> binding;   // The accepted request.
  std::optional<quic::StreamKey> renewing;  // A request that is not answered yet.
  std::optional<Instant> deadline;          // Absent in waiting: until the first pass.
  std::optional<Instant> watch_at;          // While what was sent is not answered.
  Instant silent_since;                     // When that was sent.
  bool is_suspect = false;                  // It is pinged.
  bool has_term = false;                    // Another leg was heard meanwhile: this is its last.
  bool is_rebinding = false;                // The network has changed, or the carrier.
  bool has_new_carrier = false;
  bool is_draining = false;                    // As the relay said last.
  wire::CapsuleParser parser = make_parser();  // Of `binding`.
  std::optional<SocketAddress> observed;       // Our address as the relay sees it.
  std::string last_failure = "no answer";
  std::string link_failure;  // Of this try.
  std::string lost_because;  // Empty until the first try has failed.
};

namespace {}  // namespace

RelayBindings::RelayBindings(const Limits& limits, quic::Endpoint& endpoint, TcpLinks& links,
                             Random& random)
    : limits_(limits), endpoint_(endpoint), random_(random), links_(links) {}

RelayBindings::~RelayBindings() = default;

void RelayBindings::set_relays(const std::vector<RelayPlace>& relays, const Now& now) {
  std::vector<Leg> legs;
  legs.reserve(std::min(relays.size(), limits_.legs_max));
  for (const RelayPlace& place : relays) {
    if (legs.size() == limits_.legs_max) break;
    Leg* held = find(place.id);
    if (held != nullptr && held->place.is_same_place(place)) {
      held->place = place;  // The rest is for people and for choosing.
      legs.push_back(std::move(*held));
      held->connection.reset();  // Moved on: the cleaning below must not close it.
      held->state = Leg::State::waiting;
    } else {
      legs.emplace_back(place, limits_.backoff, random_,
                        std::make_unique<Carrier>(limits_.carrier, endpoint_, links_, random_));
    }
  }
  for (const Leg& leg : legs_) {
    if (leg.state == Leg::State::bound) {
      events_.emplace_back(RelayUnbound{.relay = leg.place.id, .reason = "the relay was removed"});
    }
    if (leg.connection) endpoint_.close(*leg.connection, kStreamNoError, "removed", now.instant);
    if (leg.carrier) leg.carrier->end(now);  // It moved on with a leg that stays.
  }
  legs_ = std::move(legs);
  if (!pass_) return;
  for (Leg& leg : legs_) {
    if (leg.state == Leg::State::waiting && !leg.deadline) look_up(leg, now);
  }
}

void RelayBindings::set_pass(RelayPass pass, const Now& now) {
  pass_ = std::move(pass);
  endpoint_.set_route(pass_->route);
  for (Leg& leg : legs_) {
    if (leg.state == Leg::State::bound || leg.state == Leg::State::binding) {
      bind(leg, now);
    } else if (leg.state == Leg::State::waiting && !leg.deadline) {
      look_up(leg, now);
    }
  }
}

void RelayBindings::look_up(Leg& leg, const Now& now) {
  leg.state = Leg::State::looking_up;
  leg.deadline = now.instant + limits_.attempt_timeout * 4;
  if (const auto* address = std::get_if<IpAddress>(&leg.place.address.host)) {
    lookup_done(leg.place.id, {*address}, now);
  } else {
    events_.emplace_back(RelayLookupWanted{.relay = leg.place.id,
                                           .name = std::get<DnsName>(leg.place.address.host)});
  }
}

void RelayBindings::lookup_done(const RelayId& relay, const std::vector<IpAddress>& addresses,
                                const Now& now) {
  Leg* leg = find(relay);
  if (leg == nullptr || leg->state != Leg::State::looking_up) return;
  if (addresses.empty()) return lose(*leg, "its name does not resolve", now);
  constexpr std::size_t kAddressesMax = 8;
  leg->untried.clear();
  for (const IpAddress& address : links_.in_order(addresses)) {
    if (leg->untried.size() == kAddressesMax) break;
    leg->untried.push_back({.ip = address, .port = leg->place.address.port});
  }
  leg->link_failure.clear();
  leg->carrier->begin({.remotes = leg->untried,
                       .pin = leg->place.pin(),
                       .server_name = {},
                       .authority = leg->place.address.to_text()},
                      now);
  std::ranges::reverse(leg->untried);
  connect_next(*leg, now);
}

void RelayBindings::connect_next(Leg& leg, const Now& now) {
  if (!leg.untried.empty()) {
    leg.remote = leg.untried.back();
    leg.untried.pop_back();
    return connect(leg, now);
  }
  if (leg.carrier->is_on_link() || !leg.carrier->is_link_pending()) {
    std::string reason = leg.last_failure;
    if (!leg.link_failure.empty()) reason = "by UDP: " + reason + "; by TCP: " + leg.link_failure;
    return lose(leg, std::move(reason), now);
  }
  leg.deadline.reset();  // The carrier has one.
}

void RelayBindings::connect(Leg& leg, const Now& now) {
  const auto connection = endpoint_.connect(
      {.remote = leg.remote, .pin = leg.place.pin(), .server_name = {}, .peer_route = std::nullopt},
      now.instant);
  if (!connection) return lose(leg, "too many connections", now);
  leg.connection = *connection;
  leg.state = Leg::State::connecting;
  leg.deadline = now.instant + limits_.attempt_timeout;
}

void RelayBindings::bind(Leg& leg, const Now& now) {
  ZT_ASSERT(leg.connection.has_value());
  ZT_ASSERT(pass_.has_value());
  http::Request request{.method = "CONNECT",
                        .scheme = "https",
                        .authority = leg.place.address.to_text(),
                        .path = std::string(kBindPath),
                        .protocol = std::string(kBindProtocol)};
  request.fields.add("proxy-authorization", "Bearer " + std::string(pass_->token.reveal()), true);
  const auto stream = endpoint_.open_request(*leg.connection, request, false);
  if (!stream) return lose(leg, "the relay takes no request", now);
  if (leg.renewing) endpoint_.reset(*leg.renewing, kStreamRequestCancelled);
  leg.renewing = *stream;
  if (leg.state != Leg::State::bound) {
    leg.state = Leg::State::binding;
    leg.deadline = now.instant + limits_.attempt_timeout;
  }
}

void RelayBindings::lose(Leg& leg, std::string reason, const Now& now) {
  if (leg.connection)
    endpoint_.close(*leg.connection, kStreamNoError, "starting anew", now.instant);
  leg.carrier->end(now);
  leg.connection.reset();
  leg.binding.reset();
  leg.renewing.reset();
  leg.watch_at.reset();
  leg.is_rebinding = false;
  leg.has_new_carrier = false;
  leg.is_suspect = false;
  leg.has_term = false;
  leg.state = Leg::State::waiting;
  const Duration wait = leg.backoff.next();
  leg.deadline = now.instant + wait;
  leg.lost_because = std::move(reason);
  events_.emplace_back(
      RelayUnbound{.relay = leg.place.id, .reason = leg.lost_because, .wait = wait});
}

// --- Carriers.

bool RelayBindings::link_opened(const SocketAddress& link, const SocketAddress& remote,
                                const Now& now) {
  for (Leg& leg : legs_) {
    if (!leg.carrier->link_opened(link, remote, now)) continue;
    take_changes(leg, now);
    return true;
  }
  return false;
}

bool RelayBindings::link_closed(const SocketAddress& link, std::string_view reason,
                                const Now& now) {
  for (Leg& leg : legs_) {
    if (!leg.carrier->link_closed(link, reason, now)) continue;
    take_changes(leg, now);
    return true;
  }
  return false;
}

void RelayBindings::take_changes(Leg& leg, const Now& now) {
  while (const auto change = leg.carrier->poll_change()) take_change(leg, *change, now);
}

void RelayBindings::take_change(Leg& leg, const Carrier::Change& change, const Now& now) {
  switch (change.kind) {
    case Carrier::Change::Kind::to_link:
      if (leg.state != Leg::State::connecting) {
        leg.has_new_carrier = true;
        return go_on(leg, now);
      }
      if (leg.connection) endpoint_.close(*leg.connection, kStreamNoError, "by TCP", now.instant);
      leg.untried.clear();
      leg.remote = change.name;
      return connect(leg, now);
    case Carrier::Change::Kind::to_udp:
      leg.has_new_carrier = true;
      return go_on(leg, now);
    case Carrier::Change::Kind::link_failed:
      leg.link_failure = change.reason;
      if (leg.state == Leg::State::connecting && !leg.connection) connect_next(leg, now);
      return;
    case Carrier::Change::Kind::lost:
      return lose(leg, "the TCP link is lost: " + change.reason, now);
  }
}

// go_on lets a leg go on from another address of ours.
void RelayBindings::go_on(Leg& leg, const Now& now) {
  // Without a new path the old one may still work; else the leg dies by its silence.
  (void)endpoint_.rebind(*leg.connection, now.instant);
  leg.is_rebinding = true;
  bind(leg, now);
}

// --- Our network, and the relay's silence.

void RelayBindings::set_active(bool is_active) {
  if (std::exchange(is_active_, is_active) == is_active) return;
  for (const Leg& leg : legs_) {
    if (leg.state == Leg::State::bound && !leg.is_suspect) keep_alive(leg);
  }
}

void RelayBindings::keep_alive(const Leg& leg) {
  endpoint_.ping_every(*leg.connection,
                       is_active_ ? std::optional(limits_.active_keep_alive) : std::nullopt);
}

void RelayBindings::network_changed(const Now& now) {
  for (Leg& leg : legs_) {
    const bool is_out_of_reach = leg.carrier->is_on_link() || !links_.leads_to(leg.remote.ip);
    if (leg.state == Leg::State::bound && is_out_of_reach) {
      // The link's TCP connection cannot move, nor can any to an address of a family that is gone.
      lose(leg, "the network has changed", now);
      restart(leg, now);
    } else if (leg.state == Leg::State::bound) {
      if (links_.is_udp_blocked()) leg.carrier->distrust(now);
      go_on(leg, now);
    } else if (pass_ && leg.state != Leg::State::looking_up) {
      restart(leg, now);
    }
  }
}

// restart tries at once what was tried, or waited for, in another network.
void RelayBindings::restart(Leg& leg, const Now& now) {
  if (leg.connection) {
    endpoint_.close(*leg.connection, kStreamNoError, "starting anew", now.instant);
  }
  leg.carrier->end(now);
  leg.connection.reset();
  leg.renewing.reset();
  leg.backoff.reset();
  look_up(leg, now);
}

void RelayBindings::sent_to(const SocketAddress& remote, Instant now) {
  for (Leg& leg : legs_) {
    if (leg.state != Leg::State::bound || leg.watch_at || leg.remote != remote) continue;
    leg.silent_since = now;
    leg.watch_at = now + limits_.silence_min;
  }
}

void RelayBindings::heard_from(const SocketAddress& remote, Instant now) {
  for (Leg& leg : legs_) {
    if (!leg.watch_at || leg.remote != remote) continue;
    leg.watch_at.reset();
    leg.has_term = false;
    if (!std::exchange(leg.is_suspect, false)) continue;
    leg.carrier->trust();
    keep_alive(leg);
    for (Leg& other : legs_) {  // Our network works, since now at the latest.
      if (other.is_suspect && !std::exchange(other.has_term, true)) ask(other, now);
    }
  }
}

Duration RelayBindings::patience_of(const Leg& leg) const {
  const auto statistics = endpoint_.statistics(*leg.connection);
  const Duration round_trip = statistics ? statistics->rtt_smoothed : Duration::zero();
  const Duration least = leg.carrier->is_on_link() ? limits_.silence_tcp : limits_.silence_min;
  return std::clamp(2 * round_trip + limits_.silence_min / 2, least, limits_.silence_max);
}

// watch is called when a relay has been silent for a while.
void RelayBindings::watch(Leg& leg, const Now& now) {
  if (!leg.is_suspect) {
    const Instant due = leg.silent_since + patience_of(leg);
    if (now.instant < due) {
      leg.watch_at = due;
      return;
    }
    for (Leg& each : legs_) {
      if (each.state == Leg::State::bound && !each.is_suspect) ask(each, now.instant);
    }
    return;
  }
  const auto is_other = [&leg](const Leg& other) {
    return &other != &leg && other.state == Leg::State::bound;
  };
  if (leg.has_term && std::ranges::any_of(legs_, is_other)) {
    return lose(leg, "it does not answer", now);
  }
  leg.has_term = std::ranges::any_of(
      legs_, [&](const Leg& other) { return is_other(other) && !other.is_suspect; });
  if (leg.has_term) return ask(leg, now.instant);
  // Nobody else to go to: our own network may be down, or let no UDP through. QUIC's idle timeout
  // decides.
  leg.carrier->distrust(now);
  endpoint_.ping_every(*leg.connection, limits_.silence_max / 4);
  leg.watch_at = now.instant + limits_.silence_max / 4;
}

// ask pings a suspect until it is heard, or its term is over.
void RelayBindings::ask(Leg& leg, Instant now) {
  leg.is_suspect = true;
  endpoint_.ping_every(*leg.connection, limits_.ping_interval);
  leg.watch_at = now + patience_of(leg) + limits_.ping_interval;
}

bool RelayBindings::handle(const quic::Event& event, const Now& now) {
  for (Leg& leg : legs_) {
    if (!leg.carrier->handle(event, now)) continue;
    take_changes(leg, now);
    return true;
  }
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    Leg* leg = find(ready->connection);
    if (leg != nullptr && leg->state == Leg::State::connecting) {
      leg->carrier->connected(leg->remote, now);
      bind(*leg, now);
    }
    return leg != nullptr;
  }
  if (const auto* failed = std::get_if<quic::MigrationFailed>(&event)) {
    Leg* leg = find(failed->connection);
    if (leg != nullptr) leg->carrier->distrust(now);
    return leg != nullptr;
  }
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    Leg* leg = find(closed->connection);
    if (leg != nullptr) take_close(*leg, *closed, now);
    return leg != nullptr;
  }
  if (const auto* response = std::get_if<quic::ResponseReceived>(&event)) {
    Leg* leg = find(response->stream.connection);
    if (leg != nullptr) take_response(*leg, *response, now);
    return leg != nullptr;
  }
  if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    Leg* leg = find(readable->stream.connection);
    if (leg == nullptr) return false;
    read(*leg, readable->stream, now);
    return true;
  }
  if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    Leg* leg = find(reset->stream.connection);
    if (leg != nullptr) take_stream_end(*leg, reset->stream, now);
    return leg != nullptr;
  }
  if (const auto* closed = std::get_if<quic::StreamClosed>(&event)) {
    Leg* leg = find(closed->stream.connection);
    if (leg != nullptr) take_stream_end(*leg, closed->stream, now);
    return leg != nullptr;
  }
  return false;
}

void RelayBindings::take_close(Leg& leg, const quic::ConnectionClosed& closed, const Now& now) {
  leg.connection.reset();
  if (closed.reason != quic::CloseReason::local) {
    leg.last_failure = std::string(quic::to_text(closed.reason));
    if (!closed.text.empty()) leg.last_failure += " (" + closed.text + ")";
  }
  if (leg.state == Leg::State::connecting) {
    connect_next(leg, now);
  } else {
    lose(leg, leg.last_failure, now);
  }
}

// read takes what a relay says on a bind stream: that it drains, or nothing that we know.
void RelayBindings::read(Leg& leg, const quic::StreamKey& stream, const Now& now) {
  const quic::Readable readable = endpoint_.readable(stream);
  const bool is_end = readable.is_end;
  if (stream == leg.binding) {
    BytesView rest = readable.bytes;
    const auto capsule = leg.parser.next(rest);
    if (capsule && *capsule) note_draining(leg);  // What is malformed says nothing.
  }
  endpoint_.consume(stream, readable.bytes.size());
  if (is_end) take_stream_end(leg, stream, now);
}

void RelayBindings::note_draining(Leg& leg) {
  if (!std::exchange(leg.is_draining, true)) events_.emplace_back(RelayDraining{leg.place.id});
}

void RelayBindings::unbind(const RelayId& relay, const Now& now) {
  Leg* leg = find(relay);
  if (leg == nullptr || leg->state != Leg::State::bound || !leg->is_draining) return;
  if (can_spare()) lose(*leg, "it is draining", now);
}

void RelayBindings::take_response(Leg& leg, const quic::ResponseReceived& received,
                                  const Now& now) {
  if (received.stream != leg.renewing) return;
  if (received.response.status != 200 || received.is_end) {
    if (received.response.fields.find(wire::kDrainingField)) note_draining(leg);
    const auto why = received.response.fields.find("proxy-status");
    return lose(leg, "the relay refused the binding" + (why ? ": " + std::string(*why) : ""), now);
  }
  if (leg.binding) endpoint_.finish(*leg.binding);
  leg.binding = leg.renewing;
  leg.parser = Leg::make_parser();
  leg.renewing.reset();
  leg.deadline.reset();
  std::optional<SocketAddress> observed;
  if (const auto text = received.response.fields.find(kObservedAddressField)) {
    observed = SocketAddress::parse(*text);
  }
  const bool is_over_tcp = leg.carrier->is_on_link();
  if (is_over_tcp || (observed && is_link_address(observed->ip))) observed.reset();
  leg.carrier->followed();
  const bool has_changed = std::exchange(leg.observed, observed) != observed;
  const bool has_rebound = std::exchange(leg.is_rebinding, false);
  const bool has_new_carrier = std::exchange(leg.has_new_carrier, false);
  if (leg.state == Leg::State::bound) {
    if (!has_changed && !has_rebound) return;
    events_.emplace_back(RelayRebound{.relay = leg.place.id,
                                      .remote = leg.remote,
                                      .observed = observed,
                                      .has_new_carrier = has_new_carrier,
                                      .is_over_tcp = is_over_tcp});
    return;
  }
  leg.state = Leg::State::bound;
  leg.is_draining = false;
  leg.backoff.reset();
  keep_alive(leg);
  events_.emplace_back(RelayBound{.relay = leg.place.id,
                                  .remote = leg.remote,
                                  .observed = observed,
                                  .is_over_tcp = is_over_tcp});
}

// The end of a replaced binding is what we asked for, and may arrive before the answer that
// replaces it; the end of the current one is a loss.
void RelayBindings::take_stream_end(Leg& leg, const quic::StreamKey& stream, const Now& now) {
  if (stream == leg.binding && leg.renewing) {
    leg.binding.reset();
    leg.deadline = now.instant + limits_.attempt_timeout;
  } else if (stream == leg.binding || stream == leg.renewing) {
    lose(leg, "the relay ended the binding", now);
  }
}

void RelayBindings::handle_timeout(const Now& now) {
  for (Leg& leg : legs_) {
    leg.carrier->handle_timeout(now);
    take_changes(leg, now);
    if (leg.watch_at && *leg.watch_at <= now.instant) watch(leg, now);
    take_changes(leg, now);  // A link that is open may have been turned to.
    if (!leg.deadline || now.instant < *leg.deadline) continue;
    leg.deadline.reset();
    switch (leg.state) {
      case Leg::State::waiting:
        look_up(leg, now);
        break;
      case Leg::State::looking_up:
        lose(leg, "looking up its name took too long", now);
        break;
      case Leg::State::connecting:
        leg.last_failure = "no answer";
        // ConnectionClosed follows and tries the next address.
        if (leg.connection)
          endpoint_.close(*leg.connection, kStreamNoError, "no answer", now.instant);
        break;
      case Leg::State::binding:
      case Leg::State::bound:  // By a request that is not answered, after the binding has ended.
        lose(leg, "the relay did not answer the binding", now);
        break;
    }
  }
}

std::optional<RelayEvent> RelayBindings::poll_event() {
  if (events_.empty()) return std::nullopt;
  RelayEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> RelayBindings::next_deadline() const {
  std::optional<Instant> earliest;
  for (const Leg& leg : legs_) {
    earliest = earlier_of(earliest, earlier_of(leg.deadline, leg.watch_at));
    earliest = earlier_of(earliest, leg.carrier->next_deadline());
  }
  return earliest;
}

std::optional<SocketAddress> RelayBindings::bound_at(const RelayId& relay) const {
  const Leg* leg = find(relay);
  return leg != nullptr && leg->state == Leg::State::bound ? std::optional(leg->remote)
                                                           : std::nullopt;
}

std::vector<RelayId> RelayBindings::bound_relays() const {
  std::vector<RelayId> relays;
  for (const Leg& leg : legs_) {
    if (leg.state == Leg::State::bound && !leg.is_draining) relays.push_back(leg.place.id);
  }
  const std::vector<RelayId> draining = draining_relays();
  relays.insert(relays.end(), draining.begin(), draining.end());
  return relays;
}

std::vector<RelayId> RelayBindings::draining_relays() const {
  std::vector<RelayId> relays;
  for (const Leg& leg : legs_) {
    if (leg.state == Leg::State::bound && leg.is_draining) relays.push_back(leg.place.id);
  }
  return relays;
}

bool RelayBindings::can_spare() const {
  return std::ranges::any_of(legs_, [](const Leg& leg) {
    return leg.state == Leg::State::bound && !leg.is_draining && !leg.is_suspect;
  });
}

bool RelayBindings::is_answered() const {
  return std::ranges::any_of(
      legs_, [](const Leg& leg) { return leg.state == Leg::State::bound && !leg.is_suspect; });
}

std::optional<Duration> RelayBindings::round_trip(const RelayId& relay) const {
  const Leg* leg = find(relay);
  if (leg == nullptr || !leg->connection) return std::nullopt;
  const auto statistics = endpoint_.statistics(*leg->connection);
  return statistics ? std::optional(statistics->rtt_smoothed) : std::nullopt;
}

std::optional<RelayBindings::Standing> RelayBindings::standing(const RelayId& relay) const {
  const Leg* leg = find(relay);
  if (leg == nullptr) return std::nullopt;
  Standing standing{.is_bound = leg->state == Leg::State::bound};
  if (leg->remote.port != 0) standing.remote = leg->remote;
  if (standing.is_bound) {
    standing.is_silent = leg->is_suspect;
    standing.is_draining = leg->is_draining;
    standing.is_over_tcp = leg->carrier->is_on_link();
    if (!leg->is_rebinding) standing.observed = leg->observed;
    standing.round_trip = round_trip(relay);
  } else {
    standing.reason = leg->lost_because;
  }
  return standing;
}

RelayBindings::Leg* RelayBindings::find(const RelayId& relay) {
  const auto found = std::ranges::find(
      legs_, relay, [](const Leg& leg) -> const RelayId& { return leg.place.id; });
  return found == legs_.end() ? nullptr : &*found;
}

const RelayBindings::Leg* RelayBindings::find(const RelayId& relay) const {
  const auto found = std::ranges::find(
      legs_, relay, [](const Leg& leg) -> const RelayId& { return leg.place.id; });
  return found == legs_.end() ? nullptr : &*found;
}

RelayBindings::Leg* RelayBindings::find(quic::ConnectionKey connection) {
  const auto found =
      std::ranges::find_if(legs_, [&](const Leg& leg) { return leg.connection == connection; });
  return found == legs_.end() ? nullptr : &*found;
}

}  // namespace zt::node
