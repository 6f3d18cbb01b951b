// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/candidates.h: the capsule by which one end tells the other where it might be reached.
//
// Theory of operation
//   Both ends of a connection tell their candidates on an extended CONNECT stream (RFC 9220) of the
//   connection itself, so they are as authentic as everything else in it. The capsule's value is a
//   generation and a list:
//
//     generation   variable-length integer, from 1; each list of a stream has a larger one
//     repeated     kind (1 byte) · family (1 byte: 4 or 6) · address (4 or 16) · port (2)
//
//   A list replaces the one before it, as a whole. An empty list withdraws everything.
//
// Limits: kCandidatesMax in a list; a longer one is malformed.
// Threats: the addresses are the peer's claims and may be a victim's. This module only reads them;
//   path/finder.h says which are probed and how often.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "zt/base/bytes.h"
#include "zt/base/ip.h"
#include "zt/wire/capsule.h"

namespace zt::wire {

// kCandidatesCapsule is of nobody's registry, and none of those that RFC 9297 section 5.4 reserves
// for exercise.
inline constexpr CapsuleType kCandidatesCapsule{0x1a7a7401};
static_assert((0x1a7a7401 - 0x17) % 0x29 != 0);

// kCandidatesProtocol is the `:protocol` of the stream.
inline constexpr const char* kCandidatesProtocol = "zt-paths";

inline constexpr std::size_t kCandidatesMax = 16;
// kCandidatesValueSizeMax bounds the capsule's value: for CapsuleParser.
inline constexpr std::size_t kCandidatesValueSizeMax = 8 + (kCandidatesMax * (1 + 1 + 16 + 2));

enum class CandidateKind : std::uint8_t {
  host = 1,        // An address of an interface of the machine.
  observed = 2,    // The source address that a relay or the controller has seen.
  configured = 3,  // A forwarded port: said by the operator, or mapped by the gateway.
};

struct Candidate {
  CandidateKind kind = CandidateKind::host;
  SocketAddress address;  // The port is not zero.

  friend auto operator<=>(const Candidate&, const Candidate&) = default;
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

struct CandidateList {
  std::uint64_t generation = 0;  // 1 to kVarintMax.
  std::vector<Candidate> candidates;

  friend bool operator==(const CandidateList&, const CandidateList&) = default;
};

// parse_candidates reads the value of a kCandidatesCapsule. It returns nothing for a truncated
// value, an unknown kind or family, port or generation zero, or too many: reset the stream.
[[nodiscard]] std::optional<CandidateList> parse_candidates(BytesView value);

// encode_candidates is the inverse; the list keeps the limits above.
[[nodiscard]] Bytes encode_candidates(const CandidateList& list);

}  // namespace zt::wire
