// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/exit_code.h: what the program's exit says to a script.

#include <cstdint>

namespace zt::app {

enum class ExitCode : std::uint8_t {
  ok = 0,
  failed = 1,       // Tried and failed.
  usage = 2,        // The command line, a file or a token is wrong; nothing was tried.
  denied = 3,       // Refused by policy, or not signed in.
  unreachable = 4,  // Controller, relay or resource cannot be reached.
};

}  // namespace zt::app
