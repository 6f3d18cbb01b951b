// SPDX-License-Identifier: Apache-2.0
#include "node/connector_node.h"

#include <algorithm>
#include <utility>

#include "node/messages.h"
#include "node/udp_payload.h"
#include "wire/json.h"
#include "zt/base/assert.h"
#include "zt/grant/node_config.h"
#include "zt/wire/connect_udp.h"
#include "zt/wire/draining.h"
#include "zt/wire/proxy_status.h"

namespace zt::node {

namespace {

constexpr std::string_view kProxyName = "zt-connector";
constexpr Duration kIdleCheckInterval = std::chrono::seconds(10);
// A client that is awake is heard more often: it keeps its connection alive.
constexpr Duration kSilenceMin = std::chrono::minutes(1);
// The part of all connections that is kept free for newcomers, who have not shown a grant yet.
constexpr std::size_t kFreeShare = 16;

connector::PeerKey peer_of(quic::ConnectionKey connection) {
  return connector::PeerKey{static_cast<std::uint64_t>(connection)};
}

quic::ConnectionKey connection_of(connector::PeerKey peer) {
  return quic::ConnectionKey{static_cast<std::uint64_t>(peer)};
}

}  // namespace

ConnectorNode::ConnectorNode(const Config& config, Credential credential, Random& random)
    : config_(config),
      random_(random),
      link_(Link::between_peers(config.link), std::move(credential), random),
      journal_(
          config.journal,
          [this](std::string body, const Now& now) {
            return link_.controller().call("POST", kEventsPath, std::move(body), now);
          },
          random),
      flows_(link_.endpoint()) {}

void ConnectorNode::start(const Now& now) {
  if (config_.standing) enter(*config_.standing, now);
  link_.start(now);
  take_link_events(now);
}

void ConnectorNode::drain(const Now& now) {
  if (std::exchange(is_draining_, true)) return;
  link_.paths().drain();
  journal_.hurry(now);
  send_heartbeat(now);
}

// close_unused lets go of the clients whose connections carry no flow: they turn to another
// connector for the next one. Who comes later is refused, for that says more.
void ConnectorNode::close_unused(const Now& now) {
  std::vector<quic::ConnectionKey> unused;
  for (const quic::ConnectionKey connection : clients_) {
    if (!is_used(connection)) unused.push_back(connection);
  }
  for (const quic::ConnectionKey connection : unused) {
    clients_.erase(connection);
    link_.endpoint().close(connection, kStreamNoError, "the connector is draining", now.instant);
  }
}

// make_room is called when a client has shown its first valid grant.
void ConnectorNode::make_room(quic::ConnectionKey newcomer, const Now& now) {
  const std::size_t count_max =
      std::min(config_.link.endpoint.limits.connections_max, config_.engine.peers_max);
  if (link_.endpoint().connection_count() < count_max - count_max / kFreeShare) return;
  std::optional<quic::ConnectionKey> silent;
  Instant heard_at = now.instant - kSilenceMin;
  for (const quic::ConnectionKey connection : clients_) {
    const auto statistics = link_.endpoint().statistics(connection);
    if (!statistics || connection == newcomer || statistics->arrived_last > heard_at) continue;
    silent = connection;
    heard_at = statistics->arrived_last;
  }
  if (!silent) return;
  link_.endpoint().close(*silent, kStreamNoError, "silent, and others need the room", now.instant);
}

bool ConnectorNode::is_used(quic::ConnectionKey connection) const {
  const auto parting = parting_.lower_bound(quic::StreamKey{.connection = connection});
  const bool is_parting = parting != parting_.end() && parting->connection == connection;
  return is_parting || flows_.is_used(connection);
}

// enter makes the engine: the node knows who it is.
void ConnectorNode::enter(const Standing& standing, const Now& now) {
  standing_ = standing;
  journal_.enter({.reporter = FlowReporter::connector, .connector = standing.connector});
  engine_.emplace(
      config_.engine,
      connector::Engine::Self{
          .tenant = standing.tenant, .network = standing.network, .connector = standing.connector},
      random_);
  take_keys(standing.jwks, now);
  tell_own_addresses(now);
  take_engine_outputs(now);
}

// What has ended is ended first: a timer that rings late lets no byte pass.
void ConnectorNode::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  if (engine_) {
    engine_->handle_timeout(now);
    take_engine_outputs(now);
  }
  link_.handle(datagrams, now);
}

void ConnectorNode::handle_timeout(const Now& now) {
  link_.handle_timeout(now);
  journal_.handle_timeout(now);
  if (engine_) {
    engine_->handle_timeout(now);
    take_engine_outputs(now);
  }
  end_idle_flows(now);
}

std::optional<ConnectorNode::Effect> ConnectorNode::poll_effect(const Now& now) {
  if (effects_.empty()) take_link_events(now);
  // A flow is on record before it moves a byte.
  if (auto keep = journal_.poll_keep(now)) return *std::move(keep);
  if (auto notice = journal_.poll_notice()) return *std::move(notice);
  if (effects_.empty() && is_draining_) {
    close_unused(now);
    const bool is_over = flows_.count() == 0 && parting_.empty();
    if (is_over && !std::exchange(is_drained_, true)) return Drained{};
  }
  if (effects_.empty()) return std::nullopt;
  Effect effect = std::move(effects_.front());
  effects_.pop_front();
  return effect;
}

std::optional<Instant> ConnectorNode::next_deadline() const {
  auto deadline = earlier_of(link_.next_deadline(), journal_.next_deadline());
  if (engine_) deadline = earlier_of(deadline, engine_->next_deadline());
  return earlier_of(deadline, idle_check_at_);
}

void ConnectorNode::take_link_events(const Now& now) {
  while (auto event = link_.poll_event(now)) take(*event, now);
}

void ConnectorNode::take(Link::Event& event, const Now& now) {
  if (auto* told = std::get_if<Told>(&event)) {
    take_told(told->message, now);
  } else if (const auto* of_endpoint = std::get_if<quic::Event>(&event)) {
    take_endpoint_event(*of_endpoint, now);
  } else if (auto* admitted = std::get_if<Admitted>(&event)) {
    const auto connector = parse_id_as<ConnectorIdTag>(admitted->admission.node);
    if (!connector) {
      effects_.emplace_back(Refused{.status = 0, .detail = "the controller gave no connector id"});
      return;
    }
    enter({.tenant = admitted->admission.tenant,
           .network = admitted->admission.network,
           .connector = *connector,
           .jwks = admitted->admission.jwks},
          now);
    effects_.emplace_back(StandingChanged{*standing_});
  } else if (std::holds_alternative<SessionUp>(event)) {
    journal_.session_up(now);
  } else if (std::holds_alternative<SessionDown>(event)) {
    journal_.session_down();
  } else if (std::holds_alternative<HeartbeatDue>(event) ||
             std::holds_alternative<RelayBound>(event) ||
             std::holds_alternative<RelayUnbound>(event) ||
             std::holds_alternative<RelayDraining>(event)) {
    send_heartbeat(now);
  } else if (const auto* answered = std::get_if<CallAnswered>(&event)) {
    (void)journal_.take_answer(*answered, now);  // Otherwise a heartbeat's: nothing to learn.
  } else if (const auto* failed = std::get_if<CallFailed>(&event)) {
    (void)journal_.take_failure(*failed, now);
  } else if (auto* refused = std::get_if<Refused>(&event)) {
    effects_.emplace_back(std::move(*refused));
  } else if (auto* lookup = std::get_if<Lookup>(&event)) {
    effects_.emplace_back(std::move(*lookup));
  } else if (auto* link_wanted = std::get_if<TcpLinkWanted>(&event)) {
    effects_.emplace_back(std::move(*link_wanted));
  } else if (const auto* link_unwanted = std::get_if<TcpLinkUnwanted>(&event)) {
    effects_.emplace_back(*link_unwanted);
  } else if (auto* notice = std::get_if<Notice>(&event)) {
    effects_.emplace_back(std::move(*notice));
  } else if (const auto* upnp = std::get_if<path::UpnpWanted>(&event)) {
    effects_.emplace_back(*upnp);
  } else if (std::holds_alternative<path::UpnpUnwanted>(event)) {
    effects_.emplace_back(path::UpnpUnwanted{});
  } else if (std::holds_alternative<path::MappingChanged>(event) && engine_) {
    tell_own_addresses(now);
    take_engine_outputs(now);
  }
}

void ConnectorNode::take_told(WatchMessage& message, const Now& now) {
  if (!engine_) return;
  if (const auto* snapshot = std::get_if<WatchSnapshot>(&message)) {
    if (!snapshot->jwks.empty()) take_keys(snapshot->jwks, now);
    take_configuration(snapshot->config, now);
    if (!snapshot->revoked.empty()) {
      engine_->handle(connector::GrantsRevoked{.grants = snapshot->revoked, .reason = "revoked"},
                      now);
    }
  } else if (const auto* delta = std::get_if<WatchDelta>(&message)) {
    take_configuration(delta->config, now);
  } else if (std::holds_alternative<WatchRelays>(message)) {
    bind_as_ruled(now);
  } else if (const auto* keys = std::get_if<WatchKeys>(&message)) {
    if (!keys->jwks.empty()) take_keys(keys->jwks, now);
  } else if (const auto* revoke = std::get_if<WatchRevoke>(&message)) {
    engine_->handle(connector::GrantsRevoked{.grants = revoke->grants, .reason = revoke->reason},
                    now);
  }
  take_engine_outputs(now);
}

// The keys arrive over the connection whose key is pinned; that is what vouches for them.
void ConnectorNode::take_keys(const std::string& jwks, const Now& now) {
  auto keys = grant::KeySet::parse(jwks);
  if (!keys) return warn("the tenant's keys are malformed", "kept the former ones");
  keys_ = *keys;
  engine_->handle(connector::KeysReceived{std::move(*keys)}, now);
  if (standing_ && standing_->jwks != jwks) {
    standing_->jwks = jwks;
    effects_.emplace_back(StandingChanged{*standing_});
  }
}

void ConnectorNode::take_configuration(const std::string& token, const Now& now) {
  auto configuration = grant::verify(
      token, keys_,
      grant::NodeConfigExpectations{
          .tenant = standing_->tenant, .node = {standing_->connector.text}, .now = now.unix_time});
  if (!configuration) {
    link_.controller().set_refused(true, now);
    return warn("a configuration was refused", std::string(to_text(configuration.error())));
  }
  const std::uint64_t revision = configuration->revision;
  engine_->handle(connector::ConfigurationReceived{std::move(*configuration)}, now);
  // One that seems older than ours is of a controller whose clock was set back.
  link_.controller().set_refused(engine_->configuration_revision() != revision, now);
  bind_as_ruled(now);
}

// bind_as_ruled sees to it that each path rule has a relay here. Few resources have one.
void ConnectorNode::bind_as_ruled(const Now& now) {
  std::set<std::vector<RelayId>> done;
  for (const auto& [id, entry] : engine_->resources().resources) {
    if (entry.path.use == RelayUse::any || !done.insert(entry.path.relays).second) continue;
    link_.want_some_of(entry.path.relays, now);
  }
}

void ConnectorNode::take_endpoint_event(const quic::Event& event, const Now& now) {
  if (!engine_) {  // Nobody can have a grant yet.
    const auto* early = std::get_if<quic::ConnectionReady>(&event);
    if (early == nullptr || !early->is_accepted) return;
    link_.endpoint().close(early->connection, kStreamNoError, "not enrolled yet", now.instant);
    return;
  }
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (!ready->is_accepted || !ready->peer) return;
    if (!is_draining_) clients_.insert(ready->connection);
    engine_->handle(connector::PeerConnected{.peer = peer_of(ready->connection),
                                             .certificate = ready->peer->certificate},
                    now);
  } else if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    clients_.erase(closed->connection);
    std::erase_if(parting_, [&](const quic::StreamKey& stream) {
      return stream.connection == closed->connection;
    });
    std::erase_if(renewals_,
                  [&](const auto& entry) { return entry.second.connection == closed->connection; });
    engine_->handle(connector::PeerGone{peer_of(closed->connection)}, now);
  } else if (const auto* moved = std::get_if<quic::ConnectionMoved>(&event)) {
    engine_->handle(connector::PeerMoved{.peer = peer_of(moved->connection),
                                         .relay = link_.relay_at(moved->remote)},
                    now);
  } else if (const auto* request = std::get_if<quic::RequestReceived>(&event)) {
    const quic::ConnectionKey connection = request->stream.connection;
    const bool was_stranger = !engine_->has_shown_grant(peer_of(connection));
    take_request(*request, now);
    if (was_stranger && engine_->has_shown_grant(peer_of(connection))) make_room(connection, now);
  } else if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    if (const auto flow = flows_.flow_of(readable->stream)) {
      effects_.emplace_back(FlowReadable{*flow});
    } else {
      const quic::Readable bytes = link_.endpoint().readable(readable->stream);
      link_.endpoint().consume(readable->stream, bytes.bytes.size());  // Of a refused request.
    }
  } else if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    if (const auto flow = flows_.flow_of(writable->stream)) {
      effects_.emplace_back(FlowWritable{*flow});
    }
  } else if (const auto* over = std::get_if<quic::StreamClosed>(&event)) {
    parting_.erase(over->stream);
    const auto flow = flows_.close(over->stream);
    if (flow && open_flows_.contains(*flow)) effects_.emplace_back(FlowReadable{*flow});
  } else if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    abort_flow(reset->stream);
  } else if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) {
    abort_flow(stopped->stream);
  }
  take_engine_outputs(now);
}

void ConnectorNode::take_request(const quic::RequestReceived& received, const Now& now) {
  const http::Request& request = received.request;
  const quic::StreamKey& stream = received.stream;
  Secret token = bearer_token(request.fields, "proxy-authorization");
  if (request.method == "POST" && request.path == kGrantPath) {
    const connector::RenewalKey renewal{next_key_++};
    renewals_.emplace(renewal, stream);
    engine_->handle(
        connector::GrantPresented{
            .renewal = renewal, .peer = peer_of(stream.connection), .token = std::move(token)},
        now);
    return;
  }
  const connector::PeerKey peer = peer_of(stream.connection);
  if (is_paths_request(request) && engine_->has_shown_grant(peer)) {
    return link_.paths().accept(
        stream, engine_->may_tell_addresses(peer) ? Paths::any : Paths::always_relay, now);
  }
  if (is_draining_) return refuse_for_draining(stream);
  std::string target;
  Protocol protocol = Protocol::tcp;
  if (request.method == "CONNECT" && request.protocol.empty()) {
    target = request.authority;
  } else if (request.method == "CONNECT" && request.protocol == kConnectUdpProtocol) {
    protocol = Protocol::udp;
    if (const auto authority = wire::parse_udp_path(request.path)) target = authority->to_text();
  } else {
    (void)link_.endpoint().respond(  // A stream that is gone needs no answer.
        stream,
        refusal_response(kProxyName, request.method == "CONNECT" ? 501 : 404,
                         wire::ProxyError::http_request_error, "no such service"),
        true);
    link_.endpoint().stop(stream, kStreamNoError);
    return;
  }
  const SocketAddress remote =
      link_.endpoint().remote_of(stream.connection).value_or(SocketAddress());
  const FlowKey flow{next_key_++};
  flows_.pair(flow, stream);
  if (protocol == Protocol::udp) udp_flows_.emplace(flow, now.instant);
  engine_->handle(connector::FlowRequested{.flow = flow,
                                           .peer = peer_of(stream.connection),
                                           .target = std::move(target),
                                           .protocol = protocol,
                                           .token = std::move(token),
                                           .client_address = remote,
                                           .path = path_of(remote),
                                           .relay = link_.relay_at(remote)},
                  now);
}

void ConnectorNode::refuse_for_draining(const quic::StreamKey& stream) {
  // A stream that is gone needs no answer.
  (void)link_.endpoint().respond(stream, draining_response(kProxyName, "the connector is draining"),
                                 true);
  link_.endpoint().stop(stream, kStreamNoError);
}

void ConnectorNode::take_engine_outputs(const Now& now) {
  while (auto output = engine_->poll_output()) {
    if (auto* report = std::get_if<connector::Report>(&*output)) {
      journal_.add(report->report, now);
    } else if (std::holds_alternative<connector::SnapshotNeeded>(*output)) {
      link_.controller().restart_watch(now);
    } else if (const auto* close = std::get_if<connector::ClosePeer>(&*output)) {
      link_.endpoint().close(connection_of(close->peer), kStreamNoError,
                             connector::to_text(close->reason), now.instant);
    } else {
      take_output(*output, now);
    }
  }
}

void ConnectorNode::take_output(connector::Engine::Output& output, const Now& now) {
  if (auto* resolve = std::get_if<connector::Resolve>(&output)) {
    const LookupKey key = link_.new_lookup_key();
    lookups_.emplace(key, resolve->flow);
    effects_.emplace_back(Lookup{.key = key, .name = std::move(resolve->name)});
  } else if (auto* dial = std::get_if<connector::Dial>(&output)) {
    effects_.emplace_back(DialWanted{
        .flow = dial->flow, .protocol = dial->protocol, .addresses = std::move(dial->addresses)});
  } else if (const auto* accept = std::get_if<connector::Accept>(&output)) {
    const auto stream = flows_.stream_of(accept->flow);
    http::Response response{.status = 200};
    response.fields.add(std::string(kFlowField), accept->id.text);
    const bool is_udp = udp_flows_.contains(accept->flow);
    if (is_udp) response.fields.add("capsule-protocol", "?1");
    if (stream) (void)link_.endpoint().respond(*stream, response, false);  // PeerGone says it.
    if (is_udp) {
      udp_flows_[accept->flow] = now.instant;
      if (!idle_check_at_) idle_check_at_ = now.instant + kIdleCheckInterval;
    }
    open_flows_.insert(accept->flow);
    link_.set_active(true, now);
    effects_.emplace_back(
        FlowOpened{.flow = accept->flow, .protocol = is_udp ? Protocol::udp : Protocol::tcp});
  } else if (const auto* refusal = std::get_if<connector::Refuse>(&output)) {
    take_refusal(*refusal);
  } else if (const auto* hold = std::get_if<connector::Hold>(&output)) {
    flows_.hold(hold->flow);
    note("holds a flow until another grant comes");
  } else if (const auto* release = std::get_if<connector::Release>(&output)) {
    flows_.release(release->flow);
    note("lets a held flow go on");
    effects_.emplace_back(FlowReadable{release->flow});
    effects_.emplace_back(FlowWritable{release->flow});
  } else if (const auto* cut = std::get_if<connector::Cut>(&output)) {
    flows_.abandon(cut->flow, kStreamConnectError);
    effects_.emplace_back(
        Notice{.level = NoticeLevel::info,
               .message = "cut a flow",
               .fields = {{"reason", std::string(connector::to_text(cut->reason))}}});
    effects_.emplace_back(FlowCut{cut->flow});
  } else if (const auto* answer = std::get_if<connector::GrantAnswered>(&output)) {
    take_grant_answer(*answer);
  }
}

void ConnectorNode::take_refusal(const connector::Refuse& refusal) {
  if (const auto stream = flows_.stream_of(refusal.flow)) {
    http::Response response =
        refusal_response(kProxyName, refusal.status, refusal.error, refusal.details);
    response.fields.add(std::string(kFlowField), refusal.id.text);
    (void)link_.endpoint().respond(*stream, response, true);
    link_.endpoint().stop(*stream, kStreamNoError);
  }
  flows_.unpair(refusal.flow);
  udp_flows_.erase(refusal.flow);
  effects_.emplace_back(
      Notice{.level = NoticeLevel::debug,
             .message = "refused a flow",
             .fields = {{"flow", refusal.id.text}, {"details", refusal.details}}});
  effects_.emplace_back(FlowDropped{refusal.flow});
}

void ConnectorNode::take_grant_answer(const connector::GrantAnswered& answer) {
  const auto found = renewals_.find(answer.renewal);
  if (found == renewals_.end()) return;
  const http::Response response =
      answer.refusal ? refusal_response(kProxyName, answer.refusal->status, answer.refusal->error,
                                        answer.refusal->details)
                     : http::Response{.status = 204};
  (void)link_.endpoint().respond(found->second, response, true);
  link_.endpoint().stop(found->second, kStreamNoError);
  renewals_.erase(found);
}

// An open flow is ended by the shell, so that both of its sides go down together; a flow that is
// not open yet has its answer coming, and nobody to read it.
void ConnectorNode::abort_flow(const quic::StreamKey& stream) {
  const auto flow = flows_.flow_of(stream);
  if (!flow || !open_flows_.contains(*flow)) return;
  effects_.emplace_back(FlowAborted{*flow});
}

void ConnectorNode::lookup_done(LookupKey key, const std::vector<IpAddress>& addresses,
                                bool is_name_absent, const Now& now) {
  if (link_.lookup_done(key, addresses, now)) return;
  const auto found = lookups_.find(key);
  if (found == lookups_.end()) return;
  const FlowKey flow = found->second;
  lookups_.erase(found);
  connector::Resolved resolved{.flow = flow, .result = addresses};
  if (addresses.empty()) {
    resolved.result = std::unexpected(is_name_absent ? connector::ResolveError::no_such_name
                                                     : connector::ResolveError::failed);
  }
  engine_->handle(std::move(resolved), now);
  take_engine_outputs(now);
}

void ConnectorNode::dialed(FlowKey flow, std::expected<SocketAddress, connector::DialError> result,
                           const Now& now) {
  ZT_ASSERT(engine_.has_value());
  engine_->handle(connector::Dialed{.flow = flow, .result = result}, now);
  take_engine_outputs(now);
}

void ConnectorNode::flow_ended(FlowKey flow, std::uint64_t bytes_up, std::uint64_t bytes_down,
                               connector::FlowEnd cause, const Now& now) {
  ZT_ASSERT(engine_.has_value());
  const auto stream = flows_.stream_of(flow);
  if (cause == connector::FlowEnd::finished) {
    // What the client does not have yet keeps its connection open.
    if (stream && !link_.endpoint().is_send_drained(*stream)) parting_.insert(*stream);
  } else if (cause != connector::FlowEnd::connector_ended) {  // Then the connection says it.
    flows_.abandon(flow, kStreamConnectError);
  }
  flows_.unpair(flow);
  udp_flows_.erase(flow);
  open_flows_.erase(flow);
  link_.set_active(!open_flows_.empty(), now);
  engine_->handle(
      connector::FlowEnded{
          .flow = flow, .bytes_up = bytes_up, .bytes_down = bytes_down, .cause = cause},
      now);
  take_engine_outputs(now);
}

void ConnectorNode::set_local(const LocalPort& local, const Now& now) {
  link_.set_local(local, now);
  own_addresses_ = local.addresses;
  if (!engine_) return;
  tell_own_addresses(now);
  take_engine_outputs(now);
}

void ConnectorNode::tell_own_addresses(const Now& now) {
  std::vector<IpAddress> addresses = own_addresses_;
  if (const auto mapping = link_.mapping().mapping) addresses.push_back(mapping->external.ip);
  engine_->handle(connector::OwnAddressesChanged{std::move(addresses)}, now);
}

std::optional<ConnectorNode::FlowDatagram> ConnectorNode::poll_datagram(const Now& now) {
  while (const auto received = link_.endpoint().poll_datagram()) {
    const auto flow = flows_.flow_of(received->stream);
    if (!flow || !open_flows_.contains(*flow)) continue;
    const auto payload = wire::parse_udp_datagram(received->payload);
    if (!payload) continue;
    udp_flows_[*flow] = now.instant;
    return FlowDatagram{.flow = *flow, .payload = *payload};
  }
  return std::nullopt;
}

std::optional<std::size_t> ConnectorNode::send_datagram(FlowKey flow,
                                                        std::span<const std::byte> payload,
                                                        const Now& now) {
  const auto stream = flows_.stream_of(flow);
  if (!stream) return std::nullopt;
  udp_flows_[flow] = now.instant;
  return send_udp_payload(link_.endpoint(), *stream, payload, datagram_, now.instant);
}

void ConnectorNode::send_heartbeat(const Now& now) {
  wire::Json body = {{"version", config_.link.controller.version},
                     {"relays", wire::Json::array()},
                     {"round_trips_ms", wire::Json::object()},
                     {"flows", open_flows_.size()},
                     {"draining", is_draining_}};
  for (const RelayId& relay : link_.relays().bound_relays()) {
    body["relays"].push_back(relay.text);
    if (const auto round_trip = link_.relays().round_trip(relay)) {
      body["round_trips_ms"][relay.text] =
          std::chrono::duration_cast<std::chrono::milliseconds>(*round_trip).count();
    }
  }
  // Without a session there is nobody to tell; the next one begins with a heartbeat.
  (void)link_.controller().call("POST", "/api/v1/node/heartbeat", wire::json_text(body), now);
}

void ConnectorNode::end_idle_flows(const Now& now) {
  if (!idle_check_at_ || now.instant < *idle_check_at_) return;
  for (const auto& [flow, last_used] : udp_flows_) {
    const bool is_idle = now.instant - last_used >= config_.udp_idle_timeout;
    // To the shell an idle flow ends like one that its client gave up.
    if (is_idle && open_flows_.contains(flow)) effects_.emplace_back(FlowAborted{flow});
  }
  idle_check_at_.reset();
  if (!udp_flows_.empty()) idle_check_at_ = now.instant + kIdleCheckInterval;
}

std::string ConnectorNode::path_of(const SocketAddress& remote) const {
  const auto relay = link_.relay_at(remote);
  return relay ? "relayed:" + relay->text : "direct";
}

void ConnectorNode::note(std::string_view message) {
  effects_.emplace_back(Notice{.level = NoticeLevel::info, .message = message, .fields = {}});
}

void ConnectorNode::warn(std::string_view message, std::string reason) {
  effects_.emplace_back(Notice{
      .level = NoticeLevel::warn, .message = message, .fields = {{"reason", std::move(reason)}}});
}

}  // namespace zt::node
