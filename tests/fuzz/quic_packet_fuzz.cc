// SPDX-License-Identifier: Apache-2.0
// The relay's fast path and the parser see the same connection ID.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/quic_packet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto datagram = std::as_bytes(std::span(data, size));
  const auto route = zt::wire::route_of(datagram);
  ZT_ASSERT(!route || zt::wire::has_fixed_bit(datagram));
  const auto header = zt::wire::parse_packet_header(datagram, zt::RouteId::kSize);
  if (!header) return 0;
  ZT_ASSERT(header->is_long == zt::wire::has_long_header(datagram));
  ZT_ASSERT(header->destination.size() <= zt::wire::kConnectionIdSizeMax);
  ZT_ASSERT(route.has_value() == (header->destination.size() >= zt::RouteId::kSize));
  ZT_ASSERT(!route ||
            std::equal(route->bytes.begin(), route->bytes.end(), header->destination.begin()));
  return 0;
}
