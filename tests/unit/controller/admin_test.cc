// SPDX-License-Identifier: Apache-2.0
// The administrators' API: who may, what is right, and what is said about what is wrong.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "controller/api_key.h"
#include "controller/rate_limiter.h"
#include "crypto/hash.h"
#include "world.h"

namespace zt::controller::test {
namespace {

struct Route {
  const char* method;
  const char* path;
};

// Every route with a method that it has; words in capitals stand for objects that exist.
constexpr Route kRoutes[] = {
    {"GET", "networks"},
    {"POST", "networks"},
    {"GET", "networks/NETWORK"},
    {"PATCH", "networks/NETWORK"},
    {"DELETE", "networks/NETWORK"},
    {"POST", "networks/NETWORK/connector-tokens"},
    {"GET", "connectors"},
    {"GET", "relays"},
    {"POST", "relay-tokens"},
    {"GET", "resources"},
    {"POST", "resources"},
    {"GET", "groups"},
    {"POST", "groups"},
    {"GET", "groups/GROUP/members"},
    {"PUT", "groups/GROUP/members/ACCOUNT"},
    {"DELETE", "groups/GROUP/members/ACCOUNT"},
    {"GET", "users"},
    {"POST", "users"},
    {"GET", "service-accounts"},
    {"POST", "service-accounts"},
    {"GET", "service-accounts/ACCOUNT/keys"},
    {"POST", "service-accounts/ACCOUNT/keys"},
    {"GET", "service-accounts/ACCOUNT/keys/KEY"},
    {"PATCH", "service-accounts/ACCOUNT/keys/KEY"},
    {"DELETE", "service-accounts/ACCOUNT/keys/KEY"},
    {"GET", "devices"},
    {"GET", "access-rules"},
    {"POST", "access-rules"},
    {"GET", "api-keys"},
    {"POST", "api-keys"},
    {"GET", "enrolment-tokens"},
    {"GET", "events"},
    {"GET", "audit"},
    {"GET", "explain"},
    {"GET", "signing-keys"},
    {"POST", "signing-keys/rotate"},
};

// path_of returns a route's path with the ids of what is behind `door`.
std::string path_of(const Route& route, const Door& door) {
  const std::pair<std::string_view, std::string> ids[] = {{"NETWORK", door.network},
                                                          {"GROUP", door.group},
                                                          {"ACCOUNT", door.account},
                                                          {"KEY", door.signed_in.key}};
  std::string path = "/api/v1/admin/" + std::string(route.path);
  for (const auto& [word, id] : ids) {
    if (const auto place = path.find(word); place != std::string::npos) {
      path.replace(place, word.size(), id);
    }
  }
  return path;
}

TEST_CASE("no route answers without a good API key, and what is refused changes nothing") {
  World world;
  const Door door(world);
  const Route route = GENERATE(from_range(std::begin(kRoutes), std::end(kRoutes)));
  const std::string path = path_of(route, door);
  INFO(route.method << " " << path);
  const json body = {{"name", "x"}};
  const std::size_t entries = world.admin("GET", "audit").body.at("items").size();
  CHECK(world.send(route.method, path, body, {}).status == 401);
  CHECK(world.send(route.method, path, body, {.certificate = certificate_of(1)}).status == 401);
  for (const std::string& bearer : {std::string("zta_"), "zta_" + std::string(43, 'A'),
                                    world.api_key + "A", world.api_key.substr(4)}) {
    const Reply reply = world.send(route.method, path, body, {.bearer = bearer});
    CHECK(reply.status == 401);
    CHECK(reply.fields.find("www-authenticate") == "Bearer");
    CHECK(reply.text.find(bearer) == std::string::npos);
  }
  CHECK(world.admin("GET", "audit").body.at("items").size() == entries);
  const std::string absent = "/api/v1/admin/no-such-thing";
  CHECK(world.send("GET", absent, nullptr, {}).status == 401);
}

TEST_CASE("no route ignores a parameter that it does not know") {
  World world;
  const Door door(world);
  const Route route = GENERATE(from_range(std::begin(kRoutes), std::end(kRoutes)));
  const std::string path = path_of(route, door) + "?nmae=x";
  INFO(route.method << " " << path);
  const std::size_t entries = world.admin("GET", "audit").body.at("items").size();
  const Reply reply = world.send(route.method, path, {{"name", "x"}}, {.bearer = world.api_key});
  CHECK(reply.status == 400);
  CHECK(reply.body.value("detail", "") == "there is no parameter \"nmae\" here");
  CHECK(world.admin("GET", "audit").body.at("items").size() == entries);
}

TEST_CASE("nor does a path of nodes or of everybody") {
  World world;
  const Door door(world);
  const Route paths[] = {
      {"GET", "/api/v1/health"},          {"GET", "/api/v1/jwks"},
      {"GET", "/.well-known/jwks.json"},  {"POST", "/api/v1/enrol"},
      {"POST", "/api/v1/sessions"},       {"POST", "/api/v1/grants"},
      {"POST", "/api/v1/node/heartbeat"}, {"POST", "/api/v1/node/events"},
      {"GET", "/api/v1/node/watch"},
  };
  for (const auto& [method, path] : paths) {
    INFO(method << " " << path);
    const std::string target = std::string(path) + "?nmae=x";
    const Reply reply = world.node(method, target, nullptr, door.kClient);
    CHECK(reply.status == 400);
    CHECK(reply.body.value("detail", "") == "there is no parameter \"nmae\" here");
  }
}

TEST_CASE("another tenant's objects are as absent as those that never were") {
  World world;
  const std::string network = world.create("networks", {{"name", "office"}});
  const std::string group = world.create("groups", {{"name", "g"}});
  const std::string account = world.create("service-accounts", {{"name", "ci"}});
  const auto signed_in = world.sign_in(account, certificate_of(1));

  const Tenant other{.id = make_id<TenantIdTag>(world.random), .name = "other"};
  REQUIRE(world.store->insert_tenant(other));
  const Secret secret = grant::make_shared_secret(world.random);
  const std::string bearer = "zta_" + std::string(secret.reveal());
  REQUIRE(
      world.store->api_keys().insert(other.id, {.id = make_id<KeyIdTag>(world.random),
                                                .name = "k",
                                                .secret_hash = crypto::sha256(as_bytes(bearer))}));
  REQUIRE(world.store->insert_key(other.id, {"kid", Secret(std::string(32, 'x')), {}, {}}));
  const auto send = [&](const char* method, const std::string& path, const json& body = nullptr) {
    const Reply reply = world.send(method, "/api/v1/admin/" + path, body, {.bearer = bearer});
    INFO(method << " " << path << ": " << reply.text);
    return reply.status;
  };
  CHECK(send("GET", "networks") == 200);
  for (const std::string& path : {"networks/" + network, "groups/" + group,
                                  "service-accounts/" + account, "devices/" + signed_in.device}) {
    CHECK(send("GET", path) == 404);
    CHECK(send("PATCH", path, {{"name", "stolen"}}) == 404);
    CHECK(send("DELETE", path) == 404);
  }
  CHECK(send("POST", "networks/" + network + "/connector-tokens", json::object()) == 404);
  CHECK(send("POST", "service-accounts/" + account + "/keys", json::object()) == 404);
  CHECK(send("DELETE", "service-accounts/" + account + "/keys/" + signed_in.key) == 404);
  CHECK(send("PUT", "groups/" + group + "/members/" + account) == 404);
  CHECK(send("POST", "resources",
             {{"name", "r"}, {"network", network}, {"address", "a"}, {"tcp", "all"}}) == 422);
  CHECK(send("POST", "access-rules",
             {{"name", "r"}, {"subjects", {account}}, {"resources", {"everything"}}}) == 422);
  for (const char* list : {"networks", "groups", "service-accounts", "devices", "audit"}) {
    const Reply reply =
        world.send("GET", "/api/v1/admin/" + std::string(list), nullptr, {.bearer = bearer});
    CHECK(reply.body.at("items").empty());
  }
}

struct WrongBody {
  const char* path;
  const char* body;
  int status;
  const char* detail;  // What the complaint begins with.
};

TEST_CASE("every wrong body gets an exact complaint") {
  const WrongBody row = GENERATE(
      WrongBody{"networks", "", 415, "the body must be of content-type"},
      WrongBody{"networks", "{", 400, "the body must be a JSON object"},
      WrongBody{"networks", "[]", 400, "the body must be a JSON object"},
      WrongBody{"networks", R"({"name":"a"} x)", 400, "the body must be a JSON object"},
      WrongBody{"networks", R"({"name":"a","name":"b"})", 400,
                "the member \"name\" is there twice"},
      WrongBody{"networks", R"({"a":[[[[[[[[[[1]]]]]]]]]]})", 400, "the body's JSON is nested"},
      WrongBody{"networks", "{}", 422, "\"name\": is missing"},
      WrongBody{"networks", R"({"name":5})", 422, "\"name\": must be a string"},
      WrongBody{"networks", R"({"name":""})", 422, "\"name\": must not be empty"},
      WrongBody{"networks", R"({"name":" a"})", 422, "\"name\": must not begin or end"},
      WrongBody{"networks", R"({"name":"a\nb"})", 422,
                "\"name\": must not hold the character U+000A"},
      WrongBody{"networks", R"({"name":"a\u202eb"})", 422, "\"name\": must not hold"},
      WrongBody{"networks", R"({"name":"a","id":"net_x"})", 422, "\"id\": there is no such member"},
      WrongBody{"networks", R"({"name":"office"})", 409, "another network has this name"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"a"})", 422,
                "\"tcp\": a resource"},
      WrongBody{"resources", R"({"name":"a","network":"net_x","address":"a","tcp":"all"})", 422,
                "\"network\": must be an id that begins with \"net_\""},
      WrongBody{"resources",
                R"({"name":"a","network":"net_00000000000000000000000000",)"
                R"("address":"a","tcp":"all"})",
                422, "\"network\": there is no such network"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"a b","tcp":"all"})", 422,
                "\"address\": must be"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"10.0.0.1/8","tcp":"all"})",
                422, "\"address\": must be"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"a","tcp":["0"]})", 422,
                "\"tcp\": must be"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"a","tcp":["9-8"]})", 422,
                "\"tcp\": must be"},
      WrongBody{"resources", R"({"name":"a","network":"NET","address":"a","tcp":[]})", 422,
                "\"tcp\": must be"},
      WrongBody{"resources",
                R"({"name":"a","network":"NET","address":"a","tcp":"all","aliases":["b","B"]})",
                422, "\"aliases[1]\": is in the list already"},
      WrongBody{"access-rules", R"({"name":"a","subjects":[],"resources":["everything"]})", 422,
                "\"subjects\": must name"},
      WrongBody{"access-rules", R"({"name":"a","subjects":["all"],"resources":["everything"]})",
                422, "\"subjects[0]\": must be"},
      WrongBody{
          "access-rules",
          R"({"name":"a","subjects":["everyone"],"resources":["net_00000000000000000000000000"]})",
          422, "\"resources[0]\": must be the id of a resource"},
      WrongBody{"access-rules",
                R"({"name":"a","subjects":["grp_00000000000000000000000000"],)"
                R"("resources":["everything"]})",
                422, "\"subjects\": there is no \"grp_"},
      WrongBody{
          "access-rules",
          R"({"name":"a","subjects":["everyone"],"resources":["everything"],"effect":"maybe"})",
          422, "\"effect\": must be one of \"allow\", \"deny\""},
      WrongBody{"access-rules",
                R"({"name":"a","subjects":["everyone"],"resources":["everything"],"ports":"none"})",
                422, "\"ports\": a rule for no port"},
      WrongBody{
          "access-rules",
          R"({"name":"a","subjects":["everyone"],"resources":["everything"],"valid_until":"soon"})",
          422, "\"valid_until\": must be a time"},
      WrongBody{"users", R"({"name":"a","enabled":"yes"})", 422,
                "\"enabled\": must be true or false"},
      WrongBody{"networks/NET/connector-tokens", R"({"uses":0})", 422,
                "\"uses\": must be a whole number from 1"},
      WrongBody{"networks/NET/connector-tokens", R"({"uses":1.5})", 422,
                "\"uses\": must be a whole number"},
      WrongBody{"networks/NET/connector-tokens", R"({"uses":18446744073709551615})", 422,
                "\"uses\": must be"},
      WrongBody{"networks/NET/connector-tokens", R"({"lifetime":"1 day"})", 422,
                "\"lifetime\": must be a duration"},
      WrongBody{"networks/NET/connector-tokens", R"({"address":"a:1"})", 422,
                "\"address\": there is no such member"},
      WrongBody{"relay-tokens", R"({"address":"a"})", 422,
                "\"address\": must be a host and a UDP port"},
      WrongBody{"api-keys", R"({"name":"a","expires":"2000-01-01T00:00:00Z"})", 422,
                "\"expires\": must be in the future"});
  World world;
  const std::string network = world.create("networks", {{"name", "office"}});
  const auto filled = [&](std::string text) {
    for (auto at = text.find("NET"); at != std::string::npos; at = text.find("NET")) {
      text.replace(at, 3, network);
    }
    return text;
  };
  const Reply reply = world.send_text("POST", "/api/v1/admin/" + filled(row.path), filled(row.body),
                                      {.bearer = world.api_key});
  INFO(row.path << " " << row.body << " gave " << reply.text);
  CHECK(reply.status == row.status);
  CHECK(reply.fields.find("content-type") == "application/problem+json");
  CHECK(reply.body.at("detail").get<std::string>().starts_with(row.detail));
}

TEST_CASE("bodies of another media type and above the limit are refused") {
  Config config;
  config.limits.body_size_max = 100;
  World world({}, config);
  const std::string body = R"({"name":"office"})";
  const As as{.bearer = world.api_key, .content_type = "text/plain"};
  CHECK(world.send_text("POST", "/api/v1/admin/networks", body, as).status == 415);
  const As utf8{.bearer = world.api_key, .content_type = "application/json; charset=utf-8"};
  const std::string padded = body + std::string(100 - body.size(), ' ');
  CHECK(world.send_text("POST", "/api/v1/admin/networks", padded, utf8).status == 201);
  CHECK(world.send_text("POST", "/api/v1/admin/networks", padded + " ", utf8).status == 413);
}

TEST_CASE("an object is made, read, changed and removed, and each step is audited") {
  World world;
  const Reply made = world.admin("POST", "networks", {{"name", "Büro 1"}});
  REQUIRE(made.status == 201);
  const std::string path = "networks/" + made.body.at("id").get<std::string>();
  CHECK(made.body.at("created") == "2026-11-22T00:00:00Z");
  CHECK(made.fields.find("etag") == "\"1\"");
  CHECK(world.admin("GET", path).body == made.body);
  CHECK(world.admin("GET", "networks?name=B%C3%BCro+1").body.at("items").at(0) == made.body);
  const Reply changed = world.admin("PATCH", path, {{"name", "Office"}});
  CHECK(changed.status == 200);
  CHECK(changed.fields.find("etag") == "\"2\"");
  CHECK(changed.body.at("name") == "Office");
  CHECK(world.admin("DELETE", path).status == 204);
  CHECK(world.admin("GET", path).status == 404);
  CHECK(world.admin("DELETE", path).status == 404);
  std::vector<std::string> actions;
  for (const json& entry : json(world.admin("GET", "audit?limit=3").body.at("items"))) {
    actions.push_back(entry.at("action"));
    CHECK(entry.at("actor").get<std::string>().starts_with("key_"));
    CHECK(entry.at("time") == "2026-11-22T00:00:00Z");
  }
  CHECK(actions == std::vector<std::string>{"network.delete", "network.update", "network.create"});
}

TEST_CASE("If-Match guards against overwriting what somebody else changed") {
  World world;
  const std::string path = "/api/v1/admin/networks/" + world.create("networks", {{"name", "a"}});
  const auto patch = [&](const std::string& tag, const char* name) {
    return world.send("PATCH", path, {{"name", name}}, {.bearer = world.api_key, .if_match = tag})
        .status;
  };
  CHECK(patch("\"1\"", "b") == 200);
  CHECK(patch("\"1\"", "c") == 412);
  CHECK(patch("W/\"2\"", "c") == 412);
  CHECK(patch("\"7\", \"2\"", "c") == 200);
  CHECK(patch("*", "d") == 200);
  CHECK(
      world.send("DELETE", path, nullptr, {.bearer = world.api_key, .if_match = "\"1\""}).status ==
      412);
  CHECK(
      world.send("DELETE", path, nullptr, {.bearer = world.api_key, .if_match = "\"4\""}).status ==
      204);
}

TEST_CASE("pages together are the whole list; wrong pages and filters are refused") {
  World world;
  std::set<std::string> expected;
  for (int i = 0; i < 7; ++i) {
    expected.insert(world.create("groups", {{"name", "g" + std::to_string(i)}}));
  }
  std::set<std::string> seen;
  std::string path = "groups?limit=3";
  int pages = 0;
  for (json next = ""; !next.is_null(); ++pages) {
    const json page = world.admin("GET", path).body;
    for (const json& item : page.at("items"))
      CHECK(seen.insert(item.at("id").get<std::string>()).second);
    next = page.value("next_cursor", json(nullptr));
    if (!next.is_null()) path = "groups?limit=3&cursor=" + next.get<std::string>();
  }
  CHECK(pages == 3);
  CHECK(seen == expected);
  for (const char* wrong :
       {"groups?limit=0", "groups?limit=501", "groups?limit=x", "groups?limit=01",
        "groups?limit=-1", "groups?nmae=a", "groups?limit=1&limit=2", "events?cursor=x",
        "events?cursor=0", "events?since=yesterday", "events?event=none", "audit?subject=x"}) {
    INFO(wrong);
    CHECK(world.admin("GET", wrong).status == 400);
  }
}

TEST_CASE("what something refers to cannot be removed, and the answer names it") {
  World world;
  Door door(world);
  CHECK(world.admin("DELETE", "networks/" + door.network).status == 409);
  for (const std::string& path : {"resources/" + door.resource, "groups/" + door.group}) {
    const Reply reply = world.admin("DELETE", path);
    CHECK(reply.status == 409);
    CHECK(reply.body.at("detail") ==
          "the access rule \"builders reach the database\" still names it");
  }
  REQUIRE(world.admin("DELETE", "access-rules/" + door.rule).status == 204);
  CHECK(world.admin("DELETE", "resources/" + door.resource).status == 204);
  CHECK(world.admin("DELETE", "groups/" + door.group).status == 204);
}

TEST_CASE("a path answers other methods with what it has") {
  World world;
  const Reply reply = world.admin("DELETE", "networks");
  CHECK(reply.status == 405);
  CHECK(reply.fields.find("allow") == "GET, HEAD, POST");
  CHECK(world.admin("POST", "connectors", json::object()).status == 405);
  CHECK(world.admin("PUT", "api-keys").status == 405);
  CHECK(world.admin("GET", "signing-keys/rotate").status == 405);
  CHECK(world.send("DELETE", "/api/v1/enrol", nullptr, {}).status == 405);
  CHECK(world.send("GET", "/api/v1/nothing", nullptr, {}).status == 404);
  CHECK(world.send("GET", "/api/v1/../admin/networks", nullptr, {.bearer = world.api_key}).status ==
        404);
  CHECK(world.send("GET", "/api/v1/health", nullptr, {}).body.at("status") == "ok");
  CHECK(world.admin("HEAD", "networks").status == 200);
}

TEST_CASE("the last API key stays; another one works until it expires or is removed") {
  World world;
  const std::string first = world.admin("GET", "api-keys").body.at("items").at(0).at("id");
  CHECK(world.admin("DELETE", "api-keys/" + first).status == 409);
  const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
  const Reply made = world.admin("POST", "api-keys", {{"name", "second"}, {"expires", end}});
  REQUIRE(made.status == 201);
  const As as{.bearer = made.body.at("token")};
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, as).status == 200);
  const Reply again = world.admin("GET", "api-keys/" + made.body.at("id").get<std::string>());
  CHECK_FALSE(again.body.contains("token"));
  CHECK(again.body.at("last_used") == "2026-11-22T00:00:00Z");
  world.advance(seconds(60) - std::chrono::milliseconds(1));
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, as).status == 200);
  world.advance(std::chrono::milliseconds(1));
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, as).status == 401);
}

TEST_CASE("the last API key that is valid stays, whatever expired keys there are beside it") {
  World world;
  const std::string first = world.admin("GET", "api-keys").body.at("items").at(0).at("id");
  const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
  const std::string second = world.create("api-keys", {{"name", "second"}, {"expires", end}});
  world.advance(seconds(60));
  const Reply refused = world.admin("DELETE", "api-keys/" + first);
  CHECK(refused.status == 409);
  CHECK(refused.body.at("detail") ==
        "no other API key is valid, and without one nobody can administer any more: create "
        "another first");
  CHECK(world.admin("DELETE", "api-keys/" + second).status == 204);
  CHECK(world.admin("GET", "api-keys").status == 200);
}

TEST_CASE("an API key may be deleted up to the instant at which the other one expires") {
  World world;
  const std::string first = world.admin("GET", "api-keys").body.at("items").at(0).at("id");
  const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
  const Reply made = world.admin("POST", "api-keys", {{"name", "second"}, {"expires", end}});
  const As second{.bearer = made.body.at("token")};
  const std::string path = "/api/v1/admin/api-keys/";
  world.advance(seconds(60) - std::chrono::milliseconds(1));
  SECTION("the one that will expire is left") {
    CHECK(world.send("DELETE", path + first, nullptr, second).status == 204);
    CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, second).status == 200);
  }
  SECTION("the one that has expired counts no more") {
    world.advance(std::chrono::milliseconds(1));
    CHECK(world.admin("DELETE", "api-keys/" + first).status == 409);
  }
}

TEST_CASE("no key is given an end that has passed, neither when it is made nor later") {
  World world;
  Door door(world);
  const std::string keys = "service-accounts/" + door.account + "/keys";
  const std::string first = world.admin("GET", "api-keys").body.at("items").at(0).at("id");
  const std::pair<const char*, std::string> requests[] = {
      {"POST", "api-keys"},
      {"PATCH", "api-keys/" + first},
      {"POST", keys},
      {"PATCH", keys + "/" + door.signed_in.key},
  };
  for (const auto& [method, path] : requests) {
    INFO(method << " " << path);
    const auto answer_to = [&](UnixTime end) {
      return world.admin(method, path, {{"name", method}, {"expires", to_rfc3339(end)}});
    };
    const Reply refused = answer_to(world.now.unix_time);
    CHECK(refused.status == 422);
    CHECK(refused.body.value("detail", "") == "\"expires\": must be in the future");
    CHECK(answer_to(world.now.unix_time + std::chrono::milliseconds(1)).status < 300);
  }
}

TEST_CASE("an API key that has expired may still be renamed, and may be given a new end") {
  World world;
  const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
  const Reply made = world.admin("POST", "api-keys", {{"name", "second"}, {"expires", end}});
  const std::string path = "api-keys/" + made.body.at("id").get<std::string>();
  const As second{.bearer = made.body.at("token")};
  world.advance(seconds(60));
  CHECK(world.admin("PATCH", path, {{"name", "old"}}).status == 200);
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, second).status == 401);
  CHECK(world.admin("PATCH", path, {{"expires", nullptr}}).status == 200);
  CHECK(world.send("GET", "/api/v1/admin/networks", nullptr, second).status == 200);
}

TEST_CASE("an API key is its prefix and 256 random bits") {
  SeededRandom random(1);
  const Secret first = make_api_key(random);
  const std::string text(first.reveal());
  CHECK(text.starts_with("zta_"));
  CHECK(text.size() == 4 + 43);
  CHECK(text != make_api_key(random).reveal());
  CHECK(is_api_key(text));
  const std::string wrong[] = {"",
                               "zta_",
                               text.substr(4),
                               "ztb_" + text.substr(4),
                               " " + text,
                               text + "A",
                               text.substr(0, text.size() - 1)};
  for (const std::string& other : wrong) CHECK_FALSE(is_api_key(other));
}

TEST_CASE("secrets are shown once and appear nowhere else") {
  World world;
  Door door(world);
  const std::string network_path = "networks/" + door.network + "/connector-tokens";
  const std::string token = world.admin("POST", network_path, json::object()).body.at("token");
  const std::string key = door.signed_in.secret;
  for (const char* path : {"audit?limit=500", "api-keys", "enrolment-tokens"}) {
    const std::string text = world.admin("GET", path).text;
    const auto parsed = grant::EnrolmentToken::parse(Secret(token));
    REQUIRE(parsed.has_value());
    CHECK(text.find(std::string(parsed->secret.reveal())) == std::string::npos);
    CHECK(text.find(key) == std::string::npos);
    CHECK(text.find(world.api_key) == std::string::npos);
  }
}

TEST_CASE("objects of a kind are limited") {
  Config config;
  config.limits.objects_per_table_max = 2;
  World world({}, config);
  world.create("groups", {{"name", "a"}});
  const std::string second = world.create("groups", {{"name", "b"}});
  CHECK(world.admin("POST", "groups", {{"name", "c"}}).status == 409);
  REQUIRE(world.admin("DELETE", "groups/" + second).status == 204);
  CHECK(world.admin("POST", "groups", {{"name", "c"}}).status == 201);
}

TEST_CASE("all resources together must fit what a node can be told") {
  Config config;
  config.limits.config_size_max = 600;
  World world({}, config);
  const std::string network = world.create("networks", {{"name", "office"}});
  const auto add = [&](const char* name) {
    return world
        .admin("POST", "resources",
               {{"name", name}, {"network", network}, {"address", "a"}, {"tcp", "all"}})
        .status;
  };
  CHECK(add("a") == 201);
  CHECK(add("b") == 201);
  CHECK(add("c") == 409);
}

// --- The log.

TEST_CASE("events are stored once, however often they are reported, and can be found") {
  World world;
  Door door(world);
  const std::string flow = make_id_text("flo", world.random);
  const json event = {{"id", flow},
                      {"event", "closed"},
                      {"time", "2026-11-22T00:00:01Z"},
                      {"network", "net_claimed"},
                      {"subject", door.account},
                      {"bytes_up", 10},
                      {"bytes_down", 20},
                      {"reason", "done"},
                      {"from the future", {1, 2}}};
  const json report = {{"events", {event}}};
  for (int i = 0; i < 3; ++i) {
    CHECK(world.node("POST", "/api/v1/node/events", report, door.kConnector).status == 204);
  }
  CHECK(world.node("POST", "/api/v1/node/events", report, door.kClient).status == 204);
  const json items = world.admin("GET", "events?flow=" + flow).body.at("items");
  REQUIRE(items.size() == 2);
  CHECK(items[1].at("network") == door.network);  // As authenticated, not as claimed.
  CHECK(items[1].at("connector") == door.connector);
  CHECK(items[1].at("bytes_down") == 20);
  CHECK(items[0].at("reporter") == "client");
  CHECK(world.admin("GET", "events?subject=" + door.account).body.at("items").size() == 2);
  CHECK(world.admin("GET", "events?event=opened").body.at("items").empty());
  CHECK(world.admin("GET", "events?before=2026-11-22T00:00:01Z").body.at("items").empty());
}

TEST_CASE("a report keeps what can be read of it and says what cannot") {
  World world;
  Door door(world);
  const json good = {{"id", make_id_text("flo", world.random)},
                     {"event", "denied"},
                     {"time", "2026-11-22T00:00:01Z"}};
  json bad = good;
  bad["id"] = "flo_x";
  const Reply reply =
      world.node("POST", "/api/v1/node/events", {{"events", {bad, good}}}, door.kConnector);
  CHECK(reply.status == 422);
  CHECK(reply.body.at("detail").get<std::string>().starts_with("\"events[0].id\""));
  CHECK(world.admin("GET", "events").body.at("items").size() == 1);
  const json too_many = {{"events", std::vector<json>(1001, good)}};
  CHECK(world.node("POST", "/api/v1/node/events", too_many, door.kConnector).status == 422);
}

// --- Across restarts.

TEST_CASE("everything is there after a restart, and the pin and the keys are the same") {
  std::string folder = "/tmp/zt-controller-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  const store::SqliteOptions options{.path = folder + "/zt.db"};
  {
    World world(options);
    Door door(world);
    const std::string pin = initialise(*world.store, {.hosts = {*parse_host("other.example")}},
                                       world.random, world.now.unix_time)
                                ->https.public_key_digest()
                                .to_text();
    const json jwks = world.send("GET", "/api/v1/jwks", nullptr, {}).body;
    world.open(options);
    CHECK(world.send("GET", "/api/v1/jwks", nullptr, {}).body == jwks);
    const auto again = initialise(*world.store, {.hosts = {*parse_host("zt.example")}},
                                  world.random, world.now.unix_time);
    REQUIRE(again.has_value());
    CHECK(again->https.public_key_digest().to_text() == pin);
    CHECK_FALSE(again->api_key.has_value());
    world.watch(door.kConnector);
    CHECK(world.ask(door.kClient, "db.internal", 5432).status == 201);
    CHECK(world.admin("GET", "audit?action=connector.enrol").body.at("items").size() == 1);
  }
  for (const char* name : {"/zt.db", "/zt.db-wal"}) std::remove((folder + name).c_str());
  CHECK(rmdir(folder.c_str()) == 0);
}

TEST_CASE("a full disk is told, and changes nothing that anybody holds") {
  World world({.page_count_max = 160});
  Door door(world);
  const auto stream = world.watch(door.kConnector);
  (void)world.lines(stream);
  int status = 201;
  for (int i = 0; i < 2000 && status == 201; ++i) {
    status = world
                 .admin("POST", "resources",
                        {{"name", "r" + std::to_string(i)},
                         {"network", door.network},
                         {"address", "h" + std::to_string(i) + ".internal"},
                         {"tcp", "all"}})
                 .status;
  }
  CHECK(status == 507);
  (void)world.lines(stream);
  const Reply reply = world.admin("DELETE", "access-rules/" + door.rule);
  CHECK((reply.status == 204 || reply.status == 507));
  const bool is_gone = world.admin("GET", "access-rules/" + door.rule).status == 404;
  CHECK(is_gone == (reply.status == 204));
}

TEST_CASE("a rate is so many at once, and then one for each part of the minute") {
  RateLimiter limiter(2, 2);
  const Instant start(std::chrono::hours(1));
  CHECK(limiter.use("a", start));
  CHECK(limiter.use("a", start));
  CHECK_FALSE(limiter.use("a", start));
  CHECK_FALSE(limiter.use("a", start + seconds(30) - Duration(1)));
  CHECK(limiter.use("a", start + seconds(30)));
  CHECK(limiter.use("b", start + seconds(30)));
  CHECK_FALSE(limiter.use("c", start + seconds(30)));  // Too many names, none of them forgotten.
  CHECK(limiter.use("c", start + seconds(60)));
}

TEST_CASE("a rate of nothing is a mistake of ours, and no division") {
  // The status with which a process ends that makes a limiter of `per_minute_max`.
  const auto status_with = [](std::uint32_t per_minute_max) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGABRT, SIG_DFL);
      (void)close(STDERR_FILENO);
      RateLimiter limiter(per_minute_max, 1);
      _exit(limiter.use("a", Instant(seconds(1))) ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
  };
  CHECK(status_with(1) == 0);
  const int status = status_with(0);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

}  // namespace
}  // namespace zt::controller::test
