// SPDX-License-Identifier: Apache-2.0
#include "zt/base/host.h"

#include <algorithm>

#include "zt/base/ascii.h"

namespace zt {
namespace {

constexpr std::size_t kLabelSizeMax = 63;
constexpr std::size_t kNameSizeMax = 253;

bool is_digit(char character) {
  return character >= '0' && character <= '9';
}

bool is_hex_digit(char character) {
  return is_digit(character) || (character >= 'a' && character <= 'f');
}

bool is_name_character(char character) {
  return (character >= 'a' && character <= 'z') || is_digit(character) || character == '-' ||
         character == '_';
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= kLabelSizeMax && label.front() != '-' &&
         label.back() != '-' && std::ranges::all_of(label, is_name_character);
}

// looks_like_number tells whether a resolver would read a name that ends in `label` as IPv4.
bool looks_like_number(std::string_view label) {
  if (std::ranges::all_of(label, is_digit)) return true;
  if (!label.starts_with("0x")) return false;
  label.remove_prefix(2);
  return std::ranges::all_of(label, is_hex_digit);
}

}  // namespace

std::optional<DnsName> DnsName::parse(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kNameSizeMax) return std::nullopt;
  std::string name = to_lower(text);
  std::string_view rest = name;
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (!is_label(label)) return std::nullopt;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (looks_like_number(rest)) return std::nullopt;
  return DnsName(std::move(name));
}

std::optional<Host> parse_host(std::string_view text) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    const auto address = IpAddress::parse(text.substr(1, text.size() - 2));
    if (!address || address->is_v4()) return std::nullopt;
    return Host(*address);
  }
  if (const auto address = IpAddress::parse(text)) return Host(*address);
  if (auto name = DnsName::parse(text)) return Host(*std::move(name));
  return std::nullopt;
}

std::string to_text(const Host& host) {
  if (const auto* address = std::get_if<IpAddress>(&host)) return address->to_text();
  return std::get<DnsName>(host).text();
}

std::optional<Authority> Authority::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view host_text = text.substr(0, colon);
  const bool has_colon = host_text.find(':') != std::string_view::npos;
  if (has_colon && !host_text.starts_with('[')) return std::nullopt;
  auto host = parse_host(host_text);
  const auto port = parse_port(text.substr(colon + 1));
  if (!host || !port) return std::nullopt;
  return Authority{.host = *std::move(host), .port = *port};
}

std::string Authority::to_text() const {
  const auto* address = std::get_if<IpAddress>(&host);
  const bool has_brackets = address != nullptr && address->is_v6();
  const std::string text = zt::to_text(host);
  return (has_brackets ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

bool matches_wildcard(std::string_view pattern, std::string_view name) {
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t in_pattern = 0;
  std::size_t in_name = 0;
  // The last `*` seen, and how much of the name was consumed before it. A later `*` makes earlier
  // ones irrelevant, therefore one place to go back to is enough.
  std::size_t star = kNone;
  std::size_t resume = 0;
  while (in_name < name.size()) {
    const bool has_more = in_pattern < pattern.size();
    if (has_more && pattern[in_pattern] == '*') {
      star = in_pattern++;
      resume = in_name;
    } else if (has_more && (pattern[in_pattern] == '?' ||
                            to_lower(pattern[in_pattern]) == to_lower(name[in_name]))) {
      ++in_pattern;
      ++in_name;
    } else if (star != kNone) {
      in_pattern = star + 1;
      in_name = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in_pattern) == kNone;
}

}  // namespace zt
