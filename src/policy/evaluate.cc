// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/evaluate.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "policy/speaks.h"

namespace zt::policy {
namespace {

UnixTime end_of(const AccessRule& rule) {
  return rule.valid_until.value_or(UnixTime::max());
}

// Verdicts are the rules that matter for one flow to one resource: of each kind the one that is
// named.
struct Verdicts {
  const AccessRule* deny = nullptr;
  const AccessRule* allow = nullptr;
  const AccessRule* expired_allow = nullptr;
};

// prefer makes `chosen` the rule that lasts longest, and of those the one with the lowest id.
void prefer(const AccessRule*& chosen, const AccessRule& rule) {
  const bool is_better = chosen == nullptr || end_of(rule) > end_of(*chosen) ||
                         (end_of(rule) == end_of(*chosen) && rule.id < chosen->id);
  if (is_better) chosen = &rule;
}

Verdicts collect(const PolicySet& policies, const Subject& subject, const Resource& resource,
                 Protocol protocol, std::uint16_t port, UnixTime now) {
  Verdicts verdicts;
  for (const AccessRule& rule : policies.rules) {
    if (!rule.is_enabled || !speaks_of(rule, subject) || !speaks_of(rule, resource.id) ||
        !speaks_of(rule, protocol, port)) {
      continue;
    }
    switch (rule.effect) {
      case Effect::deny:
        if (!is_over(rule, now)) prefer(verdicts.deny, rule);
        break;
      case Effect::allow:
        prefer(is_over(rule, now) ? verdicts.expired_allow : verdicts.allow, rule);
        break;
    }
  }
  return verdicts;
}

// judge decides about one resource that the target belongs to.
Decision judge(const PolicySet& policies, const Subject& subject, const Resource& resource,
               Protocol protocol, std::uint16_t port, UnixTime now) {
  Decision decision{.resource = resource.id};
  const auto decided = [&decision](Reason reason, const AccessRule* rule) {
    decision.reason = reason;
    if (rule != nullptr) decision.rule = rule->id;
    return decision;
  };
  if (!resource.is_enabled) return decided(Reason::resource_disabled, nullptr);
  if (!offers(resource, protocol, port)) return decided(Reason::port_not_offered, nullptr);
  const Verdicts verdicts = collect(policies, subject, resource, protocol, port, now);
  if (verdicts.deny != nullptr) return decided(Reason::denied_by_rule, verdicts.deny);
  if (verdicts.allow != nullptr) {
    decision.valid_until = end_of(*verdicts.allow);
    return decided(Reason::allowed_by_rule, verdicts.allow);
  }
  if (verdicts.expired_allow != nullptr) {
    return decided(Reason::rule_expired, verdicts.expired_allow);
  }
  return decided(Reason::no_rule, nullptr);
}

// add_range appends a range that begins above all of `ranges`, or lengthens the last one.
void add_range(std::vector<PortRange>& ranges, const PortRange& range) {
  if (!ranges.empty() && std::uint32_t{ranges.back().last} + 1 == range.first) {
    ranges.back().last = range.last;
  } else {
    ranges.push_back(range);
  }
}

// first_ports returns, in ascending order, the ports at which an answer may begin to differ: every
// range that any rule or `resource` has begins or has just ended there.
std::set<std::uint32_t> first_ports(const PolicySet& policies, const Resource& resource,
                                    Protocol protocol) {
  std::set<std::uint32_t> firsts = {1};
  const auto add = [&firsts](const PortRange& range) {
    firsts.insert(range.first);
    firsts.insert(std::uint32_t{range.last} + 1);
  };
  for (const PortRange& range : ports_of(resource, protocol)) add(range);
  for (const AccessRule& rule : policies.rules) {
    if (!speaks_of(rule, resource.id)) continue;
    for (const PortRange& range : rule.ports) add(range);
  }
  return firsts;
}

}  // namespace

Decision evaluate(const PolicySet& policies, const Request& request, UnixTime now) {
  const auto found = policies.subjects.find(request.subject);
  if (found == policies.subjects.end()) return {.reason = Reason::unknown_subject};
  const Subject& subject = found->second;
  if (!subject.is_enabled) return {.reason = Reason::subject_disabled};
  const Target& target = request.target;
  const std::vector<const Resource*> matches = best_matches(policies.resources, target);
  if (matches.empty()) return {.reason = Reason::no_resource};
  std::optional<Decision> first_denial;
  for (const Resource* resource : matches) {
    if (request.resource && *request.resource != resource->id) continue;
    const Decision decision =
        judge(policies, subject, *resource, target.protocol, target.port, now);
    if (decision.is_allowed()) return decision;
    if (!first_denial) first_denial = decision;
  }
  return first_denial.value_or(
      Decision{.reason = Reason::other_resource, .resource = matches.front()->id});
}

std::vector<PortRange> reachable_ports(const PolicySet& policies, const SubjectId& subject,
                                       const ResourceId& resource, Protocol protocol,
                                       UnixTime now) {
  const auto who = policies.subjects.find(subject);
  const auto what =
      std::ranges::find_if(policies.resources, [&](const Resource& r) { return r.id == resource; });
  if (who == policies.subjects.end() || !who->second.is_enabled ||
      what == policies.resources.end()) {
    return {};
  }
  // Between two neighbouring firsts every port has the same answer.
  std::vector<PortRange> reachable;
  const std::set<std::uint32_t> firsts = first_ports(policies, *what, protocol);
  for (auto first = firsts.begin(); first != firsts.end() && *first <= 65535; ++first) {
    const auto next = std::next(first);
    const std::uint32_t last = next == firsts.end() ? 65535 : *next - 1;
    const PortRange range{.first = static_cast<std::uint16_t>(*first),
                          .last = static_cast<std::uint16_t>(last)};
    const Decision decision = judge(policies, who->second, *what, protocol, range.first, now);
    if (decision.is_allowed()) add_range(reachable, range);
  }
  return reachable;
}

}  // namespace zt::policy
