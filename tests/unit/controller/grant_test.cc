// SPDX-License-Identifier: Apache-2.0
// Grants: who gets one, what it says, and what ends it.

#include <fmt/format.h>

#include "world.h"

namespace zt::controller::test {
namespace {

struct Scene {
  World world;
  Door door{world};
  http::ExchangeKey connector_stream = world.watch(door.kConnector);
};

TEST_CASE("a device that a rule allows gets a grant that its connector can verify") {
  Scene scene;
  const Reply reply = scene.world.ask(scene.door.kClient, "db.internal", 5432);
  INFO(reply.text);
  REQUIRE(reply.status == 201);
  Held held(scene.world.tenant, scene.door.connector);
  held.certificate = scene.door.kConnector;
  held.follow(scene.world, scene.connector_stream);
  const auto grant = grant::verify(reply.body.at("grant").get<std::string>(), held.keys,
                                   {.tenant = scene.world.tenant,
                                    .network = NetworkId{scene.door.network},
                                    .client_certificate = scene.door.kClient,
                                    .now = scene.world.now.unix_time});
  REQUIRE(grant.has_value());
  CHECK(grant->id.text == reply.body.at("grant_id").get<std::string>());
  CHECK(grant->subject.text == scene.door.account);
  CHECK(grant->device.text == scene.door.signed_in.device);
  CHECK(grant->resource.text == scene.door.resource);
  CHECK(grant::covers(*grant, *Authority::parse("db.internal:5432"), Protocol::tcp));
  CHECK_FALSE(grant::covers(*grant, *Authority::parse("db.internal:5433"), Protocol::tcp));
  CHECK(grant->expires_at == scene.world.now.unix_time + seconds(300));
  const json& connector = reply.body.at("connectors").at(0);
  CHECK(connector.at("id") == scene.door.connector);
  CHECK(connector.at("certificate") == scene.door.kConnector.to_text());
  CHECK(connector.at("route") == held.route);
  CHECK(connector.at("weight") == 100);
}

TEST_CASE("a denial names the rule, the decision and the reason, and is audited") {
  Scene scene;
  const std::string deny = scene.world.create("access-rules", {{"name", "not at night"},
                                                               {"effect", "deny"},
                                                               {"subjects", {"everyone"}},
                                                               {"resources", {"everything"}}});
  const Reply reply = scene.world.ask(scene.door.kClient, "db.internal", 5432);
  CHECK(reply.status == 403);
  CHECK(reply.fields.find("content-type") == "application/problem+json");
  CHECK(reply.body.at("rule") == deny);
  CHECK(reply.body.at("detail").get<std::string>().find("not at night") != std::string::npos);
  const json entry = scene.world.admin("GET", "audit?action=grant.deny").body.at("items").at(0);
  CHECK(entry.at("detail").at("decision") == reply.body.at("decision"));
  CHECK(entry.at("actor") == scene.door.signed_in.device);
}

TEST_CASE("a device cannot tell a resource that it may not know from none; the audit can",
          "[threat]") {
  Scene scene;
  World& world = scene.world;
  const std::string hidden = world.create("resources", {{"name", "ledger"},
                                                        {"network", scene.door.network},
                                                        {"address", "ledger.internal"},
                                                        {"tcp", {"443"}}});
  world.create("access-rules", {{"name", "nobody"},
                                {"effect", "deny"},
                                {"subjects", {"everyone"}},
                                {"resources", {hidden}}});
  const auto told = [&](const char* host, int port) {
    const Reply reply = world.ask(scene.door.kClient, host, port);
    CHECK(reply.status == 403);
    json body = reply.body;
    CHECK(body.contains("decision"));
    body.erase("decision");
    std::string text = body.dump();
    const std::size_t at = text.find(fmt::format("{}:{}", host, port));
    REQUIRE(at != std::string::npos);
    return text.replace(at, fmt::format("{}:{}", host, port).size(), "TARGET");
  };
  const std::string none = told("absent.internal", 443);
  CHECK(none.contains("access to TARGET (tcp); ask an administrator"));
  CHECK(told("ledger.internal", 443) == none);
  CHECK(told("ledger.internal", 22) == none);
  const json denials = world.admin("GET", "audit?action=grant.deny").body.at("items");
  REQUIRE(denials.size() == 3);
  CHECK(denials.at(0).at("detail").at("reason").get<std::string>().contains("does not offer"));
  CHECK(denials.at(1).at("detail").at("reason").get<std::string>().contains("\"nobody\" denies"));
  CHECK(denials.at(1).at("target") == hidden);
  CHECK(denials.at(2).at("detail").at("host") == "absent.internal");
  const json events = world.admin("GET", "events?event=denied").body.at("items");
  REQUIRE(events.size() == 3);
  for (std::size_t i = 0; i < events.size(); ++i) {
    CHECK(events.at(i).at("reason") == denials.at(i).at("detail").at("reason"));
    CHECK(events.at(i).at("decision") == denials.at(i).at("detail").at("decision"));
    CHECK(events.at(i).at("subject") == scene.door.account);
    CHECK(events.at(i).at("reporter") == "controller");
  }
  CHECK(events.at(2).at("target") == "absent.internal:443");
}

TEST_CASE("what a client's own view refused is completed with what the controller knows") {
  Scene scene;
  World& world = scene.world;
  const std::string hidden = world.create("resources", {{"name", "ledger"},
                                                        {"network", scene.door.network},
                                                        {"address", "ledger.internal"},
                                                        {"tcp", {"443"}}});
  const auto reported = [&](const char* flow, json event) {
    event["id"] = flow;
    event["event"] = "denied";
    event["time"] = to_rfc3339(world.now.unix_time);
    event["reason"] = "as the client says";
    REQUIRE(world.node("POST", "/api/v1/node/events", {{"events", {event}}}, scene.door.kClient)
                .status == 204);
    return world.admin("GET", std::string("events?flow=") + flow).body.at("items").at(0);
  };
  const json completed = reported("flo_00000000000000000000000001",
                                  {{"target", "ledger.internal:443"}, {"protocol", "tcp"}});
  CHECK(completed.at("resource") == hidden);
  CHECK(completed.at("subject") == scene.door.account);
  CHECK(completed.at("reason").get<std::string>().starts_with("denied: no rule allows"));
  const json absent = reported("flo_00000000000000000000000002",
                               {{"target", "absent.internal:443"}, {"protocol", "tcp"}});
  CHECK(absent.at("reason") == "denied: no resource has the address absent.internal");
  int number = 10;
  for (const json& odd : {json{{"target", "no target"}, {"protocol", "tcp"}},
                          json{{"target", "ledger.internal:443"}, {"protocol", "icmp"}},
                          json{{"target", "db.internal:5432"}, {"protocol", "tcp"}},
                          json{{"target", "ledger.internal:443"},
                               {"protocol", "tcp"},
                               {"grant", "gra_00000000000000000000000001"}}}) {
    INFO(odd.dump());
    const std::string flow = fmt::format("flo_000000000000000000000000{}", number++);
    CHECK(reported(flow.c_str(), odd).at("reason") == "as the client says");
  }
}

TEST_CASE("what is asked for decides the answer") {
  Scene scene;
  struct Case {
    const char* host;
    int port;
    const char* protocol;
    int status;
  };
  const Case row =
      GENERATE(Case{"db.internal", 5432, "tcp", 201}, Case{"DB.internal.", 5432, "tcp", 201},
               Case{"db.internal", 5432, "udp", 403}, Case{"db.internal", 5433, "tcp", 403},
               Case{"other.internal", 5432, "tcp", 403}, Case{"10.0.0.1", 5432, "tcp", 403},
               Case{"not a host", 5432, "tcp", 422}, Case{"db.internal", 0, "tcp", 422},
               Case{"db.internal", 65536, "tcp", 422}, Case{"db.internal", 5432, "icmp", 422});
  const Reply reply = scene.world.ask(scene.door.kClient, row.host, row.port, row.protocol);
  INFO(row.host << " " << row.port << " " << row.protocol << ": " << reply.text);
  CHECK(reply.status == row.status);
}

TEST_CASE("a grant ends with the rule that allows it, and not with a longer one") {
  Scene scene;
  const auto patch = [&](seconds after) {
    const std::string until = to_rfc3339(scene.world.now.unix_time + after);
    return scene.world.admin("PATCH", "access-rules/" + scene.door.rule, {{"valid_until", until}});
  };
  REQUIRE(patch(seconds(301)).status == 200);
  CHECK(scene.world.ask(scene.door.kClient, "db.internal", 5432).body.at("expires_in") == 300);
  REQUIRE(patch(seconds(299)).status == 200);
  CHECK(scene.world.ask(scene.door.kClient, "db.internal", 5432).body.at("expires_in") == 299);
  scene.world.advance(seconds(299));
  const Reply late = scene.world.ask(scene.door.kClient, "db.internal", 5432);
  CHECK(late.status == 403);
  CHECK(late.body.at("rule") == scene.door.rule);
}

TEST_CASE("without a connector that was heard of there is no grant") {
  World world;
  Door door(world);
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 503);
  REQUIRE(
      world.node("POST", "/api/v1/node/heartbeat", {{"version", "1"}}, door.kConnector).status ==
      204);
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
  world.advance(seconds(45) - std::chrono::milliseconds(1));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
  world.advance(std::chrono::milliseconds(1));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 503);
}

TEST_CASE("the least loaded connector comes first, and one that is away comes last") {
  Scene scene;
  World& world = scene.world;
  const Digest second_certificate = certificate_of(3);
  const Digest third_certificate = certificate_of(4);
  const std::string second = world.enrol_connector(scene.door.network, second_certificate);
  const std::string third = world.enrol_connector(scene.door.network, third_certificate);
  world.watch(second_certificate);
  const auto beat = [&](const Digest& certificate, int flows) {
    const json body = {{"version", "1"}, {"flows", flows}, {"future", true}};
    REQUIRE(world.node("POST", "/api/v1/node/heartbeat", body, certificate).status == 204);
  };
  beat(scene.door.kConnector, 9);
  beat(second_certificate, 4);
  const json list = world.ask(scene.door.kClient, "db.internal", 5432).body.at("connectors");
  REQUIRE(list.size() == 3);
  CHECK(list[0].at("id") == second);
  CHECK(list[0].at("weight") == 100);
  CHECK(list[1].at("id") == scene.door.connector);
  CHECK(list[1].at("weight") == 70);
  CHECK(list[2].at("id") == third);
  CHECK(list[2].at("weight") == 0);
}

TEST_CASE("a client hears how far the connector is from its relays") {
  Scene scene;
  World& world = scene.world;
  const Reply token = world.admin("POST", "relay-tokens", {{"address", "r.example:443"}});
  const std::string relay = world.enrol(token.body.at("token"), "relay", certificate_of(9));
  const auto told_after = [&](const json& round_trips) {
    const json body = {{"version", "1"}, {"relays", {relay}}, {"round_trips_ms", round_trips}};
    const Reply reply = world.node("POST", "/api/v1/node/heartbeat", body, scene.door.kConnector);
    REQUIRE(reply.status == 204);
    const Reply grant = world.ask(scene.door.kClient, "db.internal", 5432);
    const json connector = grant.body.at("connectors").at(0);
    CHECK(connector.at("relays") == json::array({relay}));
    return json(connector.at("round_trips_ms"));
  };
  CHECK(told_after({{relay, 12}, {"rly_other", 3}}) == json{{relay, 12}});
  CHECK(told_after({{relay, 1'000'000}}) == json{{relay, 60'000}});
  CHECK(told_after({{relay, "near"}}) == json::object());
  CHECK(told_after(json::object()) == json::object());
}

TEST_CASE("a connector that drains is given to nobody, until it says that it does not") {
  Scene scene;
  World& world = scene.world;
  const Digest second_certificate = certificate_of(3);
  const std::string second = world.enrol_connector(scene.door.network, second_certificate);
  world.watch(second_certificate);
  const auto beat = [&](const Digest& certificate, bool is_draining) {
    const json body = {{"version", "1"}, {"draining", is_draining}};
    REQUIRE(world.node("POST", "/api/v1/node/heartbeat", body, certificate).status == 204);
  };
  beat(scene.door.kConnector, true);
  const json list = world.ask(scene.door.kClient, "db.internal", 5432).body.at("connectors");
  REQUIRE(list.size() == 1);
  CHECK(list[0].at("id") == second);
  beat(second_certificate, true);
  CHECK(world.ask(scene.door.kClient, "db.internal", 5432).status == 503);
  beat(second_certificate, false);
  CHECK(world.ask(scene.door.kClient, "db.internal", 5432).status == 201);
  const json wrong = {{"version", "1"}, {"draining", "yes"}};
  CHECK(world.node("POST", "/api/v1/node/heartbeat", wrong, second_certificate).status == 422);
}

TEST_CASE("grants are limited per device, and live ones per tenant") {
  Config config;
  config.limits.grants_per_minute_max = 2;
  config.limits.live_grants_per_tenant_max = 3;
  World world({}, config);
  Door door(world);
  world.watch(door.kConnector);
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 429);
  world.advance(seconds(30));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
  world.advance(seconds(30));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 503);
  world.advance(seconds(300));
  CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
}

// Relays makes two relays, "home" in region "eu" and "away" in region "us".
struct Relays {
  explicit Relays(World& world) {
    const auto make = [&](const char* name, const char* region, std::uint8_t number) {
      const Reply token = world.admin(
          "POST", "relay-tokens",
          {{"name", name}, {"region", region}, {"address", std::string(name) + ".example:443"}});
      return world.enrol(token.body.at("token"), "relay", certificate_of(number));
    };
    home = make("home", "eu", 8);
    away = make("away", "us", 9);
  }
  std::string home;
  std::string away;
};

TEST_CASE("path rules are checked, and kept as they were given") {
  Scene scene;
  World& world = scene.world;
  const Relays relays(world);
  const std::string network = "networks/" + scene.door.network;
  const auto patch = [&](const std::string& path, const json& rule) {
    return world.admin("PATCH", path, {{"path", rule}});
  };
  CHECK(world.admin("GET", network).body.at("path") == json{{"paths", "any"},
                                                            {"relays", json::array()},
                                                            {"regions", json::array()},
                                                            {"own_first", false}});
  const Reply set = patch(network, {{"paths", "always-relay"},
                                    {"relays", {relays.home}},
                                    {"regions", {"us"}},
                                    {"own_first", true}});
  REQUIRE(set.status == 200);
  CHECK(set.body.at("path").at("paths") == "always-relay");
  CHECK(set.body.at("path").at("relays") == json::array({relays.home}));
  CHECK(set.body.at("path").at("own_first") == true);
  // It is replaced as a whole; a resource's may be its network's again.
  CHECK(patch(network, json::object()).body.at("path").at("relays") == json::array());
  const json db = world.admin("GET", "resources").body.at("items").at(0);
  const std::string resource = "resources/" + db.at("id").get<std::string>();
  CHECK(db.at("path") == json{{"paths", "inherit"}});
  CHECK(patch(resource, {{"paths", "never-relay"}}).body.at("path").at("paths") == "never-relay");
  CHECK(patch(resource, {{"paths", "inherit"}}).body.at("path") == json{{"paths", "inherit"}});

  const std::pair<json, const char*> wrong[] = {
      {{{"paths", "sometimes"}}, "path.paths"},
      {{{"paths", "inherit"}}, "path.paths"},
      {{{"relays", {"home"}}}, "path.relays"},
      {{{"relays", {"rly_00000000000000000000000000"}}}, "path.relays"},
      {{{"regions", {"mars"}}}, "path.regions"},
      {{{"regions", {""}}}, "path.regions"},
      {{{"own_first", true}}, "path.own_first"},
      {{{"color", "red"}}, "path.color"},
  };
  for (const auto& [rule, member] : wrong) {
    const Reply reply = patch(network, rule);
    INFO(rule.dump() << ": " << reply.text);
    CHECK((reply.status == 400 || reply.status == 422));
    CHECK(reply.text.find(member) != std::string::npos);
  }
  const Reply both = patch(resource, {{"paths", "inherit"}, {"regions", {"us"}}});
  CHECK(both.text.find("path.paths") != std::string::npos);
}

TEST_CASE("a relay that a path rule names is not deleted") {
  Scene scene;
  World& world = scene.world;
  const Relays relays(world);
  const std::string network = "networks/" + scene.door.network;
  REQUIRE(world.admin("PATCH", network, {{"path", {{"relays", {relays.home}}}}}).status == 200);
  const Reply refused = world.admin("DELETE", "relays/" + relays.home);
  CHECK(refused.status == 409);
  CHECK(refused.text.find("the path rule of network") != std::string::npos);
  CHECK(world.admin("DELETE", "relays/" + relays.away).status == 204);
}

TEST_CASE("a client is told only of relays that the path rule allows") {
  Scene scene;
  World& world = scene.world;
  const Relays relays(world);
  const json body = {{"version", "1"}, {"relays", {relays.home, relays.away}}};
  REQUIRE(world.node("POST", "/api/v1/node/heartbeat", body, scene.door.kConnector).status == 204);
  using Names = std::set<std::string>;
  const auto told = [&] {
    const Reply grant = world.ask(scene.door.kClient, "db.internal", 5432);
    Names names;
    for (const json& relay : grant.body.at("connectors").at(0).at("relays")) {
      names.insert(relay.get<std::string>());
    }
    return names;
  };
  const auto told_under = [&](const json& rule) {
    const std::string path = "networks/" + scene.door.network;
    REQUIRE(world.admin("PATCH", path, {{"path", rule}}).status == 200);
    return told();
  };
  CHECK(told_under(json::object()) == Names{relays.home, relays.away});
  CHECK(told_under({{"relays", {relays.away}}}) == Names{relays.away});
  CHECK(told_under({{"regions", {"eu"}}, {"own_first", true}}) == Names{relays.home, relays.away});
  CHECK(told_under({{"regions", {"eu"}}}) == Names{relays.home});
  // A region that has lost its relays allows none.
  REQUIRE(world.admin("PATCH", "relays/" + relays.home, {{"region", "asia"}}).status == 200);
  CHECK(told().empty());
}

TEST_CASE("a resource's own path rule, not its network's, says which relays a client is told of") {
  Scene scene;
  World& world = scene.world;
  const Relays relays(world);
  const json body = {{"version", "1"}, {"relays", {relays.home, relays.away}}};
  REQUIRE(world.node("POST", "/api/v1/node/heartbeat", body, scene.door.kConnector).status == 204);
  const std::string web = world.create("resources", {{"name", "web"},
                                                     {"network", scene.door.network},
                                                     {"address", "web.internal"},
                                                     {"tcp", {"443"}}});
  world.create("access-rules",
               {{"name", "web"}, {"subjects", {scene.door.account}}, {"resources", {web}}});
  const auto told_of = [&](const char* host, std::uint16_t port) {
    return world.ask(scene.door.kClient, host, port).body.at("connectors").at(0).at("relays");
  };
  const auto set = [&](const std::string& path, const json& rule) {
    REQUIRE(world.admin("PATCH", path, {{"path", rule}}).status == 200);
  };
  const std::string network = "networks/" + scene.door.network;
  const std::string database = "resources/" + scene.door.resource;
  const json home = json::array({relays.home});
  const json away = json::array({relays.away});

  set(network, {{"relays", away}});
  set(database, {{"regions", {"eu"}}});
  CHECK(told_of("db.internal", 5432) == home);
  CHECK(told_of("web.internal", 443) == away);
  // An own rule that allows everything is a rule, too.
  set(database, json::object());
  CHECK(told_of("db.internal", 5432).size() == 2);
  set(database, {{"paths", "inherit"}});
  CHECK(told_of("db.internal", 5432) == away);
}

}  // namespace
}  // namespace zt::controller::test
