// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/log.h: the one place that writes log lines.
//
// Theory of operation
//   A line has a time, a level, the role, a constant message and fields. As text it reads
//     2026-11-22T09:30:00.250Z info  connector  bound at a relay  relay=rly_…
//   and as JSON it is one object a line. Values are escaped, so that what a peer wrote cannot forge
//   a line or move the cursor of a terminal. Lines go to standard error; standard output is for
//   answers.
//
// Limits   A value is cut at value_size_max bytes.

#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "zt/base/time.h"

namespace zt::app {

enum class LogLevel : std::uint8_t { trace, debug, info, warn, error };
enum class LogFormat : std::uint8_t { text, json };

[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text);

using LogField = std::pair<std::string_view, std::string>;

class Log {
 public:
  struct Options {
    LogLevel level = LogLevel::info;  // Less important lines are not written.
    LogFormat format = LogFormat::text;
  };

  // `sink` outlives the log; each line is one write.
  Log(std::FILE* sink, std::string role, const Options& options)
      : sink_(sink), role_(std::move(role)), options_(options) {}

  [[nodiscard]] bool is_on(LogLevel level) const { return level >= options_.level; }

  void write(LogLevel level, std::string_view message, std::span<const LogField> fields,
             UnixTime time);
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields,
             UnixTime time) {
    write(level, message, std::span(fields.begin(), fields.size()), time);
  }

 private:
  static constexpr std::size_t kValueSizeMax = 512;

  std::FILE* sink_;
  std::string role_;
  Options options_;
};

}  // namespace zt::app
