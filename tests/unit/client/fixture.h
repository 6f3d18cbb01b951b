// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client engine with a view, a relay and a controller, and what came out of it.

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "zt/client/engine.h"

namespace zt::client {

template <class Tag>
Id<Tag> id_of(std::uint64_t number) {
  SeededRandom random(number);
  return make_id<Tag>(random);
}

struct Fixture {
  static constexpr std::uint32_t kWeights[] = {0, 1'000'000'000, 1'000'000, 1'000};
  static constexpr Duration kRoundTrip = std::chrono::milliseconds(50);
  // kPatience is how long a connector may say nothing: two round trips and the margin.
  static constexpr Duration kPatience = std::chrono::milliseconds(500);

  explicit Fixture(const Engine::Limits& limits = {}) : engine(limits, self, random) {
    handle(ViewReceived{snapshot({resource_of("db.internal", "Database")})});
    handle(ControllerUp{});
    handle(RelayAvailable{relay(1), "relay-1", kRoundTrip});
    REQUIRE(take_all().empty());
  }

  void handle(Engine::Input input) { engine.handle(std::move(input), now); }

  void advance(Duration passed) {
    now.instant += passed;
    now.unix_time += std::chrono::duration_cast<std::chrono::milliseconds>(passed);
    engine.handle_timeout(now);
  }

  static RelayId relay(std::uint64_t number) { return id_of<RelayIdTag>(number); }
  static ConnectorId connector(std::uint64_t number) { return id_of<ConnectorIdTag>(number); }

  grant::ResourceEntry resource_of(std::string_view address, std::string_view name) const {
    return {.id = resource,
            .name = std::string(name),
            .network = id_of<NetworkIdTag>(1),
            .address = std::string(address),
            .tcp = {{5432, 5432}, {8000, 8100}},
            .udp = {{53, 53}},
            .is_enabled = true,
            .aliases = {"db.alias"}};
  }

  grant::NodeConfig snapshot(std::vector<grant::ResourceEntry> entries) {
    return {.tenant = self.tenant,
            .node = {self.device.text},
            .issued_at = now.unix_time,
            .revision = ++revision,
            .kind = grant::NodeConfig::Kind::snapshot,
            .base = 0,
            .upsert = std::move(entries),
            .remove = {}};
  }

  GrantedConnector connector_of(std::uint64_t number, std::vector<RelayId> relays) const {
    GrantedConnector result{.id = connector(number),
                            .name = "con-" + std::to_string(number),
                            .certificate = {},
                            .route = {},
                            .relays = std::move(relays),
                            // The lower the number, the sooner it is tried.
                            .weight = number < 4 ? kWeights[number] : 1};
    result.certificate.bytes[0] = static_cast<std::byte>(number);
    result.route.bytes[0] = static_cast<std::byte>(number);
    return result;
  }

  GrantIssued grant_of(std::uint64_t number = 1) const {
    return grant_of(number, {connector_of(1, {relay(1)})});
  }

  GrantIssued grant_of(std::uint64_t number, std::vector<GrantedConnector> connectors) const {
    return {.token = Secret("token-" + std::to_string(number)),
            .id = id_of<GrantIdTag>(number),
            .lifetime = std::chrono::minutes(5),
            .expires = now.unix_time + std::chrono::minutes(5),
            .decision = id_of<DecisionIdTag>(number),
            .resource = resource,
            .resource_name = "Database",
            .ports = {{53, 53}, {5432, 5432}, {8000, 8100}},
            .connectors = std::move(connectors)};
  }

  FlowKey request(std::string_view target = "db.internal:5432", Protocol protocol = Protocol::tcp) {
    const auto flow = FlowKey(++last_flow);
    handle(FlowRequested{flow, *Authority::parse(target), protocol});
    return flow;
  }

  // answer answers the one request for a grant that is out.
  void answer(GrantIssued issued) {
    const auto ask = take<AskGrant>();
    REQUIRE(ask);
    handle(GrantAnswered{ask->request, std::move(issued)});
  }

  // open brings a flow up to FlowReady, with the connections that this takes.
  FlowKey open(std::string_view target = "db.internal:5432") {
    const FlowKey flow = request(target);
    if (const auto ask = take<AskGrant>()) handle(GrantAnswered{ask->request, grant_of()});
    if (const auto connect = take<ConnectTo>()) ready(connect->peer);
    const auto out = take<OpenFlow>();
    REQUIRE(out);
    last_peer = out->peer;
    if (const auto listen = take<ListenTo>()) hear(listen->peer);
    handle(accepted(flow));
    REQUIRE(take<FlowReady>());
    take<Report>();
    return flow;
  }

  void ready(PeerKey peer) { handle(ConnectorReady{peer, kRoundTrip}); }
  void hear(PeerKey peer) { handle(ConnectorHeard{peer, kRoundTrip}); }

  static FlowAnswered accepted(FlowKey flow) {
    return {.flow = flow, .status = 200, .error = std::nullopt, .details = {}, .id = std::nullopt};
  }
  static FlowAnswered refused(FlowKey flow, int status, wire::ProxyError error,
                              std::string_view details) {
    return {.flow = flow,
            .status = status,
            .error = error,
            .details = std::string(details),
            .id = std::nullopt};
  }

  std::vector<Engine::Output> take_all() {
    collect();
    return std::exchange(outputs, {});
  }

  // take removes and returns the first output of its kind.
  template <class Kind>
  std::optional<Kind> take() {
    collect();
    for (auto at = outputs.begin(); at != outputs.end(); ++at) {
      if (auto* found = std::get_if<Kind>(&*at)) {
        std::optional<Kind> result = std::move(*found);
        outputs.erase(at);
        return result;
      }
    }
    return std::nullopt;
  }

  void collect() {
    while (auto output = engine.poll_output()) outputs.push_back(*std::move(output));
  }

  Engine::Self self{.tenant = id_of<TenantIdTag>(1),
                    .subject = {id_of<ServiceAccountIdTag>(1).text},
                    .subject_name = "ci",
                    .device = id_of<DeviceIdTag>(1)};
  ResourceId resource = id_of<ResourceIdTag>(1);
  SeededRandom random{1};
  Now now{Instant(std::chrono::hours(1)), from_unix_seconds(1'795'000'000)};
  std::uint64_t revision = 0;
  std::uint64_t last_flow = 0;
  PeerKey last_peer{};
  Engine engine;
  std::vector<Engine::Output> outputs;
};

}  // namespace zt::client
