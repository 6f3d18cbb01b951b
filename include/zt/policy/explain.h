// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/explain.h: a decision in words: one sentence for the log, and one for its subject.
//
// Theory of operation
//   The log has the whole truth. The subject has it too for every resource of which an enabled rule
//   allows it anything, or did until its end. Of all others it hears the one sentence of no_access,
//   which is the same whether the address is a resource, would be one on another port, or is none.
//   A rule that denies a whole resource hides it again, but answers for itself: who would have been
//   allowed hears which rule denies, and nothing of the resource.
//
// Threats: names are written by administrators and read in terminals and logs. They stand in
// quotes,
//   and control characters become question marks, so that a sentence stays one line and quotes end
//   where they seem to.

#include <string>
#include <string_view>

#include "zt/policy/evaluate.h"
#include "zt/policy/flow.h"
#include "zt/policy/rule.h"

namespace zt::policy {

// explain returns one sentence in English without a full stop, which begins with "allowed: " or
// "denied: ", for instance:
//
//   denied: rule rul_… "contractors-off" denies group "contractors"
//   denied: no rule allows service account "ci" to reach "db" on tcp port 5432
//   denied: resource "db" does not offer tcp port 22; it offers tcp 5432,8000-8100
//
// `decision` was made by evaluate with the other two; ids that they do not have are written as ids.
[[nodiscard]] std::string explain(const Decision& decision, const PolicySet& policies,
                                  const Request& request);

// may_hear tells whether `subject`, which was judged, may hear the reason of `decision` at `now`.
[[nodiscard]] bool may_hear(const Decision& decision, const PolicySet& policies,
                            const SubjectId& subject, UnixTime now);

// explain_to_subject returns what `request.subject` may be told: the sentence of explain, with the
// ports of the resource that it may reach at `now` if this one has no rule; or that of no_access.
[[nodiscard]] std::string explain_to_subject(const Decision& decision, const PolicySet& policies,
                                             const Request& request, UnixTime now);

// no_access returns the sentence about a target of which the subject may know nothing. `name` is
// the subject's, and may be empty:
//
//   denied: no rule gives service account "ci" access to db.internal:5432 (tcp); ask an
//   administrator
[[nodiscard]] std::string no_access(const SubjectId& subject, std::string_view name,
                                    const Target& target);

// port_not_offered returns the sentence of a resource that has other ports.
[[nodiscard]] std::string port_not_offered(const Resource& resource, const Target& target);

// explain returns the sentence for a connector's verdict on a flow to `target`.
[[nodiscard]] std::string explain(const FlowMatch& match, const Target& target);

}  // namespace zt::policy
