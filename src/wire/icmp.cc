// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/icmp.h"

#include <algorithm>
#include <array>
#include <limits>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::size_t kIpv4HeaderSize = 20;
constexpr std::size_t kIpv6HeaderSize = 40;
constexpr std::size_t kUdpHeaderSize = 8;
constexpr std::size_t kIcmpHeaderSize = 8;  // Type, code, checksum, and four bytes of the type's.
constexpr std::size_t kChecksumAt = 2;      // In an ICMP message.

constexpr std::size_t kIpv4MessageSizeMax = 576;  // With its IP header: RFC 1812 section 4.3.2.3.

constexpr std::uint8_t kIcmpDestinationUnreachable = 3;
constexpr std::uint8_t kIcmpFragmentationNeeded = 4;  // A code of the above.
constexpr std::uint8_t kIcmpv6PacketTooBig = 2;

constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint8_t kProtocolIcmpv6 = 58;
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint16_t kDoNotFragment = 0x4000;

// InternetChecksum is that of RFC 1071, over the pieces that it is given.
class InternetChecksum {
 public:
  void add(BytesView bytes) {
    for (const std::byte byte : bytes) {
      const auto value = std::to_integer<std::uint64_t>(byte);
      sum_ += is_odd_ ? value : value << 8U;
      is_odd_ = !is_odd_;
    }
  }
  [[nodiscard]] std::uint16_t value() const {
    std::uint64_t sum = sum_;
    while (sum > 0xffffU) sum = (sum & 0xffffU) + (sum >> 16U);
    return static_cast<std::uint16_t>(~sum & 0xffffU);
  }

 private:
  std::uint64_t sum_ = 0;
  bool is_odd_ = false;  // The next byte is the second one of its pair.
};

void write_address(Writer& writer, const IpAddress& address) {
  const std::size_t size = address.is_v4() ? 4 : 16;
  for (std::size_t i = 0; i < size; ++i) writer.u8(address.octets()[i]);
}

// The pseudo-header of RFC 768, or of RFC 8200 section 8.1; both give the sum of the same numbers.
void add_pseudo_header(InternetChecksum& checksum, const IpAddress& source,
                       const IpAddress& destination, std::uint8_t protocol, std::size_t size) {
  std::array<std::byte, 40> space{};
  Writer writer(space);
  write_address(writer, source);
  write_address(writer, destination);
  writer.u32(static_cast<std::uint32_t>(size));
  writer.u32(protocol);
  checksum.add(writer.written());
}

bool is_one_host(const IpAddress& address) {
  switch (kind_of(address)) {
    case AddressKind::global:
    case AddressKind::loopback:
    case AddressKind::link_local:
    case AddressKind::metadata:
    case AddressKind::reserved:
      return true;
    case AddressKind::unspecified:
    case AddressKind::multicast:
    case AddressKind::broadcast:
      return false;
  }
  return false;
}

std::uint16_t udp_checksum(const InvokingPacket& packet, BytesView header) {
  InternetChecksum checksum;
  add_pseudo_header(checksum, packet.source.ip, packet.destination.ip, kProtocolUdp,
                    header.size() + packet.payload.size());
  checksum.add(header);
  checksum.add(packet.payload);
  const std::uint16_t value = checksum.value();
  return value == 0 ? 0xffff : value;  // RFC 768: zero means that there is none.
}

void write_udp_header(Writer& writer, const InvokingPacket& packet) {
  std::array<std::byte, kUdpHeaderSize> space{};
  const auto write = [&packet](Writer header, std::uint16_t checksum) {
    header.u16(packet.source.port);
    header.u16(packet.destination.port);
    header.u16(static_cast<std::uint16_t>(kUdpHeaderSize + packet.payload.size()));
    header.u16(checksum);
  };
  write(Writer(space), 0);
  write(Writer(space), udp_checksum(packet, space));
  writer.bytes(space);
}

void write_ipv4_header(Writer& writer, const InvokingPacket& packet) {
  std::array<std::byte, kIpv4HeaderSize> space{};
  const auto write = [&packet](Writer header, std::uint16_t checksum) {
    header.u8(0x45);  // Version 4, five words.
    header.u8(0);
    header.u16(static_cast<std::uint16_t>(ip_packet_size(packet.source.ip, packet.payload.size())));
    header.u16(0);
    header.u16(kDoNotFragment);
    header.u8(kHopLimit);
    header.u8(kProtocolUdp);
    header.u16(checksum);
    write_address(header, packet.source.ip);
    write_address(header, packet.destination.ip);
  };
  write(Writer(space), 0);
  InternetChecksum checksum;
  checksum.add(space);
  write(Writer(space), checksum.value());
  writer.bytes(space);
}

void write_ipv6_header(Writer& writer, const InvokingPacket& packet) {
  writer.u32(0x60000000);  // Version 6.
  writer.u16(static_cast<std::uint16_t>(kUdpHeaderSize + packet.payload.size()));
  writer.u8(kProtocolUdp);
  writer.u8(kHopLimit);
  write_address(writer, packet.source.ip);
  write_address(writer, packet.destination.ip);
}

void write_icmp_header(Writer& writer, bool is_v4, std::size_t mtu, std::uint16_t checksum) {
  writer.u8(is_v4 ? kIcmpDestinationUnreachable : kIcmpv6PacketTooBig);
  writer.u8(is_v4 ? kIcmpFragmentationNeeded : 0);
  writer.u16(checksum);
  // RFC 1191 section 4: two unused bytes, then the MTU. RFC 4443 section 3.2: four of MTU. They
  // look the same, for a packet of IPv4 has at most 65535 bytes.
  writer.u32(static_cast<std::uint32_t>(mtu));
}

// Returns how much of the packet is quoted; nothing if the two headers do not fit.
std::optional<std::size_t> quote_size_of(const InvokingPacket& packet) {
  const bool is_v4 = packet.source.ip.is_v4();
  const std::size_t packet_size = ip_packet_size(packet.source.ip, packet.payload.size());
  const std::size_t size_max = std::min(is_v4 ? kIpv4MessageSizeMax : kIpv6MtuMin, packet_size);
  const std::size_t overhead = (is_v4 ? kIpv4HeaderSize : kIpv6HeaderSize) + kIcmpHeaderSize;
  if (size_max < overhead + ip_packet_size(packet.source.ip, 0)) return std::nullopt;
  return size_max - overhead;
}

Bytes make_message(const InvokingPacket& packet, std::size_t quote_size, std::size_t mtu) {
  const bool is_v4 = packet.source.ip.is_v4();
  Bytes message(kIcmpHeaderSize + quote_size);
  Writer writer(message);
  write_icmp_header(writer, is_v4, mtu, 0);
  if (is_v4) {
    write_ipv4_header(writer, packet);
  } else {
    write_ipv6_header(writer, packet);
  }
  write_udp_header(writer, packet);
  writer.bytes(packet.payload.first(message.size() - writer.written().size()));
  ZT_ASSERT(writer.is_complete());

  InternetChecksum checksum;
  if (!is_v4) {
    add_pseudo_header(checksum, packet.destination.ip, packet.source.ip, kProtocolIcmpv6,
                      message.size());
  }
  checksum.add(message);
  Writer(std::span(message).subspan(kChecksumAt)).u16(checksum.value());
  return message;
}

}  // namespace

std::size_t ip_packet_size(const IpAddress& address, std::size_t payload_size) {
  return (address.is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize) + kUdpHeaderSize + payload_size;
}

std::optional<PacketTooBig> packet_too_big(const InvokingPacket& packet,
                                           std::size_t payload_size_max) {
  const bool is_v4 = packet.source.ip.is_v4();
  if (packet.destination.ip.is_v4() != is_v4) return std::nullopt;
  if (!is_one_host(packet.source.ip) || !is_one_host(packet.destination.ip)) return std::nullopt;
  const std::size_t packet_size = ip_packet_size(packet.source.ip, packet.payload.size());
  // RFC 791: the total length. RFC 8200: the payload length is without the IP header.
  constexpr std::size_t kLengthMax = std::numeric_limits<std::uint16_t>::max();
  if (packet_size > kLengthMax + (is_v4 ? 0 : kIpv6HeaderSize)) return std::nullopt;

  std::size_t mtu = ip_packet_size(packet.source.ip, payload_size_max);
  if (!is_v4) mtu = std::max(mtu, kIpv6MtuMin);
  if (mtu >= packet_size) return std::nullopt;
  const std::optional<std::size_t> quote_size = quote_size_of(packet);
  if (!quote_size) return std::nullopt;
  return PacketTooBig{.mtu = mtu, .message = make_message(packet, *quote_size, mtu)};
}

}  // namespace zt::wire
