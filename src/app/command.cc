// SPDX-License-Identifier: Apache-2.0
#include "app/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "io/files.h"

namespace zt::app {

namespace {

constexpr std::size_t kTokenSizeMax = 4096;

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread.
  return value == nullptr ? std::string() : std::string(value);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// read_standard_input reads to the end; nothing if there is more than `size_max`.
std::optional<Secret> read_standard_input(std::size_t size_max) {
  std::string text;
  std::array<char, 1024> buffer{};
  for (;;) {
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), stdin);
    text.append(buffer.data(), size);
    if (text.size() > size_max) return std::nullopt;
    if (size < buffer.size()) return Secret(std::move(text));
  }
}

}  // namespace

ExitCode fail(ExitCode code, std::string_view sentence) {
  fmt::print(stderr, "zt: {}\n", sentence);
  return code;
}

std::expected<void, std::string> flush_output() {
  if (std::fflush(stdout) != 0) return std::unexpected(unwritten_output(errno));
  if (std::ferror(stdout) != 0) return std::unexpected(unwritten_output(0));  // Earlier.
  return {};
}

std::expected<void, std::string> close_output() {
  if (auto flushed = flush_output(); !flushed) return flushed;
  if (::close(STDOUT_FILENO) != 0) return std::unexpected(unwritten_output(errno));
  return {};
}

std::string unwritten_output(int error) {
  std::string sentence = "cannot write to standard output";
  if (error != 0) sentence += ": " + std::generic_category().message(error);
  return sentence;
}

void LogSettings::add_to(CLI::App& command) {
  command.add_option("--log-level", level, "Least important lines to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->capture_default_str();
  command.add_option("--log-format", format, "How log lines look")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

Log::Options LogSettings::options() const {
  return {.level = parse_log_level(level).value_or(LogLevel::info),
          .format = format == "json" ? LogFormat::json : LogFormat::text};
}

std::filesystem::path default_state_path(std::string_view role) {
  if (::geteuid() == 0) return std::filesystem::path("/var/lib/zt") / role;
  const std::string state = environment("XDG_STATE_HOME");
  if (!state.empty()) return std::filesystem::path(state) / "zt" / role;
  return std::filesystem::path(environment("HOME")) / ".local/state/zt" / role;
}

std::filesystem::path default_runtime_path() {
  if (::geteuid() == 0) return "/run/zt";
  const std::string runtime = environment("XDG_RUNTIME_DIR");
  if (!runtime.empty()) return std::filesystem::path(runtime) / "zt";
  return default_state_path("run");
}

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unnamed";
  return name.data();
}

void TokenSource::add_to(CLI::App& command) {
  auto* inline_token = command.add_option(
      "--token", text, "Enrolment token. Other users can see it in the list of processes");
  command
      .add_option("--token-file", file, "File that holds the enrolment token; - is standard input")
      ->excludes(inline_token);
}

std::expected<std::optional<Secret>, std::string> TokenSource::read() const {
  std::optional<Secret> raw;
  if (!text.empty()) {
    raw = Secret(text);
  } else if (file == "-") {
    raw = read_standard_input(kTokenSizeMax);
    if (!raw) return std::unexpected("standard input is too long for an enrolment token");
  } else if (!file.empty()) {
    auto secret = io::read_secret_file(file, kTokenSizeMax);
    if (!secret) return std::unexpected(fmt::format("{}: {}", file, io::to_text(secret.error())));
    raw = std::move(*secret);
  } else if (std::string value = environment("ZT_TOKEN"); !value.empty()) {
    raw = Secret(std::move(value));
  }
  if (!raw) return std::optional<Secret>();
  return std::optional<Secret>(Secret(trimmed(raw->reveal())));
}

}  // namespace zt::app
