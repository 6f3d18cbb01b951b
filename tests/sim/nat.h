// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/nat.h: a network address translator in the words of RFC 4787.
//
// Theory of operation
//   A Nat has one external address. A mapping is an internal address and port, an external port,
//   and, if the mapping's behaviour is not endpoint-independent, the destination that it is for
//   (RFC 4787 section 4.1). Each mapping remembers where it has sent to; the filtering behaviour
//   says which sources may send to it (section 5). Both time out without outbound packets
//   (section 4.3: an outbound packet refreshes, an inbound one does not).
//
//   Hairpinning (section 6): a packet from inside to the external address comes back in, with an
//   external source; without it, it is dropped.
//
//   translate functions return where a packet comes from or goes to on the other side, and change
//   no packet: whoever moves packets applies the answer. A firewall without translation is
//   `is_translating` false: the external address is the internal one, and only the filter is left.
//
// Limits: mappings_max; a packet that needs one more is dropped. External ports are given out in
//   the order of first_port; they are not preserved and not predictable by the other side.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "zt/base/ip.h"
#include "zt/base/time.h"

namespace zt::sim {

enum class NatBehavior : std::uint8_t {
  endpoint_independent,
  address_dependent,
  address_and_port_dependent,
};
[[nodiscard]] std::string_view to_text(NatBehavior behavior);

// NatKind is a pair of behaviours under the name that it had before RFC 4787 (RFC 3489 section 5).
struct NatKind {
  std::string_view name;
  NatBehavior mapping;
  NatBehavior filtering;
};
inline constexpr NatKind kFullCone{.name = "full cone",
                                   .mapping = NatBehavior::endpoint_independent,
                                   .filtering = NatBehavior::endpoint_independent};
inline constexpr NatKind kRestrictedCone{.name = "restricted cone",
                                         .mapping = NatBehavior::endpoint_independent,
                                         .filtering = NatBehavior::address_dependent};
inline constexpr NatKind kPortRestrictedCone{.name = "port-restricted cone",
                                             .mapping = NatBehavior::endpoint_independent,
                                             .filtering = NatBehavior::address_and_port_dependent};
inline constexpr NatKind kSymmetric{.name = "symmetric",
                                    .mapping = NatBehavior::address_and_port_dependent,
                                    .filtering = NatBehavior::address_and_port_dependent};
// Those whose mapping depends on the address only have no such name.
inline constexpr NatKind kAddressMapped{.name = "address-dependent",
                                        .mapping = NatBehavior::address_dependent,
                                        .filtering = NatBehavior::address_dependent};
inline constexpr NatKind kAddressMappedStrict{.name = "address-dependent, filtering ports",
                                              .mapping = NatBehavior::address_dependent,
                                              .filtering = NatBehavior::address_and_port_dependent};
// kNatKinds has each mapping, each filtering, and no pair that would let in from anywhere what each
// destination is mapped anew for.
inline constexpr std::array kNatKinds{kFullCone,  kRestrictedCone, kPortRestrictedCone,
                                      kSymmetric, kAddressMapped,  kAddressMappedStrict};

class Nat {
 public:
  struct Config {
    IpAddress external;
    NatBehavior mapping = NatBehavior::endpoint_independent;
    NatBehavior filtering = NatBehavior::address_and_port_dependent;
    bool is_hairpinning = false;
    bool is_translating = true;
    Duration timeout = std::chrono::minutes(2);  // RFC 4787 REQ-5.
    std::uint16_t first_port = 20000;
    std::size_t mappings_max = 1024;
  };

  explicit Nat(const Config& config) : config_(config), next_port_(config.first_port) {}

  // outbound returns the external source of a packet from inside; nothing: dropped.
  [[nodiscard]] std::optional<SocketAddress> outbound(const SocketAddress& source,
                                                      const SocketAddress& destination,
                                                      Instant now);
  // inbound returns the internal destination of a packet from outside; nothing: dropped.
  [[nodiscard]] std::optional<SocketAddress> inbound(const SocketAddress& source,
                                                     const SocketAddress& destination,
                                                     Instant now) const;

  struct Translated {
    SocketAddress source;
    SocketAddress destination;

    friend bool operator==(const Translated&, const Translated&) = default;
  };
  // hairpin turns a packet from inside to the own external address back; nothing: dropped.
  [[nodiscard]] std::optional<Translated> hairpin(const SocketAddress& source,
                                                  const SocketAddress& destination, Instant now);

  // forget loses all mappings, as a restart of the device does.
  void forget() { mappings_.clear(); }

  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] std::size_t mapping_count() const { return mappings_.size(); }

 private:
  // Key names a mapping: the internal source, and what of the destination it depends on.
  using Key = std::tuple<SocketAddress, IpAddress, std::uint16_t>;
  struct Mapping {
    std::uint16_t external_port = 0;
    Instant expires;
    std::map<SocketAddress, Instant> sent_to;  // And until when its answers are let in.
  };

  [[nodiscard]] Key key_of(const SocketAddress& source, const SocketAddress& destination) const;
  [[nodiscard]] bool is_let_in(const Mapping& mapping, const SocketAddress& source,
                               Instant now) const;

  Config config_;
  std::uint16_t next_port_;
  std::map<Key, Mapping> mappings_;
};

// nat_config returns the defaults with the behaviour of `kind`.
[[nodiscard]] Nat::Config nat_config(const NatKind& kind, const IpAddress& external);

}  // namespace zt::sim
