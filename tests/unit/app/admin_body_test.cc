// SPDX-License-Identifier: Apache-2.0
#include "app/admin_body.h"

#include <catch2/catch_test_macros.hpp>

#include "zt/base/rfc3339.h"

namespace zt::app {

namespace {

using wire::Json;

const UnixTime kNow = *parse_rfc3339("2026-03-01T00:00:00Z");
const std::string kServiceId = "svc_00000000000000000000000001";
const std::string kResourceId = "res_00000000000000000000000001";

RuleArguments plain_rule() {
  return {.name = "ci-db", .subjects = {kServiceId}, .resources = {kResourceId}};
}

TEST_CASE("a path rule is in a body when a flag of it is given, and whole") {
  CHECK(network_body({.name = "office", .path = {}}) == Json{{"name", "office"}});
  CHECK_FALSE(network_body({}));
  const auto body_of = [](const PathArguments& path) {
    return network_body({.name = {}, .path = path});
  };
  CHECK(body_of({.paths = "never-relay"}) == Json{{"path", {{"paths", "never-relay"}}}});
  CHECK(body_of({.relays = {"rly_1"}, .regions = {"eu"}, .is_own_first = true}) ==
        Json{{"path",
              {{"paths", "any"},
               {"relays", Json::array({"rly_1"})},
               {"regions", Json::array({"eu"})},
               {"own_first", true}}}});
  ResourceArguments resource;
  resource.path.paths = "inherit";
  CHECK(resource_body(resource) == Json{{"path", {{"paths", "inherit"}}}});
}

}  // namespace

TEST_CASE("ports are all, none, or a list of ports and ranges") {
  CHECK(ports_body("--tcp", "all") == Json("all"));
  CHECK(ports_body("--tcp", "none") == Json("none"));
  CHECK(ports_body("--tcp", "5432") == Json({"5432"}));
  CHECK(ports_body("--tcp", "5432,8000-8100") == Json({"5432", "8000-8100"}));
  CHECK(ports_body("--tcp", "1,65535") == Json({"1", "65535"}));
}

TEST_CASE("what is no list of ports is refused, and the complaint names the option and the text") {
  for (const char* text : {"", "0", "65536", "8100-8000", "80,", ",80", "80,,81", "80, 81", "http",
                           "all,80", "-1", "80-", "8000-8000"}) {
    INFO(text);
    CHECK_FALSE(ports_body("--tcp", text));
  }
  const auto refused = ports_body("--udp", "53,dns");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().starts_with("--udp: \"dns\" is no port"));
}

TEST_CASE("a time is a duration from now, a time, or never") {
  CHECK(time_body("--until", "30d", kNow) == Json("2026-03-31T00:00:00Z"));
  CHECK(time_body("--until", "12h", kNow) == Json("2026-03-01T12:00:00Z"));
  CHECK(time_body("--until", "2030-12-31T23:59:59Z", kNow) == Json("2030-12-31T23:59:59Z"));
  CHECK(time_body("--until", "2030-12-31T23:59:59+01:00", kNow) == Json("2030-12-31T22:59:59Z"));
  CHECK(time_body("--until", "never", kNow) == Json(nullptr));
  for (const char* text : {"", "0d", "30", "tomorrow", "2030-12-31", "-1d"}) {
    INFO(text);
    CHECK_FALSE(time_body("--until", text, kNow));
  }
}

TEST_CASE("a subject is named by kind and name, by id, or is everyone") {
  using By = Reference::By;
  CHECK(parse_subject("svc:ci") == Reference{By::name, "service-accounts", "ci"});
  CHECK(parse_subject("user:ada") == Reference{By::name, "users", "ada"});
  CHECK(parse_subject("group:on call") == Reference{By::name, "groups", "on call"});
  CHECK(parse_subject("svc:a:b") == Reference{By::name, "service-accounts", "a:b"});
  CHECK(parse_subject(kServiceId) == Reference{By::id, "service-accounts", kServiceId});
  CHECK(parse_subject("svc:" + kServiceId) == Reference{By::id, "service-accounts", kServiceId});
  CHECK(parse_subject("everyone") == Reference{By::word, "", "everyone"});
  for (const char* text : {"", "ci", "svc:", ":ci", "device:x", "Everyone", "svc_1"}) {
    INFO(text);
    CHECK_FALSE(parse_subject(text));
  }
}

TEST_CASE("an id of another kind is a name") {
  CHECK(parse_rule_resource(kServiceId).by == Reference::By::name);
  CHECK(parse_rule_resource(kResourceId).by == Reference::By::id);
  CHECK(parse_rule_resource("everything").by == Reference::By::word);
  // One character more or less is no id.
  CHECK(parse_rule_resource(kResourceId + "0").by == Reference::By::name);
  CHECK(parse_rule_resource(kResourceId.substr(0, 29)).by == Reference::By::name);
}

TEST_CASE("a token's body holds what was given and nothing else") {
  CHECK(token_body({}) == Json::object());
  CHECK(token_body({.name = "r1",
                    .lifetime = "1h",
                    .uses = 3,
                    .address = "r.example:443",
                    .region = "eu"}) == Json({{"name", "r1"},
                                              {"lifetime", "1h"},
                                              {"uses", 3},
                                              {"address", "r.example:443"},
                                              {"region", "eu"}}));
  CHECK_FALSE(token_body({.lifetime = "soon"}));
}

TEST_CASE("a resource's body holds what was given and nothing else") {
  CHECK(resource_body({.name = "db",
                       .network = "net_1",
                       .address = "db.internal",
                       .tcp = "5432",
                       .aliases = {"pg.internal"}}) == Json({{"name", "db"},
                                                             {"network", "net_1"},
                                                             {"address", "db.internal"},
                                                             {"tcp", {"5432"}},
                                                             {"aliases", {"pg.internal"}}}));
  CHECK(resource_body({.udp = "none"}) == Json({{"udp", "none"}}));
  CHECK(resource_body({.is_without_aliases = true}) == Json({{"aliases", Json::array()}}));
  CHECK_FALSE(resource_body({}));
  CHECK_FALSE(resource_body({.name = "db", .tcp = "x"}));
}

TEST_CASE("a rule without ports says nothing about them") {
  CHECK(rule_body(plain_rule(), kNow) == Json({{"name", "ci-db"},
                                               {"effect", "allow"},
                                               {"subjects", {kServiceId}},
                                               {"resources", {kResourceId}}}));
}

TEST_CASE("a rule's ports restrict it to their protocols") {
  struct Row {
    const char* tcp;
    const char* udp;
    Json protocols;
    Json ports;
  };
  const std::vector<Row> rows = {
      {"5432", "", Json({"tcp"}), Json({"5432"})},
      {"", "53", Json({"udp"}), Json({"53"})},
      {"53", "53", Json({"tcp", "udp"}), Json({"53"})},
      {"all", "", Json({"tcp"}), "all"},
      {"all", "none", Json({"tcp"}), "all"},
      {"none", "53", Json({"udp"}), Json({"53"})},
  };
  for (const Row& row : rows) {
    INFO("tcp " << row.tcp << " udp " << row.udp);
    RuleArguments rule = plain_rule();
    rule.tcp = row.tcp;
    rule.udp = row.udp;
    const auto body = rule_body(rule, kNow);
    REQUIRE(body);
    CHECK((*body)["protocols"] == row.protocols);
    CHECK((*body)["ports"] == row.ports);
  }
}

TEST_CASE("a rule that could not say what was meant is refused") {
  for (const auto& [tcp, udp] : {std::pair("5432", "53"), std::pair("all", "53"),
                                 std::pair("none", "none"), std::pair("none", "")}) {
    INFO("tcp " << tcp << " udp " << udp);
    RuleArguments rule = plain_rule();
    rule.tcp = tcp;
    rule.udp = udp;
    CHECK_FALSE(rule_body(rule, kNow));
  }
}

TEST_CASE("a rule denies and ends when it is told to") {
  RuleArguments rule = plain_rule();
  rule.is_deny = true;
  rule.until = "1d";
  const auto body = rule_body(rule, kNow);
  REQUIRE(body);
  CHECK((*body)["effect"] == "deny");
  CHECK((*body)["valid_until"] == "2026-03-02T00:00:00Z");
}

TEST_CASE("a change of a rule's lists keeps what it does not name") {
  const Json rule = {{"subjects", {"svc_1", "grp_1"}}, {"resources", {"res_1"}}};
  CHECK(rule_changes_body(rule,
                          {.subjects_added = {"svc_2", "svc_1"}, .subjects_removed = {"grp_1"}},
                          kNow) == Json({{"subjects", {"svc_1", "svc_2"}}}));
  CHECK(rule_changes_body(rule, {.resources_added = {"everything"}}, kNow) ==
        Json({{"resources", {"everything", "res_1"}}}));
  CHECK_FALSE(rule_changes_body(rule, {.subjects_removed = {"svc_9"}}, kNow));
  CHECK_FALSE(rule_changes_body(rule, {.resources_removed = {"res_1"}}, kNow));
  CHECK_FALSE(rule_changes_body(rule, {}, kNow));
}

TEST_CASE("a change of a rule says what was given and nothing else") {
  CHECK(rule_changes_body({}, {.name = "n", .is_deny = true, .tcp = "22", .until = "never"},
                          kNow) == Json({{"name", "n"},
                                         {"effect", "deny"},
                                         {"protocols", {"tcp"}},
                                         {"ports", {"22"}},
                                         {"valid_until", nullptr}}));
  CHECK(rule_changes_body({}, {.is_allow = true, .is_for_all_ports = true}, kNow) ==
        Json({{"effect", "allow"}, {"protocols", Json::array()}, {"ports", "all"}}));
  CHECK_FALSE(rule_changes_body({}, {.until = "soon"}, kNow));
}

TEST_CASE("a rule of another version, with members of other types, is no reason to fall over") {
  for (const Json& rule : {Json(nullptr), Json({1, 2}), Json({{"subjects", 7}}),
                           Json({{"subjects", {1, nullptr, {{"a", 1}}}}})}) {
    INFO(rule.dump());
    CHECK(rule_changes_body(rule, {.subjects_added = {"svc_1"}}, kNow) ==
          Json({{"subjects", {"svc_1"}}}));
  }
}

}  // namespace zt::app
