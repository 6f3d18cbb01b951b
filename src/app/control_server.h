// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/control_server.h: how `zt client status` and its kin speak to the running client.
//
// Theory of operation
//   A Unix socket in a private directory takes one request a connection: a line of JSON with "op",
//   answered by a line of JSON with "ok". After the answer to "connect" the connection is the
//   flow's. Callers other than the client's own user and root are refused by the kernel's word
//   about who they are (SO_PEERCRED), not by anything that they say.
//
//     {"op":"status"}  {"op":"netcheck"}  {"op":"down"}  {"op":"wait"}
//     {"op":"connect","target":"host:port"}  {"op":"ping","target":"host:port"}
//
// Limits   connections_max; request_size_max; request_timeout until the line is complete.

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "app/client_shell.h"
#include "io/unix_socket.h"

namespace zt::app {

class ControlServer {
 public:
  struct Handlers {
    std::move_only_function<std::string()> status;    // A JSON object as text.
    std::move_only_function<std::string()> netcheck;  // Another.
    std::move_only_function<void()> down;
  };

  // open listens at `path`. `shell` outlives the server.
  [[nodiscard]] static std::expected<std::unique_ptr<ControlServer>, io::SocketError> open(
      ClientShell& shell, const std::filesystem::path& path, Handlers handlers);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer();

  // ready answers everybody who waits: the client is signed in and has its resources.
  void ready();

 private:
  static constexpr std::size_t kConnectionsMax = 256;
  static constexpr std::size_t kRequestSizeMax = 4096;
  static constexpr Duration kRequestTimeout = std::chrono::seconds(10);

  struct Connection;

  ControlServer(ClientShell& shell, Handlers handlers);
  void accept(io::Descriptor socket);
  void receive(std::uint64_t number);
  void serve(std::uint64_t number, Connection& connection, std::string_view line);
  void open_flow(std::uint64_t number, Connection& connection, std::string_view target,
                 bool is_ping);
  void answer_flow(std::uint64_t number, bool is_ping,
                   const std::optional<client::Outcome>& refusal);
  void say(std::uint64_t number, const std::string& line);

  ClientShell& shell_;
  Handlers handlers_;
  std::unique_ptr<io::UnixListener> listener_;
  bool is_ready_ = false;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

// refusal_line is the answer that tells an outcome.
[[nodiscard]] std::string refusal_line(const client::Outcome& outcome);

}  // namespace zt::app
