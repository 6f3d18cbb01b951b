// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/notices.h: notices of nodes, and facts about sockets, as log lines.

#include "app/log.h"
#include "io/udp.h"
#include "node/notice.h"
#include "zt/base/time.h"

namespace zt::app {

void write_notice(Log& log, const node::Notice& notice, UnixTime time);

// warn_about_buffers says how to get larger socket buffers if the kernel granted less of either
// than bulk transfers need. Its "remedy" is a command that raises what is too small, and nothing
// else.
void warn_about_buffers(Log& log, const io::UdpBufferSizes& granted, UnixTime time);

}  // namespace zt::app
