// SPDX-License-Identifier: Apache-2.0
#include "io/acceptor.h"

#include <sys/socket.h>

#include <cerrno>

#include "io/socket_error.h"

namespace zt::io {

Acceptor::Acceptor(Loop& loop, Descriptor listener, const Options& options,
                   std::move_only_function<void(Descriptor)> on_connection)
    : loop_(loop),
      options_(options),
      on_connection_(std::move(on_connection)),
      listener_(std::move(listener)),
      watch_(
          loop, listener_.number(), [this] { accept(); }, [] {}),
      retry_(loop, [this] {
        if (!is_paused_) watch_.want_readable();
      }) {
  watch_.want_readable();
}

Acceptor::~Acceptor() {
  if (is_destroyed_ != nullptr) *is_destroyed_ = true;
}

void Acceptor::pause() {
  is_paused_ = true;
  watch_.ignore_readable();
}

void Acceptor::resume() {
  if (!is_paused_) return;
  is_paused_ = false;
  watch_.want_readable();
}

void Acceptor::accept() {
  for (std::size_t i = 0; i < options_.accepts_per_turn_max && !is_paused_; ++i) {
    Descriptor connection(
        ::accept4(listener_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection.is_open()) {
      const int error = errno;
      if (error == EAGAIN) break;
      if (to_socket_error(error) == SocketError::limit) {
        ++statistics_.pauses;
        retry_.arm(loop_.now().instant + options_.pause_on_limit);
        return;
      }
      continue;  // The client gave up meanwhile (ECONNABORTED and network errors), or EINTR.
    }
    ++statistics_.accepted;
    bool is_destroyed = false;
    is_destroyed_ = &is_destroyed;
    on_connection_(std::move(connection));
    if (is_destroyed) return;
    is_destroyed_ = nullptr;
  }
  if (!is_paused_) watch_.want_readable();
}

}  // namespace zt::io
