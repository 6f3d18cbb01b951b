// SPDX-License-Identifier: Apache-2.0
#include "controller/explanation.h"

#include <algorithm>

#include "zt/base/rfc3339.h"
#include "zt/policy/explain.h"
#include "zt/policy/trace.h"

namespace zt::controller {

namespace {

using policy::Reason;
using policy::RuleFit;
using wire::Json;

std::string_view word_for(Reason reason) {
  switch (reason) {
    case Reason::unknown_subject:
      return "unknown_subject";
    case Reason::subject_disabled:
      return "subject_disabled";
    case Reason::no_resource:
      return "no_resource";
    case Reason::other_resource:
      return "other_resource";
    case Reason::resource_disabled:
      return "resource_disabled";
    case Reason::port_not_offered:
      return "port_not_offered";
    case Reason::denied_by_rule:
      return "denied_by_rule";
    case Reason::allowed_by_rule:
      return "allowed_by_rule";
    case Reason::rule_expired:
      return "rule_expired";
    case Reason::no_rule:
      return "no_rule";
  }
  return "unknown";
}

std::string_view word_for(RuleFit fit) {
  switch (fit) {
    case RuleFit::disabled:
      return "disabled";
    case RuleFit::other_subject:
      return "other_subject";
    case RuleFit::other_port:
      return "other_port";
    case RuleFit::ended:
      return "ended";
    case RuleFit::outweighed:
      return "outweighed";
    case RuleFit::decided:
      return "decided";
  }
  return "unknown";
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json rules_json(const policy::PolicySet& policies, const policy::ResourceTrace& about) {
  Json list = Json::array();
  for (const policy::RuleTrace& traced : about.rules) {
    const auto rule = std::ranges::find(policies.rules, traced.rule, &policy::AccessRule::id);
    if (rule == policies.rules.end()) continue;
    list.push_back({{"id", rule->id.text},
                    {"name", rule->name},
                    {"effect", rule->effect == policy::Effect::allow ? "allow" : "deny"},
                    {"fit", word_for(traced.fit)},
                    {"text", to_text(traced.fit)}});
  }
  return list;
}

// path_text describes a resource's path rule, with the relays' names.
std::string path_text(const Directory& directory, const policy::Resource& resource) {
  PathRule named = resource.path;
  for (RelayId& id : named.relays) {
    const auto relay = directory.relays.find(id);
    if (relay != directory.relays.end()) id.text = '"' + relay->second.name + '"';
  }
  const bool is_own = directory.own_paths.contains(resource.id);
  return describe(named) + (is_own ? " (by the resource)" : " (by its network)");
}

Json subject_json(const policy::PolicySet& policies, const SubjectId& id) {
  const auto found = policies.subjects.find(id);
  if (found == policies.subjects.end()) return {{"id", id.text}, {"name", nullptr}};
  Json groups = Json::array();
  for (const GroupId& group : found->second.groups) groups.push_back(group.text);
  return {{"id", id.text},
          {"name", found->second.name},
          {"enabled", found->second.is_enabled},
          {"groups", std::move(groups)}};
}

}  // namespace

Json explanation_of(const Directory& directory, const policy::Request& request,
                    const std::function<bool(const ConnectorId&)>& is_online, UnixTime now) {
  const policy::PolicySet& policies = directory.policies;
  const policy::Trace traced = policy::trace(policies, request, now);
  const policy::Decision& decision = traced.decision;
  Json resources = Json::array();
  for (const policy::ResourceTrace& about : traced.resources) {
    const auto resource =
        std::ranges::find(policies.resources, about.resource, &policy::Resource::id);
    if (resource == policies.resources.end()) continue;
    const auto online_count =
        std::ranges::count_if(directory.connectors, [&](const auto& connector) {
          return connector.second.network == resource->network && connector.second.is_enabled &&
                 is_online(connector.first);
        });
    resources.push_back({{"id", resource->id.text},
                         {"name", resource->name},
                         {"network", resource->network.text},
                         {"enabled", about.is_enabled},
                         {"offers_port", about.offers_port},
                         {"path", path_text(directory, *resource)},
                         {"connectors_online", online_count},
                         {"rules", rules_json(policies, about)}});
  }
  const bool has_end = decision.is_allowed() && decision.valid_until != UnixTime::max();
  return {{"allowed", decision.is_allowed()},
          {"reason", word_for(decision.reason)},
          {"sentence", policy::explain(decision, policies, request)},
          {"told", decision.is_allowed()
                       ? Json(nullptr)
                       : Json(policy::explain_to_subject(decision, policies, request, now))},
          {"subject", subject_json(policies, request.subject)},
          {"target", Authority{request.target.host, request.target.port}.to_text()},
          {"protocol", to_text(request.target.protocol)},
          {"resource", text_or_null(decision.resource.text)},
          {"rule", text_or_null(decision.rule.text)},
          {"valid_until", has_end ? Json(to_rfc3339(decision.valid_until)) : Json(nullptr)},
          {"resources", std::move(resources)}};
}

}  // namespace zt::controller
