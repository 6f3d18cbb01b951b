// SPDX-License-Identifier: Apache-2.0
// Connections to connectors, the relays that carry them, and fail-over.
#include <fmt/format.h>

#include <algorithm>

#include "zt/base/assert.h"
#include "zt/client/engine.h"

namespace zt::client {

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
  const std::optional<Candidate> candidate = find_candidate(flow, access, now);
  if (!candidate) {
    const bool may_come = flow.tried.empty() && !access.held().connectors.empty();
    if (!may_come) {
      give_up_connecting(key, now);
      return;
    }
    flow.state = State::wants_relay;
    flow.step_deadline = now.instant + limits_.connect_timeout;
    schedule(key, flow);
    return;
  }
  ++flow.tries_count;
  flow.tried.emplace_back(candidate->connector->id, candidate->relay);
  if (candidate->peer) {
    peers_.find(*candidate->peer)->second.relays = candidate->connector->relays;
    join(key, *candidate->peer, now);
    return;
  }
  if (!make_room_for_peer()) {
    refuse(key, {.kind = Outcome::Kind::limit, .text = "too many connectors are in use"}, now);
    return;
  }
  const auto peer_key = PeerKey(++last_peer_);
  Peer peer;
  peer.connector = candidate->connector->id;
  peer.name = candidate->connector->name;
  peer.certificate = candidate->connector->certificate;
  peer.relays = candidate->connector->relays;
  peer.relay = candidate->relay;
  peer.connect_deadline = now.instant + limits_.connect_timeout;
  peer.round_trip = relays_.find(candidate->relay)->second.round_trip;
  peer.hearing = Hearing::listening;
  peer.listen_until = now.instant + patience_with(peer);
  peers_.emplace(peer_key, std::move(peer));
  outputs_.emplace_back(ConnectTo{.peer = peer_key,
                                  .connector = candidate->connector->id,
                                  .certificate = candidate->connector->certificate,
                                  .route = candidate->connector->route,
                                  .relay = candidate->relay});
  join(key, peer_key, now);
}

// find_candidate walks the connectors' first relays, then their second ones, and so on. Silent
// connectors come when there is nobody else.
std::optional<Engine::Candidate> Engine::find_candidate(const Flow& flow, const Access& access,
                                                        const Now& now) const {
  const auto is_tried = [&](const ConnectorId& connector, const RelayId& relay) {
    return std::ranges::find(flow.tried, std::pair(connector, relay)) != flow.tried.end();
  };
  const std::vector<const GrantedConnector*> connectors = in_order(access, now);
  std::optional<Candidate> silent;
  bool has_more = true;
  for (std::size_t round = 0; has_more; ++round) {
    has_more = false;
    for (const GrantedConnector* connector : connectors) {
      if (const auto peer = find_peer(*connector)) {
        const RelayId& relay = peers_.find(*peer)->second.relay;
        if (is_tried(connector->id, relay)) continue;
        Candidate candidate{connector, relay, peer};
        if (!is_silent(candidate)) return candidate;
        if (!silent) silent = candidate;
        continue;
      }
      const std::vector<RelayId> relays = common_relays(connector->relays);
      if (round >= relays.size()) continue;
      has_more = true;
      if (!is_tried(connector->id, relays[round])) {
        return Candidate{connector, relays[round], std::nullopt};
      }
    }
  }
  return silent;
}

bool Engine::is_silent(const Candidate& candidate) const {
  return candidate.peer && peers_.find(*candidate.peer)->second.hearing == Hearing::silent;
}

// in_order puts connectors that failed a moment ago behind the others.
std::vector<const GrantedConnector*> Engine::in_order(const Access& access, const Now& now) const {
  std::vector<const GrantedConnector*> result;
  for (const GrantedConnector& connector : access.held().connectors) result.push_back(&connector);
  std::ranges::stable_partition(result, [&](const GrantedConnector* connector) {
    const auto held_down = held_down_.find(connector->id);
    return held_down == held_down_.end() || held_down->second <= now.instant;
  });
  return result;
}

std::optional<PeerKey> Engine::find_peer(const GrantedConnector& connector) const {
  for (const auto& [key, peer] : peers_) {
    if (peer.connector == connector.id && peer.certificate == connector.certificate) return key;
  }
  return std::nullopt;
}

std::vector<RelayId> Engine::common_relays(const std::vector<RelayId>& relays) const {
  std::vector<RelayId> result;
  std::ranges::copy_if(relays, std::back_inserter(result),
                       [&](const RelayId& relay) { return relays_.contains(relay); });
  return result;
}

// give_up_connecting asks for a grant anew if the flow came upon a held one, whose list of
// connectors may be out of date; otherwise it refuses.
void Engine::give_up_connecting(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  Access& access = access_of(flow);
  if (access.grant && !flow.has_asked) {
    flow.has_asked = true;
    access.grant.reset();
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
  held_down_.erase(peer.connector);
  schedule(input.peer, peer);
  const std::set<FlowKey> waiting = peer.flows;
  for (const FlowKey key : waiting) {
    Flow& flow = flows_.find(key)->second;
    if (flow.peer) flow.slow_peers.push_back(*flow.peer);
    flow.peer = input.peer;
    leave_slow_peers(key, flow, now);
    open(key, input.peer, now);
  }
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
  std::erase_if(held_down_, [&](const auto& entry) { return entry.second <= now.instant; });
  held_down_.insert_or_assign(peer.connector, now.instant + limits_.connector_hold_down);
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
  const std::optional<Candidate> candidate = find_candidate(flow, access, now);
  if (!candidate || is_silent(*candidate)) return;
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
  relays_.insert_or_assign(input.relay,
                           Relay{.name = std::move(input.name), .round_trip = input.round_trip});
  for (auto& [key, peer] : peers_) {
    const bool is_stranded = peer.is_ready && !relays_.contains(peer.relay);
    if (!is_stranded || std::ranges::find(peer.relays, input.relay) == peer.relays.end()) continue;
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
    const std::vector<RelayId> others = common_relays(peer.relays);
    if (others.empty()) continue;  // It waits for a relay, or dies of its own accord.
    reroute(key, peer, others.front(), now);
  }
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
