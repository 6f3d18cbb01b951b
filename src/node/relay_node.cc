// SPDX-License-Identifier: Apache-2.0
#include "node/relay_node.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "node/messages.h"
#include "wire/json.h"
#include "zt/relay/dispatch.h"
#include "zt/wire/capsule.h"
#include "zt/wire/draining.h"
#include "zt/wire/proxy_status.h"

namespace zt::node {

namespace {

constexpr std::string_view kProxyName = "zt-relay";

// A relay that cannot be reached by UDP is none, so it needs no way around for itself.
Link::Config without_links(Link::Config config) {
  config.controller.carrier.is_tcp_allowed = false;
  return config;
}

}  // namespace

RelayNode::RelayNode(const Config& config, Credential credential, Random& random,
                     DatagramSink& sink)
    : config_(config),
      sink_(sink),
      link_(without_links(config.link), std::move(credential), random),
      engine_(config.engine, random) {}

void RelayNode::start(const Now& now) {
  link_.start(now);
  take_link_events(now);
}

void RelayNode::drain(const Now& now) {
  if (std::exchange(is_draining_, true)) return;
  for (const auto& [key, binding] : bindings_) tell_draining(binding.stream);
  send_heartbeat(now);
}

void RelayNode::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  const RouteId& own_route = config_.link.endpoint.route;
  relay::for_each_run(datagrams.bytes, datagrams.segment_size, [&](const relay::Run& run) {
    const relay::Verdict verdict =
        relay::dispatch(engine_, own_route, datagrams.remote, run, now.instant);
    switch (verdict.place) {
      case relay::Verdict::Place::forward:
        sink_.send(verdict.target, run.bytes, run.segment_size, datagrams.ecn);
        break;
      case relay::Verdict::Place::own:
        link_.handle({.remote = datagrams.remote,
                      .bytes = run.bytes,
                      .segment_size = std::min(run.segment_size, run.bytes.size()),
                      .ecn = datagrams.ecn},
                     now);
        break;
      case relay::Verdict::Place::drop:
        break;
    }
  });
}

void RelayNode::handle_timeout(const Now& now) {
  link_.handle_timeout(now);
  engine_.handle_timeout(now);
  take_engine_outputs();
}

std::vector<relay::RouteChange> RelayNode::take_route_changes() {
  std::vector<relay::RouteChange> changes;
  while (const auto change = engine_.poll_change()) changes.push_back(*change);
  return changes;
}

std::optional<RelayNode::Effect> RelayNode::poll_effect(const Now& now) {
  if (effects_.empty()) take_link_events(now);
  if (effects_.empty() && is_draining_ && bindings_.empty() && !std::exchange(is_drained_, true)) {
    return Drained{};
  }
  if (effects_.empty()) return std::nullopt;
  Effect effect = std::move(effects_.front());
  effects_.pop_front();
  return effect;
}

std::optional<Instant> RelayNode::next_deadline() const {
  return earlier_of(link_.next_deadline(), engine_.next_deadline());
}

void RelayNode::lookup_done(LookupKey key, const std::vector<IpAddress>& addresses,
                            bool /*is_name_absent*/, const Now& now) {
  (void)link_.lookup_done(key, addresses, now);  // A relay looks up nothing for itself.
}

void RelayNode::link_closed(const SocketAddress& link, const Now& now) {
  std::vector<quic::ConnectionKey> connections;
  for (const auto& [connection, certificate] : peers_) {
    if (link_.endpoint().remote_of(connection) == link) connections.push_back(connection);
  }
  for (const quic::ConnectionKey connection : connections) {
    link_.endpoint().close(connection, kStreamNoError, "its TCP link is closed", now.instant);
  }
}

void RelayNode::take_link_events(const Now& now) {
  while (auto event = link_.poll_event(now)) {
    if (const auto* of_endpoint = std::get_if<quic::Event>(&*event)) {
      take_endpoint_event(*of_endpoint, now);
    } else if (const auto* told = std::get_if<Told>(&*event)) {
      take_told(told->message, now);
    } else if (std::holds_alternative<HeartbeatDue>(*event)) {
      send_heartbeat(now);
    } else if (auto* admitted = std::get_if<Admitted>(&*event)) {
      effects_.emplace_back(StandingChanged{
          {.tenant = admitted->admission.tenant, .relay = RelayId{admitted->admission.node}}});
    } else if (auto* refused = std::get_if<Refused>(&*event)) {
      effects_.emplace_back(std::move(*refused));
    } else if (auto* lookup = std::get_if<Lookup>(&*event)) {
      effects_.emplace_back(std::move(*lookup));
    } else if (auto* notice = std::get_if<Notice>(&*event)) {
      effects_.emplace_back(std::move(*notice));
    }
  }
}

void RelayNode::take_told(const WatchMessage& message, const Now& now) {
  if (const auto* snapshot = std::get_if<WatchSnapshot>(&message)) {
    take_tenants(snapshot->tenants, now);
  }
  if (const auto* keys = std::get_if<WatchKeys>(&message)) take_tenants(keys->tenants, now);
}

// The list replaces what we know. A tenant whose keys do not parse is not served.
void RelayNode::take_tenants(const std::vector<TenantKeys>& tenants, const Now& now) {
  tenants_.clear();
  policy_ = {};
  for (const TenantKeys& tenant : tenants) {
    policy_.blocked_certificates.insert(tenant.blocked.begin(), tenant.blocked.end());
    auto keys = grant::KeySet::parse(tenant.jwks);
    if (keys) {
      tenants_.insert_or_assign(tenant.tenant, std::move(*keys));
      policy_.tenants.insert(tenant.tenant);
    } else {
      effects_.emplace_back(Notice{.level = NoticeLevel::warn,
                                   .message = "a tenant's keys are malformed",
                                   .fields = {{"tenant", tenant.tenant.text}}});
    }
  }
  judge_bindings(now);
}

// What may not bind any more is unbound, and its node told so by the end of its stream.
void RelayNode::judge_bindings(const Now& now) {
  std::vector<std::pair<quic::StreamKey, policy::BindVerdict>> over;
  for (const auto& [key, binding] : bindings_) {
    const policy::BindVerdict verdict = policy::judge_bind(policy_, binding.request, now.unix_time);
    if (verdict != policy::BindVerdict::allowed) over.emplace_back(binding.stream, verdict);
  }
  for (const auto& [stream, verdict] : over) {
    link_.endpoint().finish(stream);
    link_.endpoint().stop(stream, kStreamNoError);
    unbind(stream, now);
    effects_.emplace_back(Notice{.level = NoticeLevel::info,
                                 .message = "unbound a route",
                                 .fields = {{"reason", std::string(to_text(verdict))}}});
  }
}

void RelayNode::take_endpoint_event(const quic::Event& event, const Now& now) {
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (ready->is_accepted && ready->peer) {
      peers_.emplace(ready->connection,
                     Peer{.certificate = ready->peer->certificate, .remote = ready->remote});
    }
  } else if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    peers_.erase(closed->connection);
    std::vector<quic::StreamKey> streams;
    for (const auto& [stream, key] : keys_) {
      if (stream.connection == closed->connection) streams.push_back(stream);
    }
    for (const quic::StreamKey& stream : streams) unbind(stream, now);
    std::erase_if(waiting_,
                  [&](const auto& entry) { return entry.first.connection == closed->connection; });
  } else if (const auto* moved = std::get_if<quic::ConnectionMoved>(&event)) {
    follow(*moved, now);
  } else if (const auto* request = std::get_if<quic::RequestReceived>(&event)) {
    take_request(*request, now);
  } else if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    const quic::Readable bytes = link_.endpoint().readable(readable->stream);
    const bool is_end = bytes.is_end;
    link_.endpoint().consume(readable->stream, bytes.bytes.size());  // Nodes have nothing to say.
    if (is_end) {
      link_.endpoint().finish(readable->stream);
      unbind(readable->stream, now);
    }
  } else if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    link_.endpoint().reset(reset->stream, kStreamNoError);
    unbind(reset->stream, now);
  } else if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) {
    unbind(stopped->stream, now);
  }
}

// follow takes the bindings of a connection to where that has been validated, and then what was
// asked for from there.
void RelayNode::follow(const quic::ConnectionMoved& moved, const Now& now) {
  const auto peer = peers_.find(moved.connection);
  if (peer == peers_.end()) return;
  peer->second.remote = moved.remote;
  for (const auto& [stream, key] : keys_) {
    if (stream.connection == moved.connection) engine_.move(key, moved.remote, now);
  }
  take_engine_outputs();
  std::map<quic::StreamKey, http::Request> waiting;
  std::erase_if(waiting_, [&](auto& entry) {
    if (entry.first.connection != moved.connection) return false;
    waiting.emplace(entry.first, std::move(entry.second));
    return true;
  });
  for (const auto& [stream, request] : waiting) {
    take_request({.stream = stream, .request = request, .is_end = false}, now);
  }
}

bool RelayNode::is_full(quic::ConnectionKey connection) const {
  const auto is_its = [&](const auto& entry) { return entry.first.connection == connection; };
  const auto held = static_cast<std::size_t>(std::ranges::count_if(keys_, is_its));
  const auto waiting = static_cast<std::size_t>(std::ranges::count_if(waiting_, is_its));
  return std::max(held, waiting) >= config_.bindings_per_connection_max;
}

void RelayNode::take_request(const quic::RequestReceived& received, const Now& now) {
  const quic::StreamKey& stream = received.stream;
  const http::Request& request = received.request;
  if (request.method != "CONNECT" || request.protocol != kBindProtocol ||
      request.path != kBindPath || received.is_end) {
    return refuse(stream, 404, "no such service");
  }
  const auto peer = peers_.find(stream.connection);
  const auto remote = link_.endpoint().remote_of(stream.connection);
  if (peer == peers_.end() || !remote) return refuse(stream, 403, "no client certificate");
  if (is_full(stream.connection)) {
    return refuse(stream, 429, "too many bindings on one connection");
  }
  if (*remote != peer->second.remote) {
    waiting_.emplace(stream, request);
    return;
  }
  const Secret presented = bearer_token(request.fields, "proxy-authorization");
  const auto token =
      grant::verify(presented.reveal(), tenants_,
                    grant::RelayTokenExpectations{.node_certificate = peer->second.certificate,
                                                  .now = now.unix_time});
  if (!token) return refuse(stream, 403, to_text(token.error()));
  const policy::BindRequest asked{
      .tenant = token->tenant,
      .token_certificate = token->node_certificate,
      .not_before = token->not_before - grant::RelayTokenExpectations::kLeewayMax,
      .expires = token->expires_at,
      .certificate = peer->second.certificate};
  const policy::BindVerdict verdict = policy::judge_bind(policy_, asked, now.unix_time);
  if (verdict != policy::BindVerdict::allowed) return refuse(stream, 403, to_text(verdict));
  if (is_draining_ && !engine_.is_bound(token->route, now.instant)) {
    constexpr std::string_view kDetails = "the relay is draining";
    return refuse(stream, draining_response(kProxyName, kDetails), kDetails);
  }
  const relay::BindingKey key{next_binding_++};
  const auto bound = engine_.bind({.key = key,
                                   .route = token->route,
                                   .tenant = token->tenant,
                                   .certificate = peer->second.certificate,
                                   .source = peer->second.remote,
                                   .expires = token->expires_at},
                                  now);
  if (!bound) return refuse(stream, 503, relay::to_text(bound.error()));
  bindings_.emplace(key, Binding{.stream = stream, .request = asked});
  keys_.emplace(stream, key);
  http::Response response{.status = 200};
  if (!is_link_address(remote->ip)) {
    response.fields.add(std::string(kObservedAddressField), remote->to_text());
  }
  // If the stream is gone already, its end unbinds.
  (void)link_.endpoint().respond(stream, response, false);
  if (is_draining_) tell_draining(stream);
  effects_.emplace_back(Notice{.level = NoticeLevel::debug,
                               .message = "bound a route",
                               .fields = {{"tenant", token->tenant.text},
                                          {"by", is_link_address(remote->ip) ? "TCP" : "UDP"}}});
  take_engine_outputs();
}

// The capsule is small and the first thing that is said on the stream: it fits.
void RelayNode::tell_draining(const quic::StreamKey& stream) {
  (void)link_.endpoint().write(stream, wire::encode_capsule(wire::kDrainingCapsule, {}));
}

void RelayNode::refuse(const quic::StreamKey& stream, int status, std::string_view details) {
  constexpr auto kError = wire::ProxyError::http_request_denied;
  refuse(stream, refusal_response(kProxyName, status, kError, details), details);
}

void RelayNode::refuse(const quic::StreamKey& stream, const http::Response& response,
                       std::string_view details) {
  (void)link_.endpoint().respond(stream, response, true);  // A stream that is gone needs no answer.
  link_.endpoint().stop(stream, kStreamNoError);
  effects_.emplace_back(Notice{.level = NoticeLevel::debug,
                               .message = "refused a request",
                               .fields = {{"details", std::string(details)}}});
}

void RelayNode::unbind(const quic::StreamKey& stream, const Now& now) {
  waiting_.erase(stream);
  const auto key = binding_of(stream);
  if (!key) return;
  engine_.unbind(*key, now);
  bindings_.erase(*key);
  keys_.erase(stream);
  take_engine_outputs();
}

// A binding that ended by itself takes its stream with it, so that the node notices.
void RelayNode::take_engine_outputs() {
  while (const auto ended = engine_.poll_output()) {
    const auto found = bindings_.find(ended->key);
    if (found == bindings_.end()) continue;
    const quic::StreamKey stream = found->second.stream;
    link_.endpoint().finish(stream);
    link_.endpoint().stop(stream, kStreamNoError);
    keys_.erase(stream);
    bindings_.erase(found);
  }
}

void RelayNode::send_heartbeat(const Now& now) {
  const wire::Json body = {{"version", config_.link.controller.version},
                           {"bindings", engine_.binding_count()},
                           {"draining", is_draining_}};
  // Without a session there is nobody to tell; the next one begins with a heartbeat.
  (void)link_.controller().call("POST", "/api/v1/node/heartbeat", wire::json_text(body), now);
}

std::optional<relay::BindingKey> RelayNode::binding_of(const quic::StreamKey& stream) const {
  const auto found = keys_.find(stream);
  return found == keys_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace zt::node
