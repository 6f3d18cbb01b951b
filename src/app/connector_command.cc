// SPDX-License-Identifier: Apache-2.0
// app/connector_command.cc: `zt connector`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/busy_polling.h"
#include "app/command.h"
#include "app/connector_shell.h"
#include "app/draining.h"
#include "app/enrolment.h"
#include "app/node_defaults.h"
#include "app/path_settings.h"
#include "app/version.h"
#include "io/entropy.h"
#include "io/signals.h"

namespace zt::app {

namespace {

struct Settings {
  TokenSource token;
  std::string state = default_state_path("connector").string();
  std::string name = machine_name();
  std::vector<std::string> dns;
  std::uint32_t drain_timeout_s = Draining::kConnectorTimeoutDefault;
  std::uint32_t hold_timeout_s = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(connector::Engine::Limits{}.hold_timeout)
          .count());
  PathSettings paths;
  BusyPolling busy_polling;
  LogSettings log;
};

std::optional<node::ConnectorNode::Standing> standing_of(const std::optional<NodeRecord>& record) {
  if (!record) return std::nullopt;
  return node::ConnectorNode::Standing{.tenant = record->tenant,
                                       .network = record->network,
                                       .connector = ConnectorId{record->node},
                                       .jwks = record->jwks};
}

std::expected<io::Resolver::Options, std::string> resolver_options_of(const Settings& settings) {
  io::Resolver::Options options;
  for (const std::string& server : settings.dns) {
    const auto address = parse_dns_server(server);
    if (!address) return std::unexpected(fmt::format("--dns {}: not an address", server));
    options.servers.push_back(*address);
  }
  return options;
}

ExitCode run(const Settings& settings) {
  io::Loop loop;
  io::KernelRandom random;
  Log log(stderr, "connector", settings.log.options());
  auto entrance = open_entrance(
      {.kind = grant::NodeKind::connector, .state = settings.state, .name = settings.name},
      settings.token, loop.now().unix_time);
  if (!entrance) return fail(entrance.error().code, entrance.error().sentence);
  const auto resolver_options = resolver_options_of(settings);
  if (!resolver_options) return fail(ExitCode::usage, resolver_options.error());
  io::Resolver resolver(loop, *resolver_options);

  node::ConnectorNode::Config config{.link = link_config(entrance->identity, entrance->controller,
                                                         entrance->controller_key, random, true),
                                     .standing = standing_of(entrance->record)};
  config.engine.hold_timeout = std::chrono::seconds(settings.hold_timeout_s);
  if (const auto applied = settings.paths.apply(config.link); !applied) {
    return fail(ExitCode::usage, applied.error());
  }
  ExitCode code = ExitCode::ok;
  std::unique_ptr<ConnectorShell> serving;
  Draining draining(loop, log, std::chrono::seconds(settings.drain_timeout_s), "flows",
                    {.begin = [&] { serving->drain(); },
                     .left = [&] { return serving->flow_count(); },
                     .cut = [&] { serving->end_flows(); }});
  auto shell = ConnectorShell::create(
      loop, resolver, random, log, config, settings.paths.udp_port, std::move(entrance->credential),
      {.on_standing =
           [&](const node::ConnectorNode::Standing& standing) {
             const auto written = entrance->state.write({.kind = "connector",
                                                         .controller = entrance->controller,
                                                         .controller_key = entrance->controller_key,
                                                         .tenant = standing.tenant,
                                                         .network = standing.network,
                                                         .node = standing.connector.text,
                                                         .jwks = standing.jwks});
             if (!written) {
               log.write(LogLevel::error, "cannot keep the enrolment",
                         {{"reason", written.error()}}, loop.now().unix_time);
               code = ExitCode::failed;
               loop.stop();
             }
           },
       .on_refused =
           [&](const node::Refused& refused) {
             code = fail(ExitCode::denied,
                         fmt::format("the controller refused this connector: {}", refused.detail));
             loop.stop();
           },
       .on_drained = [&] { draining.finish(); }});
  if (!shell) {
    return fail(ExitCode::failed,
                fmt::format("cannot open a UDP port: {}", io::to_text(shell.error())));
  }
  serving = std::move(*shell);
  const io::Signals signals(loop, {SIGINT, SIGTERM}, [&](int) { draining.signal(); });
  log.write(LogLevel::info, "connector starts",
            {{"version", std::string(version())}, {"state", settings.state}}, loop.now().unix_time);
  serving->keep_flows(entrance->state.flow_file());
  if (settings.busy_polling.is_wise()) serving->use_busy_polling();
  serving->start();
  loop.run();
  serving->leave();
  log.write(LogLevel::info, "connector ends", {}, loop.now().unix_time);
  return code;
}

}  // namespace

void add_connector_commands(CLI::App& app, Chosen& chosen) {
  auto settings = std::make_shared<Settings>();  // Shared by the parser and the action.
  CLI::App* command = app.add_subcommand(
      "connector", "Serve a private network: open outbound connections only, dial its resources");
  settings->token.add_to(*command);
  command->add_option("--state", settings->state, "Directory of this connector's key and identity")
      ->capture_default_str();
  command->add_option("--name", settings->name, "Name in the controller's lists, at enrolment")
      ->capture_default_str();
  command->add_option("--dns", settings->dns,
                      "DNS server of the private network, ADDRESS[:PORT]; default: resolv.conf");
  settings->paths.add_to(*command);
  settings->busy_polling.add_to(*command);
  Draining::add_to(*command, settings->drain_timeout_s);
  command
      ->add_option("--hold-timeout", settings->hold_timeout_s,
                   "Seconds that a TCP flow whose grant has ended is held, without letting a byte "
                   "pass, until there is another grant: the client may sleep; 0 cuts it at once")
      ->check(CLI::Range(0, 5400))
      ->capture_default_str();
  settings->log.add_to(*command);
  command->footer(
      "The first start needs an enrolment token (zt admin connector token NETWORK); later starts\n"
      "need none. The token is read from --token-file, --token or the environment ZT_TOKEN.\n\n"
      "SIGTERM drains: clients are told to go to another connector for new flows, and this one "
      "ends\n"
      "when its live flows have.\n\n"
      "With CAP_NET_RAW, a service that answers with UDP datagrams too large for the path is told\n"
      "so by ICMP; without it they are lost in silence.\n\n"
      "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage or token, 3 refused by the "
      "controller.");
  command->callback([settings, &chosen] { chosen.action = [settings] { return run(*settings); }; });
}

}  // namespace zt::app
