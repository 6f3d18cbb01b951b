// SPDX-License-Identifier: Apache-2.0
#include "io/tcp.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "io/native_address.h"

namespace zt::io {
namespace {

bool set_option(int socket, int level, int name, int value) {
  return ::setsockopt(socket, level, name, &value, sizeof value) == 0;
}

// None of these can fail on a TCP socket, nor would the connection be wrong without them.
void set_connection_options(int socket) {
  (void)set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  (void)set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  (void)set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60);   // Seconds without a segment.
  (void)set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 15);  // Seconds between probes.
  (void)set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

Descriptor open_socket(const SocketAddress& address) {
  return Descriptor(::socket(address.ip.is_v4() ? AF_INET : AF_INET6,
                             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// How much an answer says about the target; see Dial::Failure.
int rank(SocketError error) {
  switch (error) {
    case SocketError::refused:
      return 5;
    case SocketError::reset:
      return 4;
    case SocketError::timed_out:
      return 3;
    case SocketError::unreachable:
      return 2;
    case SocketError::denied:
    case SocketError::limit:
      return 1;
    case SocketError::would_block:
    case SocketError::in_use:
    case SocketError::too_large:
    case SocketError::invalid:
    case SocketError::failed:
      return 0;
  }
  return 0;
}

}  // namespace

// --- TcpListener

std::expected<std::unique_ptr<TcpListener>, SocketError> TcpListener::open(
    Loop& loop, const SocketAddress& local, const Options& options, OnConnection on_connection) {
  Descriptor socket = open_socket(local);
  if (!socket.is_open()) return std::unexpected(to_socket_error(errno));
  const int number = socket.number();
  const NativeAddress native(local);
  // A restart must not wait for old connections' TIME_WAIT. Two listeners still exclude each other.
  if (!set_option(number, SOL_SOCKET, SO_REUSEADDR, 1) ||
      (local.ip.is_v6() && !set_option(number, IPPROTO_IPV6, IPV6_V6ONLY, 1)) ||
      ::bind(number, &native.generic, native.size) != 0 ||
      ::listen(number, options.backlog_max) != 0) {
    return std::unexpected(to_socket_error(errno));
  }
  const auto bound = local_address_of(number);
  if (!bound) return std::unexpected(SocketError::failed);
  return std::unique_ptr<TcpListener>(
      new TcpListener(loop, std::move(socket), *bound, options, std::move(on_connection)));
}

TcpListener::TcpListener(Loop& loop, Descriptor listener, const SocketAddress& local,
                         const Options& options, OnConnection on_connection)
    : local_(local),
      on_connection_(std::move(on_connection)),
      acceptor_(loop, std::move(listener), options.acceptor, [this](Descriptor connection) {
        const auto remote = remote_address_of(connection.number());
        if (!remote) return;  // It was reset before we looked.
        set_connection_options(connection.number());
        on_connection_(std::move(connection), *remote);
      }) {}

// --- Dial

class Dial::Impl {
 public:
  Impl(Loop& loop, std::span<const SocketAddress> addresses, const Options& options, OnEnd on_end)
      : loop_(loop),
        options_(options),
        on_end_(std::move(on_end)),
        addresses_(sort_for_dialing(addresses)),
        next_attempt_(loop, [this] { start_attempt(); }),
        total_(loop, [this] { give_up(); }),
        report_(loop, [this] {
          auto report_to = std::move(on_end_);
          report_to(std::move(result_));
        }) {
    if (addresses_.size() > options.addresses_max) addresses_.resize(options.addresses_max);
    total_.arm(loop.now().instant + options.total_timeout);
    start_attempt();
  }

 private:
  struct Attempt {
    Attempt(Impl& dial, const SocketAddress& target, Descriptor descriptor)
        : remote(target),
          socket(std::move(descriptor)),
          watch(
              dial.loop_, socket.number(), [] {}, [this, &dial] { dial.conclude(*this); }),
          timeout(dial.loop_, [this, &dial] { dial.fail(*this, SocketError::timed_out); }) {}

    SocketAddress remote;
    Descriptor socket;
    Watch watch;
    Timer timeout;
  };

  void start_attempt();
  void conclude(Attempt& attempt);
  void fail(Attempt& attempt, SocketError error);
  void note_failure(const SocketAddress& remote, SocketError error);
  void continue_after_failure();
  void give_up();
  void end();

  Loop& loop_;
  const Options options_;
  OnEnd on_end_;
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;
  bool is_over_ = false;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::expected<Connected, Failure> result_ = std::unexpected(Failure{});
  Timer next_attempt_;
  Timer total_;
  Deferred report_;
};

void Dial::Impl::start_attempt() {
  while (!is_over_ && next_ < addresses_.size()) {
    const SocketAddress remote = addresses_[next_++];
    Descriptor socket = open_socket(remote);
    const NativeAddress native(remote);
    int error = 0;
    if (!socket.is_open() || ::connect(socket.number(), &native.generic, native.size) != 0) {
      error = errno;
    }
    // An interrupted connect goes on by itself (POSIX), as one in progress.
    if (error != 0 && error != EINPROGRESS && error != EINTR) {
      note_failure(remote, to_socket_error(error));
      continue;
    }
    Attempt& attempt =
        *attempts_.emplace_back(std::make_unique<Attempt>(*this, remote, std::move(socket)));
    const Instant now = loop_.now().instant;
    attempt.watch.want_writable();
    attempt.timeout.arm(now + options_.attempt_timeout);
    next_attempt_.arm(now + options_.attempt_delay);
    return;
  }
  if (!is_over_ && attempts_.empty()) end();
}

void Dial::Impl::conclude(Attempt& attempt) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(attempt.socket.number(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
    error = errno;
  }
  if (error != 0) return fail(attempt, to_socket_error(error));
  // A wake-up without cause: only a connected socket has a peer.
  if (!remote_address_of(attempt.socket.number())) return attempt.watch.want_writable();
  set_connection_options(attempt.socket.number());
  result_ = Connected{.socket = std::move(attempt.socket), .remote = attempt.remote};
  end();  // The attempt's Watch goes while the socket is still open.
}

void Dial::Impl::fail(Attempt& attempt, SocketError error) {
  note_failure(attempt.remote, error);
  std::erase_if(attempts_, [&](const auto& other) { return other.get() == &attempt; });
  start_attempt();
}

void Dial::Impl::note_failure(const SocketAddress& remote, SocketError error) {
  const Failure& known = result_.error();
  if (known.error == SocketError::invalid || rank(error) > rank(known.error)) {
    result_ = std::unexpected(Failure{.error = error, .remote = remote});
  }
}

void Dial::Impl::give_up() {
  for (const auto& attempt : attempts_) note_failure(attempt->remote, SocketError::timed_out);
  end();
}

void Dial::Impl::end() {
  is_over_ = true;
  next_attempt_.cancel();
  total_.cancel();
  attempts_.clear();
  report_.schedule();
}

Dial::Dial(Loop& loop, std::span<const SocketAddress> addresses, const Options& options,
           OnEnd on_end)
    : impl_(std::make_unique<Impl>(loop, addresses, options, std::move(on_end))) {}
Dial::~Dial() = default;

std::vector<SocketAddress> sort_for_dialing(std::span<const SocketAddress> addresses) {
  std::vector<SocketAddress> sorted(addresses.begin(), addresses.end());
  if (sorted.empty()) return sorted;
  const bool is_first_v4 = sorted.front().ip.is_v4();
  const auto other = std::ranges::stable_partition(sorted, [&](const auto& address) {
                       return address.ip.is_v4() == is_first_v4;
                     }).begin();
  std::vector<SocketAddress> result;
  auto a = sorted.begin();
  auto b = other;
  while (a != other || b != sorted.end()) {
    if (a != other) result.push_back(*a++);
    if (b != sorted.end()) result.push_back(*b++);
  }
  return result;
}

}  // namespace zt::io
