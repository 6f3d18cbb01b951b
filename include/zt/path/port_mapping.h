// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/port_mapping.h: asks the gateway to let the world in at one UDP port of ours.
//
// Theory of operation
//   A NAT gives us an outside port for each flow that we begin, and a strict one lets nobody in but
//   whom we have sent to. Most gateways can be asked for a port that stays and is open to all; it
//   makes one end reachable, and one is enough for a direct path. Three ways to ask:
//
//     PCP, NAT-PMP   datagrams to the gateway (wire/port_control.h)         first
//     UPnP-IGD       HTTP to the gateway, which the owner of this does      if they bring nothing
//
//   The requests are the same for a new mapping, for a renewal, and for one that the gateway has
//   forgotten: make it be so. Therefore there is one loop:
//
//     ask ──► mapped ──► after `check_interval`, or half of the lifetime: ask again
//      ▲ no answer: again, after 3 s, then twice that and so on (RFC 6887 section 8.1.1), PCP and
//      │ NAT-PMP in turn until one is answered; UPnP-IGD from the second try on
//      └ refused: again when the gateway says, within `refused_min` and `refused_max`
//
//   A gateway that answers PCP by "unsupported version" of NAT-PMP is asked by NAT-PMP at once (RFC
//   6887 appendix A), with the shorter waits of RFC 6886 section 3.1. What answers first is used;
//   PCP and NAT-PMP take the place of UPnP-IGD when they answer later.
//
//   A gateway that restarts forgets its mappings and says so to all by multicast. We do not listen:
//   a mapping is asked for again once in `check_interval` in any case.
//
//   `lifetime` is short, so that what a crash leaves at the gateway is open for some minutes only.
//   In order we delete: when no mapping is wanted any more, and at the end.
//
//   The external address must be a public one. If it is not, there is another NAT beyond the
//   gateway, and nobody outside can use the mapping: it is deleted, and `not_public` says why.
//
// Shape: base/engine.h. IPv4 only: in IPv6 there is nothing to map, and finders open firewalls
//   themselves.
// Limits   One mapping. An answer counts only while a request waits for it, so whatever is
//          answered, our mind changes at most once for each request of ours.
// Time     Deadlines are checked on every call. What the gateway says of time is clamped.
// Threats  What is made of all this is one more address that peers probe under a key
// (wire/probe.h):
//          who lies here gains nothing but probes.
//   - A stranger: the datagram must come from the gateway's address and port; an answer of PCP must
//     repeat our nonce, and all must name our port. On the local network a source can be forged,
//     and NAT-PMP has no nonce.
//   - The gateway itself may lie about the external address: peers then probe somebody else, within
//     the bounds of path/finder.h, which hold for any candidate.
//   - A mapping opens the port to all: it is the port of QUIC, which takes strangers' packets as
//     the relay's does.

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <variant>

#include "zt/base/bytes.h"
#include "zt/base/engine.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/wire/port_control.h"

namespace zt::path {

enum class MappingMethod : std::uint8_t { pcp, nat_pmp, upnp };
[[nodiscard]] std::string_view to_text(MappingMethod method);  // "PCP", "NAT-PMP", "UPnP-IGD".

// MappingFailure is why there is no mapping.
enum class MappingFailure : std::uint8_t {
  no_answer,    // Nothing speaks any of the three there, or it is gone.
  refused,      // The gateway does not want to.
  exhausted,    // It has no more ports or memory for us.
  no_uplink,    // It is not connected itself.
  not_public,   // Its external address is not public: there is a NAT beyond it.
  short_lived,  // It grants less than `lifetime_min`.
  endless,      // It only makes mappings that never end: a crash would leave the port open.
  unsupported,  // Its answer cannot be used: another version, or nonsense.
};
[[nodiscard]] std::string_view to_text(MappingFailure failure);  // A word for programs.
[[nodiscard]] std::string_view explain(MappingFailure failure);  // A clause for people.

// MappingPlace is what to map, and where.
struct MappingPlace {
  IpAddress gateway;       // IPv4.
  SocketAddress internal;  // Our UDP port, at the address from which the gateway sees us.

  friend bool operator==(const MappingPlace&, const MappingPlace&) = default;
};

struct Mapping {
  MappingMethod method = MappingMethod::pcp;
  SocketAddress external;
  Duration lifetime{};  // As granted last.
  Instant expires;

  friend bool operator==(const Mapping&, const Mapping&) = default;
};

struct MappingStatus {
  std::optional<MappingPlace> place;  // None: no mapping is wanted.
  std::optional<Mapping> mapping;
  std::optional<MappingFailure> failure;  // Without a mapping: why. Neither: it is being asked.
};

// is_public tells whether an address is IPv4 and one of those that the internet routes (the IANA
// registry of special-purpose addresses).
[[nodiscard]] bool is_public(const IpAddress& address);

// --- Inputs.

// PlaceChanged begins anew, also with the same place: the network has changed. Without a place the
// mapping is deleted. The nonce is the same for the same place, in an earlier life of ours as well:
// a gateway refuses another one while that mapping lives (RFC 6887 section 11.3).
struct PlaceChanged {
  std::optional<MappingPlace> place;
  wire::MappingNonce nonce;  // Nobody else's guess.
};
// GatewayAnswered is a datagram that may be from the gateway. It is looked at within the call.
struct GatewayAnswered {
  SocketAddress source;
  BytesView datagram;
};
// The two answers to UpnpWanted.
struct UpnpMapped {
  SocketAddress external;
  Duration lifetime{};
};
struct UpnpFailed {
  MappingFailure failure = MappingFailure::no_answer;
};
using UpnpAnswer = std::variant<UpnpMapped, UpnpFailed>;

// --- Outputs.

struct SendToGateway {  // From the mapped port, or any other.
  SocketAddress target;
  Bytes datagram;
};
struct UpnpWanted {  // Map, or renew what is mapped, for `lifetime`; then UpnpMapped or UpnpFailed.
  MappingPlace place;
  Duration lifetime{};
};
struct UpnpUnwanted {};    // Delete what was made. Answers that are still due are ignored.
struct MappingChanged {};  // status() has another mapping, or another reason for none.

class PortMapper {
 public:
  struct Limits {
    Duration lifetime = std::chrono::minutes(10);
    Duration lifetime_min = std::chrono::seconds(30);
    Duration lifetime_max = std::chrono::hours(24);
    Duration check_interval = std::chrono::minutes(1);
    Duration renew_min = std::chrono::seconds(4);  // RFC 6887 section 11.2.1.
    Duration pcp_wait = std::chrono::seconds(3);   // IRT of RFC 6887 section 8.1.1.
    Duration nat_pmp_wait = std::chrono::milliseconds(250);
    Duration wait_max = std::chrono::seconds(1024);  // MRT.
    Duration refused_min = std::chrono::seconds(30);
    Duration refused_max = std::chrono::minutes(30);
    Duration upnp_retry = std::chrono::minutes(10);
  };

  using Input = std::variant<PlaceChanged, GatewayAnswered, UpnpMapped, UpnpFailed>;
  using Output = std::variant<SendToGateway, UpnpWanted, UpnpUnwanted, MappingChanged>;

  // `random` draws the jitter of waits; it outlives the mapper.
  PortMapper(const Limits& limits, Random& random);
  PortMapper(const PortMapper&) = delete;
  PortMapper& operator=(const PortMapper&) = delete;
  ~PortMapper() = default;

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // is_gateway tells whether a datagram's source is the one that is asked, so that it is for here.
  [[nodiscard]] bool is_gateway(const SocketAddress& source) const;
  [[nodiscard]] MappingStatus status() const;

 private:
  // NatPmpRound gathers the two answers that a mapping of NAT-PMP consists of.
  struct NatPmpRound {
    std::optional<IpAddress> address;
    std::optional<wire::NatPmpMapped> mapped;
  };

  void apply(const PlaceChanged& input, Instant now);
  void apply(const GatewayAnswered& input, Instant now);
  void apply(const UpnpMapped& input, Instant now);
  void apply(const UpnpFailed& input, Instant now);
  void take(const wire::PcpMapped& answer, Instant now);
  void take(const wire::PcpFailed& answer, Instant now);
  void take(const wire::NatPmpAddress& answer, Instant now);
  void take(const wire::NatPmpMapped& answer, Instant now);
  void take(const wire::NatPmpFailed& answer, Instant now);
  void take_nat_pmp(Instant now);

  void advance(Instant now);
  void ask(Instant now);
  void send_request(MappingMethod method, std::uint32_t lifetime_s);
  void establish(MappingMethod method, const SocketAddress& external, Duration lifetime,
                 Instant now);
  void withdraw(MappingMethod method);
  void withdraw_all();
  void fail(MappingFailure failure, Duration wait, Instant now);
  void drop_mapping();
  void note_failure(MappingFailure failure);
  void want_upnp(Instant now);
  void forget_upnp();
  [[nodiscard]] bool is_mapped_by(MappingMethod method) const {
    return mapping_ && mapping_->method == method;
  }

  Limits limits_;
  Random& random_;
  wire::MappingNonce nonce_;

  std::optional<MappingPlace> place_;
  std::optional<Mapping> mapping_;
  std::optional<MappingFailure> failure_;

  std::optional<MappingMethod> method_;  // PCP or NAT-PMP, once the gateway has shown which.
  bool is_waiting_ = false;              // For an answer to the requests of this round.
  unsigned tries_ = 0;                   // Of this round.
  Duration wait_{};                      // After the last try.
  std::optional<Instant> ask_at_;        // While there is a place.
  NatPmpRound round_;

  bool is_upnp_asked_ = false;      // There may be a mapping by UPnP-IGD.
  std::optional<Instant> upnp_at_;  // When to ask, or to renew.
  std::deque<Output> outputs_;
};

}  // namespace zt::path
