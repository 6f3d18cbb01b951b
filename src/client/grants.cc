// SPDX-License-Identifier: Apache-2.0
// The view, and grants: asked for, held, renewed, denied.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "zt/base/assert.h"
#include "zt/client/engine.h"
#include "zt/policy/explain.h"

namespace zt::client {
namespace {

// A grant is not used for new flows in its last seconds: it would end while the connector dials.
constexpr Duration kUsableMargin = std::chrono::seconds(2);

// to_resource reads what policy needs of an entry; nothing if a pattern is none that we know.
std::optional<policy::Resource> to_resource(const grant::ResourceEntry& entry) {
  auto address = policy::AddressPattern::parse(entry.address);
  if (!address) return std::nullopt;
  policy::Resource resource{.id = entry.id,
                            .name = entry.name,
                            .network = entry.network,
                            .address = *std::move(address),
                            .aliases = {},
                            .tcp = entry.tcp,
                            .udp = entry.udp,
                            .is_enabled = entry.is_enabled,
                            .path = entry.path};
  for (const std::string& text : entry.aliases) {
    if (auto alias = policy::AddressPattern::parse(text)) {
      resource.aliases.push_back(*std::move(alias));
    }
  }
  return resource;
}

}  // namespace

bool Engine::Access::covers(std::uint16_t port) const {
  if (!grant) return false;
  return port == granted_port || std::ranges::any_of(grant->ports, [&](const PortRange& range) {
           return range.contains(port);
         });
}

const GrantIssued& Engine::Access::held() const {
  ZT_ASSERT(grant.has_value());
  return *grant;
}

// --- The view.

void Engine::on(ViewReceived& input, const Now& now) {
  switch (grant::apply(view_, input.configuration)) {
    case grant::Applied::changed:
      break;
    case grant::Applied::needs_snapshot:
      outputs_.emplace_back(SnapshotNeeded{view_.revision});
      return;
    case grant::Applied::stale:
      return;
  }
  resources_.clear();
  for (const auto& [id, entry] : view_.resources) {
    if (auto resource = to_resource(entry)) resources_.push_back(*std::move(resource));
  }
  std::erase_if(last_decisions_,
                [&](const auto& entry) { return !view_.resources.contains(entry.first); });
  denials_.clear();  // What was denied may be allowed by this revision.
  std::vector<AccessKey> lost;
  for (auto& [key, access] : accesses_) {
    if (access.grant && judge_locally({access.host, access.asked_port}, access.protocol)) {
      lost.push_back(key);
    }
  }
  for (const AccessKey key : lost) {
    // Nothing ends here: the connectors cut what they must, and the controller says what it means.
    drop_grant(key, accesses_.find(key)->second, now);
    forget_if_idle(key);
  }
}

// judge_locally says what the view has against it, or nothing.
std::optional<Outcome> Engine::judge_locally(const Authority& target, Protocol protocol) const {
  if (view_.revision == 0) {
    return Outcome{.kind = Outcome::Kind::not_signed_in,
                   .text = "the controller has not told yet which resources there are"};
  }
  const policy::Target wanted{.host = target.host, .port = target.port, .protocol = protocol};
  const policy::Resource* resource = policy::best_match(resources_, wanted);
  if (resource == nullptr) {
    return Outcome{.kind = Outcome::Kind::no_resource,
                   .text = policy::no_access(self_.subject, self_.subject_name, wanted)};
  }
  if (!resource->is_enabled) {
    return Outcome{.kind = Outcome::Kind::denied,
                   .text = fmt::format("denied: resource \"{}\" is disabled", resource->name)};
  }
  if (!policy::offers(*resource, protocol, target.port)) {
    return Outcome{.kind = Outcome::Kind::denied,
                   .text = policy::port_not_offered(*resource, wanted)};
  }
  return std::nullopt;
}

// --- The controller comes and goes.

void Engine::on(ControllerUp&, const Now& now) {
  is_controller_up_ = true;
  controller_down_since_.reset();
  controller_reason_.clear();
  for (auto& [key, access] : accesses_) {
    if (access.is_parked) {
      ask(key, access.asked_port, now);
    } else if (access.is_lapsed) {
      access.renewal = now.instant;
      schedule(key, access);
    }
  }
}

void Engine::on(ControllerDown& input, const Now& now) {
  is_controller_up_ = false;
  if (!controller_down_since_) controller_down_since_ = now.instant;
  controller_reason_ = std::move(input.reason);
}

// --- A flow wants a grant.

void Engine::want_grant(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  ZT_ASSERT(!flow.access && !flow.peer);
  flow.state = State::wants_grant;
  flow.tried.clear();  // Another grant may mean it otherwise; tries_count goes on.
  flow.step_deadline = flow.deadline;
  schedule(key, flow);
  if (const auto denial = denials_.find({flow.target, flow.protocol});
      denial != denials_.end() && now.instant < denial->second.until) {
    refuse(key, Outcome(denial->second.outcome), now);
    return;
  }
  const std::optional<AccessKey> found = find_access(flow, now);
  if (found && is_usable(accesses_.find(*found)->second, flow, now)) {
    use_grant(key, *found, now);
    return;
  }
  const bool is_controller_lost =
      controller_down_since_ && now.instant - *controller_down_since_ >= limits_.grant_timeout;
  if (is_controller_lost) {
    refuse(key,
           {.kind = Outcome::Kind::unreachable,
            .text = fmt::format("the controller cannot be reached: {}", controller_reason_)},
           now);
    return;
  }
  if (found) {
    flow.access = found;
    accesses_.find(*found)->second.waiting.insert(key);
    if (!accesses_.find(*found)->second.is_asking()) ask(*found, flow.target.port, now);
    return;
  }
  if (!make_room_for_access()) {
    refuse(key, {.kind = Outcome::Kind::limit, .text = "too many grants are in use"}, now);
    return;
  }
  const auto access_key = AccessKey(++last_access_);
  Access access;
  access.host = flow.target.host;
  access.protocol = flow.protocol;
  access.waiting.insert(key);
  accesses_by_target_.emplace(std::pair(access.host, access.protocol), access_key);
  accesses_.emplace(access_key, std::move(access));
  flow.access = access_key;
  ask(access_key, flow.target.port, now);
}

// find_access prefers a grant that can be used, then an answer that is on its way, then one that
// covers the port and can be asked for anew.
std::optional<Engine::AccessKey> Engine::find_access(const Flow& flow, const Now& now) const {
  std::optional<AccessKey> asking;
  std::optional<AccessKey> stale;
  const auto [begin, end] = accesses_by_target_.equal_range({flow.target.host, flow.protocol});
  for (auto at = begin; at != end; ++at) {
    const Access& access = accesses_.find(at->second)->second;
    if (is_usable(access, flow, now)) return at->second;
    if (access.is_asking()) {
      if (!asking || access.asked_port == flow.target.port) asking = at->second;
    } else if (access.covers(flow.target.port) ||
               (access.is_lapsed && access.asked_port == flow.target.port)) {
      stale = at->second;
    }
  }
  return asking ? asking : stale;
}

bool Engine::is_usable(const Access& access, const Flow& flow, const Now& now) {
  return access.grant && now.instant + kUsableMargin < access.expires &&
         access.covers(flow.target.port);
}

bool Engine::make_room_for_access() {
  if (accesses_.size() < limits_.grants_max) return true;
  std::optional<AccessKey> oldest;
  for (const auto& [key, access] : accesses_) {
    if (access.is_asking() || !access.flows.empty() || !access.waiting.empty()) continue;
    if (!oldest || access.received < accesses_.find(*oldest)->second.received) oldest = key;
  }
  if (!oldest) return false;
  accesses_.find(*oldest)->second.grant.reset();
  forget_if_idle(*oldest);
  return true;
}

// ask sends the request, or parks it until the controller is back.
void Engine::ask(AccessKey key, std::uint16_t port, const Now& now) {
  Access& access = accesses_.find(key)->second;
  access.request_deadline = now.instant + limits_.grant_timeout;
  access.asked_port = port;
  access.is_parked = !is_controller_up_;
  if (is_controller_up_) {
    access.request = RequestKey(++last_request_);
    requests_.emplace(*access.request, key);
    outputs_.emplace_back(AskGrant{*access.request, {access.host, port}, access.protocol});
  }
  schedule(key, access);
}

// use_grant takes a flow on to a connector.
void Engine::use_grant(FlowKey key, AccessKey access_key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  Access& access = accesses_.find(access_key)->second;
  flow.access = access_key;
  const GrantIssued& grant = access.held();
  flow.grant = grant.id;
  flow.decision = grant.decision;
  flow.resource = grant.resource;
  flow.resource_name = grant.resource_name;
  access.waiting.erase(key);
  access.flows.insert(key);
  schedule(access_key, access);
  want_connector(key, now);
}

// --- The controller answers.

void Engine::on(GrantAnswered& input, const Now& now) {
  const auto found = requests_.find(input.request);
  if (found == requests_.end()) return;
  const AccessKey key = found->second;
  requests_.erase(found);
  accesses_.find(key)->second.request.reset();
  if (auto* issued = std::get_if<GrantIssued>(&input.answer)) {
    take_issued(key, *issued, now);
  } else if (const auto* denied = std::get_if<GrantDenied>(&input.answer)) {
    take_denied(key, *denied, now);
  } else {
    take_unavailable(key, std::get<GrantUnavailable>(input.answer).reason, now);
  }
}

void Engine::take_issued(AccessKey key, GrantIssued& issued, const Now& now) {
  Access& access = accesses_.find(key)->second;
  const Duration lifetime = std::max(issued.lifetime, Duration::zero());
  access.received = now.instant;
  if (!std::exchange(access.is_refused, false)) access.former_expires = access.expires;
  access.expires = now.instant + lifetime;
  access.is_lapsed = false;
  // Two thirds of the life, five percent sooner or later, so that clients do not come in step.
  const auto permille = static_cast<std::int64_t>(617 + random_.below(100));
  access.renewal = now.instant + lifetime / 1000 * permille;
  last_decisions_[issued.resource] = "granted";
  access.grant = std::move(issued);
  access.granted_port = access.asked_port;
  present(access);
  schedule(key, access);
  const std::set<FlowKey> waiting = access.waiting;
  for (const FlowKey flow_key : waiting) {
    const auto flow = flows_.find(flow_key);
    if (flow == flows_.end() || flow->second.access != key) continue;
    const auto still = accesses_.find(key);
    if (still == accesses_.end()) break;
    flow->second.has_asked = true;
    if (still->second.grant && still->second.covers(flow->second.target.port)) {
      use_grant(flow_key, key, now);
    } else {  // The grant is for other ports than this flow's.
      still->second.waiting.erase(flow_key);
      flow->second.access.reset();
      want_grant(flow_key, now);
    }
  }
  forget_if_idle(key);
}

// present hands a renewed grant to the connectors whose flows live by the former one.
void Engine::present(const Access& access) {
  std::set<PeerKey> peers;
  for (const FlowKey key : access.flows) {
    const Flow& flow = flows_.find(key)->second;
    const bool lives = flow.state == State::open || flow.state == State::wants_answer;
    if (lives && flow.peer) peers.insert(*flow.peer);
  }
  for (const PeerKey peer : peers) {
    outputs_.emplace_back(PresentGrant{peer, access.held().id, access.held().token.duplicate()});
  }
}

// A grant may be refused because the connector has not heard of something yet, such as a key. As
// long as the former one carries the flows there is time to try again.
void Engine::on(GrantRefused& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end()) return;
  const Peer& peer = found->second;
  const bool is_final = input.status >= 400 && input.status < 500;
  const std::string problem =
      problem_with(peer, "it does not accept the grant" +
                             (input.details.empty() ? "" : ": " + printable(input.details)));
  for (const FlowKey key : peer.flows) {
    const Flow& flow = flows_.find(key)->second;
    if (flow.state != State::open || !flow.access) continue;
    Access& access = access_of(flow);
    if (!access.grant || access.grant->id != input.grant) continue;
    if (is_final && now.instant >= access.former_expires) {
      cut(key, problem);
      continue;
    }
    access.is_refused = true;
    access.renewal = now.instant + (is_final ? limits_.refused_pause : limits_.renewal_retry);
    schedule(*flow.access, access);
  }
}

void Engine::take_denied(AccessKey key, const GrantDenied& denied, const Now& now) {
  Access& access = accesses_.find(key)->second;
  const Outcome outcome{.kind = Outcome::Kind::denied,
                        .text = denied.detail,
                        .rule = denied.rule,
                        .decision = denied.decision};
  remember_denial({access.host, access.asked_port}, access.protocol, outcome, now);
  const policy::Target target{access.host, access.asked_port, access.protocol};
  if (const policy::Resource* resource = policy::best_match(resources_, target)) {
    last_decisions_[resource->id] = outcome.text;
  }
  const std::uint16_t port = access.asked_port;
  cut_open_flows(access, port, "access has ended: " + outcome.text);
  drop_grant(key, access, now);  // Flows to other ports may go on by another one.
  const std::set<FlowKey> waiting = std::exchange(access.waiting, {});
  for (const FlowKey flow_key : waiting) flows_.find(flow_key)->second.access.reset();
  forget_if_idle(key);
  for (const FlowKey flow_key : waiting) {
    const auto flow = flows_.find(flow_key);
    if (flow == flows_.end()) continue;
    if (flow->second.target.port == port) {
      refuse(flow_key, Outcome(outcome), now);
    } else {
      want_grant(flow_key, now);
    }
  }
}

// drop_grant forgets a grant. While flows are open by it another one is asked for, at once.
void Engine::drop_grant(AccessKey key, Access& access, const Now& now) {
  access.grant.reset();
  access.is_lapsed = !access.flows.empty();
  access.renewal = now.instant;
  schedule(key, access);
}

// cut_open_flows ends those of an access, to one port or to all.
void Engine::cut_open_flows(const Access& access, std::optional<std::uint16_t> port,
                            const std::string& reason) {
  for (const FlowKey key : access.flows) {
    const Flow& flow = flows_.find(key)->second;
    if (flow.state == State::open && (!port || flow.target.port == *port)) cut(key, reason);
  }
}

// find_open_flow returns one of an access, or null.
const Engine::Flow* Engine::find_open_flow(const Access& access) const {
  for (const FlowKey key : access.flows) {
    const Flow& flow = flows_.find(key)->second;
    if (flow.state == State::open) return &flow;
  }
  return nullptr;
}

void Engine::remember_denial(const Authority& target, Protocol protocol, const Outcome& outcome,
                             const Now& now) {
  std::erase_if(denials_, [&](const auto& entry) { return entry.second.until <= now.instant; });
  if (denials_.size() >= limits_.denials_max) return;  // The next request asks again.
  const Duration lifetime =
      judge_locally(target, protocol) ? limits_.refusal_interval : limits_.denial_lifetime;
  denials_.insert_or_assign(DenialKey{target, protocol}, Denial{now.instant + lifetime, outcome});
}

void Engine::take_unavailable(AccessKey key, const std::string& reason, const Now& now) {
  Access& access = accesses_.find(key)->second;
  if (!is_controller_up_ && now.instant < access.request_deadline) {
    access.is_parked = true;
    schedule(key, access);
    return;
  }
  access.is_parked = false;
  if (access.grant || access.is_lapsed) access.renewal = now.instant + limits_.renewal_retry;
  schedule(key, access);
  const std::set<FlowKey> waiting = std::exchange(access.waiting, {});
  for (const FlowKey flow_key : waiting) flows_.find(flow_key)->second.access.reset();
  forget_if_idle(key);
  for (const FlowKey flow_key : waiting) {
    if (!flows_.contains(flow_key)) continue;
    refuse(flow_key, {.kind = Outcome::Kind::unreachable, .text = reason}, now);
  }
}

void Engine::on(GrantsRevoked& input, const Now& now) {
  const std::set<GrantId> ids(input.grants.begin(), input.grants.end());
  std::vector<AccessKey> hit;
  for (const auto& [key, access] : accesses_) {
    if (access.grant && ids.contains(access.grant->id)) hit.push_back(key);
  }
  for (const AccessKey key : hit) {
    Access& access = accesses_.find(key)->second;
    cut_open_flows(access, std::nullopt, "the grant was revoked");
    drop_grant(key, access, now);
    forget_if_idle(key);
  }
}

// --- Time.

void Engine::expire_access(AccessKey key, const Now& now) {
  Access& access = accesses_.find(key)->second;
  if (access.is_asking()) {
    if (access.request) requests_.erase(*access.request);
    access.request.reset();
    const bool was_parked = access.is_parked;
    access.is_parked = false;
    access.request_deadline = now.instant;
    take_unavailable(key,
                     was_parked || !is_controller_up_
                         ? fmt::format("the controller cannot be reached: {}", controller_reason_)
                         : "the controller did not answer in time",
                     now);
    return;
  }
  if (access.grant && now.instant >= access.expires) drop_grant(key, access, now);
  const Flow* open = find_open_flow(access);
  if (!access.grant && open == nullptr) {
    access.is_lapsed = false;
    schedule(key, access);
    forget_if_idle(key);
    return;
  }
  const std::uint16_t port = access.grant ? access.asked_port : open->target.port;
  if (is_asked_elsewhere(key, access, port)) {
    access.renewal = now.instant + limits_.renewal_retry;
    schedule(key, access);
    return;
  }
  ask(key, port, now);
}

// is_asked_elsewhere tells whether another access asks for the same: one question at a time.
bool Engine::is_asked_elsewhere(AccessKey key, const Access& access, std::uint16_t port) const {
  const auto [begin, end] = accesses_by_target_.equal_range({access.host, access.protocol});
  return std::any_of(begin, end, [&](const auto& entry) {
    const Access& other = accesses_.find(entry.second)->second;
    return entry.second != key && other.is_asking() && other.asked_port == port;
  });
}

// forget_if_idle drops an access that holds nothing and that nobody waits for or lives by.
void Engine::forget_if_idle(AccessKey key) {
  const auto found = accesses_.find(key);
  if (found == accesses_.end()) return;
  Access& access = found->second;
  if (access.grant || access.is_asking() || !access.waiting.empty() || !access.flows.empty()) {
    return;
  }
  set_timer({TimerKind::access, std::uint64_t(key)}, access.timer, std::nullopt);
  const auto [begin, end] = accesses_by_target_.equal_range({access.host, access.protocol});
  for (auto at = begin; at != end; ++at) {
    if (at->second != key) continue;
    accesses_by_target_.erase(at);
    break;
  }
  accesses_.erase(found);
}

}  // namespace zt::client
