// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/control_client.h: asks the running client, and carries standard input and output to a flow.

#include <expected>
#include <filesystem>
#include <string>
#include <string_view>

#include "app/exit_code.h"
#include "io/descriptor.h"

namespace zt::app {

struct ControlFailure {
  ExitCode code = ExitCode::failed;
  std::string sentence;
};

// ControlAnswer is the line that the client answered, and the connection behind it.
struct ControlAnswer {
  std::string line;
  io::Descriptor socket;
  std::string early;  // What the far end has already sent behind the line.
};

// ask_client sends `request` (a line of JSON without its newline) and returns the answer. It fails
// with `unreachable` if no client listens at `path`.
[[nodiscard]] std::expected<ControlAnswer, ControlFailure> ask_client(
    const std::filesystem::path& path, std::string_view request);

// failure_of is what an answer with "ok": false means for the exit code and the user.
[[nodiscard]] ControlFailure failure_of(std::string_view line);

// join_standard_io copies between `answer`'s connection and standard input and output until the far
// end is over. The end of standard input ends only that direction.
[[nodiscard]] ExitCode join_standard_io(ControlAnswer& answer);

}  // namespace zt::app
