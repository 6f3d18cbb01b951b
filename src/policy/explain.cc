// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/explain.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "policy/speaks.h"
#include "zt/base/rfc3339.h"

namespace zt::policy {
namespace {

// in_quotes writes `name` so that it stays one line and its quotes are the outer ones.
std::string in_quotes(std::string_view name) {
  std::string text = "\"";
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    // UTF-8 of U+0080 to U+009F: control characters that some terminals obey.
    const bool is_c1 = c == 0xc2 && i + 1 < name.size() &&
                       static_cast<unsigned char>(name[i + 1]) >= 0x80 &&
                       static_cast<unsigned char>(name[i + 1]) <= 0x9f;
    if (is_c1) ++i;
    if (is_c1 || c < 0x20 || c == 0x7f) {
      text.push_back('?');
    } else if (c == '"') {
      text.push_back('\'');
    } else {
      text.push_back(name[i]);
    }
  }
  return text + "\"";
}

std::string subject_text(const SubjectId& id, std::string_view name) {
  const std::string_view kind = id.text.starts_with("svc_") ? "service account " : "user ";
  return std::string(kind) + (name.empty() ? id.text : in_quotes(name));
}

std::string subject_text(const PolicySet& policies, const SubjectId& id) {
  const auto found = policies.subjects.find(id);
  return subject_text(id, found == policies.subjects.end() ? "" : found->second.name);
}

const Resource* find_resource(const PolicySet& policies, const ResourceId& id) {
  const auto found = std::ranges::find(policies.resources, id, &Resource::id);
  return found == policies.resources.end() ? nullptr : &*found;
}

std::string resource_text(const Resource* resource, const ResourceId& id) {
  const bool has_name = resource != nullptr && !resource->name.empty();
  return has_name ? in_quotes(resource->name) : id.text;
}

std::string rule_text(const RuleId& id, const AccessRule* rule) {
  const bool has_name = rule != nullptr && !rule->name.empty();
  return "rule " + id.text + (has_name ? " " + in_quotes(rule->name) : "");
}

// party_text says as whom `rule` speaks of the subject: by name before by group before everyone.
std::string party_text(const PolicySet& policies, const SubjectId& id, const AccessRule* rule) {
  const auto found = policies.subjects.find(id);
  if (rule == nullptr || found == policies.subjects.end() || rule->subjects.contains(id)) {
    return subject_text(policies, id);
  }
  for (const GroupId& group : found->second.groups) {
    if (!rule->groups.contains(group)) continue;
    const auto name = policies.group_names.find(group);
    const bool has_name = name != policies.group_names.end() && !name->second.empty();
    return "group " + (has_name ? in_quotes(name->second) : group.text);
  }
  return "everyone";
}

std::string port_text(const Target& target) {
  return std::string(zt::to_text(target.protocol)) + " port " + std::to_string(target.port);
}

// ports_text writes "tcp 5432,8000-8100 and udp 53": at most kRangesShown ranges of each.
std::string ports_text(std::span<const PortRange> tcp, std::span<const PortRange> udp) {
  constexpr std::size_t kRangesShown = 8;
  std::string text;
  for (const auto& [protocol, ranges] :
       {std::pair(Protocol::tcp, tcp), std::pair(Protocol::udp, udp)}) {
    if (ranges.empty()) continue;
    if (!text.empty()) text += " and ";
    text += std::string(zt::to_text(protocol)) + " ";
    for (std::size_t i = 0; i < ranges.size() && i < kRangesShown; ++i) {
      text += (i == 0 ? "" : ",") + ranges[i].to_text();
    }
    if (ranges.size() > kRangesShown) text += ",…";
  }
  return text.empty() ? "nothing" : text;
}

std::string flow_text(const std::string& resource, const Target& target) {
  return "to reach " + resource + " on " + port_text(target);
}

const AccessRule* find_rule(const PolicySet& policies, const RuleId& id) {
  const auto found =
      std::ranges::find_if(policies.rules, [&id](const AccessRule& rule) { return rule.id == id; });
  return found == policies.rules.end() ? nullptr : &*found;
}

}  // namespace

std::string explain(const Decision& decision, const PolicySet& policies, const Request& request) {
  const AccessRule* const rule = find_rule(policies, decision.rule);
  const std::string who = subject_text(policies, request.subject);
  const Resource* const resource = find_resource(policies, decision.resource);
  const std::string what = resource_text(resource, decision.resource);
  const std::string party = party_text(policies, request.subject, rule);
  switch (decision.reason) {
    case Reason::unknown_subject:
      return "denied: nobody is known as " + in_quotes(request.subject.text);
    case Reason::subject_disabled:
      return "denied: " + who + " is disabled";
    case Reason::no_resource:
      return "denied: no resource has the address " + to_text(request.target.host);
    case Reason::other_resource:
      return "denied: " + to_text(request.target.host) + " belongs to another resource, " + what;
    case Reason::resource_disabled:
      return "denied: resource " + what + " is disabled";
    case Reason::port_not_offered:
      if (resource != nullptr) return port_not_offered(*resource, request.target);
      return "denied: resource " + what + " does not offer " + port_text(request.target);
    case Reason::denied_by_rule:
      return "denied: " + rule_text(decision.rule, rule) + " denies " + party;
    case Reason::allowed_by_rule: {
      const bool has_end = decision.valid_until != UnixTime::max();
      return "allowed: " + rule_text(decision.rule, rule) + " allows " + party + " " +
             flow_text(what, request.target) +
             (has_end ? " until " + to_rfc3339(decision.valid_until) : "");
    }
    case Reason::rule_expired: {
      const bool has_end = rule != nullptr && rule->valid_until.has_value();
      return "denied: " + rule_text(decision.rule, rule) + " allowed " + party + " " +
             flow_text(what, request.target) +
             (has_end ? " until " + to_rfc3339(*rule->valid_until) : " and has ended");
    }
    case Reason::no_rule:
      return "denied: no rule allows " + who + " " + flow_text(what, request.target);
  }
  return "denied: no reason is known";
}

bool may_hear(const Decision& decision, const PolicySet& policies, const SubjectId& subject,
              UnixTime now) {
  // These two are about the subject itself.
  if (decision.reason == Reason::unknown_subject || decision.reason == Reason::subject_disabled) {
    return true;
  }
  const auto who = policies.subjects.find(subject);
  if (who == policies.subjects.end()) return false;
  bool is_allowed_something = false;
  bool is_hidden = false;
  for (const AccessRule& rule : policies.rules) {
    if (!rule.is_enabled || !speaks_of(rule, who->second) || !speaks_of(rule, decision.resource)) {
      continue;
    }
    const bool is_whole = rule.protocols.empty() && rule.ports.empty();
    if (rule.effect == Effect::allow) is_allowed_something = true;
    if (rule.effect == Effect::deny && is_whole && !is_over(rule, now)) is_hidden = true;
  }
  return is_allowed_something && (!is_hidden || decision.reason == Reason::denied_by_rule);
}

std::string explain_to_subject(const Decision& decision, const PolicySet& policies,
                               const Request& request, UnixTime now) {
  const SubjectId& subject = request.subject;
  if (!may_hear(decision, policies, subject, now)) {
    const auto found = policies.subjects.find(subject);
    return no_access(subject, found == policies.subjects.end() ? "" : found->second.name,
                     request.target);
  }
  std::string sentence = explain(decision, policies, request);
  if (decision.reason != Reason::no_rule) return sentence;
  const auto tcp = reachable_ports(policies, subject, decision.resource, Protocol::tcp, now);
  const auto udp = reachable_ports(policies, subject, decision.resource, Protocol::udp, now);
  return sentence + "; it may reach " + ports_text(tcp, udp);
}

std::string no_access(const SubjectId& subject, std::string_view name, const Target& target) {
  return "denied: no rule gives " + subject_text(subject, name) + " access to " +
         Authority{.host = target.host, .port = target.port}.to_text() + " (" +
         std::string(zt::to_text(target.protocol)) + "); ask an administrator";
}

std::string port_not_offered(const Resource& resource, const Target& target) {
  return "denied: resource " + resource_text(&resource, resource.id) + " does not offer " +
         port_text(target) + "; it offers " + ports_text(resource.tcp, resource.udp);
}

std::string explain(const FlowMatch& match, const Target& target) {
  const std::string what = match.resource == nullptr ? "" : in_quotes(match.resource->name);
  switch (match.verdict) {
    case FlowVerdict::allowed:
      return "allowed: resource " + what + " offers " + port_text(target);
    case FlowVerdict::unknown_resource:
      return "denied: this connector does not have the granted resource";
    case FlowVerdict::no_resource:
      return "denied: no resource of this connector has the address " + to_text(target.host);
    case FlowVerdict::other_resource:
      return "denied: " + to_text(target.host) + " belongs to another resource than " + what;
    case FlowVerdict::resource_disabled:
      return "denied: resource " + what + " is disabled";
    case FlowVerdict::port_not_offered:
      return "denied: resource " + what + " does not offer " + port_text(target);
  }
  return "denied: no reason is known";
}

}  // namespace zt::policy
