// SPDX-License-Identifier: Apache-2.0
#include "app/notices.h"

#include <string>
#include <vector>

namespace zt::app {

namespace {

LogLevel to_log_level(node::NoticeLevel level) {
  switch (level) {
    case node::NoticeLevel::debug:
      return LogLevel::debug;
    case node::NoticeLevel::info:
      return LogLevel::info;
    case node::NoticeLevel::warn:
      return LogLevel::warn;
    case node::NoticeLevel::error:
      return LogLevel::error;
  }
  return LogLevel::error;
}

}  // namespace

void write_notice(Log& log, const node::Notice& notice, UnixTime time) {
  log.write(to_log_level(notice.level), notice.message, notice.fields, time);
}

void warn_about_buffers(Log& log, const io::UdpPort& port, UnixTime time) {
  // A window of one stream (6 MiB) must fit, or bursts are lost in this machine.
  constexpr std::size_t kWanted = 7 << 20;
  const std::size_t granted = port.receive_buffer_size();
  if (granted >= kWanted) return;
  log.write(LogLevel::warn, "small UDP buffers cost speed",
            {{"granted", std::to_string(granted)},
             {"remedy", "sysctl -w net.core.rmem_max=16777216 net.core.wmem_max=16777216"}},
            time);
}

}  // namespace zt::app
