// SPDX-License-Identifier: Apache-2.0
#pragma once
// A connector engine with a tenant around it: keys, a configuration, grants, and what came out.

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crypto/signing_key.h"
#include "zt/connector/engine.h"

namespace zt::connector {

template <class Tag>
Id<Tag> id_of(std::uint64_t number) {
  SeededRandom random(number);
  return make_id<Tag>(random);
}

inline Digest certificate_of(unsigned number) {
  Digest result;
  result.bytes[0] = static_cast<std::byte>(number);
  return result;
}

inline Host host_of(std::string_view text) {
  return *parse_host(text);
}

struct Fixture {
  explicit Fixture(const Engine::Limits& limits = {}) : engine(limits, self, random) {
    grant::KeySet keys;
    REQUIRE(keys.add(key.public_key()));
    handle(KeysReceived{keys});
    handle(ConfigurationReceived{snapshot({resource_of("db.internal")})});
    connect(1);
    REQUIRE(take_all().empty());
  }

  void handle(Engine::Input input) { engine.handle(std::move(input), now); }

  void advance(Duration passed) {
    now.instant += passed;
    now.unix_time += std::chrono::duration_cast<std::chrono::milliseconds>(passed);
    engine.handle_timeout(now);
  }

  // connect lets peer `number` come with certificate `number`.
  void connect(unsigned number) { handle(PeerConnected{PeerKey(number), certificate_of(number)}); }

  grant::ResourceEntry resource_of(std::string_view address) const {
    return {.id = resource,
            .name = "Database",
            .network = self.network,
            .address = std::string(address),
            .tcp = {{5432, 5432}, {8000, 8100}},
            .udp = {{53, 53}},
            .is_enabled = true,
            .aliases = {}};
  }

  grant::NodeConfig snapshot(std::vector<grant::ResourceEntry> entries) {
    return {.tenant = self.tenant,
            .node = {self.connector.text},
            .issued_at = now.unix_time,
            .revision = ++revision,
            .kind = grant::NodeConfig::Kind::snapshot,
            .base = 0,
            .upsert = std::move(entries),
            .remove = {}};
  }

  // grant_of is what the controller would give peer 1 for `host`.
  grant::Grant grant_of(std::string_view host, std::uint64_t number = 1) const {
    return {.tenant = self.tenant,
            .subject = {id_of<ServiceAccountIdTag>(1).text},
            .device = id_of<DeviceIdTag>(1),
            .network = self.network,
            .id = id_of<GrantIdTag>(number),
            .issued_at = now.unix_time,
            .not_before = now.unix_time,
            .expires_at = now.unix_time + std::chrono::minutes(5),
            .client_certificate = certificate_of(1),
            .policy_revision = 1,
            .decision = id_of<DecisionIdTag>(number),
            .resource = resource,
            .permissions = {{.hosts = {host_of(host)},
                             .protocols = {Protocol::tcp, Protocol::udp},
                             .ports = {{53, 53}, {5432, 5432}, {8000, 8100}}}}};
  }

  Secret signed_grant(const grant::Grant& grant) const {
    auto token = grant::issue(grant, key);
    REQUIRE(token);
    return *std::move(token);
  }

  FlowKey request(const grant::Grant& grant, std::string_view target,
                  Protocol protocol = Protocol::tcp, unsigned peer = 1) {
    return request(signed_grant(grant), target, protocol, peer);
  }

  FlowKey request(Secret token, std::string_view target, Protocol protocol = Protocol::tcp,
                  unsigned peer = 1) {
    const auto flow = FlowKey(++last_flow);
    handle(FlowRequested{.flow = flow,
                         .peer = PeerKey(peer),
                         .target = std::string(target),
                         .protocol = protocol,
                         .token = std::move(token),
                         .client_address = *SocketAddress::parse("192.0.2.1:4000"),
                         .path = "direct",
                         .relay = relay});
    return flow;
  }

  // open brings a flow to db.internal:5432 up to Accept.
  FlowKey open(std::string_view address = "10.0.0.5") {
    return open(grant_of("db.internal"), address);
  }
  FlowKey open(const grant::Grant& grant, std::string_view address = "10.0.0.5") {
    const FlowKey flow = request(grant, "db.internal:5432");
    resolve(flow, {address});
    handle(Dialed{flow, SocketAddress{*IpAddress::parse(address), 5432}});
    REQUIRE(take<Accept>());
    take_all();
    return flow;
  }

  void resolve(FlowKey flow, std::initializer_list<std::string_view> addresses) {
    std::vector<IpAddress> result;
    for (const std::string_view text : addresses) result.push_back(*IpAddress::parse(text));
    handle(Resolved{flow, result});
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
        Kind result = std::move(*found);
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
                    .network = id_of<NetworkIdTag>(1),
                    .connector = id_of<ConnectorIdTag>(1)};
  ResourceId resource = id_of<ResourceIdTag>(1);
  crypto::SigningKey key = crypto::SigningKey::create();
  SeededRandom random{1};
  Now now{Instant(std::chrono::hours(1)), from_unix_seconds(1'795'000'000)};
  std::uint64_t revision = 0;
  std::optional<RelayId> relay;  // Through which requests come.
  std::uint64_t last_flow = 0;
  Engine engine;
  std::vector<Engine::Output> outputs;
};

}  // namespace zt::connector
