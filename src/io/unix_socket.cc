// SPDX-License-Identifier: Apache-2.0
#include "io/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "io/files.h"

namespace zt::io {
namespace {

union UnixAddress {
  sockaddr generic;
  sockaddr_un local;
};

std::expected<UnixAddress, SocketError> to_address(const std::filesystem::path& path) {
  UnixAddress address{.local = {.sun_family = AF_UNIX}};
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof address.local.sun_path ||
      text.find('\0') != std::string::npos) {
    return std::unexpected(SocketError::invalid);
  }
  std::memcpy(address.local.sun_path, text.data(), text.size());
  return address;
}

Descriptor open_socket() {
  return Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Removes a socket behind which nobody listens.
std::expected<void, SocketError> remove_stale(const std::filesystem::path& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return std::unexpected(to_socket_error(errno));
  if (!S_ISSOCK(status.st_mode)) return std::unexpected(SocketError::invalid);
  const auto listening = connect_unix(path);
  if (listening || listening.error() != SocketError::refused) {
    return std::unexpected(SocketError::in_use);
  }
  if (::unlink(path.c_str()) != 0) return std::unexpected(to_socket_error(errno));
  return {};
}

std::expected<void, SocketError> bind_to(const Descriptor& socket,
                                         const std::filesystem::path& path) {
  const auto address = to_address(path);
  if (!address) return std::unexpected(address.error());
  // The kernel creates the file with the mode of the socket: there is no moment of a wider one.
  if (::fchmod(socket.number(), 0600) != 0) return std::unexpected(to_socket_error(errno));
  if (::bind(socket.number(), &address->generic, sizeof address->local) == 0) return {};
  if (errno != EADDRINUSE) return std::unexpected(to_socket_error(errno));
  if (const auto removed = remove_stale(path); !removed) return removed;
  if (::bind(socket.number(), &address->generic, sizeof address->local) == 0) return {};
  return std::unexpected(to_socket_error(errno));
}

SocketError to_socket_error(FileError error) {
  switch (error) {
    case FileError::denied:
    case FileError::insecure:
      return SocketError::denied;
    case FileError::not_found:
    case FileError::not_a_file:
      return SocketError::invalid;
    case FileError::full:
      return SocketError::limit;
    case FileError::too_large:
    case FileError::locked:
    case FileError::exists:
    case FileError::failed:
      return SocketError::failed;
  }
  return SocketError::failed;
}

}  // namespace

std::expected<std::unique_ptr<UnixListener>, SocketError> UnixListener::open(
    Loop& loop, const std::filesystem::path& path, const Options& options,
    OnConnection on_connection) {
  if (const auto made = make_private_directory(path.parent_path()); !made) {
    return std::unexpected(to_socket_error(made.error()));
  }
  Descriptor socket = open_socket();
  if (!socket.is_open()) return std::unexpected(io::to_socket_error(errno));
  if (const auto bound = bind_to(socket, path); !bound) return std::unexpected(bound.error());
  if (::listen(socket.number(), options.backlog_max) != 0) {
    return std::unexpected(io::to_socket_error(errno));
  }
  return std::unique_ptr<UnixListener>(
      new UnixListener(loop, std::move(socket), path, options, std::move(on_connection)));
}

UnixListener::UnixListener(Loop& loop, Descriptor listener, std::filesystem::path path,
                           const Options& options, OnConnection on_connection)
    : path_(std::move(path)),
      on_connection_(std::move(on_connection)),
      acceptor_(loop, std::move(listener), options.acceptor, [this](Descriptor connection) {
        const auto caller = caller_of(connection.number());
        if (!caller || !is_allowed(*caller, ::geteuid())) {
          ++refused_count_;
          return;
        }
        on_connection_(std::move(connection), *caller);
      }) {}

UnixListener::~UnixListener() {
  (void)::unlink(path_.c_str());  // Left behind, it would be stale and replaced.
}

std::expected<Descriptor, SocketError> connect_unix(const std::filesystem::path& path) {
  const auto address = to_address(path);
  if (!address) return std::unexpected(address.error());
  Descriptor socket = open_socket();
  if (!socket.is_open()) return std::unexpected(io::to_socket_error(errno));
  if (::connect(socket.number(), &address->generic, sizeof address->local) == 0) return socket;
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) return std::unexpected(SocketError::refused);
  return std::unexpected(io::to_socket_error(error));
}

std::expected<Caller, SocketError> caller_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::unexpected(io::to_socket_error(errno));
  }
  return Caller{.user = credentials.uid, .group = credentials.gid, .process = credentials.pid};
}

}  // namespace zt::io
