// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/flow_report.h: what one end of a flow tells the central log about it.
//
// Theory of operation
//   A flow is reported once when it opens and once when it closes, or once when it never opened:
//   `denied` if somebody said no, `failed` if something was out of order. Both ends report what
//   they saw, each under its own name. Absent things are empty or zero.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"

namespace zt {

enum class FlowEvent : std::uint8_t { opened, closed, denied, failed };

// to_text returns the enumerator's name, as it stands in the log.
[[nodiscard]] constexpr std::string_view to_text(FlowEvent event) {
  switch (event) {
    case FlowEvent::opened:
      return "opened";
    case FlowEvent::closed:
      return "closed";
    case FlowEvent::denied:
      return "denied";
    case FlowEvent::failed:
      return "failed";
  }
  return "unknown";
}

enum class FlowReporter : std::uint8_t { connector, client };

[[nodiscard]] constexpr std::string_view to_text(FlowReporter reporter) {
  return reporter == FlowReporter::connector ? "connector" : "client";
}

struct FlowReport {
  FlowId flow;
  FlowEvent event{};
  FlowReporter reporter{};
  UnixTime time;
  DecisionId decision;
  GrantId grant;
  SubjectId subject;
  DeviceId device;
  ResourceId resource;
  NetworkId network;
  ConnectorId connector;
  std::optional<SocketAddress>
      client_address;  // As the connector sees it: a relay's, when relayed.
  std::string target;  // "host:port" as asked for.
  std::optional<SocketAddress> target_address;  // Where the connector dialled.
  Protocol protocol = Protocol::tcp;
  std::uint64_t bytes_up = 0;    // Client to resource.
  std::uint64_t bytes_down = 0;  // Resource to client.
  Duration duration{};           // From open to close.
  std::string reason;            // Of the end; for people and for searching.
  std::string path;              // "relayed:rly_…" or "direct".

  friend bool operator==(const FlowReport&, const FlowReport&) = default;
};

}  // namespace zt
