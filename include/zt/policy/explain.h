// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/explain.h: a decision in words: the one sentence that the user, the connector's log and
// the audit log see.
//
// Threats: names are written by administrators and read in terminals and logs. They stand in
// quotes,
//   and control characters become question marks, so that a sentence stays one line and quotes end
//   where they seem to.

#include <string>

#include "zt/policy/evaluate.h"
#include "zt/policy/flow.h"
#include "zt/policy/rule.h"

namespace zt::policy {

// explain returns one sentence in English without a full stop, which begins with "allowed: " or
// "denied: ", for instance:
//
//   denied: rule rul_… "contractors-off" denies group "contractors"
//   denied: no rule allows service account "ci" to reach "db" on tcp port 5432
//   denied: resource "db" does not offer tcp port 22
//
// `decision` was made by evaluate with the other two; ids that they do not have are written as ids.
[[nodiscard]] std::string explain(const Decision& decision, const PolicySet& policies,
                                  const Request& request);

// explain returns the sentence for a connector's verdict on a flow to `target`.
[[nodiscard]] std::string explain(const FlowMatch& match, const Target& target);

}  // namespace zt::policy
