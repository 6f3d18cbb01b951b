// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/nat_verdict.h: what kind of NAT stands before a node, in the words of RFC 4787, and how
// likely direct paths are for it.
//
// Theory of operation
//   Each observer, a relay at which a node is bound, or the controller, tells it from which address
//   and port its packets come. All of them leave from one UDP port of the node, so what observers
//   see differently is the doing of a NAT:
//
//     observers see                                         mapping (RFC 4787 section 4.1)
//     the node's own address and port                       there is no NAT
//     one address and port, from two addresses              endpoint-independent
//     another from each address, one from all ports of it   address-dependent ("symmetric")
//     another from each address and port                    address and port-dependent
//     ("symmetric")
//
//   What too few observers leave open is unknown, with the reason. One that sees the node as it is
//   (it stands on the same side of the NAT) does not count beside one that does not.
//
//   How a NAT filters (section 5) is not known: nobody but observers sends to us. So a chance
//   is what mapping alone allows, if filters are as strict as is usual.
//
// Limits   The verdict is about the way to observers, and as old as their last answers. A machine
//          with two ways out, or a NAT with several addresses that does not keep to one of them
//          (section 4.1, "arbitrary" pooling), looks like one that maps by destination.
// Cost     Each pair of observers is compared: they are few.
// Threats  One may lie about what it sees. The verdict is for people; nothing depends on it.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "zt/base/ip.h"

namespace zt::path {

// Sighting is what one observer has told.
struct Sighting {
  SocketAddress observer;                 // Where the node's packets go.
  std::optional<SocketAddress> observed;  // Where they come from, as the observer sees it.

  friend bool operator==(const Sighting&, const Sighting&) = default;
};

// NetworkFacts is what a node knows of its place.
struct NetworkFacts {
  std::uint16_t port = 0;  // UDP, of both families.
  bool is_v4 = false;      // The port is open for IPv4.
  bool is_v6 = false;
  std::vector<IpAddress> addresses;       // All of the machine.
  std::vector<SocketAddress> advertised;  // Where the operator says it can be reached.
  std::vector<Sighting> sightings;
};

// Reach is how far an address family takes the node.
enum class Reach : std::uint8_t {
  proven,    // An observer on another machine is reached by it.
  unproven,  // The machine has addresses for it, and no observer is reached by it.
  local,     // Link-local and unique local (RFC 4193) addresses only.
  absent,    // The machine has no address of it.
  shut,      // The node's port is not open for it.
};

enum class NatMapping : std::uint8_t {
  none,  // No NAT on the way to the observers.
  endpoint_independent,
  address_dependent,
  address_and_port_dependent,
  dependent,     // One of the last two; no two observers at one address tell which.
  one_host,      // Unknown: all observers are at one address, and see the same.
  one_observer,  // Unknown: there is a NAT, and one observer beyond it.
  unseen,        // Unknown: no observer on another machine tells where it sees the node.
};

// Chance is with whom a direct path is likely.
enum class Chance : std::uint8_t {
  none,     // The family does not leave the local network.
  unknown,  // The mapping is not known.
  few,      // Peers whose NAT or firewall lets in an address that they have sent to, by any port.
  most,     // Peers without NAT, or behind one with endpoint-independent mapping.
  any,      // Any that can send by this family.
};

struct FamilyVerdict {
  std::vector<IpAddress> addresses;  // Usable ones of the machine, as peers are told them.
  Reach reach = Reach::absent;
  NatMapping mapping = NatMapping::unseen;
  std::optional<SocketAddress> mapped;  // Where all observers beyond the NAT see the node.
  Chance chance = Chance::none;

  friend bool operator==(const FamilyVerdict&, const FamilyVerdict&) = default;
};

struct NatVerdict {
  FamilyVerdict v4;
  FamilyVerdict v6;

  friend bool operator==(const NatVerdict&, const NatVerdict&) = default;
};

// judge_network is a pure function of the facts; the order of their lists means nothing.
[[nodiscard]] NatVerdict judge_network(const NetworkFacts& facts);

// to_text returns a word for programs; all that is not known is "unknown".
[[nodiscard]] std::string_view to_text(Reach reach);
[[nodiscard]] std::string_view to_text(NatMapping mapping);
[[nodiscard]] std::string_view to_text(Chance chance);
// explain returns a phrase for people: the verdict, and from what it follows.
[[nodiscard]] std::string_view explain(Reach reach);
[[nodiscard]] std::string_view explain(NatMapping mapping);

}  // namespace zt::path
