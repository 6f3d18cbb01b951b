// SPDX-License-Identifier: Apache-2.0
// app/admin_network_commands.cc: networks, and the flags of path rules.
#include <fmt/format.h>

#include "app/admin_leaf.h"

namespace zt::app {

namespace {

using wire::Json;

struct NetworkCommand {
  CommonArguments common;
  std::string network;  // Of an update: name or id.
  NetworkArguments changes;
};

// network_changes returns the body with ids in the place of the relays' names.
Attempt<Json> network_changes(const AdminSession& session, const NetworkCommand& command) {
  NetworkArguments changes = command.changes;
  // What is wrong with the command line is said before anything is asked.
  if (const auto checked = network_body(changes); !checked) return usage(checked.error());
  if (const Done found = find_relays(session, changes.path); !found) {
    return std::unexpected(found.error());
  }
  auto body = network_body(changes);
  if (!body) return usage(body.error());
  return std::move(*body);
}

Done create_network(const AdminSession& session, const NetworkCommand& command) {
  auto body = network_changes(session, command);
  if (!body) return std::unexpected(body.error());
  const auto object = session.post("networks", std::move(*body));
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "created", kNetworks, *object);
  return {};
}

Done update_network(const AdminSession& session, const NetworkCommand& command) {
  auto body = network_changes(session, command);
  if (!body) return std::unexpected(body.error());
  const auto object = session.change(kNetworks, command.network,
                                     [&](const Json&) -> Attempt<Json> { return *body; });
  if (!object) return std::unexpected(object.error());
  print_made(command.common, "updated", kNetworks, *object);
  return {};
}

}  // namespace

void add_path_options(CLI::App& leaf, PathArguments& path, bool has_network) {
  std::vector<std::string> words{"any", "never-relay", "always-relay"};
  if (has_network) words.emplace_back("inherit");
  leaf.add_option("--paths", path.paths,
                  "How flows may travel; with --relay, --region and --own-first it replaces the "
                  "former rule")
      ->check(CLI::IsMember(words));
  leaf.add_option("--relay", path.relays, "Name or id of a relay that may be used. Repeatable")
      ->allow_extra_args(false);
  leaf.add_option("--region", path.regions, "Likewise all relays of this region. Repeatable")
      ->allow_extra_args(false);
  leaf.add_flag("--own-first", path.is_own_first,
                "These relays come first, and the others when none of them is reached");
}

Done find_relays(const AdminSession& session, PathArguments& path) {
  for (std::string& relay : path.relays) {
    auto id = session.find_id(kRelays, relay);
    if (!id) return std::unexpected(id.error());
    relay = std::move(*id);
  }
  return {};
}

void add_network_changes(CLI::App& parent, Chosen& chosen) {
  auto creation = std::make_shared<NetworkCommand>();
  CLI::App& create =
      add_leaf(parent, chosen, "create", "Create a network", creation, create_network);
  create.add_option("NAME", creation->changes.name, "A name that no other has")->required();
  add_path_options(create, creation->changes.path, false);
  add_json_flag(create, creation);
  create.footer(
      "Examples:\n"
      "  zt admin network create office\n"
      "  zt admin network create lab --paths never-relay");

  auto update = std::make_shared<NetworkCommand>();
  CLI::App& leaf = add_leaf(parent, chosen, "update", "Change what is given, leave the rest",
                            update, update_network);
  leaf.add_option("NAME", update->network, "Name or id of the network")->required();
  leaf.add_option("--name", update->changes.name, "New name");
  add_path_options(leaf, update->changes.path, false);
  add_json_flag(leaf, update);
  leaf.footer(
      "Examples:\n"
      "  zt admin network update office --name headquarters\n"
      "  zt admin network update office --paths always-relay --region eu\n"
      "  zt admin network update office --relay fra-1 --own-first");
}

}  // namespace zt::app
