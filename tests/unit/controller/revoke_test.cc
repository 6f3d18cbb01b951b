// SPDX-License-Identifier: Apache-2.0
// Revocation: every way to take a right away reaches the connectors at once.

#include <functional>

#include "world.h"

namespace zt::controller::test {
namespace {

struct Scene {
  explicit Scene(const store::SqliteOptions& options = {}) : world(options) {
    stream = world.watch(door.kConnector);
    held.certificate = door.kConnector;
    held.follow(world, stream);
    const Reply reply = world.ask(door.kClient, "db.internal", 5432);
    REQUIRE(reply.status == 201);
    grant = reply.body.at("grant_id");
  }
  World world;
  Door door{world};
  http::ExchangeKey stream{};
  Held held{world.tenant, door.connector};
  std::string grant;
};

struct Way {
  const char* name;
  std::function<Reply(Scene&)> take;
  int status;
};

const std::vector<Way>& ways() {
  static const std::vector<Way> kWays{
      {"the rule is removed",
       [](Scene& s) { return s.world.admin("DELETE", "access-rules/" + s.door.rule); }, 204},
      {"the rule is disabled",
       [](Scene& s) {
         return s.world.admin("PATCH", "access-rules/" + s.door.rule, {{"enabled", false}});
       },
       200},
      {"the rule is for another protocol",
       [](Scene& s) {
         return s.world.admin("PATCH", "access-rules/" + s.door.rule, {{"protocols", {"udp"}}});
       },
       200},
      {"the rule becomes a denial",
       [](Scene& s) {
         return s.world.admin("PATCH", "access-rules/" + s.door.rule, {{"effect", "deny"}});
       },
       200},
      {"a denial is added",
       [](Scene& s) {
         return s.world.admin("POST", "access-rules",
                              {{"name", "no"},
                               {"effect", "deny"},
                               {"subjects", {s.door.account}},
                               {"resources", {s.door.resource}}});
       },
       201},
      {"the account leaves the group",
       [](Scene& s) {
         return s.world.admin("DELETE", "groups/" + s.door.group + "/members/" + s.door.account);
       },
       204},
      {"the resource is disabled",
       [](Scene& s) {
         return s.world.admin("PATCH", "resources/" + s.door.resource, {{"enabled", false}});
       },
       200},
      {"the resource no longer offers the port",
       [](Scene& s) {
         return s.world.admin("PATCH", "resources/" + s.door.resource, {{"tcp", {"5433"}}});
       },
       200},
      {"the resource has another address",
       [](Scene& s) {
         return s.world.admin("PATCH", "resources/" + s.door.resource, {{"address", "other"}});
       },
       200},
      {"a narrower resource takes the host",
       [](Scene& s) {
         REQUIRE(s.world.admin("PATCH", "resources/" + s.door.resource, {{"address", "*.internal"}})
                     .status == 200);
         return s.world.admin("POST", "resources",
                              {{"name", "narrow"},
                               {"network", s.door.network},
                               {"address", "db.internal"},
                               {"tcp", "all"}});
       },
       201},
      {"the account is disabled",
       [](Scene& s) {
         return s.world.admin("PATCH", "service-accounts/" + s.door.account, {{"enabled", false}});
       },
       200},
      {"the account is removed",
       [](Scene& s) { return s.world.admin("DELETE", "service-accounts/" + s.door.account); }, 204},
      {"the key is revoked",
       [](Scene& s) {
         return s.world.admin(
             "DELETE", "service-accounts/" + s.door.account + "/keys/" + s.door.signed_in.key);
       },
       204},
      {"the device is disabled",
       [](Scene& s) {
         return s.world.admin("PATCH", "devices/" + s.door.signed_in.device, {{"enabled", false}});
       },
       200},
      {"the device is removed",
       [](Scene& s) { return s.world.admin("DELETE", "devices/" + s.door.signed_in.device); }, 204},
  };
  return kWays;
}

TEST_CASE("whatever takes the right away revokes the live grant at once") {
  const std::size_t index = GENERATE(range(std::size_t{0}, ways().size()));
  const Way& way = ways().at(index);
  INFO(way.name);
  Scene scene;
  const Reply reply = way.take(scene);
  INFO(reply.text);
  REQUIRE(reply.status == way.status);
  scene.held.types.clear();
  scene.held.follow(scene.world, scene.stream);
  CHECK(scene.held.revoked == std::set<std::string>{scene.grant});
  CHECK(scene.world.ask(scene.door.kClient, "db.internal", 5432).status != 201);
  const json audit = scene.world.admin("GET", "audit?action=grant.revoke").body.at("items");
  REQUIRE(audit.size() == 1);
  CHECK(audit[0].at("target") == scene.grant);
}

TEST_CASE("a change that takes nothing away revokes nothing") {
  Scene scene;
  World& world = scene.world;
  world.create("access-rules", {{"name", "second"},
                                {"subjects", {"everyone"}},
                                {"resources", {"everything"}},
                                {"ports", {"5432"}}});
  REQUIRE(world.admin("DELETE", "access-rules/" + scene.door.rule).status == 204);
  REQUIRE(world.admin("PATCH", "resources/" + scene.door.resource, {{"tcp", "all"}}).status == 200);
  REQUIRE(world.admin("DELETE", "connectors/" + scene.door.connector).status == 204);
  scene.held.follow(world, scene.stream);
  CHECK(scene.held.revoked.empty());
}

TEST_CASE("a connector that is away is told when it is back, until the grant has expired") {
  Scene scene;
  World& world = scene.world;
  world.leave(scene.stream);
  const auto revision = static_cast<std::int64_t>(scene.held.table.revision);
  REQUIRE(world.admin("DELETE", "access-rules/" + scene.door.rule).status == 204);
  const bool is_restarted = GENERATE(false, true);
  if (is_restarted) world.restart();
  scene.held.follow(world, world.watch(scene.door.kConnector, revision));
  CHECK(scene.held.revoked.contains(scene.grant));

  world.advance(seconds(300) - std::chrono::milliseconds(1));
  Held later(world.tenant, scene.door.connector);
  later.certificate = scene.door.kConnector;
  later.follow(world, world.watch(scene.door.kConnector));
  CHECK(later.revoked.contains(scene.grant));
  world.advance(std::chrono::milliseconds(1));
  Held last(world.tenant, scene.door.connector);
  last.certificate = scene.door.kConnector;
  last.follow(world, world.watch(scene.door.kConnector));
  CHECK(last.revoked.empty());
}

TEST_CASE("grants that were issued before a restart are revoked after it") {
  Scene scene;
  World& world = scene.world;
  world.restart();
  const auto stream = world.watch(scene.door.kConnector);
  scene.held.follow(world, stream);
  REQUIRE(world.admin("DELETE", "access-rules/" + scene.door.rule).status == 204);
  scene.held.follow(world, stream);
  CHECK(scene.held.revoked.contains(scene.grant));
}

TEST_CASE("a connector of another network hears nothing of it") {
  Scene scene;
  World& world = scene.world;
  const std::string home = world.create("networks", {{"name", "home"}});
  world.enrol_connector(home, certificate_of(7));
  const auto stream = world.watch(certificate_of(7));
  (void)world.lines(stream);
  REQUIRE(world.admin("DELETE", "access-rules/" + scene.door.rule).status == 204);
  CHECK(world.lines(stream).empty());
}

TEST_CASE("a connector that is disabled is emptied before its stream ends") {
  Scene scene;
  World& world = scene.world;
  const std::string path = "connectors/" + scene.door.connector;
  const bool is_removed = GENERATE(false, true);
  const Reply reply =
      is_removed ? world.admin("DELETE", path) : world.admin("PATCH", path, {{"enabled", false}});
  REQUIRE(reply.status == (is_removed ? 204 : 200));
  scene.held.follow(world, scene.stream);
  CHECK(scene.held.table.resources.empty());
  CHECK(world.ended.contains(scene.stream));
  CHECK(world.ask(scene.door.kClient, "db.internal", 5432).status == 503);
}

TEST_CASE("a client that is signed out is emptied before its stream ends") {
  Scene scene;
  World& world = scene.world;
  Held client(world.tenant, scene.door.signed_in.device);
  client.certificate = scene.door.kClient;
  const auto stream = world.watch(scene.door.kClient);
  client.follow(world, stream);
  CHECK(client.table.resources.size() == 1);
  REQUIRE(world
              .admin("DELETE",
                     "service-accounts/" + scene.door.account + "/keys/" + scene.door.signed_in.key)
              .status == 204);
  client.follow(world, stream);
  CHECK(client.table.resources.empty());
  CHECK(world.ended.contains(stream));
}

TEST_CASE("a key that expires signs its devices out by itself") {
  World world;
  Door door(world);
  const auto connector_stream = world.watch(door.kConnector);
  const std::string end = to_rfc3339(world.now.unix_time + seconds(100));
  const Reply made =
      world.admin("POST", "service-accounts/" + door.account + "/keys", {{"expires", end}});
  const auto file = grant::ServiceKey::parse(Secret(made.body.at("file").get<std::string>()));
  REQUIRE(file.has_value());
  const std::string secret(file->secret.reveal());
  REQUIRE(world.sign_in_with(file->id.text, secret, door.kClient).status == 201);
  const auto stream = world.watch(door.kClient);
  CHECK(world.ask(door.kClient, "db.internal", 5432).body.at("expires_in") == 100);
  world.advance(seconds(100) - std::chrono::milliseconds(1));
  CHECK_FALSE(world.ended.contains(stream));
  world.advance(std::chrono::milliseconds(1));
  CHECK(world.ended.contains(stream));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 401);
  (void)connector_stream;
}

}  // namespace
}  // namespace zt::controller::test
