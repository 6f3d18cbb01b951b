// SPDX-License-Identifier: Apache-2.0
#include "controller/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "controller/body_reader.h"
#include "zt/base/rfc3339.h"

namespace zt::controller {

namespace {

using wire::Json;

// TextMember is a member of an event that is text on both sides.
struct TextMember {
  const char* name;
  std::string FlowEvent::* member;
};

constexpr std::array<TextMember, 13> kTextMembers{{
    {"decision", &FlowEvent::decision},
    {"grant", &FlowEvent::grant},
    {"subject", &FlowEvent::subject},
    {"device", &FlowEvent::device},
    {"resource", &FlowEvent::resource},
    {"network", &FlowEvent::network},
    {"connector", &FlowEvent::connector},
    {"client_address", &FlowEvent::client_address},
    {"target", &FlowEvent::target},
    {"target_address", &FlowEvent::target_address},
    {"protocol", &FlowEvent::protocol},
    {"reason", &FlowEvent::reason},
    {"path", &FlowEvent::path},
}};

struct NumberMember {
  const char* name;
  std::int64_t FlowEvent::* member;
};

constexpr std::array<NumberMember, 3> kNumberMembers{{
    {"bytes_up", &FlowEvent::bytes_up},
    {"bytes_down", &FlowEvent::bytes_down},
    {"duration_ms", &FlowEvent::duration_ms},
}};

std::string text_in(const Json& value, const char* name) {
  const auto found = value.find(name);
  if (found == value.end() || !found->is_string()) return {};
  const auto& text = found->get_ref<const std::string&>();
  std::size_t size = std::min(text.size(), kEventTextMax);
  // Cut between characters, not within one.
  while (size < text.size() && size > 0 &&
         (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80) {
    --size;
  }
  return text.substr(0, size);
}

std::int64_t number_in(const Json& value, const char* name) {
  const auto found = value.find(name);
  if (found == value.end() || !found->is_number_unsigned()) return 0;
  const auto number = found->get<std::uint64_t>();
  return static_cast<std::int64_t>(std::min<std::uint64_t>(number, INT64_MAX));
}

// overwrite_known replaces what the controller knows better than the report.
void overwrite_known(FlowEvent& event, const NodeRow& node) {
  if (const auto* connector = std::get_if<Connector>(&node)) {
    event.node = connector->id.text;
    event.connector = connector->id.text;
    event.network = connector->network.text;
    event.reporter = "connector";
  }
  if (const auto* device = std::get_if<Device>(&node)) {
    event.node = device->id.text;
    event.device = device->id.text;
    event.subject = device->subject.text;
    event.reporter = "client";
  }
}

}  // namespace

std::optional<FlowEventKind> parse_flow_event_kind(std::string_view text) {
  for (const FlowEventKind kind : {FlowEventKind::opened, FlowEventKind::closed,
                                   FlowEventKind::denied, FlowEventKind::failed}) {
    if (to_text(kind) == text) return kind;
  }
  return std::nullopt;
}

std::string_view to_text(FlowEventKind kind) {
  switch (kind) {
    case FlowEventKind::opened:
      return "opened";
    case FlowEventKind::closed:
      return "closed";
    case FlowEventKind::denied:
      return "denied";
    case FlowEventKind::failed:
      return "failed";
  }
  return "unknown";
}

Attempt<FlowEvent> parse_flow_event(const Json& value, std::size_t index, const NodeRow& node) {
  const auto complaint = [&](const char* member, const char* text) {
    return fail(invalid_field(fmt::format("events[{}].{}", index, member), text));
  };
  FlowEvent event;
  const auto flow = parse_id_as<FlowIdTag>(text_in(value, "id"));
  if (!flow) return complaint("id", "must be an id that begins with \"flo_\"");
  const auto kind = parse_flow_event_kind(text_in(value, "event"));
  if (!kind) return complaint("event", "must be \"opened\", \"closed\", \"denied\" or \"failed\"");
  const auto time = parse_rfc3339(text_in(value, "time"));
  if (!time) return complaint("time", "must be a time such as \"2030-12-31T23:59:59Z\"");
  event.flow = *flow;
  event.kind = *kind;
  event.time = *time;
  for (const auto& [name, member] : kTextMembers) event.*member = text_in(value, name);
  for (const auto& [name, member] : kNumberMembers) event.*member = number_in(value, name);
  overwrite_known(event, node);
  return event;
}

Json json_of(const StoredFlowEvent& stored) {
  const FlowEvent& event = stored.event;
  Json value = {{"sequence", stored.sequence},  {"id", event.flow.text},
                {"event", to_text(event.kind)}, {"time", to_rfc3339(event.time)},
                {"reporter", event.reporter},   {"node", event.node}};
  for (const auto& [name, member] : kTextMembers) {
    if (!(event.*member).empty()) value[name] = event.*member;
  }
  for (const auto& [name, member] : kNumberMembers) value[name] = event.*member;
  return value;
}

Json json_of(const AuditEntry& entry) {
  return {{"sequence", entry.sequence}, {"time", to_rfc3339(entry.time)},
          {"actor", entry.actor},       {"action", entry.action},
          {"target", entry.target},     {"detail", wire::parse_json_object(entry.detail)}};
}

}  // namespace zt::controller
