// SPDX-License-Identifier: Apache-2.0
#include "app/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "zt/base/rfc3339.h"

namespace zt::app {

namespace {

std::string_view to_text(LogLevel level) {
  switch (level) {
    case LogLevel::trace:
      return "trace";
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

bool needs_quotes(std::string_view value) {
  return value.empty() || std::ranges::any_of(value, [](char c) {
           return c == ' ' || c == '"' || c == '=' || c == '\\' ||
                  static_cast<unsigned char>(c) < 0x20U || static_cast<unsigned char>(c) >= 0x7fU;
         });
}

// append_quoted writes `value` as a JSON string. Bytes that are not printable ASCII are escaped:
// what a peer wrote is not trusted to be UTF-8.
void append_quoted(std::string& line, std::string_view value) {
  line += '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (byte < 0x20U || byte >= 0x7fU) {
      fmt::format_to(std::back_inserter(line), "\\u{:04x}", byte);
    } else {
      line += c;
    }
  }
  line += '"';
}

}  // namespace

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::trace, LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    if (text == to_text(level)) return level;
  }
  return std::nullopt;
}

void Log::write(LogLevel level, std::string_view message, std::span<const LogField> fields,
                UnixTime time) {
  if (!is_on(level)) return;
  std::string line;
  if (options_.format == LogFormat::json) {
    line = fmt::format(R"({{"time":"{}","level":"{}","role":"{}","message":)", to_rfc3339(time),
                       to_text(level), role_);
    append_quoted(line, message);
    for (const auto& [name, value] : fields) {
      line += ',';
      append_quoted(line, name);
      line += ':';
      append_quoted(line, std::string_view(value).substr(0, kValueSizeMax));
    }
    line += "}\n";
  } else {
    line = fmt::format("{} {:5} {:10} {}", to_rfc3339(time), to_text(level), role_, message);
    for (const auto& [name, value] : fields) {
      const std::string_view shown = std::string_view(value).substr(0, kValueSizeMax);
      fmt::format_to(std::back_inserter(line), " {}=", name);
      if (needs_quotes(shown)) {
        append_quoted(line, shown);
      } else {
        line += shown;
      }
    }
    line += '\n';
  }
  // A log that cannot be written must not stop the role.
  (void)std::fwrite(line.data(), 1, line.size(), sink_);
  (void)std::fflush(sink_);
}

}  // namespace zt::app
