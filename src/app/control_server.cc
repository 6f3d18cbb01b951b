// SPDX-License-Identifier: Apache-2.0
#include "app/control_server.h"

#include <array>
#include <utility>

#include "wire/json.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::app {

namespace {

using wire::Json;

std::string to_line(const Json& object) {
  return wire::json_text(object) + "\n";
}

std::string error_line(std::string_view kind, std::string_view text) {
  return to_line({{"ok", false}, {"error", kind}, {"text", text}});
}

double to_milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

struct ControlServer::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, io::Callback readable, io::Callback late)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               io::Callback()),
        deadline(loop, std::move(late)) {}
  io::Stream stream;
  io::Timer deadline;
  std::string received;
  bool is_waiting = false;  // For ready().
  std::optional<ClientShell::FlowKey> flow;
  Instant asked;
};

std::string refusal_line(const client::Outcome& outcome) {
  return to_line({{"ok", false},
                  {"error", client::to_text(outcome.kind)},
                  {"text", outcome.text},
                  {"rule", outcome.rule},
                  {"decision", outcome.decision.text}});
}

std::expected<std::unique_ptr<ControlServer>, io::SocketError> ControlServer::open(
    ClientShell& shell, const std::filesystem::path& path, Handlers handlers) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<ControlServer> server(new ControlServer(shell, std::move(handlers)));
  ControlServer& self = *server;
  auto listener = io::UnixListener::open(
      shell.loop(), path, {},
      [&self](io::Descriptor socket, const io::Caller&) { self.accept(std::move(socket)); });
  if (!listener) return std::unexpected(listener.error());
  server->listener_ = std::move(*listener);
  return server;
}

ControlServer::ControlServer(ClientShell& shell, Handlers handlers)
    : shell_(shell), handlers_(std::move(handlers)) {}

ControlServer::~ControlServer() {
  for (const auto& [number, connection] : connections_) {
    if (connection->flow) shell_.close(*connection->flow);
  }
}

void ControlServer::ready() {
  if (std::exchange(is_ready_, true)) return;
  std::vector<std::uint64_t> waiting;
  for (const auto& [number, connection] : connections_) {
    if (connection->is_waiting) waiting.push_back(number);
  }
  for (const std::uint64_t number : waiting) say(number, to_line({{"ok", true}}));
}

void ControlServer::accept(io::Descriptor socket) {
  if (connections_.size() >= kConnectionsMax) return;  // Closing it says so.
  const std::uint64_t number = next_number_++;
  auto connection = std::make_unique<Connection>(
      shell_.loop(), std::move(socket), [this, number] { receive(number); },
      [this, number] { connections_.erase(number); });
  connection->deadline.arm(shell_.loop().now().instant + kRequestTimeout);
  connection->stream.want_readable();
  connections_[number] = std::move(connection);
}

void ControlServer::receive(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  std::array<std::byte, 1024> buffer{};
  const auto size = connection.stream.try_read(buffer);
  if (!size && size.error() == io::SocketError::would_block) {
    return connection.stream.want_readable();
  }
  if (!size || *size == 0) {
    if (connection.flow) shell_.close(*connection.flow);
    connections_.erase(found);
    return;
  }
  connection.received.append(as_text(BytesView(buffer).first(*size)));
  const std::size_t end = connection.received.find('\n');
  if (end == std::string::npos) {
    if (connection.received.size() > kRequestSizeMax) {
      return say(number, error_line("usage", "the request is too long"));
    }
    return connection.stream.want_readable();
  }
  connection.deadline.cancel();
  const std::string line = connection.received.substr(0, end);
  connection.received.erase(0, end + 1);  // What is left is the application's.
  serve(number, connection, line);
}

void ControlServer::serve(std::uint64_t number, Connection& connection, std::string_view line) {
  const Json request = wire::parse_json_object(line);
  if (!request.is_object()) return say(number, error_line("usage", "not a JSON object"));
  const std::string op = wire::text_or_empty(request, "op");
  if (op == "status") {
    say(number, handlers_.status() + "\n");
  } else if (op == "netcheck") {
    say(number, handlers_.netcheck() + "\n");
  } else if (op == "down") {
    say(number, to_line({{"ok", true}}));
    handlers_.down();
  } else if (op == "wait") {
    if (is_ready_) return say(number, to_line({{"ok", true}}));
    connection.is_waiting = true;
    connection.stream.want_readable();  // Notices a caller that leaves.
  } else if (op == "connect" || op == "ping") {
    open_flow(number, connection, wire::text_or_empty(request, "target"), op == "ping");
  } else {
    say(number, error_line("usage", "unknown op"));
  }
}

void ControlServer::open_flow(std::uint64_t number, Connection& connection, std::string_view target,
                              bool is_ping) {
  const auto authority = Authority::parse(target);
  if (!authority) return say(number, error_line("usage", "the target is not HOST:PORT"));
  connection.asked = shell_.loop().now().instant;
  connection.flow =
      shell_.open(*authority, Protocol::tcp,
                  [this, number, is_ping](const std::optional<client::Outcome>& refusal) {
                    answer_flow(number, is_ping, refusal);
                  });
}

void ControlServer::answer_flow(std::uint64_t number, bool is_ping,
                                const std::optional<client::Outcome>& refusal) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  ZT_ASSERT(connection.flow);  // The answer follows open().
  const ClientShell::FlowKey flow = *connection.flow;
  connection.flow.reset();
  if (refusal) return say(number, refusal_line(*refusal));
  if (is_ping) {
    Json answer = {{"ok", true},
                   {"time_ms", to_milliseconds(shell_.loop().now().instant - connection.asked)}};
    if (const auto path = shell_.node().path_of(flow)) {
      answer["path"] = path->text;
      answer["path_rule"] = zt::to_text(path->rule);
      const quic::Statistics& statistics = path->statistics;
      if (statistics.rtt_minimum != Duration::max()) {  // Until then the smoothed one is a guess.
        answer["round_trip_ms"] = to_milliseconds(statistics.rtt_smoothed);
      }
      answer["connection"] = std::to_underlying(path->connection);
      answer["packets_lost"] = statistics.packets_lost;
      answer["packets_sent"] = statistics.packets_sent;
    }
    shell_.close(flow);
    return say(number, to_line(answer));
  }
  const std::string line = to_line({{"ok", true}});
  const auto written = connection.stream.try_write(as_bytes(line));
  if (!written || *written != line.size()) {
    shell_.close(flow);
  } else {
    shell_.attach(flow, connection.stream.release(), connection.received, [](bool) {});
  }
  connections_.erase(found);
}

// say answers and ends the connection. Answers fit a fresh socket's buffer, or their reader is
// gone.
void ControlServer::say(std::uint64_t number, const std::string& line) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  std::string_view rest = line;
  while (!rest.empty()) {
    const auto written = found->second->stream.try_write(as_bytes(rest));
    if (!written) break;
    rest.remove_prefix(*written);
  }
  found->second->stream.shutdown_write();
  connections_.erase(found);
}

}  // namespace zt::app
