// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/address_pattern.h: which hosts a resource stands for.
//
// Theory of operation
//   A pattern has one of four forms: an address ("10.0.0.7"), a prefix ("10.0.0.0/8"), a name
//   ("db.internal") or a name with wildcards ("*.dev.internal", where `*` is any characters and `?`
//   is one). Of several patterns that match a host, the most specific one speaks: a longer prefix
//   before a shorter one, a name before a wildcard, more literal characters before fewer.
//
//   Names match names and addresses match addresses; nothing is resolved here. An IPv4-mapped IPv6
//   address is the IPv4 address, because the kernel dials it as such. Every other IPv6 address that
//   carries an IPv4 address (NAT64, 6to4, … see `unwrapped`) matches the patterns of both, but what
//   it matches only as IPv4 closes doors and opens none; best_matches in resource.h sees to it.
// Limits: kPatternSizeMax characters.
// Cost: a match allocates nothing.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "zt/base/host.h"
#include "zt/base/ip.h"

namespace zt::policy {

inline constexpr std::size_t kPatternSizeMax = 253;

// canonical_host returns the IPv4 address of an IPv4-mapped IPv6 address, and all other hosts as
// they are.
[[nodiscard]] Host canonical_host(const Host& host);

// Specificity orders the patterns that match one host; greater is more specific. Patterns of names
// and of addresses are never compared, because none matches the other's hosts.
enum class Specificity : std::uint32_t {};

// WildcardName is a name in lower case with at least one `*` or `?`.
struct WildcardName {
  std::string text;

  friend auto operator<=>(const WildcardName&, const WildcardName&) = default;
  friend bool operator==(const WildcardName&, const WildcardName&) = default;
};

class AddressPattern {
 public:
  // parse accepts the four forms. It refuses host bits in prefixes, names that are none, wildcards
  // with empty labels, and wildcards without a letter but with a digit ("10.0.*"), which would look
  // like addresses and match none.
  [[nodiscard]] static std::optional<AddressPattern> parse(std::string_view text);

  // to_text returns the pattern in its one spelling; parse accepts it.
  [[nodiscard]] std::string to_text() const;

  // matches compares canonical_host(host) with the pattern.
  [[nodiscard]] bool matches(const Host& host) const;

  // literal_host returns the host of a pattern that stands for exactly one.
  [[nodiscard]] std::optional<Host> literal_host() const;

  // specificity is, for addresses, the length of the prefix in IPv6 bits (IPv4's plus 96); for
  // names, the number of literal characters, and above all wildcards without any.
  [[nodiscard]] Specificity specificity() const;

  friend auto operator<=>(const AddressPattern&, const AddressPattern&) = default;
  friend bool operator==(const AddressPattern&, const AddressPattern&) = default;

 private:
  using Form = std::variant<IpPrefix, DnsName, WildcardName>;
  explicit AddressPattern(Form form) : form_(std::move(form)) {}

  Form form_;
};

}  // namespace zt::policy
