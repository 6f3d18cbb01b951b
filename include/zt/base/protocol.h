// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/protocol.h: what a flow speaks above IP, and ranges of its ports.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/ip.h"

namespace zt {

enum class Protocol : std::uint8_t { tcp, udp };

// to_text returns "tcp" or "udp".
[[nodiscard]] constexpr std::string_view to_text(Protocol protocol) {
  return protocol == Protocol::tcp ? "tcp" : "udp";
}

// parse_protocol accepts exactly what to_text writes.
[[nodiscard]] constexpr std::optional<Protocol> parse_protocol(std::string_view text) {
  if (text == "tcp") return Protocol::tcp;
  if (text == "udp") return Protocol::udp;
  return std::nullopt;
}

// PortRange is the ports from `first` to `last`, both included; 1 <= first <= last.
struct PortRange {
  std::uint16_t first = 1;
  std::uint16_t last = 65535;

  // parse accepts one port ("5432") or two with a hyphen ("8000-8100"), each as parse_port does,
  // the second above the first: one range has one spelling.
  [[nodiscard]] static std::optional<PortRange> parse(std::string_view text) {
    const std::size_t hyphen = text.find('-');
    const std::optional<std::uint16_t> first = parse_port(text.substr(0, hyphen));
    if (!first) return std::nullopt;
    if (hyphen == std::string_view::npos) return PortRange{.first = *first, .last = *first};
    const std::optional<std::uint16_t> last = parse_port(text.substr(hyphen + 1));
    if (!last || *last <= *first) return std::nullopt;
    return PortRange{.first = *first, .last = *last};
  }

  [[nodiscard]] std::string to_text() const {
    if (first == last) return std::to_string(first);
    return std::to_string(first) + "-" + std::to_string(last);
  }

  [[nodiscard]] constexpr bool contains(std::uint16_t port) const {
    return first <= port && port <= last;
  }

  friend auto operator<=>(const PortRange&, const PortRange&) = default;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

}  // namespace zt
