// SPDX-License-Identifier: Apache-2.0
// Random histories of the client: every flow comes out once, in time; grants go only where they
// belong; nothing is left over.

#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "zt/client/engine.h"

namespace zt::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

template <class Tag>
Id<Tag> id_of(std::uint64_t number) {
  SeededRandom random(number);
  return make_id<Tag>(random);
}

constexpr const char* kHosts[] = {"a.internal", "b.internal",
                                  "c.example"};    // The last is ours not.
constexpr std::uint16_t kPorts[] = {80, 443, 22};  // The last is not offered.

struct Issued {
  Authority target;
  Protocol protocol = Protocol::tcp;
  std::set<std::uint16_t> ports;
  std::set<ConnectorId> connectors;
  Instant expires;
  GrantId id;
};

struct ModelFlow {
  enum class State : std::uint8_t { waiting, asked, open, cut } state = State::waiting;
  Authority target;
  Protocol protocol = Protocol::tcp;
  Instant requested;
  PeerKey peer{};
};

struct ModelPeer {
  ConnectorId connector;
  bool is_ready = false;
  Duration round_trip{};
  // Since when the engine listens to it, and nothing has come.
  std::optional<Instant> listened_since;
};

struct ModelAsk {
  Authority target;
  Protocol protocol = Protocol::tcp;
};

class History {
 public:
  explicit History(std::uint64_t seed)
      : random_(seed), engine_random_(seed + 1), engine_(kLimits, kSelf(), engine_random_) {}

  void run() {
    for (int step = 0; step < 400; ++step) {
      act();
      drain();
    }
    // Everybody falls silent: what waits is decided by its deadline.
    pass(seconds(46) * 2);
    for (const auto& [key, flow] : flows_) {
      REQUIRE((flow.state == ModelFlow::State::open || flow.state == ModelFlow::State::cut));
    }
    while (!flows_.empty()) end_flow(flows_.begin()->first);
    handle(ControllerUp{});
    for (int i = 0; i < 40; ++i) pass(seconds(30));
    const Status status = engine_.status(now_);
    REQUIRE(status.flows_open + status.flows_waiting == 0);
    REQUIRE(status.grants.empty());
    REQUIRE(status.connectors.empty());
    REQUIRE_FALSE(engine_.next_deadline());
  }

 private:
  static constexpr Engine::Limits kLimits{.flows_max = 30,
                                          .flows_waiting_max = 20,
                                          .grants_max = 5,
                                          .denials_max = 3,
                                          .refusals_max = 2,
                                          .connectors_max = 3,
                                          .connectors_tried_max = 4};
  static Engine::Self kSelf() {
    return {.tenant = id_of<TenantIdTag>(1),
            .subject = {id_of<UserIdTag>(1).text},
            .device = id_of<DeviceIdTag>(1)};
  }

  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

  template <class Sequence>
  auto any_of(const Sequence& sequence) {
    return *std::next(std::begin(sequence),
                      static_cast<std::ptrdiff_t>(below(std::size(sequence))));
  }

  void handle(Engine::Input input) {
    engine_.handle(std::move(input), now_);
    drain();
  }

  void act() {
    may_cut_ = nullptr;
    switch (below(19)) {
      case 0:
        return view();
      case 1:
        return below(3) == 0 ? handle(ControllerDown{"gone"}) : handle(ControllerUp{});
      case 2:
        return relays();
      case 3:
      case 4:
      case 5:
        return answer_grant();
      case 6:
      case 7:
        return answer_connect();
      case 8:
      case 9:
        return answer_flow();
      case 10:
        if (!flows_.empty()) end_flow(any_of(flows_).first);
        return;
      case 11:
        return pass(milliseconds(below(below(5) == 0 ? 90'000 : 3'000)));
      case 12:
        return revoke();
      case 13:
        return hear();
      case 14:
        return pass(milliseconds(below(600)));
      case 15:
        return refuse_grant();
      default:
        return request();
    }
  }

  void view() {
    grant::NodeConfig config{.tenant = id_of<TenantIdTag>(1),
                             .node = {id_of<DeviceIdTag>(1).text},
                             .issued_at = now_.unix_time,
                             .revision = ++revision_,
                             .kind = grant::NodeConfig::Kind::snapshot,
                             .base = 0,
                             .upsert = {},
                             .remove = {}};
    visible_.clear();
    for (std::uint64_t i = 0; i < 2; ++i) {
      if (below(6) == 0) continue;
      visible_.insert(kHosts[i]);
      config.upsert.push_back({.id = id_of<ResourceIdTag>(i + 1),
                               .name = kHosts[i],
                               .network = id_of<NetworkIdTag>(1),
                               .address = kHosts[i],
                               .tcp = {{80, 80}, {443, 443}},
                               .udp = {{443, 443}},
                               .is_enabled = true,
                               .aliases = {}});
    }
    handle(ViewReceived{config});
  }

  void relays() {
    const auto relay = id_of<RelayIdTag>(1 + below(2));
    if (below(3) == 0) {
      handle(RelayLost{relay});
    } else {
      handle(RelayAvailable{relay, "relay", round_trip()});
    }
  }

  void request() {
    const auto key = FlowKey(++last_flow_);
    const Authority target{*parse_host(any_of(kHosts)), any_of(kPorts)};
    const Protocol protocol = below(4) == 0 ? Protocol::udp : Protocol::tcp;
    flows_.emplace(key,
                   ModelFlow{.target = target, .protocol = protocol, .requested = now_.instant});
    handle(FlowRequested{key, target, protocol});
  }

  void answer_grant() {
    if (asks_.empty()) return;
    const auto [request, ask] = any_of(asks_);
    asks_.erase(request);
    const std::uint64_t kind = below(8);
    if (kind == 0) {
      may_cut_ = [denied = ask](const ModelFlow& flow) {
        return flow.target == denied.target && flow.protocol == denied.protocol;
      };
      return handle(GrantAnswered{request, GrantDenied{403, "denied", "", {}}});
    }
    if (kind == 1) return handle(GrantAnswered{request, GrantUnavailable{"503"}});
    const std::uint64_t number = ++last_token_;
    const auto lifetime = seconds(5 + below(120));
    Issued issued{.target = ask.target,
                  .protocol = ask.protocol,
                  .ports = {ask.target.port},
                  .connectors = {},
                  .expires = now_.instant + lifetime,
                  .id = id_of<GrantIdTag>(number + 1000)};
    GrantIssued answer{.token = Secret(std::to_string(number)),
                       .id = issued.id,
                       .lifetime = lifetime,
                       .expires = now_.unix_time + lifetime,
                       .decision = {},
                       .resource = id_of<ResourceIdTag>(1),
                       .resource_name = "r",
                       .ports = {},
                       .connectors = {}};
    if (below(2) == 0 && ask.target.port != 22) {  // A grant covers what was asked for.
      answer.ports = {{80, 80}, {443, 443}};
      issued.ports = {80, 443};
    }
    for (std::uint64_t i = below(4); i > 0; --i) {
      GrantedConnector connector{.id = id_of<ConnectorIdTag>(1 + below(4)),
                                 .name = "c",
                                 .certificate = {},
                                 .route = {},
                                 .relays = {}};
      if (below(5) != 0) connector.relays.push_back(id_of<RelayIdTag>(1));
      if (below(2) == 0) connector.relays.push_back(id_of<RelayIdTag>(2));
      issued.connectors.insert(connector.id);
      answer.connectors.push_back(connector);
    }
    issued_.emplace(std::to_string(number), issued);
    handle(GrantAnswered{request, std::move(answer)});
  }

  void answer_connect() {
    if (peers_.empty()) return;
    const PeerKey key = any_of(peers_).first;
    if (below(3) == 0) {
      for (const auto& [flow_key, flow] : flows_) {
        if (flow.state == ModelFlow::State::open && flow.peer == key)
          expected_cuts_.insert(flow_key);
      }
      peers_.erase(key);
      handle(ConnectorLost{key, "lost"});
      REQUIRE(expected_cuts_.empty());
      return;
    }
    ModelPeer& peer = peers_.find(key)->second;
    const Duration told = round_trip();
    if (!peer.is_ready) peer.round_trip = told;
    peer.is_ready = true;
    handle(ConnectorReady{key, told});
  }

  Duration round_trip() { return milliseconds(below(below(5) == 0 ? 3'000 : 200)); }

  // hear lets any connector be heard, asked for or not.
  void hear() {
    if (peers_.empty()) return;
    const PeerKey key = any_of(peers_).first;
    engine_.handle_timeout(now_);
    drain();
    const auto found = peers_.find(key);
    if (found == peers_.end()) return;
    ModelPeer& peer = found->second;
    const Duration told = round_trip();
    if (peer.listened_since) peer.round_trip = told;
    peer.listened_since.reset();
    handle(ConnectorHeard{key, told});
  }

  void answer_flow() {
    std::vector<FlowKey> asked;
    for (const auto& [key, flow] : flows_) {
      if (flow.state == ModelFlow::State::asked) asked.push_back(key);
    }
    if (asked.empty()) return;
    const FlowKey key = any_of(asked);
    FlowAnswered answer{.flow = key, .status = 200, .error = {}, .details = {}, .id = {}};
    switch (below(8)) {
      case 0:
        answer.status = 502;
        answer.error = wire::ProxyError::connection_refused;
        break;
      case 1:
        answer.status = 503;
        answer.error = wire::ProxyError::connection_limit_reached;
        break;
      case 2:
        answer.status = 403;
        answer.error = wire::ProxyError::http_request_denied;
        break;
      default:
        break;
    }
    // Whatever the engine does next with the flow, this question is answered.
    flows_.find(key)->second.state = ModelFlow::State::waiting;
    engine_.handle_timeout(now_);
    drain();
    if (!flows_.contains(key)) return;
    is_accepted_ = answer.status == 200 ? std::optional(key) : std::nullopt;
    handle(answer);
    REQUIRE_FALSE(is_accepted_);
  }

  void end_flow(FlowKey key) {
    flows_.erase(key);
    handle(FlowEnded{key, 1, 2, "finished"});
  }

  void revoke() {
    if (issued_.empty()) return;
    const Issued issued = any_of(issued_).second;
    revoked_.insert(issued.id);
    may_cut_ = [&issued](const ModelFlow& flow) {
      return flow.target.host == issued.target.host && flow.protocol == issued.protocol;
    };
    handle(GrantsRevoked{{issued.id}});
    may_cut_ = nullptr;
  }

  // refuse_grant lets a connector refuse what was presented to it, at any time.
  void refuse_grant() {
    if (presented_.empty()) return;
    const auto [peer, grant] = any_of(presented_);
    may_cut_ = [at = peer](const ModelFlow& flow) { return flow.peer == at; };
    handle(GrantRefused{.peer = peer, .grant = grant, .status = below(2) == 0 ? 403 : 503});
  }

  void pass(Duration duration) {
    // As a shell does: wake at each deadline.
    const Instant end = now_.instant + duration;
    while (engine_.next_deadline() && *engine_.next_deadline() <= end) {
      move_to(std::max(*engine_.next_deadline(), now_.instant));
      engine_.handle_timeout(now_);
      drain();
    }
    move_to(end);
    engine_.handle_timeout(now_);
    drain();
  }

  void move_to(Instant instant) {
    now_.unix_time += std::chrono::duration_cast<milliseconds>(instant - now_.instant);
    now_.instant = instant;
  }

  void drain() {
    while (auto output = engine_.poll_output()) check(*output);
    for (const auto& [key, flow] : flows_) {
      const bool is_set_up =
          flow.state == ModelFlow::State::open || flow.state == ModelFlow::State::cut;
      REQUIRE((is_set_up || now_.instant - flow.requested < kLimits.flow_timeout));
    }
  }

  void check(const Engine::Output& output) {
    if (const auto* ask = std::get_if<AskGrant>(&output)) {
      const bool is_renewal = std::ranges::any_of(flows_, [&](const auto& entry) {
        return entry.second.state == ModelFlow::State::open && entry.second.target == ask->target;
      });
      if (ask->target.port == 22 && !is_renewal) check_refused_ask();
      for (const auto& [request, other] : asks_) {
        REQUIRE_FALSE((other.target == ask->target && other.protocol == ask->protocol &&
                       now_.instant - asked_at_[request] < kLimits.grant_timeout));
      }
      asks_.emplace(ask->request, ModelAsk{ask->target, ask->protocol});
      asked_at_[ask->request] = now_.instant;
    } else if (const auto* connect = std::get_if<ConnectTo>(&output)) {
      REQUIRE(peers_.emplace(connect->peer, ModelPeer{connect->connector}).second);
      REQUIRE(peers_.size() <= kLimits.connectors_max);
    } else if (const auto* close = std::get_if<CloseConnector>(&output)) {
      REQUIRE(peers_.erase(close->peer) == 1);
    } else if (const auto* listen = std::get_if<ListenTo>(&output)) {
      ModelPeer& peer = peers_.at(listen->peer);
      REQUIRE(peer.is_ready);
      if (!peer.listened_since) peer.listened_since = now_.instant;
    } else if (const auto* open = std::get_if<OpenFlow>(&output)) {
      check_open(*open);
    } else if (const auto* abandon = std::get_if<AbandonFlow>(&output)) {
      check_abandon(flows_.at(abandon->flow));
    } else if (const auto* present = std::get_if<PresentGrant>(&output)) {
      REQUIRE(peers_.at(present->peer).is_ready);
      REQUIRE_FALSE(revoked_.contains(present->grant));
      presented_.emplace_back(present->peer, present->grant);
    } else if (const auto* ready = std::get_if<FlowReady>(&output)) {
      REQUIRE(is_accepted_ == ready->flow);
      is_accepted_.reset();
      flows_.at(ready->flow).state = ModelFlow::State::open;
    } else if (const auto* refused = std::get_if<FlowRefused>(&output)) {
      const ModelFlow& flow = flows_.at(refused->flow);
      REQUIRE(flow.state != ModelFlow::State::open);
      REQUIRE(flow.state != ModelFlow::State::cut);
      REQUIRE_FALSE(refused->outcome.text.empty());
      flows_.erase(refused->flow);
    } else if (const auto* cut = std::get_if<Cut>(&output)) {
      // Its connection is gone; or its right is, as somebody has just said.
      ModelFlow& flow = flows_.at(cut->flow);
      REQUIRE(flow.state == ModelFlow::State::open);
      REQUIRE((expected_cuts_.erase(cut->flow) == 1 || (may_cut_ && may_cut_(flow))));
      REQUIRE_FALSE(cut->reason.empty());
      flow.state = ModelFlow::State::cut;
    }
  }

  // check_abandon: what was asked is taken back from a connector that is gone or silent.
  void check_abandon(ModelFlow& flow) {
    REQUIRE(flow.state == ModelFlow::State::asked);
    flow.state = ModelFlow::State::waiting;
    const auto peer = peers_.find(flow.peer);
    if (peer == peers_.end()) return;
    const Duration round_trip = std::min(peer->second.round_trip, kLimits.round_trip_max);
    REQUIRE(peer->second.listened_since);
    REQUIRE(now_.instant - *peer->second.listened_since >= 2 * round_trip + kLimits.silence_margin);
  }

  // check_refused_ask: no resource offers port 22, so the view refuses it. The controller has the
  // last word at a limited rate: `refusals_max` in a window, thus twice that across two, and a
  // grant that no connector takes is fetched anew once.
  void check_refused_ask() {
    std::erase_if(refused_asks_,
                  [&](Instant asked) { return asked + kLimits.refusal_interval <= now_.instant; });
    refused_asks_.push_back(now_.instant);
    REQUIRE(refused_asks_.size() <= 2 * 2 * kLimits.refusals_max);
  }

  // check_open: a grant goes only to a connector that it names, for what it covers, while it lives.
  void check_open(const OpenFlow& open) {
    ModelFlow& flow = flows_.at(open.flow);
    REQUIRE(flow.state == ModelFlow::State::waiting);
    REQUIRE(flow.target == open.target);
    const ModelPeer& peer = peers_.at(open.peer);
    REQUIRE(peer.is_ready);
    const Issued& issued = issued_.at(std::string(open.token.reveal()));
    REQUIRE(issued.connectors.contains(peer.connector));
    REQUIRE(issued.target.host == open.target.host);
    REQUIRE(issued.protocol == open.protocol);
    REQUIRE(issued.ports.contains(open.target.port));
    REQUIRE(now_.instant < issued.expires);
    REQUIRE_FALSE(revoked_.contains(issued.id));
    flow.state = ModelFlow::State::asked;
    flow.peer = open.peer;
  }

  SeededRandom random_;
  SeededRandom engine_random_;
  Engine engine_;
  Now now_{Instant(std::chrono::hours(1)), from_unix_seconds(1'795'000'000)};
  std::uint64_t revision_ = 0;
  std::set<std::string> visible_;
  std::map<FlowKey, ModelFlow> flows_;
  std::map<PeerKey, ModelPeer> peers_;
  std::map<RequestKey, ModelAsk> asks_;
  std::map<RequestKey, Instant> asked_at_;
  std::vector<Instant> refused_asks_;
  std::map<std::string, Issued> issued_;
  std::set<GrantId> revoked_;
  std::set<FlowKey> expected_cuts_;
  std::function<bool(const ModelFlow& flow)> may_cut_;
  std::vector<std::pair<PeerKey, GrantId>> presented_;
  std::optional<FlowKey> is_accepted_;
  std::uint64_t last_flow_ = 0;
  std::uint64_t last_token_ = 0;
};

TEST_CASE("random histories decide every flow once and in time, and leave nothing behind") {
  for (std::uint64_t i = 0; i < 300; ++i) {
    INFO("seed " << Catch::getSeed() + i);
    History(Catch::getSeed() + i).run();
  }
}

TEST_CASE("histories that have found a fault once find none") {
  for (const std::uint64_t seed : {2443004727U}) {  // Two questions about one target at a time.
    INFO("seed " << seed);
    History(seed).run();
  }
}

}  // namespace
}  // namespace zt::client
