// SPDX-License-Identifier: Apache-2.0
#include "app/admin_explanation.h"

#include <fmt/format.h>

#include "app/admin_session.h"
#include "app/table.h"

namespace zt::app {

namespace {

using wire::Json;

constexpr std::size_t kListedMax = 100'000;

std::string resource_text(const Json& resource) {
  const bool is_enabled = wire::boolean_member(resource, "enabled").value_or(false);
  const bool has_port = wire::boolean_member(resource, "offers_port").value_or(false);
  std::string text =
      fmt::format("\nresource \"{}\" ({}): {}, {} the port, connectors online: {}\n",
                  printable(wire::text_or_empty(resource, "name")),
                  printable(wire::text_or_empty(resource, "id")),
                  is_enabled ? "enabled" : "disabled", has_port ? "offers" : "does not offer",
                  wire::integer_member(resource, "connectors_online").value_or(0));
  if (const std::string path = wire::text_or_empty(resource, "path"); !path.empty()) {
    text += fmt::format("paths: {}\n", printable(path));
  }
  const Json* const rules = wire::array_member(resource, "rules", kListedMax);
  if (rules == nullptr || rules->empty()) return text + "no rule names it\n";
  Table table({"RULE", "ID", "EFFECT", "HERE IT"});
  for (const Json& rule : *rules) {
    table.add({wire::text_or_empty(rule, "name"), wire::text_or_empty(rule, "id"),
               wire::text_or_empty(rule, "effect"), wire::text_or_empty(rule, "text")});
  }
  return text + table.to_text();
}

}  // namespace

std::string explanation_text(const Json& explanation) {
  std::string text = printable(wire::text_or_empty(explanation, "sentence")) + "\n";
  const std::string told = wire::text_or_empty(explanation, "told");
  if (!told.empty()) text += "the subject hears: " + printable(told) + "\n";
  const std::string end = wire::text_or_empty(explanation, "valid_until");
  if (!end.empty()) text += "valid until: " + printable(end) + "\n";
  const Json* const resources = wire::array_member(explanation, "resources", kListedMax);
  if (resources == nullptr) return text;
  for (const Json& resource : *resources) text += resource_text(resource);
  return text;
}

}  // namespace zt::app
