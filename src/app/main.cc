// SPDX-License-Identifier: Apache-2.0
// app/main.cc: the program: parse the command line, run the one chosen action.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "app/command.h"
#include "app/version.h"

namespace {

using zt::app::ExitCode;

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
    return is_answer ? ExitCode::ok : ExitCode::usage;
  }
  if (!chosen.action) {
    fmt::print("{}", app.help());
    return ExitCode::usage;
  }
  return chosen.action();
}

}  // namespace

int main(int argc, char** argv) {
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
