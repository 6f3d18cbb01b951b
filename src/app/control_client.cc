// SPDX-License-Identifier: Apache-2.0
#include "app/control_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "app/command.h"
#include "io/unix_socket.h"
#include "wire/json.h"

namespace zt::app {

namespace {

constexpr std::size_t kLineSizeMax = 16 << 20;

void make_blocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);  // NOLINT(*-vararg): the call is so.
  if (flags >= 0) {
    (void)::fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);  // NOLINT(*-vararg)
  }
}

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(descriptor, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

// Chunk is what one read gave.
struct Chunk {
  bool is_end = false;  // The end, or an error, which ends a stream as well.
  std::string_view bytes;
};

Chunk read_some(int descriptor, std::array<char, 65536>& buffer) {
  for (;;) {
    const ssize_t size = ::read(descriptor, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return {.is_end = true};
    return {.is_end = false, .bytes = {buffer.data(), static_cast<std::size_t>(size)}};
  }
}

// fail_output is called when standard output took no more. A reader that is gone, as ssh is at its
// end, needs no sentence.
ExitCode fail_output(int error) {
  if (error == EPIPE) return ExitCode::failed;
  return fail(ExitCode::failed, unwritten_output(error));
}

}  // namespace

std::expected<ControlAnswer, ControlFailure> ask_client(const std::filesystem::path& path,
                                                        std::string_view request) {
  auto socket = io::connect_unix(path);
  if (!socket) {
    const bool is_denied = socket.error() == io::SocketError::denied;
    return std::unexpected(ControlFailure{
        is_denied ? ExitCode::denied : ExitCode::unreachable,
        is_denied
            ? fmt::format("{}: you may not speak to this client", path.string())
            : fmt::format("no client is running ({}): start it with zt client up", path.string())});
  }
  const int number = socket->number();
  make_blocking(number);
  ControlAnswer answer{.socket = std::move(*socket)};
  if (!write_all(number, std::string(request) + "\n")) {
    return std::unexpected(ControlFailure{ExitCode::failed, "the client closed the connection"});
  }
  std::array<char, 65536> buffer{};
  for (;;) {
    const Chunk chunk = read_some(number, buffer);
    answer.line.append(chunk.bytes);
    const std::size_t end = answer.line.find('\n');
    if (end != std::string::npos) {
      answer.early = answer.line.substr(end + 1);
      answer.line.resize(end);
      return answer;
    }
    if (chunk.is_end || answer.line.size() > kLineSizeMax) {
      return std::unexpected(ControlFailure{ExitCode::failed, "the client gave no answer"});
    }
  }
}

ControlFailure failure_of(std::string_view line) {
  const wire::Json object = wire::parse_json_object(line);
  if (!object.is_object()) return {ExitCode::failed, "the client's answer is malformed"};
  const auto kind = wire::text_member(object, "error").value_or("");
  ExitCode code = ExitCode::unreachable;
  if (kind == "usage") code = ExitCode::usage;
  if (kind == "denied" || kind == "not_signed_in" || kind == "no_resource") {
    code = ExitCode::denied;
  }
  return {code, std::string(wire::text_member(object, "text").value_or("refused"))};
}

ExitCode join_standard_io(ControlAnswer& answer) {
  const int far = answer.socket.number();
  if (!write_all(STDOUT_FILENO, answer.early)) return fail_output(errno);
  std::array<char, 65536> buffer{};
  std::array<pollfd, 2> waits{pollfd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                              pollfd{.fd = far, .events = POLLIN, .revents = 0}};
  for (;;) {
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return ExitCode::failed;
    }
    if (waits[1].revents != 0) {
      const Chunk chunk = read_some(far, buffer);
      if (chunk.is_end) return ExitCode::ok;
      if (!write_all(STDOUT_FILENO, chunk.bytes)) return fail_output(errno);
    }
    if (waits[0].revents != 0) {
      const Chunk chunk = read_some(STDIN_FILENO, buffer);
      if (chunk.is_end) {
        (void)::shutdown(far, SHUT_WR);  // A far end that is gone shows at the next read.
        waits[0].fd = -1;
      } else if (!write_all(far, chunk.bytes)) {
        waits[0].fd = -1;  // What it still has to say is read first.
      }
    }
  }
}

}  // namespace zt::app
