// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/cpu_quota.h: whether this process has a share of processor time that it can use up.
//
// Theory of operation
//   A control group (cgroups(7), version 2) may be given so much processor time in each period;
//   containers and systemd's CPUQuota= do it so. What is used up in a period stands still until the
//   next one, some 100 ms. Who spends time to save latency has to know: under a quota it costs
//   latency instead. The quota may belong to the process's group or to any group around it.

#include <optional>
#include <string_view>

namespace zt::io {

// has_cpu_quota asks the kernel. Where it does not say (version 1, no file system mounted): false.
[[nodiscard]] bool has_cpu_quota();

// read_group_path finds the group of version 2 in the text of /proc/self/cgroup: an absolute path.
[[nodiscard]] std::optional<std::string_view> read_group_path(std::string_view text);

// is_quota says whether the text of a cpu.max file ("$MAX $PERIOD" or "max $PERIOD") sets a limit.
[[nodiscard]] bool is_quota(std::string_view text);

}  // namespace zt::io
