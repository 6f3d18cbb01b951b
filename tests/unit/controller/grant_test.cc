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

}  // namespace
}  // namespace zt::controller::test
