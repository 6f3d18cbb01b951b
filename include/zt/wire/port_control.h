// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/port_control.h: what a host asks its gateway for a port, and what that answers: PCP (RFC
// 6887) and its forerunner NAT-PMP (RFC 6886).
//
// Theory of operation
//   Both are single datagrams to port 5351 of the gateway; the first byte is the version, 2 or 0. A
//   gateway that knows one of them says so when it is asked in the other.
//
//     PCP request    version, opcode · reserved · lifetime · client's address        24 bytes
//                    MAP: nonce · protocol · ports · suggested external address      36
//     PCP answer     the same shape: a result beside the opcode, then lifetime and epoch
//     NAT-PMP        2 bytes ask for the external address, 12 for a mapping;
//                    12 bytes answer the former, 16 the latter
//
//   Of PCP this is MAP for one UDP port without options, all that a node needs. IPv4 addresses
//   stand in PCP as mapped IPv6 addresses (section 5).
//
//   Both tell an epoch, the gateway's time since it last forgot its mappings. It is passed over:
//   who renews a mapping repeats the request that made it, so a gateway that has forgotten makes it
//   again.
//
// Limits   kPortControlSizeMax; what is longer or shorter than its kind is no answer. Options of
//          an answer are passed over: we send none that an option could answer.
// Threats  A datagram's source proves little and NAT-PMP has no nonce: path/port_mapping.h says
//          whom it believes. Nothing is believed here beyond the format.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"

namespace zt::wire {

inline constexpr std::uint16_t kPortControlPort = 5351;       // RFC 6887 section 19.1.
inline constexpr std::size_t kPortControlSizeMax = 1100;      // RFC 6887 section 7.
inline constexpr std::uint8_t kPortControlUnsupported = 1;    // Result: not this version.
inline constexpr std::uint8_t kPortControlNotAuthorized = 2;  // Of both protocols.

struct MappingNonceTag;
using MappingNonce = Fixed<MappingNonceTag, 12>;  // Unpredictable; the same for all of a mapping.

// --- Requests.

// PcpMapRequest asks for a mapping of a UDP port, to keep one, or with lifetime 0 to end it.
struct PcpMapRequest {
  IpAddress client;  // The address that the request comes from.
  std::uint32_t lifetime_s = 0;
  MappingNonce nonce;
  std::uint16_t internal_port = 0;
  SocketAddress suggested;  // External; zeros of the client's family: any.

  friend bool operator==(const PcpMapRequest&, const PcpMapRequest&) = default;
};

// NatPmpMapRequest is the same in NAT-PMP, where the gateway takes the client's address from the
// datagram.
struct NatPmpMapRequest {
  std::uint16_t internal_port = 0;
  std::uint16_t suggested_port = 0;  // 0: any.
  std::uint32_t lifetime_s = 0;

  friend bool operator==(const NatPmpMapRequest&, const NatPmpMapRequest&) = default;
};

[[nodiscard]] std::array<std::byte, 60> encode_pcp_map(const PcpMapRequest& request);
[[nodiscard]] std::array<std::byte, 12> encode_nat_pmp_map(const NatPmpMapRequest& request);
// encode_nat_pmp_address asks for the gateway's external address.
[[nodiscard]] std::array<std::byte, 2> encode_nat_pmp_address();

// --- Answers.

struct PcpMapped {
  std::uint32_t lifetime_s = 0;
  MappingNonce nonce;
  std::uint16_t internal_port = 0;
  SocketAddress external;

  friend bool operator==(const PcpMapped&, const PcpMapped&) = default;
};

struct PcpFailed {
  std::uint8_t result = 0;            // RFC 6887 section 7.4; not 0.
  std::uint32_t lifetime_s = 0;       // How long this will stay so.
  std::optional<MappingNonce> nonce;  // If the gateway has repeated the request.

  friend bool operator==(const PcpFailed&, const PcpFailed&) = default;
};

struct NatPmpAddress {
  IpAddress external;

  friend bool operator==(const NatPmpAddress&, const NatPmpAddress&) = default;
};

struct NatPmpMapped {
  std::uint16_t internal_port = 0;
  std::uint16_t external_port = 0;
  std::uint32_t lifetime_s = 0;

  friend bool operator==(const NatPmpMapped&, const NatPmpMapped&) = default;
};

// NatPmpFailed also answers PCP requests: a gateway that knows NAT-PMP only says
// kPortControlUnsupported.
struct NatPmpFailed {
  std::uint16_t result = 0;  // RFC 6886 section 3.5; not 0.

  friend bool operator==(const NatPmpFailed&, const NatPmpFailed&) = default;
};

using PortControlAnswer =
    std::variant<PcpMapped, PcpFailed, NatPmpAddress, NatPmpMapped, NatPmpFailed>;

// parse_port_control reads what came from a gateway; nothing if it is no answer to any of the
// requests above.
[[nodiscard]] std::optional<PortControlAnswer> parse_port_control(BytesView datagram);

}  // namespace zt::wire
