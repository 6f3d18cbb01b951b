// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/probe.h: the datagram that opens and measures a direct path beside a QUIC connection.
//
// Theory of operation
//   A ping asks, a pong answers it and says which source address the ping was seen with. Both
//   travel on the UDP port of the connection that they belong to, and both have exactly kProbeSize
//   bytes:
//
//      0  first byte     0x0b: neither QUIC, nor anything else that RFC 9443 section 3 names
//      1  version        1
//      2  kind           1 ping, 2 pong
//      3  sender         1 client, 2 connector
//      4  label          8 bytes: which connection
//     12  transaction    8 bytes: counts the sender's pings from 1; a pong repeats it
//     20  nonce          8 random bytes; a pong repeats them
//     28  pair           4 bytes: the ping's sender's name of the pair; a pong repeats it
//     32  family         0 in a ping; 4 or 6 in a pong
//     33  address        16 bytes, network order; IPv4 in the first four, zeros where nothing is
//     49  port           2 bytes
//     51  tag            16 bytes: MAC of all bytes before it
//
//   The key and the label come from the TLS exporter of the connection (RFC 8446 section 7.5), so
//   only its two ends know them. This module has no cryptography: whoever seals or opens a probe
//   brings a function that makes the tag of given bytes. A probe's content cannot be had without
//   it.
//
//   One value has one encoding: what open_probe accepts is what seal_probe writes.
//
// Limits: one size. A probe never needs path MTU discovery.
// Cost: a stranger's probe costs a look at four bytes and one look-up of its label.
// Threats: a probe is sent in the clear by both ends to addresses that nobody has vouched for yet.
//   - Forged: the tag. Compared in constant time.
//   - Sent back to its sender: the sender's role is under the tag, and nobody listens to his own.
//   - Replayed: `transaction`; the receiver takes each once (path/finder.h).
//   - Answered by the peer in a victim's name, to aim us at the victim: a pong proves that its
//     sender has received the ping, because nobody can guess the nonce.
//   - Amplified: a pong is as long as its ping, and there is at most one for each.
//   - Followed: the label is the same on every path of a connection, so an observer of two networks
//     can link them, as it can by the connector's address. It is told from others without a
//     try of each key; a label for each path would need one more message for each.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <type_traits>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"

namespace zt::wire {

inline constexpr std::byte kProbeFirstByte{0x0b};
inline constexpr std::size_t kProbeSize = 67;

struct ProbeLabelTag;
struct ProbeNonceTag;
struct ProbeMacTag;
using ProbeLabel = Fixed<ProbeLabelTag, 8>;  // From the TLS exporter; the same for both ends.
using ProbeNonce = Fixed<ProbeNonceTag, 8>;  // Unpredictable.
using ProbeMac = Fixed<ProbeMacTag, 16>;     // Of everything before it.
using ProbeBytes = std::array<std::byte, kProbeSize>;

enum class ProbeKind : std::uint8_t { ping = 1, pong = 2 };
enum class ProbeSender : std::uint8_t { client = 1, connector = 2 };

struct Probe {
  ProbeKind kind = ProbeKind::ping;
  ProbeSender sender = ProbeSender::client;
  ProbeLabel label;
  std::uint64_t transaction = 0;
  ProbeNonce nonce;
  std::uint32_t pair = 0;
  SocketAddress observed;  // Of a pong: the ping's source as it arrived. Of a ping: all zero.

  friend bool operator==(const Probe&, const Probe&) = default;
};

enum class ProbeError : std::uint8_t {
  malformed,  // No probe of this version, or not its only encoding. Drop it.
  forged,     // The tag is of another key. Drop it; counting these is worth while.
};

// ProbeMacFunction makes the MAC of the given bytes with the key of one connection.
template <class F>
concept ProbeMacFunction = std::invocable<const F&, BytesView> &&
                           std::same_as<std::invoke_result_t<const F&, BytesView>, ProbeMac>;

// is_probe tells probes from QUIC where both share a port (RFC 9443). It promises nothing else.
[[nodiscard]] inline bool is_probe(BytesView datagram) {
  return !datagram.empty() && datagram[0] == kProbeFirstByte;
}

// probe_label_of returns the label of what has a probe's size, first byte and version: which
// connection's key to open it with. Nothing is proved by it.
[[nodiscard]] std::optional<ProbeLabel> probe_label_of(BytesView datagram);

// The two below are what seal_probe and open_probe are made of.
//
// encode_probe writes everything but the tag, which is zero. A ping's `observed` must be all zero;
// a pong's must have a port.
[[nodiscard]] ProbeBytes encode_probe(const Probe& probe);
// parse_probe reads the content and does not look at the tag.
[[nodiscard]] std::optional<Probe> parse_probe(BytesView datagram);
[[nodiscard]] inline BytesView probe_content(BytesView probe) {
  return probe.first(kProbeSize - ProbeMac::kSize);
}
[[nodiscard]] bool has_probe_mac(BytesView probe, const ProbeMac& expected);

// seal_probe returns the datagram to send.
template <ProbeMacFunction MacOf>
[[nodiscard]] ProbeBytes seal_probe(const Probe& probe, const MacOf& mac_of) {
  ProbeBytes bytes = encode_probe(probe);
  const ProbeMac mac = mac_of(probe_content(bytes));
  std::ranges::copy(mac.bytes, bytes.end() - ProbeMac::kSize);
  return bytes;
}

// open_probe returns the content of a datagram whose tag is right. The tag is looked at before the
// content.
template <ProbeMacFunction MacOf>
[[nodiscard]] std::expected<Probe, ProbeError> open_probe(BytesView datagram, const MacOf& mac_of) {
  if (!probe_label_of(datagram)) return std::unexpected(ProbeError::malformed);
  if (!has_probe_mac(datagram, mac_of(probe_content(datagram)))) {
    return std::unexpected(ProbeError::forged);
  }
  const std::optional<Probe> probe = parse_probe(datagram);
  if (!probe) return std::unexpected(ProbeError::malformed);
  return *probe;
}

}  // namespace zt::wire
