// SPDX-License-Identifier: Apache-2.0
// app/controller_command.cc: `zt controller serve`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>
#include <utility>

#include "app/admin_access.h"
#include "app/command.h"
#include "app/controller_shell.h"
#include "app/node_defaults.h"
#include "app/version.h"
#include "controller/initialise.h"
#include "io/entropy.h"
#include "io/files.h"
#include "io/signals.h"
#include "store/sqlite_store.h"
#include "wire/json.h"
#include "zt/grant/bootstrap.h"

namespace zt::app {

namespace {

struct Settings {
  std::string state = default_state_path("controller").string();
  std::string listen = "443";
  std::vector<std::string> hosts;
  std::string tenant = "default";
  LogSettings log;
};

std::expected<std::vector<Host>, std::string> parse_hosts(const Settings& settings) {
  std::vector<Host> hosts;
  for (const std::string& text : settings.hosts) {
    const auto host = parse_host(text);
    if (!host) return std::unexpected(fmt::format("--host {}: not a name or an address", text));
    hosts.push_back(*host);
  }
  if (hosts.empty()) {
    const auto own = DnsName::parse(machine_name());
    if (!own) return std::unexpected("--host is needed: this machine's name is not a DNS name");
    hosts.emplace_back(*own);
  }
  return hosts;
}

// write_access keeps what the first start made for its administrator.
std::expected<void, std::string> write_access(const std::filesystem::path& state,
                                              const controller::Initialised& made,
                                              const Authority& controller) {
  const auto ca = state / "ca.pem";
  if (const auto written =
          io::write_file(ca, as_bytes(made.authority_certificate), io::FileMode::public_read);
      !written) {
    return std::unexpected(fmt::format("{}: {}", ca.string(), io::to_text(written.error())));
  }
  if (!made.api_key) return {};
  const AdminAccess access{.controller = controller,
                           .controller_key = made.https.public_key_digest(),
                           .api_key = made.api_key->duplicate()};
  return access.write(state / "admin.json");
}

void greet(const Settings& settings, const controller::Initialised& made,
           const Authority& controller) {
  const std::filesystem::path state = settings.state;
  fmt::print(
      "A new installation was made.\n"
      "  tenant      {} ({})\n"
      "  controller  {}\n"
      "  admin key   {} (mode 0600: whoever reads it administers this controller)\n"
      "  CA          {} (for curl --cacert and browsers)\n"
      "Next, in another terminal:\n"
      "  export ZT_ADMIN={}\n"
      "  zt admin network create NAME\n",
      settings.tenant, made.tenant.text, grant::to_controller_url(controller),
      (state / "admin.json").string(), (state / "ca.pem").string(),
      (state / "admin.json").string());
  (void)std::fflush(stdout);
}

ExitCode serve(const Settings& settings) {
  const auto local = parse_listen(settings.listen);
  if (!local) {
    return fail(ExitCode::usage,
                fmt::format("--listen {}: not PORT or ADDRESS:PORT", settings.listen));
  }
  auto hosts = parse_hosts(settings);
  if (!hosts) return fail(ExitCode::usage, hosts.error());
  const std::filesystem::path state = settings.state;
  if (const auto made = io::make_private_directory(state); !made) {
    return fail(ExitCode::failed, fmt::format("{}: {}", state.string(), io::to_text(made.error())));
  }
  io::Loop loop;
  io::KernelRandom random;
  Log log(stderr, "controller", settings.log.options());
  const std::string database = (state / "controller.db").string();
  auto store = store::SqliteStore::open({.path = database});
  if (!store) {
    return fail(ExitCode::failed,
                fmt::format("{}: {}", database, controller::to_text(store.error())));
  }
  const Now now = loop.now();
  auto made = controller::initialise(**store, {.hosts = *hosts, .tenant_name = settings.tenant},
                                     random, now.unix_time);
  if (!made) {
    return fail(ExitCode::failed,
                fmt::format("{}: {}", database, controller::to_text(made.error())));
  }
  const Authority controller{.host = hosts->front(), .port = local->port};
  if (const auto written = write_access(state, *made, controller); !written) {
    return fail(ExitCode::failed, written.error());
  }

  RouteId route;
  random.fill(route.bytes);
  const node::ControllerNode::Config config{
      .endpoint = {.identity = &made->https,
                   .route = route,
                   .is_accepting = true,
                   .is_client_certificate_required = false,
                   .reset_key = reset_key_of(made->https)},
      .server = {.is_upgrade_allowed = true, .identity = &made->https, .alt_svc_port = local->port},
      .engine = {.url = grant::to_controller_url(controller),
                 .pin = made->https.public_key_digest()}};
  auto shell = ControllerShell::create(loop, random, log, *local, config, **store);
  if (!shell) {
    return fail(ExitCode::failed, fmt::format("cannot listen on {}: {}", settings.listen,
                                              io::to_text(shell.error())));
  }
  if (made->api_key) greet(settings, *made, controller);
  const io::Signals signals(loop, {SIGINT, SIGTERM}, [&](int) { loop.stop(); });
  log.write(LogLevel::info, "controller starts",
            {{"version", std::string(version())}, {"state", settings.state}}, now.unix_time);
  (*shell)->start();
  loop.run();
  (*shell)->leave();
  log.write(LogLevel::info, "controller ends", {}, loop.now().unix_time);
  return ExitCode::ok;
}

}  // namespace

void add_controller_commands(CLI::App& app, Chosen& chosen) {
  auto settings = std::make_shared<Settings>();  // Shared by the parser and the action.
  CLI::App* controller =
      app.add_subcommand("controller", "Identity, policy, signed authorizations, the central log");
  controller->require_subcommand(1);
  CLI::App* command = controller->add_subcommand("serve", "Run a controller");
  command->add_option("--state", settings->state, "Directory of the database and its files")
      ->capture_default_str();
  command
      ->add_option("--listen", settings->listen, "Port, or ADDRESS:PORT, to listen on, UDP and TCP")
      ->capture_default_str();
  command->add_option("--host", settings->hosts,
                      "Name or address under which this controller is reached; the first one goes "
                      "into tokens. Repeatable; default: this machine's name");
  command->add_option("--tenant", settings->tenant, "Name of the tenant that the first start makes")
      ->capture_default_str();
  settings->log.add_to(*command);
  command->footer(
      "The first start makes a tenant, its signing keys, a CA and an admin API key, which it "
      "writes\n"
      "to STATE/admin.json. There is no password anywhere.\n\n"
      "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage.");
  command->callback(
      [settings, &chosen] { chosen.action = [settings] { return serve(*settings); }; });
}

}  // namespace zt::app
