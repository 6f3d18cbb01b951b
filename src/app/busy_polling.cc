// SPDX-License-Identifier: Apache-2.0
#include "app/busy_polling.h"

#include "io/cpu_quota.h"

namespace zt::app {

void BusyPolling::add_to(CLI::App& command) {
  command.add_flag("--no-busy-poll", is_forbidden,
                   "Sleep between packets, however near the peer is. While packets of a peer "
                   "within 1 ms come fast, at most 300 us are spent on waiting for the next: "
                   "requests take half the time, a processor stays awake. Under a quota of "
                   "processor time (cgroup cpu.max) it is never done");
}

bool BusyPolling::is_wise() const {
  return !is_forbidden && !io::has_cpu_quota();
}

}  // namespace zt::app
