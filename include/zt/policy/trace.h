// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/trace.h: the whole way to a decision, for those who write rules.
//
// Theory of operation
//   evaluate says what was decided and which rule decided it. A trace adds, for every resource that
//   the target belongs to, what each rule that names the resource has to do with the flow: it
//   decided, it spoke but another one decided, or what keeps it from speaking. Both ask the same
//   functions (speaks.h), so a trace cannot tell another story than the decision.
// Cost: proportional to resources and rules.
// Threats: a trace names everything. It is for administrators only.

#include <cstdint>
#include <string_view>
#include <vector>

#include "zt/policy/evaluate.h"

namespace zt::policy {

// RuleFit says what a rule has to do with a flow. The order is the order of judgement.
enum class RuleFit : std::uint8_t {
  disabled,
  other_subject,  // It names neither the subject, nor a group of it, nor everyone.
  other_port,     // It is about other ports or protocols.
  ended,
  outweighed,  // It speaks of the flow, but another rule decided.
  decided,
};

// to_text returns what the rule does, as a claim about it: "is for other subjects".
[[nodiscard]] std::string_view to_text(RuleFit fit);

struct RuleTrace {
  RuleId rule;
  RuleFit fit{};

  friend bool operator==(const RuleTrace&, const RuleTrace&) = default;
};

struct ResourceTrace {
  ResourceId resource;
  bool is_enabled = true;
  bool offers_port = true;
  std::vector<RuleTrace> rules;  // Those that name the resource, in the order of the set.

  friend bool operator==(const ResourceTrace&, const ResourceTrace&) = default;
};

struct Trace {
  Decision decision;                     // Of evaluate.
  std::vector<ResourceTrace> resources;  // That the target belongs to, as best_matches orders them.
};

// trace judges `request` at the moment `now`, for all resources whatever `request.resource` says. A
// subject that is unknown has no groups.
[[nodiscard]] Trace trace(const PolicySet& policies, const Request& request, UnixTime now);

}  // namespace zt::policy
