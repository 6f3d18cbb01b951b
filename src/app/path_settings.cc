// SPDX-License-Identifier: Apache-2.0
#include "app/path_settings.h"

#include <fmt/format.h>

#include "zt/base/ip.h"
#include "zt/wire/candidates.h"

namespace zt::app {

void PathSettings::add_to(CLI::App& command) {
  command.add_flag("--always-relay", is_always_relayed,
                   "Never use a direct path; peers are not told this machine's addresses");
  command.add_flag("--no-port-mapping", is_port_unmapped,
                   "Do not ask the gateway for a port that lets peers in (PCP, NAT-PMP, UPnP-IGD). "
                   "Behind a NAT it is asked for one, and told to take it back at the end");
  command.add_option("--udp-port", udp_port, "UDP port to send from; 0 takes any free one")
      ->capture_default_str();
  command.add_option("--advertise", advertised,
                     "ADDRESS:PORT at which peers reach this machine's UDP port, such as a port "
                     "that a firewall forwards. Repeatable");
}

std::expected<void, std::string> PathSettings::apply(node::Link::Config& link) const {
  if (is_always_relayed && !advertised.empty()) {
    return std::unexpected("--advertise has no use with --always-relay");
  }
  if (advertised.size() > wire::kCandidatesMax / 2) {
    return std::unexpected(
        fmt::format("--advertise: at most {} addresses", wire::kCandidatesMax / 2));
  }
  for (const std::string& text : advertised) {
    const auto address = SocketAddress::parse(text);
    if (!address || address->port == 0) {
      return std::unexpected(fmt::format("--advertise {}: not ADDRESS:PORT", text));
    }
    if (kind_of(address->ip) != AddressKind::global) {
      return std::unexpected(fmt::format("--advertise {}: peers do not send to {} addresses", text,
                                         zt::to_text(kind_of(address->ip))));
    }
    link.advertised.push_back(*address);
  }
  link.mapping.is_wanted = !is_port_unmapped;
  if (is_always_relayed) link.paths.policy = Paths::always_relay;
  return {};
}

}  // namespace zt::app
