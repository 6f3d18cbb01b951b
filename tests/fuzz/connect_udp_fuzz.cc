// SPDX-License-Identifier: Apache-2.0
// Paths and datagrams of CONNECT-UDP: what is accepted comes back from what it writes.

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/connect_udp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (const auto target = zt::wire::parse_udp_path(zt::as_text(input))) {
    ZT_ASSERT(zt::wire::parse_udp_path(zt::wire::to_udp_path(*target)) == target);
  }
  if (const auto payload = zt::wire::parse_udp_datagram(input)) {
    ZT_ASSERT(payload->size() < size);
    const zt::Bytes encoded = zt::wire::encode_udp_datagram(*payload);
    ZT_ASSERT(zt::wire::parse_udp_datagram(encoded)->size() == payload->size());
  }
  if (const auto datagram = zt::wire::parse_quic_datagram(input)) {
    const zt::Bytes encoded = zt::wire::encode_quic_datagram(*datagram);
    ZT_ASSERT(zt::wire::parse_quic_datagram(encoded)->stream_id == datagram->stream_id);
  }
  return 0;
}
