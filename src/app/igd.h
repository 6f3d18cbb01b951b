// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/igd.h: what is said to a UPnP Internet Gateway Device, and what it answers.
//
// Theory of operation
//   UPnP finds a device by datagrams in the form of HTTP (SSDP), reads from it by HTTP an XML
//   description of its services, and calls one of them by XML in HTTP (SOAP). Two services map
//   ports, WANIPConnection and WANPPPConnection; both have the same calls.
//
//   HTTP is read by http/http1_parser.h, XML by miniupnpc, which knows how real gateways write it.
//   These functions have no socket: app/upnp_port.h is who talks.
//
// Limits   Locations and service names of kIgdTextSizeMax; two services.
// Threats  Anybody on the local network may answer, and the gateway itself may be hostile. All that
//          a description names must be at the gateway's own address, so nobody makes us call a
//          third party. Text of the device is repeated to nobody but the device, and only if it has
//          the exact form of a service's name or of a path.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/ip.h"

namespace zt::app {

inline constexpr std::size_t kIgdTextSizeMax = 120;

// IgdLocation is an http URL on the gateway.
struct IgdLocation {
  std::uint16_t port = 80;
  std::string path = "/";

  friend bool operator==(const IgdLocation&, const IgdLocation&) = default;
};

// IgdService can map ports.
struct IgdService {
  std::string type;  // urn:schemas-upnp-org:service:WANIPConnection:1, and its like.
  IgdLocation control;

  friend bool operator==(const IgdService&, const IgdService&) = default;
};

// igd_search returns the datagram that asks for gateways (UPnP Device Architecture section 1.3.2).
[[nodiscard]] std::string igd_search();

// parse_igd_location reads an absolute URL; nothing unless it is http, at `gateway` by its address,
// and plain.
[[nodiscard]] std::optional<IgdLocation> parse_igd_location(std::string_view url,
                                                            const IpAddress& gateway);

// parse_igd_answer reads where the description is from an answer to a search.
[[nodiscard]] std::optional<IgdLocation> parse_igd_answer(std::string_view datagram,
                                                          const IpAddress& gateway);

// parse_igd_description lists the services that map ports, as the device orders them. `location` is
// where the description came from.
[[nodiscard]] std::vector<IgdService> parse_igd_description(const std::string& body,
                                                            const IgdLocation& location,
                                                            const IpAddress& gateway);

// igd_call writes a SOAP request; `arguments` are ours and hold no markup. igd_action is its
// header.
using IgdArguments = std::vector<std::pair<std::string_view, std::string>>;
[[nodiscard]] std::string igd_call(const IgdService& service, std::string_view action,
                                   const IgdArguments& arguments);
[[nodiscard]] std::string igd_action(const IgdService& service, std::string_view action);

// IgdReply is what an answer to a call says, as far as it matters.
struct IgdReply {
  std::optional<IpAddress> external;  // Of GetExternalIPAddress.
  unsigned error = 0;                 // UPnP's errorCode, if there is one.

  friend bool operator==(const IgdReply&, const IgdReply&) = default;
};
[[nodiscard]] IgdReply parse_igd_reply(const std::string& body);

}  // namespace zt::app
