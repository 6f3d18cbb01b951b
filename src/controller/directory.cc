// SPDX-License-Identifier: Apache-2.0
#include "controller/directory.h"

#include <algorithm>
#include <utility>

#include "zt/policy/explain.h"

namespace zt::controller {

namespace {

constexpr std::size_t kPageSize = 1'000;

// load_all reads a table to its end into a map by id.
template <class Row>
StoreResult<void> load_all(Table<Row>& table, const TenantId& tenant,
                           std::map<typename Table<Row>::IdType, Row>& rows) {
  Page page{.limit = kPageSize, .after = {}};
  for (;;) {
    auto read = table.list(tenant, page);
    if (!read) return std::unexpected(read.error());
    if (read->empty()) return {};
    page.after = read->back().id.text;
    for (Row& row : *read) rows.insert_or_assign(row.id, std::move(row));
  }
}

// parse_pattern reads what the API has checked before it was stored.
StoreResult<policy::AddressPattern> parse_pattern(const std::string& text) {
  auto pattern = policy::AddressPattern::parse(text);
  if (!pattern) return std::unexpected(StoreError::corrupt);
  return *std::move(pattern);
}

StoreResult<policy::Resource> policy_resource(const Resource& row) {
  auto address = parse_pattern(row.address);
  if (!address) return std::unexpected(address.error());
  std::vector<policy::AddressPattern> aliases;
  for (const std::string& text : row.aliases) {
    auto alias = parse_pattern(text);
    if (!alias) return std::unexpected(alias.error());
    aliases.push_back(*std::move(alias));
  }
  return policy::Resource{.id = row.id,
                          .name = row.name,
                          .network = row.network,
                          .address = *std::move(address),
                          .aliases = std::move(aliases),
                          .tcp = row.tcp,
                          .udp = row.udp,
                          .is_enabled = row.is_enabled};
}

policy::AccessRule policy_rule(const AccessRule& row) {
  policy::AccessRule rule{.id = row.id,
                          .name = row.name,
                          .effect = row.effect,
                          .protocols = row.protocols,
                          .ports = row.ports,
                          .valid_until = row.valid_until,
                          .is_enabled = row.is_enabled};
  for (const std::string& subject : row.subjects) {
    if (subject == kEveryone) {
      rule.is_for_everyone = true;
    } else if (auto group = parse_id_as<GroupIdTag>(subject)) {
      rule.groups.insert(*std::move(group));
    } else {
      rule.subjects.insert(SubjectId{subject});
    }
  }
  for (const std::string& resource : row.resources) {
    if (resource == kEverything) {
      rule.is_for_everything = true;
    } else {
      rule.resources.insert(ResourceId{resource});
    }
  }
  return rule;
}

StoreResult<void> load_subjects(Store& store, const TenantId& tenant, policy::PolicySet& policies) {
  std::map<UserId, User> users;
  std::map<ServiceAccountId, ServiceAccount> accounts;
  std::map<GroupId, Group> groups;
  if (const auto read = load_all(store.users(), tenant, users); !read) return read;
  if (const auto read = load_all(store.service_accounts(), tenant, accounts); !read) return read;
  if (const auto read = load_all(store.groups(), tenant, groups); !read) return read;
  const auto add = [&](const std::string& id, const std::string& name, bool is_enabled) {
    policies.subjects.emplace(SubjectId{id},
                              policy::Subject{.id = {id}, .name = name, .is_enabled = is_enabled});
  };
  for (const auto& [id, user] : users) add(id.text, user.name, user.is_enabled);
  for (const auto& [id, account] : accounts) add(id.text, account.name, account.is_enabled);
  for (const auto& [id, group] : groups) policies.group_names.emplace(id, group.name);
  const auto memberships = store.memberships(tenant);
  if (!memberships) return std::unexpected(memberships.error());
  for (const Membership& membership : *memberships) {
    const auto subject = policies.subjects.find(membership.subject);
    if (subject != policies.subjects.end()) subject->second.groups.insert(membership.group);
  }
  return {};
}

// load_policies needs the networks and the relays.
StoreResult<void> load_policies(Store& store, const TenantId& tenant, Directory& directory) {
  policy::PolicySet& policies = directory.policies;
  std::map<ResourceId, Resource> resources;
  std::map<RuleId, AccessRule> rules;
  if (const auto read = load_subjects(store, tenant, policies); !read) return read;
  if (const auto read = load_all(store.resources(), tenant, resources); !read) return read;
  if (const auto read = load_all(store.access_rules(), tenant, rules); !read) return read;
  for (const auto& [id, row] : resources) {
    auto resource = policy_resource(row);
    if (!resource) return std::unexpected(resource.error());
    if (row.has_path) directory.own_paths.emplace(id, row.path);
    const auto network = directory.networks.find(row.network);
    if (network == directory.networks.end()) return std::unexpected(StoreError::corrupt);
    resource->path = directory.resolve_path(row.has_path ? row.path : network->second.path);
    policies.resources.push_back(*std::move(resource));
  }
  for (const auto& [id, row] : rules) policies.rules.push_back(policy_rule(row));
  return {};
}

// first_end returns the first moment after `now` at which a rule or a key ends.
std::optional<UnixTime> first_end(const Directory& directory, UnixTime now) {
  std::optional<UnixTime> first;
  const auto consider = [&](const std::optional<UnixTime>& end) {
    if (end && *end > now) first = earlier_of(first, end);
  };
  for (const auto& rule : directory.policies.rules) {
    if (rule.is_enabled) consider(rule.valid_until);
  }
  for (const auto& [id, key] : directory.keys) {
    if (!key.is_revoked) consider(key.expires);
  }
  return first;
}

}  // namespace

StoreResult<Directory> Directory::load(Store& store, const TenantId& tenant, UnixTime now) {
  Directory directory{.tenant = tenant, .as_of = now};
  const auto revision = store.revision(tenant);
  if (!revision) return std::unexpected(revision.error());
  directory.revision = *revision;
  directory.policies.revision = static_cast<std::uint64_t>(*revision);
  auto loaded = load_all(store.networks(), tenant, directory.networks);
  if (loaded) loaded = load_all(store.relays(), tenant, directory.relays);
  if (loaded) loaded = load_policies(store, tenant, directory);
  if (loaded) loaded = load_all(store.connectors(), tenant, directory.connectors);
  if (loaded) loaded = load_all(store.devices(), tenant, directory.devices);
  if (loaded) loaded = load_all(store.service_account_keys(), tenant, directory.keys);
  if (!loaded) return std::unexpected(loaded.error());
  directory.next_change = first_end(directory, now);
  return directory;
}

PathRule Directory::resolve_path(const PathSettings& settings) const {
  PathRule rule{.paths = settings.paths, .use = RelayUse::any, .relays = {}};
  if (settings.relays.empty() && settings.regions.empty()) return rule;
  rule.use = settings.is_own_first ? RelayUse::first : RelayUse::only;
  for (const auto& [id, relay] : relays) {
    const bool is_named =
        std::ranges::find(settings.relays, id.text) != settings.relays.end() ||
        std::ranges::find(settings.regions, relay.region) != settings.regions.end();
    if (is_named && rule.relays.size() < PathRule::kRelaysMax) rule.relays.push_back(id);
  }
  return rule;
}

View Directory::network_view(const NetworkId& network) const {
  View view;
  for (const policy::Resource& resource : policies.resources) {
    if (resource.network == network) view.emplace(resource.id, entry_of(resource));
  }
  return view;
}

View Directory::subject_view(const SubjectId& subject) const {
  View view;
  for (const policy::Resource& resource : policies.resources) {
    if (!resource.is_enabled) continue;
    const bool is_reachable =
        !policy::reachable_ports(policies, subject, resource.id, Protocol::tcp, as_of).empty() ||
        !policy::reachable_ports(policies, subject, resource.id, Protocol::udp, as_of).empty();
    if (is_reachable) view.emplace(resource.id, entry_of(resource));
  }
  return view;
}

std::optional<std::string> Directory::complaint_about_device(const Device& device,
                                                             UnixTime now) const {
  if (!device.is_enabled) return "the device is disabled";
  const auto subject = policies.subjects.find(device.subject);
  if (subject == policies.subjects.end()) return "the account of this device is gone";
  if (!subject->second.is_enabled) return "the account of this device is disabled";
  const auto found = keys.find(device.key);
  if (found == keys.end() || found->second.account.text != device.subject.text) {
    return "the key with which this device signed in is gone";
  }
  const ServiceAccountKey& key = found->second;
  if (key.is_revoked) return "the key with which this device signed in is revoked";
  if (key.expires && *key.expires <= now) {
    return "the key with which this device signed in has expired";
  }
  return std::nullopt;
}

std::vector<Digest> Directory::blocked_certificates(UnixTime now) const {
  std::vector<Digest> blocked;
  for (const auto& [id, connector] : connectors) {
    if (!connector.is_enabled) blocked.push_back(connector.certificate);
  }
  for (const auto& [id, device] : devices) {
    if (complaint_about_device(device, now)) blocked.push_back(device.certificate);
  }
  return blocked;
}

std::optional<UnixTime> Directory::device_valid_until(const Device& device) const {
  const auto key = keys.find(device.key);
  return key == keys.end() ? std::optional<UnixTime>() : key->second.expires;
}

std::optional<std::string> Directory::complaint_about_grant(const IssuedGrant& grant,
                                                            UnixTime now) const {
  const auto device = devices.find(grant.device);
  if (device == devices.end()) return "the device is gone";
  if (device->second.subject != grant.subject) return "the device is another account's";
  if (device->second.certificate != grant.client_certificate) return "the device has another key";
  if (auto complaint = complaint_about_device(device->second, now)) return complaint;
  const auto host = parse_host(grant.host);
  if (!host) return "the grant's host is damaged";
  const policy::Request request{
      .subject = grant.subject,
      .target = {.host = *host, .port = grant.port, .protocol = grant.protocol},
      .resource = grant.resource};
  const policy::Decision decision = policy::evaluate(policies, request, now);
  if (!decision.is_allowed()) return policy::explain(decision, policies, request);
  for (const policy::Resource& resource : policies.resources) {
    if (resource.id == grant.resource && resource.network != grant.network) {
      return "the resource is in another network";
    }
  }
  return std::nullopt;
}

grant::ResourceEntry entry_of(const policy::Resource& resource) {
  grant::ResourceEntry entry{.id = resource.id,
                             .name = resource.name,
                             .network = resource.network,
                             .address = resource.address.to_text(),
                             .tcp = resource.tcp,
                             .udp = resource.udp,
                             .is_enabled = resource.is_enabled,
                             .path = resource.path};
  for (const auto& alias : resource.aliases) entry.aliases.push_back(alias.to_text());
  return entry;
}

}  // namespace zt::controller
