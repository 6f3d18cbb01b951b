// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/model.h: the objects of a tenant, as the store keeps them.
//
// Theory of operation
//   A row is a plain value without its tenant: the tenant is an argument of every call of the
//   store, so that no code path can mix two. Rows that an administrator edits have a `version`, one
//   more with each update, from which the API makes its ETag. Lists inside a row are kept in the
//   order that they were given.
//
// Threats  A secret that somebody presents (an API key, a service account's key, an enrolment
//          token) is kept as SHA-256 of 32 random bytes: who reads the file learns nothing to
//          present. What we sign with is a Secret.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/path_rule.h"
#include "zt/base/protocol.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"
#include "zt/grant/enrolment_token.h"
#include "zt/policy/rule.h"

namespace zt::controller {

using grant::NodeKind;
using policy::Effect;

struct Tenant {
  TenantId id;
  std::string name;  // Unique in the installation.
  UnixTime created;

  friend bool operator==(const Tenant&, const Tenant&) = default;
};

// Installation is what the controller answers HTTPS with. It belongs to no tenant. PEM.
struct Installation {
  std::string authority_certificate;
  Secret authority_key;
  std::string https_certificate;
  Secret https_key;
  std::vector<std::string> https_hosts;  // What the certificate was issued for.
};

// TenantKey is one of the keys with which a tenant signs. It signs from `active_from` on, until a
// later key is active; it is published until `retires`.
struct TenantKey {
  std::string kid;  // RFC 7638 thumbprint; unique in the tenant.
  Secret seed;      // Ed25519, 32 bytes.
  UnixTime active_from;
  std::optional<UnixTime> retires;
};

// ApiKey lets an administrator's tool in.
struct ApiKey {
  KeyId id;
  std::string name;
  Digest secret_hash;
  UnixTime created;
  std::optional<UnixTime> expires;
  std::optional<UnixTime> last_used;
  std::int64_t version = 1;

  friend bool operator==(const ApiKey&, const ApiKey&) = default;
};

// PathSettings is a PathRule as an administrator gives it: by relays and by regions.
struct PathSettings {
  Paths paths = Paths::any;
  std::vector<std::string> relays;   // Ids.
  std::vector<std::string> regions;  // As relays have them: all relays of these.
  bool is_own_first = false;         // Those come first; otherwise there are no others.

  friend bool operator==(const PathSettings&, const PathSettings&) = default;
};

// Network is a remote network: what a set of interchangeable connectors can reach.
struct Network {
  NetworkId id;
  std::string name;
  PathSettings path;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const Network&, const Network&) = default;
};

struct Connector {
  ConnectorId id;
  NetworkId network;
  std::string name;
  Digest certificate;  // x5t#S256, unique in the installation: whoever holds its
                       // key is this node.
  RouteId route;       // Unique in the installation.
  bool is_enabled = true;
  std::string software;  // The version it last reported.
  UnixTime created;
  std::optional<UnixTime> last_seen;
  std::int64_t version = 1;

  friend bool operator==(const Connector&, const Connector&) = default;
};

struct Relay {
  RelayId id;
  std::string name;
  std::string region;   // A label for people and for choosing; may be empty.
  std::string address;  // "host:port", as nodes reach it.
  Digest certificate;   // As of a connector.
  bool is_enabled = true;
  std::string software;
  UnixTime created;
  std::optional<UnixTime> last_seen;
  std::int64_t version = 1;

  friend bool operator==(const Relay&, const Relay&) = default;
};

// Resource is a private service, named by the addresses under which clients ask for it.
struct Resource {
  ResourceId id;
  NetworkId network;
  std::string name;
  std::string address;               // A name, a name with wildcards, an address or a prefix.
  std::vector<std::string> aliases;  // More of the same.
  std::vector<PortRange> tcp;        // Empty: none.
  std::vector<PortRange> udp;
  bool is_enabled = true;
  bool has_path = false;  // Of its own; otherwise that of its network holds.
  PathSettings path;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const Resource&, const Resource&) = default;
};

struct Group {
  GroupId id;
  std::string name;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const Group&, const Group&) = default;
};

// Membership says that a user or a service account is in a group.
struct Membership {
  GroupId group;
  SubjectId subject;

  friend auto operator<=>(const Membership&, const Membership&) = default;
  friend bool operator==(const Membership&, const Membership&) = default;
};

struct User {
  UserId id;
  std::string name;
  std::string email;  // For display; proves nothing. May be empty.
  bool is_enabled = true;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const User&, const User&) = default;
};

struct ServiceAccount {
  ServiceAccountId id;
  std::string name;
  bool is_enabled = true;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const ServiceAccount&, const ServiceAccount&) = default;
};

struct ServiceAccountKey {
  KeyId id;
  ServiceAccountId account;
  std::string name;
  Digest secret_hash;
  bool is_revoked = false;  // For ever.
  UnixTime created;
  std::optional<UnixTime> expires;
  std::optional<UnixTime> last_used;
  std::int64_t version = 1;

  friend bool operator==(const ServiceAccountKey&, const ServiceAccountKey&) = default;
};

// Device is a machine on which a subject has signed in. It is one certificate: signing in again
// with the same certificate keeps the row. `key` is the key of the latest sign-in; when that is
// revoked or expires, the device is signed out.
struct Device {
  DeviceId id;
  SubjectId subject;
  KeyId key;
  std::string name;
  std::string os;
  Digest certificate;  // As of a connector.
  RouteId route;       // As of a connector.
  bool is_enabled = true;
  std::string software;
  UnixTime created;
  std::optional<UnixTime> last_seen;
  std::int64_t version = 1;

  friend bool operator==(const Device&, const Device&) = default;
};

// kEveryone and kEverything stand in a rule for all subjects, and all resources.
inline constexpr std::string_view kEveryone = "everyone";
inline constexpr std::string_view kEverything = "everything";

// AccessRule says who may (or may not) reach what.
struct AccessRule {
  RuleId id;
  std::string name;
  Effect effect = Effect::allow;
  std::vector<std::string> subjects;    // Ids of users, service accounts and groups, or "everyone".
  std::vector<std::string> resources;   // Ids of resources, or "everything".
  std::vector<Protocol> protocols;      // Empty: any that the resource has.
  std::vector<PortRange> ports;         // Empty: any that the resource has.
  std::optional<UnixTime> valid_until;  // The rule says nothing from then on.
  bool is_enabled = true;
  UnixTime created;
  std::int64_t version = 1;

  friend bool operator==(const AccessRule&, const AccessRule&) = default;
};

// EnrolmentTokenRow is an invitation for a node: whoever presents its secret becomes a connector of
// `network`, or a relay.
struct EnrolmentTokenRow {
  TokenId id;
  NodeKind kind = NodeKind::connector;
  std::optional<NetworkId> network;  // Of a connector.
  std::string name;                  // The node's name; empty: the node says it.
  std::string region;                // Of a relay.
  std::string address;               // Of a relay; empty: the relay says it.
  Digest secret_hash;
  std::int64_t uses_left = 1;
  UnixTime created;
  UnixTime expires;
  std::int64_t version = 1;

  friend bool operator==(const EnrolmentTokenRow&, const EnrolmentTokenRow&) = default;
};

// IssuedGrant is the memory of a grant until it expires: what it takes to judge it again, and to
// tell connectors that it is revoked.
struct IssuedGrant {
  GrantId id;
  SubjectId subject;
  DeviceId device;
  ResourceId resource;
  NetworkId network;
  std::string host;  // As asked for; the grant covers this host, protocol and port only.
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  Digest client_certificate;
  DecisionId decision;
  UnixTime issued;
  UnixTime expires;
  bool is_revoked = false;
  std::string reason;  // Why it is revoked.

  friend bool operator==(const IssuedGrant&, const IssuedGrant&) = default;
};

// kController is the author of what the controller does and reports by itself.
inline constexpr std::string_view kController = "controller";

enum class FlowEventKind : std::uint8_t { opened, closed, denied, failed };

// FlowEvent is one report about one flow by one of its ends. (flow, kind, node) is its identity:
// reported again, it changes nothing.
struct FlowEvent {
  FlowId flow;
  FlowEventKind kind = FlowEventKind::opened;
  std::string node;  // The id of the connector or device that reported it, as
                     // authenticated.
  UnixTime time;     // By the reporter's clock.
  std::string decision;
  std::string grant;
  std::string subject;
  std::string device;
  std::string resource;
  std::string network;
  std::string connector;
  std::string client_address;
  std::string target;
  std::string target_address;
  std::string protocol;
  std::int64_t bytes_up = 0;
  std::int64_t bytes_down = 0;
  std::int64_t duration_ms = 0;
  std::string reason;
  std::string path;
  std::string reporter;  // "connector", "client"; kController of its denials.

  friend bool operator==(const FlowEvent&, const FlowEvent&) = default;
};

// AuditEntry says who did what to what. It has no secrets.
struct AuditEntry {
  std::int64_t sequence = 0;  // Given by the store; rises within a tenant.
  UnixTime time;
  std::string actor;   // The id of an API key, a node or a device; or kController.
  std::string action;  // "network.create", "grant.deny", …
  std::string target;  // The id of the object; may be empty.
  std::string detail;  // A JSON object.

  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;
};

// NodeRow is whoever has a certificate.
using NodeRow = std::variant<Connector, Relay, Device>;

// Owned is a row that was found without knowing its tenant.
template <class Row>
struct Owned {
  TenantId tenant;
  Row row;

  friend bool operator==(const Owned&, const Owned&) = default;
};

}  // namespace zt::controller
