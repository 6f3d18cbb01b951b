// SPDX-License-Identifier: Apache-2.0
// app/admin_command.cc: `zt admin …`, and the part of it about networks, connectors and relays.
#include <fmt/format.h>

#include <array>

#include "app/admin_leaf.h"
#include "app/admin_list.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

using wire::Json;

struct MakeTokenArguments {
  CommonArguments common;
  std::string network;
  TokenArguments token;
  SecretOutput output;
};

Done make_token(const AdminSession& session, const MakeTokenArguments& arguments,
                const std::string& path) {
  if (Done checked = check_secret_output(arguments.common, arguments.output); !checked) {
    return checked;
  }
  auto body = token_body(arguments.token);
  if (!body) return usage(body.error());
  const auto made = session.make_secret(
      {.path = path, .member = "token", .undo = std::string(kEnrolmentTokens.path)},
      std::move(*body), arguments.output);
  if (!made) return std::unexpected(made.error());
  print_secret_made(arguments.common, *made);
  return {};
}

Done make_connector_token(const AdminSession& session, const MakeTokenArguments& arguments) {
  const auto network = session.find_id(kNetworks, arguments.network);
  if (!network) return std::unexpected(network.error());
  return make_token(session, arguments,
                    fmt::format("networks/{}/connector-tokens", http::percent_encode(*network)));
}

Done make_relay_token(const AdminSession& session, const MakeTokenArguments& arguments) {
  return make_token(session, arguments, "relay-tokens");
}

void add_token_options(CLI::App& leaf, const std::shared_ptr<MakeTokenArguments>& made) {
  MakeTokenArguments& arguments = *made;
  add_json_flag(leaf, made);
  leaf.add_option("--name", arguments.token.name, "What the enrolled node is called");
  leaf.add_option("--uses", arguments.token.uses, "How many nodes it enrols; default: 1")
      ->check(CLI::Range(1, 10'000));
  leaf.add_option("--expires", arguments.token.lifetime, "For how long it is valid: 30m, 24h, 7d");
  add_secret_options(leaf, arguments.output, false);
}

void add_connector_token(CLI::App& parent, Chosen& chosen) {
  auto arguments = std::make_shared<MakeTokenArguments>();
  CLI::App& leaf = add_leaf(parent, chosen, "token", "Make a token that enrols a connector",
                            arguments, make_connector_token);
  leaf.add_option("NETWORK", arguments->network, "Name or id of the connector's network")
      ->required();
  add_token_options(leaf, arguments);
  leaf.footer(
      "Examples:\n"
      "  ZT_TOKEN=$(zt admin connector token office) zt connector\n"
      "  zt admin connector token office --uses 3 --expires 7d --out office.token");
}

void add_relay_token(CLI::App& parent, Chosen& chosen) {
  auto arguments = std::make_shared<MakeTokenArguments>();
  CLI::App& leaf = add_leaf(parent, chosen, "token", "Make a token that enrols a relay", arguments,
                            make_relay_token);
  leaf.add_option("--address", arguments->token.address,
                  "HOST:PORT (UDP) at which connectors and clients reach the relay")
      ->required();
  leaf.add_option("--region", arguments->token.region, "Where it stands, for people");
  add_token_options(leaf, arguments);
  leaf.footer(
      "Example:\n"
      "  zt admin relay token --address relay.example.com:443 --name fra-1 --out relay.token");
}

}  // namespace

void add_node_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& network =
      add_kind_group(admin, kNetworks, "Networks: where connectors and resources are");
  add_network_changes(network, chosen);
  add_list(network, chosen, kNetworks);
  add_show(network, chosen, kNetworks);
  add_delete(network, chosen, kNetworks);

  CLI::App& connector =
      add_kind_group(admin, kConnectors, "Connectors: they open flows inside a network");
  add_connector_token(connector, chosen);
  add_list(connector, chosen, kConnectors);
  add_show(connector, chosen, kConnectors);
  add_update(connector, chosen, kConnectors);
  add_switches(connector, chosen, kConnectors);
  add_delete(connector, chosen, kConnectors);

  CLI::App& relay = add_kind_group(admin, kRelays,
                                   "Relays: they forward between nodes that cannot "
                                   "reach each other");
  add_relay_token(relay, chosen);
  add_list(relay, chosen, kRelays);
  add_show(relay, chosen, kRelays);
  constexpr std::array<TextChange, 2> kRelayChanges{{
      {.option = "--address",
       .member = "address",
       .help = "HOST:PORT (UDP) at which connectors and clients reach it"},
      {.option = "--region", .member = "region", .help = "Where it stands, for people"},
  }};
  add_update(relay, chosen, kRelays, kRelayChanges);
  add_switches(relay, chosen, kRelays);
  add_delete(relay, chosen, kRelays);

  CLI::App& token = add_kind_group(admin, kEnrolmentTokens, "Enrolment tokens that were made");
  token.alias("token");
  add_list(token, chosen, kEnrolmentTokens);
  add_show(token, chosen, kEnrolmentTokens);
  add_delete(token, chosen, kEnrolmentTokens);
}

void add_admin_commands(CLI::App& app, Chosen& chosen) {
  CLI::App* const admin =
      app.add_subcommand("admin", "Administer a controller: who may reach what, and what happened");
  admin->require_subcommand(1);
  add_node_commands(*admin, chosen);
  add_policy_commands(*admin, chosen);
  add_subject_commands(*admin, chosen);
  add_explain_command(*admin, chosen);
  add_log_commands(*admin, chosen);
  admin->footer(
      "Objects are named by their name or id. Lists are tables, or one JSON array with --json.\n"
      "What somebody else changes at the same time is never overwritten: the command fails.\n"
      "\n"
      "The access file says where the controller is, which key it has, and holds an API key: "
      "given\n"
      "by --access, else by ZT_ADMIN, else ~/.config/zt/admin.json, else\n"
      "/var/lib/zt/controller/admin.json, which the controller writes at its first start.\n"
      "\n"
      "Example, from nothing to a database that one service may reach:\n"
      "  zt admin network create office\n"
      "  zt admin connector token office --out connector.token\n"
      "  zt admin resource create db --network office --address db.internal --tcp 5432\n"
      "  zt admin service-account create ci\n"
      "  zt admin service-account key ci --expires 90d --out ci.json\n"
      "  zt admin rule create ci-db --subject svc:ci --resource db\n"
      "  zt admin explain svc:ci db.internal:5432\n"
      "\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage or access file, 3 the API key is refused,\n"
      "4 the controller cannot be reached.");
}

}  // namespace zt::app
