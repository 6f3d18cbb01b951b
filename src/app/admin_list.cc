// SPDX-License-Identifier: Apache-2.0
#include "app/admin_list.h"

#include <fmt/format.h>

#include <array>

#include "app/table.h"

namespace zt::app {

namespace {

using wire::Json;
using Form = Column::Form;

constexpr std::array<Kind, 0> kNobody{};
constexpr std::array<Kind, 1> kNetworksOnly{kNetworks};
constexpr std::array<Kind, 2> kSubjects{kUsers, kServiceAccounts};
constexpr std::array<Kind, 4> kRuleParts{kUsers, kServiceAccounts, kGroups, kResources};
constexpr std::array<Kind, 4> kFlowParts{kUsers, kServiceAccounts, kResources, kConnectors};
constexpr std::array<Kind, 1> kActors{kApiKeys};

constexpr std::array<Column, 3> kPlainColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"CREATED", "created"},
}};
constexpr std::array<Column, 7> kConnectorColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"NETWORK", "network", Form::name},
    {"ENABLED", "enabled", Form::yes_no},
    {"ONLINE", "online", Form::yes_no},
    {"LAST SEEN", "last_seen"},
    {"VERSION", "software"},
}};
constexpr std::array<Column, 8> kRelayColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"ADDRESS", "address"},
    {"REGION", "region"},
    {"ENABLED", "enabled", Form::yes_no},
    {"ONLINE", "online", Form::yes_no},
    {"LAST SEEN", "last_seen"},
    {"VERSION", "software"},
}};
constexpr std::array<Column, 8> kResourceColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"NETWORK", "network", Form::name},
    {"ADDRESS", "address"},
    {"ALIASES", "aliases", Form::list},
    {"TCP", "tcp", Form::list},
    {"UDP", "udp", Form::list},
    {"ENABLED", "enabled", Form::yes_no},
}};
constexpr std::array<Column, 4> kUserColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"EMAIL", "email"},
    {"ENABLED", "enabled", Form::yes_no},
}};
constexpr std::array<Column, 4> kServiceAccountColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"ENABLED", "enabled", Form::yes_no},
    {"CREATED", "created"},
}};
constexpr std::array<Column, 8> kDeviceColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"SUBJECT", "subject", Form::name},
    {"OS", "os"},
    {"ENABLED", "enabled", Form::yes_no},
    {"ONLINE", "online", Form::yes_no},
    {"LAST SEEN", "last_seen"},
    {"VERSION", "software"},
}};
constexpr std::array<Column, 9> kRuleColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"EFFECT", "effect"},
    {"SUBJECTS", "subjects", Form::name},
    {"RESOURCES", "resources", Form::name},
    {"PROTOCOLS", "protocols", Form::list},
    {"PORTS", "ports", Form::list},
    {"VALID UNTIL", "valid_until"},
    {"ENABLED", "enabled", Form::yes_no},
}};
constexpr std::array<Column, 5> kApiKeyColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"CREATED", "created"},
    {"EXPIRES", "expires"},
    {"LAST USED", "last_used"},
}};
constexpr std::array<Column, 6> kTokenColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"KIND", "kind"},
    {"NETWORK", "network", Form::name},
    {"USES LEFT", "uses_left"},
    {"EXPIRES", "expires"},
}};
constexpr std::array<Column, 2> kMemberColumns{{{"NAME", "name"}, {"SUBJECT", "subject"}}};
constexpr std::array<Column, 6> kKeyColumns{{
    {"NAME", "name"},
    {"ID", "id"},
    {"CREATED", "created"},
    {"EXPIRES", "expires"},
    {"LAST USED", "last_used"},
    {"REVOKED", "revoked", Form::yes_no},
}};
constexpr std::array<Column, 4> kSigningKeyColumns{{
    {"KEY", "kid"},
    {"SIGNING", "signing", Form::yes_no},
    {"ACTIVE FROM", "active_from"},
    {"RETIRES", "retires"},
}};
constexpr std::array<Column, 11> kEventColumns{{
    {"TIME", "time"},
    {"EVENT", "event"},
    {"SUBJECT", "subject", Form::name},
    {"RESOURCE", "resource", Form::name},
    {"TARGET", "target"},
    {"PROTOCOL", "protocol"},
    {"CONNECTOR", "connector", Form::name},
    {"PATH", "path"},
    {"UP", "bytes_up", Form::size},
    {"DOWN", "bytes_down", Form::size},
    {"REASON", "reason"},
}};
constexpr std::array<Column, 4> kAuditColumns{{
    {"TIME", "time"},
    {"ACTOR", "actor", Form::name},
    {"ACTION", "action"},
    {"TARGET", "target"},
}};

std::string plain(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return text.empty() ? "-" : text;
  }
  return wire::json_text(value);
}

std::string name_for(const Json& value, const Names& names) {
  const auto found = value.is_string() ? names.find(value.get<std::string>()) : names.end();
  return found == names.end() || found->second.empty() ? plain(value) : found->second;
}

std::string joined(const Json& list, const Names& names) {
  if (!list.is_array()) return name_for(list, names);
  std::string text;
  for (const Json& item : list) text += (text.empty() ? "" : ",") + name_for(item, names);
  return text.empty() ? "-" : text;
}

std::string size_text(const Json& value) {
  if (!value.is_number()) return "-";
  constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto size = value.get<double>();
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", size) : fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string cell(const Json& item, const Column& column, const Names& names) {
  const auto found = item.find(column.member);
  if (found == item.end()) return "-";
  switch (column.form) {
    case Form::text:
      return plain(*found);
    case Form::yes_no:
      return *found == true ? "yes" : "no";
    case Form::list:
      return joined(*found, {});
    case Form::name:
      return joined(*found, names);
    case Form::size:
      return size_text(*found);
  }
  return "-";
}

}  // namespace

ListView view_of(const Kind& kind) {
  if (kind == kConnectors) return {kConnectorColumns, kNetworksOnly};
  if (kind == kRelays) return {kRelayColumns, kNobody};
  if (kind == kResources) return {kResourceColumns, kNetworksOnly};
  if (kind == kUsers) return {kUserColumns, kNobody};
  if (kind == kServiceAccounts) return {kServiceAccountColumns, kNobody};
  if (kind == kDevices) return {kDeviceColumns, kSubjects};
  if (kind == kRules) return {kRuleColumns, kRuleParts};
  if (kind == kApiKeys) return {kApiKeyColumns, kNobody};
  if (kind == kEnrolmentTokens) return {kTokenColumns, kNetworksOnly};
  return {kPlainColumns, kNobody};
}

ListView members_view() {
  return {kMemberColumns, kNobody};
}

ListView keys_view() {
  return {kKeyColumns, kNobody};
}

ListView signing_keys_view() {
  return {kSigningKeyColumns, kNobody};
}

ListView events_view() {
  return {kEventColumns, kFlowParts};
}

ListView audit_view() {
  return {kAuditColumns, kActors};
}

std::string line_text(const Json& item, std::span<const Column> columns, const Names& names) {
  std::string line;
  for (const Column& column : columns) {
    line += (line.empty() ? "" : "  ") +
            printable(item.is_object() ? cell(item, column, names) : std::string("-"));
  }
  return line;
}

std::string list_text(const Json& items, std::span<const Column> columns, const Names& names) {
  std::vector<std::string> heads;
  heads.reserve(columns.size());
  for (const Column& column : columns) heads.emplace_back(column.head);
  Table table(std::move(heads));
  for (const Json& item : items) {
    std::vector<std::string> cells;
    for (const Column& column : columns) {
      cells.push_back(item.is_object() ? cell(item, column, names) : "-");
    }
    table.add(std::move(cells));
  }
  return table.to_text();
}

Done print_list(const AdminSession& session, const Json& items, const ListView& view,
                bool is_json) {
  if (is_json) {
    fmt::print("{}\n", wire::pretty_json_text(items));
    return {};
  }
  const auto names = items.empty() ? Attempt<Names>() : session.names(view.referred);
  if (!names) return std::unexpected(names.error());
  fmt::print("{}", list_text(items, view.columns, *names));
  return {};
}

}  // namespace zt::app
