// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/trace.h"

#include "policy/speaks.h"

namespace zt::policy {
namespace {

RuleFit fit_of(const AccessRule& rule, const Subject& subject, const Target& target,
               const Decision& decision, UnixTime now) {
  if (!rule.is_enabled) return RuleFit::disabled;
  if (!speaks_of(rule, subject)) return RuleFit::other_subject;
  if (!speaks_of(rule, target.protocol, target.port)) return RuleFit::other_port;
  if (is_over(rule, now)) return RuleFit::ended;
  return rule.id == decision.rule ? RuleFit::decided : RuleFit::outweighed;
}

}  // namespace

std::string_view to_text(RuleFit fit) {
  switch (fit) {
    case RuleFit::disabled:
      return "is disabled";
    case RuleFit::other_subject:
      return "is for other subjects";
    case RuleFit::other_port:
      return "is for other ports or protocols";
    case RuleFit::ended:
      return "has ended";
    case RuleFit::outweighed:
      return "speaks of it, but does not decide";
    case RuleFit::decided:
      return "decides";
  }
  return "is not known";
}

Trace trace(const PolicySet& policies, const Request& request, UnixTime now) {
  Trace result{.decision = evaluate(policies, {request.subject, request.target, {}}, now),
               .resources = {}};
  const auto found = policies.subjects.find(request.subject);
  const Subject subject = found == policies.subjects.end()
                              ? Subject{.id = request.subject, .name = {}, .groups = {}}
                              : found->second;
  for (const Resource* resource : best_matches(policies.resources, request.target)) {
    ResourceTrace about{
        .resource = resource->id,
        .is_enabled = resource->is_enabled,
        .offers_port = offers(*resource, request.target.protocol, request.target.port),
        .rules = {}};
    for (const AccessRule& rule : policies.rules) {
      if (!speaks_of(rule, resource->id)) continue;
      about.rules.push_back({rule.id, fit_of(rule, subject, request.target, result.decision, now)});
    }
    result.resources.push_back(std::move(about));
  }
  return result;
}

}  // namespace zt::policy
