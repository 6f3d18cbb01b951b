// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/evaluate.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fixture.h"
#include "zt/base/random.h"
#include "zt/policy/explain.h"

namespace zt::policy {
namespace {

const SubjectId kAnn{"usr_ann"};      // In the group.
const SubjectId kBob{"usr_bob"};      // In no group.
const SubjectId kEve{"usr_eve"};      // In the group, disabled.
const SubjectId kNobody{"usr_none"};  // Unknown.
const GroupId kDevs{"grp_devs"};

PolicySet world() {
  PolicySet policies;
  policies.subjects[kAnn] = {.id = kAnn, .name = "ann", .groups = {kDevs}};
  policies.subjects[kBob] = {.id = kBob, .name = "bob", .groups = {}};
  policies.subjects[kEve] = {.id = kEve, .name = "eve", .groups = {kDevs}, .is_enabled = false};
  policies.group_names[kDevs] = "devs";
  policies.resources = {resource("db", "db.x"), resource("web", "web.x"), resource("off", "off.x")};
  policies.resources[0].tcp = {PortRange{22, 22}, PortRange{80, 80}};
  policies.resources[0].udp = {PortRange{22, 22}};
  policies.resources[2].is_enabled = false;
  return policies;
}

AccessRule rule(std::string id, Effect effect) {
  return {.id = {"rul_" + id}, .name = std::move(id), .effect = effect};
}

AccessRule everything(std::string id, Effect effect) {
  AccessRule all = rule(std::move(id), effect);
  all.is_for_everyone = true;
  all.is_for_everything = true;
  return all;
}

Decision decide(const PolicySet& policies, const SubjectId& subject, const Target& wanted,
                UnixTime now = at(0)) {
  return evaluate(policies, {.subject = subject, .target = wanted, .resource = {}}, now);
}

TEST_CASE("silence is a denial") {
  CHECK(decide(world(), kAnn, target("db.x", 22)).reason == Reason::no_rule);
}

TEST_CASE("an explicit deny wins over any allow") {
  PolicySet policies = world();
  policies.rules = {everything("a", Effect::allow)};
  CHECK(decide(policies, kAnn, target("db.x", 22)).is_allowed());
  AccessRule narrow = rule("z", Effect::deny);
  narrow.subjects = {kAnn};
  narrow.resources = {{"res_db"}};
  narrow.ports = {PortRange{22, 22}};
  policies.rules.push_back(narrow);
  const Decision denied = decide(policies, kAnn, target("db.x", 22));
  CHECK(denied.reason == Reason::denied_by_rule);
  CHECK(denied.rule == narrow.id);
  CHECK(decide(policies, kAnn, target("db.x", 80)).is_allowed());
  CHECK(decide(policies, kBob, target("db.x", 22)).is_allowed());
  CHECK(decide(policies, kAnn, target("web.x", 22)).is_allowed());
}

TEST_CASE("a rule speaks until its date and not from then on") {
  PolicySet policies = world();
  policies.rules = {everything("a", Effect::allow)};
  policies.rules[0].valid_until = at(100);
  const UnixTime last = at(100) - std::chrono::milliseconds(1);
  const Decision allowed = decide(policies, kAnn, target("db.x", 22), last);
  CHECK(allowed.is_allowed());
  CHECK(allowed.valid_until == at(100));
  const Decision expired = decide(policies, kAnn, target("db.x", 22), at(100));
  CHECK(expired.reason == Reason::rule_expired);
  CHECK(expired.rule.text == "rul_a");
  policies.rules[0].effect = Effect::deny;
  policies.rules.push_back(everything("b", Effect::allow));
  CHECK_FALSE(decide(policies, kAnn, target("db.x", 22), last).is_allowed());
  CHECK(decide(policies, kAnn, target("db.x", 22), at(100)).is_allowed());
}

TEST_CASE("an allow lasts as long as the last of its rules") {
  PolicySet policies = world();
  policies.rules = {everything("b", Effect::allow), everything("a", Effect::allow),
                    everything("c", Effect::allow)};
  policies.rules[0].valid_until = at(100);
  policies.rules[1].valid_until = at(200);
  policies.rules[2].valid_until = at(200);
  const Decision decision = decide(policies, kAnn, target("db.x", 22));
  CHECK(decision.valid_until == at(200));
  CHECK(decision.rule.text == "rul_a");
  policies.rules[0].valid_until.reset();
  CHECK(decide(policies, kAnn, target("db.x", 22)).valid_until == UnixTime::max());
  CHECK(decide(policies, kAnn, target("db.x", 22)).rule.text == "rul_b");
}

TEST_CASE("of equal resources one open door is enough") {
  PolicySet policies = world();
  policies.resources = {resource("one", "db.x"), resource("two", "db.x")};
  AccessRule second = rule("a", Effect::allow);
  second.is_for_everyone = true;
  second.resources = {{"res_two"}};
  policies.rules = {second};
  const Decision decision = decide(policies, kAnn, target("db.x"));
  CHECK(decision.is_allowed());
  CHECK(decision.resource.text == "res_two");
  Request only_first{.subject = kAnn, .target = target("db.x"), .resource = ResourceId{"res_one"}};
  CHECK(evaluate(policies, only_first, at(0)).reason == Reason::no_rule);
  policies.rules.clear();
  CHECK(decide(policies, kAnn, target("db.x")).resource.text == "res_one");
}

TEST_CASE("a grant's resource is judged only while the target belongs to it") {
  PolicySet policies = world();
  policies.rules = {everything("a", Effect::allow)};
  Request request{.subject = kAnn, .target = target("db.x", 22), .resource = ResourceId{"res_db"}};
  CHECK(evaluate(policies, request, at(0)).is_allowed());
  request.resource = ResourceId{"res_web"};
  const Decision other = evaluate(policies, request, at(0));
  CHECK(other.reason == Reason::other_resource);
  CHECK(other.resource.text == "res_db");
  request.resource = ResourceId{"res_gone"};
  CHECK(evaluate(policies, request, at(0)).reason == Reason::other_resource);
}

TEST_CASE("port 0 is never reachable") {
  PolicySet policies = world();
  policies.rules = {everything("a", Effect::allow)};
  CHECK(decide(policies, kAnn, target("web.x", 0)).reason == Reason::port_not_offered);
}

// The small world in which every set of up to three rules meets every request.

struct SmallRule {
  Effect effect;
  unsigned who;        // 0: Ann by id. 1: the group. 2: everyone.
  bool is_everything;  // Else: db only.
  bool is_narrow;      // TCP port 22 only.
  bool has_end;        // At second 10.
};

std::vector<SmallRule> all_small_rules() {
  std::vector<SmallRule> rules;
  for (const Effect effect : {Effect::allow, Effect::deny}) {
    for (unsigned who = 0; who < 3; ++who) {
      for (unsigned bits = 0; bits < 8; ++bits) {
        rules.push_back({effect, who, (bits & 1U) != 0, (bits & 2U) != 0, (bits & 4U) != 0});
      }
    }
  }
  return rules;
}

AccessRule full(const SmallRule& small, std::string id) {
  AccessRule result = rule(std::move(id), small.effect);
  if (small.who == 0) result.subjects = {kAnn};
  if (small.who == 1) result.groups = {kDevs};
  result.is_for_everyone = small.who == 2;
  if (small.is_everything) {
    result.is_for_everything = true;
  } else {
    result.resources = {{"res_db"}};
  }
  if (small.is_narrow) result.protocols = {Protocol::tcp};
  if (small.is_narrow) result.ports = {PortRange{22, 22}};
  if (small.has_end) result.valid_until = at(10);
  return result;
}

struct Expected {
  Reason reason = Reason::no_rule;
  UnixTime valid_until = UnixTime::min();
};

// judge_slowly is the definition, for the small world only: it knows who is in which group, and
// what each resource has, by heart.
Expected judge_slowly(const std::vector<SmallRule>& rules, const SubjectId& subject,
                      const Target& wanted, UnixTime now) {
  if (subject == kNobody) return {Reason::unknown_subject};
  if (subject == kEve) return {Reason::subject_disabled};
  const std::string name = to_text(wanted.host);
  if (name != "db.x" && name != "web.x" && name != "off.x") return {Reason::no_resource};
  if (name == "off.x") return {Reason::resource_disabled};
  const bool is_tcp_22 = wanted.protocol == Protocol::tcp && wanted.port == 22;
  if (name == "db.x" && wanted.protocol == Protocol::udp && wanted.port != 22) {
    return {Reason::port_not_offered};
  }
  bool is_denied = false;
  bool is_allowed = false;
  bool was_allowed = false;
  UnixTime end = UnixTime::min();
  for (const SmallRule& small : rules) {
    if (small.who != 2 && subject != kAnn) continue;
    if (!small.is_everything && name != "db.x") continue;
    if (small.is_narrow && !is_tcp_22) continue;
    const bool is_over = small.has_end && now >= at(10);
    if (small.effect == Effect::deny) {
      is_denied = is_denied || !is_over;
    } else if (is_over) {
      was_allowed = true;
    } else {
      is_allowed = true;
      end = std::max(end, small.has_end ? at(10) : UnixTime::max());
    }
  }
  if (is_denied) return {Reason::denied_by_rule};
  if (is_allowed) return {Reason::allowed_by_rule, end};
  return {was_allowed ? Reason::rule_expired : Reason::no_rule};
}

void check_all_requests(PolicySet& policies, const std::vector<SmallRule>& small) {
  static const std::vector<Target> kTargets = {target("db.x", 22),
                                               target("db.x", 80),
                                               target("db.x", 22, Protocol::udp),
                                               target("web.x", 22),
                                               target("off.x", 22),
                                               target("none.x", 22),
                                               target("db.x", 80, Protocol::udp)};
  policies.rules.clear();
  for (std::size_t i = 0; i < small.size(); ++i) {
    policies.rules.push_back(full(small[i], std::string(1, static_cast<char>('a' + i))));
  }
  for (const SubjectId& subject : {kAnn, kBob, kEve, kNobody}) {
    for (const Target& wanted : kTargets) {
      for (const UnixTime now : {at(9), at(10)}) {
        const Expected expected = judge_slowly(small, subject, wanted, now);
        const Decision decision = decide(policies, subject, wanted, now);
        const bool is_right = decision.reason == expected.reason &&
                              decision.valid_until == expected.valid_until &&
                              decision.is_allowed() == (expected.reason == Reason::allowed_by_rule);
        if (is_right) continue;  // A check for each of a million would take minutes.
        CAPTURE(subject.text, to_text(wanted.host), wanted.port, unix_seconds(now), small.size());
        FAIL("the decision differs from the definition");
      }
    }
  }
}

TEST_CASE("every set of up to three rules decides every request as defined", "[exhaustive]") {
  const std::vector<SmallRule> rules = all_small_rules();
  PolicySet policies = world();
  check_all_requests(policies, {});
  for (std::size_t i = 0; i < rules.size(); ++i) {
    check_all_requests(policies, {rules[i]});
    for (std::size_t j = i; j < rules.size(); ++j) {
      check_all_requests(policies, {rules[i], rules[j]});
      for (std::size_t k = j; k < rules.size(); ++k) {
        check_all_requests(policies, {rules[i], rules[j], rules[k]});
      }
    }
  }
  SUCCEED();
}

// random_policies draws rules with odd ports, dates and switches over the small world.
PolicySet random_policies(SeededRandom& random) {
  PolicySet policies = world();
  const std::vector<SmallRule> small = all_small_rules();
  for (std::uint64_t i = random.below(5); i > 0; --i) {
    AccessRule drawn = full(small[random.below(small.size())], std::to_string(i));
    drawn.is_enabled = random.below(5) != 0;
    drawn.ports.clear();
    for (std::uint64_t n = random.below(3); n > 0; --n) {
      const auto first = static_cast<std::uint16_t>(1 + random.below(40));
      const auto last = static_cast<std::uint16_t>(first + random.below(40));
      drawn.ports.push_back(random.below(8) == 0 ? PortRange{65530, 65535}
                                                 : PortRange{first, last});
    }
    policies.rules.push_back(std::move(drawn));
  }
  return policies;
}

TEST_CASE("the order of rules and resources means nothing", "[property]") {
  constexpr std::uint64_t kSeed = 11;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 5000; ++round) {
    const PolicySet policies = random_policies(random);
    PolicySet reversed = policies;
    std::reverse(reversed.rules.begin(), reversed.rules.end());
    std::reverse(reversed.resources.begin(), reversed.resources.end());
    const auto port = static_cast<std::uint16_t>(random.below(90));
    const Target wanted = target(random.below(2) == 0 ? "db.x" : "web.x", port);
    REQUIRE(decide(policies, kAnn, wanted) == decide(reversed, kAnn, wanted));
  }
}

TEST_CASE("a disabled rule says nothing", "[property]") {
  constexpr std::uint64_t kSeed = 12;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 5000; ++round) {
    const PolicySet policies = random_policies(random);
    PolicySet without = policies;
    std::erase_if(without.rules, [](const AccessRule& r) { return !r.is_enabled; });
    const Target wanted = target("web.x", static_cast<std::uint16_t>(random.below(90)));
    REQUIRE(decide(policies, kAnn, wanted) == decide(without, kAnn, wanted));
  }
}

TEST_CASE("reachable ports are those that are allowed, one by one", "[property]") {
  constexpr std::uint64_t kSeed = 13;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 400; ++round) {
    const PolicySet policies = random_policies(random);
    const Protocol protocol = random.below(2) == 0 ? Protocol::tcp : Protocol::udp;
    const SubjectId& subject = random.below(4) == 0 ? kBob : kAnn;
    for (const std::string name : {"db", "web", "off"}) {
      const std::vector<PortRange> ranges =
          reachable_ports(policies, subject, {"res_" + name}, protocol, at(9));
      for (std::size_t i = 0; i < ranges.size(); ++i) {
        REQUIRE(ranges[i].first <= ranges[i].last);
        REQUIRE((i == 0 || ranges[i].first > ranges[i - 1].last + 1));
      }
      for (std::uint32_t port = 0; port <= 65535; port == 120 ? port = 65500 : ++port) {
        const auto number = static_cast<std::uint16_t>(port);
        const bool is_in = std::any_of(ranges.begin(), ranges.end(),
                                       [&](const PortRange& r) { return r.contains(number); });
        const bool is_allowed =
            decide(policies, subject, target(name + ".x", number, protocol), at(9)).is_allowed();
        if (is_in != is_allowed) FAIL("port " << port << " of " << name);
      }
    }
  }
}

TEST_CASE("unknown and disabled subjects and resources have no reachable ports") {
  PolicySet policies = world();
  policies.rules = {everything("a", Effect::allow)};
  const auto ports = [&policies](const SubjectId& subject, const std::string& name) {
    return reachable_ports(policies, subject, {name}, Protocol::tcp, at(0));
  };
  CHECK(ports(kBob, "res_web") == all_ports());
  CHECK(ports(kBob, "res_db") == std::vector<PortRange>{{22, 22}, {80, 80}});
  CHECK(ports(kEve, "res_web").empty());
  CHECK(ports(kNobody, "res_web").empty());
  CHECK(ports(kBob, "res_off").empty());
  CHECK(ports(kBob, "res_none").empty());
}

}  // namespace
}  // namespace zt::policy
