// SPDX-License-Identifier: Apache-2.0
#include "app/client_up.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "app/client_shell.h"
#include "app/client_status.h"
#include "app/control_server.h"
#include "app/forward_ingress.h"
#include "app/netcheck.h"
#include "app/node_defaults.h"
#include "app/proxy_ingress.h"
#include "app/socks_ingress.h"
#include "app/state_directory.h"
#include "app/version.h"
#include "io/entropy.h"
#include "io/signals.h"
#include "wire/json.h"
#include "zt/client/forward.h"
#include "zt/grant/service_key.h"

namespace zt::app {

namespace {

// parse_local accepts PORT and ADDRESS:PORT; the address is loopback by default.
std::optional<SocketAddress> parse_local(const std::string& text) {
  if (text == "0") return SocketAddress{IpAddress::v4({127, 0, 0, 1}), 0};
  if (const auto port = parse_port(text)) {
    return SocketAddress{IpAddress::v4({127, 0, 0, 1}), *port};
  }
  return SocketAddress::parse(text);
}

struct Failure {
  ExitCode code = ExitCode::failed;
  std::string sentence;
};

// Ingress is what the flags asked for.
struct IngressWishes {
  std::vector<client::Forward> forwards;
  std::optional<SocketAddress> socks;
  std::optional<SocketAddress> http_proxy;
};

std::expected<IngressWishes, Failure> parse_ingress(const ClientUpSettings& settings) {
  IngressWishes wishes;
  for (const std::string& text : settings.forwards) {
    auto forward = client::Forward::parse(text);
    if (!forward) {
      return std::unexpected(Failure{ExitCode::usage, client::explain(forward.error(), text)});
    }
    wishes.forwards.push_back(std::move(*forward));
  }
  const auto parse = [](const char* flag, const std::string& text,
                        std::optional<SocketAddress>& wish) -> std::expected<void, Failure> {
    if (text.empty()) return {};
    wish = parse_local(text);
    if (wish) return {};
    return std::unexpected(
        Failure{ExitCode::usage, fmt::format("{} {}: not [ADDRESS:]PORT", flag, text)});
  };
  if (auto parsed = parse("--socks", settings.socks, wishes.socks); !parsed) {
    return std::unexpected(parsed.error());
  }
  if (auto parsed = parse("--http-proxy", settings.http_proxy, wishes.http_proxy); !parsed) {
    return std::unexpected(parsed.error());
  }
  return wishes;
}

// check_network is netcheck_of, with the path rules of the resources that this client may reach.
Netcheck check_network(ClientShell& shell) {
  Netcheck check = netcheck_of(shell.node().link());
  for (const client::ResourceStatus& resource : shell.node().status(shell.loop().now()).resources) {
    if (resource.path == PathRule{}) continue;
    check.path_rules.push_back({.resource = resource.name, .rule = describe(resource.path)});
  }
  return check;
}

// Ingress holds the adapters that run.
struct Ingress {
  std::vector<std::unique_ptr<TcpForward>> tcp;
  std::vector<std::unique_ptr<UdpForward>> udp;
  std::unique_ptr<SocksServer> socks;
  std::unique_ptr<HttpProxy> http_proxy;
  std::vector<IngressStatus> status;
};

std::expected<void, Failure> open_ingress(ClientShell& shell, const IngressWishes& wishes,
                                          Ingress& ingress) {
  const auto failure = [](const SocketAddress& local, io::SocketError error) {
    return std::unexpected(
        Failure{ExitCode::failed,
                fmt::format("cannot listen on {}: {}", local.to_text(), io::to_text(error))});
  };
  for (const client::Forward& wish : wishes.forwards) {
    if (wish.protocol == Protocol::tcp) {
      auto forward = TcpForward::open(shell, wish.bind, wish.target);
      if (!forward) return failure(wish.bind, forward.error());
      ingress.status.push_back({"forward", (*forward)->local(), wish.target.to_text()});
      ingress.tcp.push_back(std::move(*forward));
    } else {
      auto forward = UdpForward::open(shell, wish.bind, wish.target);
      if (!forward) return failure(wish.bind, forward.error());
      ingress.status.push_back({"forward-udp", (*forward)->local(), wish.target.to_text()});
      ingress.udp.push_back(std::move(*forward));
    }
  }
  if (wishes.socks) {
    auto server = SocksServer::open(shell, *wishes.socks);
    if (!server) return failure(*wishes.socks, server.error());
    ingress.status.push_back({"socks", (*server)->local(), ""});
    ingress.socks = std::move(*server);
  }
  if (wishes.http_proxy) {
    auto proxy = HttpProxy::open(shell, *wishes.http_proxy);
    if (!proxy) return failure(*wishes.http_proxy, proxy.error());
    ingress.status.push_back({"http-proxy", (*proxy)->local(), ""});
    ingress.http_proxy = std::move(*proxy);
  }
  return {};
}

// Starter is the process that waits for a background client to be up: it gets one line through a
// pipe, empty for success. In the foreground there is none.
class Starter {
 public:
  explicit Starter(int descriptor) : descriptor_(descriptor) {}
  Starter(const Starter&) = delete;
  Starter& operator=(const Starter&) = delete;
  ~Starter() { tell(ExitCode::failed, "the client ended at its start"); }

  void tell(ExitCode code, std::string_view sentence) {
    if (descriptor_ < 0) return;
    const std::string line = fmt::format("{}{}", static_cast<int>(code), sentence);
    (void)!::write(descriptor_, line.data(), line.size());  // Nobody may be waiting any more.
    ::close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_;
};

std::expected<grant::ServiceKey, Failure> read_key(const std::string& path) {
  if (path.empty()) {
    return std::unexpected(Failure{ExitCode::usage, "--key-file is needed to sign in"});
  }
  auto text = io::read_secret_file(path, grant::kServiceKeySizeMax);
  if (!text) {
    return std::unexpected(
        Failure{ExitCode::usage, fmt::format("{}: {}", path, io::to_text(text.error()))});
  }
  auto key = grant::ServiceKey::parse(*text);
  if (!key) {
    return std::unexpected(Failure{
        ExitCode::usage,
        fmt::format("{}: not a service account's key: {}", path, grant::to_text(key.error()))});
  }
  return std::move(*key);
}

void log_listening(Log& log, const Ingress& ingress, UnixTime now) {
  for (const IngressStatus& status : ingress.status) {
    log.write(
        LogLevel::info, "listening",
        {{"kind", status.kind}, {"address", status.local.to_text()}, {"target", status.target}},
        now);
  }
}

// control_handlers answers `zt client …`; what it is given outlives it.
ControlServer::Handlers control_handlers(ClientShell& shell, const ClientFacts& facts,
                                         const std::vector<IngressStatus>& ingress) {
  return {.status =
              [&shell, &facts, &ingress] {
                return status_json(shell.node(), facts, ingress, shell.loop().now());
              },
          .netcheck = [&shell] { return netcheck_json(check_network(shell)); },
          .down = [&shell] { shell.loop().stop(); }};
}

ExitCode run(const ClientUpSettings& settings, const IngressWishes& wishes, grant::ServiceKey& key,
             const StateDirectory& state, Starter& starter) {
  const auto report = [&starter](ExitCode code, const std::string& sentence) {
    starter.tell(code, sentence);
    return fail(code, sentence);
  };
  io::Loop loop;
  io::KernelRandom random;
  Log log(stderr, "client", settings.log.options());
  const auto identity = state.identity("zt client", loop.now().unix_time);
  if (!identity) return report(ExitCode::failed, identity.error());
  io::Resolver resolver(loop, {});

  ExitCode code = ExitCode::ok;
  std::unique_ptr<ControlServer> control;
  ClientFacts facts{.controller = key.controller.to_text()};
  node::ClientNode::Config config{
      .link = link_config(*identity, key.controller, key.controller_key, random, false)};
  if (const auto applied = settings.paths.apply(config.link); !applied) {
    return report(ExitCode::usage, applied.error());
  }
  auto shell = ClientShell::create(
      loop, resolver, random, log, config, settings.paths.udp_port,
      node::ServiceSignIn{.key = key.id,
                          .secret = std::move(key.secret),
                          .device_name = machine_name(),
                          .device_os = "linux"},
      {.on_signed_in =
           [&](const node::ClientNode::SignedIn& signed_in) {
             facts.subject = signed_in.subject;
             facts.subject_name = signed_in.subject_name;
             facts.device = signed_in.device;
             log.write(LogLevel::info, "signed in", {{"subject", signed_in.subject.text}},
                       loop.now().unix_time);
           },
       .on_view =
           [&] {
             if (control) control->ready();
             starter.tell(ExitCode::ok, "");
           },
       .on_refused =
           [&](const node::Refused& refused) {
             code = report(ExitCode::denied,
                           fmt::format("the controller refused this client: {}", refused.detail));
             loop.stop();
           }});
  if (!shell) {
    return report(ExitCode::failed,
                  fmt::format("cannot open a UDP port: {}", io::to_text(shell.error())));
  }
  Ingress ingress;
  if (const auto opened = open_ingress(**shell, wishes, ingress); !opened) {
    return report(opened.error().code, opened.error().sentence);
  }
  log_listening(log, ingress, loop.now().unix_time);
  auto opened = ControlServer::open(**shell, settings.socket,
                                    control_handlers(**shell, facts, ingress.status));
  if (!opened) {
    return report(ExitCode::failed,
                  fmt::format("{}: {}", settings.socket, io::to_text(opened.error())));
  }
  control = std::move(*opened);
  const io::Signals signals(loop, {SIGINT, SIGTERM}, [&](int) { loop.stop(); });
  (*shell)->keep_flows(state.flow_file());
  if (settings.busy_polling.is_wise()) (*shell)->use_busy_polling();
  (*shell)->start();
  loop.run();
  (*shell)->leave();
  log.write(LogLevel::info, "client ends", {}, loop.now().unix_time);
  return code;
}

// become_background leaves the terminal: a session of its own, standard output and error in
// `log_file`.
bool become_background(const std::string& log_file) {
  if (::setsid() < 0) return false;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int file =
      ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (null < 0 || file < 0) return false;
  return ::dup2(null, STDIN_FILENO) >= 0 && ::dup2(file, STDOUT_FILENO) >= 0 &&
         ::dup2(file, STDERR_FILENO) >= 0;
}

// wait_for_child returns what the background client says about its start.
ExitCode wait_for_child(int pipe_end, pid_t child, const std::string& log_file) {
  std::string line;
  std::array<char, 512> buffer{};
  for (;;) {
    const ssize_t size = ::read(pipe_end, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    line.append(buffer.data(), static_cast<std::size_t>(size));
  }
  ::close(pipe_end);
  if (line.empty()) return fail(ExitCode::failed, "the client ended at its start");
  const auto code = static_cast<ExitCode>(line.front() - '0');
  if (code != ExitCode::ok) {
    (void)::waitpid(child, nullptr, 0);
    return fail(code, line.substr(1));
  }
  fmt::print("zt client is up (process {}, log {})\n", child, log_file);
  return ExitCode::ok;
}

}  // namespace

ExitCode client_up(const ClientUpSettings& settings) {
  const auto wishes = parse_ingress(settings);
  if (!wishes) return fail(wishes.error().code, wishes.error().sentence);
  auto key = read_key(settings.key_file);
  if (!key) return fail(key.error().code, key.error().sentence);
  const auto state = StateDirectory::open(settings.state);
  if (!state) return fail(ExitCode::failed, state.error());
  if (!settings.is_background) {
    Starter nobody(-1);
    return run(settings, *wishes, *key, *state, nobody);
  }
  const std::string log_file =
      settings.log_file.empty() ? (state->path() / "client.log").string() : settings.log_file;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(ExitCode::failed, "cannot make a pipe");
  const pid_t child = ::fork();
  if (child < 0) return fail(ExitCode::failed, "cannot start a process");
  if (child > 0) {
    ::close(ends[1]);
    return wait_for_child(ends[0], child, log_file);
  }
  ::close(ends[0]);
  Starter starter(ends[1]);
  if (!become_background(log_file)) {
    starter.tell(ExitCode::failed, fmt::format("cannot write {}", log_file));
    return ExitCode::failed;
  }
  return run(settings, *wishes, *key, *state, starter);
}

}  // namespace zt::app
