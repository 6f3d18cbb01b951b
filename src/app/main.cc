// SPDX-License-Identifier: Apache-2.0
// app/main.cc: the program: parse the command line, run the one chosen action.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "app/command.h"
#include "app/version.h"

namespace {

using zt::app::ExitCode;

// hold_standard_streams takes those of the numbers 0, 1 and 2 that we were started without, lest a
// file or socket of ours get one and lines for people be written into it. To read or to write them
// goes on to fail.
bool hold_standard_streams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;  // NOLINT(*-vararg): the call is so.
    const int mode = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    // NOLINTNEXTLINE(*-vararg): the lowest free number is given, which is this one.
    if (::open("/dev/null", mode) != stream) return false;
  }
  return true;
}

// end returns `code` if what was printed has arrived, or if the reason of a failure is told anyway.
ExitCode end(ExitCode code) {
  if (code != ExitCode::ok) return code;
  const auto closed = zt::app::close_output();
  return closed ? code : zt::app::fail(ExitCode::failed, closed.error());
}

// run parses the command line and runs what it asks for.
ExitCode run(int argc, char** argv) {
  CLI::App app("zt: access to private services, one named resource at a time", "zt");
  app.require_subcommand(0, 1);
  app.set_version_flag(
      "--version",
      fmt::format("zt {} ({})\n{}", zt::app::version(), zt::app::commit(), zt::app::libraries()),
      "Print versions and exit");
  zt::app::Chosen chosen;
  zt::app::add_controller_commands(app, chosen);
  zt::app::add_relay_commands(app, chosen);
  zt::app::add_connector_commands(app, chosen);
  zt::app::add_client_commands(app, chosen);
  zt::app::add_admin_commands(app, chosen);
  zt::app::add_demo_command(app, chosen);
  zt::app::add_completion_command(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // --help and --version end here too, with code 0.
    const bool is_answer = error.get_exit_code() == 0;
    app.exit(error);
    return end(is_answer ? ExitCode::ok : ExitCode::usage);
  }
  if (!chosen.action) {
    fmt::print("{}", app.help());
    const ExitCode code = end(ExitCode::ok);
    return code == ExitCode::ok ? ExitCode::usage : code;
  }
  return end(chosen.action());
}

}  // namespace

int main(int argc, char** argv) {
  if (!hold_standard_streams()) return static_cast<int>(ExitCode::failed);
  // A peer that hangs up is an error value of a write, not the end of the program.
  (void)std::signal(SIGPIPE, SIG_IGN);
  try {
    return static_cast<int>(run(argc, argv));
  } catch (const std::runtime_error& error) {
    // Standard output is full or gone: fmt throws. Whatever is not a runtime_error is a fault of
    // ours, or memory that ran out, and aborts.
    const std::string line = std::string("zt: ") + error.what() + "\n";
    (void)std::fputs(line.c_str(), stderr);  // If that is gone too, nobody listens.
    return static_cast<int>(ExitCode::failed);
  }
}
