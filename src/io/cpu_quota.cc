// SPDX-License-Identifier: Apache-2.0
#include "io/cpu_quota.h"

#include <filesystem>

#include "io/files.h"

namespace zt::io {
namespace {

constexpr std::size_t kSizeMax = 65536;
constexpr std::string_view kRoot = "/sys/fs/cgroup";

}  // namespace

bool is_quota(std::string_view text) {
  return !text.empty() && text.front() >= '0' && text.front() <= '9';
}

std::optional<std::string_view> read_group_path(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    constexpr std::string_view kVersion2 = "0::";
    if (line.starts_with(kVersion2) && line.substr(kVersion2.size()).starts_with('/')) {
      return line.substr(kVersion2.size());
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return std::nullopt;
}

bool has_cpu_quota() {
  const auto groups = read_file("/proc/self/cgroup", kSizeMax);
  if (!groups) return false;
  const std::optional<std::string_view> group = read_group_path(*groups);
  if (!group) return false;
  std::filesystem::path path(*group);
  for (;;) {
    const auto quota =
        read_file(std::filesystem::path(kRoot) / path.relative_path() / "cpu.max", kSizeMax);
    if (quota && is_quota(*quota)) return true;
    if (!path.has_relative_path()) return false;
    path = path.parent_path();
  }
}

}  // namespace zt::io
