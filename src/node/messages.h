// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/messages.h: the names of what client and connector, or node and relay, say to each other.

#include <cstdint>
#include <string>
#include <string_view>

#include "zt/base/secret.h"
#include "zt/http/message.h"
#include "zt/wire/draining.h"
#include "zt/wire/proxy_status.h"

namespace zt::node {

// A client presents a renewed grant by POST to this path of a connector.
inline constexpr std::string_view kGrantPath = "/.well-known/zt/grant";
// A node posts flow reports to this path of its controller.
inline constexpr std::string_view kEventsPath = "/api/v1/node/events";
// The :protocol of a UDP flow's extended CONNECT (RFC 9298 section 3.4).
inline constexpr std::string_view kConnectUdpProtocol = "connect-udp";
// The response field in which a connector says under which id it reports the flow.
inline constexpr std::string_view kFlowField = "zt-flow";

// The codes with which streams end early (RFC 9114 section 8.1, RFC 9110 section 9.3.6).
inline constexpr std::uint64_t kStreamNoError = 0x100;           // H3_NO_ERROR
inline constexpr std::uint64_t kStreamRequestCancelled = 0x10c;  // H3_REQUEST_CANCELLED
inline constexpr std::uint64_t kStreamConnectError = 0x10f;      // H3_CONNECT_ERROR: reset by TCP.

// bearer_token returns the credential of `name: Bearer …` (RFC 6750 section 2.1); empty if there is
// none.
[[nodiscard]] inline Secret bearer_token(const http::Fields& fields, std::string_view name) {
  constexpr std::string_view kScheme = "Bearer ";
  const auto value = fields.find(name);
  if (!value || !value->starts_with(kScheme)) return Secret();
  return Secret(value->substr(kScheme.size()));
}

// refusal_response is the answer of `proxy` that says no, and why (RFC 9209).
[[nodiscard]] inline http::Response refusal_response(std::string_view proxy, int status,
                                                     wire::ProxyError error,
                                                     std::string_view details) {
  http::Response response{.status = status};
  response.fields.add(
      "proxy-status",
      wire::to_text(wire::ProxyStatus{
          .proxy = std::string(proxy), .error = error, .details = std::string(details)}));
  return response;
}

// draining_response refuses because `proxy` is about to end (wire/draining.h).
[[nodiscard]] inline http::Response draining_response(std::string_view proxy,
                                                      std::string_view details) {
  http::Response response =
      refusal_response(proxy, 503, wire::ProxyError::destination_unavailable, details);
  response.fields.add(std::string(wire::kDrainingField), std::string(wire::kDrainingValue));
  return response;
}

}  // namespace zt::node
