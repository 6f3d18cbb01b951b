// SPDX-License-Identifier: Apache-2.0
#include "app/admin_body.h"

#include <fmt/format.h>

#include <array>
#include <set>

#include "zt/base/ids.h"
#include "zt/base/protocol.h"
#include "zt/base/rfc3339.h"

namespace zt::app {

namespace {

using wire::Json;

struct SubjectKind {
  std::string_view word;  // Before the colon.
  std::string_view kind;
  std::string_view prefix;
};
constexpr std::array<SubjectKind, 3> kSubjectKinds{{
    {"svc", "service-accounts", ServiceAccountIdTag::kPrefix},
    {"user", "users", UserIdTag::kPrefix},
    {"group", "groups", GroupIdTag::kPrefix},
}};

void add_text(Json& body, const char* member, const std::string& text) {
  if (!text.empty()) body[member] = text;
}

// read_protocols adds "protocols" and "ports" to a rule, or returns a sentence.
std::optional<std::string> read_protocols(const std::string& tcp, const std::string& udp,
                                          Json& body) {
  if (tcp.empty() && udp.empty()) return std::nullopt;
  Json protocols = Json::array();
  Json ports;
  for (const auto& [protocol, text] : {std::pair("tcp", &tcp), std::pair("udp", &udp)}) {
    if (text->empty()) continue;
    const auto value = ports_body(fmt::format("--{}", protocol), *text);
    if (!value) return value.error();
    if (*value == "none") continue;
    if (!ports.is_null() && ports != *value) {
      return "a rule has one list of ports for both protocols: make one rule for --tcp and one for "
             "--udp";
    }
    protocols.push_back(protocol);
    ports = *value;
  }
  if (protocols.empty()) return "a rule for no port would say nothing: give --tcp or --udp ports";
  body["protocols"] = std::move(protocols);
  body["ports"] = std::move(ports);
  return std::nullopt;
}

}  // namespace

BodyOrSentence ports_body(std::string_view option, std::string_view text) {
  if (text == "all" || text == "none") return Json(text);
  Json list = Json::array();
  for (;;) {
    const std::size_t comma = text.find(',');
    const auto range = PortRange::parse(text.substr(0, comma));
    if (!range) {
      return std::unexpected(
          fmt::format("{}: \"{}\" is no port from 1 to 65535 and no range such as 8000-8100; "
                      "\"all\" and \"none\" stand alone",
                      option, text.substr(0, comma)));
    }
    list.push_back(range->to_text());
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

BodyOrSentence time_body(std::string_view option, std::string_view text, UnixTime now) {
  if (text == "never") return Json(nullptr);
  if (const auto duration = parse_duration(text)) {
    return Json(to_rfc3339(now + std::chrono::duration_cast<std::chrono::milliseconds>(*duration)));
  }
  if (const auto time = parse_rfc3339(text)) return Json(to_rfc3339(*time));
  return std::unexpected(
      fmt::format("{}: \"{}\" is no duration such as 12h or 30d, no time such as "
                  "2030-12-31T23:59:59Z, and not \"never\"",
                  option, text));
}

Reference parse_reference(std::string_view kind, std::string_view prefix, std::string_view text) {
  return {.by = is_well_formed_id(text, prefix) ? Reference::By::id : Reference::By::name,
          .kind = std::string(kind),
          .text = std::string(text)};
}

std::expected<Reference, std::string> parse_subject(std::string_view text) {
  if (text == "everyone") {
    return Reference{.by = Reference::By::word, .kind = {}, .text = std::string(text)};
  }
  const std::size_t colon = text.find(':');
  for (const SubjectKind& kind : kSubjectKinds) {
    if (is_well_formed_id(text, kind.prefix)) {
      return parse_reference(kind.kind, kind.prefix, text);
    }
    const bool is_meant = colon != std::string_view::npos && text.substr(0, colon) == kind.word;
    if (is_meant && colon + 1 < text.size()) {
      return parse_reference(kind.kind, kind.prefix, text.substr(colon + 1));
    }
  }
  return std::unexpected(fmt::format(
      "\"{}\" is no subject: write svc:NAME, user:NAME, group:NAME, an id, or everyone", text));
}

Reference parse_rule_resource(std::string_view text) {
  if (text == "everything") {
    return {.by = Reference::By::word, .kind = {}, .text = std::string(text)};
  }
  return parse_reference("resources", ResourceIdTag::kPrefix, text);
}

BodyOrSentence token_body(const TokenArguments& arguments) {
  Json body = Json::object();
  add_text(body, "name", arguments.name);
  add_text(body, "address", arguments.address);
  add_text(body, "region", arguments.region);
  if (arguments.uses) body["uses"] = *arguments.uses;
  if (!arguments.lifetime.empty()) {
    if (!parse_duration(arguments.lifetime)) {
      return std::unexpected(fmt::format("--expires: \"{}\" is no duration such as 30m, 24h or 7d",
                                         arguments.lifetime));
    }
    body["lifetime"] = arguments.lifetime;
  }
  return body;
}

Json path_body(const PathArguments& arguments) {
  Json path = {{"paths", arguments.paths.empty() ? "any" : arguments.paths}};
  if (!arguments.relays.empty()) path["relays"] = arguments.relays;
  if (!arguments.regions.empty()) path["regions"] = arguments.regions;
  if (arguments.is_own_first) path["own_first"] = true;
  return path;
}

BodyOrSentence network_body(const NetworkArguments& arguments) {
  Json body = Json::object();
  add_text(body, "name", arguments.name);
  if (!arguments.path.is_empty()) body["path"] = path_body(arguments.path);
  if (body.empty()) return std::unexpected("nothing to change was given: see --help");
  return body;
}

BodyOrSentence resource_body(const ResourceArguments& arguments) {
  Json body = Json::object();
  add_text(body, "name", arguments.name);
  add_text(body, "network", arguments.network);
  add_text(body, "address", arguments.address);
  for (const auto& [member, text] :
       {std::pair("tcp", &arguments.tcp), std::pair("udp", &arguments.udp)}) {
    if (text->empty()) continue;
    auto ports = ports_body(fmt::format("--{}", member), *text);
    if (!ports) return ports;
    body[member] = std::move(*ports);
  }
  if (!arguments.aliases.empty()) body["aliases"] = arguments.aliases;
  if (arguments.is_without_aliases) body["aliases"] = Json::array();
  if (!arguments.path.is_empty()) body["path"] = path_body(arguments.path);
  if (body.empty()) return std::unexpected("nothing to change was given: see --help");
  return body;
}

BodyOrSentence rule_body(const RuleArguments& arguments, UnixTime now) {
  Json body = {{"name", arguments.name},
               {"effect", arguments.is_deny ? "deny" : "allow"},
               {"subjects", arguments.subjects},
               {"resources", arguments.resources}};
  if (auto sentence = read_protocols(arguments.tcp, arguments.udp, body)) {
    return std::unexpected(std::move(*sentence));
  }
  if (!arguments.until.empty()) {
    auto time = time_body("--until", arguments.until, now);
    if (!time) return time;
    body["valid_until"] = std::move(*time);
  }
  return body;
}

namespace {

// ListChange is what is done to one list of a rule.
struct ListChange {
  const char* member;
  const std::vector<std::string>& added;
  const std::vector<std::string>& removed;
};

// change_list adds the changed list to `body`, or returns a sentence.
std::optional<std::string> change_list(const Json& rule, const ListChange& change, Json& body) {
  if (change.added.empty() && change.removed.empty()) return std::nullopt;
  constexpr std::size_t kListedMax = 100'000;
  std::set<std::string> ids;
  if (const Json* const held = wire::array_member(rule, change.member, kListedMax)) {
    for (const Json& id : *held) {
      if (id.is_string()) ids.insert(id.get<std::string>());
    }
  }
  for (const std::string& id : change.removed) {
    if (ids.erase(id) == 0) return fmt::format("the rule does not name {}", id);
  }
  ids.insert(change.added.begin(), change.added.end());
  if (ids.empty()) {
    return fmt::format("the rule would be left without {}: delete or disable it", change.member);
  }
  body[change.member] = ids;
  return std::nullopt;
}

}  // namespace

BodyOrSentence rule_changes_body(const Json& rule, const RuleChanges& changes, UnixTime now) {
  Json body = Json::object();
  add_text(body, "name", changes.name);
  for (const ListChange& change :
       {ListChange{"subjects", changes.subjects_added, changes.subjects_removed},
        ListChange{"resources", changes.resources_added, changes.resources_removed}}) {
    if (auto sentence = change_list(rule, change, body)) {
      return std::unexpected(std::move(*sentence));
    }
  }
  if (changes.is_allow) body["effect"] = "allow";
  if (changes.is_deny) body["effect"] = "deny";
  if (auto sentence = read_protocols(changes.tcp, changes.udp, body)) {
    return std::unexpected(std::move(*sentence));
  }
  if (changes.is_for_all_ports) {
    body["protocols"] = Json::array();
    body["ports"] = "all";
  }
  if (!changes.until.empty()) {
    auto time = time_body("--until", changes.until, now);
    if (!time) return time;
    body["valid_until"] = std::move(*time);
  }
  if (body.empty()) return std::unexpected("nothing to change was given: see --help");
  return body;
}

}  // namespace zt::app
