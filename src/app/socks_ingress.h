// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/socks_ingress.h: `--socks`: a SOCKS5 server (RFC 1928) on a local port.
//
// Theory of operation
//   The protocol is client::SocksSession's; here are its sockets. CONNECT is held until the
//   connector has answered, and the reply carries that answer. UDP ASSOCIATE opens a UDP socket
//   beside the TCP connection, whose end ends it: each target that the application names is a flow
//   of its own, and only the application's first source address is served. It is told of datagrams
//   that do not fit the path (icmp_answers.h); the SOCKS header is a part of what it sends.
//
// Limits   connections_max before the answer; targets_max of one association.

#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "app/client_shell.h"
#include "io/tcp.h"
#include "io/udp.h"
#include "zt/client/socks_session.h"

namespace zt::app {

// SocksAssociation is the UDP side of one UDP ASSOCIATE.
class SocksAssociation {
 public:
  // open binds a port of `ip`, which is the address that the application reached us at.
  [[nodiscard]] static std::expected<std::unique_ptr<SocksAssociation>, io::SocketError> open(
      ClientShell& shell, const IpAddress& ip);
  SocksAssociation(const SocksAssociation&) = delete;
  SocksAssociation& operator=(const SocksAssociation&) = delete;
  ~SocksAssociation();

  [[nodiscard]] const SocketAddress& local() const { return socket_->local(); }

 private:
  static constexpr std::size_t kTargetsMax = 256;
  static constexpr std::size_t kDatagramsWaitingMax = 16;

  struct Target {
    ClientShell::FlowKey flow{};
    bool is_open = false;
    bool is_refused = false;
    std::deque<std::vector<std::byte>> waiting;  // Whole datagrams, which can be parsed.
    path::Allowance icmp_allowance;
  };

  explicit SocksAssociation(ClientShell& shell) : shell_(shell) {}
  void receive(const io::Datagrams& train, std::span<const std::byte> datagram);
  void carry(Target& target, std::span<const std::byte> datagram,
             std::span<const std::byte> payload);
  void answer(const Authority& authority, const std::optional<client::Outcome>& refusal);

  ClientShell& shell_;
  io::UdpBuffers buffers_;
  std::unique_ptr<io::UdpSocket> socket_;
  std::optional<SocketAddress> application_;
  std::optional<IpAddress> local_;  // That the application sent to last.
  std::map<Authority, Target> targets_;
};

class SocksServer {
 public:
  // open listens on `local`; port 0 is any. `shell` outlives the server.
  [[nodiscard]] static std::expected<std::unique_ptr<SocksServer>, io::SocketError> open(
      ClientShell& shell, const SocketAddress& local);
  SocksServer(const SocksServer&) = delete;
  SocksServer& operator=(const SocksServer&) = delete;
  ~SocksServer();

  [[nodiscard]] const SocketAddress& local() const { return listener_->local(); }

 private:
  static constexpr std::size_t kConnectionsMax = 1024;
  static constexpr Duration kRequestTimeout = std::chrono::seconds(10);

  struct Connection;

  explicit SocksServer(ClientShell& shell);
  void accept(io::Descriptor socket);
  void receive(std::uint64_t number);
  void proceed(std::uint64_t number);
  void open_flow(std::uint64_t number, Connection& connection, const Authority& target);
  void associate(Connection& connection);
  void answer(std::uint64_t number, const std::optional<client::Outcome>& refusal);

  ClientShell& shell_;
  std::unique_ptr<io::TcpListener> listener_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace zt::app
