// SPDX-License-Identifier: Apache-2.0
#include "grant/claims.h"

#include <string>

namespace zt::grant {

std::optional<Digest> confirmation_of(const wire::Json& claims) {
  const auto found = claims.find("cnf");
  if (found == claims.end() || !wire::has_exactly(*found, {"x5t#S256"})) return std::nullopt;
  const auto text = wire::text_member(*found, "x5t#S256");
  return text ? Digest::parse(*text) : std::nullopt;
}

wire::Json to_confirmation(const Digest& certificate) {
  return wire::Json::object({{"x5t#S256", certificate.to_text()}});
}

std::optional<std::vector<PortRange>> ports_of(const wire::Json& list, std::size_t size_max) {
  if (!list.is_array() || list.empty() || list.size() > size_max) return std::nullopt;
  std::vector<PortRange> ports;
  ports.reserve(list.size());
  for (const wire::Json& entry : list) {
    if (!entry.is_string()) return std::nullopt;
    const auto range = PortRange::parse(entry.get_ref<const std::string&>());
    if (!range) return std::nullopt;
    ports.push_back(*range);
  }
  return ports;
}

wire::Json to_ports(const std::vector<PortRange>& ports) {
  wire::Json list = wire::Json::array();
  for (const PortRange& range : ports) list.push_back(range.to_text());
  return list;
}

std::optional<Validity> validity_of(const wire::Json& claims) {
  const auto issued_at = wire::time_member(claims, "iat");
  const auto not_before = wire::time_member(claims, "nbf");
  const auto expires_at = wire::time_member(claims, "exp");
  if (!issued_at || !not_before || !expires_at) return std::nullopt;
  if (*expires_at <= *not_before || *expires_at <= *issued_at) return std::nullopt;
  return Validity{
      .issued_at = *issued_at,
      .not_before = *not_before,
      .expires_at = *expires_at,
  };
}

void set_validity(wire::Json& claims, const Validity& validity) {
  claims["iat"] = unix_seconds(validity.issued_at);
  claims["nbf"] = unix_seconds(validity.not_before);
  claims["exp"] = unix_seconds(validity.expires_at);
}

}  // namespace zt::grant
