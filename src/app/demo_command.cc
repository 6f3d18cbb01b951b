// SPDX-License-Identifier: Apache-2.0
// app/demo_command.cc: `zt demo`: all four roles in one process, on loopback.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>
#include <utility>

#include "app/client_shell.h"
#include "app/command.h"
#include "app/connector_shell.h"
#include "app/controller_shell.h"
#include "app/demo_page.h"
#include "app/forward_ingress.h"
#include "app/node_defaults.h"
#include "app/relay_shell.h"
#include "app/table.h"
#include "controller/initialise.h"
#include "io/entropy.h"
#include "io/signals.h"
#include "store/sqlite_store.h"
#include "wire/json.h"
#include "zt/grant/bootstrap.h"
#include "zt/grant/enrolment_token.h"
#include "zt/grant/service_key.h"

namespace zt::app {

namespace {

using wire::Json;

struct Settings {
  LogSettings log{.level = "warn"};
};

constexpr IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

// free_port asks the kernel for a port that is free for UDP and TCP.
std::optional<std::uint16_t> free_port(io::Loop& loop) {
  io::UdpBuffers buffers;
  const auto port = io::UdpPort::bind(loop, buffers, {.ip = kLoopback, .port = 0}, {}, {});
  if (!port) return std::nullopt;
  return (*port)->port();
}

// Demo owns the four roles; its members are in the order in which they need each other.
class Demo {
 public:
  explicit Demo(const Settings& settings) : log_(stderr, "demo", settings.log.options()) {}
  ExitCode run();

 private:
  std::optional<std::string> start_controller();
  std::optional<std::string> start_relay();
  std::optional<std::string> start_connector();
  std::optional<std::string> start_client();
  Json ask(std::string_view method, const std::string& path, const Json& body);
  node::Link::Config link(const crypto::Identity& identity, const Digest& pin, bool is_accepting) {
    node::Link::Config config = link_config(identity, controller_at_, pin, random_, is_accepting);
    config.paths.policy = Paths::always_relay;  // All of it is loopback anyway.
    return config;
  }
  void refused(const node::Refused& refusal) {
    code_ = fail(ExitCode::denied, refusal.detail);
    loop_.stop();
  }
  void show() const;

  io::Loop loop_;
  io::KernelRandom random_;
  Log log_;
  ExitCode code_ = ExitCode::ok;
  Authority controller_at_;
  std::unique_ptr<io::Resolver> resolver_ =
      std::make_unique<io::Resolver>(loop_, io::Resolver::Options{});
  std::unique_ptr<store::SqliteStore> store_;
  std::optional<controller::Initialised> installation_;
  std::unique_ptr<ControllerShell> controller_;
  std::optional<crypto::Identity> relay_identity_;
  std::unique_ptr<RelayShell> relay_;
  std::unique_ptr<DemoPage> page_;
  std::optional<crypto::Identity> connector_identity_;
  std::unique_ptr<ConnectorShell> connector_;
  std::optional<crypto::Identity> client_identity_;
  std::unique_ptr<ClientShell> client_;
  std::unique_ptr<TcpForward> forward_;
  std::uint16_t relay_port_ = 0;
  std::string network_;
  bool is_shown_ = false;
};

Json Demo::ask(std::string_view method, const std::string& path, const Json& body) {
  http::Request request{.method = std::string(method),
                        .scheme = "https",
                        .authority = controller_at_.to_text(),
                        .path = "/api/v1/admin/" + path};
  request.fields.add("authorization", "Bearer " + std::string(installation_->api_key->reveal()),
                     true);
  request.fields.add("content-type", "application/json");
  return wire::parse_json_object(controller_->ask(std::move(request), wire::json_text(body)));
}

std::optional<std::string> Demo::start_controller() {
  auto store = store::SqliteStore::open({});
  if (!store) return "cannot make a store in memory";
  store_ = std::move(*store);
  const auto port = free_port(loop_);
  if (!port) return "no free port on loopback";
  controller_at_ = {.host = kLoopback, .port = *port};
  auto made = controller::initialise(*store_, {.hosts = {kLoopback}, .tenant_name = "demo"},
                                     random_, loop_.now().unix_time);
  if (!made) return std::string(controller::to_text(made.error()));
  installation_ = std::move(*made);
  RouteId route;
  random_.fill(route.bytes);
  auto shell =
      ControllerShell::create(loop_, random_, log_, {.ip = kLoopback, .port = *port},
                              {.endpoint = {.identity = &installation_->https,
                                            .route = route,
                                            .is_accepting = true,
                                            .is_client_certificate_required = false},
                               .server = {.is_upgrade_allowed = true,
                                          .identity = &installation_->https,
                                          .alt_svc_port = port},
                               .engine = {.url = grant::to_controller_url(controller_at_),
                                          .pin = installation_->https.public_key_digest()}},
                              *store_);
  if (!shell) return std::string(io::to_text(shell.error()));
  controller_ = std::move(*shell);
  controller_->start();
  network_ = ask("POST", "networks", {{"name", "office"}}).value("id", "");
  return std::nullopt;
}

std::optional<std::string> Demo::start_relay() {
  const auto port = free_port(loop_);
  if (!port) return "no free port on loopback";
  relay_port_ = *port;
  const Json made =
      ask("POST", "relay-tokens",
          {{"name", "demo-relay"}, {"address", SocketAddress{kLoopback, relay_port_}.to_text()}});
  auto token = grant::EnrolmentToken::parse(Secret(made.value("token", "")));
  if (!token) return "the controller gave no relay token: " + made.value("detail", "");
  relay_identity_ = crypto::Identity::create("zt relay", loop_.now().unix_time);
  auto shell = RelayShell::create(
      loop_, *resolver_, random_, log_, {.ip = kLoopback, .port = relay_port_}, 1,
      {.link = link(*relay_identity_, token->controller_key, true)},
      node::Enrolment{.secret = std::move(token->secret), .kind = "relay", .name = "demo-relay"},
      {.on_standing = [](const auto&) {},
       .on_refused = [this](const node::Refused& refusal) { refused(refusal); }});
  if (!shell) return std::string(io::to_text(shell.error()));
  relay_ = std::move(*shell);
  relay_->start();
  return std::nullopt;
}

std::optional<std::string> Demo::start_connector() {
  page_ = DemoPage::open(loop_);
  if (!page_) return "no free port on loopback";
  const Json made =
      ask("POST", "networks/" + network_ + "/connector-tokens", {{"name", "demo-connector"}});
  auto token = grant::EnrolmentToken::parse(Secret(made.value("token", "")));
  if (!token) return "the controller gave no connector token: " + made.value("detail", "");
  connector_identity_ = crypto::Identity::create("zt connector", loop_.now().unix_time);
  auto shell = ConnectorShell::create(
      loop_, *resolver_, random_, log_,
      {.link = link(*connector_identity_, token->controller_key, true), .standing = std::nullopt},
      0,
      node::Enrolment{
          .secret = std::move(token->secret), .kind = "connector", .name = "demo-connector"},
      {.on_standing = [](const auto&) {},
       .on_refused = [this](const node::Refused& refusal) { refused(refusal); }});
  if (!shell) return std::string(io::to_text(shell.error()));
  connector_ = std::move(*shell);
  connector_->start();
  return std::nullopt;
}

std::optional<std::string> Demo::start_client() {
  // The page is on this machine's loopback, which a connector dials only if a resource names it.
  const Json resource = ask("POST", "resources",
                            {{"name", "intranet"},
                             {"network", network_},
                             {"address", zt::to_text(Host(kLoopback))},
                             {"tcp", {std::to_string(page_->port())}},
                             {"udp", "none"}});
  const Json account = ask("POST", "service-accounts", {{"name", "visitor"}});
  const Json made =
      ask("POST", "service-accounts/" + account.value("id", "") + "/keys", Json::object());
  ask("POST", "access-rules",
      {{"name", "visitors-read-the-intranet"},
       {"subjects", {account.value("id", "")}},
       {"resources", {resource.value("id", "")}}});
  auto key = grant::ServiceKey::parse(Secret(made.value("file", "")));
  if (!key) return "the controller gave no key: " + made.value("detail", "");
  client_identity_ = crypto::Identity::create("zt client", loop_.now().unix_time);
  auto shell = ClientShell::create(
      loop_, *resolver_, random_, log_,
      {.link = link(*client_identity_, key->controller_key, false)}, 0,
      node::ServiceSignIn{.key = key->id,
                          .secret = std::move(key->secret),
                          .device_name = machine_name(),
                          .device_os = "linux"},
      {.on_signed_in = [](const auto&) {},
       .on_view =
           [this] {
             if (!std::exchange(is_shown_, true)) show();
           },
       .on_refused = [this](const node::Refused& refusal) { refused(refusal); }});
  if (!shell) return std::string(io::to_text(shell.error()));
  client_ = std::move(*shell);
  auto forward = TcpForward::open(*client_, {.ip = kLoopback, .port = 0},
                                  {.host = kLoopback, .port = page_->port()});
  if (!forward) return std::string(io::to_text(forward.error()));
  forward_ = std::move(*forward);
  client_->start();
  return std::nullopt;
}

void Demo::show() const {
  Table table({"ROLE", "WHERE", "WHAT"});
  table.add({"controller", controller_at_.to_text() + " (UDP, TCP)",
             "issues grants, keeps the log; in memory"});
  table.add({"relay", SocketAddress{kLoopback, relay_port_}.to_text() + " (UDP)",
             "forwards sealed packets"});
  table.add({"connector", "outbound only", "dials the private web page"});
  table.add({"private page", SocketAddress{kLoopback, page_->port()}.to_text() + " (TCP)",
             "the resource \"intranet\""});
  table.add({"client", forward_->local().to_text() + " (TCP)", "a local port for \"intranet\""});
  fmt::print("{}\nTry it:\n  curl http://{}/\n\nCtrl-C ends the demo and leaves nothing behind.\n",
             table.to_text(), forward_->local().to_text());
  (void)std::fflush(stdout);
}

ExitCode Demo::run() {
  for (const auto step :
       {&Demo::start_controller, &Demo::start_relay, &Demo::start_connector, &Demo::start_client}) {
    if (const auto failure = (this->*step)()) return fail(ExitCode::failed, *failure);
  }
  const io::Signals signals(loop_, {SIGINT, SIGTERM}, [this](int) { loop_.stop(); });
  loop_.run();
  return code_;
}

}  // namespace

void add_demo_command(CLI::App& app, Chosen& chosen) {
  auto settings = std::make_shared<Settings>();  // Shared by the parser and the action.
  CLI::App* command =
      app.add_subcommand("demo", "Run all four roles in this process, with a private web page");
  settings->log.add_to(*command);
  command->footer("Everything is on loopback and in memory; Ctrl-C leaves nothing behind.");
  command->callback(
      [settings, &chosen] { chosen.action = [settings] { return Demo(*settings).run(); }; });
}

}  // namespace zt::app
