// SPDX-License-Identifier: Apache-2.0
#include "node/watch_message.h"

#include <algorithm>
#include <utility>

#include "wire/json.h"
#include "zt/base/rfc3339.h"

namespace zt::node {

namespace {

using wire::Json;
using Error = std::unexpected<WatchError>;

std::optional<std::uint64_t> revision_of(const Json& object) {
  const auto found = object.find("revision");
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

// keys_of returns the "jwks" member as text; it must be an object.
std::optional<std::string> keys_of(const Json& object) {
  const auto found = object.find("jwks");
  if (found == object.end() || !found->is_object()) return std::nullopt;
  return wire::json_text(*found);
}

std::optional<RelayPlace> parse_relay(const Json& object) {
  if (!object.is_object()) return std::nullopt;
  const auto id = parse_id_as<RelayIdTag>(wire::text_or_empty(object, "id"));
  const auto address = Authority::parse(wire::text_or_empty(object, "address"));
  const auto certificate = Digest::parse(wire::text_or_empty(object, "certificate"));
  if (!id || !address || !certificate) return std::nullopt;
  const auto load = object.find("load");
  const bool has_load = load != object.end() && load->is_number_unsigned();
  return RelayPlace{.id = *id,
                    .name = wire::text_or_empty(object, "name"),
                    .region = wire::text_or_empty(object, "region"),
                    .address = *address,
                    .certificate = *certificate,
                    // Who is beyond measure is the last choice.
                    .load = has_load ? std::uint32_t(std::min<std::uint64_t>(
                                           load->get<std::uint64_t>(), UINT32_MAX))
                                     : 0};
}

std::expected<std::vector<RelayPlace>, WatchError> parse_relays(const Json& message) {
  const auto list = message.find("relays");
  if (list == message.end() || !list->is_array()) return Error(WatchError::malformed);
  if (list->size() > kWatchRelaysMax) return Error(WatchError::too_many);
  std::vector<RelayPlace> relays;
  for (const Json& entry : *list) {
    auto relay = parse_relay(entry);
    if (!relay) return Error(WatchError::malformed);
    relays.push_back(std::move(*relay));
  }
  return relays;
}

std::expected<RelayPass, WatchError> parse_pass(const Json& message) {
  const auto token = wire::text_member(message, "relay_token");
  const auto route = RouteId::parse(wire::text_or_empty(message, "route"));
  const auto expires_at = parse_rfc3339(wire::text_or_empty(message, "relay_token_expires"));
  if (!token || token->empty() || !route || !expires_at) return Error(WatchError::malformed);
  return RelayPass{.route = *route, .token = Secret(*token), .expires_at = *expires_at};
}

std::expected<std::vector<Digest>, WatchError> parse_blocked(const Json& tenant) {
  std::vector<Digest> blocked;
  const auto list = tenant.find("blocked");
  if (list == tenant.end()) return blocked;  // A controller of before.
  if (!list->is_array()) return Error(WatchError::malformed);
  if (list->size() > kWatchBlockedMax) return Error(WatchError::too_many);
  for (const Json& entry : *list) {
    const auto certificate =
        entry.is_string() ? Digest::parse(entry.get_ref<const std::string&>()) : std::nullopt;
    if (!certificate) return Error(WatchError::malformed);
    blocked.push_back(*certificate);
  }
  return blocked;
}

std::expected<std::vector<TenantKeys>, WatchError> parse_tenants(const Json& message) {
  std::vector<TenantKeys> tenants;
  const auto list = message.find("tenants");
  if (list == message.end()) return tenants;
  if (!list->is_array()) return Error(WatchError::malformed);
  if (list->size() > kWatchTenantsMax) return Error(WatchError::too_many);
  for (const Json& entry : *list) {
    if (!entry.is_object()) return Error(WatchError::malformed);
    const auto tenant = parse_id_as<TenantIdTag>(wire::text_or_empty(entry, "tenant"));
    auto jwks = keys_of(entry);
    if (!tenant || !jwks) return Error(WatchError::malformed);
    auto blocked = parse_blocked(entry);
    if (!blocked) return Error(blocked.error());
    tenants.push_back(
        {.tenant = *tenant, .jwks = std::move(*jwks), .blocked = std::move(*blocked)});
  }
  return tenants;
}

std::expected<std::vector<GrantId>, WatchError> parse_grants(const Json& message,
                                                             const char* name) {
  std::vector<GrantId> grants;
  const auto list = message.find(name);
  if (list == message.end()) return grants;
  if (!list->is_array()) return Error(WatchError::malformed);
  if (list->size() > kWatchGrantsMax) return Error(WatchError::too_many);
  for (const Json& entry : *list) {
    if (!entry.is_string()) return Error(WatchError::malformed);
    const auto grant = parse_id_as<GrantIdTag>(entry.get_ref<const std::string&>());
    if (!grant) return Error(WatchError::malformed);
    grants.push_back(*grant);
  }
  return grants;
}

std::expected<WatchMessage, WatchError> parse_snapshot(const Json& message) {
  WatchSnapshot snapshot;
  const auto revision = revision_of(message);
  if (!revision) return Error(WatchError::malformed);
  snapshot.revision = *revision;
  snapshot.config = wire::text_or_empty(message, "config");
  snapshot.jwks = keys_of(message).value_or(std::string());
  if (message.contains("relays")) {
    auto relays = parse_relays(message);
    if (!relays) return Error(relays.error());
    snapshot.relays = std::move(*relays);
  }
  if (message.contains("relay_token")) {
    auto pass = parse_pass(message);
    if (!pass) return Error(pass.error());
    snapshot.pass = std::move(*pass);
  }
  auto tenants = parse_tenants(message);
  if (!tenants) return Error(tenants.error());
  snapshot.tenants = std::move(*tenants);
  auto revoked = parse_grants(message, "revoked");
  if (!revoked) return Error(revoked.error());
  snapshot.revoked = std::move(*revoked);
  return snapshot;
}

std::expected<WatchMessage, WatchError> parse_delta(const Json& message) {
  const auto revision = revision_of(message);
  const auto config = wire::text_member(message, "config");
  if (!revision || !config) return Error(WatchError::malformed);
  return WatchDelta{.revision = *revision, .config = std::string(*config)};
}

std::expected<WatchMessage, WatchError> parse_keys(const Json& message) {
  auto tenants = parse_tenants(message);
  if (!tenants) return Error(tenants.error());
  auto jwks = keys_of(message);
  if (!jwks && tenants->empty()) return Error(WatchError::malformed);
  return WatchKeys{.jwks = jwks.value_or(std::string()), .tenants = std::move(*tenants)};
}

std::expected<WatchMessage, WatchError> parse_revoke(const Json& message) {
  if (!message.contains("grants")) return Error(WatchError::malformed);
  auto grants = parse_grants(message, "grants");
  if (!grants) return Error(grants.error());
  return WatchRevoke{.grants = std::move(*grants),
                     .reason = wire::text_or_empty(message, "reason")};
}

}  // namespace

std::expected<WatchMessage, WatchError> parse_watch_message(std::string_view line) {
  const Json message = wire::parse_json_object(line);
  if (!message.is_object()) return Error(WatchError::malformed);
  const auto type = wire::text_member(message, "type");
  if (!type) return Error(WatchError::malformed);
  if (*type == "snapshot") return parse_snapshot(message);
  if (*type == "delta") return parse_delta(message);
  if (*type == "jwks") return parse_keys(message);
  if (*type == "revoke") return parse_revoke(message);
  if (*type == "ping") return WatchPing{};
  if (*type == "observed") {
    const auto address = SocketAddress::parse(wire::text_or_empty(message, "address"));
    if (!address) return Error(WatchError::malformed);
    return WatchObserved{.address = *address};
  }
  if (*type == "relays") {
    auto relays = parse_relays(message);
    if (!relays) return Error(relays.error());
    return WatchRelays{.relays = std::move(*relays)};
  }
  if (*type == "relay_token") {
    auto pass = parse_pass(message);
    if (!pass) return Error(pass.error());
    return WatchPass{.pass = std::move(*pass)};
  }
  return WatchUnknown{.type = std::string(*type)};
}

}  // namespace zt::node
