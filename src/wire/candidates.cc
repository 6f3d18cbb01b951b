// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/candidates.h"

#include <array>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::uint8_t kFamilyV4 = 4;
constexpr std::uint8_t kFamilyV6 = 6;

std::optional<CandidateKind> read_kind(Reader& reader) {
  switch (reader.u8().value_or(0)) {
    case 1:
      return CandidateKind::host;
    case 2:
      return CandidateKind::observed;
    case 3:
      return CandidateKind::configured;
    default:
      return std::nullopt;
  }
}

template <std::size_t Size>
std::optional<std::array<std::uint8_t, Size>> read_octets(Reader& reader) {
  std::array<std::uint8_t, Size> octets{};
  for (std::uint8_t& octet : octets) {
    const auto value = reader.u8();
    if (!value) return std::nullopt;
    octet = *value;
  }
  return octets;
}

std::optional<IpAddress> read_ip(Reader& reader) {
  switch (reader.u8().value_or(0)) {
    case kFamilyV4:
      return read_octets<4>(reader).transform(IpAddress::v4);
    case kFamilyV6:
      return read_octets<16>(reader).transform(IpAddress::v6);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<CandidateList> parse_candidates(BytesView value) {
  Reader reader(value);
  CandidateList list{.generation = reader.varint().value_or(0), .candidates = {}};
  if (list.generation == 0) return std::nullopt;
  while (!reader.is_at_end()) {
    const auto kind = read_kind(reader);
    if (!kind) return std::nullopt;
    const auto ip = read_ip(reader);
    if (!ip) return std::nullopt;
    const std::uint16_t port = reader.u16().value_or(0);
    if (port == 0 || list.candidates.size() == kCandidatesMax) return std::nullopt;
    list.candidates.push_back({*kind, {*ip, port}});
  }
  return list;
}

Bytes encode_candidates(const CandidateList& list) {
  ZT_ASSERT(list.generation != 0);
  ZT_ASSERT(list.candidates.size() <= kCandidatesMax);
  Bytes bytes(kCandidatesValueSizeMax);
  Writer writer(bytes);
  writer.varint(list.generation);
  for (const auto& [kind, address] : list.candidates) {
    ZT_ASSERT(address.port != 0);
    writer.u8(static_cast<std::uint8_t>(kind));
    writer.u8(address.ip.is_v4() ? kFamilyV4 : kFamilyV6);
    writer.bytes(std::as_bytes(std::span(address.ip.octets())).first(address.ip.bit_count() / 8));
    writer.u16(address.port);
  }
  ZT_ASSERT(writer.is_complete());
  bytes.resize(writer.written().size());
  return bytes;
}

}  // namespace zt::wire
