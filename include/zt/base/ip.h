// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/ip.h: IP addresses, ports and prefixes as values, and what kind of place an address is.
//
// Theory of operation
//   An IpAddress is 16 bytes; IPv4 is kept as IPv4, never as a mapped IPv6 address. `unwrapped`
//   undoes every way in which IPv6 can disguise an IPv4 address, so that a rule about 127.0.0.1
//   also catches ::ffff:127.0.0.1, ::127.0.0.1, 64:ff9b::7f00:1, 2002:7f00:1:: and their kin.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace zt {

class IpAddress {
 public:
  constexpr IpAddress() = default;  // 0.0.0.0

  [[nodiscard]] static constexpr IpAddress v4(std::array<std::uint8_t, 4> octets) {
    IpAddress address;
    for (std::size_t i = 0; i < 4; ++i) address.octets_[i] = octets[i];
    return address;
  }
  [[nodiscard]] static constexpr IpAddress v6(std::array<std::uint8_t, 16> octets) {
    IpAddress address;
    address.is_v6_ = true;
    address.octets_ = octets;
    return address;
  }

  // parse accepts dotted-quad IPv4 (four decimal numbers without leading zeros) and the text forms
  // of RFC 4291 section 2.2. Zones ("%eth0"), prefixes, and other spellings of IPv4 (octal,
  // hexadecimal, fewer parts) are refused.
  [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);

  // to_text writes dotted quad, or the canonical form of RFC 5952 (mapped addresses in the mixed
  // notation of its section 5, all others in hexadecimal).
  [[nodiscard]] std::string to_text() const;

  [[nodiscard]] constexpr bool is_v4() const { return !is_v6_; }
  [[nodiscard]] constexpr bool is_v6() const { return is_v6_; }
  [[nodiscard]] constexpr unsigned bit_count() const { return is_v6_ ? 128 : 32; }

  // octets returns 16 bytes in network order; for IPv4 the first four count and the rest are zero.
  [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& octets() const& { return octets_; }
  // octets of a temporary are a copy, which a reference keeps alive.
  [[nodiscard]] constexpr std::array<std::uint8_t, 16> octets() const&& { return octets_; }

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  bool is_v6_ = false;
  std::array<std::uint8_t, 16> octets_{};
};

// unwrapped returns the IPv4 address that an IPv6 address carries: mapped (::ffff:0:0/96),
// compatible
// (::/96 but not :: and ::1), translated (::ffff:0:0:0/96), NAT64 (64:ff9b::/96), local NAT64
// (64:ff9b:1::/48, read by the longest zero suffix as the /48, /56, /64 or /96 form of RFC 6052
// section 2.2), 6to4 (2002::/16), Teredo's client (2001::/32), ISATAP (…:0:5efe:a.b.c.d,
// …:200:5efe:…). Any other address is returned as it is.
[[nodiscard]] IpAddress unwrapped(const IpAddress& address);

// AddressKind sorts addresses by how dangerous it is to dial them for somebody else. Sources: RFC
// 6890 registries, RFC 4291, RFC 3927, cloud metadata services.
enum class AddressKind : std::uint8_t {
  global,       // Everything not named below; private (RFC 1918, ULA) addresses are `global` too,
                // because reaching them is what a connector is for.
  unspecified,  // 0.0.0.0/8, ::
  loopback,     // 127.0.0.0/8, ::1
  link_local,   // 169.254.0.0/16, fe80::/10
  metadata,     // 169.254.169.254, 169.254.170.2, 169.254.170.23, fd00:ec2::254, fd00:ec2::23 (AWS
                // and many others), fd20:ce::254 (Google), 100.100.100.200 (Alibaba),
                // 168.63.129.16 (Azure), 192.0.0.192 (Oracle)
  multicast,    // 224.0.0.0/4, ff00::/8
  broadcast,    // 255.255.255.255
  reserved,     // 240.0.0.0/4, 192.0.0.0/24 but 192.0.0.9 and .10, 100::/64, and documentation:
                // 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20
};

// kind_of looks at the address as it is and, if that is `global`, at the unwrapped address: neither
// a disguise nor a link-local address that carries a global one gets through.
[[nodiscard]] AddressKind kind_of(const IpAddress& address);
[[nodiscard]] std::string_view to_text(AddressKind kind);

// IpPrefix is a CIDR block whose host bits are zero.
struct IpPrefix {
  IpAddress address;
  unsigned length = 0;  // At most address.bit_count().

  // parse accepts "10.0.0.0/8" and "fd00::/8"; it refuses set host bits. A bare address is /32 or
  // /128.
  [[nodiscard]] static std::optional<IpPrefix> parse(std::string_view text);

  // contains compares addresses of the same family only; see `unwrapped` for disguises.
  [[nodiscard]] bool contains(const IpAddress& candidate) const;
  [[nodiscard]] std::string to_text() const;
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};

// SocketAddress is where a datagram or a TCP connection goes.
struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  // parse accepts "192.0.2.1:53" and "[2001:db8::1]:53".
  [[nodiscard]] static std::optional<SocketAddress> parse(std::string_view text);
  [[nodiscard]] std::string to_text() const;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
  friend bool operator==(const SocketAddress&, const SocketAddress&) = default;
};

// parse_port accepts 1 to 65535 in decimal without sign or leading zeros.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text);

}  // namespace zt

template <>
struct std::hash<zt::SocketAddress> {
  std::size_t operator()(const zt::SocketAddress& address) const noexcept;
};
