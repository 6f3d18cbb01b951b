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

void warn_about_buffers(Log& log, const io::UdpBufferSizes& granted, UnixTime time) {
  // A window of one stream (6 MiB) must fit, or bursts are lost in this machine, or wait in it.
  constexpr std::size_t kWanted = 7 << 20;
  if (granted.receive >= kWanted && granted.send >= kWanted) return;
  std::string remedy = "sysctl -w";
  if (granted.receive < kWanted) remedy += " net.core.rmem_max=16777216";
  if (granted.send < kWanted) remedy += " net.core.wmem_max=16777216";
  log.write(LogLevel::warn, "small UDP buffers cost speed",
            {{"receive", std::to_string(granted.receive)},
             {"send", std::to_string(granted.send)},
             {"remedy", remedy}},
            time);
}

}  // namespace zt::app
