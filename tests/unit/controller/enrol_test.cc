// SPDX-License-Identifier: Apache-2.0
// Enrolment and sign-in: who becomes a node, once.

#include "world.h"

namespace zt::controller::test {
namespace {

const Digest kNode = certificate_of(1);
const Digest kOtherNode = certificate_of(2);

struct Token {
  std::string id;
  std::string secret;
};

Token make_token(World& world, const std::string& path, const json& body) {
  const Reply reply = world.admin("POST", path, body);
  INFO(reply.text);
  REQUIRE(reply.status == 201);
  const auto token =
      grant::EnrolmentToken::parse(Secret(reply.body.at("token").get<std::string>()));
  REQUIRE(token.has_value());
  CHECK(token->controller_key == certificate_of(250));
  CHECK(grant::to_controller_url(token->controller) == "https://zt.example");
  return {reply.body.at("id"), std::string(token->secret.reveal())};
}

Reply enrol(World& world, const std::string& secret, const Digest& certificate,
            const std::string& kind = "connector", const std::string& name = "edge") {
  return world.node("POST", "/api/v1/enrol",
                    {{"secret", secret}, {"kind", kind}, {"name", name}, {"version", "0.1"}},
                    certificate);
}

struct Scene {
  World world;
  std::string network = world.create("networks", {{"name", "office"}});
  std::string path = "networks/" + network + "/connector-tokens";
};

TEST_CASE("a token makes one connector, and the same one again if the answer got lost") {
  Scene scene;
  const Token token = make_token(scene.world, scene.path, json::object());
  const Reply first = enrol(scene.world, token.secret, kNode);
  REQUIRE(first.status == 201);
  CHECK(first.body.at("network") == scene.network);
  CHECK(first.body.at("tenant") == scene.world.tenant.text);
  CHECK(grant::KeySet::parse(first.body.at("jwks").dump()).has_value());
  CHECK(enrol(scene.world, token.secret, kNode).body.at("node") == first.body.at("node"));
  const Reply second = enrol(scene.world, token.secret, kOtherNode);
  CHECK(second.status == 403);
  CHECK(second.body.at("detail") == "the enrolment token is used up");
  CHECK(scene.world.admin("GET", "connectors").body.at("items").size() == 1);
}

TEST_CASE("a token with several uses makes as many connectors, each with its own name") {
  Scene scene;
  const Token token = make_token(scene.world, scene.path, {{"uses", 2}});
  REQUIRE(enrol(scene.world, token.secret, kNode).status == 201);
  REQUIRE(enrol(scene.world, token.secret, kOtherNode).status == 201);
  CHECK(enrol(scene.world, token.secret, certificate_of(3)).status == 403);
  std::set<std::string> names;
  for (const json& item : json(scene.world.admin("GET", "connectors").body.at("items"))) {
    names.insert(item.at("name").get<std::string>());
  }
  CHECK(names == std::set<std::string>{"edge", "edge-2"});
}

TEST_CASE("a token works until the moment at which it expires") {
  Scene scene;
  const Token token = make_token(scene.world, scene.path, {{"uses", 2}, {"lifetime", "10m"}});
  scene.world.advance(seconds(600) - std::chrono::milliseconds(1));
  CHECK(enrol(scene.world, token.secret, kNode).status == 201);
  scene.world.advance(std::chrono::milliseconds(1));
  const Reply late = enrol(scene.world, token.secret, kOtherNode);
  CHECK(late.status == 403);
  CHECK(late.body.at("detail") == "the enrolment token expired at 2026-11-22T00:10:00Z");
}

TEST_CASE("wrong enrolments are refused, each with its reason") {
  Scene scene;
  const Token token = make_token(scene.world, scene.path, json::object());
  SECTION("the token of another kind") {
    CHECK(enrol(scene.world, token.secret, kNode, "relay").status == 403);
  }
  SECTION("an unknown secret") {
    const Reply reply = enrol(scene.world, std::string(43, 'A'), kNode);
    CHECK(reply.status == 401);
    CHECK(reply.text.find("AAAA") == std::string::npos);
  }
  SECTION("a token that was taken back") {
    REQUIRE(scene.world.admin("DELETE", "enrolment-tokens/" + token.id).status == 204);
    CHECK(enrol(scene.world, token.secret, kNode).status == 401);
  }
  SECTION("without a certificate") {
    const Reply reply =
        scene.world.send("POST", "/api/v1/enrol",
                         {{"secret", token.secret}, {"kind", "connector"}, {"version", "1"}}, {});
    CHECK(reply.status == 401);
  }
  SECTION("a certificate that is another network's connector") {
    REQUIRE(enrol(scene.world, token.secret, kNode).status == 201);
    const std::string home = scene.world.create("networks", {{"name", "home"}});
    const Token other =
        make_token(scene.world, "networks/" + home + "/connector-tokens", json::object());
    CHECK(enrol(scene.world, other.secret, kNode).status == 409);
  }
  CHECK(scene.world.ask(kNode, "a", 1).status != 201);
}

TEST_CASE("a wrong body uses up nothing") {
  Scene scene;
  const Token token = make_token(scene.world, scene.path, json::object());
  const json body = {
      {"secret", token.secret}, {"kind", "connector"}, {"version", "1"}, {"is_admin", true}};
  const Reply reply = scene.world.node("POST", "/api/v1/enrol", body, kNode);
  CHECK(reply.status == 422);
  CHECK(reply.body.at("detail") == "\"is_admin\": there is no such member here");
  CHECK(enrol(scene.world, token.secret, kNode).status == 201);
}

TEST_CASE("a relay's address is the token's, or else the relay's own, and must be one") {
  World world;
  const auto enrol_with = [&](const Token& token, const char* address, const Digest& certificate) {
    json body = {{"secret", token.secret}, {"kind", "relay"}, {"version", "1"}};
    if (address != nullptr) body["address"] = address;
    return world.node("POST", "/api/v1/enrol", body, certificate);
  };
  const Token fixed = make_token(world, "relay-tokens", {{"address", "r1.example:443"}});
  const Token open = make_token(world, "relay-tokens", {{"name", "second"}, {"region", "eu"}});
  CHECK(enrol_with(fixed, "evil.example:1", kNode).status == 201);
  CHECK(enrol_with(open, nullptr, kOtherNode).status == 422);
  CHECK(enrol_with(open, "no port", kOtherNode).status == 422);
  CHECK(enrol_with(open, "r2.example:443", kOtherNode).status == 201);
  const json items = world.admin("GET", "relays").body.at("items");
  std::set<std::string> addresses;
  for (const json& item : items) addresses.insert(item.at("address").get<std::string>());
  CHECK(addresses == std::set<std::string>{"r1.example:443", "r2.example:443"});
}

TEST_CASE("guessing secrets is slowed down per address, and does not lock others out") {
  Config config;
  config.limits.refusals_per_minute_max = 3;
  World world({}, config);
  const json body = {{"secret", std::string(43, 'A')}, {"kind", "relay"}, {"version", "1"}};
  const auto guess = [&](const char* address) {
    return world.send("POST", "/api/v1/enrol", body, {.certificate = kNode, .address = address})
        .status;
  };
  for (int i = 0; i < 3; ++i) CHECK(guess("[2001:db8::1]:1") == 401);
  CHECK(guess("[2001:db8::ffff]:1") == 429);  // The same /64.
  CHECK(guess("[2001:db8:0:1::1]:1") == 401);
  const As wrong_key{.bearer = "zta_" + std::string(43, 'A'), .address = "[2001:db8::1]:1"};
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, wrong_key).status == 429);
  const As right_key{.bearer = world.api_key, .address = "[2001:db8::1]:1"};
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, right_key).status == 200);
  world.advance(seconds(20));
  CHECK(guess("[2001:db8::1]:1") == 401);
}

TEST_CASE("a key signs a device in; the same certificate stays the same device") {
  World world;
  const std::string account = world.create("service-accounts", {{"name", "ci"}});
  const auto first = world.sign_in(account, kNode);
  const Reply again = world.sign_in_with(first.key, first.secret, kNode);
  REQUIRE(again.status == 201);
  CHECK(again.body.at("device") == first.device);
  CHECK(again.body.at("subject") == account);
  CHECK(again.body.at("subject_name") == "ci");
  CHECK(world.sign_in_with(first.key, first.secret, kOtherNode).body.at("device") != first.device);
  CHECK(world.admin("GET", "devices").body.at("items").size() == 2);
}

TEST_CASE("a sign-in is refused with a wrong, revoked or expired key and a disabled account") {
  World world;
  const std::string account = world.create("service-accounts", {{"name", "ci"}});
  const auto good = world.sign_in(account, kNode);
  const std::string keys = "service-accounts/" + account + "/keys";
  SECTION("wrong secret and unknown id look the same") {
    const Reply wrong = world.sign_in_with(good.key, std::string(43, 'A'), kNode);
    const Reply unknown = world.sign_in_with(make_id_text("key", world.random), good.secret, kNode);
    CHECK(wrong.status == 401);
    CHECK(wrong.text == unknown.text);
  }
  SECTION("revoked") {
    CHECK(world.admin("DELETE", keys + "/" + good.key).status == 204);
    CHECK(world.sign_in_with(good.key, good.secret, kNode).status == 401);
    CHECK(world.ask(kNode, "a", 1).status == 401);
  }
  SECTION("expired, at the very moment") {
    const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
    const Reply made = world.admin("POST", keys, {{"expires", end}});
    const auto file = grant::ServiceKey::parse(Secret(made.body.at("file").get<std::string>()));
    REQUIRE(file.has_value());
    world.advance(seconds(60) - std::chrono::milliseconds(1));
    const std::string secret(file->secret.reveal());
    CHECK(world.sign_in_with(file->id.text, secret, kOtherNode).status == 201);
    world.advance(std::chrono::milliseconds(1));
    CHECK(world.sign_in_with(file->id.text, secret, kOtherNode).status == 401);
    CHECK(world.ask(kOtherNode, "a", 1).status == 401);
  }
  SECTION("disabled") {
    const json off = {{"enabled", false}};
    CHECK(world.admin("PATCH", "service-accounts/" + account, off).status == 200);
    CHECK(world.sign_in_with(good.key, good.secret, kNode).status == 403);
    CHECK(world.ask(kNode, "a", 1).status == 401);
  }
  SECTION("a disabled device stays out") {
    const json off = {{"enabled", false}};
    CHECK(world.admin("PATCH", "devices/" + good.device, off).status == 200);
    CHECK(world.sign_in_with(good.key, good.secret, kNode).status == 403);
  }
}

TEST_CASE("only the certificate says who a node is") {
  Scene scene;
  World& world = scene.world;
  world.enrol_connector(scene.network, kNode);
  const std::string account = world.create("service-accounts", {{"name", "ci"}});
  world.sign_in(account, kOtherNode);
  const json beat = {{"version", "1"}};
  CHECK(world.node("POST", "/api/v1/node/heartbeat", beat, kNode).status == 204);
  CHECK(world.node("POST", "/api/v1/node/heartbeat", beat, certificate_of(9)).status == 401);
  CHECK(world.send("POST", "/api/v1/node/heartbeat", beat, {}).status == 401);
  CHECK(world.send("POST", "/api/v1/node/heartbeat", beat, {.bearer = world.api_key}).status ==
        401);
  CHECK(world.ask(kNode, "a", 1).status == 403);  // A connector asks for nothing.
  CHECK(world.node("GET", "/api/v1/node/watch", nullptr, certificate_of(9)).status == 401);
  const std::string id = world.admin("GET", "connectors").body.at("items").at(0).at("id");
  REQUIRE(world.admin("PATCH", "connectors/" + id, {{"enabled", false}}).status == 200);
  CHECK(world.node("POST", "/api/v1/node/heartbeat", beat, kNode).status == 403);
  CHECK(world.node("GET", "/api/v1/node/watch", nullptr, kNode).status == 403);
  REQUIRE(world.admin("DELETE", "connectors/" + id).status == 204);
  CHECK(world.node("POST", "/api/v1/node/heartbeat", beat, kNode).status == 401);
}

}  // namespace
}  // namespace zt::controller::test
