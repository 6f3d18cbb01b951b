// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/quic_packet.h"

#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

std::optional<BytesView> read_connection_id(Reader& reader) {
  const auto size = reader.u8();
  if (!size || *size > kConnectionIdSizeMax) return std::nullopt;
  return reader.bytes(*size);
}

}  // namespace

std::optional<PacketHeader> parse_packet_header(BytesView datagram,
                                                std::size_t short_destination_size) {
  if (!has_fixed_bit(datagram)) return std::nullopt;
  Reader reader(datagram);
  const auto first = reader.u8();
  if (!first) return std::nullopt;
  PacketHeader header;
  if (!has_long_header(datagram)) {
    const auto destination = reader.bytes(short_destination_size);
    if (!destination) return std::nullopt;
    header.destination = *destination;
    return header;
  }
  const auto version = reader.u32();
  if (!version) return std::nullopt;
  const auto destination = read_connection_id(reader);
  if (!destination) return std::nullopt;
  const auto source = read_connection_id(reader);
  if (!source) return std::nullopt;
  header.is_long = true;
  header.is_initial = *version == kQuicVersion1 && (*first & 0x30U) == 0;
  header.version = *version;
  header.destination = *destination;
  header.source = *source;
  return header;
}

}  // namespace zt::wire
