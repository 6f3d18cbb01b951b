// SPDX-License-Identifier: Apache-2.0
#include "app/draining.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

namespace zt::app {

void Draining::add_to(CLI::App& command, std::uint32_t& timeout_s) {
  command
      .add_option("--drain-timeout", timeout_s,
                  "Seconds that SIGTERM or SIGINT waits for what is in use; 0 ends at once, and so "
                  "does a second signal")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
}

Draining::Draining(io::Loop& loop, Log& log, std::chrono::seconds timeout, std::string_view what,
                   Steps steps)
    : loop_(loop),
      log_(log),
      timeout_(timeout),
      what_(what),
      steps_(std::move(steps)),
      timer_(loop, [this] { expire(); }) {}

void Draining::signal() {
  if (timeout_ == std::chrono::seconds::zero() || std::exchange(has_begun_, true)) {
    if (steps_.cut && !std::exchange(is_over_, true)) steps_.cut();
    return loop_.stop();
  }
  deadline_ = loop_.now().instant + timeout_;
  steps_.begin();
  write(LogLevel::info, "draining; a second signal ends at once");
  arm();
}

void Draining::finish() {
  if (std::exchange(is_over_, true)) return;
  write(LogLevel::info, "drained");
  loop_.stop();
}

void Draining::expire() {
  if (is_over_) return;
  if (loop_.now().instant < deadline_) {
    write(LogLevel::info, "draining");
    return arm();
  }
  is_over_ = true;
  write(LogLevel::warn, "the time for draining is over");
  if (steps_.cut) steps_.cut();
  loop_.stop();
}

void Draining::arm() {
  timer_.arm(std::min(deadline_, loop_.now().instant + kProgressInterval));
}

void Draining::write(LogLevel level, std::string_view message) {
  const Now now = loop_.now();
  const auto left_s = std::chrono::duration_cast<std::chrono::seconds>(
      std::max(deadline_ - now.instant, Duration::zero()));
  log_.write(level, message,
             {{std::string(what_), std::to_string(steps_.left())},
              {"timeout_s", std::to_string(left_s.count())}},
             now.unix_time);
}

}  // namespace zt::app
