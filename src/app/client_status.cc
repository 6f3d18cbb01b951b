// SPDX-License-Identifier: Apache-2.0
#include "app/client_status.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "app/table.h"
#include "zt/base/rfc3339.h"

namespace zt::app {

namespace {

using nlohmann::json;

json ports_json(const std::vector<PortRange>& ranges) {
  if (ranges.empty()) return "none";
  if (ranges.size() == 1 && ranges.front() == PortRange{}) return "all";
  json list = json::array();
  for (const PortRange& range : ranges) list.push_back(range.to_text());
  return list;
}

std::string ports_text(const json& ports) {
  if (ports.is_string()) return ports.get<std::string>();
  std::string text;
  for (const json& range : ports) {
    if (!text.empty()) text += ',';
    text += range.get<std::string>();
  }
  return text;
}

double to_milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

json resources_json(const client::Status& status) {
  json list = json::array();
  for (const client::ResourceStatus& resource : status.resources) {
    list.push_back({{"id", resource.id.text},
                    {"name", resource.name},
                    {"address", resource.address},
                    {"aliases", resource.aliases},
                    {"tcp", ports_json(resource.tcp)},
                    {"udp", ports_json(resource.udp)},
                    {"flows", resource.flow_count},
                    {"last_decision", resource.last_decision}});
  }
  return list;
}

json connectors_json(const node::ClientNode& node, const client::Status& status) {
  json list = json::array();
  for (const client::ConnectorStatus& connector : status.connectors) {
    json entry = {{"id", connector.id.text},
                  {"name", connector.name},
                  {"ready", connector.is_ready},
                  {"flows", connector.flow_count}};
    if (const auto path = node.path_to(connector.id)) {
      entry["path"] = path->text;
      entry["round_trip_ms"] = to_milliseconds(path->statistics.rtt_smoothed);
      entry["packets_lost"] = path->statistics.packets_lost;
      entry["packets_sent"] = path->statistics.packets_sent;
    }
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

std::string status_json(const node::ClientNode& node, const ClientFacts& facts,
                        const std::vector<IngressStatus>& ingress, const Now& now) {
  const client::Status status = node.status(now);
  json object = {{"version", 1},
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
                 {"connectors", connectors_json(node, status)},
                 {"relays", json::array()},
                 {"grants", json::array()},
                 {"ingress", json::array()},
                 {"flows",
                  {{"open", status.flows_open},
                   {"waiting", status.flows_waiting},
                   {"opened", status.flows_opened},
                   {"refused", status.flows_refused}}}};
  for (const client::RelayStatus& relay : status.relays) {
    json entry = {{"id", relay.id.text}, {"name", relay.name}};
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
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string status_text(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return std::string(text);
  std::string shown;
  const auto out = std::back_inserter(shown);
  const json& controller = object["controller"];
  fmt::format_to(out, "subject     {} ({})\n", object.value("subject_name", ""),
                 object.value("subject", ""));
  fmt::format_to(out, "controller  {} {}\n", controller.value("address", ""),
                 controller.value("up", false) ? "up" : "away: " + controller.value("reason", ""));
  const json& flows = object["flows"];
  fmt::format_to(out, "flows       {} open, {} waiting, {} opened, {} refused\n\n",
                 flows.value("open", 0), flows.value("waiting", 0), flows.value("opened", 0),
                 flows.value("refused", 0));
  Table ingress({"INGRESS", "LISTENS ON", "TARGET"});
  for (const json& entry : object["ingress"]) {
    ingress.add({entry.value("kind", ""), entry.value("listen", ""), entry.value("target", "")});
  }
  Table connectors({"CONNECTOR", "PATH", "ROUND TRIP", "FLOWS"});
  for (const json& entry : object["connectors"]) {
    connectors.add({entry.value("name", ""), entry.value("path", "connecting"),
                    fmt::format("{:.1f} ms", entry.value("round_trip_ms", 0.0)),
                    std::to_string(entry.value("flows", 0))});
  }
  Table relays({"RELAY", "ID", "ROUND TRIP"});
  for (const json& entry : object["relays"]) {
    relays.add({entry.value("name", ""), entry.value("id", ""),
                fmt::format("{:.1f} ms", entry.value("round_trip_ms", 0.0))});
  }
  Table grants({"GRANT", "HOST", "RESOURCE", "EXPIRES", "FLOWS"});
  for (const json& entry : object["grants"]) {
    grants.add({entry.value("id", ""), entry.value("host", ""), entry.value("resource", ""),
                entry.value("expires", ""), std::to_string(entry.value("flows", 0))});
  }
  for (const Table* table : {&ingress, &connectors, &relays, &grants}) {
    if (!table->is_empty()) fmt::format_to(out, "{}\n", table->to_text());
  }
  return shown;
}

std::string resources_text(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return std::string(text);
  Table table({"RESOURCE", "ADDRESS", "TCP", "UDP", "FLOWS", "LAST DECISION"});
  for (const json& entry : object["resources"]) {
    table.add({entry.value("name", ""), entry.value("address", ""), ports_text(entry["tcp"]),
               ports_text(entry["udp"]), std::to_string(entry.value("flows", 0)),
               entry.value("last_decision", "")});
  }
  return table.is_empty() ? "no resources: no rule gives this subject access to any\n"
                          : table.to_text();
}

}  // namespace zt::app
