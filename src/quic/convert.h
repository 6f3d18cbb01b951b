// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/convert.h: our times, addresses and bytes as ngtcp2 wants them, and back. Nowhere else.

#include <ngtcp2/ngtcp2.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>

#include "zt/base/bytes.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"

namespace zt::quic {

// ngtcp2 counts unsigned nanoseconds; an Instant may lie before its clock's zero in a simulation.
inline constexpr std::int64_t kTimestampOfZero = std::int64_t{1} << 50;  // About 13 days.
inline constexpr ngtcp2_tstamp kTimestampNever = std::numeric_limits<ngtcp2_tstamp>::max();

[[nodiscard]] inline ngtcp2_tstamp to_timestamp(Instant instant) {
  const std::int64_t count = instant.time_since_epoch().count();
  return static_cast<ngtcp2_tstamp>(std::max<std::int64_t>(count, -kTimestampOfZero) +
                                    kTimestampOfZero);
}

// from_timestamp returns nothing for "never".
[[nodiscard]] inline std::optional<Instant> from_timestamp(ngtcp2_tstamp timestamp) {
  if (timestamp >= static_cast<ngtcp2_tstamp>(std::numeric_limits<std::int64_t>::max())) {
    return std::nullopt;
  }
  return Instant(Duration(static_cast<std::int64_t>(timestamp) - kTimestampOfZero));
}

[[nodiscard]] inline ngtcp2_duration to_native(Duration duration) {
  return static_cast<ngtcp2_duration>(std::max<std::int64_t>(duration.count(), 0));
}

[[nodiscard]] inline Duration from_native_duration(ngtcp2_duration duration) {
  constexpr auto kMax = static_cast<ngtcp2_duration>(std::numeric_limits<std::int64_t>::max());
  return Duration(static_cast<std::int64_t>(std::min(duration, kMax)));
}

// NativeAddress is a socket address in the form of the C library.
struct NativeAddress {
  ngtcp2_sockaddr_union storage{};
  ngtcp2_socklen size = 0;
};

[[nodiscard]] inline std::uint16_t to_network_order(std::uint16_t value) {
  return std::endian::native == std::endian::little
             ? static_cast<std::uint16_t>((value << 8U) | (value >> 8U))
             : value;
}

[[nodiscard]] inline NativeAddress to_native(const SocketAddress& address) {
  NativeAddress native;
  const auto& octets = address.ip.octets();
  if (address.ip.is_v4()) {
    native.storage.in.sin_family = AF_INET;
    native.storage.in.sin_port = to_network_order(address.port);
    std::memcpy(&native.storage.in.sin_addr, octets.data(), sizeof(native.storage.in.sin_addr));
    native.size = sizeof(native.storage.in);
  } else {
    native.storage.in6.sin6_family = AF_INET6;
    native.storage.in6.sin6_port = to_network_order(address.port);
    std::ranges::copy(octets, std::begin(native.storage.in6.sin6_addr.s6_addr));
    native.size = sizeof(native.storage.in6);
  }
  return native;
}

// The libraries speak of bytes as uint8_t, which may alias std::byte and back.
[[nodiscard]] inline const std::uint8_t* octets_of(std::span<const std::byte> bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}
[[nodiscard]] inline std::uint8_t* octets_of(std::span<std::byte> bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  return reinterpret_cast<std::uint8_t*>(bytes.data());
}
[[nodiscard]] inline std::uint8_t* octets_of(const std::byte* bytes) {
  // ngtcp2's vectors are not const, although it only reads them.
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-*)
  return reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(bytes));
}
[[nodiscard]] inline BytesView bytes_of(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

}  // namespace zt::quic
