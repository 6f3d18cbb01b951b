// SPDX-License-Identifier: Apache-2.0
// The life of a flow: asked for, refused or opened, ended.
#include "zt/client/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "zt/base/assert.h"

namespace zt::client {
namespace {

using wire::ProxyError;

// kind_of sorts a connector's refusal by what it means for an application.
Outcome::Kind kind_of(int status, const std::optional<ProxyError>& error) {
  if (error == ProxyError::dns_error || error == ProxyError::dns_timeout) {
    return Outcome::Kind::dns_failed;
  }
  if (error == ProxyError::connection_refused) return Outcome::Kind::refused;
  if (error == ProxyError::connection_timeout) return Outcome::Kind::timed_out;
  if (error == ProxyError::connection_limit_reached) return Outcome::Kind::limit;
  if (status == 401 || status == 403 || status == 407) return Outcome::Kind::denied;
  if (status == 504) return Outcome::Kind::timed_out;
  return Outcome::Kind::unreachable;
}

// is_worth_another tells whether another connector may well do what this one did not.
bool is_worth_another(int status, const std::optional<ProxyError>& error) {
  return status == 503 || error == ProxyError::connection_limit_reached ||
         error == ProxyError::destination_unavailable;
}

}  // namespace

std::string_view to_text(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::no_resource:
      return "no_resource";
    case Outcome::Kind::not_signed_in:
      return "not_signed_in";
    case Outcome::Kind::denied:
      return "denied";
    case Outcome::Kind::refused:
      return "refused";
    case Outcome::Kind::dns_failed:
      return "dns_failed";
    case Outcome::Kind::timed_out:
      return "timed_out";
    case Outcome::Kind::unreachable:
      return "unreachable";
    case Outcome::Kind::limit:
      return "limit";
  }
  return "unknown";
}

Engine::Engine(const Limits& limits, Self self, Random& random)
    : limits_(limits), self_(std::move(self)), random_(random) {}

void Engine::handle(Input input, const Now& now) {
  expire(now);
  std::visit([&](auto& kind) { on(kind, now); }, input);
}

void Engine::handle_timeout(const Now& now) {
  expire(now);
}

std::optional<Engine::Output> Engine::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::optional<Instant> Engine::next_deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

void Engine::on(FlowRequested& input, const Now& now) {
  ZT_ASSERT(!flows_.contains(input.flow));
  input.target.host = policy::canonical_host(input.target.host);
  std::optional<Outcome> refusal = judge_locally(input.target, input.protocol);
  if (refusal && is_worth_asking(input, *refusal, now)) refusal.reset();
  if (!refusal && (flows_.size() >= limits_.flows_max ||
                   flows_.size() - open_count_ >= limits_.flows_waiting_max)) {
    refusal = Outcome{.kind = Outcome::Kind::limit, .text = "too many flows are being set up"};
  }
  if (refusal) {
    ++flows_refused_;
    outputs_.emplace_back(FlowRefused{input.flow, *std::move(refusal)});
    return;
  }
  Flow flow;
  flow.id = make_id<FlowIdTag>(random_);
  flow.target = std::move(input.target);
  flow.protocol = input.protocol;
  flow.requested = now.instant;
  flow.deadline = now.instant + limits_.flow_timeout;
  flow.step_deadline = flow.deadline;
  Flow& held = flows_.emplace(input.flow, std::move(flow)).first->second;
  schedule(input.flow, held);
  want_grant(input.flow, now);
}

Engine::Access& Engine::access_of(const Flow& flow) {
  ZT_ASSERT(flow.access.has_value());
  return accesses_.find(*flow.access)->second;
}

// open asks the connector, to which a connection stands.
void Engine::open(FlowKey key, PeerKey peer_key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  const Access& access = access_of(flow);
  // The grant may have ended, or have been renewed for other ports, while the flow waited.
  if (!access.is_live(now.instant) || !access.covers(flow.target.port)) {
    detach(key, flow, now);
    want_grant(key, now);
    return;
  }
  const GrantIssued& grant = access.held();
  Peer& peer = peers_.find(peer_key)->second;
  const bool is_named =
      std::ranges::any_of(grant.connectors, [&](const GrantedConnector& connector) {
        return connector.id == peer.connector && connector.certificate == peer.certificate;
      });
  if (!is_named) {  // The grant was renewed while the flow waited, for other connectors.
    leave_peer(key, flow, now);
    want_connector(key, now);
    return;
  }
  if (peer.path.paths == Paths::never_relay && !peer.is_direct) {
    wait_for_direct(key, peer_key, now);
    return;
  }
  flow.state = State::wants_answer;
  flow.step_deadline = now.instant + limits_.answer_timeout;
  flow.grant = grant.id;
  flow.decision = grant.decision;
  flow.connector = peer.connector;
  flow.path = peer.is_direct ? "direct" : "relayed:" + peer.relay.text;
  schedule(key, flow);
  outputs_.emplace_back(OpenFlow{.flow = key,
                                 .id = flow.id,
                                 .peer = peer_key,
                                 .target = flow.target,
                                 .protocol = flow.protocol,
                                 .token = grant.token.duplicate()});
  if (peer.hearing == Hearing::unasked || peer.hearing == Hearing::heard) {
    listen(peer_key, peer, now);
  }
}

void Engine::on(FlowAnswered& input, const Now& now) {
  const auto found = flows_.find(input.flow);
  if (found == flows_.end() || found->second.state != State::wants_answer) return;
  Flow& flow = found->second;
  if (input.id) flow.id = *input.id;
  if (input.status >= 200 && input.status < 300) {
    flow.state = State::open;
    flow.opened = now.instant;
    ++open_count_;
    ++flows_opened_;
    schedule(input.flow, flow);
    outputs_.emplace_back(FlowReady{input.flow});
    report(flow, FlowEvent::opened, "", now);
    return;
  }
  take_refusal(input, flow, now);
}

// printable makes a peer's text fit to be shown: no control characters, and not too long.
std::string Engine::printable(std::string_view text) const {
  std::string result(text.substr(0, limits_.details_size_max));
  std::ranges::replace_if(result, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return result;
}

// take_refusal tries another connector, or another grant, where that may help.
void Engine::take_refusal(const FlowAnswered& input, Flow& flow, const Now& now) {
  Access& access = access_of(flow);
  flow.last_problem = input.details.empty()
                          ? fmt::format("the connector answered with status {}", input.status)
                          : printable(input.details);
  if (is_worth_another(input.status, input.error)) {
    const bool was_draining = flow.peer && peers_.find(*flow.peer)->second.is_draining;
    leave_peer(input.flow, flow, now);
    if (flow.tries_count < limits_.connectors_tried_max && access.grant &&
        find_candidate(flow, access)) {
      want_connector(input.flow, now);
      return;
    }
    if (was_draining) {  // The controller may know who has taken its place.
      give_up_connecting(input.flow, now);
      return;
    }
  }
  const bool is_grant_refused =
      input.status == 403 && input.error == ProxyError::http_request_denied;
  if (is_grant_refused && !flow.has_asked) {
    flow.has_asked = true;
    if (flow.access && access.grant && access.grant->id == flow.grant) {
      drop_grant(*flow.access, access, now);
    }
    detach(input.flow, flow, now);
    want_grant(input.flow, now);
    return;
  }
  refuse(input.flow,
         {.kind = kind_of(input.status, input.error),
          .text = flow.last_problem,
          .rule = {},
          .decision = flow.decision},
         now);
}

void Engine::on(FlowEnded& input, const Now& now) {
  const auto found = flows_.find(input.flow);
  if (found == flows_.end()) return;
  Flow& flow = found->second;
  if (flow.state == State::open || flow.state == State::cut) {
    bytes_up_ += input.bytes_up;
    bytes_down_ += input.bytes_down;
    const std::string& reason = flow.state == State::cut ? flow.cut_reason : input.reason;
    report(flow, FlowEvent::closed, reason, now);
    auto& closed = std::get<Report>(outputs_.back()).report;
    closed.bytes_up = input.bytes_up;
    closed.bytes_down = input.bytes_down;
    --open_count_;
  } else if (!flow.grant.is_empty()) {
    report(flow, FlowEvent::failed, "given up by the application", now);
  }
  detach(input.flow, flow, now);
  set_timer({TimerKind::flow, std::uint64_t(input.flow)}, flow.timer, std::nullopt);
  flows_.erase(found);
}

// refuse ends a flow that is not open.
void Engine::refuse(FlowKey key, Outcome outcome, const Now& now) {
  const auto found = flows_.find(key);
  ZT_ASSERT(found != flows_.end());
  Flow& flow = found->second;
  ZT_ASSERT(flow.state != State::open && flow.state != State::cut);
  // What the controller denied it has written down itself; from a grant on, this end tells.
  if (!flow.grant.is_empty()) {
    report(flow, outcome.kind == Outcome::Kind::denied ? FlowEvent::denied : FlowEvent::failed,
           outcome.text, now);
  }
  ++flows_refused_;
  outputs_.emplace_back(FlowRefused{key, std::move(outcome)});
  detach(key, flow, now);
  set_timer({TimerKind::flow, std::uint64_t(key)}, flow.timer, std::nullopt);
  flows_.erase(key);
}

// cut ends an open flow; it stays until FlowEnded.
void Engine::cut(FlowKey key, std::string reason) {
  Flow& flow = flows_.find(key)->second;
  flow.state = State::cut;
  flow.cut_reason = reason;
  schedule(key, flow);
  outputs_.emplace_back(Cut{key, std::move(reason)});
}

// detach takes a flow out of its access and its peer.
void Engine::detach(FlowKey key, Flow& flow, const Now& now) {
  leave_peer(key, flow, now);
  if (!flow.access) return;
  const AccessKey access_key = *flow.access;
  flow.access.reset();
  Access& access = accesses_.find(access_key)->second;
  access.waiting.erase(key);
  access.flows.erase(key);
  schedule(access_key, access);
  forget_if_idle(access_key);
}

// leave_peer takes a flow from what it uses or waits for.
void Engine::leave_peer(FlowKey key, Flow& flow, const Now& now) {
  std::vector<PeerKey> peers = std::exchange(flow.slow_peers, {});
  if (flow.peer) peers.push_back(*flow.peer);
  flow.peer.reset();
  for (const PeerKey peer_key : peers) {
    Peer& peer = peers_.find(peer_key)->second;
    peer.flows.erase(key);
    if (peer.flows.empty()) peer.idle_since = now.instant;
    schedule(peer_key, peer);
  }
}

void Engine::report(const Flow& flow, FlowEvent event, std::string_view reason, const Now& now) {
  FlowReport report{.flow = flow.id,
                    .event = event,
                    .reporter = FlowReporter::client,
                    .time = now.unix_time,
                    .decision = flow.decision,
                    .grant = flow.grant,
                    .subject = self_.subject,
                    .device = self_.device,
                    .resource = flow.resource,
                    .network = {},
                    .connector = flow.connector,
                    .client_address = std::nullopt,
                    .target = flow.target.to_text(),
                    .target_address = std::nullopt,
                    .protocol = flow.protocol,
                    .bytes_up = 0,
                    .bytes_down = 0,
                    .duration = {},
                    .reason = std::string(reason),
                    .path = flow.path};
  if (event == FlowEvent::closed) report.duration = now.instant - flow.opened;
  outputs_.emplace_back(Report{std::move(report)});
}

// is_worth_asking tells whether the controller should have the last word about a flow that the view
// refuses. If it cannot be asked, it is told.
bool Engine::is_worth_asking(const FlowRequested& input, const Outcome& refusal, const Now& now) {
  if (refusal.kind == Outcome::Kind::not_signed_in) return false;
  const auto denial = denials_.find({input.target, input.protocol});
  if (denial != denials_.end() && now.instant < denial->second.until)
    return true;  // It has spoken.
  if (now.instant >= refusals_end_) {
    refusals_end_ = now.instant + limits_.refusal_interval;
    refusals_count_ = 0;
  }
  if (refusals_count_ >= limits_.refusals_max) return false;
  ++refusals_count_;
  if (!is_controller_up_) report_refusal(input, refusal, now);
  return is_controller_up_;
}

void Engine::report_refusal(const FlowRequested& input, const Outcome& outcome, const Now& now) {
  Flow flow;
  flow.id = make_id<FlowIdTag>(random_);
  flow.target = input.target;
  flow.protocol = input.protocol;
  report(flow, FlowEvent::denied, outcome.text, now);
}

// --- Time.

void Engine::expire(const Now& now) {
  while (!timers_.empty() && timers_.begin()->first <= now.instant) {
    const auto [kind, key] = timers_.begin()->second;
    switch (kind) {
      case TimerKind::flow:
        expire_flow(FlowKey(key), now);
        break;
      case TimerKind::access:
        expire_access(AccessKey(key), now);
        break;
      case TimerKind::peer:
        expire_peer(PeerKey(key), now);
        break;
    }
  }
}

void Engine::expire_flow(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  Outcome outcome{
      .kind = Outcome::Kind::timed_out, .text = {}, .rule = {}, .decision = flow.decision};
  switch (flow.state) {
    case State::wants_grant:
      outcome.kind = Outcome::Kind::unreachable;
      outcome.text = "the controller did not answer in time";
      break;
    case State::wants_relay:
      give_up_connecting(key, now);
      return;
    case State::wants_connector:
      outcome.kind = Outcome::Kind::unreachable;
      outcome.text = fmt::format("no connector of \"{}\" answered in time", flow.resource_name);
      break;
    case State::wants_direct:
      if (now.instant < flow.deadline) return give_up_direct(key, now);
      outcome.kind = Outcome::Kind::unreachable;
      outcome.text = fmt::format(
          "no direct path to a connector of \"{}\" was found in time, and "
          "its path rule is never-relay",
          flow.resource_name);
      break;
    case State::wants_answer:
      outcome.text = fmt::format("the connector did not say in time whether {} answers",
                                 flow.target.to_text());
      break;
    case State::open:
    case State::cut:
      ZT_ASSERT(false);  // They have no deadline.
  }
  refuse(key, std::move(outcome), now);
}

// set_timer moves a timer; `held` is where its object remembers it.
void Engine::set_timer(Timer timer, std::optional<Instant>& held, std::optional<Instant> at) {
  if (held) timers_.erase({*held, timer});
  held = at;
  if (at) timers_.insert({*at, timer});
}

void Engine::schedule(FlowKey key, Flow& flow) {
  const bool is_set_up = flow.state == State::open || flow.state == State::cut;
  set_timer({TimerKind::flow, std::uint64_t(key)}, flow.timer,
            is_set_up ? std::nullopt : std::optional(std::min(flow.deadline, flow.step_deadline)));
}

// A connection that connects has a deadline; one that stands has one while nobody uses it, or while
// it is listened to.
void Engine::schedule(PeerKey key, Peer& peer) {
  std::optional<Instant> at;
  if (!peer.is_ready) {
    at = peer.connect_deadline;
  } else if (peer.flows.empty()) {
    at = peer.idle_since + limits_.connector_idle;
  }
  if (peer.listen_until) at = at ? std::min(*at, *peer.listen_until) : *peer.listen_until;
  set_timer({TimerKind::peer, std::uint64_t(key)}, peer.timer, at);
}

// A grant is renewed while flows live by it, also when it has ended.
void Engine::schedule(AccessKey key, Access& access) {
  std::optional<Instant> at;
  if (access.is_asking()) {
    at = access.request_deadline;
  } else if (access.is_lapsed) {
    at = access.renewal;
  } else if (access.grant) {
    at = access.flows.empty() ? access.expires : std::min(access.renewal, access.expires);
  }
  set_timer({TimerKind::access, std::uint64_t(key)}, access.timer, at);
}

}  // namespace zt::client
