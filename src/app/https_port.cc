// SPDX-License-Identifier: Apache-2.0
#include "app/https_port.h"

#include <algorithm>
#include <array>
#include <utility>

namespace zt::app {

namespace {

constexpr std::size_t kReadSize = 64 << 10;

}  // namespace

IpAddress source_of(const SocketAddress& remote) {
  if (remote.ip.is_v4()) return remote.ip;
  std::array<std::uint8_t, 16> octets = remote.ip.octets();
  std::fill(octets.begin() + 8, octets.end(), std::uint8_t{0});
  return IpAddress::v6(octets);
}

struct HttpsPort::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, const SocketAddress& peer,
             io::Callback readable, io::Callback writable)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               std::move(writable)),
        remote(peer) {}
  io::Stream stream;
  SocketAddress remote;
  bool is_reading = false;  // want_readable() is pending.
};

std::expected<std::unique_ptr<HttpsPort>, io::SocketError> HttpsPort::open(
    io::Loop& loop, http::Server& server, const io::UdpPort::Local& local,
    std::size_t per_source_max, Handlers handlers) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<HttpsPort> port(new HttpsPort(loop, server, per_source_max, std::move(handlers)));
  if (local.ip) {
    const auto listening = port->listen({.ip = *local.ip, .port = local.port});
    if (!listening) return std::unexpected(listening.error());
    return port;
  }
  // One family that this machine lacks is no error, as for UDP; a port that is taken is.
  const auto v6 = port->listen({.ip = IpAddress::v6({}), .port = local.port});
  if (!v6 && v6.error() == io::SocketError::in_use) return std::unexpected(v6.error());
  const auto v4 = port->listen({.ip = IpAddress(), .port = local.port});
  if (!v4 && (!v6 || v4.error() == io::SocketError::in_use)) return std::unexpected(v4.error());
  return port;
}

HttpsPort::HttpsPort(io::Loop& loop, http::Server& server, std::size_t per_source_max,
                     Handlers handlers)
    : loop_(loop),
      server_(server),
      per_source_max_(per_source_max),
      handlers_(std::move(handlers)),
      scratch_(kReadSize) {}

HttpsPort::~HttpsPort() = default;

std::expected<void, io::SocketError> HttpsPort::listen(const SocketAddress& local) {
  auto listener = io::TcpListener::open(loop_, local, {},
                                        [this](io::Descriptor socket, const SocketAddress& remote) {
                                          accept(std::move(socket), remote);
                                        });
  if (!listener) return std::unexpected(listener.error());
  listeners_.push_back(std::move(*listener));
  return {};
}

void HttpsPort::accept(io::Descriptor socket, const SocketAddress& remote) {
  const auto is_of_source = [source = source_of(remote)](const auto& entry) {
    return source_of(entry.second->remote) == source;
  };
  if (std::size_t(std::ranges::count_if(connections_, is_of_source)) >= per_source_max_) return;
  const auto key = server_.open(remote, loop_.now().instant);
  if (!key) return;  // The server is full: closing the socket says so.
  connections_[*key] = std::make_unique<Connection>(
      loop_, std::move(socket), remote, [this, key = *key] { receive(key); },
      [this, key = *key] { pump(key); });
  pump(*key);
  handlers_.on_change();
}

void HttpsPort::receive(http::TcpKey key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  connection.is_reading = false;
  const auto size = connection.stream.try_read(scratch_);
  if (!size && size.error() != io::SocketError::would_block) return close(key);
  if (size && *size == 0) return close(key);
  if (size) server_.receive(key, BytesView(scratch_).first(*size), loop_.now().instant);
  pump(key);
  handlers_.on_change();
}

// pump writes what waits, and asks for what is wanted next.
void HttpsPort::pump(http::TcpKey key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  for (;;) {
    const BytesView bytes = server_.to_send(key);
    if (bytes.empty()) break;
    const auto size = connection.stream.try_write(bytes);
    if (!size && size.error() == io::SocketError::would_block) {
      connection.stream.want_writable();
      break;
    }
    if (!size) return close(key);
    server_.sent(key, *size, loop_.now().instant);
    handlers_.on_change();
  }
  if (server_.wants_close(key)) return close(key);
  if (!connection.is_reading && server_.wants_receive(key)) {
    connection.is_reading = true;
    connection.stream.want_readable();
  }
}

void HttpsPort::close(http::TcpKey key) {
  connections_.erase(key);
  server_.closed(key);
  handlers_.on_change();
}

void HttpsPort::settle() {
  while (const auto key = server_.poll_touched()) {
    if (connections_.contains(*key)) pump(*key);
  }
  while (auto upgraded = server_.poll_upgraded()) {
    const auto found = connections_.find(upgraded->first);
    if (found == connections_.end()) continue;
    const SocketAddress remote = found->second->remote;
    io::StreamEnds ends = found->second->stream.release();
    connections_.erase(found);
    handlers_.on_upgraded(std::move(ends), remote, std::move(upgraded->second));
  }
}

}  // namespace zt::app
