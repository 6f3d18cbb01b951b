// SPDX-License-Identifier: Apache-2.0
#pragma once
// policy/rule.h: who may reach what, as data.
//
// Theory of operation
//   A rule names subjects (directly, by group, or everyone), resources (by id, or everything) and
//   what of them (protocols, ports); it allows or denies that, until its date. It says nothing
//   about anything else. The words mean the same for people and for service accounts.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"
#include "zt/policy/resource.h"

namespace zt::policy {

// Subject is a user ("usr_…") or a service account ("svc_…").
struct Subject {
  SubjectId id;
  std::string name;
  std::set<GroupId> groups;
  bool is_enabled = true;

  friend bool operator==(const Subject&, const Subject&) = default;
};

enum class Effect : std::uint8_t { allow, deny };

struct AccessRule {
  RuleId id;
  std::string name;
  Effect effect = Effect::allow;
  std::set<SubjectId> subjects;
  std::set<GroupId> groups;
  bool is_for_everyone = false;  // Whatever `subjects` and `groups` say.
  std::set<ResourceId> resources;
  bool is_for_everything = false;       // Whatever `resources` says.
  std::vector<Protocol> protocols;      // Empty: every protocol.
  std::vector<PortRange> ports;         // Empty: every port.
  std::optional<UnixTime> valid_until;  // The rule speaks while now < valid_until.
  bool is_enabled = true;

  friend bool operator==(const AccessRule&, const AccessRule&) = default;
};

// PolicySet is everything that a decision of one tenant depends on. The order of resources and
// rules has no meaning; their ids are unique.
struct PolicySet {
  std::uint64_t revision = 0;
  std::map<SubjectId, Subject> subjects;
  std::map<GroupId, std::string> group_names;  // For explanations only.
  std::vector<Resource> resources;
  std::vector<AccessRule> rules;

  friend bool operator==(const PolicySet&, const PolicySet&) = default;
};

}  // namespace zt::policy
