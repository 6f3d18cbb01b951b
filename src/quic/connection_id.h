// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/connection_id.h: a connection ID as a value, and its hash.
//
// Theory of operation
//   The IDs that we issue are kConnectionIdSize bytes: the endpoint's RouteId, by which a relay
//   routes; the RouteId of the peer that it is issued to, for the day when nothing else of the
//   connection is left: a Stateless Reset goes back by it; and random bytes. The first ID of an
//   accepted connection is chosen by the client, 8 to 20 bytes of its liking, and goes into the
//   same table: therefore the hash is keyed (SipHash-2-4), or a stranger could make every lookup
//   slow.

#include <ngtcp2/ngtcp2.h>
#include <openssl/siphash.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "zt/base/ids.h"

namespace zt::quic {

inline constexpr std::size_t kConnectionIdSize = 20;
inline constexpr std::size_t kFirstDestinationIdSize = 18;  // Of a client's first Initial.
static_assert(kConnectionIdSize > 2 * RouteId::kSize && kConnectionIdSize <= NGTCP2_MAX_CIDLEN);

struct ConnectionId {
  std::array<std::uint8_t, NGTCP2_MAX_CIDLEN> bytes{};
  std::uint8_t size = 0;

  // from copies at most 20 bytes; longer ones do not exist in QUIC v1.
  [[nodiscard]] static ConnectionId from(const std::uint8_t* data, std::size_t size) {
    ConnectionId id;
    id.size = static_cast<std::uint8_t>(std::min(size, id.bytes.size()));
    std::copy_n(data, id.size, id.bytes.begin());
    return id;
  }
  [[nodiscard]] static ConnectionId from(const ngtcp2_cid& cid) {
    return from(static_cast<const std::uint8_t*>(cid.data), cid.datalen);
  }
  [[nodiscard]] ngtcp2_cid native() const {
    ngtcp2_cid cid;
    ngtcp2_cid_init(&cid, bytes.data(), size);
    return cid;
  }
  [[nodiscard]] std::span<const std::uint8_t> view() const { return {bytes.data(), size}; }

  // route returns the first bytes: the route of who issued the ID. A short one is filled with zero.
  [[nodiscard]] RouteId route() const {
    RouteId route;
    std::memcpy(route.bytes.data(), bytes.data(), RouteId::kSize);
    return route;
  }

  friend bool operator==(const ConnectionId&, const ConnectionId&) = default;
};

// ConnectionIdHash is SipHash-2-4 under the endpoint's key.
struct ConnectionIdHash {
  std::array<std::uint64_t, 2> key{};

  [[nodiscard]] std::size_t operator()(const ConnectionId& id) const noexcept {
    return SIPHASH_24(key.data(), id.bytes.data(), id.size);
  }
};

}  // namespace zt::quic
