// SPDX-License-Identifier: Apache-2.0
// What an administrator is told about a decision, and keys that change.

#include "world.h"

namespace zt::controller::test {
namespace {

struct Scene {
  World world;
  Door door{world};
  http::ExchangeKey connector_stream = world.watch(door.kConnector);

  json explain(const std::string& query) {
    const Reply reply = world.admin("GET", "explain?subject=" + door.account + "&" + query);
    INFO(reply.text);
    REQUIRE(reply.status == 200);
    return reply.body;
  }
};

TEST_CASE("an administrator sees the decision, what the subject hears, and each rule's part") {
  Scene scene;
  const json allowed = scene.explain("host=db.internal&port=5432&protocol=tcp");
  CHECK(allowed.at("allowed") == true);
  CHECK(allowed.at("reason") == "allowed_by_rule");
  CHECK(allowed.at("rule") == scene.door.rule);
  CHECK(allowed.at("told").is_null());
  CHECK(allowed.at("resources").at(0).at("id") == scene.door.resource);
  CHECK(allowed.at("resources").at(0).at("connectors_online") == 1);
  CHECK(allowed.at("resources").at(0).at("rules").at(0).at("fit") == "decided");

  const std::string deny = scene.world.create("access-rules", {{"name", "freeze"},
                                                               {"effect", "deny"},
                                                               {"subjects", {"everyone"}},
                                                               {"resources", {"everything"}}});
  const json denied = scene.explain("host=db.internal&port=5432");
  CHECK(denied.at("allowed") == false);
  CHECK(denied.at("rule") == deny);
  CHECK(denied.at("sentence") == denied.at("told"));
  const json hidden = scene.explain("host=db.internal&port=1");
  CHECK(hidden.at("reason") == "port_not_offered");
  CHECK(hidden.at("told").get<std::string>().contains("ask an administrator"));
  const json absent = scene.explain("host=absent.internal&port=1&protocol=udp");
  CHECK(absent.at("reason") == "no_resource");
  CHECK(absent.at("resource").is_null());
  CHECK(absent.at("resources").empty());
}

TEST_CASE("an explanation and a grant are the same decision") {
  Scene scene;
  for (const char* host : {"db.internal", "absent.internal", "DB.internal."}) {
    for (const int port : {22, 5432}) {
      const json explained =
          scene.explain(std::string("host=") + host + "&port=" + std::to_string(port));
      const Reply asked = scene.world.ask(scene.door.kClient, host, port);
      INFO(host << " " << port << ": " << asked.text);
      CHECK(explained.at("allowed") == (asked.status == 201));
      if (asked.status != 201) CHECK(asked.body.at("detail") == explained.at("told"));
    }
  }
}

TEST_CASE("an explanation of somebody who is not there says so") {
  Scene scene;
  const Reply reply = scene.world.admin(
      "GET", "explain?subject=svc_00000000000000000000000009&host=db.internal&port=5432");
  REQUIRE(reply.status == 200);
  CHECK(reply.body.at("reason") == "unknown_subject");
  CHECK(reply.body.at("subject").at("name").is_null());
}

TEST_CASE("a question that is none is a problem that names the parameter") {
  Scene scene;
  struct Case {
    const char* query;
    const char* named;
  };
  const Case row =
      GENERATE(Case{"host=a&port=1", "subject"}, Case{"subject=x&port=1", "host"},
               Case{"subject=x&host=a%20b&port=1", "host"}, Case{"subject=x&host=a", "port"},
               Case{"subject=x&host=a&port=0", "port"}, Case{"subject=x&host=a&port=65536", "port"},
               Case{"subject=x&host=a&port=1&protocol=icmp", "protocol"},
               Case{"subject=x&host=a&port=1&more=1", "more"});
  const Reply reply = scene.world.admin("GET", std::string("explain?") + row.query);
  INFO(row.query << ": " << reply.text);
  CHECK(reply.status == 400);
  CHECK(reply.text.contains(row.named));
  CHECK(scene.world.admin("POST", "explain").status == 405);
}

TEST_CASE("a service account's key changes its name and end, and what has changed is kept") {
  Scene scene;
  World& world = scene.world;
  const std::string path =
      "service-accounts/" + scene.door.account + "/keys/" + scene.door.signed_in.key;
  const Reply before = world.admin("GET", path);
  REQUIRE(before.status == 200);
  const std::string etag(before.fields.find("etag").value_or(""));
  const std::string end = to_rfc3339(world.now.unix_time + seconds(60));
  const Reply changed = world.admin("PATCH", path, {{"expires", end}, {"name", "old"}});
  INFO(changed.text);
  REQUIRE(changed.status == 200);
  CHECK(changed.body.at("expires") == end);
  CHECK(changed.fields.find("etag") != etag);
  CHECK(world.admin("PATCH", path, {{"revoked", true}}).status == 422);
  CHECK(world.ask(scene.door.kClient, "db.internal", 5432).status == 201);
  world.advance(seconds(60));
  CHECK(world.ask(scene.door.kClient, "db.internal", 5432).status == 401);
}

}  // namespace
}  // namespace zt::controller::test
