// SPDX-License-Identifier: Apache-2.0
#include "zt/path/nat_verdict.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace zt::path {

namespace {

// Place is an observation that counts: of an observer on another machine that tells what it sees.
struct Place {
  SocketAddress observer;
  SocketAddress observed;
};

// is_unique_local: RFC 4193, fc00::/7.
bool is_unique_local(const IpAddress& address) {
  return address.is_v6() && (address.octets()[0] & 0xfeU) == 0xfcU;
}

bool is_elsewhere(const Sighting& sighting) {
  return kind_of(sighting.observer.ip) != AddressKind::loopback;
}

Reach reach_of(const NetworkFacts& facts, bool is_v6, const std::vector<IpAddress>& usable) {
  if (!(is_v6 ? facts.is_v6 : facts.is_v4)) return Reach::shut;
  const bool is_bound = std::ranges::any_of(facts.sightings, [is_v6](const Sighting& sighting) {
    return sighting.observer.ip.is_v6() == is_v6 && is_elsewhere(sighting);
  });
  if (is_bound) return Reach::proven;
  if (!std::ranges::all_of(usable, is_unique_local)) return Reach::unproven;
  const bool is_local = std::ranges::any_of(facts.addresses, [is_v6](const IpAddress& address) {
    return address.is_v6() == is_v6 && kind_of(address) == AddressKind::link_local;
  });
  return is_local || !usable.empty() ? Reach::local : Reach::absent;
}

// mapping_of judges by the places that are behind a NAT.
NatMapping mapping_of(const std::vector<Place>& translated) {
  struct Seen {
    bool same = false;
    bool different = false;
  };
  Seen by_ports_of_host;  // By two ports of one address.
  Seen by_hosts;          // By two addresses.
  for (std::size_t i = 0; i < translated.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Place& a = translated[i];
      const Place& b = translated[j];
      if (a.observer == b.observer) continue;
      Seen& seen = a.observer.ip == b.observer.ip ? by_ports_of_host : by_hosts;
      (a.observed == b.observed ? seen.same : seen.different) = true;
    }
  }
  if (by_ports_of_host.different) return NatMapping::address_and_port_dependent;
  if (by_hosts.different) {
    return by_ports_of_host.same ? NatMapping::address_dependent : NatMapping::dependent;
  }
  if (by_hosts.same) return NatMapping::endpoint_independent;
  return by_ports_of_host.same ? NatMapping::one_host : NatMapping::one_observer;
}

std::vector<Place> places_of(const NetworkFacts& facts, bool is_v6) {
  std::vector<Place> places;
  for (const Sighting& sighting : facts.sightings) {
    if (sighting.observer.ip.is_v6() != is_v6 || !is_elsewhere(sighting)) continue;
    if (!sighting.observed || kind_of(sighting.observed->ip) != AddressKind::global) continue;
    places.push_back({.observer = sighting.observer, .observed = *sighting.observed});
  }
  return places;
}

// judge_mapping sets `mapping` and `mapped`.
void judge_mapping(const NetworkFacts& facts, std::vector<Place> places, FamilyVerdict& verdict) {
  if (places.empty()) return;
  std::erase_if(places, [&facts](const Place& place) {
    return place.observed.port == facts.port &&
           std::ranges::find(facts.addresses, place.observed.ip) != facts.addresses.end();
  });
  verdict.mapping = places.empty() ? NatMapping::none : mapping_of(places);
  if (places.empty()) return;
  const SocketAddress& first = places.front().observed;
  const bool is_same =
      std::ranges::all_of(places, [&first](const Place& place) { return place.observed == first; });
  if (is_same) verdict.mapped = first;
}

Chance chance_of(const NetworkFacts& facts, bool is_v6, Reach reach, NatMapping mapping) {
  if (reach != Reach::proven && reach != Reach::unproven) return Chance::none;
  const bool is_advertised = std::ranges::any_of(
      facts.advertised,
      [is_v6](const SocketAddress& address) { return address.ip.is_v6() == is_v6; });
  if (is_advertised) return Chance::any;
  switch (mapping) {
    case NatMapping::none:
      return Chance::any;
    case NatMapping::endpoint_independent:
      return Chance::most;
    case NatMapping::address_dependent:
    case NatMapping::address_and_port_dependent:
    case NatMapping::dependent:
      return Chance::few;
    case NatMapping::one_host:
    case NatMapping::one_observer:
    case NatMapping::unseen:
      return Chance::unknown;
  }
  return Chance::unknown;
}

FamilyVerdict judge_family(const NetworkFacts& facts, bool is_v6) {
  FamilyVerdict verdict;
  std::ranges::copy_if(facts.addresses, std::back_inserter(verdict.addresses),
                       [is_v6](const IpAddress& address) {
                         return address.is_v6() == is_v6 && kind_of(address) == AddressKind::global;
                       });
  std::ranges::sort(verdict.addresses);
  verdict.reach = reach_of(facts, is_v6, verdict.addresses);
  judge_mapping(facts, places_of(facts, is_v6), verdict);
  verdict.chance = chance_of(facts, is_v6, verdict.reach, verdict.mapping);
  return verdict;
}

}  // namespace

NatVerdict judge_network(const NetworkFacts& facts) {
  return {.v4 = judge_family(facts, false), .v6 = judge_family(facts, true)};
}

std::string_view to_text(Reach reach) {
  switch (reach) {
    case Reach::proven:
      return "usable";
    case Reach::unproven:
      return "unproven";
    case Reach::local:
      return "local";
    case Reach::absent:
      return "absent";
    case Reach::shut:
      return "shut";
  }
  return "";
}

std::string_view to_text(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::none:
      return "none";
    case NatMapping::endpoint_independent:
      return "endpoint-independent";
    case NatMapping::address_dependent:
      return "address-dependent";
    case NatMapping::address_and_port_dependent:
      return "address-and-port-dependent";
    case NatMapping::dependent:
      return "dependent";
    case NatMapping::one_host:
    case NatMapping::one_observer:
    case NatMapping::unseen:
      return "unknown";
  }
  return "";
}

std::string_view to_text(Chance chance) {
  switch (chance) {
    case Chance::none:
      return "none";
    case Chance::unknown:
      return "unknown";
    case Chance::few:
      return "few";
    case Chance::most:
      return "most";
    case Chance::any:
      return "any";
  }
  return "";
}

std::string_view explain(Reach reach) {
  switch (reach) {
    case Reach::proven:
      return "usable: a relay or the controller is reached by it";
    case Reach::unproven:
      return "this machine has addresses, but neither a relay nor the controller is reached by it";
    case Reach::local:
      return "local addresses only";
    case Reach::absent:
      return "this machine has no address of it";
    case Reach::shut:
      return "the UDP port is not open for it";
  }
  return "";
}

std::string_view explain(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::none:
      return "no NAT: relays and controller see this machine's own address and port";
    case NatMapping::endpoint_independent:
      return "endpoint-independent mapping: relays and controller, at different addresses, see the "
             "same address and port";
    case NatMapping::address_dependent:
      return "address-dependent mapping: another address or port for each relay's address, the "
             "same for its ports";
    case NatMapping::address_and_port_dependent:
      return "address and port-dependent mapping: another address or port even for two ports of "
             "one relay's address";
    case NatMapping::dependent:
      return "address-dependent, or address and port-dependent mapping: each relay's address sees "
             "another address or port; two relays at one address would tell which";
    case NatMapping::one_host:
      return "unknown: there is a NAT, and relays and controller are at one address and see the "
             "same; a relay at another address would tell whether its mapping is "
             "endpoint-independent or "
             "address-dependent";
    case NatMapping::one_observer:
      return "unknown: there is a NAT, and from one place alone its mapping cannot be told";
    case NatMapping::unseen:
      return "unknown: no relay on another machine, nor the controller, tells where it sees this "
             "one";
  }
  return "";
}

}  // namespace zt::path
