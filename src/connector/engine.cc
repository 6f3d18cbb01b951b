// SPDX-License-Identifier: Apache-2.0
#include "zt/connector/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "zt/base/assert.h"
#include "zt/grant/jws.h"
#include "zt/policy/explain.h"
#include "zt/policy/flow.h"

namespace zt::connector {
namespace {

using wire::ProxyError;

// kClocksComparedEvery bounds how long a jump of the wall clock goes unnoticed.
constexpr Duration kClocksComparedEvery = std::chrono::seconds(10);
constexpr Duration kStrangerWindow = std::chrono::minutes(1);
// kRevocationLifetime outlives every grant that was issued before its revocation.
constexpr auto kRevocationLifetime =
    grant::Grant::kLifetimeMax + 2 * grant::GrantExpectations::kLeewayMax;

// to_resource reads what policy needs of an entry; nothing if a pattern is none that we know, and
// the resource can then not be reached.
std::optional<policy::Resource> to_resource(const grant::ResourceEntry& entry) {
  auto address = policy::AddressPattern::parse(entry.address);
  if (!address) return std::nullopt;
  std::vector<policy::AddressPattern> aliases;
  for (const std::string& text : entry.aliases) {
    auto alias = policy::AddressPattern::parse(text);
    if (!alias) return std::nullopt;
    aliases.push_back(*std::move(alias));
  }
  return policy::Resource{.id = entry.id,
                          .name = entry.name,
                          .network = entry.network,
                          .address = *std::move(address),
                          .aliases = std::move(aliases),
                          .tcp = entry.tcp,
                          .udp = entry.udp,
                          .is_enabled = entry.is_enabled,
                          .path = entry.path};
}

// named_address returns `host` if it is an address that one of the patterns names literally.
std::optional<IpAddress> named_address(const policy::Resource& resource, const Host& host) {
  const auto* address = std::get_if<IpAddress>(&host);
  if (address == nullptr) return std::nullopt;
  const auto names_it = [&](const policy::AddressPattern& pattern) {
    return pattern.literal_host() == host;
  };
  if (names_it(resource.address) || std::ranges::any_of(resource.aliases, names_it)) {
    return *address;
  }
  return std::nullopt;
}

struct DialFailure {
  int status;
  ProxyError error;
  std::string_view text;
};

DialFailure failure_of(DialError error) {
  switch (error) {
    case DialError::refused:
      return {502, ProxyError::connection_refused, "refused the connection"};
    case DialError::unreachable:
      return {502, ProxyError::destination_ip_unroutable, "cannot be reached from the connector"};
    case DialError::timed_out:
      return {504, ProxyError::connection_timeout, "did not answer"};
    case DialError::failed:
      return {502, ProxyError::destination_unavailable, "could not be dialled"};
  }
  return {502, ProxyError::proxy_internal_error, "could not be dialled"};
}

}  // namespace

std::string_view to_text(FlowEnd end) {
  switch (end) {
    case FlowEnd::finished:
      return "finished";
    case FlowEnd::client_reset:
      return "abandoned by the client";
    case FlowEnd::resource_reset:
      return "abandoned by the resource";
    case FlowEnd::idle:
      return "idle";
    case FlowEnd::peer_gone:
      return "the client's connection is gone";
    case FlowEnd::cut:
      return "cut";
    case FlowEnd::connector_ended:
      return "the connector has ended";
  }
  return "unknown";
}

std::string_view to_text(CutReason reason) {
  switch (reason) {
    case CutReason::grant_expired:
      return "the grant has expired";
    case CutReason::grant_revoked:
      return "the grant was revoked";
    case CutReason::key_withdrawn:
      return "the key that signed the grant was withdrawn";
    case CutReason::configuration_changed:
      return "the connector's configuration no longer includes the target";
    case CutReason::address_prohibited:
      return "the target's address became one that is never dialled";
    case CutReason::path_forbidden:
      return "the resource may not be reached by this path any more";
    case CutReason::peer_gone:
      return "the client's connection is gone";
  }
  return "unknown";
}

std::string_view to_text(CloseReason reason) {
  switch (reason) {
    case CloseReason::no_grant:
      return "no valid grant was presented in time";
    case CloseReason::refusals:
      return "too many requests without a valid grant";
    case CloseReason::too_many_peers:
      return "the connector has no room for another client";
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
  std::optional<Instant> next;
  if (!deadlines_.empty()) next = deadlines_.begin()->first;
  if (!peer_deadlines_.empty()) {
    next = earlier_of(next, std::optional(peer_deadlines_.begin()->first));
  }
  if (!expiries_.empty()) {
    next = earlier_of(next, std::optional(clocks_compared_ + kClocksComparedEvery));
  }
  return next;
}

// --- What the connector is told about the world.

void Engine::on(ConfigurationReceived& input, const Now& now) {
  switch (grant::apply(resources_, input.configuration)) {
    case grant::Applied::changed:
      break;
    case grant::Applied::needs_snapshot:
      outputs_.emplace_back(SnapshotNeeded{resources_.revision});
      return;
    case grant::Applied::stale:
      return;
  }
  own_resources_.clear();
  for (const auto& [id, entry] : resources_.resources) {
    if (auto resource = to_resource(entry)) own_resources_.push_back(*std::move(resource));
  }
  judge_again(now);
}

void Engine::on(KeysReceived& input, const Now& now) {
  keys_ = std::move(input.keys);
  for (auto& [key, peer] : peers_) peer.known_grants.clear();
  judge_again(now);
}

void Engine::on(GrantsRevoked& input, const Now& now) {
  for (const GrantId& id : input.grants) revoke(id, now);
  const std::set<GrantId> ids(input.grants.begin(), input.grants.end());
  std::vector<FlowKey> hit;
  for (const auto& [key, flow] : flows_) {
    if (flow.state != State::cut && ids.contains(flow.permit.id)) hit.push_back(key);
  }
  std::string text(to_text(CutReason::grant_revoked));
  if (!input.reason.empty()) text += ": " + input.reason;
  for (const FlowKey key : hit) end(key, CutReason::grant_revoked, text, now);
}

void Engine::revoke(const GrantId& grant, const Now& now) {
  if (revoked_.contains(grant)) return;
  if (revoked_.size() >= limits_.revoked_max) {
    // Every listed grant was issued before now, so that one instant says the same and more.
    refused_until_issued_ = now.unix_time + grant::GrantExpectations::kLeewayMax;
    revoked_.clear();
    revoked_in_order_.clear();
  }
  const Revocation revocation{now.instant + kRevocationLifetime,
                              now.unix_time + kRevocationLifetime};
  revoked_.emplace(grant, revocation);
  revoked_in_order_.emplace_back(grant, revocation);
}

void Engine::on(OwnAddressesChanged& input, const Now& now) {
  own_addresses_ = OwnAddresses(input.addresses);
  judge_again(now);
}

// judge_again ends every flow that would not be let in any more.
void Engine::judge_again(const Now& now) {
  std::vector<std::pair<FlowKey, CutReason>> hit;
  for (const auto& [key, flow] : flows_) {
    if (flow.state == State::cut) continue;
    if (const auto reason = reason_to_end(flow)) hit.emplace_back(key, *reason);
  }
  for (const auto& [key, reason] : hit) end(key, reason, to_text(reason), now);
}

std::optional<CutReason> Engine::reason_to_end(const Flow& flow) const {
  if (keys_.find(flow.permit.key) == nullptr) return CutReason::key_withdrawn;
  const auto destination = judge(flow.permit.resource, flow.target, flow.protocol);
  if (destination != flow.destination) return CutReason::configuration_changed;
  const auto is_prohibited = [&](const SocketAddress& address) {
    return prohibition_of(address.ip, destination->named, own_addresses_).has_value();
  };
  const bool has_prohibited =
      flow.dialled ? is_prohibited(*flow.dialled) : std::ranges::any_of(flow.vetted, is_prohibited);
  if (has_prohibited) return CutReason::address_prohibited;
  if (complaint_about_path(path_rule_of(flow.permit.resource), flow.relay)) {
    return CutReason::path_forbidden;
  }
  return std::nullopt;
}

// --- Peers.

void Engine::on(PeerConnected& input, const Now& now) {
  ZT_ASSERT(!peers_.contains(input.peer));
  if (peers_.size() >= limits_.peers_max) {
    outputs_.emplace_back(ClosePeer{input.peer, CloseReason::too_many_peers});
    return;
  }
  const Instant deadline = now.instant + limits_.first_grant_timeout;
  peers_.emplace(input.peer, Peer{.certificate = input.certificate,
                                  .grant_deadline = deadline,
                                  .has_shown_grant = false,
                                  .is_relay_only = false,
                                  .is_closing = false,
                                  .refusal_count = 0,
                                  .flows = {},
                                  .extended_by = {}});
  peer_deadlines_.emplace(deadline, input.peer);
}

void Engine::on(PeerGone& input, const Now& now) {
  const auto peer = peers_.find(input.peer);
  if (peer == peers_.end()) return;
  const std::set<FlowKey> flows = peer->second.flows;
  for (const FlowKey key : flows) {
    end(key, CutReason::peer_gone, to_text(CutReason::peer_gone), now);
  }
  peer_deadlines_.erase({peer->second.grant_deadline, input.peer});
  peers_.erase(peer);
}

void Engine::on(PeerMoved& input, const Now& now) {
  const auto peer = peers_.find(input.peer);
  if (peer == peers_.end()) return;
  const std::set<FlowKey> flows = peer->second.flows;
  for (const FlowKey key : flows) {
    Flow& flow = flows_.find(key)->second;
    flow.relay = input.relay;
    const auto complaint = complaint_about_path(path_rule_of(flow.permit.resource), flow.relay);
    if (complaint) end(key, CutReason::path_forbidden, *complaint, now);
  }
}

// path_rule_of is asked only of resources that judge has found.
const PathRule& Engine::path_rule_of(const ResourceId& resource) const {
  static const PathRule any_path;
  const auto found = resources_.resources.find(resource);
  return found == resources_.resources.end() ? any_path : found->second.path;
}

void Engine::close_peer(PeerKey key, Peer& peer, CloseReason reason) {
  peer.is_closing = true;
  peer_deadlines_.erase({peer.grant_deadline, key});
  outputs_.emplace_back(ClosePeer{key, reason});
}

void Engine::count_refusal(PeerKey key, Peer& peer) {
  if (peer.has_shown_grant || peer.is_closing) return;
  ++peer.refusal_count;
  if (peer.refusal_count >= limits_.refusals_before_grant_max) {
    close_peer(key, peer, CloseReason::refusals);
  }
}

// --- A flow is asked for.

void Engine::on(FlowRequested& input, const Now& now) {
  ZT_ASSERT(!flows_.contains(input.flow));
  Flow flow;
  flow.id = make_id<FlowIdTag>(random_);
  flow.peer = input.peer;
  flow.protocol = input.protocol;
  flow.client_address = input.client_address;
  flow.path = std::move(input.path);
  flow.relay = std::move(input.relay);
  const auto found = peers_.find(input.peer);
  if (found == peers_.end() || found->second.is_closing) {
    outputs_.emplace_back(Refuse{.flow = input.flow,
                                 .id = flow.id,
                                 .status = 503,
                                 .error = ProxyError::connection_limit_reached,
                                 .details = "the connection is being closed"});
    ++totals_.flows_refused;
    return;
  }
  Peer& peer = found->second;
  const std::optional<Refusal> refusal = admit(input, peer, flow, now);
  if (refusal) {
    refuse(input.flow, flow, *refusal, !peer.has_shown_grant, now);
    count_refusal(input.peer, peer);
    return;
  }
  begin(input.flow, std::move(flow), now);
}

std::optional<Engine::Refusal> Engine::admit(const FlowRequested& input, Peer& peer, Flow& flow,
                                             const Now& now) {
  const auto target = Authority::parse(input.target);
  if (!target) {
    return Refusal{.status = 400,
                   .error = ProxyError::http_request_error,
                   .details = "the target is not a host and a port",
                   .event = FlowEvent::failed};
  }
  flow.target = *target;
  flow.target_text = target->to_text();

  const auto verified = verify(input.token, peer, now);
  if (!verified) return verified.error();
  note_grant(input.peer, peer, verified->permit);
  flow.permit = verified->permit;
  extend(peer, *verified);

  if (!grant::covers(verified->grant, *target, input.protocol)) {
    return Refusal{.status = 403,
                   .error = ProxyError::http_request_denied,
                   .details = fmt::format("the grant does not cover {} on {}", flow.target_text,
                                          zt::to_text(input.protocol))};
  }
  const auto destination = judge(verified->permit.resource, *target, input.protocol);
  if (!destination) return destination.error();
  flow.destination = *destination;
  if (auto complaint = complaint_about_path(path_rule_of(flow.permit.resource), flow.relay)) {
    return Refusal{
        .status = 403, .error = ProxyError::http_request_denied, .details = *std::move(complaint)};
  }
  return find_no_room(peer);
}

void Engine::note_grant(PeerKey key, Peer& peer, const Permit& permit) {
  if (path_rule_of(permit.resource).paths == Paths::always_relay) peer.is_relay_only = true;
  if (std::exchange(peer.has_shown_grant, true)) return;
  peer_deadlines_.erase({peer.grant_deadline, key});
}

// verify is the only way to a Permit.
std::expected<Engine::VerifiedGrant, Engine::Refusal> Engine::verify(const Secret& token,
                                                                     Peer& peer,
                                                                     const Now& now) const {
  const auto denied = [](std::string_view text) {
    return std::unexpected(Refusal{
        .status = 403, .error = ProxyError::http_request_denied, .details = std::string(text)});
  };
  if (keys_.is_empty()) {
    return std::unexpected(Refusal{.status = 503,
                                   .error = ProxyError::destination_unavailable,
                                   .details = "the connector has no keys of its tenant yet",
                                   .event = FlowEvent::failed});
  }
  if (token.is_empty()) return denied("the request carries no grant");
  const auto known = know(token, peer,
                          {.tenant = self_.tenant,
                           .network = self_.network,
                           .client_certificate = peer.certificate,
                           .now = now.unix_time},
                          now);
  if (!known) return denied(grant::to_text(known.error()));
  const grant::Grant& grant = (*known)->grant;
  if (is_revoked(grant)) return denied(to_text(CutReason::grant_revoked));
  const Permit permit{.id = grant.id,
                      .key = (*known)->key,
                      .decision = grant.decision,
                      .subject = grant.subject,
                      .device = grant.device,
                      .resource = grant.resource,
                      .lease = {.wall = grant.expires_at, .monotonic = (*known)->ends}};
  return VerifiedGrant{grant, permit};
}

// know returns the grant of a token that holds for the peer, now. It is valid until the next call.
std::expected<const Engine::KnownGrant*, grant::GrantError> Engine::know(
    const Secret& token, Peer& peer, const grant::GrantExpectations& expected,
    const Now& now) const {
  std::vector<KnownGrant>& known = peer.known_grants;
  const auto found = std::ranges::find_if(
      known, [&](const KnownGrant& entry) { return entry.token.matches(token.reveal()); });
  if (found != known.end()) {
    // It stays known when it is over, lest a clock that is set back makes it live once more.
    if (const auto error = grant::mismatch(found->grant, expected)) return std::unexpected(*error);
    if (found->ends <= now.instant) return std::unexpected(grant::GrantError::expired);
    std::rotate(found, std::next(found), known.end());
    return &known.back();
  }
  auto grant = grant::verify(token.reveal(), keys_, expected);
  if (!grant) return std::unexpected(grant.error());
  const auto key = grant::key_id_of_jws(token.reveal(), {.type = "zt-grant+jwt"});
  ZT_ASSERT(key.has_value());  // It was verified with that key.
  if (known.size() >= limits_.known_grants_max) known.erase(known.begin());
  const Instant ends = now.instant + (grant->expires_at - now.unix_time);
  known.push_back(
      {.token = token.duplicate(), .key = *key, .grant = *std::move(grant), .ends = ends});
  return &known.back();
}

bool Engine::is_revoked(const grant::Grant& grant) const {
  if (refused_until_issued_ && grant.issued_at <= *refused_until_issued_) return true;
  return revoked_.contains(grant.id);
}

// judge asks the own configuration.
std::expected<Engine::Destination, Engine::Refusal> Engine::judge(const ResourceId& resource,
                                                                  const Authority& target,
                                                                  Protocol protocol) const {
  if (resources_.revision == 0) {
    return std::unexpected(Refusal{.status = 503,
                                   .error = ProxyError::destination_unavailable,
                                   .details = "the connector has no configuration yet",
                                   .event = FlowEvent::failed});
  }
  const policy::Target policy_target{
      .host = target.host, .port = target.port, .protocol = protocol};
  const policy::FlowMatch match = policy::match_flow(own_resources_, resource, policy_target);
  if (!match.is_allowed()) {
    return std::unexpected(Refusal{.status = 403,
                                   .error = ProxyError::http_request_denied,
                                   .details = policy::explain(match, policy_target)});
  }
  Host host = target.host;
  if (!match.resource->address.matches(target.host)) {  // Then an alias does.
    if (auto real = match.resource->address.literal_host()) host = *std::move(real);
  }
  const auto named = named_address(*match.resource, host);
  return Destination{.host = std::move(host), .named = named};
}

std::optional<Engine::Refusal> Engine::find_no_room(const Peer& peer) const {
  if (flows_.size() < limits_.flows_max && peer.flows.size() < limits_.flows_per_peer_max &&
      pending_count_ < limits_.pending_max) {
    return std::nullopt;
  }
  return Refusal{.status = 503,
                 .error = ProxyError::connection_limit_reached,
                 .details = "the connector has no room for another flow",
                 .event = FlowEvent::failed};
}

// --- A flow comes to be.

void Engine::begin(FlowKey key, Flow flow, const Now& now) {
  flow.state = State::resolving;
  flow.step_deadline = now.instant + limits_.resolve_timeout;
  ++pending_count_;
  peers_.find(flow.peer)->second.flows.insert(key);
  Flow& held = flows_.emplace(key, std::move(flow)).first->second;
  schedule(key, held);
  if (const auto* name = std::get_if<DnsName>(&held.destination.host)) {
    outputs_.emplace_back(Resolve{key, *name});
  } else {
    dial(key, held, {std::get<IpAddress>(held.destination.host)}, now);
  }
}

void Engine::on(Resolved& input, const Now& now) {
  const auto found = flows_.find(input.flow);
  if (found == flows_.end() || found->second.state != State::resolving) return;
  Flow& flow = found->second;
  if (input.result && !input.result->empty()) {
    dial(input.flow, flow, *input.result, now);
    return;
  }
  const bool is_absent = input.result || input.result.error() == ResolveError::no_such_name;
  const Refusal refusal{.status = 502,
                        .error = ProxyError::dns_error,
                        .details = is_absent
                                       ? fmt::format("{} has no address in the private network",
                                                     to_text(flow.destination.host))
                                       : fmt::format("{} could not be resolved by the connector",
                                                     to_text(flow.destination.host)),
                        .event = FlowEvent::failed};
  refuse(input.flow, flow, refusal, false, now);
  forget(input.flow);
}

void Engine::dial(FlowKey key, Flow& flow, const std::vector<IpAddress>& addresses,
                  const Now& now) {
  auto vetted = vet(flow, addresses);
  if (!vetted) {
    refuse(key, flow, vetted.error(), false, now);
    forget(key);
    return;
  }
  flow.state = State::dialling;
  flow.vetted = *std::move(vetted);
  flow.step_deadline = now.instant + limits_.dial_timeout;
  schedule(key, flow);
  outputs_.emplace_back(Dial{key, flow.protocol, flow.vetted});
}

// vet returns those of `addresses` that may be dialled, in the order of dialling.
std::expected<std::vector<SocketAddress>, Engine::Refusal> Engine::vet(
    const Flow& flow, const std::vector<IpAddress>& addresses) const {
  std::vector<IpAddress> passed;
  std::optional<Prohibition> prohibition;
  for (const IpAddress& address : addresses) {
    const auto found = prohibition_of(address, flow.destination.named, own_addresses_);
    if (!found) {
      passed.push_back(address);
    } else if (!prohibition) {
      prohibition = found;
    }
  }
  if (passed.empty()) {
    ZT_ASSERT(prohibition.has_value());
    const bool is_name = std::holds_alternative<DnsName>(flow.destination.host);
    return std::unexpected(
        Refusal{.status = 403,
                .error = ProxyError::destination_ip_prohibited,
                .details = fmt::format(
                    "{}{} {}; it is dialled only for a resource that names it literally",
                    is_name ? "what " : "", to_text(flow.destination.host),
                    is_name ? "resolves to " + prohibition->to_text() : prohibition->to_text())});
  }
  std::vector<SocketAddress> result;
  for (const IpAddress& address : interleaved(passed, limits_.dial_addresses_max)) {
    result.push_back({address, flow.target.port});
  }
  return result;
}

void Engine::on(Dialed& input, const Now& now) {
  const auto found = flows_.find(input.flow);
  if (found == flows_.end() || found->second.state != State::dialling) return;
  Flow& flow = found->second;
  if (!input.result) {
    const DialFailure failure = failure_of(input.result.error());
    refuse(input.flow, flow,
           {.status = failure.status,
            .error = failure.error,
            .details = fmt::format("{} {}", flow.target_text, failure.text),
            .event = FlowEvent::failed},
           false, now);
    forget(input.flow);
    return;
  }
  ZT_ASSERT(std::ranges::find(flow.vetted, *input.result) != flow.vetted.end());
  flow.state = State::open;
  flow.dialled = *input.result;
  flow.opened = now.instant;
  flow.vetted.clear();
  --pending_count_;
  ++totals_.flows_opened;
  schedule(input.flow, flow);
  outputs_.emplace_back(Accept{input.flow, flow.id});
  report(flow, FlowEvent::opened, "", now);
}

// --- A grant is extended.

void Engine::on(GrantPresented& input, const Now& now) {
  const auto found = peers_.find(input.peer);
  if (found == peers_.end() || found->second.is_closing) {
    outputs_.emplace_back(GrantAnswered{
        input.renewal, 0,
        GrantRefusal{503, ProxyError::connection_limit_reached, "the connection is being closed"}});
    return;
  }
  Peer& peer = found->second;
  const auto verified = verify(input.token, peer, now);
  if (!verified) {
    const Refusal& refusal = verified.error();
    outputs_.emplace_back(GrantAnswered{
        input.renewal, 0, GrantRefusal{refusal.status, refusal.error, refusal.details}});
    count_refusal(input.peer, peer);
    return;
  }
  note_grant(input.peer, peer, verified->permit);
  const std::size_t count = extend(peer, *verified);
  outputs_.emplace_back(GrantAnswered{input.renewal, count, std::nullopt});
}

// extend lets the peer's flows live by a grant that lasts longer than theirs. It returns how many.
std::size_t Engine::extend(Peer& peer, const VerifiedGrant& verified) {
  if (peer.extended_by == verified.permit.id) return 0;
  peer.extended_by = verified.permit.id;
  const Permit& permit = verified.permit;
  std::size_t count = 0;
  for (const FlowKey key : peer.flows) {
    Flow& flow = flows_.find(key)->second;
    const bool is_same_right = flow.permit.subject == permit.subject &&
                               flow.permit.device == permit.device &&
                               flow.permit.resource == permit.resource;
    const bool is_longer = permit.lease.wall > flow.permit.lease.wall;
    if (flow.state == State::cut || !is_same_right || !is_longer) continue;
    if (!grant::covers(verified.grant, flow.target, flow.protocol)) continue;
    flow.permit = permit;
    if (flow.state == State::held) {
      unhold(key, flow);
      flow.state = State::open;
      outputs_.emplace_back(Release{key});
    }
    schedule(key, flow);
    ++count;
  }
  return count;
}

// --- A flow ends.

void Engine::on(FlowEnded& input, const Now& now) {
  const auto found = flows_.find(input.flow);
  if (found == flows_.end()) return;
  const Flow& flow = found->second;
  const bool was_open = flow.dialled.has_value();
  FlowReport report =
      make_report(flow, was_open ? FlowEvent::closed : FlowEvent::failed,
                  flow.state == State::cut ? flow.end_reason : to_text(input.cause), now);
  report.bytes_up = input.bytes_up;
  report.bytes_down = input.bytes_down;
  outputs_.emplace_back(Report{std::move(report)});
  forget(input.flow);
}

// lapse is called when the grant of a flow has ended. A late call holds it no longer.
void Engine::lapse(FlowKey key, const Now& now) {
  Flow& flow = flows_.find(key)->second;
  const bool is_holdable = flow.state == State::open && flow.protocol == Protocol::tcp &&
                           limits_.hold_timeout > Duration::zero();
  if (!is_holdable) {
    return end(key, CutReason::grant_expired, to_text(CutReason::grant_expired), now);
  }
  flow.state = State::held;
  flow.held_since = std::min(now.instant, flow.permit.lease.monotonic);
  held_.emplace(flow.held_since, key);
  schedule(key, flow);
  outputs_.emplace_back(Hold{key});
  if (held_.size() <= limits_.held_max) return;
  end(held_.begin()->second, CutReason::grant_expired,
      "the grant has expired, and too many flows wait for another one", now);
}

// unhold strikes a flow off the list of held ones, before its state changes.
void Engine::unhold(FlowKey key, const Flow& flow) {
  if (flow.state == State::held) held_.erase({flow.held_since, key});
}

// end lets a flow go: it is refused if it was not open yet, else cut.
void Engine::end(FlowKey key, CutReason reason, std::string_view text, const Now& now) {
  const auto found = flows_.find(key);
  ZT_ASSERT(found != flows_.end());
  Flow& flow = found->second;
  if (flow.state == State::cut) return;
  unhold(key, flow);
  if (flow.state != State::open && flow.state != State::held) {
    const bool is_gone = reason == CutReason::peer_gone;
    refuse(key, flow,
           {.status = is_gone ? 502 : 403,
            .error = is_gone ? ProxyError::connection_terminated : ProxyError::http_request_denied,
            .details = std::string(text),
            .event = is_gone ? FlowEvent::failed : FlowEvent::denied},
           false, now);
    forget(key);
    return;
  }
  flow.state = State::cut;
  flow.end_reason = text;
  ++cut_count_;
  schedule(key, flow);
  outputs_.emplace_back(Cut{key, reason});
}

// refuse answers and reports. Strangers' refusals are reported up to a rate.
void Engine::refuse(FlowKey key, const Flow& flow, const Refusal& refusal, bool is_stranger,
                    const Now& now) {
  ++totals_.flows_refused;
  outputs_.emplace_back(Refuse{.flow = key,
                               .id = flow.id,
                               .status = refusal.status,
                               .error = refusal.error,
                               .details = refusal.details});
  if (is_stranger) {
    if (now.instant - stranger_window_ >= kStrangerWindow) {
      stranger_window_ = now.instant;
      stranger_reports_ = 0;
    }
    if (stranger_reports_ >= limits_.stranger_reports_max) {
      ++totals_.reports_suppressed;
      return;
    }
    ++stranger_reports_;
  }
  report(flow, refusal.event, refusal.details, now);
}

void Engine::forget(FlowKey key) {
  const auto found = flows_.find(key);
  Flow& flow = found->second;
  if (flow.deadline) deadlines_.erase({*flow.deadline, key});
  if (flow.expiry) expiries_.erase({*flow.expiry, key});
  if (flow.state == State::resolving || flow.state == State::dialling) --pending_count_;
  unhold(key, flow);
  if (flow.state == State::cut) --cut_count_;
  if (const auto peer = peers_.find(flow.peer); peer != peers_.end()) {
    peer->second.flows.erase(key);
  }
  flows_.erase(found);
}

// --- Time.

void Engine::expire(const Now& now) {
  clocks_compared_ = now.instant;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now.instant) {
    const FlowKey key = deadlines_.begin()->second;
    const Flow& flow = flows_.find(key)->second;
    if (flow.state == State::held) {
      end(key, CutReason::grant_expired, "the grant has expired, and no other came in time", now);
      continue;
    }
    if (flow.permit.lease.monotonic <= now.instant) {
      lapse(key, now);
      continue;
    }
    const bool is_resolving = flow.state == State::resolving;
    refuse(key, flow,
           {.status = 504,
            .error = is_resolving ? ProxyError::dns_timeout : ProxyError::connection_timeout,
            .details = is_resolving ? fmt::format("{} was not resolved in time by the connector",
                                                  to_text(flow.destination.host))
                                    : fmt::format("{} did not answer in time", flow.target_text),
            .event = FlowEvent::failed},
           false, now);
    forget(key);
  }
  while (!expiries_.empty() && expiries_.begin()->first <= now.unix_time) {
    lapse(expiries_.begin()->second, now);
  }
  while (!peer_deadlines_.empty() && peer_deadlines_.begin()->first <= now.instant) {
    const PeerKey key = peer_deadlines_.begin()->second;
    close_peer(key, peers_.find(key)->second, CloseReason::no_grant);
  }
  while (!revoked_in_order_.empty()) {
    const auto& [id, revocation] = revoked_in_order_.front();
    if (now.instant < revocation.instant || now.unix_time < revocation.unix_time) break;
    revoked_.erase(id);
    revoked_in_order_.pop_front();
  }
}

// schedule puts a flow where its state and permit say.
void Engine::schedule(FlowKey key, Flow& flow) {
  if (flow.deadline) deadlines_.erase({*flow.deadline, key});
  if (flow.expiry) expiries_.erase({*flow.expiry, key});
  flow.deadline.reset();
  flow.expiry.reset();
  if (flow.state == State::cut) return;
  if (flow.state == State::held) {
    flow.deadline = flow.held_since + limits_.hold_timeout;
    deadlines_.emplace(*flow.deadline, key);
    return;
  }
  flow.deadline = flow.permit.lease.monotonic;
  if (flow.state != State::open) flow.deadline = std::min(*flow.deadline, flow.step_deadline);
  flow.expiry = flow.permit.lease.wall;
  deadlines_.emplace(*flow.deadline, key);
  expiries_.emplace(*flow.expiry, key);
}

// --- What is told.

void Engine::report(const Flow& flow, FlowEvent event, std::string_view reason, const Now& now) {
  outputs_.emplace_back(Report{make_report(flow, event, reason, now)});
}

FlowReport Engine::make_report(const Flow& flow, FlowEvent event, std::string_view reason,
                               const Now& now) const {
  return {.flow = flow.id,
          .event = event,
          .reporter = FlowReporter::connector,
          .time = now.unix_time,
          .decision = flow.permit.decision,
          .grant = flow.permit.id,
          .subject = flow.permit.subject,
          .device = flow.permit.device,
          .resource = flow.permit.resource,
          .network = self_.network,
          .connector = self_.connector,
          .client_address = flow.client_address,
          .target = flow.target_text,
          .target_address = flow.dialled,
          .protocol = flow.protocol,
          .bytes_up = 0,
          .bytes_down = 0,
          .duration = event == FlowEvent::closed ? now.instant - flow.opened : Duration{},
          .reason = std::string(reason),
          .path = flow.path};
}

bool Engine::has_shown_grant(PeerKey peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && found->second.has_shown_grant && !found->second.is_closing;
}

bool Engine::may_tell_addresses(PeerKey peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && found->second.has_shown_grant && !found->second.is_relay_only;
}

Engine::Statistics Engine::statistics() const {
  Statistics result = totals_;
  result.peers = peers_.size();
  result.flows_pending = pending_count_;
  result.flows_cut = cut_count_;
  result.flows_held = held_.size();
  result.flows_open = flows_.size() - pending_count_ - cut_count_ - held_.size();
  result.grants_revoked = revoked_.size();
  return result;
}

}  // namespace zt::connector
