// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/explain.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fixture.h"

namespace zt::policy {
namespace {

PolicySet world() {
  PolicySet policies;
  policies.subjects[{"usr_1"}] = {
      .id = {"usr_1"}, .name = "ann", .groups = {{"grp_1"}, {"grp_2"}, {"grp_3"}}};
  policies.subjects[{"usr_2"}] = {
      .id = {"usr_2"}, .name = "eve", .groups = {}, .is_enabled = false};
  policies.subjects[{"svc_1"}] = {.id = {"svc_1"}, .name = "ci", .groups = {}};
  policies.group_names = {{{"grp_1"}, "staff"}, {{"grp_2"}, "contractors"}, {{"grp_3"}, ""}};
  policies.resources = {resource("db", "db.internal"), resource("off", "off.internal")};
  policies.resources[0].tcp = {PortRange{5432, 5432}};
  policies.resources[1].is_enabled = false;
  return policies;
}

AccessRule rule(Effect effect) {
  return {.id = {"rul_1"}, .name = "contractors-off", .effect = effect, .is_for_everything = true};
}

std::string sentence(const PolicySet& policies, std::string_view subject, const Target& wanted) {
  const Request request{.subject = {std::string(subject)}, .target = wanted, .resource = {}};
  return explain(evaluate(policies, request, at(1000)), policies, request);
}

TEST_CASE("each reason has its sentence", "[golden]") {
  PolicySet policies = world();
  const Target db = target("db.internal", 5432);
  CHECK(sentence(policies, "usr_9", db) == "denied: nobody is known as \"usr_9\"");
  CHECK(sentence(policies, "usr_2", db) == "denied: user \"eve\" is disabled");
  CHECK(sentence(policies, "usr_1", target("x.internal", 1)) ==
        "denied: no resource has the address x.internal");
  CHECK(sentence(policies, "usr_1", target("off.internal", 1)) ==
        "denied: resource \"off\" is disabled");
  CHECK(sentence(policies, "usr_1", target("db.internal", 22)) ==
        "denied: resource \"db\" does not offer tcp port 22; it offers tcp 5432 and udp 1-65535");
  CHECK(sentence(policies, "svc_1", db) ==
        "denied: no rule allows service account \"ci\" to reach \"db\" on tcp port 5432");
  CHECK(sentence(policies, "usr_1", target("db.internal", 53, Protocol::udp)) ==
        "denied: no rule allows user \"ann\" to reach \"db\" on udp port 53");
}

TEST_CASE("a rule that decides is named with the party that it speaks of", "[golden]") {
  PolicySet policies = world();
  const Target db = target("db.internal", 5432);
  policies.rules = {rule(Effect::deny)};
  policies.rules[0].groups = {{"grp_2"}};
  CHECK(sentence(policies, "usr_1", db) ==
        "denied: rule rul_1 \"contractors-off\" denies group \"contractors\"");
  policies.rules[0].groups = {{"grp_3"}};
  CHECK(sentence(policies, "usr_1", db) ==
        "denied: rule rul_1 \"contractors-off\" denies group grp_3");
  policies.rules[0].subjects = {{"usr_1"}};
  CHECK(sentence(policies, "usr_1", db) ==
        "denied: rule rul_1 \"contractors-off\" denies user \"ann\"");
  policies.rules[0].subjects.clear();
  policies.rules[0].groups.clear();
  policies.rules[0].is_for_everyone = true;
  policies.rules[0].name.clear();
  CHECK(sentence(policies, "usr_1", db) == "denied: rule rul_1 denies everyone");
}

TEST_CASE("an allow tells its end", "[golden]") {
  PolicySet policies = world();
  const Target db = target("db.internal", 5432);
  policies.rules = {rule(Effect::allow)};
  policies.rules[0].name = "staff-db";
  policies.rules[0].groups = {{"grp_1"}};
  CHECK(sentence(policies, "usr_1", db) ==
        "allowed: rule rul_1 \"staff-db\" allows group \"staff\" to reach \"db\" on tcp port 5432");
  policies.rules[0].valid_until = at(1001);
  CHECK(sentence(policies, "usr_1", db) ==
        "allowed: rule rul_1 \"staff-db\" allows group \"staff\" to reach \"db\" on tcp port 5432 "
        "until "
        "1970-01-01T00:16:41Z");
  policies.rules[0].valid_until = at(1000);
  CHECK(sentence(policies, "usr_1", db) ==
        "denied: rule rul_1 \"staff-db\" allowed group \"staff\" to reach \"db\" on tcp port 5432 "
        "until "
        "1970-01-01T00:16:40Z");
}

TEST_CASE("a target that moved to another resource is told so", "[golden]") {
  const PolicySet policies = world();
  const Request request{.subject = {"usr_1"},
                        .target = target("db.internal", 5432),
                        .resource = ResourceId{"res_off"}};
  CHECK(explain(evaluate(policies, request, at(0)), policies, request) ==
        "denied: db.internal belongs to another resource, \"db\"");
}

TEST_CASE("names cannot end their quotes or their line", "[threat]") {
  PolicySet policies = world();
  policies.resources[0].name = "d\"b\n\x1b[31m\x7f\xc2\x9b!\xc3\xa9";
  CHECK(sentence(policies, "svc_1", target("db.internal", 22)) ==
        "denied: resource \"d'b?\?[31m?\?!\xc3\xa9\" does not offer tcp port 22; it offers tcp "
        "5432 and udp 1-65535");
}

// --- What the subject is told.

std::string told(const PolicySet& policies, std::string_view subject, const Target& wanted) {
  const Request request{.subject = {std::string(subject)}, .target = wanted, .resource = {}};
  return explain_to_subject(evaluate(policies, request, at(1000)), policies, request, at(1000));
}

std::string nothing_known(std::string_view target) {
  return "denied: no rule gives service account \"ci\" access to " + std::string(target) +
         "; ask an administrator";
}

TEST_CASE("a subject cannot tell a resource that it may not know from none", "[threat]") {
  PolicySet policies = world();
  policies.rules = {rule(Effect::deny)};
  policies.rules[0].is_for_everyone = GENERATE(false, true);
  CHECK(told(policies, "svc_1", target("none.internal", 22)) ==
        nothing_known("none.internal:22 (tcp)"));
  CHECK(told(policies, "svc_1", target("db.internal", 5432)) ==
        nothing_known("db.internal:5432 (tcp)"));
  CHECK(told(policies, "svc_1", target("db.internal", 22)) ==
        nothing_known("db.internal:22 (tcp)"));
  CHECK(told(policies, "svc_1", target("off.internal", 1, Protocol::udp)) ==
        nothing_known("off.internal:1 (udp)"));
  CHECK(told(policies, "svc_1", target("fd00::1", 22)) == nothing_known("[fd00::1]:22 (tcp)"));
}

TEST_CASE("a rule for others, or one that is disabled, makes nobody acquainted", "[threat]") {
  PolicySet policies = world();
  policies.rules = {rule(Effect::allow)};
  policies.rules[0].subjects = {{"usr_1"}};
  const Target db = target("db.internal", 5432);
  CHECK(told(policies, "svc_1", db) == nothing_known("db.internal:5432 (tcp)"));
  policies.rules[0].subjects = {{"svc_1"}};
  policies.rules[0].is_enabled = false;
  CHECK(told(policies, "svc_1", db) == nothing_known("db.internal:5432 (tcp)"));
}

TEST_CASE("a subject that a rule gives anything of a resource hears the truth about it") {
  PolicySet policies = world();
  policies.resources[0].tcp = {{22, 22}, {5432, 5433}};
  policies.resources[0].udp = {};
  policies.rules = {rule(Effect::allow), rule(Effect::deny)};
  policies.rules[0].subjects = {{"svc_1"}};
  policies.rules[0].ports = {{5432, 5433}};
  policies.rules[1].id = {"rul_2"};
  policies.rules[1].is_for_everyone = true;
  policies.rules[1].ports = {{5433, 5433}};
  CHECK(told(policies, "svc_1", target("db.internal", 23)) ==
        "denied: resource \"db\" does not offer tcp port 23; it offers tcp 22,5432-5433");
  CHECK(told(policies, "svc_1", target("db.internal", 22)) ==
        "denied: no rule allows service account \"ci\" to reach \"db\" on tcp port 22; it may "
        "reach tcp 5432");
  CHECK(told(policies, "svc_1", target("db.internal", 5433)) ==
        "denied: rule rul_2 \"contractors-off\" denies everyone");
  policies.rules[0].valid_until = at(1000);
  CHECK(
      told(policies, "svc_1", target("db.internal", 5432)).contains("until 1970-01-01T00:16:40Z"));
  policies.resources[0].is_enabled = false;
  CHECK(told(policies, "svc_1", target("db.internal", 5432)) ==
        "denied: resource \"db\" is disabled");
}

TEST_CASE(
    "a rule that denies all of a resource hides it, but is named to whom it takes access from",
    "[threat]") {
  PolicySet policies = world();
  policies.rules = {rule(Effect::allow), rule(Effect::deny)};
  policies.rules[0].is_for_everyone = true;
  policies.rules[1].id = {"rul_2"};
  policies.rules[1].subjects = {{"svc_1"}};
  policies.rules[1].valid_until = at(1001);
  CHECK(told(policies, "svc_1", target("db.internal", 5432)) ==
        "denied: rule rul_2 \"contractors-off\" denies service account \"ci\"");
  CHECK(told(policies, "svc_1", target("db.internal", 22)) ==
        nothing_known("db.internal:22 (tcp)"));
  CHECK(told(policies, "svc_1", target("off.internal", 22)) ==
        nothing_known("off.internal:22 (tcp)"));
  policies.rules[1].valid_until = at(1000);
  CHECK(told(policies, "svc_1", target("db.internal", 22)).contains("\"db\" does not offer"));
}

TEST_CASE("whoever is disabled or unknown hears that, and nothing of resources", "[threat]") {
  PolicySet policies = world();
  policies.rules = {rule(Effect::allow)};
  policies.rules[0].is_for_everyone = true;
  for (const char* host : {"db.internal", "none.internal"}) {
    CHECK(told(policies, "usr_2", target(host)) == "denied: user \"eve\" is disabled");
    CHECK(told(policies, "usr_9", target(host)) == "denied: nobody is known as \"usr_9\"");
  }
}

TEST_CASE("of many ports the first eight are told") {
  Resource many = resource("db", "db.internal");
  many.tcp.clear();
  many.udp.clear();
  CHECK(port_not_offered(many, target("db.internal", 1)).ends_with("it offers nothing"));
  for (std::uint16_t port = 10; port < 26; port += 2) many.tcp.push_back({port, port});
  CHECK(port_not_offered(many, target("db.internal", 1)).ends_with("22,24"));
  many.tcp.push_back({30, 30});
  CHECK(port_not_offered(many, target("db.internal", 1)).ends_with("22,24,…"));
}

TEST_CASE("explaining is total: foreign decisions and absent objects have a sentence") {
  for (unsigned reason = 0; reason <= static_cast<unsigned>(Reason::no_rule); ++reason) {
    const Decision decision{.reason = static_cast<Reason>(reason),
                            .resource = {"res_gone"},
                            .rule = {"rul_gone"},
                            .valid_until = at(0)};
    const Request request{.subject = {"usr_gone"}, .target = target("x", 1), .resource = {}};
    const std::string text = explain(decision, PolicySet{}, request);
    CAPTURE(text);
    CHECK(text.starts_with(decision.is_allowed() ? "allowed: " : "denied: "));
    const std::string heard = explain_to_subject(decision, PolicySet{}, request, at(0));
    CAPTURE(heard);
    CHECK(heard.starts_with("denied: "));
  }
}

TEST_CASE("a connector's verdicts have their sentences", "[golden]") {
  const std::vector<Resource> own = world().resources;
  const auto said = [&own](std::string_view granted, const Target& wanted) {
    return explain(match_flow(own, {std::string(granted)}, wanted), wanted);
  };
  CHECK(said("res_db", target("db.internal", 5432)) ==
        "allowed: resource \"db\" offers tcp port 5432");
  CHECK(said("res_db", target("db.internal", 22)) ==
        "denied: resource \"db\" does not offer tcp port 22");
  CHECK(said("res_off", target("off.internal", 22)) == "denied: resource \"off\" is disabled");
  CHECK(said("res_db", target("off.internal", 22)) ==
        "denied: off.internal belongs to another resource than \"db\"");
  CHECK(said("res_db", target("x.internal", 22)) ==
        "denied: no resource of this connector has the address x.internal");
  CHECK(said("res_none", target("db.internal", 5432)) ==
        "denied: this connector does not have the granted resource");
}

}  // namespace
}  // namespace zt::policy
