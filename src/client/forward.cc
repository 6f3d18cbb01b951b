// SPDX-License-Identifier: Apache-2.0
#include "zt/client/forward.h"

#include <fmt/format.h>

namespace zt::client {
namespace {

constexpr std::string_view kTcpPrefix = "tcp:";
constexpr std::string_view kUdpPrefix = "udp:";

// parse_bind_address accepts an IPv4 address, or an IPv6 address in brackets.
std::optional<IpAddress> parse_bind_address(std::string_view text) {
  const bool has_brackets = text.starts_with('[') && text.ends_with(']');
  if (has_brackets) text = text.substr(1, text.size() - 2);
  const auto address = IpAddress::parse(text);
  if (!address || address->is_v6() != has_brackets) return std::nullopt;
  return address;
}

// parse_local_port accepts what parse_port does, and 0.
std::optional<std::uint16_t> parse_local_port(std::string_view text) {
  if (text == "0") return std::uint16_t{0};
  return parse_port(text);
}

}  // namespace

std::expected<Forward, ForwardError> Forward::parse(std::string_view text) {
  Forward forward{
      .protocol = Protocol::tcp, .bind = {IpAddress::v4({127, 0, 0, 1}), 0}, .target = {}};
  if (text.starts_with(kTcpPrefix) || text.starts_with(kUdpPrefix)) {
    if (text.starts_with(kUdpPrefix)) forward.protocol = Protocol::udp;
    text.remove_prefix(kUdpPrefix.size());
  }
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return std::unexpected(ForwardError::no_equals_sign);
  std::string_view local = text.substr(0, equals);
  if (const std::size_t colon = local.rfind(':'); colon != std::string_view::npos) {
    const auto address = parse_bind_address(local.substr(0, colon));
    if (!address) return std::unexpected(ForwardError::bad_bind);
    forward.bind.ip = *address;
    local.remove_prefix(colon + 1);
  }
  const auto port = parse_local_port(local);
  if (!port) return std::unexpected(ForwardError::bad_port);
  forward.bind.port = *port;
  const auto target = Authority::parse(text.substr(equals + 1));
  if (!target) return std::unexpected(ForwardError::bad_target);
  forward.target = *target;
  return forward;
}

std::string Forward::to_text() const {
  return fmt::format("{}{}={}", protocol == Protocol::udp ? kUdpPrefix : "", bind.to_text(),
                     target.to_text());
}

std::string explain(ForwardError error, std::string_view text) {
  std::string_view what;
  switch (error) {
    case ForwardError::no_equals_sign:
      what = "there is no \"=\" between the local port and the target";
      break;
    case ForwardError::bad_bind:
      what = "what stands before the local port is not an IP address (IPv6 in brackets)";
      break;
    case ForwardError::bad_port:
      what = "the local port is not a number from 0 to 65535";
      break;
    case ForwardError::bad_target:
      what = "the target is not HOST:PORT";
      break;
  }
  return fmt::format("\"{}\" is no forward: {}; expected [udp:][BIND:]PORT=HOST:PORT", text, what);
}

}  // namespace zt::client
