// SPDX-License-Identifier: Apache-2.0
#include "node/link.h"

#include <algorithm>
#include <utility>

namespace zt::node {

namespace {

constexpr path::SocketId kSocket{1};  // A node has one UDP port, of both families.
constexpr Duration kDrainingCheckInterval = std::chrono::milliseconds(100);
// A timer that is so late was not kept from its turn by work, but by sleep.
constexpr Duration kSleepMin = std::chrono::seconds(5);
// Above a connection's keep-alive.
constexpr Duration kHeardLately = std::chrono::seconds(12);

std::string milliseconds_text(Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

std::string carrier(bool is_tcp) {
  return is_tcp ? "TCP" : "UDP";
}

// Clients open connections, connectors accept them.
DirectPaths::Config paths_config(const Link::Config& config) {
  DirectPaths::Config paths = config.paths;
  paths.role =
      config.endpoint.is_accepting ? wire::ProbeSender::connector : wire::ProbeSender::client;
  return paths;
}

// Peers are told no address of who is always relayed.
MappedPort::Config mapping_config(const Link::Config& config) {
  MappedPort::Config mapping = config.mapping;
  mapping.nonce_key = config.endpoint.identity->derived_key("zt port mapping nonce");
  if (config.paths.policy == Paths::always_relay) mapping.is_wanted = false;
  return mapping;
}

// Who is always relayed sends nothing to where peers could be. It is users who ask what their
// network allows, so connectors need not know.
path::HairpinTest::Config hairpin_config(const Link::Config& config) {
  return {.is_wanted = !config.endpoint.is_accepting && config.paths.policy != Paths::always_relay};
}

}  // namespace

Link::Config Link::between_peers(Config config) {
  config.endpoint.limits.idle_timeout = kPeerIdleTimeout;
  return config;
}

Link::Link(const Config& config, Credential credential, Random& random)
    : endpoint_(config.endpoint, random),
      controller_(config.controller, std::move(credential), endpoint_, links_, random),
      relays_(config.relays, endpoint_, links_, random),
      scout_(config.scout, relays_, endpoint_, random),
      paths_(paths_config(config), endpoint_, random),
      mapped_port_(mapping_config(config), random),
      hairpin_(hairpin_config(config), random),
      advertised_(config.advertised),
      drain_quiet_(config.drain_quiet) {}

void Link::start(const Now& now) {
  controller_.start(now);
}

void Link::set_local(const LocalPort& local, const Now& now) {
  if (local_ == local) return;
  // Between two networks there is no source, and nowhere to go on from.
  const bool has_moved = local_ && !local.sources.empty() && local_->sources != local.sources;
  local_ = local;
  if (!local.sources.empty()) links_.set_network(local.sources);
  if (has_moved) go_on(now);
  judge_nat(now);
  tell_paths(now);
}

// go_on lets everything go on as from other addresses, which it may.
void Link::go_on(const Now& now) {
  controller_.network_changed(now);
  relays_.network_changed(now);
  scout_.network_changed(now);
  paths_.network_changed(now);
}

// wake is called when the machine has slept. What is idle for too long has just been closed, and
// must be known to be before it is tried again.
void Link::wake(const Now& now) {
  take_endpoint_events(now);
  go_on(now);
  tell_paths(now);
}

// judge_nat hands on what relays tell of the NAT before us, and what could be mapped there.
void Link::judge_nat(const Now& now) {
  if (!local_) return;
  std::optional<path::MappingPlace> place;
  const auto source = std::ranges::find_if(local_->sources, &IpAddress::is_v4);
  if (local_->is_v4 && local_->gateway && source != local_->sources.end()) {
    place = {.gateway = *local_->gateway, .internal = {.ip = *source, .port = local_->port}};
  }
  const path::FamilyVerdict v4 = path::judge_network(network_facts()).v4;
  mapped_port_.set_place(place, v4.mapping, now);
  hairpin_.set_place(v4, now);
}

// tell_paths says anew where peers may find us, the addresses of the machine first.
void Link::tell_paths(const Now& now) {
  if (!local_) return;
  std::vector<wire::Candidate> candidates;
  const auto add = [&candidates](wire::CandidateKind kind, const SocketAddress& address) {
    if (kind_of(address.ip) != AddressKind::global) return;
    if (std::ranges::find(candidates, address, &wire::Candidate::address) != candidates.end()) {
      return;
    }
    candidates.push_back({.kind = kind, .address = address});
  };
  for (const SocketAddress& address : advertised_) add(wire::CandidateKind::configured, address);
  // A port that is forwarded, whoever has arranged it.
  if (const auto external = mapped_port_.external()) {
    add(wire::CandidateKind::configured, *external);
  }
  for (const auto& [relay, address] : observed_) add(wire::CandidateKind::observed, address);
  if (seen_by_controller_) add(wire::CandidateKind::observed, *seen_by_controller_);
  for (const IpAddress& ip : local_->addresses) {
    add(wire::CandidateKind::host, {.ip = ip, .port = local_->port});
  }
  paths_.set_local({.id = kSocket, .is_v4 = local_->is_v4, .is_v6 = local_->is_v6},
                   std::move(candidates), now);
}

void Link::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  if (datagrams.bytes.empty()) return;  // No protocol of this port has empty datagrams.
  if (mapped_port_.handle(datagrams, now)) return;
  quic::ReceivedDatagrams packets = datagrams;
  packets.remote = links_.from_wire(datagrams.remote);
  relays_.heard_from(packets.remote, now.instant);
  if (packets.segment_size == 0) packets.segment_size = packets.bytes.size();  // As Endpoint does.
  const std::size_t rest = datagrams.bytes.size() % packets.segment_size;
  if (packets.segment_size == wire::kProbeSize) {
    // All of one size, the rare case: probes, and perhaps short packets among them.
    for (std::size_t at = 0; at < datagrams.bytes.size(); at += wire::kProbeSize) {
      packets.bytes = datagrams.bytes.subspan(at);
      packets.bytes = packets.bytes.first(std::min(packets.bytes.size(), wire::kProbeSize));
      packets.segment_size = packets.bytes.size();
      handle_datagram(packets, now);
    }
    return;
  }
  if (rest == wire::kProbeSize) {
    packets.bytes = datagrams.bytes.first(datagrams.bytes.size() - rest);
    if (!packets.bytes.empty()) endpoint_.handle(packets, now.instant);
    packets.bytes = datagrams.bytes.last(rest);
    packets.segment_size = rest;
    return handle_datagram(packets, now);
  }
  endpoint_.handle(packets, now.instant);
}

// handle_datagram takes a single one that has a probe's size, and may be one.
void Link::handle_datagram(const quic::ReceivedDatagrams& datagram, const Now& now) {
  if (wire::is_probe(datagram.bytes)) {
    if (hairpin_.take(datagram.bytes, now)) return;
    paths_.take_probe(datagram.remote, datagram.bytes, now);
  } else {
    endpoint_.handle(datagram, now.instant);
  }
}

std::optional<quic::Transmit> Link::poll_transmit(std::span<std::byte> buffer, const Now& now) {
  if (auto request = mapped_port_.poll_transmit(buffer)) return request;
  if (const auto sending = hairpin_.poll_sending()) {
    return transmit_probe(buffer, sending->target, sending->bytes);
  }
  if (auto probe = paths_.poll_transmit(buffer)) return probe;
  auto packets = endpoint_.poll_transmit(buffer, now.instant);
  if (!packets) return std::nullopt;
  relays_.sent_to(packets->remote, now.instant);
  packets->remote = links_.to_wire(packets->remote);
  return packets;
}

void Link::handle_timeout(const Now& now) {
  const auto due = next_deadline();
  endpoint_.handle_timeout(now.instant);
  if (due && now.instant - *due >= kSleepMin) wake(now);
  controller_.handle_timeout(now);
  relays_.handle_timeout(now);
  scout_.handle_timeout(now);
  place_legs(now);
  mapped_port_.handle_timeout(now);
  hairpin_.handle_timeout(now);
  paths_.handle_timeout(now);
  leave_draining_relays(now);
}

void Link::leave_draining_relays(const Now& now) {
  if (!draining_checked_at_ || now.instant < *draining_checked_at_) return;
  const std::vector<RelayId> relays = relays_.draining_relays();
  std::erase_if(draining_, [&relays](const auto& entry) {
    return std::ranges::find(relays, entry.first) == relays.end();
  });
  for (const RelayId& relay : relays) {
    Instant& used = draining_.try_emplace(relay, now.instant).first->second;
    const auto remote = relays_.bound_at(relay);
    if (!remote || is_used(*remote)) used = now.instant;
    if (now.instant - used >= drain_quiet_) relays_.unbind(relay, now);
  }
  draining_checked_at_.reset();
  if (!relays_.draining_relays().empty()) {
    draining_checked_at_ = now.instant + kDrainingCheckInterval;
  }
}

bool Link::is_used(const SocketAddress& remote) const {
  return std::ranges::any_of(peers_, [&](quic::ConnectionKey connection) {
    return endpoint_.remote_of(connection) == remote;
  });
}

bool Link::leave(const Now& now) {
  if (mapped_port_.leave(now)) return true;
  return endpoint_.close_newest("the node ends", now.instant);
}

void Link::link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now) {
  if (!controller_.link_opened(link, remote, now)) (void)relays_.link_opened(link, remote, now);
}

void Link::link_closed(const SocketAddress& link, std::string_view reason, const Now& now) {
  if (!controller_.link_closed(link, reason, now)) (void)relays_.link_closed(link, reason, now);
}

bool Link::lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, const Now& now) {
  const auto found = lookups_.find(key);
  if (found == lookups_.end()) return false;
  const LookupOwner owner = std::move(found->second);
  lookups_.erase(found);
  if (const auto* relay = std::get_if<RelayId>(&owner)) {
    relays_.lookup_done(*relay, addresses, now);
  } else if (const auto* of_scout = std::get_if<OfScout>(&owner)) {
    scout_.lookup_done(of_scout->relay, addresses, now);
    place_legs(now);
  } else {
    controller_.lookup_done(addresses, now);
  }
  return true;
}

std::optional<Link::Event> Link::poll_event(const Now& now) {
  if (events_.empty()) {
    take_endpoint_events(now);
    take_session_events(now);
    take_relay_events(now);
    place_legs(now);
    take_relay_events(now);  // Of legs that were given up.
    take_path_events();
    take_mapping_events(now);
    while (auto wish = links_.poll_wish()) {
      std::visit([this](auto& each) { events_.emplace_back(std::move(each)); }, *wish);
    }
  }
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> Link::next_deadline() const {
  const auto of_parts =
      earlier_of(earlier_of(endpoint_.next_deadline(), paths_.next_deadline()),
                 earlier_of(controller_.next_deadline(),
                            earlier_of(relays_.next_deadline(), scout_.next_deadline())));
  const auto of_nat = earlier_of(mapped_port_.next_deadline(), hairpin_.next_deadline());
  return earlier_of(earlier_of(of_parts, of_nat), draining_checked_at_);
}

bool Link::is_online(const Now& now) const {
  if (relays_.is_answered()) return true;
  const auto heard_at = controller_.heard_at();
  return heard_at && now.instant - *heard_at < kHeardLately;
}

const RelayPlace* Link::place_of(const RelayId& relay) const {
  const auto found = std::ranges::find(places_, relay, &RelayPlace::id);
  return found == places_.end() ? nullptr : &*found;
}

path::NetworkFacts Link::network_facts() const {
  if (!local_) return {};
  path::NetworkFacts facts{.port = local_->port,
                           .is_v4 = local_->is_v4,
                           .is_v6 = local_->is_v6,
                           .addresses = local_->addresses,
                           .advertised = advertised_,
                           .sightings = {}};
  for (const RelayId& relay : relays_.bound_relays()) {
    const auto standing = relays_.standing(relay);
    if (!standing || !standing->remote || standing->is_over_tcp) continue;
    facts.sightings.push_back({.observer = *standing->remote, .observed = standing->observed});
  }
  const auto controller_at = controller_.remote();
  if (controller_at && controller_.observed()) {
    facts.sightings.push_back({.observer = *controller_at, .observed = controller_.observed()});
  }
  return facts;
}

void Link::take_endpoint_events(const Now& now) {
  while (auto event = endpoint_.poll_event()) {
    if (controller_.handle(*event, now)) continue;
    if (relays_.handle(*event, now)) continue;
    if (scout_.handle(*event, now)) continue;
    if (const auto* ready = std::get_if<quic::ConnectionReady>(&*event)) {
      peers_.insert(ready->connection);
    } else if (const auto* closed = std::get_if<quic::ConnectionClosed>(&*event)) {
      peers_.erase(closed->connection);
    }
    if (paths_.handle(*event, now)) continue;
    events_.emplace_back(std::move(*event));
  }
}

void Link::take_session_events(const Now& now) {
  while (auto event = controller_.poll_event()) {
    if (auto* wanted = std::get_if<LookupWanted>(&*event)) {
      const LookupKey key = look_up(OfController{});
      events_.emplace_back(Lookup{.key = key, .name = wanted->name});
      continue;
    }
    if (std::holds_alternative<SeenElsewhere>(*event)) {
      // What it saw last counts while it is away, too.
      if (controller_.observed()) seen_by_controller_ = controller_.observed();
      tell_paths(now);
      judge_nat(now);
      continue;
    }
    if (auto* down = std::get_if<SessionDown>(&*event)) {
      events_.emplace_back(Notice{
          .level = NoticeLevel::warn,
          .message = "the controller is away",
          .fields = {{"reason", down->reason}, {"retry_ms", milliseconds_text(down->wait)}}});
    }
    if (std::holds_alternative<SessionUp>(*event)) {
      events_.emplace_back(Notice{.level = NoticeLevel::info,
                                  .message = "connected to the controller",
                                  .fields = {{"by", carrier(controller_.is_over_tcp())}}});
    }
    if (auto* told = std::get_if<Told>(&*event)) apply(told->message, now);
    std::visit(
        [this](auto& alternative) {
          using Alternative = std::decay_t<decltype(alternative)>;
          if constexpr (!std::is_same_v<Alternative, LookupWanted> &&
                        !std::is_same_v<Alternative, SeenElsewhere>) {
            events_.emplace_back(std::move(alternative));
          }
        },
        *event);
  }
}

void Link::take_path_events() {
  while (const auto told = paths_.poll_event()) {
    if (const auto* draining = std::get_if<PeerDraining>(&*told)) {
      events_.emplace_back(
          Notice{.level = NoticeLevel::info, .message = "a connector is draining", .fields = {}});
      events_.emplace_back(*draining);
      continue;
    }
    const auto* event = std::get_if<PathChanged>(&*told);
    Notice notice{.level = NoticeLevel::info,
                  .message = event->direct ? "a connection is direct" : "a connection is relayed",
                  .fields = {}};
    if (event->direct) notice.fields.emplace_back("remote", event->direct->to_text());
    if (!event->reason.empty()) {
      notice.fields.emplace_back("reason", "the direct path is " + std::string(event->reason));
    }
    events_.emplace_back(std::move(notice));
    events_.emplace_back(*event);
  }
}

void Link::take_mapping_events(const Now& now) {
  while (auto event = mapped_port_.poll_event()) {
    if (std::holds_alternative<path::MappingChanged>(*event)) tell_paths(now);
    std::visit([this](auto& each) { events_.emplace_back(std::move(each)); }, *event);
  }
}

void Link::take_relay_events(const Now& now) {
  bool has_news = false;
  while (auto event = relays_.poll_event()) {
    has_news = true;
    if (auto* wanted = std::get_if<RelayLookupWanted>(&*event)) {
      const LookupKey key = look_up(wanted->relay);
      events_.emplace_back(Lookup{.key = key, .name = wanted->name});
    } else if (auto* bound = std::get_if<RelayBound>(&*event)) {
      events_.emplace_back(
          Notice{.level = NoticeLevel::info,
                 .message = "bound at a relay",
                 .fields = {{"relay", bound->relay.text}, {"by", carrier(bound->is_over_tcp)}}});
      observe(bound->relay, bound->observed, now);
      note_address(bound->remote, bound->relay);
      scout_.bound(bound->relay);
      paths_.relay_rebound(bound->remote, now);
      events_.emplace_back(std::move(*bound));
    } else if (const auto* rebound = std::get_if<RelayRebound>(&*event)) {
      if (rebound->has_new_carrier) {
        events_.emplace_back(Notice{.level = NoticeLevel::info,
                                    .message = rebound->is_over_tcp
                                                   ? "a relay is reached by TCP: UDP is blocked"
                                                   : "a relay is reached by UDP again",
                                    .fields = {{"relay", rebound->relay.text}}});
      }
      observe(rebound->relay, rebound->observed, now);
      note_address(rebound->remote, rebound->relay);
      paths_.relay_rebound(rebound->remote, now);
    } else if (const auto* draining = std::get_if<RelayDraining>(&*event)) {
      events_.emplace_back(Notice{.level = NoticeLevel::info,
                                  .message = "a relay is draining",
                                  .fields = {{"relay", draining->relay.text}}});
      draining_checked_at_ = now.instant;
      scout_.draining(draining->relay);
      events_.emplace_back(*draining);
    } else if (auto* unbound = std::get_if<RelayUnbound>(&*event)) {
      events_.emplace_back(Notice{.level = NoticeLevel::warn,
                                  .message = "not bound at a relay",
                                  .fields = {{"relay", unbound->relay.text},
                                             {"reason", unbound->reason},
                                             {"retry_ms", milliseconds_text(unbound->wait)}}});
      scout_.unbound(unbound->relay);
      events_.emplace_back(std::move(*unbound));
    }
  }
  if (has_news) judge_nat(now);
  while (const auto wanted = scout_.poll_lookup()) {
    events_.emplace_back(Lookup{.key = look_up(OfScout{wanted->relay}), .name = wanted->name});
  }
}

// note_address remembers relays that have left the list, too: packets may still come from there.
void Link::note_address(const SocketAddress& remote, const RelayId& relay) {
  constexpr std::size_t kAddressesMax = 1024;
  if (relay_addresses_.size() >= kAddressesMax) {
    std::erase_if(relay_addresses_,
                  [this](const auto& entry) { return place_of(entry.second) == nullptr; });
  }
  relay_addresses_.insert_or_assign(remote, relay);
}

std::optional<RelayId> Link::relay_at(const SocketAddress& remote) const {
  const auto found = relay_addresses_.find(remote);
  if (found != relay_addresses_.end()) return found->second;
  // A leg that has just changed to a TCP link, or back, and is about to say so.
  for (const RelayPlace& place : places_) {
    const auto standing = relays_.standing(place.id);
    if (standing && standing->remote == remote) return place.id;
  }
  return std::nullopt;
}

void Link::set_places(const std::vector<RelayPlace>& places, const Now& now) {
  places_ = places;
  std::erase_if(observed_, [this](const auto& entry) { return place_of(entry.first) == nullptr; });
  scout_.set_relays(places_, now);
  place_legs(now);
}

void Link::want_relays(const std::vector<RelayId>& relays, const Now& now) {
  scout_.want(relays);
  place_legs(now);
}

void Link::want_some_of(const std::vector<RelayId>& relays, const Now& now) {
  scout_.want_some(relays);
  place_legs(now);
}

void Link::set_active(bool is_active, const Now& now) {
  relays_.set_active(is_active);
  scout_.set_active(is_active);
  place_legs(now);
}

// place_legs hands on where the scout wants us to be bound.
void Link::place_legs(const Now& now) {
  if (const auto legs = scout_.take_legs()) relays_.set_relays(*legs, now);
}

// The role sees the message too, without what was taken out of it here: the pass.
void Link::apply(WatchMessage& message, const Now& now) {
  if (auto* snapshot = std::get_if<WatchSnapshot>(&message)) {
    if (snapshot->pass) scout_.set_node(snapshot->pass->route);
    set_places(snapshot->relays, now);
    if (snapshot->pass) relays_.set_pass(std::move(*snapshot->pass), now);
    snapshot->pass.reset();
  } else if (auto* relays = std::get_if<WatchRelays>(&message)) {
    set_places(relays->relays, now);
  } else if (auto* pass = std::get_if<WatchPass>(&message)) {
    relays_.set_pass(std::move(pass->pass), now);
  }
}

// observe keeps where a relay has seen us last, also while it is away.
void Link::observe(const RelayId& relay, const std::optional<SocketAddress>& address,
                   const Now& now) {
  if (!address || observed_[relay] == *address) return;
  observed_[relay] = *address;
  tell_paths(now);
}

LookupKey Link::look_up(LookupOwner owner) {
  const LookupKey key = new_lookup_key();
  lookups_.emplace(key, std::move(owner));
  return key;
}

}  // namespace zt::node
