// SPDX-License-Identifier: Apache-2.0
#include "zt/http/url.h"

#include <algorithm>

#include "http/text.h"

namespace zt::http {

namespace {

constexpr std::uint16_t kHttpsPort = 443;

// is_path tells whether `text` is an absolute path (RFC 3986 section 3.3) without dot segments,
// also when their dots are percent-encoded.
bool is_path(std::string_view text) {
  constexpr std::string_view kOthers = "-._~!$&'()*+,;=:@/";
  if (text.empty() || text.front() != '/') return false;
  std::string segment;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return false;
      const auto high = hex_value(text[i + 1]);
      const auto low = hex_value(text[i + 2]);
      if (!high || !low) return false;
      c = static_cast<char>(*high * 16U + *low);
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
      i += 2;
    } else if (!is_alpha(c) && !is_digit(c) && kOthers.find(c) == std::string_view::npos) {
      return false;
    }
    if (c != '/') {
      segment += c;
      if (i + 1 < text.size()) continue;
    }
    if (segment == "." || segment == "..") return false;
    segment.clear();
  }
  return true;
}

struct HostAndPort {
  std::string_view host;
  std::optional<std::string_view> port;
};

// split takes "host", "host:port", "[v6]" or "[v6]:port" apart. The host keeps its brackets.
std::optional<HostAndPort> split(std::string_view text) {
  std::size_t host_size = text.find(':');
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    host_size = bracket + 1;
    if (host_size == text.size()) host_size = std::string_view::npos;
  }
  if (host_size == std::string_view::npos) return HostAndPort{text, std::nullopt};
  if (text[host_size] != ':' || text.find_first_of(":@", host_size + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return HostAndPort{text.substr(0, host_size), text.substr(host_size + 1)};
}

// parse_bracketed_host is parse_host for URLs, where exactly the IPv6 addresses have brackets.
std::optional<Host> parse_bracketed_host(std::string_view text) {
  const auto host = parse_host(text);
  if (!host) return std::nullopt;
  const auto* address = std::get_if<IpAddress>(&*host);
  const bool is_v6 = address != nullptr && address->is_v6();
  return is_v6 == text.starts_with('[') ? host : std::nullopt;
}

}  // namespace

std::string_view to_text(UrlError error) {
  switch (error) {
    case UrlError::not_https:
      return "it does not begin with https://";
    case UrlError::host:
      return "the host is neither a name nor an address";
    case UrlError::port:
      return "the port is not a number from 1 to 65535";
    case UrlError::path:
      return "the path has a query, a fragment, dot segments, or characters that do not belong "
             "there";
    case UrlError::too_long:
      return "it is too long";
  }
  return "unknown";
}

std::expected<Url, UrlError> Url::parse(std::string_view text) {
  constexpr std::string_view kScheme = "https://";
  if (text.size() > kUrlSizeMax) return std::unexpected(UrlError::too_long);
  if (!equals_ignoring_case(text.substr(0, kScheme.size()), kScheme)) {
    return std::unexpected(UrlError::not_https);
  }
  text.remove_prefix(kScheme.size());
  const std::size_t authority_size = std::min(text.find_first_of("/?#\\"), text.size());
  const auto parts = split(text.substr(0, authority_size));
  if (!parts) return std::unexpected(UrlError::host);
  Url url;
  const auto host = parse_bracketed_host(parts->host);
  if (!host) return std::unexpected(UrlError::host);
  url.host = *host;
  if (parts->port) {
    const auto port = parse_port(*parts->port);
    if (!port) return std::unexpected(UrlError::port);
    url.port = *port;
  }
  const std::string_view path = text.substr(authority_size);
  if (!path.empty()) {
    if (!is_path(path)) return std::unexpected(UrlError::path);
    url.path = path;
  }
  return url;
}

std::string Url::to_text() const {
  return "https://" + authority() + path;
}

std::string Url::authority() const {
  std::string text = Authority{.host = host, .port = port}.to_text();
  if (port == kHttpsPort) text.erase(text.rfind(':'));
  return text;
}

std::optional<Authority> parse_host_and_port(std::string_view text, std::uint16_t port_default) {
  const auto parts = split(text);
  if (!parts) return std::nullopt;
  const auto host = parse_bracketed_host(parts->host);
  if (!host) return std::nullopt;
  if (!parts->port) return Authority{.host = *host, .port = port_default};
  const auto port = parse_port(*parts->port);
  if (!port) return std::nullopt;
  return Authority{.host = *host, .port = *port};
}

}  // namespace zt::http
