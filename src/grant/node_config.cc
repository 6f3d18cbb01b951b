// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/node_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "grant/claims.h"
#include "wire/json.h"
#include "zt/grant/jws.h"

namespace zt::grant {
namespace {

constexpr std::string_view kType = "zt-config+jwt";
constexpr PortRange kAllPorts{1, 65535};

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

bool is_address(std::string_view text) {
  return !text.empty() && text.size() <= ResourceEntry::kAddressSizeMax && is_printable(text);
}

wire::Json to_port_access(const std::vector<PortRange>& ports) {
  if (ports.empty()) return "none";
  if (ports.size() == 1 && ports.front() == kAllPorts) return "all";
  return to_ports(ports);
}

std::optional<std::vector<PortRange>> port_access_of(const wire::Json& value) {
  if (value == "none") return std::vector<PortRange>{};
  if (value == "all") return std::vector<PortRange>{kAllPorts};
  auto ports = ports_of(value, ResourceEntry::kPortsMax);
  if (ports && ports->size() == 1 && ports->front() == kAllPorts) return std::nullopt;
  return ports;
}

constexpr std::array<std::string_view, 3> kUses = {"any", "only", "first"};  // By RelayUse.

wire::Json to_path(const PathRule& rule) {
  wire::Json relays = wire::Json::array();
  for (const RelayId& relay : rule.relays) relays.push_back(relay.text);
  return {{"paths", to_text(rule.paths)},
          {"use", kUses.at(std::size_t(rule.use))},
          {"relays", std::move(relays)}};
}

// path_of reads a rule that restricts something. It has one spelling.
std::optional<PathRule> path_of(const wire::Json& object) {
  if (!wire::has_exactly(object, {"paths", "use", "relays"})) return std::nullopt;
  const auto paths = parse_paths(wire::text_or_empty(object, "paths"));
  const auto use = static_cast<std::size_t>(
      std::ranges::find(kUses, wire::text_or_empty(object, "use")) - kUses.begin());
  const wire::Json* relays = wire::array_member(object, "relays", PathRule::kRelaysMax);
  if (!paths || use == kUses.size() || relays == nullptr) return std::nullopt;
  PathRule rule{.paths = *paths, .use = RelayUse(use), .relays = {}};
  for (const wire::Json& entry : *relays) {
    const auto relay = entry.is_string()
                           ? parse_id_as<RelayIdTag>(entry.get_ref<const std::string&>())
                           : std::nullopt;
    if (!relay || (!rule.relays.empty() && *relay <= rule.relays.back())) return std::nullopt;
    rule.relays.push_back(*relay);
  }
  const bool has_superfluous = rule.use == RelayUse::any && !rule.relays.empty();
  if (has_superfluous || rule == PathRule{}) return std::nullopt;
  return rule;
}

wire::Json to_resource(const ResourceEntry& entry) {
  wire::Json resource;
  resource["id"] = entry.id.text;
  resource["name"] = entry.name;
  resource["network"] = entry.network.text;
  resource["address"] = entry.address;
  resource["tcp"] = to_port_access(entry.tcp);
  resource["udp"] = to_port_access(entry.udp);
  resource["enabled"] = entry.is_enabled;
  resource["aliases"] = entry.aliases;
  if (entry.path != PathRule{}) resource["path"] = to_path(entry.path);
  return resource;
}

std::optional<std::vector<std::string>> aliases_of(const wire::Json& resource) {
  const wire::Json* list = wire::array_member(resource, "aliases", ResourceEntry::kAliasesMax);
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> aliases;
  for (const wire::Json& entry : *list) {
    if (!entry.is_string()) return std::nullopt;
    const auto& text = entry.get_ref<const std::string&>();
    if (!is_address(text)) return std::nullopt;
    aliases.push_back(text);
  }
  return aliases;
}

std::optional<ResourceEntry> resource_of(const wire::Json& resource) {
  ResourceEntry entry;
  const bool is_free = wire::has_exactly(
      resource, {"id", "name", "network", "address", "tcp", "udp", "enabled", "aliases"});
  if (!is_free) {
    if (!wire::has_exactly(resource, {"id", "name", "network", "address", "tcp", "udp", "enabled",
                                      "aliases", "path"})) {
      return std::nullopt;
    }
    auto path = path_of(resource["path"]);
    if (!path) return std::nullopt;
    entry.path = *std::move(path);
  }
  const auto name = wire::text_member(resource, "name");
  const auto address = wire::text_member(resource, "address");
  const auto is_enabled = wire::boolean_member(resource, "enabled");
  auto tcp = port_access_of(resource["tcp"]);
  auto udp = port_access_of(resource["udp"]);
  auto aliases = aliases_of(resource);
  if (!id_member(resource, "id", entry.id) || !id_member(resource, "network", entry.network) ||
      !name || !address || !is_enabled || !tcp || !udp || !aliases) {
    return std::nullopt;
  }
  if (name->size() > ResourceEntry::kNameSizeMax || !is_address(*address)) return std::nullopt;
  entry.name = *name;
  entry.address = *address;
  entry.tcp = std::move(*tcp);
  entry.udp = std::move(*udp);
  entry.is_enabled = *is_enabled;
  entry.aliases = std::move(*aliases);
  return entry;
}

std::string_view to_text(NodeConfig::Kind kind) {
  return kind == NodeConfig::Kind::snapshot ? "snapshot" : "delta";
}

wire::Json to_claims(const NodeConfig& config) {
  wire::Json upsert = wire::Json::array();
  for (const ResourceEntry& entry : config.upsert) upsert.push_back(to_resource(entry));
  wire::Json remove = wire::Json::array();
  for (const ResourceId& id : config.remove) remove.push_back(id.text);
  wire::Json claims;
  claims["iss"] = config.tenant.text;
  claims["aud"] = config.node.text;
  claims["iat"] = unix_seconds(config.issued_at);
  claims["rev"] = config.revision;
  claims["kind"] = to_text(config.kind);
  claims["base"] = config.base;
  claims["upsert"] = std::move(upsert);
  claims["remove"] = std::move(remove);
  return claims;
}

// read_resources reads `upsert` and `remove`; it returns false if an id occurs twice in them.
bool read_resources(const wire::Json& claims, NodeConfig& config) {
  const wire::Json* upsert = wire::array_member(claims, "upsert", NodeConfig::kResourcesMax);
  const wire::Json* remove = wire::array_member(claims, "remove", NodeConfig::kResourcesMax);
  if (upsert == nullptr || remove == nullptr) return false;
  std::set<ResourceId> ids;
  for (const wire::Json& resource : *upsert) {
    auto entry = resource_of(resource);
    if (!entry || !ids.insert(entry->id).second) return false;
    config.upsert.push_back(std::move(*entry));
  }
  for (const wire::Json& text : *remove) {
    auto id = text.is_string() ? parse_id_as<ResourceIdTag>(text.get_ref<const std::string&>())
                               : std::nullopt;
    if (!id || !ids.insert(*id).second) return false;
    config.remove.push_back(std::move(*id));
  }
  return true;
}

std::optional<NodeConfig> parse_claims(const wire::Json& claims) {
  if (!wire::has_exactly(claims,
                         {"iss", "aud", "iat", "rev", "kind", "base", "upsert", "remove"})) {
    return std::nullopt;
  }
  NodeConfig config;
  const auto node_text = wire::text_member(claims, "aud");
  const auto node = node_text ? NodeId::parse(*node_text) : std::nullopt;
  const auto issued_at = wire::time_member(claims, "iat");
  const auto revision = wire::integer_member(claims, "rev");
  const auto base = wire::integer_member(claims, "base");
  const auto kind = wire::text_member(claims, "kind");
  if (!id_member(claims, "iss", config.tenant) || !node || !issued_at || !revision || !base ||
      !read_resources(claims, config)) {
    return std::nullopt;
  }
  if (*base >= *revision) return std::nullopt;
  config.node = *node;
  config.issued_at = *issued_at;
  config.revision = *revision;
  config.base = *base;
  if (kind == to_text(NodeConfig::Kind::delta)) {
    config.kind = NodeConfig::Kind::delta;
    return config;
  }
  const bool is_whole = config.base == 0 && config.remove.empty();
  if (kind != to_text(NodeConfig::Kind::snapshot) || !is_whole) return std::nullopt;
  return config;
}

}  // namespace

std::optional<NodeId> NodeId::parse(std::string_view text) {
  if (!parse_id_as<ConnectorIdTag>(text) && !parse_id_as<RelayIdTag>(text) &&
      !parse_id_as<DeviceIdTag>(text)) {
    return std::nullopt;
  }
  return NodeId{std::string(text)};
}

std::string_view to_text(NodeConfigError error) {
  switch (error) {
    case NodeConfigError::too_large:
      return "the configuration is too large";
    case NodeConfigError::malformed:
      return "the configuration is malformed";
    case NodeConfigError::wrong_header:
      return "the configuration's header has members that are not allowed, or lacks some";
    case NodeConfigError::wrong_algorithm:
      return "the configuration's algorithm is not EdDSA";
    case NodeConfigError::wrong_type:
      return "the token is not a configuration";
    case NodeConfigError::unknown_key:
      return "the configuration is signed with an unknown key";
    case NodeConfigError::bad_signature:
      return "the configuration's signature is wrong";
    case NodeConfigError::wrong_tenant:
      return "the configuration is another tenant's";
    case NodeConfigError::wrong_audience:
      return "the configuration is another node's";
    case NodeConfigError::not_yet_valid:
      return "the configuration was issued in our future: compare the clocks";
  }
  return "unknown";
}

std::expected<std::string, NodeConfigError> issue(const NodeConfig& config,
                                                  const crypto::SigningKey& key) {
  const std::string payload = wire::json_text(to_claims(config));
  const auto claims = wire::parse_json(payload);
  if (!claims || !parse_claims(*claims)) return std::unexpected(NodeConfigError::malformed);
  std::string token = sign_jws(kType, payload, key);
  if (token.size() > kNodeConfigSizeMax) return std::unexpected(NodeConfigError::too_large);
  return token;
}

std::expected<NodeConfig, NodeConfigError> verify(std::string_view token, const KeySet& keys,
                                                  const NodeConfigExpectations& expected) {
  const auto payload = verify_jws(token, {.type = kType, .size_max = kNodeConfigSizeMax}, keys);
  if (!payload) return std::unexpected(from_jws_error<NodeConfigError>(payload.error()));
  const auto claims = wire::parse_json(*payload);
  std::optional<NodeConfig> config = claims ? parse_claims(*claims) : std::nullopt;
  if (!config) return std::unexpected(NodeConfigError::malformed);
  if (config->tenant != expected.tenant) return std::unexpected(NodeConfigError::wrong_tenant);
  if (config->node != expected.node) return std::unexpected(NodeConfigError::wrong_audience);
  if (!has_begun(config->issued_at, expected.now, expected.leeway,
                 NodeConfigExpectations::kLeewayMax)) {
    return std::unexpected(NodeConfigError::not_yet_valid);
  }
  return std::move(*config);
}

Applied apply(ResourceTable& table, const NodeConfig& config) {
  if (config.issued_at < table.issued_at) return Applied::stale;
  const bool is_delta = config.kind == NodeConfig::Kind::delta;
  if (is_delta && (table.revision == 0 || config.base != table.revision)) {
    return Applied::needs_snapshot;
  }
  std::map<ResourceId, ResourceEntry> resources;
  if (is_delta) resources = table.resources;
  for (const ResourceId& id : config.remove) resources.erase(id);
  for (const ResourceEntry& entry : config.upsert) resources.insert_or_assign(entry.id, entry);
  if (resources.size() > NodeConfig::kResourcesMax) return Applied::needs_snapshot;
  table = {
      .revision = config.revision,
      .issued_at = config.issued_at,
      .resources = std::move(resources),
  };
  return Applied::changed;
}

}  // namespace zt::grant
