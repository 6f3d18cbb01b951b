// SPDX-License-Identifier: Apache-2.0
// Watch streams: a snapshot, then what changes, and nothing that a fresh snapshot would not say.

#include <algorithm>

#include "controller/directory.h"
#include "world.h"

namespace zt::controller::test {
namespace {

struct Scene {
  World world;
  Door door{world};

  Held held_connector() {
    Held held(world.tenant, door.connector);
    held.certificate = door.kConnector;
    return held;
  }
  Held held_client() {
    Held held(world.tenant, door.signed_in.device);
    held.certificate = door.kClient;
    return held;
  }
};

bool has(const std::vector<std::string>& types, const std::string& type) {
  return std::ranges::find(types, type) != types.end();
}

TEST_CASE("a snapshot tells a connector its network and a client what it may reach") {
  Scene scene;
  const std::string hidden = scene.world.create(
      "resources",
      {{"name", "web"}, {"network", scene.door.network}, {"address", "web"}, {"tcp", "all"}});
  Held connector = scene.held_connector();
  connector.follow(scene.world, scene.world.watch(scene.door.kConnector));
  Held client = scene.held_client();
  client.follow(scene.world, scene.world.watch(scene.door.kClient));
  CHECK(connector.table.resources.size() == 2);
  REQUIRE(client.table.resources.size() == 1);
  const auto& entry = client.table.resources.begin()->second;
  CHECK(entry.id.text == scene.door.resource);
  CHECK(entry.address == "db.internal");
  CHECK(entry.tcp == std::vector<PortRange>{{5432, 5432}});
  CHECK(entry.udp.empty());
  CHECK(connector.route != client.route);
}

TEST_CASE("a change is told at once, and only to those whom it concerns") {
  Scene scene;
  Held client = scene.held_client();
  const auto stream = scene.world.watch(scene.door.kClient);
  client.follow(scene.world, stream);
  const json unrelated = {
      {"name", "web"}, {"network", scene.door.network}, {"address", "web"}, {"tcp", "all"}};
  const std::string web = scene.world.create("resources", unrelated);
  CHECK(scene.world.lines(stream).empty());
  scene.world.create("access-rules",
                     {{"name", "web"}, {"subjects", {scene.door.account}}, {"resources", {web}}});
  client.follow(scene.world, stream);
  CHECK(client.types.back() == "delta");
  CHECK(client.table.resources.contains(ResourceId{web}));
  REQUIRE(scene.world.admin("PATCH", "resources/" + web, {{"udp", {"53"}}}).status == 200);
  client.follow(scene.world, stream);
  CHECK(client.table.resources.at(ResourceId{web}).udp.size() == 1);
  REQUIRE(scene.world.admin("PATCH", "resources/" + web, {{"enabled", false}}).status == 200);
  client.follow(scene.world, stream);
  CHECK_FALSE(client.table.resources.contains(ResourceId{web}));
}

TEST_CASE("relays, rotated keys and renewed relay tokens are told") {
  Scene scene;
  World& world = scene.world;
  Held connector = scene.held_connector();
  const auto stream = world.watch(scene.door.kConnector);
  connector.follow(world, stream);
  CHECK(connector.relays.empty());
  const Reply token = world.admin("POST", "relay-tokens", {{"address", "r.example:443"}});
  const std::string relay = world.enrol(token.body.at("token"), "relay", certificate_of(9));
  connector.follow(world, stream);
  REQUIRE(connector.relays.size() == 1);
  CHECK(connector.relays[0].at("id") == relay);
  CHECK(connector.relays[0].at("certificate") == certificate_of(9).to_text());

  const std::size_t key_count = connector.keys.size();
  REQUIRE(world.admin("POST", "signing-keys/rotate").status == 201);
  connector.follow(world, stream);
  CHECK(connector.keys.size() == key_count + 1);

  connector.types.clear();
  world.advance(seconds(399));
  connector.follow(world, stream);
  CHECK_FALSE(has(connector.types, "relay_token"));
  world.advance(seconds(16));
  connector.follow(world, stream);
  CHECK(has(connector.types, "relay_token"));
}

TEST_CASE("a relay's load is told with the next ping, when its class is another") {
  Scene scene;
  World& world = scene.world;
  Held connector = scene.held_connector();
  const auto stream = world.watch(scene.door.kConnector);
  const Reply token = world.admin("POST", "relay-tokens", {{"address", "r.example:443"}});
  world.enrol(token.body.at("token"), "relay", certificate_of(9));
  const auto load_after = [&](int bindings) {
    const json body = {{"version", "1"}, {"bindings", bindings}};
    REQUIRE(world.node("POST", "/api/v1/node/heartbeat", body, certificate_of(9)).status == 204);
    connector.types.clear();
    world.advance(seconds(15));
    connector.follow(world, stream);
    return connector.relays.at(0).at("load").get<int>();
  };
  CHECK(load_after(63) == 0);
  CHECK(load_after(64) == 1);
  CHECK(has(connector.types, "relays"));
  CHECK(load_after(127) == 1);
  CHECK_FALSE(has(connector.types, "relays"));
  CHECK(load_after(128) == 2);
  CHECK(load_after(0) == 0);
}

TEST_CASE("the old signing key signs until the new one is active, and retires in the end") {
  Scene scene;
  World& world = scene.world;
  const auto signing = [&] {
    json kids = json::array();
    for (const json& key : json(world.admin("GET", "signing-keys").body.at("items"))) {
      kids.push_back({key.at("kid"), key.at("signing")});
    }
    return kids;
  };
  const json before = signing();
  REQUIRE(world.admin("POST", "signing-keys/rotate").status == 201);
  CHECK(signing().at(0) == before.at(0));
  world.advance(seconds(60));
  CHECK(signing().at(0).at(1) == false);
  CHECK(signing().at(1).at(1) == true);
  Held connector = scene.held_connector();
  connector.follow(world, world.watch(scene.door.kConnector));
  CHECK(connector.keys.size() == 2);
  const auto stream = world.watch(scene.door.kConnector);
  connector.follow(world, stream);
  world.advance(seconds(600 + 60));
  connector.follow(world, stream);
  CHECK(connector.keys.size() == 1);
  CHECK(world.send("GET", "/.well-known/jwks.json", nullptr, {}).body.at("keys").size() == 1);
}

TEST_CASE("a ping comes every fifteen seconds, and none without watchers") {
  Scene scene;
  World& world = scene.world;
  const auto stream = world.watch(scene.door.kConnector);
  (void)world.lines(stream);
  world.advance(seconds(15) - std::chrono::milliseconds(1));
  CHECK(world.lines(stream).empty());
  world.advance(std::chrono::milliseconds(1));
  REQUIRE(world.lines(stream).size() == 1);
  world.advance(seconds(30));
  CHECK(world.lines(stream).size() == 2);
  world.leave(stream);
  world.advance(seconds(60));
  CHECK(world.lines(stream).empty());
}

TEST_CASE("a node is told from where its packets come, and at once when that changes") {
  Scene scene;
  Held client = scene.held_client();
  const auto stream = scene.world.watch(scene.door.kClient);
  client.follow(scene.world, stream);
  CHECK(client.observed == std::vector<std::string>{As{}.address});
  scene.world.move(stream, "198.51.100.4:9000");
  client.follow(scene.world, stream);
  scene.world.move(stream, "[2001:db8::4]:9000");
  client.follow(scene.world, stream);
  CHECK(client.observed ==
        std::vector<std::string>{As{}.address, "198.51.100.4:9000", "[2001:db8::4]:9000"});
  scene.world.leave(stream);
  scene.world.move(stream, "198.51.100.4:9000");
  CHECK(scene.world.lines(stream).empty());
}

TEST_CASE("a relay is told whose tokens to believe") {
  World world;
  const Reply token = world.admin("POST", "relay-tokens", {{"address", "r.example:443"}});
  world.enrol(token.body.at("token"), "relay", certificate_of(9));
  const auto stream = world.watch(certificate_of(9));
  const auto lines = world.lines(stream);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1].at("type") == "observed");
  CHECK(lines[0].at("tenants").at(0).at("tenant") == world.tenant.text);
  CHECK_FALSE(lines[0].contains("config"));
  CHECK_FALSE(lines[0].contains("relay_token"));
  REQUIRE(world.admin("POST", "signing-keys/rotate").status == 201);
  const auto changed = world.lines(stream);
  REQUIRE(changed.size() == 1);
  CHECK(changed[0].at("tenants").at(0).at("jwks").at("keys").size() == 2);
}

TEST_CASE("a relay is told whom not to let in") {
  Scene scene;
  World& world = scene.world;
  const Reply token = world.admin("POST", "relay-tokens", {{"address", "r.example:443"}});
  world.enrol(token.body.at("token"), "relay", certificate_of(9));
  const auto stream = world.watch(certificate_of(9));
  CHECK(world.lines(stream).at(0).at("tenants").at(0).at("blocked").empty());
  const auto devices = world.admin("GET", "devices").body.at("items");
  const auto device = "devices/" + devices.at(0).at("id").get<std::string>();
  REQUIRE(world.admin("PATCH", device, {{"enabled", false}}).status == 200);
  const auto told = world.lines(stream);
  REQUIRE(told.size() == 1);
  CHECK(told[0].at("tenants").at(0).at("blocked") == json::array({scene.door.kClient.to_text()}));
  REQUIRE(world.admin("PATCH", device, {{"enabled", true}}).status == 200);
  CHECK(world.lines(stream).at(0).at("tenants").at(0).at("blocked").empty());
}

TEST_CASE("a node that comes back to what it holds goes on from there, otherwise it starts anew") {
  Scene scene;
  World& world = scene.world;
  Held client = scene.held_client();
  const auto first = world.watch(scene.door.kClient);
  client.follow(world, first);
  const auto revision = static_cast<std::int64_t>(client.table.revision);
  world.leave(first);
  SECTION("nothing changed") {
    const auto second = world.watch(scene.door.kClient, revision);
    client.types.clear();
    client.follow(world, second);
    CHECK(client.types == std::vector<std::string>{"jwks", "relays", "relay_token"});
    REQUIRE(world.admin("PATCH", "resources/" + scene.door.resource, {{"name", "new"}}).status ==
            200);
    client.follow(world, second);
    CHECK(client.table.resources.at(ResourceId{scene.door.resource}).name == "new");
  }
  SECTION("something changed") {
    REQUIRE(world.admin("DELETE", "access-rules/" + scene.door.rule).status == 204);
    client.follow(world, world.watch(scene.door.kClient, revision));
    CHECK(client.types.back() == "snapshot");
    CHECK(client.table.resources.empty());
  }
  SECTION("it claims another revision") {
    client.follow(world, world.watch(scene.door.kClient, revision + 1));
    CHECK(client.types.back() == "snapshot");
  }
  SECTION("the controller restarted") {
    world.restart();
    client.follow(world, world.watch(scene.door.kClient, revision));
    CHECK(client.types.back() == "snapshot");
  }
  SECTION("it was away for too long") {
    world.advance(std::chrono::minutes(6));
    const auto other = world.watch(scene.door.kConnector);
    world.advance(seconds(16));
    (void)world.lines(other);
    client.follow(world, world.watch(scene.door.kClient, revision));
    CHECK(client.types.back() == "snapshot");
  }
}

TEST_CASE("the newest stream of a node wins; too many nodes are refused") {
  Config config;
  config.limits.watchers_max = 2;
  World world({}, config);
  Door door(world);
  const auto first = world.watch(door.kConnector);
  const auto second = world.watch(door.kConnector);
  CHECK(world.ended.contains(first));
  CHECK_FALSE(world.ended.contains(second));
  const auto client = world.watch(door.kClient);
  world.enrol_connector(door.network, certificate_of(5));
  CHECK(world.node("GET", "/api/v1/node/watch", nullptr, certificate_of(5)).status == 503);
  world.leave(client);
  CHECK(world.node("GET", "/api/v1/node/watch", nullptr, certificate_of(5)).status == 200);
}

TEST_CASE("a rule's last day changes views by itself") {
  Scene scene;
  World& world = scene.world;
  const std::string until = to_rfc3339(world.now.unix_time + seconds(90));
  REQUIRE(
      world.admin("PATCH", "access-rules/" + scene.door.rule, {{"valid_until", until}}).status ==
      200);
  Held client = scene.held_client();
  const auto stream = world.watch(scene.door.kClient);
  world.advance(seconds(90) - std::chrono::milliseconds(1));
  client.follow(world, stream);
  CHECK(client.table.resources.size() == 1);
  world.advance(std::chrono::milliseconds(1));
  client.follow(world, stream);
  CHECK(client.table.resources.empty());
}

// --- Deltas against snapshots, over random histories.

// Editor makes random changes of everything that may change a view.
class Editor {
 public:
  Editor(World& world, std::uint64_t seed) : world_(world), random_(seed) {}

  void step() {
    switch (random_.below(12)) {
      case 0:
        return add("networks", {{"name", name()}}, networks);
      case 1:
      case 2:
        return add_resource();
      case 3:
        return add("groups", {{"name", name()}}, groups);
      case 4:
      case 5:
        return add_rule();
      case 6:
        return edit(resources, "resources", {{"enabled", random_.below(2) == 0}});
      case 7:
        return edit(rules, "access-rules", {{"enabled", random_.below(2) == 0}});
      case 8:
        return edit(resources, "resources", {{"name", name()}, {"udp", {"53"}}});
      case 9:
        return edit(rules, "access-rules", {{"effect", random_.below(3) == 0 ? "deny" : "allow"}});
      case 10:
        return random_.below(2) == 0 ? remove(rules, "access-rules")
                                     : remove(resources, "resources");
      default:
        return toggle_member();
    }
  }

  std::vector<std::string> networks;
  std::vector<std::string> resources;
  std::vector<std::string> groups;
  std::vector<std::string> rules;
  std::string account;

 private:
  std::string name() { return "n" + std::to_string(++names_); }
  const std::string& any(const std::vector<std::string>& list) {
    return list[random_.below(list.size())];
  }
  void add(const char* kind, const json& body, std::vector<std::string>& list) {
    list.push_back(world_.create(kind, body));
  }
  void add_resource() {
    if (networks.empty()) return;
    add("resources",
        {{"name", name()},
         {"network", any(networks)},
         {"address", "h" + std::to_string(random_.below(5))},
         {"tcp", {"80"}}},
        resources);
  }
  void add_rule() {
    if (resources.empty() || groups.empty()) return;
    json subjects = json::array({random_.below(2) == 0 ? any(groups) : account});
    add("access-rules", {{"name", name()}, {"subjects", subjects}, {"resources", {any(resources)}}},
        rules);
  }
  void edit(const std::vector<std::string>& list, const std::string& kind, const json& change) {
    if (list.empty()) return;
    const Reply reply = world_.admin("PATCH", kind + "/" + any(list), change);
    INFO(reply.text);
    REQUIRE(reply.status == 200);
  }
  void remove(std::vector<std::string>& list, const std::string& kind) {
    if (list.empty()) return;
    const std::string id = any(list);
    const int status = world_.admin("DELETE", kind + "/" + id).status;
    REQUIRE((status == 204 || status == 409));
    if (status == 204) std::erase(list, id);
  }
  void toggle_member() {
    if (groups.empty()) return;
    const std::string path = "groups/" + any(groups) + "/members/" + account;
    if (random_.below(2) == 0) {
      REQUIRE(world_.admin("PUT", path).status == 204);
    } else {
      const int status = world_.admin("DELETE", path).status;
      REQUIRE((status == 204 || status == 404));
    }
  }

  World& world_;
  SeededRandom random_;
  int names_ = 0;
};

TEST_CASE("replaying deltas gives what a fresh snapshot gives, after any history") {
  const std::uint64_t seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{11}));
  INFO("seed " << seed);
  Scene scene;
  World& world = scene.world;
  Editor editor(world, seed);
  editor.networks = {scene.door.network};
  editor.resources = {scene.door.resource};
  editor.groups = {scene.door.group};
  editor.rules = {scene.door.rule};
  editor.account = scene.door.account;
  Held client = scene.held_client();
  Held connector = scene.held_connector();
  auto client_stream = world.watch(scene.door.kClient);
  const auto connector_stream = world.watch(scene.door.kConnector);
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 5; ++i) editor.step();
    if (round % 4 == 3) {  // Away for a while, back with what it holds.
      client.follow(world, client_stream);
      world.leave(client_stream);
      if (round % 8 == 3) editor.step();
      client_stream =
          world.watch(scene.door.kClient, static_cast<std::int64_t>(client.table.revision));
    }
    client.follow(world, client_stream);
    connector.follow(world, connector_stream);

    const TenantId& tenant = world.tenant;
    auto directory = Directory::load(*world.store, tenant, world.now.unix_time);
    REQUIRE(directory.has_value());
    CHECK(client.table.resources == directory->subject_view(SubjectId{scene.door.account}));
    CHECK(connector.table.resources == directory->network_view(NetworkId{scene.door.network}));
  }
}

TEST_CASE("both ends are told a path rule, and told when it changes") {
  Scene scene;
  World& world = scene.world;
  const Reply token =
      world.admin("POST", "relay-tokens", {{"region", "eu"}, {"address", "r.example:443"}});
  const std::string home = world.enrol(token.body.at("token"), "relay", certificate_of(9));
  Held connector = scene.held_connector();
  const auto stream = world.watch(scene.door.kConnector);
  connector.follow(world, stream);
  const std::string network = "networks/" + scene.door.network;
  const auto rule = [&] {
    connector.follow(world, stream);
    for (const auto& [id, entry] : connector.table.resources) return entry.path;
    return PathRule{};
  };
  CHECK(rule() == PathRule{});
  REQUIRE(world.admin("PATCH", network, {{"path", {{"paths", "never-relay"}, {"regions", {"eu"}}}}})
              .status == 200);
  CHECK(rule() ==
        PathRule{.paths = Paths::never_relay, .use = RelayUse::only, .relays = {RelayId{home}}});
  REQUIRE(world.admin("PATCH", "relays/" + home, {{"region", "us"}}).status == 200);
  CHECK(rule() == PathRule{.paths = Paths::never_relay, .use = RelayUse::only, .relays = {}});
}

TEST_CASE("both ends are told a resource's own path rule in the place of its network's") {
  Scene scene;
  World& world = scene.world;
  const std::string web = world.create("resources", {{"name", "web"},
                                                     {"network", scene.door.network},
                                                     {"address", "web.internal"},
                                                     {"tcp", {"443"}}});
  world.create("access-rules",
               {{"name", "web"}, {"subjects", {scene.door.account}}, {"resources", {web}}});
  Held client = scene.held_client();
  Held connector = scene.held_connector();
  const auto client_stream = world.watch(scene.door.kClient);
  const auto connector_stream = world.watch(scene.door.kConnector);
  const ResourceId database{scene.door.resource};
  const ResourceId other{web};
  const auto set = [&](const std::string& path, const char* paths) {
    REQUIRE(world.admin("PATCH", path, {{"path", {{"paths", paths}}}}).status == 200);
    client.follow(world, client_stream);
    connector.follow(world, connector_stream);
    CHECK(client.table.resources == connector.table.resources);
  };
  const auto paths_of = [&](const ResourceId& resource) {
    return client.table.resources.at(resource).path.paths;
  };
  const std::string of_network = "networks/" + scene.door.network;
  const std::string of_database = "resources/" + scene.door.resource;

  set(of_network, "never-relay");
  set(of_database, "always-relay");
  CHECK(paths_of(database) == Paths::always_relay);
  CHECK(paths_of(other) == Paths::never_relay);
  set(of_network, "any");
  CHECK(paths_of(database) == Paths::always_relay);
  CHECK(paths_of(other) == Paths::any);
  set(of_network, "never-relay");
  set(of_database, "any");
  CHECK(paths_of(database) == Paths::any);
  set(of_database, "inherit");
  CHECK(paths_of(database) == Paths::never_relay);
}

TEST_CASE("who comes back is told a resource's own path rule in the place of its network's") {
  Scene scene;
  World& world = scene.world;
  const auto set = [&](const std::string& path, const char* paths) {
    REQUIRE(world.admin("PATCH", path, {{"path", {{"paths", paths}}}}).status == 200);
  };
  set("networks/" + scene.door.network, "never-relay");
  set("resources/" + scene.door.resource, "always-relay");
  Held client = scene.held_client();
  Held connector = scene.held_connector();
  client.follow(world, world.watch(scene.door.kClient));
  connector.follow(world, world.watch(scene.door.kConnector));
  const ResourceId database{scene.door.resource};
  CHECK(client.table.resources.at(database).path.paths == Paths::always_relay);
  CHECK(connector.table.resources.at(database).path.paths == Paths::always_relay);
}

}  // namespace
}  // namespace zt::controller::test
