// SPDX-License-Identifier: Apache-2.0
// Connections to connectors, the relays that carry them, and fail-over.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "zt/base/assert.h"
#include "zt/client/engine.h"
#include "zt/client/spread.h"
#include "zt/path/relay_choice.h"

namespace zt::client {

// --- Relays in common.

// common_relays lists where both are bound, as far as the rule allows: those that it prefers, and
// then the others, the best first. What the other end has not measured counts as far as the
// farthest that it has.
template <class Reachable>
std::vector<RelayId> Engine::common_relays(const Reachable& reachable, const PathRule& path) const {
  const std::map<RelayId, Duration>& round_trips = reachable.round_trips;
  Duration farthest{};
  for (const auto& [relay, round_trip] : round_trips) farthest = std::max(farthest, round_trip);
  std::vector<path::RelayOption> options;
  for (const RelayId& id : reachable.relays) {
    const auto relay = relays_.find(id);
    if (relay == relays_.end() || !allows(path, id)) continue;
    const auto theirs = round_trips.find(id);
    options.push_back({.relay = id,
                       .round_trip = relay->second.round_trip +
                                     (theirs == round_trips.end() ? farthest : theirs->second),
                       .load = relay->second.load});
  }
  std::vector<RelayId> result;
  for (path::RelayOption& option : path::in_order(std::move(options), self_.device.text)) {
    result.push_back(std::move(option.relay));
  }
  std::ranges::stable_partition(result,
                                [&](const RelayId& relay) { return is_preferred(path, relay); });
  std::ranges::stable_partition(result, [&](const RelayId& relay) { return is_lasting(relay); });
  return result;
}

// --- A flow wants a connector.

void Engine::want_connector(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  const Access& access = access_of(flow);
  if (!access.is_live(now.instant)) {  // It ended while the flow tried a connector.
    detach(key, flow, now);
    want_grant(key, now);
    return;
  }
  if (flow.tries_count >= limits_.connectors_tried_max) {
    give_up_connecting(key, now);
    return;
  }
  const std::optional<Candidate> candidate = find_candidate(flow, access);
  if (!candidate) {
    const std::vector<GrantedConnector>& connectors = access.held().connectors;
    const bool is_any_bound = std::ranges::any_of(
        connectors, [](const GrantedConnector& each) { return !each.relays.empty(); });
    // Who was bound nowhere when the grant was given out has told the controller meanwhile.
    const bool is_recent = now.instant - access.received < limits_.connect_timeout;
    const bool may_come =
        flow.tried.empty() && (is_any_bound || (is_recent && !connectors.empty()));
    if (may_come) return want_relay(key, access, now);
    give_up_connecting(key, now);
    return;
  }
  ++flow.tries_count;
  flow.tried.emplace_back(candidate->connector->id, candidate->relay);
  if (!doubts_.contains(candidate->connector->id)) retry_doubtful(access, now);
  if (candidate->peer) {
    Peer& peer = peers_.find(*candidate->peer)->second;
    peer.relays = candidate->connector->relays;
    peer.round_trips = candidate->connector->round_trips;
    join(key, *candidate->peer, now);
  } else if (make_room_for_peer()) {
    const PathRule path = path_rule_of(access);
    join(key, connect(*candidate->connector, candidate->relay, path, now), now);
  } else {
    refuse(key, {.kind = Outcome::Kind::limit, .text = "too many connectors are in use"}, now);
  }
}

// want_relay waits for a relay in common. Without one at all we are about to be bound, or offline.
void Engine::want_relay(FlowKey key, const Access& access, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  flow.state = State::wants_relay;
  flow.step_deadline = now.instant + limits_.connect_timeout;
  schedule(key, flow);
  if (relays_.empty()) return;
  const PathRule path = path_rule_of(access);
  BindAt bind;
  for (const GrantedConnector* connector : in_order(access)) {
    const auto rank = [&](const RelayId& relay) {
      const auto known = connector->round_trips.find(relay);
      const bool is_known = known != connector->round_trips.end();
      return std::tuple(!allows(path, relay), !is_preferred(path, relay),
                        is_known ? known->second : Duration::max());
    };
    const auto best = std::ranges::min_element(connector->relays, {}, rank);
    if (best != connector->relays.end() && allows(path, *best)) bind.relays.push_back(*best);
    if (bind.relays.size() == 2) break;  // One may be dead.
  }
  if (!bind.relays.empty()) outputs_.emplace_back(std::move(bind));
}

PeerKey Engine::connect(const GrantedConnector& connector, const RelayId& relay,
                        const PathRule& path, const Now& now) {
  const auto key = PeerKey(++last_peer_);
  Peer peer;
  peer.connector = connector.id;
  peer.name = connector.name;
  peer.certificate = connector.certificate;
  peer.relays = connector.relays;
  peer.round_trips = connector.round_trips;
  peer.relay = relay;
  peer.path = path;
  peer.connect_deadline = now.instant + limits_.connect_timeout;
  peer.round_trip = relays_.find(relay)->second.round_trip;
  peer.hearing = Hearing::listening;
  peer.listen_until = now.instant + patience_with(peer);
  peer.idle_since = now.instant;
  schedule(key, peers_.emplace(key, std::move(peer)).first->second);
  outputs_.emplace_back(ConnectTo{.peer = key,
                                  .connector = connector.id,
                                  .certificate = connector.certificate,
                                  .route = connector.route,
                                  .relay = relay,
                                  .paths = path.paths});
  return key;
}

// retry_doubtful connects to those of the grant's connectors that failed some time ago, for nobody.
void Engine::retry_doubtful(const Access& access, const Now& now) {
  const PathRule path = path_rule_of(access);
  for (const GrantedConnector& connector : access.held().connectors) {
    const auto doubted = doubts_.find(connector.id);
    const bool is_due = doubted != doubts_.end() && doubted->second.retry <= now.instant;
    if (!is_due || find_peer(connector, path)) continue;
    const auto relays = common_relays(connector, path);
    if (relays.empty() || peers_.size() >= limits_.connectors_max) continue;
    (void)connect(connector, relays.front(), path, now);  // It becomes ready, or fails, by itself.
  }
}

// doubt remembers a connector that failed; the one that is to be retried first makes room.
void Engine::doubt(const ConnectorId& connector, const Now& now) {
  Doubt& doubted = doubts_[connector];
  doubted.pause = doubted.pause == Duration::zero()
                      ? limits_.connector_hold_down
                      : std::min(2 * doubted.pause, limits_.connector_hold_down_max);
  doubted.retry = now.instant + doubted.pause;
  if (doubts_.size() <= limits_.connectors_max) return;
  doubts_.erase(
      std::ranges::min_element(doubts_, {}, [](const auto& entry) { return entry.second.retry; }));
}

// find_candidate walks the connectors' first relays, then their second ones, and so on. Connectors
// that are silent or drain come when there is nobody else.
std::optional<Engine::Candidate> Engine::find_candidate(const Flow& flow,
                                                        const Access& access) const {
  const auto is_tried = [&](const ConnectorId& connector, const RelayId& relay) {
    return std::ranges::find(flow.tried, std::pair(connector, relay)) != flow.tried.end();
  };
  const std::vector<const GrantedConnector*> connectors = in_order(access);
  const PathRule path = path_rule_of(access);
  std::optional<Candidate> last_resort;
  bool has_more = true;
  for (std::size_t round = 0; has_more; ++round) {
    has_more = false;
    for (const GrantedConnector* connector : connectors) {
      if (const auto peer = find_peer(*connector, path)) {
        const RelayId& relay = peers_.find(*peer)->second.relay;
        if (is_tried(connector->id, relay)) continue;
        Candidate candidate{connector, relay, peer};
        if (!is_last_resort(candidate)) return candidate;
        if (!last_resort) last_resort = candidate;
        continue;
      }
      const std::vector<RelayId> relays = common_relays(*connector, path);
      if (round >= relays.size()) continue;
      has_more = true;
      if (!is_tried(connector->id, relays[round])) {
        return Candidate{connector, relays[round], std::nullopt};
      }
    }
  }
  return last_resort;
}

bool Engine::is_last_resort(const Candidate& candidate) const {
  if (!candidate.peer) return false;
  const Peer& peer = peers_.find(*candidate.peer)->second;
  return peer.hearing == Hearing::silent || peer.is_draining;
}

std::vector<const GrantedConnector*> Engine::in_order(const Access& access) const {
  const std::vector<GrantedConnector>& connectors = access.held().connectors;
  const PathRule path = path_rule_of(access);
  std::vector<ConnectorLoad> loads;
  loads.reserve(connectors.size());
  for (const GrantedConnector& connector : connectors) {
    ConnectorLoad load{.id = connector.id,
                       .weight = connector.weight,
                       .is_doubtful = doubts_.contains(connector.id)};
    if (const auto key = find_peer(connector, path)) {
      const Peer& peer = peers_.find(*key)->second;
      load.own_flow_count = peer.flows.size();
      load.is_connected = peer.hearing != Hearing::silent && !peer.is_draining;
    }
    loads.push_back(std::move(load));
  }
  std::vector<const GrantedConnector*> result;
  result.reserve(connectors.size());
  for (const std::size_t place : spread_order(loads, self_.device.text)) {
    result.push_back(&connectors[place]);
  }
  return result;
}

std::optional<PeerKey> Engine::find_peer(const GrantedConnector& connector,
                                         const PathRule& path) const {
  for (const auto& [key, peer] : peers_) {
    if (peer.connector == connector.id && peer.certificate == connector.certificate &&
        peer.path == path) {
      return key;
    }
  }
  return std::nullopt;
}

// path_rule_of: what the view does not show yet, the connector knows.
PathRule Engine::path_rule_of(const Access& access) const {
  const auto found = view_.resources.find(access.held().resource);
  return found == view_.resources.end() ? PathRule{} : found->second.path;
}

// is_lasting tells whether we are bound at a relay that does not drain.
bool Engine::is_lasting(const RelayId& relay) const {
  const auto found = relays_.find(relay);
  return found != relays_.end() && !found->second.is_draining;
}

// give_up_connecting asks for a grant anew if the flow came upon a held one, whose list of
// connectors may be out of date; otherwise it refuses.
void Engine::give_up_connecting(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  Access& access = access_of(flow);
  if (flow.access && access.grant && !flow.has_asked) {
    flow.has_asked = true;
    drop_grant(*flow.access, access, now);
    detach(key, flow, now);
    want_grant(key, now);
    return;
  }
  Outcome outcome{
      .kind = Outcome::Kind::unreachable, .text = {}, .rule = {}, .decision = flow.decision};
  if (access.grant && access.grant->connectors.empty()) {
    outcome.text = fmt::format("no connector of \"{}\" is online", flow.resource_name);
  } else if (relays_.empty()) {
    outcome.text = "no relay can be reached";
  } else if (flow.last_problem.empty()) {
    outcome.text =
        fmt::format("no relay in common with the connectors of \"{}\"", flow.resource_name);
    const PathRule path = access.grant ? path_rule_of(access) : PathRule{};
    if (path.use == RelayUse::only) {
      outcome.text += fmt::format(" is allowed by its path rule ({})", describe(path));
    }
  } else {
    outcome.text = fmt::format("no connector of \"{}\" can be reached: {}", flow.resource_name,
                               flow.last_problem);
  }
  refuse(key, std::move(outcome), now);
}

// join lets a flow use a connection, or wait for it.
void Engine::join(FlowKey key, PeerKey peer_key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  Peer& peer = peers_.find(peer_key)->second;
  flow.peer = peer_key;
  peer.flows.insert(key);
  schedule(peer_key, peer);
  if (peer.is_ready) {
    leave_slow_peers(key, flow, now);
    open(key, peer_key, now);
    return;
  }
  flow.state = State::wants_connector;
  flow.step_deadline = flow.deadline;
  schedule(key, flow);
}

// leave_slow_peers ends a flow's waiting for all but `peer`. The others have not failed: they may
// be tried again.
void Engine::leave_slow_peers(FlowKey key, Flow& flow, const Now& now) {
  for (const PeerKey peer_key : std::exchange(flow.slow_peers, {})) {
    if (peer_key == flow.peer) continue;
    Peer& peer = peers_.find(peer_key)->second;
    std::erase(flow.tried, std::pair(peer.connector, peer.relay));
    peer.flows.erase(key);
    if (peer.flows.empty()) peer.idle_since = now.instant;
    schedule(peer_key, peer);
  }
}

// --- Paths that must be direct.

// wait_for_direct shows the connector the grant, without which it tells no addresses.
void Engine::wait_for_direct(FlowKey key, PeerKey peer_key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  const GrantIssued& grant = access_of(flow).held();
  Peer& peer = peers_.find(peer_key)->second;
  flow.state = State::wants_direct;
  flow.step_deadline = now.instant + limits_.direct_timeout;
  flow.grant = grant.id;
  flow.decision = grant.decision;
  flow.connector = peer.connector;
  schedule(key, flow);
  if (std::exchange(peer.is_presented, true)) return;
  outputs_.emplace_back(PresentGrant{peer_key, grant.id, grant.token.duplicate()});
}

void Engine::on(PathTaken& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end()) return;
  found->second.is_direct = input.is_direct;
  if (!input.is_direct) return;
  const std::set<FlowKey> flows = found->second.flows;
  for (const FlowKey key : flows) {
    if (flows_.find(key)->second.state == State::wants_direct) open(key, input.peer, now);
  }
}

void Engine::give_up_direct(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  ZT_ASSERT(flow.peer.has_value());  // It has waited for that one.
  const Peer& peer = peers_.find(*flow.peer)->second;
  flow.last_problem = problem_with(
      peer,
      fmt::format("no direct path was found within {} s, and the path rule of \"{}\" is "
                  "never-relay",
                  std::chrono::duration_cast<std::chrono::seconds>(limits_.direct_timeout).count(),
                  flow.resource_name));
  leave_peer(key, flow, now);
  want_connector(key, now);
}

bool Engine::make_room_for_peer() {
  if (peers_.size() < limits_.connectors_max) return true;
  std::optional<PeerKey> oldest;
  for (const auto& [key, peer] : peers_) {
    if (!peer.flows.empty()) continue;
    if (!oldest || peer.idle_since < peers_.find(*oldest)->second.idle_since) oldest = key;
  }
  if (!oldest) return false;
  outputs_.emplace_back(CloseConnector{*oldest});
  set_timer({TimerKind::peer, std::uint64_t(*oldest)}, peers_.find(*oldest)->second.timer,
            std::nullopt);
  peers_.erase(*oldest);
  return true;
}

// --- Connections come and go.

void Engine::on(ConnectorReady& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end() || found->second.is_ready) return;
  Peer& peer = found->second;
  peer.is_ready = true;
  peer.idle_since = now.instant;
  peer.round_trip = input.round_trip;
  peer.hearing = Hearing::unasked;
  peer.listen_until.reset();
  doubts_.erase(peer.connector);
  if (peer.flows.empty()) {  // It lives, which is all that was asked; without a grant it would end.
    outputs_.emplace_back(CloseConnector{input.peer});
    set_timer({TimerKind::peer, std::uint64_t(input.peer)}, peer.timer, std::nullopt);
    peers_.erase(found);
    return;
  }
  schedule(input.peer, peer);
  if (!is_lasting(peer.relay)) leave_relay(input.peer, peer, now);
  const std::set<FlowKey> waiting = peer.flows;
  for (const FlowKey key : waiting) {
    Flow& flow = flows_.find(key)->second;
    if (flow.peer) flow.slow_peers.push_back(*flow.peer);
    flow.peer = input.peer;
    leave_slow_peers(key, flow, now);
    open(key, input.peer, now);
  }
}

void Engine::on(ConnectorDraining& input, const Now& /*now*/) {
  const auto found = peers_.find(input.peer);
  if (found != peers_.end()) found->second.is_draining = true;
}

void Engine::on(ConnectorLost& input, const Now& now) {
  if (!peers_.contains(input.peer)) return;
  lose_peer(input.peer, input.reason, now);
}

// lose_peer cuts the open flows of a connection that is gone and takes the others elsewhere.
void Engine::lose_peer(PeerKey key, const std::string& reason, const Now& now) {
  const auto found = peers_.find(key);
  const Peer peer = std::move(found->second);
  set_timer({TimerKind::peer, std::uint64_t(key)}, found->second.timer, std::nullopt);
  doubt(peer.connector, now);
  const std::string problem = problem_with(peer, reason);
  for (const FlowKey flow_key : peer.flows) {
    if (flows_.find(flow_key)->second.state == State::open) cut(flow_key, problem);
  }
  peers_.erase(found);
  for (const FlowKey flow_key : peer.flows) lose_flow(flow_key, key, peer, problem, now);
}

std::string Engine::problem_with(const Peer& peer, std::string_view reason) {
  return fmt::format("connector \"{}\": {}", peer.name.empty() ? peer.connector.text : peer.name,
                     reason);
}

// lose_flow takes a flow from a connection that is gone to what else it waits for, or elsewhere.
void Engine::lose_flow(FlowKey key, PeerKey peer_key, const Peer& peer, const std::string& problem,
                       const Now& now) {
  Flow& flow = flows_.find(key)->second;
  flow.last_problem = problem;
  if (flow.peer != peer_key) {
    std::erase(flow.slow_peers, peer_key);
    return;
  }
  flow.peer.reset();
  if (flow.state == State::cut) return;
  if (!flow.slow_peers.empty()) {
    flow.peer = flow.slow_peers.back();
    flow.slow_peers.pop_back();
    pass_over(key, now);
    return;
  }
  if (flow.state == State::wants_answer) outputs_.emplace_back(AbandonFlow{key});
  if (peer.is_ready) {  // A connector that lived may live again: it counts as not yet tried.
    std::erase(flow.tried, std::pair(peer.connector, peer.relay));
  }
  want_connector(key, now);
}

void Engine::expire_peer(PeerKey key, const Now& now) {
  Peer& peer = peers_.find(key)->second;
  if (!peer.is_ready && peer.connect_deadline <= now.instant) {
    outputs_.emplace_back(CloseConnector{key});
    lose_peer(key, "it did not answer in time", now);
    return;
  }
  if (peer.listen_until && *peer.listen_until <= now.instant) {
    expire_listening(key, peer, now);
    return;
  }
  outputs_.emplace_back(CloseConnector{key});
  set_timer({TimerKind::peer, std::uint64_t(key)}, peer.timer, std::nullopt);
  peers_.erase(key);
}

// --- Silence.

Duration Engine::patience_with(const Peer& peer) const {
  return 2 * std::min(peer.round_trip, limits_.round_trip_max) + limits_.silence_margin;
}

void Engine::listen(PeerKey key, Peer& peer, const Now& now) {
  peer.hearing = Hearing::listening;
  peer.listen_until = now.instant + patience_with(peer);
  schedule(key, peer);
  outputs_.emplace_back(ListenTo{key, limits_.ping_interval});
}

void Engine::on(ConnectorHeard& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end() || !found->second.is_ready) return;
  Peer& peer = found->second;
  if (peer.hearing != Hearing::listening && peer.hearing != Hearing::silent) return;
  peer.round_trip = input.round_trip;
  peer.hearing = Hearing::unasked;
  peer.listen_until.reset();
  if (has_waiting_flow(peer)) {  // It may die before it answers.
    peer.hearing = Hearing::heard;
    peer.listen_until = now.instant + limits_.listen_pause;
  }
  schedule(input.peer, peer);
}

void Engine::on(ConnectorUnanswered& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end() || !found->second.is_ready) return;
  Peer& peer = found->second;
  if (peer.hearing != Hearing::unasked) return;
  listen(input.peer, peer, now);
  peer.listen_until = input.since + patience_with(peer);
  schedule(input.peer, peer);
}

bool Engine::has_waiting_flow(const Peer& peer) const {
  return std::ranges::any_of(peer.flows, [&](FlowKey key) {
    return flows_.find(key)->second.state == State::wants_answer;
  });
}

void Engine::expire_listening(PeerKey key, Peer& peer, const Now& now) {
  if (peer.hearing == Hearing::heard && has_waiting_flow(peer)) {
    listen(key, peer, now);
    return;
  }
  const bool is_silent = peer.hearing == Hearing::listening;
  peer.hearing = is_silent ? Hearing::silent : Hearing::unasked;
  peer.listen_until.reset();
  schedule(key, peer);
  if (!is_silent) return;
  if (peer.is_ready) outputs_.emplace_back(ListenTo{key, limits_.ping_interval_silent});
  const std::string problem = problem_with(peer, "it does not answer");
  const std::set<FlowKey> flows = peer.flows;
  for (const FlowKey flow_key : flows) {
    Flow& flow = flows_.find(flow_key)->second;
    const bool is_waiting =
        flow.state == State::wants_answer || flow.state == State::wants_connector;
    if (!is_waiting || flow.peer != key) continue;
    flow.last_problem = problem;
    pass_over(flow_key, now);
  }
}

// pass_over takes a flow from a silent connector to one that is not, if there is one. What it asked
// is taken back; a connection that it waits for may still come first.
void Engine::pass_over(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  const Access& access = access_of(flow);
  if (!access.is_live(now.instant) || flow.tries_count >= limits_.connectors_tried_max) return;
  const std::optional<Candidate> candidate = find_candidate(flow, access);
  if (!candidate || is_last_resort(*candidate)) return;
  if (!candidate->peer && !make_room_for_peer()) return;
  ZT_ASSERT(flow.peer.has_value());
  if (flow.state == State::wants_answer) {
    const Peer& peer = peers_.find(*flow.peer)->second;
    outputs_.emplace_back(AbandonFlow{key});
    std::erase(flow.tried, std::pair(peer.connector, peer.relay));  // It may be heard again.
    leave_peer(key, flow, now);
  } else {
    flow.slow_peers.push_back(*flow.peer);
  }
  want_connector(key, now);
}

// --- Relays come and go.

void Engine::on(RelayAvailable& input, const Now& now) {
  // A relay that was lost may be back at another of its addresses: its own connections follow, too.
  const bool is_back = !relays_.contains(input.relay);
  relays_.insert_or_assign(input.relay, Relay{.name = std::move(input.name),
                                              .round_trip = input.round_trip,
                                              .load = input.load,
                                              .is_draining = input.is_draining});
  for (auto& [key, peer] : peers_) {
    const bool is_lost = !relays_.contains(peer.relay) || (is_back && peer.relay == input.relay);
    const bool is_ending = !is_lasting(peer.relay) && !input.is_draining;
    const bool is_stranded = peer.is_ready && (is_lost || is_ending);
    if (!is_stranded || std::ranges::find(peer.relays, input.relay) == peer.relays.end()) continue;
    if (!allows(peer.path, input.relay)) continue;
    reroute(key, peer, input.relay, now);
  }
  std::vector<FlowKey> waiting;
  for (const auto& [key, flow] : flows_) {
    if (flow.state == State::wants_relay) waiting.push_back(key);
  }
  for (const FlowKey key : waiting) want_connector(key, now);
}

void Engine::on(RelayLost& input, const Now& now) {
  if (relays_.erase(input.relay) == 0) return;
  std::vector<PeerKey> hit;
  for (const auto& [key, peer] : peers_) {
    if (peer.relay == input.relay) hit.push_back(key);
  }
  for (const PeerKey key : hit) {
    const auto found = peers_.find(key);
    if (found == peers_.end()) continue;
    Peer& peer = found->second;
    if (!peer.is_ready) {
      outputs_.emplace_back(CloseConnector{key});
      lose_peer(key, "its relay was lost", now);
      continue;
    }
    const std::vector<RelayId> others = common_relays(peer, peer.path);
    if (others.empty()) continue;  // It waits for a relay, or dies of its own accord.
    reroute(key, peer, others.front(), now);
  }
}

void Engine::on(RelayDraining& input, const Now& now) {
  const auto relay = relays_.find(input.relay);
  if (relay == relays_.end()) return;
  relay->second.is_draining = true;
  for (auto& [key, peer] : peers_) {
    // What still connects is moved when it stands.
    if (peer.is_ready && peer.relay == input.relay) leave_relay(key, peer, now);
  }
}

// leave_relay moves a connection off a relay that drains, if there is another one.
void Engine::leave_relay(PeerKey key, Peer& peer, const Now& now) {
  const std::vector<RelayId> others = common_relays(peer, peer.path);
  if (others.empty() || !is_lasting(others.front())) return;
  reroute(key, peer, others.front(), now);
}

// reroute gives the connector its time anew: the relay may have been the silent one.
void Engine::reroute(PeerKey key, Peer& peer, const RelayId& relay, const Now& now) {
  peer.relay = relay;
  outputs_.emplace_back(Reroute{key, relay});
  if (peer.hearing != Hearing::listening) return;
  peer.listen_until = now.instant + patience_with(peer);
  schedule(key, peer);
}

}  // namespace zt::client
