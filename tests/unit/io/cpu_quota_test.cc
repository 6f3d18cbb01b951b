// SPDX-License-Identifier: Apache-2.0
#include "io/cpu_quota.h"

#include <catch2/catch_test_macros.hpp>

namespace zt::io {

TEST_CASE("a cpu.max file sets a limit exactly if it begins with a number") {
  CHECK(is_quota("50000 100000\n"));
  CHECK(is_quota("0 100000\n"));
  CHECK_FALSE(is_quota("max 100000\n"));
  CHECK_FALSE(is_quota(""));
  CHECK_FALSE(is_quota("\n"));
  CHECK_FALSE(is_quota("-1 100000"));
}

TEST_CASE("the group of version 2 is found among others, and only there") {
  CHECK(read_group_path("0::/\n") == "/");
  CHECK(read_group_path("0::/system.slice/zt.service") == "/system.slice/zt.service");
  CHECK(read_group_path("12:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n") == "/c");
  CHECK(read_group_path("12:cpu,cpuacct:/a\n") == std::nullopt);
  CHECK(read_group_path("0::relative\n") == std::nullopt);
  CHECK(read_group_path("0::") == std::nullopt);
  CHECK(read_group_path("") == std::nullopt);
}

}  // namespace zt::io
