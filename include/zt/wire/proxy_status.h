// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/proxy_status.h: why a flow was not carried, as the Proxy-Status field (RFC 9209).
//
// Theory of operation
//   The field is a list of Structured Fields (RFC 8941): one member for each proxy on the way, the
//   nearest to the target first, with parameters. Written: our one member. Read: every member with
//   the parameters that we know; unknown parameters of any type are skipped, and a field that is no
//   list of tokens or strings with parameters is refused as a whole (RFC 8941 section 4.2).
// Limits: kProxyStatusSizeMax bytes, kProxyStatusMembersMax members, kProxyStatusParametersMax
//   parameters a member.
// Threats: `details` comes from a peer and may reach a terminal. It is printable ASCII by its type;
//   it may still lie.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zt::wire {

inline constexpr std::size_t kProxyStatusSizeMax = 8192;
inline constexpr std::size_t kProxyStatusMembersMax = 16;
inline constexpr std::size_t kProxyStatusParametersMax = 16;

// ProxyError is a proxy error type of RFC 9209 section 2.3; each enumerator's text is its own name.
enum class ProxyError : std::uint8_t {
  dns_timeout,
  dns_error,
  destination_not_found,
  destination_unavailable,
  destination_ip_prohibited,
  destination_ip_unroutable,
  connection_refused,
  connection_terminated,
  connection_timeout,
  connection_read_timeout,
  connection_write_timeout,
  connection_limit_reached,
  tls_protocol_error,
  tls_certificate_error,
  tls_alert_received,
  http_request_error,
  http_request_denied,
  http_response_incomplete,
  http_response_header_section_size,
  http_response_header_size,
  http_response_body_size,
  http_response_trailer_section_size,
  http_response_trailer_size,
  http_response_transfer_coding,
  http_response_content_coding,
  http_response_timeout,
  http_upgrade_failed,
  http_protocol_error,
  proxy_internal_response,
  proxy_internal_error,
  proxy_configuration_error,
  proxy_loop_detected,
};

[[nodiscard]] std::string_view to_text(ProxyError error);
[[nodiscard]] std::optional<ProxyError> parse_proxy_error(std::string_view text);

// ProxyStatus is one member of the field.
struct ProxyStatus {
  std::string proxy;  // Who speaks, e.g. "zt-connector": a token where it can be, a string else.
  std::optional<ProxyError> error;
  std::string details;  // For people. Empty means absent.

  friend bool operator==(const ProxyStatus&, const ProxyStatus&) = default;
};

// to_text writes one member, as in `zt-connector; error=dns_error; details="no such name"`. Bytes
// of `proxy` and `details` that a string cannot hold become question marks.
[[nodiscard]] std::string to_text(const ProxyStatus& status);

// parse_proxy_status reads the field; nothing if it is malformed or above a limit. Unknown error
// types are absent errors.
[[nodiscard]] std::optional<std::vector<ProxyStatus>> parse_proxy_status(std::string_view field);

}  // namespace zt::wire
