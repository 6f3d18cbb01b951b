// SPDX-License-Identifier: Apache-2.0
// app/relay_command.cc: `zt relay serve`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "app/command.h"
#include "app/draining.h"
#include "app/enrolment.h"
#include "app/node_defaults.h"
#include "app/relay_shell.h"
#include "app/version.h"
#include "io/entropy.h"
#include "io/signals.h"
#include "zt/base/decimal.h"

namespace zt::app {

namespace {

struct Settings {
  TokenSource token;
  std::string state = default_state_path("relay").string();
  std::string name = machine_name();
  std::string listen = "443";
  std::string listen_tcp;  // Empty: as `listen`.
  bool has_no_tcp = false;
  std::string threads = "1";
  std::uint32_t drain_timeout_s = Draining::kRelayTimeoutDefault;
  LogSettings log;
};

// parse_threads accepts a number, or "auto" for one on each core.
std::optional<std::size_t> parse_threads(const std::string& text) {
  const auto threads_max = std::int64_t{RelayThreads::kThreadsMax};
  if (text == "auto") {
    return std::size_t(
        std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1, threads_max));
  }
  const auto count = parse_decimal<std::int64_t>(text);
  if (!count || *count < 1 || *count > threads_max) return std::nullopt;
  return std::size_t(*count);
}

void write_totals(Log& log, const std::vector<RelayThreads::Totals>& totals, UnixTime time) {
  for (std::size_t i = 0; i < totals.size(); ++i) {
    const RelayThreads::Totals& thread = totals[i];
    std::uint64_t dropped = 0;
    for (const relay::Volume& volume : thread.forwarding.dropped) dropped += volume.datagrams;
    log.write(LogLevel::info, "a thread has forwarded",
              {{"thread", std::to_string(i)},
               {"datagrams", std::to_string(thread.forwarding.forwarded.datagrams)},
               {"bytes", std::to_string(thread.forwarding.forwarded.bytes)},
               {"dropped", std::to_string(dropped)},
               {"handed", std::to_string(thread.handed)},
               {"handed_lost", std::to_string(thread.handed_lost)}},
              time);
  }
}

// Listening is where a relay waits, and with how many threads.
struct Listening {
  io::UdpPort::Local udp;
  io::UdpPort::Local tcp;
  std::size_t thread_count = 1;
};

// parse_listening returns what the settings mean, or what is wrong with them.
std::expected<Listening, std::string> parse_listening(const Settings& settings) {
  const auto udp = parse_listen(settings.listen);
  if (!udp) {
    return std::unexpected(fmt::format("--listen {}: not PORT or ADDRESS:PORT", settings.listen));
  }
  const auto tcp = settings.listen_tcp.empty() ? udp : parse_listen(settings.listen_tcp);
  if (!tcp) {
    return std::unexpected(
        fmt::format("--listen-tcp {}: not PORT or ADDRESS:PORT", settings.listen_tcp));
  }
  const auto thread_count = parse_threads(settings.threads);
  if (!thread_count) {
    return std::unexpected(fmt::format("--threads {}: not \"auto\" or 1 to {}", settings.threads,
                                       RelayThreads::kThreadsMax));
  }
  return Listening{.udp = *udp, .tcp = *tcp, .thread_count = *thread_count};
}

// listen_tcp returns what went wrong, if something did.
std::optional<std::string> listen_tcp(RelayShell& shell, const io::UdpPort::Local& local,
                                      const crypto::Identity& identity) {
  const std::uint16_t port = local.port == 0 ? shell.port() : local.port;
  const auto listening = shell.listen_tcp({.ip = local.ip, .port = port}, identity);
  if (listening) return std::nullopt;
  return fmt::format(
      "cannot listen on TCP port {}: {}; --listen-tcp takes another one, and --no-tcp does without",
      port, io::to_text(listening.error()));
}

ExitCode run(const Settings& settings) {
  const auto listening = parse_listening(settings);
  if (!listening) return fail(ExitCode::usage, listening.error());
  io::Loop loop;
  io::KernelRandom random;
  Log log(stderr, "relay", settings.log.options());
  auto entrance = open_entrance(
      {.kind = grant::NodeKind::relay, .state = settings.state, .name = settings.name},
      settings.token, loop.now().unix_time);
  if (!entrance) return fail(entrance.error().code, entrance.error().sentence);
  io::Resolver resolver(loop, {});

  node::RelayNode::Config config{.link = link_config(entrance->identity, entrance->controller,
                                                     entrance->controller_key, random, true),
                                 .standing = entrance->record
                                                 ? std::optional(node::RelayNode::Standing{
                                                       .tenant = entrance->record->tenant,
                                                       .relay = RelayId{entrance->record->node}})
                                                 : std::nullopt};
  config.link.endpoint.route = relay_route_of(entrance->identity);
  ExitCode code = ExitCode::ok;
  std::unique_ptr<RelayShell> serving;
  Draining draining(loop, log, std::chrono::seconds(settings.drain_timeout_s), "bindings",
                    {.begin = [&] { serving->drain(); },
                     .left = [&] { return serving->binding_count(); },
                     .cut = {}});
  auto shell = RelayShell::create(
      loop, resolver, random, log, listening->udp, listening->thread_count, config,
      std::move(entrance->credential),
      {.on_standing =
           [&](const node::RelayNode::Standing& standing) {
             const auto written = entrance->state.write({.kind = "relay",
                                                         .controller = entrance->controller,
                                                         .controller_key = entrance->controller_key,
                                                         .tenant = standing.tenant,
                                                         .node = standing.relay.text});
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
                         fmt::format("the controller refused this relay: {}", refused.detail));
             loop.stop();
           },
       .on_drained = [&] { draining.finish(); }});
  if (!shell) {
    return fail(ExitCode::failed, fmt::format("cannot listen on UDP {}: {}", settings.listen,
                                              io::to_text(shell.error())));
  }
  serving = std::move(*shell);
  if (!settings.has_no_tcp) {
    const auto failure = listen_tcp(*serving, listening->tcp, entrance->identity);
    if (failure) return fail(ExitCode::failed, *failure);
  }
  const io::Signals signals(loop, {SIGINT, SIGTERM}, [&](int) { draining.signal(); });
  log.write(LogLevel::info, "relay starts",
            {{"version", std::string(version())}, {"port", std::to_string(serving->port())}},
            loop.now().unix_time);
  serving->start();
  loop.run();
  serving->leave();
  write_totals(log, serving->totals(), loop.now().unix_time);
  log.write(LogLevel::info, "relay ends", {}, loop.now().unix_time);
  return code;
}

}  // namespace

void add_relay_commands(CLI::App& app, Chosen& chosen) {
  auto settings = std::make_shared<Settings>();  // Shared by the parser and the action.
  CLI::App* relay =
      app.add_subcommand("relay", "Forward sealed packets between clients and connectors");
  relay->require_subcommand(1);
  CLI::App* command =
      relay->add_subcommand("serve", "Run a relay on a machine with a public address");
  settings->token.add_to(*command);
  command->add_option("--state", settings->state, "Directory of this relay's key and identity")
      ->capture_default_str();
  command->add_option("--name", settings->name, "Name in the controller's lists, at enrolment")
      ->capture_default_str();
  command->add_option("--listen", settings->listen, "UDP port, or ADDRESS:PORT, to listen on")
      ->capture_default_str();
  command->add_option(
      "--listen-tcp", settings->listen_tcp,
      "TCP port, or ADDRESS:PORT, for nodes whose network blocks UDP; by default that "
      "of --listen, where they look for it");
  command->add_flag("--no-tcp", settings->has_no_tcp, "Serve no nodes whose network blocks UDP")
      ->excludes("--listen-tcp");
  command
      ->add_option("--threads", settings->threads,
                   "Threads that forward, 1 to 32, or \"auto\": one on each core")
      ->capture_default_str();
  Draining::add_to(*command, settings->drain_timeout_s);
  settings->log.add_to(*command);
  command->footer(
      "The first start needs an enrolment token (zt admin relay token), which also says under "
      "which\n"
      "public address the relay is reached. It is read from --token-file, --token or ZT_TOKEN.\n\n"
      "SIGTERM drains: who is bound is told to go to another relay, and the relay ends when "
      "nobody\n"
      "is bound any more.\n\n"
      "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage or token, 3 refused by the "
      "controller.");
  command->callback([settings, &chosen] { chosen.action = [settings] { return run(*settings); }; });
}

}  // namespace zt::app
