// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/admin_objects.h: each kind of object, as administrators see it.
//
// Theory of operation
//   ObjectKind<Row> says what one kind is called, which members of a body change it (read), what it
//   looks like (write), and what must hold beyond its own members (check). admin_api.h builds the
//   same five operations for all kinds from that.

#include <string_view>

#include "controller/body_reader.h"
#include "controller/directory.h"
#include "wire/json.h"
#include "zt/controller/engine.h"

namespace zt::controller {

// What an object's kind may be asked to do beyond GET.
struct Verbs {
  bool can_create = true;
  bool can_edit = true;
  bool can_remove = true;
};

template <class Row>
struct ObjectKind;

template <>
struct ObjectKind<Network> {
  static constexpr std::string_view kNoun = "network";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<Network>& table(Store& store) { return store.networks(); }
  static void read(BodyReader& body, Network& row);
  static wire::Json write(const Network& row);
  static Attempt<void> check(const Directory& directory, const Limits& limits, const Network& row);
};

template <>
struct ObjectKind<Connector> {
  static constexpr std::string_view kNoun = "connector";
  static constexpr Verbs kVerbs{.can_create = false};  // Connectors enrol.
  static constexpr bool kAffectsAccess = true;
  static Table<Connector>& table(Store& store) { return store.connectors(); }
  static void read(BodyReader& body, Connector& row);
  static wire::Json write(const Connector& row);
  static Attempt<void> check(const Directory&, const Limits&, const Connector&) { return {}; }
};

template <>
struct ObjectKind<Relay> {
  static constexpr std::string_view kNoun = "relay";
  static constexpr Verbs kVerbs{.can_create = false};  // Relays enrol.
  static constexpr bool kAffectsAccess = true;
  static Table<Relay>& table(Store& store) { return store.relays(); }
  static void read(BodyReader& body, Relay& row);
  static wire::Json write(const Relay& row);
  static Attempt<void> check(const Directory&, const Limits&, const Relay&) { return {}; }
};

template <>
struct ObjectKind<Resource> {
  static constexpr std::string_view kNoun = "resource";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<Resource>& table(Store& store) { return store.resources(); }
  static void read(BodyReader& body, Resource& row);
  static wire::Json write(const Resource& row);
  static Attempt<void> check(const Directory& directory, const Limits& limits, const Resource& row);
};

template <>
struct ObjectKind<Group> {
  static constexpr std::string_view kNoun = "group";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<Group>& table(Store& store) { return store.groups(); }
  static void read(BodyReader& body, Group& row);
  static wire::Json write(const Group& row);
  static Attempt<void> check(const Directory&, const Limits&, const Group&) { return {}; }
};

template <>
struct ObjectKind<User> {
  static constexpr std::string_view kNoun = "user";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<User>& table(Store& store) { return store.users(); }
  static void read(BodyReader& body, User& row);
  static wire::Json write(const User& row);
  static Attempt<void> check(const Directory&, const Limits&, const User&) { return {}; }
};

template <>
struct ObjectKind<ServiceAccount> {
  static constexpr std::string_view kNoun = "service account";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<ServiceAccount>& table(Store& store) { return store.service_accounts(); }
  static void read(BodyReader& body, ServiceAccount& row);
  static wire::Json write(const ServiceAccount& row);
  static Attempt<void> check(const Directory&, const Limits&, const ServiceAccount&) { return {}; }
};

template <>
struct ObjectKind<Device> {
  static constexpr std::string_view kNoun = "device";
  static constexpr Verbs kVerbs{.can_create = false};  // Devices sign in.
  static constexpr bool kAffectsAccess = true;
  static Table<Device>& table(Store& store) { return store.devices(); }
  static void read(BodyReader& body, Device& row);
  static wire::Json write(const Device& row);
  static Attempt<void> check(const Directory&, const Limits&, const Device&) { return {}; }
};

template <>
struct ObjectKind<AccessRule> {
  static constexpr std::string_view kNoun = "access rule";
  static constexpr Verbs kVerbs{};
  static constexpr bool kAffectsAccess = true;
  static Table<AccessRule>& table(Store& store) { return store.access_rules(); }
  static void read(BodyReader& body, AccessRule& row);
  static wire::Json write(const AccessRule& row);
  static Attempt<void> check(const Directory& directory, const Limits& limits,
                             const AccessRule& row);
};

template <>
struct ObjectKind<ApiKey> {
  static constexpr std::string_view kNoun = "API key";
  static constexpr Verbs kVerbs{.can_create = false};  // Created with a secret: see admin_api.h.
  static constexpr bool kAffectsAccess = false;
  static Table<ApiKey>& table(Store& store) { return store.api_keys(); }
  static void read(BodyReader& body, ApiKey& row);
  static wire::Json write(const ApiKey& row);
  static Attempt<void> check(const Directory&, const Limits&, const ApiKey&) { return {}; }
};

template <>
struct ObjectKind<EnrolmentTokenRow> {
  static constexpr std::string_view kNoun = "enrolment token";
  static constexpr Verbs kVerbs{.can_create = false, .can_edit = false};
  static constexpr bool kAffectsAccess = false;
  static Table<EnrolmentTokenRow>& table(Store& store) { return store.enrolment_tokens(); }
  static void read(BodyReader&, EnrolmentTokenRow&) {}
  static wire::Json write(const EnrolmentTokenRow& row);
  static Attempt<void> check(const Directory&, const Limits&, const EnrolmentTokenRow&) {
    return {};
  }
};

[[nodiscard]] wire::Json json_of(const ServiceAccountKey& row);

// rule_that_names returns the name of an access rule in whose lists `id` stands, or nothing.
[[nodiscard]] std::optional<std::string> rule_that_names(const Directory& directory,
                                                         std::string_view id);

// path_rule_that_names returns whose path rule names a relay ("network \"office\""), or nothing.
[[nodiscard]] std::optional<std::string> path_rule_that_names(const Directory& directory,
                                                              std::string_view relay);

// action_of writes "service_account.create" for ("service account", "create").
[[nodiscard]] std::string action_of(std::string_view noun, std::string_view verb);

}  // namespace zt::controller
