// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/host.h: a host is an IP address or a DNS name; an authority is a host and a port.
//
// Theory of operation
//   Names are checked at the border and kept in one spelling: lower case, no trailing dot, letters,
//   digits, hyphens and underscores (LDH of RFC 952/1123, plus the underscore that real networks
//   use), labels of 1 to 63 characters that neither begin nor end with a hyphen, 253 in all. A name
//   whose last label is all digits or a hexadecimal number ("0x7f") is refused: resolvers would
//   read it as an IPv4 address. A name that has no such spelling cannot become a command-line
//   option, a line of a configuration file, or markup.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "zt/base/ip.h"

namespace zt {

// DnsName is a checked name in canonical spelling.
class DnsName {
 public:
  // parse accepts either case and one trailing dot, and returns nothing for what is refused above.
  [[nodiscard]] static std::optional<DnsName> parse(std::string_view text);
  [[nodiscard]] const std::string& text() const { return text_; }
  friend auto operator<=>(const DnsName&, const DnsName&) = default;
  friend bool operator==(const DnsName&, const DnsName&) = default;

 private:
  explicit DnsName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

using Host = std::variant<IpAddress, DnsName>;

// parse_host accepts an address (IPv6 with or without brackets) or a name.
[[nodiscard]] std::optional<Host> parse_host(std::string_view text);

// to_text writes a host without brackets.
[[nodiscard]] std::string to_text(const Host& host);

// Authority is the target of a CONNECT (RFC 9110 section 9.3.6): a host and a port, never a user.
struct Authority {
  Host host;
  std::uint16_t port = 0;

  // parse accepts "db.internal:5432", "10.0.0.1:22", "[fd00::1]:22". The port is required.
  [[nodiscard]] static std::optional<Authority> parse(std::string_view text);
  [[nodiscard]] std::string to_text() const;
  friend auto operator<=>(const Authority&, const Authority&) = default;
  friend bool operator==(const Authority&, const Authority&) = default;
};

// matches_wildcard tells whether `name` matches `pattern`, in which `*` stands for any characters,
// none and dots included, and `?` for exactly one. "*.x.test" does not match "x.test". Both are
// compared in lower case. Linear in the product of the sizes at worst; no recursion.
[[nodiscard]] bool matches_wildcard(std::string_view pattern, std::string_view name);

}  // namespace zt
