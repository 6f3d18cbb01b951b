// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/acceptor.h: the accept loop under every kind of listening socket.
//
// Theory of operation
//   It accepts up to `accepts_per_turn_max` connections in a turn and hands them over non-blocking.
//   When descriptors or memory run out (EMFILE and its kin), accepting pauses for `pause_on_limit`
//   and the kernel's backlog holds the clients: no busy loop, and nobody is lost who can wait. The
//   owner bounds the connections that live by pause() and resume().

#include <cstdint>
#include <functional>

#include "io/descriptor.h"
#include "io/loop.h"

namespace zt::io {

class Acceptor {
 public:
  struct Options {
    // Between others' turns; accepting costs some 10 us each.
    std::size_t accepts_per_turn_max = 32;
    Duration pause_on_limit = std::chrono::milliseconds(100);
  };

  struct Statistics {
    std::uint64_t accepted = 0;
    std::uint64_t pauses = 0;  // Because of a limit of the process or the kernel.
  };

  // `listener` listens. The callback gets each connection; it may destroy the Acceptor.
  Acceptor(Loop& loop, Descriptor listener, const Options& options,
           std::move_only_function<void(Descriptor)> on_connection);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor();

  // pause leaves clients in the kernel's backlog until resume().
  void pause();
  void resume();

  [[nodiscard]] int number() const { return listener_.number(); }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  void accept();

  Loop& loop_;
  const Options options_;
  std::move_only_function<void(Descriptor)> on_connection_;
  Statistics statistics_;
  bool is_paused_ = false;
  bool* is_destroyed_ = nullptr;  // Set while the callback runs.
  Descriptor listener_;
  Watch watch_;
  Timer retry_;
};

}  // namespace zt::io
