// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/proxy_ingress.h: `--http-proxy`: CONNECT of an HTTP/1.1 proxy on a local port.
//
// Theory of operation
//   An accepted connection is read until the head of a CONNECT request is complete, and held until
//   the connector has answered. A refusal becomes a response whose status, Proxy-Status and text
//   say what the connector said; success becomes 200, and from then on the bytes are the flow's.
//
// Limits   connections_max before the answer; the head by http::ProxyRequestReader; head_timeout.

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <string>

#include "app/client_shell.h"
#include "http/proxy_request.h"
#include "io/tcp.h"
#include "zt/wire/proxy_status.h"

namespace zt::app {

class HttpProxy {
 public:
  // open listens on `local`; port 0 is any. `shell` outlives the proxy.
  [[nodiscard]] static std::expected<std::unique_ptr<HttpProxy>, io::SocketError> open(
      ClientShell& shell, const SocketAddress& local);
  HttpProxy(const HttpProxy&) = delete;
  HttpProxy& operator=(const HttpProxy&) = delete;
  ~HttpProxy();

  [[nodiscard]] const SocketAddress& local() const { return listener_->local(); }

 private:
  static constexpr std::size_t kConnectionsMax = 1024;
  static constexpr Duration kHeadTimeout = std::chrono::seconds(10);

  struct Connection;

  explicit HttpProxy(ClientShell& shell);
  void accept(io::Descriptor socket);
  void receive(std::uint64_t number);
  void answer(std::uint64_t number, const std::optional<client::Outcome>& refusal);
  static void refuse(Connection& connection, const std::string& response);

  ClientShell& shell_;
  std::unique_ptr<io::TcpListener> listener_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

// http_status_of is the status with which a proxy tells an outcome (RFC 9110 section 15, RFC 9209).
[[nodiscard]] int http_status_of(client::Outcome::Kind kind);

// proxy_error_of is the outcome's type of error in a Proxy-Status field (RFC 9209 section 2.3).
[[nodiscard]] wire::ProxyError proxy_error_of(client::Outcome::Kind kind);

}  // namespace zt::app
