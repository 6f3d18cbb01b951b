// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/node_config.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"

namespace zt::grant {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::id;
using test::key_set;
using test::kNow;
using test::sign_raw;
using test::signing_key;

ResourceEntry resource(std::uint64_t number) {
  return {
      .id = id<ResourceIdTag>(number),
      .name = "Database \xC3\xA9",
      .network = id<NetworkIdTag>(1),
      .address = "*.db.internal",
      .tcp = {{5432, 5432}, {8000, 8100}},
      .udp = {},
      .is_enabled = true,
      .aliases = {"db.alias"},
  };
}

NodeConfig snapshot() {
  return {
      .tenant = id<TenantIdTag>(1),
      .node = {id<ConnectorIdTag>(1).text},
      .issued_at = kNow,
      .revision = 5,
      .kind = NodeConfig::Kind::snapshot,
      .base = 0,
      .upsert = {resource(1), resource(2)},
      .remove = {},
  };
}

NodeConfig delta() {
  NodeConfig config = snapshot();
  config.kind = NodeConfig::Kind::delta;
  config.revision = 6;
  config.base = 5;
  config.upsert = {resource(3)};
  config.remove = {id<ResourceIdTag>(1)};
  return config;
}

NodeConfigExpectations expectations() {
  return {.tenant = id<TenantIdTag>(1), .node = {id<ConnectorIdTag>(1).text}, .now = kNow};
}

std::string token_of(const NodeConfig& config) {
  return issue(config, signing_key('a')).value();
}

std::string header() {
  return R"({"alg":"EdDSA","kid":")" + thumbprint(signing_key('a').public_key()).to_text() +
         R"(","typ":"zt-config+jwt"})";
}

std::string resigned(const NodeConfig& config, std::string_view from, std::string_view to) {
  return sign_raw(header(), test::replaced(test::payload_of(token_of(config)), from, to),
                  signing_key('a'));
}

NodeConfigError error_of(std::string_view token,
                         const NodeConfigExpectations& expected = expectations()) {
  const auto result = verify(token, key_set(signing_key('a')), expected);
  REQUIRE_FALSE(result);
  return result.error();
}

TEST_CASE("snapshots and deltas survive their tokens") {
  const KeySet keys = key_set(signing_key('a'));
  NodeConfig config = snapshot();
  config.upsert[1].tcp = {};
  config.upsert[1].udp = {{1, 65535}};
  config.upsert[1].is_enabled = false;
  config.upsert[1].aliases.clear();
  CHECK(verify(token_of(config), keys, expectations()) == config);
  CHECK(verify(token_of(delta()), keys, expectations()) == delta());
}

TEST_CASE("a resource says exactly this") {
  NodeConfig config = snapshot();
  config.upsert = {resource(1)};
  CHECK(test::payload_of(token_of(config)) ==
        R"({"aud":")" + config.node.text + R"(","base":0,"iat":1800000000,"iss":")" +
            config.tenant.text + R"(","kind":"snapshot","remove":[],"rev":5,"upsert":[)" +
            R"({"address":"*.db.internal","aliases":["db.alias"],"enabled":true,"id":")" +
            config.upsert[0].id.text + "\",\"name\":\"Database \xC3\xA9\",\"network\":\"" +
            config.upsert[0].network.text + R"(","tcp":["5432","8000-8100"],"udp":"none"}]})");
}

TEST_CASE("a configuration is for one node of one tenant") {
  NodeConfigExpectations expected = expectations();
  expected.tenant = id<TenantIdTag>(2);
  CHECK(error_of(token_of(snapshot()), expected) == NodeConfigError::wrong_tenant);
  expected = expectations();
  expected.node = {id<ConnectorIdTag>(2).text};
  CHECK(error_of(token_of(snapshot()), expected) == NodeConfigError::wrong_audience);
}

TEST_CASE("a configuration may be issued up to the leeway ahead of our clock") {
  NodeConfigExpectations expected = expectations();
  expected.now = kNow - seconds(30);
  CHECK(verify(token_of(snapshot()), key_set(signing_key('a')), expected));
  expected.now -= milliseconds(1);
  CHECK(error_of(token_of(snapshot()), expected) == NodeConfigError::not_yet_valid);
}

TEST_CASE("a token that is no configuration is refused") {
  const std::string payload = test::payload_of(token_of(snapshot()));
  CHECK(error_of("") == NodeConfigError::malformed);
  CHECK(error_of(sign_jws("zt-grant+jwt", payload, signing_key('a'))) ==
        NodeConfigError::wrong_type);
  CHECK(error_of(sign_jws("zt-config+jwt", payload, signing_key('b'))) ==
        NodeConfigError::unknown_key);
  CHECK(error_of(sign_raw(header(), payload, signing_key('b'))) == NodeConfigError::bad_signature);
  CHECK(error_of(std::string(kNodeConfigSizeMax + 1, 'A')) == NodeConfigError::too_large);
}

TEST_CASE("a member that is missing, unknown or of the wrong form is refused") {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"base\"", "\"bass\""},
      {"\"udp\"", "\"icmp\""},
      {"{", R"({"only":1,)"},
      {R"({"address")", R"({"mfa":true,"address")"},
      {R"({"address")", R"({"address":"x","address")"},
      {"\"snapshot\"", "\"Snapshot\""},
      {"\"snapshot\"", "1"},
      {"\"base\":0", "\"base\":1"},
      {"\"base\":0", "\"base\":5"},
      {"\"rev\":5", "\"rev\":0"},
      {"\"rev\":5", "\"rev\":9007199254740992"},
      {"\"remove\":[]", "\"remove\":[\"" + id<ResourceIdTag>(9).text + "\"]"},
      {"\"remove\":[]", "\"remove\":{}"},
      {id<ResourceIdTag>(1).text, id<ResourceIdTag>(2).text},  // Twice the same.
      {id<ConnectorIdTag>(1).text, id<UserIdTag>(1).text},
      {"\"*.db.internal\"", "\"\""},
      {"\"*.db.internal\"", "\"db internal\""},
      {"\"*.db.internal\"", "\"db\\ninternal\""},
      {"\"*.db.internal\"", "\"d\xC3\xA9\""},
      {"\"db.alias\"", "1"},
      {"\"db.alias\"", "\"\""},
      {"\"none\"", "\"None\""},
      {"\"none\"", "[]"},
      {"\"none\"", "null"},
      {"\"none\"", "[\"1-65535\"]"},  // Spelt "all".
      {"\"none\"", "[53]"},
      {"\"enabled\":true", "\"enabled\":1"},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(error_of(resigned(snapshot(), from, to)) == NodeConfigError::malformed);
  }
}

TEST_CASE("a delta names no resource twice and goes forward") {
  NodeConfig config = delta();
  config.remove.push_back(config.upsert[0].id);
  CHECK(issue(config, signing_key('a')).error() == NodeConfigError::malformed);
  config = delta();
  config.base = config.revision;
  CHECK(issue(config, signing_key('a')).error() == NodeConfigError::malformed);
}

TEST_CASE("each list and text of a resource has a limit") {
  NodeConfig config = snapshot();
  ResourceEntry& entry = config.upsert[0];
  entry.name.assign(ResourceEntry::kNameSizeMax, 'n');
  entry.address.assign(ResourceEntry::kAddressSizeMax, 'a');
  entry.tcp.assign(ResourceEntry::kPortsMax, {1, 2});
  entry.aliases.assign(ResourceEntry::kAliasesMax, "alias");
  CHECK(issue(config, signing_key('a')));
  const auto refused = [&](auto&& change) {
    NodeConfig wish = config;
    change(wish.upsert[0]);
    return issue(wish, signing_key('a')) == std::unexpected(NodeConfigError::malformed);
  };
  CHECK(refused([](ResourceEntry& wish) { wish.name += 'n'; }));
  CHECK(refused([](ResourceEntry& wish) { wish.address += 'a'; }));
  CHECK(refused([](ResourceEntry& wish) { wish.tcp.push_back({1, 2}); }));
  CHECK(refused([](ResourceEntry& wish) { wish.aliases.emplace_back("alias"); }));
}

TEST_CASE("a configuration holds ten thousand resources and no more") {
  NodeConfig config = snapshot();
  config.upsert.clear();
  for (std::uint64_t i = 0; i < NodeConfig::kResourcesMax; ++i)
    config.upsert.push_back(resource(i));
  const auto token = issue(config, signing_key('a'));
  REQUIRE(token);
  CHECK(verify(*token, key_set(signing_key('a')), expectations()));
  config.upsert.push_back(resource(NodeConfig::kResourcesMax));
  CHECK(issue(config, signing_key('a')).error() == NodeConfigError::malformed);
}

TEST_CASE("only nodes have a node id") {
  CHECK(NodeId::parse(id<ConnectorIdTag>(1).text));
  CHECK(NodeId::parse(id<RelayIdTag>(1).text));
  CHECK(NodeId::parse(id<DeviceIdTag>(1).text));
  CHECK_FALSE(NodeId::parse(id<UserIdTag>(1).text));
  CHECK_FALSE(NodeId::parse("con_"));
  CHECK_FALSE(NodeId::parse(""));
}

TEST_CASE("a snapshot replaces what was there") {
  ResourceTable table;
  CHECK(apply(table, snapshot()) == Applied::changed);
  CHECK(table.revision == 5);
  CHECK(table.resources.size() == 2);
  NodeConfig next = snapshot();
  next.revision = 9;
  next.upsert = {resource(3)};
  CHECK(apply(table, next) == Applied::changed);
  CHECK(table.resources.size() == 1);
  CHECK(table.resources.contains(id<ResourceIdTag>(3)));
}

TEST_CASE("a delta applies to the revision that it names and to no other") {
  ResourceTable table;
  CHECK(apply(table, delta()) == Applied::needs_snapshot);
  CHECK(table == ResourceTable{});
  REQUIRE(apply(table, snapshot()) == Applied::changed);
  CHECK(apply(table, delta()) == Applied::changed);
  CHECK(table.revision == 6);
  CHECK_FALSE(table.resources.contains(id<ResourceIdTag>(1)));
  CHECK(table.resources.contains(id<ResourceIdTag>(2)));
  CHECK(table.resources.contains(id<ResourceIdTag>(3)));
  const ResourceTable before = table;
  CHECK(apply(table, delta()) == Applied::needs_snapshot);
  CHECK(table == before);
}

TEST_CASE("an older configuration played back changes nothing") {
  ResourceTable table;
  REQUIRE(apply(table, snapshot()) == Applied::changed);
  const ResourceTable before = table;
  NodeConfig old = snapshot();
  old.upsert.clear();
  old.issued_at -= seconds(1);
  CHECK(apply(table, old) == Applied::stale);
  old = delta();
  old.issued_at -= seconds(1);
  CHECK(apply(table, old) == Applied::stale);
  CHECK(table == before);
}

TEST_CASE("a restored controller's lower revision is believed when it is issued later") {
  ResourceTable table;
  REQUIRE(apply(table, snapshot()) == Applied::changed);
  NodeConfig restored = snapshot();
  restored.revision = 2;
  restored.issued_at += seconds(1);
  CHECK(apply(table, restored) == Applied::changed);
  CHECK(table.revision == 2);
}

TEST_CASE("a delta never fills the table beyond its limit") {
  ResourceTable table;
  REQUIRE(apply(table, snapshot()) == Applied::changed);
  NodeConfig big = delta();
  big.remove.clear();
  big.upsert.clear();
  for (std::uint64_t i = 10; big.upsert.size() < NodeConfig::kResourcesMax - 1; ++i) {
    big.upsert.push_back(resource(i));
  }
  CHECK(apply(table, big) == Applied::needs_snapshot);
  CHECK(table.resources.size() == 2);
  big.upsert.pop_back();
  CHECK(apply(table, big) == Applied::changed);
  CHECK(table.resources.size() == NodeConfig::kResourcesMax);
}

TEST_CASE("a path rule has one spelling, and what is free has none") {
  const auto round_trip = [](const PathRule& rule) {
    NodeConfig config = snapshot();
    config.upsert[0].path = rule;
    const auto token = issue(config, signing_key('a'));
    if (!token) return false;
    const auto read = verify(*token, key_set(signing_key('a')), expectations());
    REQUIRE(read);
    CHECK(*read == config);
    return true;
  };
  const RelayId one = id<RelayIdTag>(1);
  const RelayId two = id<RelayIdTag>(2);
  const std::vector<RelayId> ordered = one < two ? std::vector{one, two} : std::vector{two, one};
  const std::vector<RelayId> reversed{ordered[1], ordered[0]};
  CHECK(round_trip({}));
  CHECK(round_trip({.paths = Paths::never_relay}));
  CHECK(round_trip({.paths = Paths::always_relay, .use = RelayUse::first, .relays = ordered}));
  CHECK(round_trip({.use = RelayUse::only, .relays = {}}));
  CHECK_FALSE(round_trip({.use = RelayUse::only, .relays = reversed}));
  CHECK_FALSE(round_trip({.use = RelayUse::only, .relays = {one, one}}));
  CHECK_FALSE(round_trip({.use = RelayUse::any, .relays = {one}}));
  CHECK_FALSE(round_trip({.use = RelayUse::only, .relays = {RelayId{"office"}}}));
}

}  // namespace
}  // namespace zt::grant
