// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/port_control.h"

#include <algorithm>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::uint8_t kPcpVersion = 2;
constexpr std::uint8_t kNatPmpVersion = 0;
constexpr std::uint8_t kAnswerBit = 0x80;
constexpr std::uint8_t kOpcodeMap = 1;        // Of PCP; in NAT-PMP it maps UDP.
constexpr std::uint8_t kOpcodeAddress = 0;    // Of NAT-PMP.
constexpr std::uint8_t kProtocolUdp = 17;     // Of IP.
constexpr std::size_t kPcpMapSize = 60;       // With its header.
constexpr std::size_t kNatPmpHeaderSize = 8;  // Of an answer, with the epoch.
constexpr std::size_t kNatPmpAddressSize = 12;
constexpr std::size_t kNatPmpMapSize = 16;
constexpr std::size_t kMappedPrefixSize = 12;  // Of ::ffff:0:0/96.

constexpr std::array<std::uint8_t, kMappedPrefixSize> kMappedPrefix{0, 0, 0, 0, 0,    0,
                                                                    0, 0, 0, 0, 0xff, 0xff};

void write_address(Writer& writer, const IpAddress& address) {
  const auto octets = std::as_bytes(std::span(address.octets()));
  if (address.is_v6()) return writer.bytes(octets);
  writer.bytes(std::as_bytes(std::span(kMappedPrefix)));
  writer.bytes(octets.first(4));
}

std::optional<IpAddress> read_address(Reader& reader) {
  const auto bytes = reader.bytes(16);
  if (!bytes) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  std::ranges::transform(*bytes, octets.begin(),
                         [](std::byte octet) { return std::to_integer<std::uint8_t>(octet); });
  if (!std::ranges::equal(std::span(octets).first(kMappedPrefixSize), kMappedPrefix)) {
    return IpAddress::v6(octets);
  }
  return IpAddress::v4({octets[12], octets[13], octets[14], octets[15]});
}

// What follows the header of an answer to MAP.
struct MapData {
  MappingNonce nonce;
  std::uint8_t protocol = 0;
  std::uint16_t internal_port = 0;
  SocketAddress external;
};

std::optional<MapData> read_map_data(Reader& reader) {
  const auto nonce = reader.bytes(MappingNonce::kSize);
  const auto protocol = reader.u8();
  const auto reserved = reader.bytes(3);
  const auto internal_port = reader.u16();
  const auto external_port = reader.u16();
  const auto external = read_address(reader);
  if (!nonce || !protocol || !reserved || !internal_port || !external_port || !external) {
    return std::nullopt;
  }
  return MapData{.nonce = MappingNonce::from(*nonce).value_or(MappingNonce{}),
                 .protocol = *protocol,
                 .internal_port = *internal_port,
                 .external = {.ip = *external, .port = *external_port}};
}

std::optional<PortControlAnswer> parse_pcp(BytesView datagram) {
  if (datagram.size() % 4 != 0) return std::nullopt;  // RFC 6887 section 8.3.
  Reader reader(datagram.subspan(1));
  const auto opcode = reader.u8();
  const auto reserved = reader.u8();
  const auto result = reader.u8();
  const auto lifetime_s = reader.u32();
  const auto epoch = reader.u32();
  const auto padding = reader.bytes(12);
  if (!opcode || !reserved || !result || !lifetime_s || !epoch || !padding) return std::nullopt;
  if (*opcode != (kOpcodeMap | kAnswerBit)) return std::nullopt;
  const auto data = read_map_data(reader);
  if (*result != 0) {
    // A gateway that could not read the request may have nothing of it to repeat.
    const auto nonce = data ? std::optional(data->nonce) : std::nullopt;
    return PcpFailed{.result = *result, .lifetime_s = *lifetime_s, .nonce = nonce};
  }
  if (!data || data->protocol != kProtocolUdp) return std::nullopt;
  return PcpMapped{.lifetime_s = *lifetime_s,
                   .nonce = data->nonce,
                   .internal_port = data->internal_port,
                   .external = data->external};
}

std::optional<PortControlAnswer> parse_nat_pmp(BytesView datagram) {
  Reader reader(datagram.subspan(1));
  const std::uint8_t opcode = reader.u8().value_or(0);
  const auto result = reader.u16();
  const auto epoch = reader.u32();
  if (!result || !epoch || (opcode & kAnswerBit) == 0) return std::nullopt;
  if (*result != 0) return NatPmpFailed{*result};  // With or without what else it would have.
  if (opcode == (kOpcodeAddress | kAnswerBit) && datagram.size() == kNatPmpAddressSize) {
    std::array<std::uint8_t, 4> octets{};
    for (std::uint8_t& octet : octets) octet = reader.u8().value_or(0);
    return NatPmpAddress{.external = IpAddress::v4(octets)};
  }
  if (opcode == (kOpcodeMap | kAnswerBit) && datagram.size() == kNatPmpMapSize) {
    const auto internal_port = reader.u16();
    const auto external_port = reader.u16();
    const auto lifetime_s = reader.u32();
    if (!internal_port || !external_port || !lifetime_s) return std::nullopt;
    return NatPmpMapped{.internal_port = *internal_port,
                        .external_port = *external_port,
                        .lifetime_s = *lifetime_s};
  }
  return std::nullopt;
}

}  // namespace

std::array<std::byte, 60> encode_pcp_map(const PcpMapRequest& request) {
  std::array<std::byte, kPcpMapSize> bytes{};
  Writer writer(bytes);
  writer.u8(kPcpVersion);
  writer.u8(kOpcodeMap);
  writer.u16(0);  // Reserved.
  writer.u32(request.lifetime_s);
  write_address(writer, request.client);
  writer.bytes(request.nonce.bytes);
  writer.u8(kProtocolUdp);
  writer.u8(0);  // Reserved, like the next.
  writer.u16(0);
  writer.u16(request.internal_port);
  writer.u16(request.suggested.port);
  write_address(writer, request.suggested.ip);
  ZT_ASSERT(writer.is_complete());
  ZT_ASSERT(writer.written().size() == kPcpMapSize);
  return bytes;
}

std::array<std::byte, 12> encode_nat_pmp_map(const NatPmpMapRequest& request) {
  std::array<std::byte, 12> bytes{};
  Writer writer(bytes);
  writer.u8(kNatPmpVersion);
  writer.u8(kOpcodeMap);
  writer.u16(0);  // Reserved.
  writer.u16(request.internal_port);
  writer.u16(request.suggested_port);
  writer.u32(request.lifetime_s);
  ZT_ASSERT(writer.is_complete());
  return bytes;
}

std::array<std::byte, 2> encode_nat_pmp_address() {
  return {std::byte{kNatPmpVersion}, std::byte{kOpcodeAddress}};
}

std::optional<PortControlAnswer> parse_port_control(BytesView datagram) {
  if (datagram.size() < kNatPmpHeaderSize || datagram.size() > kPortControlSizeMax) {
    return std::nullopt;
  }
  switch (std::to_integer<std::uint8_t>(datagram[0])) {
    case kPcpVersion:
      return parse_pcp(datagram);
    case kNatPmpVersion:
      return parse_nat_pmp(datagram);
    default:
      return std::nullopt;
  }
}

}  // namespace zt::wire
