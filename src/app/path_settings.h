// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/path_settings.h: the flags by which an operator says how a node may be reached.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "node/link.h"

namespace zt::app {

struct PathSettings {
  bool is_always_relayed = false;
  bool is_port_unmapped = false;
  std::uint16_t udp_port = 0;  // 0: any.
  std::vector<std::string> advertised;

  void add_to(CLI::App& command);
  // apply returns what is wrong with a flag, as a sentence.
  [[nodiscard]] std::expected<void, std::string> apply(node::Link::Config& link) const;
};

}  // namespace zt::app
