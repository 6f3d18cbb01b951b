// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/address_pattern.h"

#include <algorithm>
#include <array>

#include "zt/base/ascii.h"

namespace zt::policy {
namespace {

constexpr unsigned kMappedBits = 96;  // The length of ::ffff:0:0/96.

bool is_wildcard(char c) {
  return c == '*' || c == '?';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_other_name_character(char c) {
  return c == '-' || c == '_' || c == '.';
}

bool is_mapped(const IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return address.is_v6() && std::equal(kPrefix.begin(), kPrefix.end(), address.octets().begin());
}

// canonical_prefix turns a prefix within the IPv4-mapped addresses into IPv4.
IpPrefix canonical_prefix(const IpPrefix& prefix) {
  if (!is_mapped(prefix.address) || prefix.length < kMappedBits) return prefix;
  return {.address = unwrapped(prefix.address), .length = prefix.length - kMappedBits};
}

std::optional<WildcardName> parse_wildcard(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kPatternSizeMax) return std::nullopt;
  std::string name = to_lower(text);
  const bool has_wildcard = std::ranges::any_of(name, is_wildcard);
  const bool is_of_names = std::ranges::all_of(name, [](char c) {
    return is_wildcard(c) || is_digit(c) || is_letter(c) || is_other_name_character(c);
  });
  const bool has_empty_label =
      name.starts_with('.') || name.ends_with('.') || name.find("..") != std::string::npos;
  const bool looks_like_address =
      std::ranges::any_of(name, is_digit) && std::ranges::none_of(name, is_letter);
  if (!has_wildcard || !is_of_names || has_empty_label || looks_like_address) return std::nullopt;
  return WildcardName{std::move(name)};
}

}  // namespace

Host canonical_host(const Host& host) {
  const auto* address = std::get_if<IpAddress>(&host);
  if (address == nullptr || !is_mapped(*address)) return host;
  return unwrapped(*address);
}

std::optional<AddressPattern> AddressPattern::parse(std::string_view text) {
  if (const auto prefix = IpPrefix::parse(text)) return AddressPattern(canonical_prefix(*prefix));
  if (auto name = DnsName::parse(text)) return AddressPattern(*std::move(name));
  if (auto wildcard = parse_wildcard(text)) return AddressPattern(*std::move(wildcard));
  return std::nullopt;
}

std::string AddressPattern::to_text() const {
  if (const auto literal = literal_host()) return zt::to_text(*literal);
  if (const auto* prefix = std::get_if<IpPrefix>(&form_)) return prefix->to_text();
  return std::get<WildcardName>(form_).text;
}

bool AddressPattern::matches(const Host& host) const {
  const Host canonical = canonical_host(host);
  if (const auto* address = std::get_if<IpAddress>(&canonical)) {
    const auto* prefix = std::get_if<IpPrefix>(&form_);
    return prefix != nullptr && prefix->contains(*address);
  }
  const DnsName& name = std::get<DnsName>(canonical);
  if (const auto* exact = std::get_if<DnsName>(&form_)) return *exact == name;
  const auto* wildcard = std::get_if<WildcardName>(&form_);
  return wildcard != nullptr && matches_wildcard(wildcard->text, name.text());
}

std::optional<Host> AddressPattern::literal_host() const {
  if (const auto* name = std::get_if<DnsName>(&form_)) return *name;
  const auto* prefix = std::get_if<IpPrefix>(&form_);
  if (prefix == nullptr || prefix->length < prefix->address.bit_count()) return std::nullopt;
  return prefix->address;
}

Specificity AddressPattern::specificity() const {
  if (const auto* prefix = std::get_if<IpPrefix>(&form_)) {
    return static_cast<Specificity>(prefix->length + (prefix->address.is_v4() ? kMappedBits : 0));
  }
  if (const auto* wildcard = std::get_if<WildcardName>(&form_)) {
    const auto literals =
        std::ranges::count_if(wildcard->text, [](char c) { return !is_wildcard(c); });
    return static_cast<Specificity>(literals);
  }
  // All names that match a host are equal to it, hence to each other.
  return static_cast<Specificity>(kPatternSizeMax + 1);
}

}  // namespace zt::policy
