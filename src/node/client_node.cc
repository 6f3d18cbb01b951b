// SPDX-License-Identifier: Apache-2.0
#include "node/client_node.h"

#include <utility>

#include "node/grant_answer.h"
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

// A check counts for as much silence, however late it comes.
constexpr Duration kSilenceCheckInterval = std::chrono::seconds(2);
// Between looks at what is unanswered while there is such.
constexpr Duration kAnswersCheckInterval = std::chrono::milliseconds(25);
// Above what a peer may keep an acknowledgment back; see watch_answers.
constexpr Duration kUnansweredMin = std::chrono::milliseconds(100);

// proxy_status_of returns what the connector says of itself, which is the first member; empty if it
// says nothing.
wire::ProxyStatus proxy_status_of(const http::Response& response) {
  const auto field = response.fields.find("proxy-status");
  auto members = field ? wire::parse_proxy_status(*field) : std::nullopt;
  return members && !members->empty() ? std::move(members->front()) : wire::ProxyStatus{};
}

}  // namespace

ClientNode::ClientNode(const Config& config, Credential credential, Random& random)
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

void ClientNode::start(const Now& now) {
  link_.start(now);
  take_link_events(now);
}

void ClientNode::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  link_.handle(datagrams, now);
  if (!listened_.empty()) hear(now);
}

void ClientNode::handle_timeout(const Now& now) {
  link_.handle_timeout(now);
  journal_.handle_timeout(now);
  if (!engine_) return;
  engine_->handle_timeout(now);
  take_engine_outputs(now);
  watch_answers(now);
  watch_silence(now);
}

std::optional<quic::Transmit> ClientNode::poll_transmit(std::span<std::byte> buffer,
                                                        const Now& now) {
  auto transmit = link_.poll_transmit(buffer, now);
  if (transmit && !answers_check_at_ && !open_flows_.empty()) {
    answers_check_at_ = now.instant + kAnswersCheckInterval;
  }
  return transmit;
}

std::optional<ClientNode::Effect> ClientNode::poll_effect(const Now& now) {
  if (effects_.empty()) take_link_events(now);
  // A flow is on record before it moves a byte.
  if (auto keep = journal_.poll_keep(now)) return *std::move(keep);
  if (auto notice = journal_.poll_notice()) return *std::move(notice);
  if (effects_.empty()) return std::nullopt;
  Effect effect = std::move(effects_.front());
  effects_.pop_front();
  return effect;
}

std::optional<Instant> ClientNode::next_deadline() const {
  auto deadline = earlier_of(link_.next_deadline(), journal_.next_deadline());
  if (engine_) deadline = earlier_of(deadline, engine_->next_deadline());
  return earlier_of(deadline, earlier_of(silence_check_at_, answers_check_at_));
}

ClientNode::FlowKey ClientNode::open_flow(const Authority& target, Protocol protocol,
                                          const Now& now) {
  const FlowKey flow{next_flow_++};
  if (!engine_) {
    effects_.emplace_back(FlowRefused{
        .flow = flow,
        .outcome = {.kind = client::Outcome::Kind::not_signed_in,
                    .text = "not signed in: the controller has not admitted this client yet"}});
    return flow;
  }
  engine_->handle(client::FlowRequested{.flow = flow, .target = target, .protocol = protocol}, now);
  take_engine_outputs(now);
  return flow;
}

void ClientNode::flow_ended(FlowKey flow, std::uint64_t bytes_up, std::uint64_t bytes_down,
                            std::string reason, const Now& now) {
  if (reason != "finished") flows_.abandon(flow, kStreamRequestCancelled);
  unpair(flow, now);
  open_flows_.erase(flow);
  link_.set_active(!open_flows_.empty(), now);
  answered_flows_.erase(flow);
  if (!engine_) return;
  engine_->handle(client::FlowEnded{.flow = flow,
                                    .bytes_up = bytes_up,
                                    .bytes_down = bytes_down,
                                    .reason = std::move(reason)},
                  now);
  take_engine_outputs(now);
}

void ClientNode::lookup_done(LookupKey key, const std::vector<IpAddress>& addresses,
                             bool /*is_name_absent*/, const Now& now) {
  (void)link_.lookup_done(key, addresses, now);  // A client looks up nothing for itself.
}

void ClientNode::take_link_events(const Now& now) {
  while (auto event = link_.poll_event(now)) take(*event, now);
}

void ClientNode::take_without_engine(Link::Event& event, const Now& now) {
  if (auto* told = std::get_if<Told>(&event)) {
    take_told(told->message, now);
  } else if (const auto* of_endpoint = std::get_if<quic::Event>(&event)) {
    take_endpoint_event(*of_endpoint, now);
  } else if (auto* admitted = std::get_if<Admitted>(&event)) {
    admission_ = std::move(admitted->admission);
    journal_.enter({.reporter = FlowReporter::client,
                    .subject = admission_->subject,
                    .device = admission_->device});
    take_keys(admission_->jwks);
    engine_.emplace(config_.engine,
                    client::Engine::Self{.tenant = admission_->tenant,
                                         .subject = admission_->subject,
                                         .subject_name = admission_->subject_name,
                                         .device = admission_->device},
                    random_);
    effects_.emplace_back(SignedIn{.subject = admission_->subject,
                                   .subject_name = admission_->subject_name,
                                   .device = admission_->device});
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
  }
}

void ClientNode::take(Link::Event& event, const Now& now) {
  take_without_engine(event, now);
  if (!engine_) return;
  if (std::holds_alternative<SessionUp>(event)) {
    journal_.session_up(now);
    engine_->handle(client::ControllerUp{}, now);
  } else if (const auto* down = std::get_if<SessionDown>(&event)) {
    journal_.session_down();
    engine_->handle(client::ControllerDown{down->reason}, now);
  } else if (const auto* bound = std::get_if<RelayBound>(&event)) {
    tell_relay(bound->relay, now);
  } else if (std::holds_alternative<HeartbeatDue>(event)) {
    for (const RelayId& relay : link_.relays().bound_relays()) tell_relay(relay, now);
  } else if (const auto* unbound = std::get_if<RelayUnbound>(&event)) {
    engine_->handle(client::RelayLost{unbound->relay}, now);
  } else if (const auto* draining = std::get_if<RelayDraining>(&event)) {
    engine_->handle(client::RelayDraining{draining->relay}, now);
  } else if (const auto* ending = std::get_if<PeerDraining>(&event)) {
    note_draining(ending->connection, now);
  } else if (const auto* change = std::get_if<PathChanged>(&event)) {
    take_path_change(*change, now);
  } else if (const auto* answered = std::get_if<CallAnswered>(&event)) {
    const auto found = grant_calls_.find(answered->call);
    if (found == grant_calls_.end()) {
      (void)journal_.take_answer(*answered, now);
    } else {
      engine_->handle(client::GrantAnswered{.request = found->second,
                                            .answer = parse_grant_answer(
                                                answered->status, answered->body, now.unix_time)},
                      now);
      grant_calls_.erase(found);
    }
  } else if (const auto* failed = std::get_if<CallFailed>(&event)) {
    const auto found = grant_calls_.find(failed->call);
    if (found == grant_calls_.end()) {
      (void)journal_.take_failure(*failed, now);
    } else {
      engine_->handle(
          client::GrantAnswered{
              .request = found->second,
              .answer = client::GrantUnavailable{std::string(http::to_text(failed->error))}},
          now);
      grant_calls_.erase(found);
    }
  }
  take_engine_outputs(now);
}

void ClientNode::take_path_change(const PathChanged& change, const Now& now) {
  const auto peer = peer_of(change.connection);
  if (!peer) return;
  engine_->handle(client::PathTaken{.peer = *peer, .is_direct = change.direct.has_value()}, now);
}

void ClientNode::tell_relay(const RelayId& relay, const Now& now) {
  const RelayPlace* place = link_.place_of(relay);
  const auto standing = link_.relays().standing(relay);
  engine_->handle(client::RelayAvailable{.relay = relay,
                                         .name = place != nullptr ? place->name : "",
                                         .round_trip = link_.relays().round_trip(relay).value_or(
                                             Duration::zero()),
                                         .load = place != nullptr ? place->load : 0,
                                         .is_draining = standing && standing->is_draining},
                  now);
}

void ClientNode::take_told(const WatchMessage& message, const Now& now) {
  if (!engine_) return;
  if (const auto* snapshot = std::get_if<WatchSnapshot>(&message)) {
    if (!snapshot->jwks.empty()) take_keys(snapshot->jwks);
    take_view(snapshot->config, now);
    if (!snapshot->revoked.empty()) engine_->handle(client::GrantsRevoked{snapshot->revoked}, now);
  } else if (const auto* delta = std::get_if<WatchDelta>(&message)) {
    take_view(delta->config, now);
  } else if (const auto* keys = std::get_if<WatchKeys>(&message)) {
    if (!keys->jwks.empty()) take_keys(keys->jwks);
  } else if (const auto* revoke = std::get_if<WatchRevoke>(&message)) {
    engine_->handle(client::GrantsRevoked{revoke->grants}, now);
  }
  take_engine_outputs(now);
}

// The keys arrive over the connection whose key is pinned; that is what vouches for them.
void ClientNode::take_keys(const std::string& jwks) {
  if (auto keys = grant::KeySet::parse(jwks)) {
    keys_ = std::move(*keys);
    return;
  }
  effects_.emplace_back(
      Notice{.level = NoticeLevel::warn, .message = "the tenant's keys are malformed"});
}

void ClientNode::take_view(const std::string& token, const Now& now) {
  auto view = grant::verify(
      token, keys_,
      grant::NodeConfigExpectations{
          .tenant = admission_->tenant, .node = {admission_->device.text}, .now = now.unix_time});
  if (!view) {
    link_.controller().set_refused(true, now);
    effects_.emplace_back(Notice{.level = NoticeLevel::warn,
                                 .message = "a list of resources was refused",
                                 .fields = {{"reason", std::string(to_text(view.error()))}}});
    return;
  }
  const std::uint64_t revision = view->revision;
  engine_->handle(client::ViewReceived{std::move(*view)}, now);
  // One that seems older than ours is of a controller whose clock was set back.
  link_.controller().set_refused(engine_->status(now).view_revision != revision, now);
  effects_.emplace_back(ViewChanged{});
}

void ClientNode::take_endpoint_event(const quic::Event& event, const Now& now) {
  if (!engine_) return;
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (const auto peer = peer_of(ready->connection)) {
      if (!silence_check_at_) silence_check_at_ = now.instant + kSilenceCheckInterval;
      engine_->handle(
          client::ConnectorReady{.peer = *peer, .round_trip = round_trip_of(ready->connection)},
          now);
    }
  } else if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    lose_connection(*closed, now);
  } else if (const auto* response = std::get_if<quic::ResponseReceived>(&event)) {
    take_response(*response, now);
  } else if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    const auto flow = flows_.flow_of(readable->stream);
    if (flow && open_flows_.contains(*flow)) {
      effects_.emplace_back(FlowReadable{*flow});
    } else if (!flow) {
      const quic::Readable bytes = link_.endpoint().readable(readable->stream);
      link_.endpoint().consume(readable->stream, bytes.bytes.size());  // Of a renewal's answer.
    }
  } else if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    if (const auto flow = flows_.flow_of(writable->stream)) {
      effects_.emplace_back(FlowWritable{*flow});
    }
  } else if (const auto* over = std::get_if<quic::StreamClosed>(&event)) {
    const auto flow = flows_.close(over->stream);
    if (flow && open_flows_.contains(*flow)) effects_.emplace_back(FlowReadable{*flow});
  } else if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    end_stream(reset->stream, "the connector abandoned the request", now);
  } else if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) {
    // A refused request is stopped too; its answer says more.
    const auto flow = flows_.flow_of(stopped->stream);
    if (flow && open_flows_.contains(*flow)) end_stream(stopped->stream, "stopped", now);
  }
  take_engine_outputs(now);
}

void ClientNode::lose_connection(const quic::ConnectionClosed& closed, const Now& now) {
  std::erase_if(presenting_,
                [&](const auto& entry) { return entry.first.connection == closed.connection; });
  const auto peer = peer_of(closed.connection);
  if (!peer) return;
  peers_.erase(*peer);
  std::string reason(quic::to_text(closed.reason));
  if (!closed.text.empty()) reason += " (" + closed.text + ")";
  engine_->handle(client::ConnectorLost{.peer = *peer, .reason = std::move(reason)}, now);
}

void ClientNode::take_response(const quic::ResponseReceived& received, const Now& now) {
  const bool is_accepted = received.response.status >= 200 && received.response.status < 300;
  if (auto presented = presenting_.extract(received.stream)) {
    if (is_accepted) return look_for_paths(received.stream, now);
    client::GrantRefused& refused = presented.mapped();
    refused.status = received.response.status;
    refused.details = proxy_status_of(received.response).details;
    engine_->handle(std::move(refused), now);
    return;
  }
  const auto flow = flows_.flow_of(received.stream);
  if (!flow || answered_flows_.contains(*flow)) return;
  answered_flows_.insert(*flow);
  const http::Response& response = received.response;
  client::FlowAnswered answered{.flow = *flow, .status = response.status};
  const wire::ProxyStatus proxy_status = proxy_status_of(response);
  answered.error = proxy_status.error;
  answered.details = proxy_status.details;
  if (response.fields.find(wire::kDrainingField)) note_draining(received.stream.connection, now);
  if (const auto id = response.fields.find(kFlowField)) answered.id = parse_id_as<FlowIdTag>(*id);
  if (is_accepted) look_for_paths(received.stream, now);
  engine_->handle(std::move(answered), now);
}

void ClientNode::note_draining(quic::ConnectionKey connection, const Now& now) {
  if (const auto peer = peer_of(connection)) {
    engine_->handle(client::ConnectorDraining{*peer}, now);
  }
}

// look_for_paths begins when the connector has accepted a grant: before, it tells no addresses.
// Where flows are always relayed the stream tells none at all, but that the connector is about to
// end.
void ClientNode::look_for_paths(const quic::StreamKey& stream, const Now& now) {
  const auto remote = link_.endpoint().remote_of(stream.connection);
  const auto peer = peer_of(stream.connection);
  if (!remote || !peer) return;
  link_.paths().open(stream.connection, *remote, peers_.find(*peer)->second.paths, now);
  link_.paths().set_active(stream.connection, true, now);
}

// end_stream ends a flow whose stream the far end abandoned: refused if it was not open yet.
void ClientNode::end_stream(const quic::StreamKey& stream, std::string_view why, const Now& now) {
  if (auto presented = presenting_.extract(stream)) {
    engine_->handle(std::move(presented.mapped()), now);
  }
  const auto flow = flows_.flow_of(stream);
  if (!flow) return;
  if (open_flows_.contains(*flow)) {
    effects_.emplace_back(FlowAborted{*flow});
  } else if (answered_flows_.insert(*flow).second) {
    engine_->handle(client::FlowAnswered{.flow = *flow, .status = 502, .details = std::string(why)},
                    now);
  }
}

// What carrying an output out told us at once is handed in when the engine is drained.
void ClientNode::take_engine_outputs(const Now& now) {
  for (;;) {
    while (auto output = engine_->poll_output()) take_output(*output, now);
    if (replies_.empty()) return;
    client::Engine::Input reply = std::move(replies_.front());
    replies_.pop_front();
    engine_->handle(std::move(reply), now);
  }
}

void ClientNode::take_output(client::Engine::Output& output, const Now& now) {
  if (const auto* ask = std::get_if<client::AskGrant>(&output)) {
    ask_grant(*ask, now);
  } else if (const auto* wanted = std::get_if<client::ConnectTo>(&output)) {
    connect_to(*wanted, now);
  } else if (const auto* bind = std::get_if<client::BindAt>(&output)) {
    link_.want_relays(bind->relays, now);
  } else if (const auto* rerouted = std::get_if<client::Reroute>(&output)) {
    reroute(*rerouted, now);
  } else if (const auto* close = std::get_if<client::CloseConnector>(&output)) {
    const auto found = peers_.find(close->peer);
    if (found == peers_.end()) return;
    if (found->second.connection) {
      link_.endpoint().close(*found->second.connection, kStreamNoError, "idle", now.instant);
    }
    peers_.erase(found);
  } else if (const auto* listen = std::get_if<client::ListenTo>(&output)) {
    listen_to(*listen);
  } else if (const auto* open = std::get_if<client::OpenFlow>(&output)) {
    open_stream(*open, now);
  } else if (const auto* abandon = std::get_if<client::AbandonFlow>(&output)) {
    flows_.abandon(abandon->flow, kStreamRequestCancelled);
    unpair(abandon->flow, now);
    answered_flows_.erase(abandon->flow);
  } else if (const auto* present = std::get_if<client::PresentGrant>(&output)) {
    present_grant(*present);
  } else if (const auto* ready = std::get_if<client::FlowReady>(&output)) {
    open_flows_.insert(ready->flow);
    link_.set_active(true, now);
    effects_.emplace_back(FlowReady{ready->flow});
  } else if (auto* refused = std::get_if<client::FlowRefused>(&output)) {
    flows_.abandon(refused->flow, kStreamRequestCancelled);
    unpair(refused->flow, now);
    answered_flows_.erase(refused->flow);
    effects_.emplace_back(
        FlowRefused{.flow = refused->flow, .outcome = std::move(refused->outcome)});
  } else if (auto* cut = std::get_if<client::Cut>(&output)) {
    effects_.emplace_back(FlowCut{.flow = cut->flow, .reason = std::move(cut->reason)});
  } else if (std::holds_alternative<client::SnapshotNeeded>(output)) {
    link_.controller().restart_watch(now);
  } else if (const auto* report = std::get_if<client::Report>(&output)) {
    journal_.add(report->report, now);
  }
}

void ClientNode::ask_grant(const client::AskGrant& ask, const Now& now) {
  const wire::Json body = {{"host", zt::to_text(ask.target.host)},
                           {"port", ask.target.port},
                           {"protocol", zt::to_text(ask.protocol)}};
  const auto call = link_.controller().call("POST", "/api/v1/grants", wire::json_text(body), now);
  if (call) {
    grant_calls_.emplace(*call, ask.request);
  } else {
    replies_.emplace_back(client::GrantAnswered{
        .request = ask.request,
        .answer = client::GrantUnavailable{"the controller cannot be reached"}});
  }
}

void ClientNode::connect_to(const client::ConnectTo& wanted, const Now& now) {
  const auto remote = link_.relays().bound_at(wanted.relay);
  if (remote) {
    const auto connection = link_.endpoint().connect(
        {.remote = *remote,
         .pin = {.kind = quic::PeerPin::Kind::certificate, .digest = wanted.certificate},
         .server_name = {},
         .peer_route = wanted.route},
        now.instant);
    if (connection) {
      peers_[wanted.peer] = {
          .connector = wanted.connector, .connection = *connection, .paths = wanted.paths};
      return;
    }
  }
  replies_.emplace_back(client::ConnectorLost{
      .peer = wanted.peer, .reason = remote ? "too many connections" : "not bound at the relay"});
}

void ClientNode::reroute(const client::Reroute& reroute, const Now& now) {
  const auto found = peers_.find(reroute.peer);
  const auto remote = link_.relays().bound_at(reroute.relay);
  if (found == peers_.end() || !found->second.connection || !remote) return;
  if (link_.paths().set_relay(*found->second.connection, *remote, now)) return;
  // If it does not work, the connection dies by its silence and the engine hears of that.
  (void)link_.endpoint().migrate(*found->second.connection, *remote, true, now.instant);
}

void ClientNode::listen_to(const client::ListenTo& wanted) {
  const auto found = peers_.find(wanted.peer);
  if (found == peers_.end() || !found->second.connection) return;
  const auto statistics = link_.endpoint().statistics(*found->second.connection);
  if (!statistics) return;  // It is gone, and the engine is about to hear of that.
  listened_.emplace(wanted.peer, statistics->packets_received);
  link_.endpoint().ping_every(*found->second.connection, wanted.ping_interval);
}

// hear tells the engine which of the connectors that it listens to have been heard.
void ClientNode::hear(const Now& now) {
  for (auto at = listened_.begin(); at != listened_.end();) {
    const auto [key, packets_received] = *at;
    const auto peer = peers_.find(key);
    if (peer == peers_.end() || !peer->second.connection) {
      at = listened_.erase(at);
      continue;
    }
    const quic::ConnectionKey connection = *peer->second.connection;
    const auto statistics = link_.endpoint().statistics(connection);
    if (!statistics || statistics->packets_received == packets_received) {
      ++at;
      continue;
    }
    at = listened_.erase(at);
    link_.endpoint().ping_every(connection, std::nullopt);
    engine_->handle(client::ConnectorHeard{.peer = key, .round_trip = statistics->rtt_smoothed},
                    now);
  }
  take_engine_outputs(now);
}

// watch_answers tells the engine of connectors that leave what flows have sent without an answer
// for one and a half round trips. Looks come one after the other while anything is under way; who
// is late for one has slept, or had other work, and knows nothing.
void ClientNode::watch_answers(const Now& now) {
  if (!answers_check_at_ || now.instant < *answers_check_at_) return;
  const bool is_late = now.instant - *answers_check_at_ > kAnswersCheckInterval;
  answers_check_at_.reset();
  for (auto& [key, peer] : peers_) {
    const auto statistics =
        peer.connection ? link_.endpoint().statistics(*peer.connection) : std::nullopt;
    if (!statistics || statistics->bytes_in_flight == 0) {
      peer.unanswered_since.reset();
      continue;
    }
    answers_check_at_ = now.instant + kAnswersCheckInterval;
    const bool is_answered = std::exchange(peer.packets_answered, statistics->packets_received) !=
                             statistics->packets_received;
    if (is_answered || is_late || !peer.unanswered_since) {
      peer.unanswered_since = now.instant;
    } else if (now.instant - *peer.unanswered_since >=
               std::max(kUnansweredMin, statistics->rtt_smoothed * 3 / 2)) {
      engine_->handle(client::ConnectorUnanswered{.peer = key, .since = *peer.unanswered_since},
                      now);
    }
  }
  take_engine_outputs(now);
}

// watch_silence gives up connectors that have died.
void ClientNode::watch_silence(const Now& now) {
  if (!silence_check_at_ || now.instant < *silence_check_at_) return;
  silence_check_at_.reset();
  const bool is_online = link_.is_online(now);
  std::vector<client::PeerKey> dead;
  for (auto& [key, peer] : peers_) {
    const auto statistics =
        peer.connection ? link_.endpoint().statistics(*peer.connection) : std::nullopt;
    if (!statistics) continue;
    silence_check_at_ = now.instant + kSilenceCheckInterval;
    if (std::exchange(peer.packets_received, statistics->packets_received) !=
        statistics->packets_received) {
      peer.silence = Duration::zero();
    } else if (is_online) {
      peer.silence += kSilenceCheckInterval;
    }
    if (peer.silence >= config_.silence_timeout) dead.push_back(key);
  }
  for (const client::PeerKey key : dead) {
    const auto found = peers_.find(key);
    link_.endpoint().close(*found->second.connection, kStreamNoError, "nothing was heard",
                           now.instant);
    peers_.erase(found);
    engine_->handle(client::ConnectorLost{.peer = key, .reason = "nothing is heard of it any more"},
                    now);
  }
  take_engine_outputs(now);
}

Duration ClientNode::round_trip_of(quic::ConnectionKey connection) const {
  const auto statistics = link_.endpoint().statistics(connection);
  return statistics ? statistics->rtt_smoothed : Duration::zero();
}

void ClientNode::open_stream(const client::OpenFlow& open, const Now& now) {
  const auto found = peers_.find(open.peer);
  http::Request request{.method = "CONNECT"};
  if (open.protocol == Protocol::tcp) {
    request.authority = open.target.to_text();
  } else {
    request.scheme = "https";
    request.authority = "zt-connector";
    request.path = wire::to_udp_path(open.target);
    request.protocol = std::string(kConnectUdpProtocol);
    request.fields.add("capsule-protocol", "?1");
  }
  request.fields.add("proxy-authorization", "Bearer " + std::string(open.token.reveal()), true);
  std::optional<quic::StreamKey> stream;
  auto error = quic::StreamError::gone;
  if (found != peers_.end() && found->second.connection) {
    const auto opened = link_.endpoint().open_request(*found->second.connection, request, false);
    if (opened) {
      stream = *opened;
    } else {
      error = opened.error();
    }
  }
  // A flow that another connector has refused is answered anew.
  unpair(open.flow, now);
  answered_flows_.erase(open.flow);
  if (stream) {
    flows_.pair(open.flow, *stream);
    link_.paths().set_active(stream->connection, true, now);
    return;
  }
  const bool is_gone = error == quic::StreamError::gone;
  replies_.emplace_back(
      client::FlowAnswered{.flow = open.flow,
                           .status = is_gone ? 502 : 503,
                           .error = is_gone ? wire::ProxyError::destination_unavailable
                                            : wire::ProxyError::connection_limit_reached,
                           .details = is_gone ? "the connection to the connector is gone"
                                              : "the connector takes no more flows"});
}

void ClientNode::unpair(FlowKey flow, const Now& now) {
  const auto stream = flows_.stream_of(flow);
  if (!stream) return;
  flows_.unpair(flow);
  link_.paths().set_active(stream->connection, flows_.is_used(stream->connection), now);
}

void ClientNode::present_grant(const client::PresentGrant& present) {
  const auto found = peers_.find(present.peer);
  if (found == peers_.end() || !found->second.connection) return;
  http::Request request{.method = "POST",
                        .scheme = "https",
                        .authority = "zt-connector",
                        .path = std::string(kGrantPath)};
  request.fields.add("proxy-authorization", "Bearer " + std::string(present.token.reveal()), true);
  const auto stream = link_.endpoint().open_request(*found->second.connection, request, true);
  client::GrantRefused refused{.peer = present.peer, .grant = present.grant, .status = 503};
  if (stream) {
    presenting_.emplace(*stream, std::move(refused));
  } else {
    replies_.emplace_back(std::move(refused));
  }
}

std::optional<client::PeerKey> ClientNode::peer_of(quic::ConnectionKey connection) const {
  for (const auto& [key, peer] : peers_) {
    if (peer.connection == connection) return key;
  }
  return std::nullopt;
}

std::optional<ClientNode::FlowDatagram> ClientNode::poll_datagram() {
  while (const auto received = link_.endpoint().poll_datagram()) {
    const auto flow = flows_.flow_of(received->stream);
    if (!flow || !open_flows_.contains(*flow)) continue;
    if (const auto payload = wire::parse_udp_datagram(received->payload)) {
      return FlowDatagram{.flow = *flow, .payload = *payload};
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> ClientNode::send_datagram(FlowKey flow,
                                                     std::span<const std::byte> payload,
                                                     const Now& now) {
  const auto stream = flows_.stream_of(flow);
  if (!stream) return std::nullopt;
  return send_udp_payload(link_.endpoint(), *stream, payload, datagram_, now.instant);
}

client::Status ClientNode::status(const Now& now) const {
  return engine_ ? engine_->status(now) : client::Status{};
}

std::optional<ClientNode::Path> ClientNode::path_to(client::PeerKey connector) const {
  const auto found = peers_.find(connector);
  if (found == peers_.end() || !found->second.connection) return std::nullopt;
  return path_of_connection(*found->second.connection);
}

std::vector<path::PairStatus> ClientNode::pairs_to(client::PeerKey connector,
                                                   const Now& now) const {
  const auto found = peers_.find(connector);
  if (found == peers_.end() || !found->second.connection) return {};
  return link_.paths().status(*found->second.connection, now);
}

std::optional<ClientNode::Path> ClientNode::path_of(FlowKey flow) const {
  const auto stream = flows_.stream_of(flow);
  return stream ? path_of_connection(stream->connection) : std::nullopt;
}

std::optional<ClientNode::Path> ClientNode::path_of_connection(
    quic::ConnectionKey connection) const {
  const auto remote = link_.endpoint().remote_of(connection);
  const auto statistics = link_.endpoint().statistics(connection);
  if (!remote || !statistics) return std::nullopt;
  Path path{
      .text = "direct", .remote = *remote, .connection = connection, .statistics = *statistics};
  if (const auto relay = link_.relay_at(*remote)) {
    path.text = "relayed:" + relay->text;
    const auto standing = link_.relays().standing(*relay);
    path.is_over_tcp = standing && standing->is_over_tcp;
  }
  if (const auto peer = peer_of(connection)) path.rule = peers_.find(*peer)->second.paths;
  return path;
}

}  // namespace zt::node
