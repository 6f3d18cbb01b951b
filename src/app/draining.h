// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/draining.h: the end of a process in order: told to, empty or late, then over.
//
// Theory of operation
//   The first SIGTERM or SIGINT begins the draining: the node takes nothing new and waits for what
//   it has. The process ends when nothing is left (finish), when the time is over, or by a second
//   signal. The log says how much is left.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "app/log.h"
#include "io/loop.h"
#include "zt/base/time.h"

namespace CLI {  // NOLINT(readability-identifier-naming): of the library CLI11.
class App;
}  // namespace CLI

namespace zt::app {

class Draining {
 public:
  // Seconds. Nobody has to wait for long at a relay: moving takes two. Flows may want to end.
  static constexpr std::uint32_t kRelayTimeoutDefault = 10;
  static constexpr std::uint32_t kConnectorTimeoutDefault = 30;

  struct Steps {
    std::move_only_function<void()> begin;
    std::move_only_function<std::size_t()> left;
    std::move_only_function<void()> cut;  // The time is over. May be empty.
  };

  // add_to adds the option `--drain-timeout`, in seconds.
  static void add_to(CLI::App& command, std::uint32_t& timeout_s);

  // `loop` and `log` outlive the object. A timeout of 0 ends at the first signal. `what` is what is
  // left, for the log.
  Draining(io::Loop& loop, Log& log, std::chrono::seconds timeout, std::string_view what,
           Steps steps);
  Draining(const Draining&) = delete;
  Draining& operator=(const Draining&) = delete;

  void signal();
  // finish says that nothing is left.
  void finish();

 private:
  static constexpr std::chrono::seconds kProgressInterval{5};

  void expire();
  void arm();
  void write(LogLevel level, std::string_view message);

  io::Loop& loop_;
  Log& log_;
  std::chrono::seconds timeout_;
  std::string_view what_;
  Steps steps_;
  io::Timer timer_;
  Instant deadline_;
  bool has_begun_ = false;
  bool is_over_ = false;
};

}  // namespace zt::app
