// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/signals.h: signals of the process as callbacks of a loop.
//
// Theory of operation
//   A handler writes the signal's number into a pipe, and the loop reads the pipe. The handler runs
//   in any thread, whenever that was started; a signalfd would want the signals blocked in all.
//
// Limits   One Signals at a time in a process. A pipe's worth of signals (65,536) waits; more of
//          them are lost, as signals are.

#include <array>
#include <csignal>
#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

#include "io/descriptor.h"
#include "io/loop.h"

namespace zt::io {

// Signals calls back with the number of each signal of a set that the process receives. While it
// lives, which is longer than a callback, the signals do not end the process; then their former
// dispositions are restored. Before exec these need no care: a caught signal becomes the default.
class Signals {
 public:
  Signals(Loop& loop, std::initializer_list<int> numbers,
          std::move_only_function<void(int)> callback);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

 private:
  void take();

  std::move_only_function<void(int)> callback_;
  std::array<Descriptor, 2> pipe_;  // What is written to the second end is read from the first.
  Watch watch_;
  std::vector<std::pair<int, struct sigaction>> former_;
};

}  // namespace zt::io
