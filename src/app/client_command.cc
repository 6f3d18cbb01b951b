// SPDX-License-Identifier: Apache-2.0
// app/client_command.cc: `zt client …`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <expected>
#include <memory>
#include <thread>

#include "app/client_status.h"
#include "app/client_up.h"
#include "app/command.h"
#include "app/control_client.h"
#include "app/netcheck.h"
#include "app/ping_summary.h"
#include "wire/json.h"

namespace zt::app {

namespace {

std::string default_socket() {
  return (default_runtime_path() / "client.sock").string();
}

// Query is the flags of the commands that ask the running client.
struct Query {
  std::string socket = default_socket();
  std::string target;
  bool is_json = false;
  bool shows_paths = false;
  bool is_until_direct = false;
  int count = 4;
  double timeout_s = 30;

  void add_to(CLI::App& command) {
    command.add_option("--socket", socket, "Control socket of the client")->capture_default_str();
  }
  void add_json_to(CLI::App& command) {
    command.add_flag("--json", is_json, "Print one JSON object");
  }
};

std::string request(const char* op, const std::string& target = {}) {
  wire::Json object = {{"op", op}};
  if (!target.empty()) object["target"] = target;
  return wire::json_text(object);
}

bool is_ok(const std::string& line) {
  const wire::Json object = wire::parse_json_object(line);
  return wire::boolean_member(object, "ok").value_or(false);
}

ExitCode fail(const ControlFailure& failure) {
  return fail(failure.code, failure.sentence);
}

ExitCode show(const Query& query, std::string (*to_text)(std::string_view)) {
  const auto answer = ask_client(query.socket, request("status"));
  if (!answer) return fail(answer.error());
  if (query.is_json) {
    fmt::print("{}\n", answer->line);
  } else {
    fmt::print("{}", to_text(answer->line));
  }
  return ExitCode::ok;
}

ExitCode netcheck(const Query& query) {
  const auto answer = ask_client(query.socket, request("netcheck"));
  if (!answer) return fail(answer.error());
  if (!is_ok(answer->line)) return fail(failure_of(answer->line));
  fmt::print("{}", query.is_json ? answer->line + "\n" : netcheck_text(answer->line));
  return is_working_netcheck(answer->line) ? ExitCode::ok : ExitCode::unreachable;
}

// milliseconds_in shows a number, or "-": the client that runs may not know it, or be of another
// version.
std::string milliseconds_in(const wire::Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return "-";
  return fmt::format("{:.1f} ms", found->get<double>());
}

// Pong is what one ping showed.
struct Pong {
  std::string line;
  bool is_ok = false;
  bool is_direct = false;
  bool is_relay_only = false;
};

std::expected<Pong, ControlFailure> ping_once(const Query& query, PingSummary& summary) {
  const auto answer = ask_client(query.socket, request("ping", query.target));
  if (!answer) return std::unexpected(answer.error());
  const wire::Json object = wire::parse_json_object(answer->line);
  return Pong{.line = summary.add(answer->line),
              .is_ok = wire::boolean_member(object, "ok").value_or(false),
              .is_direct = wire::text_or_empty(object, "path") == "direct",
              .is_relay_only = wire::text_or_empty(object, "path_rule") == "always-relay"};
}

void show_pong(const Query& query, const Pong& pong) {
  if (query.is_json) {
    fmt::print("{}\n", pong.line);
  } else if (pong.is_ok) {
    const wire::Json object = wire::parse_json_object(pong.line);
    const auto rule = wire::text_member(object, "path_rule").value_or("any");
    fmt::print("{}: connected in {}, {} round trip {}{}\n", query.target,
               milliseconds_in(object, "time_ms"), wire::text_member(object, "path").value_or("-"),
               milliseconds_in(object, "round_trip_ms"),
               rule == "any" ? "" : fmt::format(" (path rule: {})", rule));
  } else {
    fmt::print(stderr, "zt: {}\n", failure_of(pong.line).sentence);
  }
  (void)std::fflush(stdout);
}

void show_summary(const Query& query, const PingSummary& summary) {
  if (!query.is_json) fmt::print("{}\n", summary.to_text());
}

ExitCode ping(const Query& query) {
  constexpr auto kInterval = std::chrono::milliseconds(250);
  const auto start = std::chrono::steady_clock::now();
  const auto end = start + std::chrono::duration<double>(query.timeout_s);
  const auto status = ask_client(query.socket, request("status"));
  if (!status) return fail(status.error());
  PingSummary summary;
  summary.begin(status->line);
  bool is_answered = false;
  ExitCode code = ExitCode::ok;
  for (int sent = 1;; ++sent) {
    const auto pong = ping_once(query, summary);
    if (!pong) return fail(pong.error());
    show_pong(query, *pong);
    if (pong->is_ok) {
      is_answered = true;
    } else {
      code = failure_of(pong->line).code;
      if (code == ExitCode::usage || code == ExitCode::denied) return code;
    }
    const auto now = std::chrono::steady_clock::now();
    if (query.is_until_direct && pong->is_direct) {
      const std::chrono::duration<double> taken = now - start;
      show_summary(query, summary);
      if (!query.is_json) fmt::print("direct after {:.2f} s\n", taken.count());
      return ExitCode::ok;
    }
    if (query.is_until_direct && now >= end) {
      show_summary(query, summary);
      return fail(ExitCode::unreachable,
                  fmt::format("the path was not direct within {} s{}", query.timeout_s,
                              pong->is_relay_only ? ": its path rule is always-relay" : ""));
    }
    if (!query.is_until_direct && sent == query.count) break;
    std::this_thread::sleep_for(kInterval);
  }
  show_summary(query, summary);
  return is_answered ? ExitCode::ok : code;
}

// wait asks until a client listens, then waits for it to be ready.
ExitCode wait(const Query& query) {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(query.timeout_s);
  for (;;) {
    const auto answer = ask_client(query.socket, request("wait"));
    if (answer && is_ok(answer->line)) return ExitCode::ok;
    if (!answer && answer.error().code == ExitCode::denied) return fail(answer.error());
    if (std::chrono::steady_clock::now() >= end) {
      return fail(ExitCode::unreachable,
                  fmt::format("the client was not ready within {} s", query.timeout_s));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// down returns when nobody listens on the control socket any more: another client may be started.
ExitCode down(const Query& query) {
  constexpr auto kLimit = std::chrono::seconds(10);
  const auto answer = ask_client(query.socket, request("down"));
  if (!answer) return fail(answer.error());
  if (!is_ok(answer->line)) return fail(failure_of(answer->line));
  const auto end = std::chrono::steady_clock::now() + kLimit;
  for (;;) {
    const auto still = ask_client(query.socket, request("status"));
    if (!still && still.error().code == ExitCode::unreachable) return ExitCode::ok;
    if (std::chrono::steady_clock::now() >= end) {
      return fail(ExitCode::failed,
                  fmt::format("the client has not ended within {} s", kLimit.count()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

ExitCode connect(const Query& query) {
  auto answer = ask_client(query.socket, request("connect", query.target));
  if (!answer) return fail(answer.error());
  if (!is_ok(answer->line)) return fail(failure_of(answer->line));
  return join_standard_io(*answer);
}

void add_up(CLI::App& client, Chosen& chosen) {
  auto settings = std::make_shared<ClientUpSettings>();
  settings->state = default_state_path("client").string();
  settings->socket = default_socket();
  CLI::App* command = client.add_subcommand("up", "Sign in and serve local applications");
  command->add_option("--key-file", settings->key_file, "Key file of a service account")
      ->required();
  command->add_option("--forward", settings->forwards,
                      "[udp:][BIND:]PORT=HOST:PORT, a local port for one resource. Repeatable");
  command->add_option("--socks", settings->socks, "SOCKS5 server on [ADDRESS:]PORT");
  command->add_option("--http-proxy", settings->http_proxy,
                      "HTTP proxy (CONNECT) on [ADDRESS:]PORT");
  command->add_flag("--background", settings->is_background,
                    "Return when the client is up, and leave it running");
  command->add_option("--log-file", settings->log_file,
                      "Log of a client in the background; default: STATE/client.log");
  command->add_option("--state", settings->state, "Directory of this device's key")
      ->capture_default_str();
  command->add_option("--socket", settings->socket, "Control socket to listen on")
      ->capture_default_str();
  settings->paths.add_to(*command);
  settings->busy_polling.add_to(*command);
  settings->log.add_to(*command);
  command->footer(
      "Addresses default to 127.0.0.1; port 0 takes any free one, which `zt client status` "
      "shows.\n\n"
      "With CAP_NET_RAW, an application that sends UDP datagrams too large for the path is told\n"
      "so by ICMP (EMSGSIZE); without it they are lost in silence.\n\n"
      "Exit codes: 0 ended by a signal or `zt client down`, 1 failed, 2 wrong usage or key file,\n"
      "3 refused by the controller.");
  command->callback(
      [settings, &chosen] { chosen.action = [settings] { return client_up(*settings); }; });
}

// add_query adds a command that asks the running client.
CLI::App* add_query(CLI::App& client, Chosen& chosen, const char* name, const char* description,
                    const std::shared_ptr<Query>& query, ExitCode (*action)(const Query&)) {
  CLI::App* command = client.add_subcommand(name, description);
  query->add_to(*command);
  command->callback(
      [query, action, &chosen] { chosen.action = [query, action] { return action(*query); }; });
  return command;
}

void add_netcheck(CLI::App& parent, Chosen& chosen) {
  auto query = std::make_shared<Query>();
  CLI::App* command =
      add_query(parent, chosen, "netcheck", "Show what the network allows: UDP, NAT, direct paths",
                query, netcheck);
  query->add_json_to(*command);
  command->footer(
      "Asks the running client, which stands in touch with the controller and its relays; nothing\n"
      "is sent for it. It shows the controller; each relay, with the family and the round trip, "
      "or\n"
      "why it is not bound; this machine's addresses; the NAT; and what follows for direct paths.\n"
      "\n"
      "The NAT is told from the address and port that relays and controller see (RFC 4787,\n"
      "section 4.1):\n"
      "  no NAT                       they see this machine's own address and port\n"
      "  endpoint-independent         all see the same: direct paths are likely\n"
      "  address-dependent            another for each one's address: a symmetric NAT, direct\n"
      "                               paths only to peers whose NAT lets them in\n"
      "  address and port-dependent   another even for two ports of one address; the same\n"
      "  unknown                      too few of them to tell; the line says what is missing\n"
      "How a NAT filters (section 5) is not tested, nor is anything beyond the relays. Of a\n"
      "connection in use, `zt client status --paths` shows what was really tried.\n"
      "\n"
      "Hairpin (section 6) is whether the NAT turns back what is sent to its outside address: two\n"
      "machines behind it that cannot reach each other inside can then meet there. The client "
      "tries\n"
      "it from its own port when they see it at a new address, and every ten minutes.\n"
      "\n"
      "Where direct paths are unlikely, forward a UDP port to this machine and start the client\n"
      "with --udp-port PORT --advertise ADDRESS:PORT, or use IPv6.\n"
      "\n"
      "--json prints one object: \"working\", \"controller\", \"relays\" (\"bound\", \"reason\",\n"
      "\"family\", \"round_trip_ms\", \"observed\"), \"ipv4\" and \"ipv6\" (\"addresses\", "
      "\"reach\",\n"
      "\"mapping\", \"direct_peers\": none, unknown, few, most or any; of ipv4 also \"hairpin\":\n"
      "yes, no, not-needed or unknown), \"port_mapping\" (\"state\", \"external\"), "
      "\"conclusion\".\n"
      "\n"
      "Exit codes: 0 the controller is up and a relay is bound; 4 if not, or no client is "
      "running;\n"
      "3 it is another user's client.\n"
      "\n"
      "Examples:\n"
      "  zt client netcheck\n"
      "  zt client netcheck --json | jq -r .ipv4.mapping");
}

void add_ping(CLI::App& client, Chosen& chosen) {
  auto query = std::make_shared<Query>();
  CLI::App* command = add_query(client, chosen, "ping",
                                "Open a flow to HOST:PORT and show its time and path", query, ping);
  command->add_option("TARGET", query->target, "HOST:PORT of a resource")->required();
  command->add_option("-c,--count", query->count, "How many times")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--until-direct", query->is_until_direct,
                    "Go on until the path is direct, instead of --count");
  query->timeout_s = 10;
  command->add_option("--timeout", query->timeout_s, "Seconds for --until-direct")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  query->add_json_to(*command);
  command->footer(
      "Each ping opens a flow to the resource and closes it: its line shows how long that took,\n"
      "the path, and the path's round trip. QUIC sends again what a path loses, so a path that\n"
      "loses packets still answers, only later. The last line therefore counts packets, too: how\n"
      "many this machine sent on the connection to the connector since the first ping, with\n"
      "those of other flows, and how many of them were lost. A ping is a handful of packets: to\n"
      "see a loss of few percent take --count 100, or ping beside a busy flow. Losses on the way\n"
      "back are not seen from here.\n"
      "\n"
      "--json prints an object for each ping: \"ok\", \"time_ms\", \"path\" (direct, or relayed:\n"
      "and the relay), \"path_rule\", \"round_trip_ms\", and since the first ping\n"
      "\"packets_sent\" and \"packets_lost\". Without an answer \"ok\" is false, and \"error\"\n"
      "and \"text\" say why.\n"
      "\n"
      "Exit codes: 0 a ping was answered, or with --until-direct the path is direct; 3 denied;\n"
      "4 no client is running, or the resource cannot be reached, or not directly.\n"
      "\n"
      "Examples:\n"
      "  zt client ping db.internal:5432\n"
      "  zt client ping --until-direct db.internal:5432\n"
      "  zt client ping --json -c 100 db.internal:5432 | tail -1 | jq .packets_lost/.packets_sent");
}

}  // namespace

void add_client_commands(CLI::App& app, Chosen& chosen) {
  CLI::App* client = app.add_subcommand("client", "Reach resources from this machine");
  client->require_subcommand(1);
  add_up(*client, chosen);

  auto status = std::make_shared<Query>();
  CLI::App* status_command = add_query(
      *client, chosen, "status", "Show the sign-in, paths, grants and adapters", status,
      [](const Query& query) { return show(query, query.shows_paths ? paths_text : status_text); });
  status_command->add_flag("--paths", status->shows_paths,
                           "Show what was tried to reach each connector directly");
  status->add_json_to(*status_command);
  add_netcheck(*client, chosen);
  add_netcheck(app, chosen);  // Who asks what the network allows may not think of a client.
  auto resources = std::make_shared<Query>();
  resources->add_json_to(
      *add_query(*client, chosen, "resources", "List what you may reach", resources,
                 [](const Query& query) { return show(query, resources_text); }));

  add_ping(*client, chosen);
  auto wait_query = std::make_shared<Query>();
  add_query(*client, chosen, "wait", "Wait until the client is signed in and knows its resources",
            wait_query, wait)
      ->add_option("--timeout", wait_query->timeout_s, "Seconds to wait")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();

  add_query(*client, chosen, "down", "End the running client", std::make_shared<Query>(), down);

  auto connect_query = std::make_shared<Query>();
  CLI::App* connect_command =
      add_query(*client, chosen, "connect",
                "Carry standard input and output to HOST:PORT (for ssh -o ProxyCommand)",
                connect_query, connect);
  connect_command->add_option("TARGET", connect_query->target, "HOST:PORT of a resource")
      ->required();
  client->footer(
      "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 denied or not signed in, 4 no client is "
      "running "
      "or\nthe resource cannot be reached.");
}

}  // namespace zt::app
