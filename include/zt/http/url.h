// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/url.h: where a service of ours is: an https URL, read strictly.
//
// Theory of operation
//   A Url is what a person types or a token carries as the address of a controller. There is one
//   spelling for each: no user, no query, no fragment, no dot segments, no other scheme. Anything a
//   second parser might read differently is refused (RFC 3986).

#include <compare>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/host.h"

namespace zt::http {

inline constexpr std::size_t kUrlSizeMax = 2048;

enum class UrlError : std::uint8_t {
  not_https,  // Another scheme, or none.
  host,       // No host, a host that is neither an address nor a name, or a user before it.
  port,       // Not 1 to 65535 in decimal.
  path,       // A query, a fragment, a dot segment, or a character that a path cannot have.
  too_long,   // Longer than kUrlSizeMax.
};
[[nodiscard]] std::string_view to_text(UrlError error);

struct Url {
  Host host;
  std::uint16_t port = 443;
  std::string path = "/";  // Begins with a slash.

  // parse accepts "https://host[:port][/path]"; an IPv6 address stands in brackets.
  [[nodiscard]] static std::expected<Url, UrlError> parse(std::string_view text);

  // to_text writes the URL without a default port.
  [[nodiscard]] std::string to_text() const;

  // authority writes "host" or "host:port" (if the port is not 443), as in :authority and Host.
  [[nodiscard]] std::string authority() const;

  friend auto operator<=>(const Url&, const Url&) = default;
  friend bool operator==(const Url&, const Url&) = default;
};

// parse_host_and_port reads the value of :authority or Host: "host" or "host:port", IPv6 in
// brackets. Without a port, `port_default` holds.
[[nodiscard]] std::optional<Authority> parse_host_and_port(std::string_view text,
                                                           std::uint16_t port_default);

}  // namespace zt::http
