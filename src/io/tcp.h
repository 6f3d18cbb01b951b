// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/tcp.h: TCP connections come to be: a listener accepts them, a dial makes one.
//
// Theory of operation
//   Both hand over a connected, non-blocking Descriptor with TCP_NODELAY (what comes from a tunnel
//   has been a packet already) and keep-alive (a dead peer frees its flow in about two minutes);
//   Stream and Splice take it from there.
//
//   A Dial tries a list of addresses as RFC 8305 ("happy eyeballs") says: families alternate, a new
//   attempt starts when the last one failed or `attempt_delay` has passed, and the first to connect
//   wins. It dials exactly the addresses that it was given: who checked them dials what was
//   checked.
//
// Limits   addresses_max attempts, each with a deadline, and one for all.
// Threats  The listener is open to whoever reaches its address; see Acceptor about exhaustion.

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "io/acceptor.h"
#include "io/descriptor.h"
#include "io/loop.h"
#include "io/socket_error.h"
#include "zt/base/ip.h"

namespace zt::io {

class TcpListener {
 public:
  struct Options {
    Acceptor::Options acceptor;
    int backlog_max = 1024;  // At most net.core.somaxconn.
  };

  using OnConnection = std::move_only_function<void(Descriptor, const SocketAddress& remote)>;

  // open listens on `local` (port 0: any). An IPv6 listener takes IPv6 only. Errors: in_use,
  // invalid, denied (a port below 1024), unreachable (no such family here), limit.
  [[nodiscard]] static std::expected<std::unique_ptr<TcpListener>, SocketError> open(
      Loop& loop, const SocketAddress& local, const Options& options, OnConnection on_connection);

  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  ~TcpListener() = default;

  void pause() { acceptor_.pause(); }
  void resume() { acceptor_.resume(); }
  [[nodiscard]] const SocketAddress& local() const { return local_; }
  [[nodiscard]] const Acceptor::Statistics& statistics() const { return acceptor_.statistics(); }

 private:
  TcpListener(Loop& loop, Descriptor listener, const SocketAddress& local, const Options& options,
              OnConnection on_connection);

  SocketAddress local_;
  OnConnection on_connection_;
  Acceptor acceptor_;
};

// Dial connects to the first of several addresses that answers. Destroying it gives up.
class Dial {
 public:
  struct Options {
    Duration attempt_delay = std::chrono::milliseconds(250);  // RFC 8305 section 5.
    Duration attempt_timeout = std::chrono::seconds(10);
    Duration total_timeout = std::chrono::seconds(15);
    std::size_t addresses_max = 8;  // Of a longer list the first ones, after sorting.
  };

  struct Connected {
    Descriptor socket;
    SocketAddress remote;  // The address that answered.
  };

  // A Failure is the answer that says most, and the address that gave it: a refusal before a
  // timeout before "unreachable" before the rest.
  struct Failure {
    SocketError error = SocketError::invalid;  // `invalid`: there was no address to dial.
    SocketAddress remote;

    friend bool operator==(const Failure&, const Failure&) = default;
  };

  using OnEnd = std::move_only_function<void(std::expected<Connected, Failure>)>;

  // The dial starts at once; `on_end` is called once, from the loop and not from the constructor.
  // It may destroy the dial.
  Dial(Loop& loop, std::span<const SocketAddress> addresses, const Options& options, OnEnd on_end);
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;
  ~Dial();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// sort_for_dialing alternates the families, the first address's family first, and keeps the order
// within each (RFC 8305 section 4 with a First Address Family Count of 1).
[[nodiscard]] std::vector<SocketAddress> sort_for_dialing(std::span<const SocketAddress> addresses);

}  // namespace zt::io
