// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/command.h: what the commands of the program have in common.
//
// Theory of operation
//   Each command file adds its subcommands to the command line and leaves an action behind; main
//   parses, then runs the one action that was chosen. Parsing does nothing, so `--help` and a wrong
//   flag cost nothing. An action returns the exit code; what went wrong it has told on standard
//   error by fail().

#include <expected>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "app/exit_code.h"
#include "app/log.h"
#include "zt/base/secret.h"

namespace CLI {  // NOLINT(readability-identifier-naming): of the library CLI11.
class App;
}  // namespace CLI

namespace zt::app {

// Chosen is the action of the subcommand that the user gave.
struct Chosen {
  std::function<ExitCode()> action;
};

void add_controller_commands(CLI::App& app, Chosen& chosen);
void add_relay_commands(CLI::App& app, Chosen& chosen);
void add_connector_commands(CLI::App& app, Chosen& chosen);
void add_client_commands(CLI::App& app, Chosen& chosen);
void add_admin_commands(CLI::App& app, Chosen& chosen);
void add_demo_command(CLI::App& app, Chosen& chosen);
void add_completion_command(CLI::App& app, Chosen& chosen);

// fail prints "zt: `sentence`" to standard error and returns `code`.
ExitCode fail(ExitCode code, std::string_view sentence);

// flush_output hands over what was printed to standard output, or returns a sentence that says why
// not: a disk is full, or the reader is gone.
[[nodiscard]] std::expected<void, std::string> flush_output();
// close_output is the last flush_output, after which nothing is printed: some file systems tell
// only then that they are full.
[[nodiscard]] std::expected<void, std::string> close_output();
// unwritten_output is that sentence; `error` is of errno, or 0 if it is not known.
[[nodiscard]] std::string unwritten_output(int error);

// LogSettings are the flags --log-level and --log-format.
struct LogSettings {
  std::string level = "info";
  std::string format = "text";

  void add_to(CLI::App& command);
  [[nodiscard]] Log::Options options() const;
};

// default_state_path returns where a role keeps its state: /var/lib/zt/ROLE for root, otherwise
// below XDG_STATE_HOME or ~/.local/state.
[[nodiscard]] std::filesystem::path default_state_path(std::string_view role);

// default_runtime_path returns a directory for sockets: /run/zt for root, otherwise below
// XDG_RUNTIME_DIR or the state directory.
[[nodiscard]] std::filesystem::path default_runtime_path();

// machine_name returns the host's name, for people.
[[nodiscard]] std::string machine_name();

// TokenSource is --token, --token-file or ZT_TOKEN, in this order.
struct TokenSource {
  std::string text;
  std::string file;  // "-" is standard input.

  void add_to(CLI::App& command);
  // read returns the token without surrounding white space, nothing if none was given, or a
  // sentence.
  [[nodiscard]] std::expected<std::optional<Secret>, std::string> read() const;
};

}  // namespace zt::app
