// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/trace.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "fixture.h"

namespace zt::policy {
namespace {

AccessRule rule_for(std::string_view id, std::string_view subject, Effect effect = Effect::allow) {
  return {.id = {"rul_" + std::string(id)},
          .name = std::string(id),
          .effect = effect,
          .subjects = {{std::string(subject)}},
          .resources = {{"res_db"}}};
}

PolicySet world() {
  PolicySet policies;
  policies.subjects[{"svc_1"}] = {.id = {"svc_1"}, .name = "ci", .groups = {}};
  policies.resources = {resource("db", "db.internal"), resource("web", "web.internal")};
  return policies;
}

Request asked(std::string_view host, std::uint16_t port = 80) {
  return {.subject = {"svc_1"}, .target = target(host, port), .resource = {}};
}

TEST_CASE("each rule that names the resource says what it has to do with the flow") {
  PolicySet policies = world();
  policies.rules = {rule_for("off", "svc_1"),   rule_for("others", "svc_2"),
                    rule_for("ports", "svc_1"), rule_for("over", "svc_1"),
                    rule_for("yes", "svc_1"),   rule_for("no", "svc_1", Effect::deny),
                    rule_for("web", "svc_1")};
  policies.rules[0].is_enabled = false;
  policies.rules[2].ports = {{81, 81}};
  policies.rules[3].valid_until = at(1000);
  policies.rules[6].resources = {{"res_web"}};
  const Trace traced = trace(policies, asked("db.internal"), at(1000));
  CHECK(traced.decision.reason == Reason::denied_by_rule);
  REQUIRE(traced.resources.size() == 1);
  CHECK(traced.resources[0].rules ==
        std::vector<RuleTrace>{{{"rul_off"}, RuleFit::disabled},
                               {{"rul_others"}, RuleFit::other_subject},
                               {{"rul_ports"}, RuleFit::other_port},
                               {{"rul_over"}, RuleFit::ended},
                               {{"rul_yes"}, RuleFit::outweighed},
                               {{"rul_no"}, RuleFit::decided}});
}

TEST_CASE("a rule speaks until its end, and has ended from then on") {
  PolicySet policies = world();
  policies.rules = {rule_for("yes", "svc_1")};
  policies.rules[0].valid_until = at(1000);
  const auto fit_at = [&](std::int64_t seconds) {
    return trace(policies, asked("db.internal"), at(seconds)).resources.at(0).rules.at(0).fit;
  };
  CHECK(fit_at(999) == RuleFit::decided);
  CHECK(fit_at(1000) == RuleFit::ended);
}

TEST_CASE("a trace tells of every resource that the target belongs to, and of no other") {
  PolicySet policies = world();
  policies.resources.push_back(resource("db2", "db.internal"));
  policies.resources.back().tcp = {{81, 81}};
  policies.resources.back().is_enabled = false;
  const Trace traced = trace(policies, asked("db.internal"), at(0));
  REQUIRE(traced.resources.size() == 2);
  CHECK(traced.resources[0].resource.text == "res_db");
  CHECK(traced.resources[0].offers_port);
  CHECK(traced.resources[1].resource.text == "res_db2");
  CHECK_FALSE(traced.resources[1].offers_port);
  CHECK_FALSE(traced.resources[1].is_enabled);
  CHECK(trace(policies, asked("none.internal"), at(0)).resources.empty());
}

TEST_CASE("a trace of an unknown subject decides as evaluate does, and shows the rules") {
  PolicySet policies = world();
  policies.rules = {rule_for("others", "svc_2")};
  Request request = asked("db.internal");
  request.subject = {"svc_9"};
  const Trace traced = trace(policies, request, at(0));
  CHECK(traced.decision == evaluate(policies, request, at(0)));
  CHECK(traced.resources.at(0).rules ==
        std::vector<RuleTrace>{{{"rul_others"}, RuleFit::other_subject}});
}

}  // namespace
}  // namespace zt::policy
