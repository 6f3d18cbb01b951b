// SPDX-License-Identifier: Apache-2.0
#include "io/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

#include "zt/base/assert.h"

namespace zt::io {
namespace {

bool is_a_socket(int descriptor) {
  struct stat status{};
  return ::fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

// Repeats a call that a signal interrupted.
template <class Call>
std::expected<std::size_t, SocketError> retry(Call call) {
  for (;;) {
    const ssize_t size = call();
    if (size >= 0) return static_cast<std::size_t>(size);
    if (errno != EINTR) return std::unexpected(to_socket_error(errno));
  }
}

// A pipe is read and written by calls that would block; those for sockets say that they must not.
void set_non_blocking(int pipe) {
  const int flags = ::fcntl(pipe, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) (void)::fcntl(pipe, F_SETFL, flags | O_NONBLOCK);
}

// Opens what `number` stands for once more, non-blocking; or duplicates it where that is not
// possible (a socket, a regular file, a file of another user).
Descriptor open_anew(int number, int mode) {
  const std::string path = "/proc/self/fd/" + std::to_string(number);
  if (!is_a_socket(number)) {
    // Another opening of a regular file would start at its beginning.
    struct stat status{};
    const bool is_file = ::fstat(number, &status) == 0 && S_ISREG(status.st_mode);
    Descriptor anew(is_file ? -1 : ::open(path.c_str(), mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (anew.is_open()) return anew;
  }
  return Descriptor(::fcntl(number, F_DUPFD_CLOEXEC, 3));
}

}  // namespace

Stream::Stream(Loop& loop, StreamEnds ends, Callback readable, Callback writable, Callback broken)
    : ends_(std::move(ends)), is_socket_(is_a_socket(ends_.input.number())) {
  ZT_ASSERT(ends_.input.is_open());
  if (!is_socket_) set_non_blocking(ends_.input.number());
  if (ends_.output.is_open()) {
    is_socket_ = false;
    set_non_blocking(ends_.output.number());
    input_watch_.emplace(loop, ends_.input.number(), std::move(readable), [] {});
    output_watch_.emplace(loop, ends_.output.number(), [] {}, std::move(writable));
  } else {
    input_watch_.emplace(loop, ends_.input.number(), std::move(readable), std::move(writable),
                         std::move(broken));
  }
}

std::expected<std::size_t, SocketError> Stream::try_read(std::span<std::byte> space) {
  ZT_ASSERT(!space.empty());
  const int number = ends_.input.number();
  if (is_socket()) {
    return retry([&] { return ::recv(number, space.data(), space.size(), MSG_DONTWAIT); });
  }
  return retry([&] { return ::read(number, space.data(), space.size()); });
}

std::expected<std::size_t, SocketError> Stream::try_write(std::span<const std::byte> bytes) {
  ZT_ASSERT(!bytes.empty());
  if (is_socket()) {
    const int number = ends_.input.number();
    return retry(
        [&] { return ::send(number, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
  }
  if (!ends_.output.is_open()) return std::unexpected(SocketError::reset);
  const int number = ends_.output.number();
  return retry([&] { return ::write(number, bytes.data(), bytes.size()); });
}

// NOLINTNEXTLINE(readability-make-member-function-const): it changes the socket.
void Stream::limit_unsent(std::size_t size) {
  const int value = static_cast<int>(size);
  // Where it fails the queue is longer, and nothing worse.
  (void)::setsockopt(ends_.input.number(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
}

void Stream::shutdown_write() {
  if (is_socket()) {
    // It fails only if the peer is gone already, which reading tells.
    (void)::shutdown(ends_.input.number(), SHUT_WR);
    return;
  }
  output_watch_.reset();
  ends_.output.close();
}

void Stream::reset() {
  if (!is_open()) return;
  input_watch_.reset();
  output_watch_.reset();
  if (is_socket()) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    // Not a TCP socket, perhaps: then closing is all that can be done.
    (void)::setsockopt(ends_.input.number(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  ends_.input.close();
  ends_.output.close();
}

void Stream::want_readable() {
  if (input_watch_) input_watch_->want_readable();
}

void Stream::want_writable() {
  if (is_socket()) {
    if (input_watch_) input_watch_->want_writable();
  } else if (output_watch_) {
    output_watch_->want_writable();
  }
}

void Stream::want_broken() {
  if (is_socket() && input_watch_) input_watch_->want_broken();
}

std::optional<SocketError> Stream::take_error() {
  if (!is_socket() || !is_open()) return std::nullopt;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(ends_.input.number(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return std::nullopt;
  return to_socket_error(error);
}

StreamEnds Stream::release() {
  input_watch_.reset();
  output_watch_.reset();
  return std::exchange(ends_, StreamEnds{});
}

std::expected<StreamEnds, SocketError> open_standard_io() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  StreamEnds ends{.input = open_anew(STDIN_FILENO, O_RDONLY),
                  .output = open_anew(STDOUT_FILENO, O_WRONLY)};
  if (!ends.input.is_open() || !ends.output.is_open()) {
    return std::unexpected(to_socket_error(errno));
  }
  const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing.is_open()) return std::unexpected(to_socket_error(errno));
  for (const int number : std::array{STDIN_FILENO, STDOUT_FILENO}) {
    if (::dup2(nothing.number(), number) < 0) return std::unexpected(to_socket_error(errno));
  }
  return ends;
}

}  // namespace zt::io
