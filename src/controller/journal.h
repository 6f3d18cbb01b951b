// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/journal.h: flow events and audit entries as JSON.
//
// Theory of operation
//   A node reports what happened at its end of a flow; what the controller knows by itself (who
//   reports, and in which network or for which subject) is not taken from the report. Members of an
//   event are cut to kEventTextMax bytes and may be absent, but for the id, the kind and the time:
//   a report that is odd in a detail is better than none.

#include "controller/answer.h"
#include "wire/json.h"

namespace zt::controller {

inline constexpr std::size_t kEventTextMax = 512;

// parse_flow_event reads item `index` of a report by `node`.
[[nodiscard]] Attempt<FlowEvent> parse_flow_event(const wire::Json& value, std::size_t index,
                                                  const NodeRow& node);

[[nodiscard]] wire::Json json_of(const StoredFlowEvent& stored);
[[nodiscard]] wire::Json json_of(const AuditEntry& entry);

// parse_flow_event_kind reads "opened", "closed", "denied" and "failed".
[[nodiscard]] std::optional<FlowEventKind> parse_flow_event_kind(std::string_view text);
[[nodiscard]] std::string_view to_text(FlowEventKind kind);

}  // namespace zt::controller
