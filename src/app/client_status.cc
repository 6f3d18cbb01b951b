// SPDX-License-Identifier: Apache-2.0
#include "app/client_status.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "app/table.h"
#include "wire/json.h"
#include "zt/base/rfc3339.h"

namespace zt::app {

namespace {

using wire::Json;

Json ports_json(const std::vector<PortRange>& ranges) {
  if (ranges.empty()) return "none";
  if (ranges.size() == 1 && ranges.front() == PortRange{}) return "all";
  Json list = Json::array();
  for (const PortRange& range : ranges) list.push_back(range.to_text());
  return list;
}

// The next five read what a client of another version answered: what is missing, or of another
// kind, is shown as nothing.
const Json& member(const Json& object, const char* name) {
  static const Json nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

std::string text(const Json& object, const char* name, std::string_view otherwise = {}) {
  return std::string(wire::text_member(object, name).value_or(otherwise));
}

std::string count(const Json& object, const char* name) {
  return std::to_string(wire::integer_member(object, name).value_or(0));
}

std::string round_trip(const Json& object) {
  const Json& value = member(object, "round_trip_ms");
  return fmt::format("{:.1f} ms", value.is_number() ? value.get<double>() : 0.0);
}

bool is_over_tcp(const Json& object) {
  return text(object, "by") == "TCP";
}

// path_text names the way to a connector.
std::string path_text(const Json& connector) {
  return text(connector, "path", "connecting") + (is_over_tcp(connector) ? " over TCP" : "");
}

std::string ports_text(const Json& ports) {
  if (ports.is_string()) return ports.get<std::string>();
  std::string list;
  for (const Json& range : ports) {
    if (!range.is_string()) continue;
    if (!list.empty()) list += ',';
    list += range.get_ref<const std::string&>();
  }
  return list;
}

double to_milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

Json resources_json(const client::Status& status) {
  Json list = Json::array();
  for (const client::ResourceStatus& resource : status.resources) {
    list.push_back({{"id", resource.id.text},
                    {"name", resource.name},
                    {"address", resource.address},
                    {"aliases", resource.aliases},
                    {"tcp", ports_json(resource.tcp)},
                    {"udp", ports_json(resource.udp)},
                    {"flows", resource.flow_count},
                    {"path_rule", describe(resource.path)},
                    {"last_decision", resource.last_decision}});
  }
  return list;
}

std::string_view kind_text(const path::PairStatus& pair) {
  if (pair.is_learnt) return "learnt";
  switch (pair.kind) {
    case wire::CandidateKind::host:
      return "host";
    case wire::CandidateKind::observed:
      return "observed";
    case wire::CandidateKind::configured:
      return "configured";
  }
  return "";
}

std::string_view state_text(const path::PairStatus& pair) {
  if (pair.is_live) return "in use";
  return pair.is_working ? "works" : "silent";
}

// pairs_json lists what was tried for a direct path to a connector.
Json pairs_json(const std::vector<path::PairStatus>& pairs) {
  Json list = Json::array();
  for (const path::PairStatus& pair : pairs) {
    Json entry = {{"remote", pair.pair.remote.to_text()},
                  {"kind", kind_text(pair)},
                  {"state", state_text(pair)},
                  {"pings", pair.pings},
                  {"lost_of_last_16", pair.losses}};
    if (pair.rtt) entry["round_trip_ms"] = to_milliseconds(*pair.rtt);
    if (pair.observed.port != 0) entry["observed"] = pair.observed.to_text();
    list.push_back(std::move(entry));
  }
  return list;
}

Json connectors_json(const node::ClientNode& node, const client::Status& status, const Now& now) {
  Json list = Json::array();
  for (const client::ConnectorStatus& connector : status.connectors) {
    Json entry = {{"id", connector.id.text},           {"name", connector.name},
                  {"ready", connector.is_ready},       {"silent", connector.is_silent},
                  {"draining", connector.is_draining}, {"path_rule", describe(connector.path)},
                  {"flows", connector.flow_count}};
    if (const auto path = node.path_to(connector.key)) {
      entry["path"] = path->text;
      entry["by"] = path->is_over_tcp ? "TCP" : "UDP";
      entry["remote"] = path->remote.to_text();
      entry["round_trip_ms"] = to_milliseconds(path->statistics.rtt_smoothed);
      entry["connection"] = std::to_underlying(path->connection);
      entry["packets_lost"] = path->statistics.packets_lost;
      entry["packets_sent"] = path->statistics.packets_sent;
    }
    entry["pairs"] = pairs_json(node.pairs_to(connector.key, now));
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

std::string status_json(const node::ClientNode& node, const ClientFacts& facts,
                        const std::vector<IngressStatus>& ingress, const Now& now) {
  const client::Status status = node.status(now);
  Json object = {{"version", 1},
                 {"ok", true},
                 {"signed_in", node.is_signed_in()},
                 {"subject", facts.subject.text},
                 {"subject_name", facts.subject_name},
                 {"device", facts.device.text},
                 {"controller",
                  {{"address", facts.controller},
                   {"up", status.is_controller_up},
                   {"reason", status.controller_reason}}},
                 {"revision", status.view_revision},
                 {"resources", resources_json(status)},
                 {"connectors", connectors_json(node, status, now)},
                 {"relays", Json::array()},
                 {"grants", Json::array()},
                 {"ingress", Json::array()},
                 {"flows",
                  {{"open", status.flows_open},
                   {"waiting", status.flows_waiting},
                   {"opened", status.flows_opened},
                   {"refused", status.flows_refused}}}};
  for (const client::RelayStatus& relay : status.relays) {
    Json entry = {{"id", relay.id.text}, {"name", relay.name}};
    const auto standing = node.link().relays().standing(relay.id);
    entry["by"] = standing && standing->is_over_tcp ? "TCP" : "UDP";
    if (const auto round_trip = node.link().relays().round_trip(relay.id)) {
      entry["round_trip_ms"] = to_milliseconds(*round_trip);
    }
    object["relays"].push_back(std::move(entry));
  }
  for (const client::GrantStatus& grant : status.grants) {
    object["grants"].push_back({{"id", grant.id.text},
                                {"host", grant.host},
                                {"protocol", zt::to_text(grant.protocol)},
                                {"resource", grant.resource_name},
                                {"expires", to_rfc3339(grant.expires)},
                                {"flows", grant.flow_count}});
  }
  for (const IngressStatus& entry : ingress) {
    object["ingress"].push_back(
        {{"kind", entry.kind}, {"listen", entry.local.to_text()}, {"target", entry.target}});
  }
  return wire::json_text(object);
}

std::string status_text(std::string_view json) {
  const Json object = wire::parse_json_object(json);
  if (!object.is_object()) return std::string(json);
  std::string shown;
  const auto out = std::back_inserter(shown);
  const Json& controller = member(object, "controller");
  const bool is_up = wire::boolean_member(controller, "up").value_or(false);
  fmt::format_to(out, "subject     {} ({})\n", text(object, "subject_name"),
                 text(object, "subject"));
  fmt::format_to(out, "controller  {} {}\n", text(controller, "address"),
                 is_up ? "up" : "away: " + text(controller, "reason"));
  const Json& flows = member(object, "flows");
  fmt::format_to(out, "flows       {} open, {} waiting, {} opened, {} refused\n\n",
                 count(flows, "open"), count(flows, "waiting"), count(flows, "opened"),
                 count(flows, "refused"));
  Table ingress({"INGRESS", "LISTENS ON", "TARGET"});
  for (const Json& entry : member(object, "ingress")) {
    ingress.add({text(entry, "kind"), text(entry, "listen"), text(entry, "target")});
  }
  Table connectors({"CONNECTOR", "PATH", "ROUND TRIP", "FLOWS"});
  for (const Json& entry : member(object, "connectors")) {
    connectors.add(
        {text(entry, "name"), path_text(entry), round_trip(entry), count(entry, "flows")});
  }
  Table relays({"RELAY", "ID", "BY", "ROUND TRIP"});
  for (const Json& entry : member(object, "relays")) {
    relays.add({text(entry, "name"), text(entry, "id"),
                is_over_tcp(entry) ? "TCP (UDP is blocked here)" : "UDP", round_trip(entry)});
  }
  Table grants({"GRANT", "HOST", "RESOURCE", "EXPIRES", "FLOWS"});
  for (const Json& entry : member(object, "grants")) {
    grants.add({text(entry, "id"), text(entry, "host"), text(entry, "resource"),
                text(entry, "expires"), count(entry, "flows")});
  }
  for (const Table* table : {&ingress, &connectors, &relays, &grants}) {
    if (!table->is_empty()) fmt::format_to(out, "{}\n", table->to_text());
  }
  return shown;
}

std::string paths_text(std::string_view json) {
  const Json object = wire::parse_json_object(json);
  if (!object.is_object()) return std::string(json);
  Table table({"CONNECTOR", "REMOTE", "KIND", "STATE", "ROUND TRIP", "PINGS", "LOST", "SEEN AS"});
  Table rules({"RESOURCE", "PATH RULE"});
  for (const Json& resource : member(object, "resources")) {
    const std::string rule = text(resource, "path_rule");
    if (!rule.empty() && rule != describe(PathRule{})) rules.add({text(resource, "name"), rule});
  }
  for (const Json& connector : member(object, "connectors")) {
    const std::string name = text(connector, "name");
    if (text(connector, "path") != "direct") {
      table.add({name, text(connector, "remote", "-"), path_text(connector), "in use",
                 round_trip(connector), "-", "-", "-"});
    }
    for (const Json& pair : member(connector, "pairs")) {
      const bool has_answered = pair.contains("round_trip_ms");
      table.add({name, text(pair, "remote"), text(pair, "kind"), text(pair, "state"),
                 has_answered ? round_trip(pair) : "-", count(pair, "pings"),
                 count(pair, "lost_of_last_16"), text(pair, "observed", "-")});
    }
  }
  const std::string paths = table.is_empty()
                                ? "no connections: paths are looked for when a flow is open\n"
                                : table.to_text();
  return rules.is_empty() ? paths : paths + "\n" + rules.to_text();
}

std::string resources_text(std::string_view json) {
  const Json object = wire::parse_json_object(json);
  if (!object.is_object()) return std::string(json);
  Table table({"RESOURCE", "ADDRESS", "TCP", "UDP", "FLOWS", "LAST DECISION"});
  for (const Json& entry : member(object, "resources")) {
    table.add({text(entry, "name"), text(entry, "address"), ports_text(member(entry, "tcp")),
               ports_text(member(entry, "udp")), count(entry, "flows"),
               text(entry, "last_decision")});
  }
  return table.is_empty() ? "no resources: no rule gives this subject access to any\n"
                          : table.to_text();
}

}  // namespace zt::app
