// SPDX-License-Identifier: Apache-2.0
#include "controller/admin_objects.h"

#include <fmt/format.h>

#include <algorithm>

#include "zt/base/ascii.h"
#include "zt/base/rfc3339.h"

namespace zt::controller {

namespace {

using wire::Json;

constexpr std::size_t kListedIdsMax = 500;  // Subjects, or resources, of one rule.

Json time_or_null(const std::optional<UnixTime>& time) {
  return time ? Json(to_rfc3339(*time)) : Json(nullptr);
}

// base_of writes the members that every object has.
template <class Row>
Json base_of(const Row& row) {
  return {{"id", row.id.text},
          {"name", row.name},
          {"created", to_rfc3339(row.created)},
          {"version", row.version}};
}

// base_of_node adds those of a machine that shows a certificate.
template <class Row>
Json base_of_node(const Row& row) {
  Json value = base_of(row);
  value["certificate"] = row.certificate.to_text();
  value["enabled"] = row.is_enabled;
  value["software"] = row.software;
  value["last_seen"] = time_or_null(row.last_seen);
  return value;
}

Json ports_json(const std::vector<PortRange>& ports) {
  if (ports.empty()) return "none";
  if (ports.size() == 1 && ports.front() == PortRange{}) return "all";
  Json list = Json::array();
  for (const PortRange& range : ports) list.push_back(range.to_text());
  return list;
}

std::optional<std::string> canonical_pattern(std::string& text) {
  const auto pattern = policy::AddressPattern::parse(text);
  if (!pattern) {
    return "must be a name (\"db.internal\"), a name with wildcards (\"*.dev.internal\"), an "
           "address or a prefix (\"10.0.0.0/8\")";
  }
  text = pattern->to_text();
  return std::nullopt;
}

std::optional<std::string> subject_complaint(std::string& text) {
  const bool is_known_kind = text == kEveryone || parse_id_as<UserIdTag>(text) ||
                             parse_id_as<ServiceAccountIdTag>(text) ||
                             parse_id_as<GroupIdTag>(text);
  if (is_known_kind) return std::nullopt;
  return "must be the id of a user, a service account or a group, or \"everyone\"";
}

std::optional<std::string> resource_complaint(std::string& text) {
  if (text == kEverything || parse_id_as<ResourceIdTag>(text)) return std::nullopt;
  return "must be the id of a resource, or \"everything\"";
}

// line_size is an upper bound of what a resource takes in a node's configuration.
std::size_t line_size(const grant::ResourceEntry& entry) {
  constexpr std::size_t kIdsAndSyntax = 200;
  constexpr std::size_t kPortText = 14;
  std::size_t size = kIdsAndSyntax + 2 * entry.name.size() + entry.address.size() +
                     kPortText * (entry.tcp.size() + entry.udp.size());
  for (const std::string& alias : entry.aliases) size += alias.size() + 3;
  size += (RelayIdTag::kPrefix.size() + 30) * entry.path.relays.size();
  return size;
}

// read_path reads the object "path", which replaces the former one as a whole. `inherits` is there
// for a resource, which may say that its network's holds.
void read_path(BodyReader& body, PathSettings& path, bool* inherits) {
  constexpr std::size_t kListedMax = 64;
  const auto object = body.object("path", Presence::optional);
  if (!object) return;
  path = {};
  BodyReader reader = body.nested(*object, "path");
  std::vector<std::string_view> names{to_text(Paths::any), to_text(Paths::never_relay),
                                      to_text(Paths::always_relay)};
  if (inherits != nullptr) names.emplace_back("inherit");
  const std::size_t chosen = reader.choice("paths", names, Presence::optional).value_or(0);
  const bool is_inherited = chosen == 3;
  if (inherits != nullptr) *inherits = is_inherited;
  path.paths = parse_paths(names[chosen]).value_or(Paths::any);  // "inherit" has none of its own.
  reader.texts(
      "relays", path.relays, kListedMax,
      [](std::string& text) -> std::optional<std::string> {
        if (parse_id_as<RelayIdTag>(text)) return std::nullopt;
        return "must be the id of a relay";
      },
      Presence::optional);
  reader.texts(
      "regions", path.regions, kListedMax,
      [](std::string& text) { return complaint_about_text(text, {.size_min = 1, .size_max = 64}); },
      Presence::optional);
  reader.flag("own_first", path.is_own_first, Presence::optional);
  const bool names_relays = !path.relays.empty() || !path.regions.empty();
  if (path.is_own_first && !names_relays) {
    reader.complain("own_first", "needs relays or regions that come first");
  }
  if (is_inherited && names_relays) {
    reader.complain("paths", "is \"inherit\", which takes relays and regions from the network");
  }
  body.adopt(reader.done());
}

Json path_json(const PathSettings& path, bool is_inherited) {
  if (is_inherited) return {{"paths", "inherit"}};
  return {{"paths", to_text(path.paths)},
          {"relays", path.relays},
          {"regions", path.regions},
          {"own_first", path.is_own_first}};
}

// check_path finds names that mean nothing: most are misspelt.
Attempt<void> check_path(const Directory& directory, const PathSettings& path) {
  for (const std::string& relay : path.relays) {
    if (directory.relays.contains(RelayId{relay})) continue;
    return fail(invalid_field("path.relays", fmt::format("there is no \"{}\"", relay)));
  }
  for (const std::string& region : path.regions) {
    const bool is_known = std::ranges::any_of(
        directory.relays, [&](const auto& entry) { return entry.second.region == region; });
    if (is_known) continue;
    return fail(invalid_field("path.regions", fmt::format("no relay is in \"{}\"", region)));
  }
  return {};
}

void read_protocols(BodyReader& body, AccessRule& row) {
  std::vector<std::string> names;
  names.reserve(row.protocols.size());
  for (const Protocol protocol : row.protocols) names.emplace_back(to_text(protocol));
  body.texts(
      "protocols", names, 2,
      [](std::string& text) -> std::optional<std::string> {
        if (parse_protocol(text)) return std::nullopt;
        return "must be \"tcp\" or \"udp\"";
      },
      Presence::optional);
  row.protocols.clear();
  for (const std::string& name : names) {
    if (const auto protocol = parse_protocol(name)) row.protocols.push_back(*protocol);
  }
}

}  // namespace

void ObjectKind<Network>::read(BodyReader& body, Network& row) {
  body.name("name", row.name, Presence::required);
  read_path(body, row.path, nullptr);
}
Json ObjectKind<Network>::write(const Network& row) {
  Json value = base_of(row);
  value["path"] = path_json(row.path, false);
  return value;
}
Attempt<void> ObjectKind<Network>::check(const Directory& directory, const Limits&,
                                         const Network& row) {
  return check_path(directory, row.path);
}

void ObjectKind<Connector>::read(BodyReader& body, Connector& row) {
  body.name("name", row.name, Presence::required);
  body.flag("enabled", row.is_enabled, Presence::optional);
}
Json ObjectKind<Connector>::write(const Connector& row) {
  Json value = base_of_node(row);
  value["network"] = row.network.text;
  return value;
}

void ObjectKind<Relay>::read(BodyReader& body, Relay& row) {
  body.name("name", row.name, Presence::required);
  body.text("region", row.region, {.size_min = 0, .size_max = 64}, Presence::optional);
  body.checked_text(
      "address", row.address,
      [](std::string& text) -> std::optional<std::string> {
        if (Authority::parse(text)) return std::nullopt;
        return "must be a host and a UDP port, such as \"relay.example:443\"";
      },
      Presence::optional);
  body.flag("enabled", row.is_enabled, Presence::optional);
}
Json ObjectKind<Relay>::write(const Relay& row) {
  Json value = base_of_node(row);
  value["region"] = row.region;
  value["address"] = row.address;
  return value;
}

void ObjectKind<Resource>::read(BodyReader& body, Resource& row) {
  body.name("name", row.name, Presence::required);
  body.id("network", row.network, Presence::required);
  body.checked_text("address", row.address, canonical_pattern, Presence::required);
  body.texts("aliases", row.aliases, grant::ResourceEntry::kAliasesMax, canonical_pattern,
             Presence::optional);
  body.ports("tcp", row.tcp, Presence::optional);
  body.ports("udp", row.udp, Presence::optional);
  body.flag("enabled", row.is_enabled, Presence::optional);
  bool is_inherited = !row.has_path;
  read_path(body, row.path, &is_inherited);
  row.has_path = !is_inherited;
  if (row.tcp.empty() && row.udp.empty()) {
    body.complain("tcp", "a resource must offer a port: give \"tcp\", \"udp\" or both");
  }
}
Json ObjectKind<Resource>::write(const Resource& row) {
  Json value = base_of(row);
  value["network"] = row.network.text;
  value["address"] = row.address;
  value["aliases"] = row.aliases;
  value["tcp"] = ports_json(row.tcp);
  value["udp"] = ports_json(row.udp);
  value["enabled"] = row.is_enabled;
  value["path"] = path_json(row.path, !row.has_path);
  return value;
}
Attempt<void> ObjectKind<Resource>::check(const Directory& directory, const Limits& limits,
                                          const Resource& row) {
  if (!directory.networks.contains(row.network)) {
    return fail(invalid_field("network", "there is no such network"));
  }
  if (const auto known = check_path(directory, row.path); !known) return known;
  std::size_t size = line_size({.name = row.name,
                                .address = row.address,
                                .tcp = row.tcp,
                                .udp = row.udp,
                                .aliases = row.aliases});
  for (const policy::Resource& other : directory.policies.resources) {
    if (other.id != row.id) size += line_size(entry_of(other));
  }
  if (size <= limits.config_size_max) return {};
  return fail(problem(409, "all resources together are too large for what a node can be told"));
}

void ObjectKind<Group>::read(BodyReader& body, Group& row) {
  body.name("name", row.name, Presence::required);
}
Json ObjectKind<Group>::write(const Group& row) {
  return base_of(row);
}

void ObjectKind<User>::read(BodyReader& body, User& row) {
  body.name("name", row.name, Presence::required);
  body.text("email", row.email, {.size_min = 0, .size_max = 254}, Presence::optional);
  body.flag("enabled", row.is_enabled, Presence::optional);
}
Json ObjectKind<User>::write(const User& row) {
  Json value = base_of(row);
  value["email"] = row.email;
  value["enabled"] = row.is_enabled;
  return value;
}

void ObjectKind<ServiceAccount>::read(BodyReader& body, ServiceAccount& row) {
  body.name("name", row.name, Presence::required);
  body.flag("enabled", row.is_enabled, Presence::optional);
}
Json ObjectKind<ServiceAccount>::write(const ServiceAccount& row) {
  Json value = base_of(row);
  value["enabled"] = row.is_enabled;
  return value;
}

void ObjectKind<Device>::read(BodyReader& body, Device& row) {
  body.text("name", row.name, {.size_min = 0}, Presence::optional);
  body.flag("enabled", row.is_enabled, Presence::optional);
}
Json ObjectKind<Device>::write(const Device& row) {
  Json value = base_of_node(row);
  value["subject"] = row.subject.text;
  value["key"] = row.key.text;
  value["os"] = row.os;
  return value;
}

void ObjectKind<AccessRule>::read(BodyReader& body, AccessRule& row) {
  body.name("name", row.name, Presence::required);
  if (const auto effect = body.choice("effect", {"allow", "deny"}, Presence::optional)) {
    row.effect = *effect == 0 ? Effect::allow : Effect::deny;
  }
  body.texts("subjects", row.subjects, kListedIdsMax, subject_complaint, Presence::required);
  body.texts("resources", row.resources, kListedIdsMax, resource_complaint, Presence::required);
  read_protocols(body, row);
  // "none" would make a rule that says nothing while it looks as if it said something.
  std::vector<PortRange> ports = row.ports.empty() ? std::vector{PortRange{}} : row.ports;
  body.ports("ports", ports, Presence::optional);
  if (ports.empty()) body.complain("ports", "a rule for no port would say nothing");
  row.ports = ports == std::vector{PortRange{}} ? std::vector<PortRange>() : ports;
  body.time("valid_until", row.valid_until, Presence::optional);
  body.flag("enabled", row.is_enabled, Presence::optional);
  if (row.subjects.empty()) body.complain("subjects", "must name at least one");
  if (row.resources.empty()) body.complain("resources", "must name at least one");
}
Json ObjectKind<AccessRule>::write(const AccessRule& row) {
  Json value = base_of(row);
  value["effect"] = row.effect == Effect::allow ? "allow" : "deny";
  value["subjects"] = row.subjects;
  value["resources"] = row.resources;
  value["protocols"] = Json::array();
  for (const Protocol protocol : row.protocols) value["protocols"].push_back(to_text(protocol));
  value["ports"] = row.ports.empty() ? Json("all") : ports_json(row.ports);
  value["valid_until"] = time_or_null(row.valid_until);
  value["enabled"] = row.is_enabled;
  return value;
}
Attempt<void> ObjectKind<AccessRule>::check(const Directory& directory, const Limits&,
                                            const AccessRule& row) {
  for (const std::string& subject : row.subjects) {
    const bool is_known = subject == kEveryone ||
                          directory.policies.subjects.contains(SubjectId{subject}) ||
                          directory.policies.group_names.contains(GroupId{subject});
    if (!is_known) {
      return fail(invalid_field("subjects", fmt::format("there is no \"{}\"", subject)));
    }
  }
  const auto& resources = directory.policies.resources;
  for (const std::string& resource : row.resources) {
    const bool is_known =
        resource == kEverything || std::ranges::any_of(resources, [&](const auto& known) {
          return known.id.text == resource;
        });
    if (!is_known) {
      return fail(invalid_field("resources", fmt::format("there is no \"{}\"", resource)));
    }
  }
  return {};
}

void ObjectKind<ApiKey>::read(BodyReader& body, ApiKey& row) {
  body.name("name", row.name, Presence::required);
  body.expiry("expires", row.expires);
}
Json ObjectKind<ApiKey>::write(const ApiKey& row) {
  Json value = base_of(row);
  value["expires"] = time_or_null(row.expires);
  value["last_used"] = time_or_null(row.last_used);
  return value;
}

Json ObjectKind<EnrolmentTokenRow>::write(const EnrolmentTokenRow& row) {
  Json value = base_of(row);
  value["kind"] = grant::to_text(row.kind);
  value["network"] = row.network ? Json(row.network->text) : Json(nullptr);
  value["region"] = row.region;
  value["address"] = row.address;
  value["uses_left"] = row.uses_left;
  value["expires"] = to_rfc3339(row.expires);
  return value;
}

Json json_of(const ServiceAccountKey& row) {
  Json value = base_of(row);
  value["service_account"] = row.account.text;
  value["revoked"] = row.is_revoked;
  value["expires"] = time_or_null(row.expires);
  value["last_used"] = time_or_null(row.last_used);
  return value;
}

std::optional<std::string> rule_that_names(const Directory& directory, std::string_view id) {
  const std::string text(id);
  for (const auto& rule : directory.policies.rules) {
    const bool is_named = rule.subjects.contains(SubjectId{text}) ||
                          rule.groups.contains(GroupId{text}) ||
                          rule.resources.contains(ResourceId{text});
    if (is_named) return rule.name;
  }
  return std::nullopt;
}

std::optional<std::string> path_rule_that_names(const Directory& directory,
                                                std::string_view relay) {
  const auto is_named = [&](const PathSettings& path) {
    return std::ranges::find(path.relays, relay) != path.relays.end();
  };
  for (const auto& [id, network] : directory.networks) {
    if (is_named(network.path)) return fmt::format("network \"{}\"", network.name);
  }
  for (const policy::Resource& resource : directory.policies.resources) {
    const auto own = directory.own_paths.find(resource.id);
    if (own == directory.own_paths.end() || !is_named(own->second)) continue;
    return fmt::format("resource \"{}\"", resource.name);
  }
  return std::nullopt;
}

std::string action_of(std::string_view noun, std::string_view verb) {
  std::string action = to_lower(fmt::format("{}.{}", noun, verb));
  std::ranges::replace(action, ' ', '_');
  return action;
}

}  // namespace zt::controller
