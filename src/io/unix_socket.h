// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/unix_socket.h: a local socket that only its owner can talk to: the control channel of a
// daemon.
//
// Theory of operation
//   The socket is a file of mode 0600 in a directory of mode 0700, and each caller is asked of the
//   kernel (SO_PEERCRED): it must be the user that the daemon runs as, or root. Either would do; a
//   wrong mode of one alone opens nothing. A socket that a dead process left behind is replaced;
//   one behind which somebody listens is `in_use`. The file disappears with the listener.
//
// Limits   Paths of at most 107 bytes (of the kernel).
// Threats  Other local users: refused and counted, without a byte read. Two daemons at one path
// must
//          be kept apart by a FileLock: the check for a stale socket is not atomic.

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <memory>

#include "io/acceptor.h"
#include "io/descriptor.h"
#include "io/loop.h"
#include "io/socket_error.h"

namespace zt::io {

// Caller is the process that connected, as it was then.
struct Caller {
  uid_t user = 0;
  gid_t group = 0;
  pid_t process = 0;

  friend bool operator==(const Caller&, const Caller&) = default;
};

// is_allowed tells whether `caller` may talk to a daemon that runs as `owner`.
[[nodiscard]] constexpr bool is_allowed(const Caller& caller, uid_t owner) {
  return caller.user == owner || caller.user == 0;
}

class UnixListener {
 public:
  struct Options {
    Acceptor::Options acceptor;
    int backlog_max = 64;
  };

  using OnConnection = std::move_only_function<void(Descriptor, const Caller&)>;

  // open listens at `path`; it makes the directory if it is missing (not its parents). Errors:
  // in_use, invalid (the path is too long, or something else than a socket is there), denied (also:
  // the directory is open to others), limit, failed.
  [[nodiscard]] static std::expected<std::unique_ptr<UnixListener>, SocketError> open(
      Loop& loop, const std::filesystem::path& path, const Options& options,
      OnConnection on_connection);

  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;
  ~UnixListener();

  // refused_count counts callers that were not allowed.
  [[nodiscard]] std::uint64_t refused_count() const { return refused_count_; }

 private:
  UnixListener(Loop& loop, Descriptor listener, std::filesystem::path path, const Options& options,
               OnConnection on_connection);

  std::filesystem::path path_;
  OnConnection on_connection_;
  std::uint64_t refused_count_ = 0;
  Acceptor acceptor_;
};

// connect_unix connects to a listener. Errors: refused (nobody listens, or there is no socket),
// denied, would_block (its backlog is full), invalid, limit.
[[nodiscard]] std::expected<Descriptor, SocketError> connect_unix(
    const std::filesystem::path& path);

// caller_of asks the kernel who is at the other end of a connected Unix socket.
[[nodiscard]] std::expected<Caller, SocketError> caller_of(int socket);

}  // namespace zt::io
