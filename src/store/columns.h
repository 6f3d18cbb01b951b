// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/columns.h: which column holds which member of a row.
//
// Theory of operation
//   Columns<Row>::visit calls the visitor with each column's name and member, in one order. Every
//   statement, every bind and every read of that row is made from it, so that they cannot disagree.
//   The columns `tenant`, `id` and `version` of editable rows are not visited: sqlite_table.h
//   handles them.

#include "zt/controller/model.h"

namespace zt::store {

template <class Row>
struct Columns;

template <>
struct Columns<controller::ApiKey> {
  static constexpr const char* kTable = "api_key";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("secret_hash", row.secret_hash);
    visitor("created", row.created);
    visitor("expires", row.expires);
    visitor("last_used", row.last_used);
  }
};

template <>
struct Columns<controller::Network> {
  static constexpr const char* kTable = "network";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("paths", row.path.paths);
    visitor("relays", row.path.relays);
    visitor("regions", row.path.regions);
    visitor("is_own_first", row.path.is_own_first);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::Connector> {
  static constexpr const char* kTable = "connector";
  static void visit(auto& row, auto&& visitor) {
    visitor("network", row.network);
    visitor("name", row.name);
    visitor("certificate", row.certificate);
    visitor("route", row.route);
    visitor("is_enabled", row.is_enabled);
    visitor("software", row.software);
    visitor("created", row.created);
    visitor("last_seen", row.last_seen);
  }
};

template <>
struct Columns<controller::Relay> {
  static constexpr const char* kTable = "relay";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("region", row.region);
    visitor("address", row.address);
    visitor("certificate", row.certificate);
    visitor("is_enabled", row.is_enabled);
    visitor("software", row.software);
    visitor("created", row.created);
    visitor("last_seen", row.last_seen);
  }
};

template <>
struct Columns<controller::Resource> {
  static constexpr const char* kTable = "resource";
  static void visit(auto& row, auto&& visitor) {
    visitor("network", row.network);
    visitor("name", row.name);
    visitor("address", row.address);
    visitor("aliases", row.aliases);
    visitor("tcp", row.tcp);
    visitor("udp", row.udp);
    visitor("is_enabled", row.is_enabled);
    visitor("has_path", row.has_path);
    visitor("paths", row.path.paths);
    visitor("relays", row.path.relays);
    visitor("regions", row.path.regions);
    visitor("is_own_first", row.path.is_own_first);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::Group> {
  static constexpr const char* kTable = "user_group";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::User> {
  static constexpr const char* kTable = "user";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("email", row.email);
    visitor("is_enabled", row.is_enabled);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::ServiceAccount> {
  static constexpr const char* kTable = "service_account";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("is_enabled", row.is_enabled);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::ServiceAccountKey> {
  static constexpr const char* kTable = "service_account_key";
  static void visit(auto& row, auto&& visitor) {
    visitor("account", row.account);
    visitor("name", row.name);
    visitor("secret_hash", row.secret_hash);
    visitor("is_revoked", row.is_revoked);
    visitor("created", row.created);
    visitor("expires", row.expires);
    visitor("last_used", row.last_used);
  }
};

template <>
struct Columns<controller::Device> {
  static constexpr const char* kTable = "device";
  static void visit(auto& row, auto&& visitor) {
    visitor("subject", row.subject);
    visitor("key", row.key);
    visitor("name", row.name);
    visitor("os", row.os);
    visitor("certificate", row.certificate);
    visitor("route", row.route);
    visitor("is_enabled", row.is_enabled);
    visitor("software", row.software);
    visitor("created", row.created);
    visitor("last_seen", row.last_seen);
  }
};

template <>
struct Columns<controller::AccessRule> {
  static constexpr const char* kTable = "access_rule";
  static void visit(auto& row, auto&& visitor) {
    visitor("name", row.name);
    visitor("effect", row.effect);
    visitor("subjects", row.subjects);
    visitor("resources", row.resources);
    visitor("protocols", row.protocols);
    visitor("ports", row.ports);
    visitor("valid_until", row.valid_until);
    visitor("is_enabled", row.is_enabled);
    visitor("created", row.created);
  }
};

template <>
struct Columns<controller::EnrolmentTokenRow> {
  static constexpr const char* kTable = "enrolment_token";
  static void visit(auto& row, auto&& visitor) {
    visitor("kind", row.kind);
    visitor("network", row.network);
    visitor("name", row.name);
    visitor("region", row.region);
    visitor("address", row.address);
    visitor("secret_hash", row.secret_hash);
    visitor("uses_left", row.uses_left);
    visitor("created", row.created);
    visitor("expires", row.expires);
  }
};

// Rows that nobody edits: every column but `tenant` (and `sequence`).
template <>
struct Columns<controller::IssuedGrant> {
  static constexpr const char* kTable = "issued_grant";
  static void visit(auto& row, auto&& visitor) {
    visitor("id", row.id);
    visitor("subject", row.subject);
    visitor("device", row.device);
    visitor("resource", row.resource);
    visitor("network", row.network);
    visitor("host", row.host);
    visitor("protocol", row.protocol);
    visitor("port", row.port);
    visitor("client_certificate", row.client_certificate);
    visitor("decision", row.decision);
    visitor("issued", row.issued);
    visitor("expires", row.expires);
    visitor("is_revoked", row.is_revoked);
    visitor("reason", row.reason);
  }
};

template <>
struct Columns<controller::FlowEvent> {
  static constexpr const char* kTable = "flow_event";
  static void visit(auto& row, auto&& visitor) {
    visitor("flow", row.flow);
    visitor("kind", row.kind);
    visitor("node", row.node);
    visitor("time", row.time);
    visitor("decision", row.decision);
    visitor("grant_id", row.grant);
    visitor("subject", row.subject);
    visitor("device", row.device);
    visitor("resource", row.resource);
    visitor("network", row.network);
    visitor("connector", row.connector);
    visitor("client_address", row.client_address);
    visitor("target", row.target);
    visitor("target_address", row.target_address);
    visitor("protocol", row.protocol);
    visitor("bytes_up", row.bytes_up);
    visitor("bytes_down", row.bytes_down);
    visitor("duration_ms", row.duration_ms);
    visitor("reason", row.reason);
    visitor("path", row.path);
    visitor("reporter", row.reporter);
  }
};

template <>
struct Columns<controller::AuditEntry> {
  static constexpr const char* kTable = "audit";
  static void visit(auto& row, auto&& visitor) {
    visitor("time", row.time);
    visitor("actor", row.actor);
    visitor("action", row.action);
    visitor("target", row.target);
    visitor("detail", row.detail);
  }
};

}  // namespace zt::store
