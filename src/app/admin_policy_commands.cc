// SPDX-License-Identifier: Apache-2.0
// app/admin_policy_commands.cc: resources, and the rules that give access to them.
#include <fmt/format.h>

#include "app/admin_leaf.h"
#include "app/admin_list.h"
#include "io/clock.h"

namespace zt::app {

namespace {

using wire::Json;

struct ResourceCommand {
  CommonArguments common;
  std::string resource;  // Of an update: name or id.
  ResourceArguments changes;
};

// resource_changes returns the body with the network's id in the place of its name.
Attempt<Json> resource_changes(const AdminSession& session, const ResourceCommand& command) {
  ResourceArguments changes = command.changes;
  // What is wrong with the command line is said before anything is asked.
  if (const auto checked = resource_body(changes); !checked) return usage(checked.error());
  if (!changes.network.empty()) {
    auto network = session.find_id(kNetworks, changes.network);
    if (!network) return std::unexpected(network.error());
    changes.network = std::move(*network);
  }
  if (const Done found = find_relays(session, changes.path); !found) {
    return std::unexpected(found.error());
  }
  auto body = resource_body(changes);
  if (!body) return usage(body.error());
  return std::move(*body);
}

Done create_resource(const AdminSession& session, const ResourceCommand& command) {
  auto body = resource_changes(session, command);
  if (!body) return std::unexpected(body.error());
  const auto object = session.post("resources", std::move(*body));
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "created", kResources, *object);
  return {};
}

Done update_resource(const AdminSession& session, const ResourceCommand& command) {
  auto body = resource_changes(session, command);
  if (!body) return std::unexpected(body.error());
  const auto object = session.change(kResources, command.resource,
                                     [&](const Json&) -> Attempt<Json> { return *body; });
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "updated", kResources, *object);
  return {};
}

void add_resource_options(CLI::App& leaf, ResourceArguments& changes, bool is_creation) {
  leaf.add_option("--network", changes.network, "Name or id of the network that it is in")
      ->required(is_creation);
  leaf.add_option("--address", changes.address,
                  "Name, name with wildcards, address or prefix: db.internal, *.dev.internal, "
                  "10.0.0.5, 10.1.0.0/16")
      ->required(is_creation);
  leaf.add_option("--tcp", changes.tcp, "TCP ports: 5432,8000-8100, all, or none");
  leaf.add_option("--udp", changes.udp, "UDP ports, likewise");
  CLI::Option* const alias = leaf.add_option(
      "--alias", changes.aliases, "Another name under which clients may ask for it. Repeatable");
  alias->allow_extra_args(false);
  if (!is_creation) {
    leaf.add_flag("--no-aliases", changes.is_without_aliases, "Remove all aliases")
        ->excludes(alias);
  }
  add_path_options(leaf, changes.path, true);
}

void add_resource_create(CLI::App& parent, Chosen& chosen) {
  auto command = std::make_shared<ResourceCommand>();
  CLI::App& leaf =
      add_leaf(parent, chosen, "create", "Create a resource", command, create_resource);
  leaf.add_option("NAME", command->changes.name, "A name that no other has")->required();
  add_resource_options(leaf, command->changes, true);
  add_json_flag(leaf, command);
  leaf.footer(
      "Nobody may reach a new resource: see zt admin rule create.\n\n"
      "Examples:\n"
      "  zt admin resource create db --network office --address db.internal --tcp 5432\n"
      "  zt admin resource create lab --network office --address 10.8.0.0/16 --tcp all --udp 53");
}

void add_resource_update(CLI::App& parent, Chosen& chosen) {
  auto command = std::make_shared<ResourceCommand>();
  CLI::App& leaf = add_leaf(parent, chosen, "update", "Change what is given, leave the rest",
                            command, update_resource);
  leaf.add_option("NAME", command->resource, "Name or id of the resource")->required();
  leaf.add_option("--name", command->changes.name, "New name");
  add_resource_options(leaf, command->changes, false);
  add_json_flag(leaf, command);
  leaf.footer(
      "Examples:\n"
      "  zt admin resource update db --tcp 5432,6432\n"
      "  zt admin resource update db --paths never-relay\n"
      "  zt admin resource update db --paths inherit");
}

// --- Rules.

struct RuleCommand {
  CommonArguments common;
  RuleArguments rule;
};

// find_subjects replaces what was typed by ids.
Done find_subjects(const AdminSession& session, std::vector<std::string>& subjects) {
  for (std::string& subject : subjects) {
    const auto reference = parse_subject(subject);
    if (!reference) return usage(reference.error());
    auto id = session.find_id(*reference);
    if (!id) return std::unexpected(id.error());
    subject = std::move(*id);
  }
  return {};
}

Done find_resources(const AdminSession& session, std::vector<std::string>& resources) {
  for (std::string& resource : resources) {
    auto id = session.find_id(parse_rule_resource(resource));
    if (!id) return std::unexpected(id.error());
    resource = std::move(*id);
  }
  return {};
}

Done create_rule(const AdminSession& session, const RuleCommand& command) {
  RuleArguments rule = command.rule;
  const UnixTime now = io::read_clocks().unix_time;
  if (const auto checked = rule_body(rule, now); !checked) return usage(checked.error());
  Done found = find_subjects(session, rule.subjects);
  if (found) found = find_resources(session, rule.resources);
  if (!found) return found;
  auto body = rule_body(rule, now);
  if (!body) return usage(body.error());
  const auto object = session.post("access-rules", std::move(*body));
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "created", kRules, *object);
  return {};
}

void add_rule_create(CLI::App& parent, Chosen& chosen) {
  auto command = std::make_shared<RuleCommand>();
  CLI::App& leaf = add_leaf(parent, chosen, "create", "Create a rule", command, create_rule);
  RuleArguments& rule = command->rule;
  leaf.add_option("NAME", rule.name, "A name that no other has")->required();
  leaf.add_option("--subject", rule.subjects,
                  "svc:NAME, user:NAME, group:NAME, an id, or everyone. Repeatable")
      ->required()
      ->allow_extra_args(false);
  leaf.add_option("--resource", rule.resources,
                  "Name or id of a resource, or everything. Repeatable")
      ->required()
      ->allow_extra_args(false);
  leaf.add_flag("--deny", rule.is_deny, "Forbid it, whatever other rules allow");
  leaf.add_option("--tcp", rule.tcp, "Only these TCP ports of the resources: 5432,8000-8100, all");
  leaf.add_option("--udp", rule.udp, "Only these UDP ports, likewise");
  leaf.add_option("--until", rule.until,
                  "When the rule ends: 30d, 12h, or 2030-12-31T23:59:59Z; default: never");
  add_json_flag(leaf, command);
  leaf.footer(
      "Without --tcp and --udp the rule is for every port that the resources offer. What no rule "
      "allows\nis denied; a rule with --deny wins over all that allow.\n\n"
      "Examples:\n"
      "  zt admin rule create ci-db --subject svc:ci --resource db\n"
      "  zt admin rule create oncall --subject group:oncall --resource db --tcp 22 --until 12h\n"
      "  zt admin rule create no-billing --deny --subject everyone --resource billing");
}

struct RuleUpdate {
  CommonArguments common;
  std::string rule;  // Name or id.
  RuleChanges changes;
};

Done update_rule(const AdminSession& session, const RuleUpdate& command) {
  RuleChanges changes = command.changes;
  Done found = find_subjects(session, changes.subjects_added);
  if (found) found = find_subjects(session, changes.subjects_removed);
  if (found) found = find_resources(session, changes.resources_added);
  if (found) found = find_resources(session, changes.resources_removed);
  if (!found) return found;
  const auto object = session.change(kRules, command.rule, [&](const Json& rule) -> Attempt<Json> {
    auto body = rule_changes_body(rule, changes, io::read_clocks().unix_time);
    if (!body) return usage(body.error());
    return std::move(*body);
  });
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "updated", kRules, *object);
  return {};
}

void add_rule_update(CLI::App& parent, Chosen& chosen) {
  auto command = std::make_shared<RuleUpdate>();
  CLI::App& leaf = add_leaf(parent, chosen, "update", "Change what is given, leave the rest",
                            command, update_rule);
  RuleChanges& changes = command->changes;
  leaf.add_option("NAME", command->rule, "Name or id of the rule")->required();
  leaf.add_option("--name", changes.name, "New name");
  const auto add_list_option = [&leaf](const char* option, std::vector<std::string>& list,
                                       const char* help) {
    leaf.add_option(option, list, help)->allow_extra_args(false);
  };
  add_list_option("--add-subject", changes.subjects_added,
                  "svc:NAME, user:NAME, group:NAME, an id, or everyone. Repeatable");
  add_list_option("--remove-subject", changes.subjects_removed, "Likewise");
  add_list_option("--add-resource", changes.resources_added,
                  "Name or id of a resource, or everything. Repeatable");
  add_list_option("--remove-resource", changes.resources_removed, "Likewise");
  CLI::Option* const allow = leaf.add_flag("--allow", changes.is_allow, "Allow it");
  leaf.add_flag("--deny", changes.is_deny, "Forbid it, whatever other rules allow")
      ->excludes(allow);
  CLI::Option* const all =
      leaf.add_flag("--all-ports", changes.is_for_all_ports, "Every port of both protocols");
  leaf.add_option("--tcp", changes.tcp, "Only these TCP ports: 5432,8000-8100, all")->excludes(all);
  leaf.add_option("--udp", changes.udp, "Only these UDP ports, likewise")->excludes(all);
  leaf.add_option("--until", changes.until, "When it ends: 30d, 2030-12-31T23:59:59Z, or never");
  add_json_flag(leaf, command);
  leaf.footer(
      "--tcp and --udp together replace the ports of the rule.\n\n"
      "Example:\n  zt admin rule update oncall --add-subject svc:pager --until 12h");
}

}  // namespace

void add_policy_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& resource =
      add_kind_group(admin, kResources, "Resources: what can be reached inside a network");
  add_resource_create(resource, chosen);
  add_list(resource, chosen, kResources);
  add_show(resource, chosen, kResources);
  add_resource_update(resource, chosen);
  add_switches(resource, chosen, kResources);
  add_delete(resource, chosen, kResources);

  CLI::App& rule = add_kind_group(admin, kRules, "Rules: who may reach what");
  add_rule_create(rule, chosen);
  add_list(rule, chosen, kRules);
  add_show(rule, chosen, kRules);
  add_rule_update(rule, chosen);
  add_switches(rule, chosen, kRules);
  add_delete(rule, chosen, kRules);
}

}  // namespace zt::app
