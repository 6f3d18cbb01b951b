// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/probe.h"

#include <algorithm>

#include "zt/base/assert.h"
#include "zt/base/secret.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kFamilyNone = 0;
constexpr std::uint8_t kFamilyV4 = 4;
constexpr std::uint8_t kFamilyV6 = 6;

std::uint8_t family_of(const Probe& probe) {
  if (probe.kind == ProbeKind::ping) return kFamilyNone;
  return probe.observed.ip.is_v4() ? kFamilyV4 : kFamilyV6;
}

// read_address returns nothing for an address that has another encoding.
std::optional<SocketAddress> read_address(Reader& reader) {
  const auto family = reader.u8();
  const auto octets = reader.bytes(16);
  const auto port = reader.u16();
  if (!family || !octets || !port) return std::nullopt;
  std::array<std::uint8_t, 16> all{};
  std::ranges::transform(*octets, all.begin(),
                         [](std::byte octet) { return std::to_integer<std::uint8_t>(octet); });
  switch (*family) {
    case kFamilyNone:
      if (std::ranges::any_of(all, [](std::uint8_t octet) { return octet != 0; }) || *port != 0) {
        return std::nullopt;
      }
      return SocketAddress{};
    case kFamilyV4:
      if (std::any_of(all.begin() + 4, all.end(), [](std::uint8_t octet) { return octet != 0; })) {
        return std::nullopt;
      }
      if (*port == 0) return std::nullopt;
      return SocketAddress{IpAddress::v4({all[0], all[1], all[2], all[3]}), *port};
    case kFamilyV6:
      if (*port == 0) return std::nullopt;
      return SocketAddress{IpAddress::v6(all), *port};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<ProbeLabel> probe_label_of(BytesView datagram) {
  if (datagram.size() != kProbeSize || !is_probe(datagram)) return std::nullopt;
  Reader reader(datagram.subspan(1));
  if (reader.u8() != kVersion) return std::nullopt;
  (void)reader.u16();  // Kind and sender: looked at when the tag is known to be right.
  const auto label = reader.bytes(ProbeLabel::kSize);
  return label ? ProbeLabel::from(*label) : std::nullopt;
}

ProbeBytes encode_probe(const Probe& probe) {
  const bool is_ping = probe.kind == ProbeKind::ping;
  ZT_ASSERT(is_ping ? probe.observed == SocketAddress{} : probe.observed.port != 0);
  ProbeBytes bytes{};
  Writer writer(bytes);
  writer.u8(std::to_integer<std::uint8_t>(kProbeFirstByte));
  writer.u8(kVersion);
  writer.u8(static_cast<std::uint8_t>(probe.kind));
  writer.u8(static_cast<std::uint8_t>(probe.sender));
  writer.bytes(probe.label.bytes);
  writer.u64(probe.transaction);
  writer.bytes(probe.nonce.bytes);
  writer.u32(probe.pair);
  writer.u8(family_of(probe));
  writer.bytes(std::as_bytes(std::span(probe.observed.ip.octets())));
  writer.u16(probe.observed.port);
  ZT_ASSERT(writer.is_complete());
  ZT_ASSERT(writer.written().size() == kProbeSize - ProbeMac::kSize);
  return bytes;
}

std::optional<Probe> parse_probe(BytesView datagram) {
  const auto label = probe_label_of(datagram);
  if (!label) return std::nullopt;
  Reader reader(probe_content(datagram).subspan(2));
  const std::uint8_t kind = reader.u8().value_or(0);
  const std::uint8_t sender = reader.u8().value_or(0);
  if (kind != 1 && kind != 2) return std::nullopt;
  if (sender != 1 && sender != 2) return std::nullopt;
  (void)reader.bytes(ProbeLabel::kSize);  // Read above.
  const auto transaction = reader.u64();
  const auto nonce = reader.bytes(ProbeNonce::kSize);
  const auto pair = reader.u32();
  const auto observed = read_address(reader);
  if (!transaction || !nonce || !pair || !observed) return std::nullopt;
  const auto nonce_value = ProbeNonce::from(*nonce);
  if (!nonce_value) return std::nullopt;
  const bool is_ping = kind == 1;
  if (is_ping != (observed->port == 0)) return std::nullopt;
  return Probe{.kind = static_cast<ProbeKind>(kind),
               .sender = static_cast<ProbeSender>(sender),
               .label = *label,
               .transaction = *transaction,
               .nonce = *nonce_value,
               .pair = *pair,
               .observed = *observed};
}

bool has_probe_mac(BytesView probe, const ProbeMac& expected) {
  return equal_in_constant_time(as_text(probe.last(ProbeMac::kSize)), as_text(expected.bytes));
}

}  // namespace zt::wire
