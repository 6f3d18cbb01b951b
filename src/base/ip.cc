// SPDX-License-Identifier: Apache-2.0
#include "zt/base/ip.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "zt/base/decimal.h"

namespace zt {
namespace {

using Groups = std::array<std::uint16_t, 8>;

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  std::array<std::uint8_t, 4> octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t dot = text.find('.');
    const bool is_last = i + 1 == octets.size();
    if ((dot == std::string_view::npos) != is_last) return std::nullopt;
    const auto octet = parse_decimal<std::uint8_t>(text.substr(0, dot));
    if (!octet) return std::nullopt;
    octets[i] = *octet;
    text.remove_prefix(is_last ? text.size() : dot + 1);
  }
  return octets;
}

std::optional<std::uint16_t> parse_group(std::string_view text) {
  if (text.empty() || text.size() > 4) return std::nullopt;
  std::uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Part is a run of groups on one side of "::".
struct Part {
  Groups groups{};
  std::size_t count = 0;

  bool push(std::uint16_t group) {
    if (count == groups.size()) return false;
    groups[count++] = group;
    return true;
  }
};

// parse_part reads groups that colons separate. Only the end of an address may be dotted quad.
std::optional<Part> parse_part(std::string_view text, bool is_end_of_address) {
  Part part;
  if (text.empty()) return part;
  while (true) {
    const std::size_t colon = text.find(':');
    const std::string_view piece = text.substr(0, colon);
    const bool is_last = colon == std::string_view::npos;
    if (is_last && is_end_of_address && piece.find('.') != std::string_view::npos) {
      const auto octets = parse_v4(piece);
      if (!octets) return std::nullopt;
      for (std::size_t i = 0; i < 4; i += 2) {
        const unsigned group = ((*octets)[i] * 256U) + (*octets)[i + 1];
        if (!part.push(static_cast<std::uint16_t>(group))) return std::nullopt;
      }
      return part;
    }
    const auto group = parse_group(piece);
    if (!group || !part.push(*group)) return std::nullopt;
    if (is_last) return part;
    text.remove_prefix(colon + 1);
  }
}

std::optional<Groups> parse_v6(std::string_view text) {
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    const auto whole = parse_part(text, true);
    if (!whole || whole->count != 8) return std::nullopt;
    return whole->groups;
  }
  auto before = parse_part(text.substr(0, gap), false);
  const auto after = parse_part(text.substr(gap + 2), true);
  // "::" stands for at least one group.
  if (!before || !after || before->count + after->count > 7) return std::nullopt;
  std::copy_n(after->groups.begin(), after->count,
              before->groups.end() - static_cast<std::ptrdiff_t>(after->count));
  return before->groups;
}

Groups groups_of(const IpAddress& address) {
  Groups groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = static_cast<std::uint16_t>((address.octets()[2 * i] * 256U) +
                                           address.octets()[(2 * i) + 1]);
  }
  return groups;
}

std::string dotted_quad(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  std::string text = std::to_string(a);
  for (const std::uint8_t octet : {b, c, d}) text.append(".").append(std::to_string(octet));
  return text;
}

// Run is a run of zero groups.
struct Run {
  std::size_t begin = 0;
  std::size_t count = 0;
};

// longest_zero_run finds what "::" stands for: the first of the longest runs of two or more zero
// groups (RFC 5952 section 4.2).
Run longest_zero_run(const Groups& groups) {
  Run longest;
  Run current;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    current = groups[i] == 0 ? Run{.begin = i - current.count, .count = current.count + 1}
                             : Run{.begin = i + 1, .count = 0};
    if (current.count > longest.count) longest = current;
  }
  return longest.count >= 2 ? longest : Run{};
}

std::string hex_text(const Groups& groups) {
  const Run gap = longest_zero_run(groups);
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (gap.count > 0 && i == gap.begin) {
      text.append("::");
      i += gap.count - 1;
      continue;
    }
    if (!text.empty() && !text.ends_with(':')) text.push_back(':');
    std::array<char, 4> digits{};
    const auto [end, error] = std::to_chars(digits.begin(), digits.end(), groups[i], 16);
    (void)error;  // Four digits hold every 16-bit value.
    text.append(digits.begin(), end);
  }
  return text;
}

bool begins_with(const IpAddress& address, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), address.octets().begin());
}

// v4_within reads the IPv4 address at four places of an IPv6 address.
IpAddress v4_within(const IpAddress& address, std::array<std::size_t, 4> places) {
  std::array<std::uint8_t, 4> octets{};
  for (std::size_t i = 0; i < 4; ++i) octets[i] = address.octets()[places[i]];
  return IpAddress::v4(octets);
}

// v4_within_local_nat64 reads 64:ff9b:1::/48, whose prefix length only its network knows. The
// suffix after the IPv4 address is zero in every form (RFC 6052 section 2.2).
IpAddress v4_within_local_nat64(const IpAddress& address) {
  const auto& octets = address.octets();
  std::size_t used = octets.size();
  while (used > 0 && octets[used - 1] == 0) --used;
  if (used <= 11) return v4_within(address, {6, 7, 9, 10});
  if (used == 12) return v4_within(address, {7, 9, 10, 11});
  if (used == 13) return v4_within(address, {9, 10, 11, 12});
  return v4_within(address, {12, 13, 14, 15});
}

bool is_any_of(const IpAddress& address, std::initializer_list<std::string_view> texts) {
  return std::ranges::any_of(
      texts, [&](std::string_view text) { return IpAddress::parse(text) == address; });
}

AddressKind kind_of_v4(const IpAddress& address) {
  const auto& octets = address.octets();
  if (is_any_of(address, {"169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200",
                          "168.63.129.16", "192.0.0.192"})) {
    return AddressKind::metadata;
  }
  if (octets[0] == 0) return AddressKind::unspecified;
  if (octets[0] == 127) return AddressKind::loopback;
  if (begins_with(address, {169, 254})) return AddressKind::link_local;
  if (begins_with(address, {255, 255, 255, 255})) return AddressKind::broadcast;
  if (octets[0] >= 240) return AddressKind::reserved;
  if (octets[0] >= 224) return AddressKind::multicast;
  if (begins_with(address, {192, 0, 0})) {
    const bool is_global = octets[3] == 9 || octets[3] == 10;  // RFC 7723, RFC 8155.
    return is_global ? AddressKind::global : AddressKind::reserved;
  }
  const bool is_documentation = begins_with(address, {192, 0, 2}) ||
                                begins_with(address, {198, 51, 100}) ||
                                begins_with(address, {203, 0, 113});
  return is_documentation ? AddressKind::reserved : AddressKind::global;
}

AddressKind kind_of_v6(const IpAddress& address) {
  const auto& octets = address.octets();
  if (is_any_of(address, {"::"})) return AddressKind::unspecified;
  if (is_any_of(address, {"::1"})) return AddressKind::loopback;
  if (is_any_of(address, {"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"})) {
    return AddressKind::metadata;
  }
  if (octets[0] == 0xff) return AddressKind::multicast;
  if (octets[0] == 0xfe && (octets[1] & 0xc0U) == 0x80) return AddressKind::link_local;
  const bool is_documentation = begins_with(address, {0x20, 0x01, 0x0d, 0xb8}) ||
                                (begins_with(address, {0x3f, 0xff}) && (octets[2] & 0xf0U) == 0);
  const bool is_discarded = begins_with(address, {0x01, 0, 0, 0, 0, 0, 0, 0});
  return is_documentation || is_discarded ? AddressKind::reserved : AddressKind::global;
}

// has_bits_after tells whether any bit of `address` from `length` on is set.
bool has_bits_after(const IpAddress& address, unsigned length) {
  for (unsigned bit = length; bit < address.bit_count(); ++bit) {
    if ((address.octets()[bit / 8] >> (7U - bit % 8) & 1U) != 0) return true;
  }
  return false;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto octets = parse_v4(text);
    if (!octets) return std::nullopt;
    return v4(*octets);
  }
  const auto groups = parse_v6(text);
  if (!groups) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < groups->size(); ++i) {
    octets[2 * i] = static_cast<std::uint8_t>((*groups)[i] >> 8U);
    octets[(2 * i) + 1] = static_cast<std::uint8_t>((*groups)[i] & 255U);
  }
  return v6(octets);
}

std::string IpAddress::to_text() const {
  if (is_v4()) return dotted_quad(octets_[0], octets_[1], octets_[2], octets_[3]);
  if (begins_with(*this, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) {
    return "::ffff:" + dotted_quad(octets_[12], octets_[13], octets_[14], octets_[15]);
  }
  return hex_text(groups_of(*this));
}

IpAddress unwrapped(const IpAddress& address) {
  if (address.is_v4()) return address;
  const auto& octets = address.octets();
  const bool is_unspecified_or_loopback =
      begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) && octets[15] <= 1;
  const bool is_compatible = begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const bool is_mapped = begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff});
  const bool is_translated = begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0});
  const bool is_nat64 = begins_with(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0});
  const bool is_isatap =
      (octets[8] & 0xfdU) == 0 && octets[9] == 0 && octets[10] == 0x5e && octets[11] == 0xfe;
  if (is_unspecified_or_loopback) return address;
  if (begins_with(address, {0, 0x64, 0xff, 0x9b, 0, 1})) return v4_within_local_nat64(address);
  if (begins_with(address, {0x20, 0x02})) return v4_within(address, {2, 3, 4, 5});
  if (begins_with(address, {0x20, 0x01, 0, 0})) {
    // Teredo keeps the client's address with each bit inverted (RFC 4380 section 4).
    std::array<std::uint8_t, 4> client{};
    for (std::size_t i = 0; i < 4; ++i) client[i] = static_cast<std::uint8_t>(~octets[12 + i]);
    return IpAddress::v4(client);
  }
  if (is_compatible || is_mapped || is_translated || is_nat64 || is_isatap) {
    return v4_within(address, {12, 13, 14, 15});
  }
  return address;
}

AddressKind kind_of(const IpAddress& address) {
  const AddressKind kind = address.is_v4() ? kind_of_v4(address) : kind_of_v6(address);
  if (kind != AddressKind::global) return kind;
  const IpAddress inner = unwrapped(address);
  return inner.is_v4() ? kind_of_v4(inner) : kind;
}

std::string_view to_text(AddressKind kind) {
  switch (kind) {
    case AddressKind::global:
      return "global";
    case AddressKind::unspecified:
      return "unspecified";
    case AddressKind::loopback:
      return "loopback";
    case AddressKind::link_local:
      return "link-local";
    case AddressKind::metadata:
      return "metadata";
    case AddressKind::multicast:
      return "multicast";
    case AddressKind::broadcast:
      return "broadcast";
    case AddressKind::reserved:
      return "reserved";
  }
  return "unknown";
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos)
    return IpPrefix{.address = *address, .length = address->bit_count()};
  const auto length = parse_decimal(text.substr(slash + 1), address->bit_count());
  if (!length || has_bits_after(*address, *length)) return std::nullopt;
  return IpPrefix{.address = *address, .length = *length};
}

bool IpPrefix::contains(const IpAddress& candidate) const {
  if (candidate.is_v4() != address.is_v4()) return false;
  const std::size_t whole_octets = length / 8;
  const auto& ours = address.octets();
  const auto& theirs = candidate.octets();
  if (!std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(whole_octets),
                  theirs.begin())) {
    return false;
  }
  if (length % 8 == 0) return true;
  const unsigned shift = 8 - (length % 8);
  return ours[whole_octets] >> shift == theirs[whole_octets] >> shift;
}

std::string IpPrefix::to_text() const {
  return address.to_text() + "/" + std::to_string(length);
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool is_bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  const auto port = parse_port(text.substr(colon + 1));
  if (!ip || !port || ip->is_v6() != is_bracketed) return std::nullopt;
  return SocketAddress{.ip = *ip, .port = *port};
}

std::string SocketAddress::to_text() const {
  const std::string host = ip.is_v6() ? "[" + ip.to_text() + "]" : ip.to_text();
  return host + ":" + std::to_string(port);
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto port = parse_decimal<std::uint16_t>(text);
  if (port == 0) return std::nullopt;
  return port;
}

}  // namespace zt

std::size_t std::hash<zt::SocketAddress>::operator()(
    const zt::SocketAddress& address) const noexcept {
  // FNV-1a over what distinguishes two addresses, then a mix of the high bits into the low ones,
  // which tables use.
  std::uint64_t mixed = 0xcbf29ce484222325U;
  const auto add = [&mixed](std::uint8_t octet) { mixed = (mixed ^ octet) * 0x100000001b3U; };
  for (const std::uint8_t octet : address.ip.octets()) add(octet);
  add(address.ip.is_v6() ? 1 : 0);
  add(static_cast<std::uint8_t>(address.port >> 8U));
  add(static_cast<std::uint8_t>(address.port & 255U));
  return static_cast<std::size_t>(mixed ^ (mixed >> 32U));
}
