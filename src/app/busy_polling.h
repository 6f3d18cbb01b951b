// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/busy_polling.h: the flag by which an operator keeps a node from polling for packets of near
// peers (io/busy_poll.h), and when it is left out of our own accord.

#include <CLI/CLI.hpp>

namespace zt::app {

struct BusyPolling {
  bool is_forbidden = false;

  void add_to(CLI::App& command);
  // is_wise is false if it is forbidden, or if this process has a quota of processor time, which
  // polling would use up.
  [[nodiscard]] bool is_wise() const;
};

}  // namespace zt::app
