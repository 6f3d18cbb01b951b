// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/https_port.h: the TCP sockets of an http::Server.
//
// Limits   Those of the server, and per_source_max connections of one source.

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "http/server.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "io/udp.h"
#include "zt/base/ip.h"

namespace zt::app {

// source_of returns what strangers are counted by: an IPv4 address, the /64 of an IPv6 address.
[[nodiscard]] IpAddress source_of(const SocketAddress& remote);

class HttpsPort {
 public:
  struct Handlers {
    io::Callback on_change;  // The server was changed: drain it, and call settle().
    // A connection has become a link for datagrams. Empty if the server allows none.
    std::move_only_function<void(io::StreamEnds, const SocketAddress& remote, http::Upgraded)>
        on_upgraded;
  };

  // open listens at `local`, of which the port is given; without an address on all of both families
  // (of those that this machine has). `server` and `loop` outlive the port. It fails as
  // io::TcpListener::open does.
  [[nodiscard]] static std::expected<std::unique_ptr<HttpsPort>, io::SocketError> open(
      io::Loop& loop, http::Server& server, const io::UdpPort::Local& local,
      std::size_t per_source_max, Handlers handlers);
  HttpsPort(const HttpsPort&) = delete;
  HttpsPort& operator=(const HttpsPort&) = delete;
  ~HttpsPort();

  // settle carries out what the server wants of its connections. It may call on_upgraded.
  void settle();

 private:
  struct Connection;

  HttpsPort(io::Loop& loop, http::Server& server, std::size_t per_source_max, Handlers handlers);
  [[nodiscard]] std::expected<void, io::SocketError> listen(const SocketAddress& local);
  void accept(io::Descriptor socket, const SocketAddress& remote);
  void receive(http::TcpKey key);
  void pump(http::TcpKey key);
  void close(http::TcpKey key);

  io::Loop& loop_;
  http::Server& server_;
  std::size_t per_source_max_;
  Handlers handlers_;
  std::vector<std::unique_ptr<io::TcpListener>> listeners_;
  std::map<http::TcpKey, std::unique_ptr<Connection>> connections_;
  std::vector<std::byte> scratch_;
};

}  // namespace zt::app
