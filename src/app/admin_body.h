// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_body.h: what `zt admin` was told, as the JSON that the administrators' API takes.
//
// Theory of operation
//   Pure functions: arguments in, a body or a sentence out. An argument that was not given is not
//   in the body, so that the controller's default holds. What the controller checks is not checked
//   here, except where the words of the command line are not those of the API.

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/json.h"
#include "zt/base/time.h"

namespace zt::app {

using BodyOrSentence = std::expected<wire::Json, std::string>;

// ports_body reads "all", "none", or ports and ranges with commas: "5432,8000-8100". The sentence
// names `option`.
[[nodiscard]] BodyOrSentence ports_body(std::string_view option, std::string_view text);

// time_body reads a time (RFC 3339), or a duration from `now` ("30d"), and writes the time; "never"
// is null.
[[nodiscard]] BodyOrSentence time_body(std::string_view option, std::string_view text,
                                       UnixTime now);

// Reference is how the command line names an object: by its id, by its name, or by a word that
// stands for all of a kind.
struct Reference {
  enum class By : unsigned char { id, name, word };
  By by = By::name;
  std::string kind;  // As in the API's paths: "users".
  std::string text;

  friend bool operator==(const Reference&, const Reference&) = default;
};

// parse_reference tells an id of `kind`, whose ids begin with `prefix`, from a name.
[[nodiscard]] Reference parse_reference(std::string_view kind, std::string_view prefix,
                                        std::string_view text);

// parse_subject reads svc:NAME, user:NAME, group:NAME, the id of one, or "everyone".
[[nodiscard]] std::expected<Reference, std::string> parse_subject(std::string_view text);

// parse_rule_resource reads the name or id of a resource, or "everything".
[[nodiscard]] Reference parse_rule_resource(std::string_view text);

struct TokenArguments {
  std::string name;
  std::string lifetime;  // "1h".
  std::optional<int> uses;
  std::string address;  // Of relays.
  std::string region;
};
[[nodiscard]] BodyOrSentence token_body(const TokenArguments& arguments);

// PathArguments are the flags of a path rule; what is given replaces the whole rule.
struct PathArguments {
  std::string paths;                // "any", "never-relay", "always-relay"; "inherit".
  std::vector<std::string> relays;  // Ids.
  std::vector<std::string> regions;
  bool is_own_first = false;

  [[nodiscard]] bool is_empty() const {
    return paths.empty() && relays.empty() && regions.empty() && !is_own_first;
  }
};
// path_body returns the object "path".
[[nodiscard]] wire::Json path_body(const PathArguments& arguments);

struct NetworkArguments {
  std::string name;
  PathArguments path;
};
// network_body fails if nothing was given.
[[nodiscard]] BodyOrSentence network_body(const NetworkArguments& arguments);

struct ResourceArguments {
  std::string name;
  std::string network;  // An id.
  std::string address;
  std::string tcp;
  std::string udp;
  std::vector<std::string> aliases;
  bool is_without_aliases = false;  // Removes them.
  PathArguments path;
};
// resource_body fails if nothing was given.
[[nodiscard]] BodyOrSentence resource_body(const ResourceArguments& arguments);

struct RuleArguments {
  std::string name;
  std::vector<std::string> subjects;   // Ids, or "everyone".
  std::vector<std::string> resources;  // Ids, or "everything".
  bool is_deny = false;
  std::string tcp;
  std::string udp;
  std::string until;
};
// rule_body: the API has one list of ports for the protocols of a rule; --tcp and --udp with
// different ports are two rules.
[[nodiscard]] BodyOrSentence rule_body(const RuleArguments& arguments, UnixTime now);

struct RuleChanges {
  std::string name;
  std::vector<std::string> subjects_added;  // Ids, or the words for all.
  std::vector<std::string> subjects_removed;
  std::vector<std::string> resources_added;
  std::vector<std::string> resources_removed;
  bool is_allow = false;
  bool is_deny = false;
  std::string tcp;  // With `udp`: replaces the protocols and ports.
  std::string udp;
  bool is_for_all_ports = false;
  std::string until;
};
// rule_changes_body returns what changes `rule`, an object of the API. It fails if nothing was
// given, if what shall be removed is not there, and if nobody or nothing would be left.
[[nodiscard]] BodyOrSentence rule_changes_body(const wire::Json& rule, const RuleChanges& changes,
                                               UnixTime now);

}  // namespace zt::app
