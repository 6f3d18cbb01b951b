// SPDX-License-Identifier: Apache-2.0
#include "zt/base/path_rule.h"

#include <fmt/format.h>

#include <algorithm>

namespace zt {

namespace {

bool is_named(const PathRule& rule, const RelayId& relay) {
  return std::ranges::find(rule.relays, relay) != rule.relays.end();
}

}  // namespace

std::string_view to_text(Paths paths) {
  switch (paths) {
    case Paths::any:
      return "any";
    case Paths::never_relay:
      return "never-relay";
    case Paths::always_relay:
      return "always-relay";
  }
  return "unknown";
}

std::optional<Paths> parse_paths(std::string_view text) {
  for (const Paths paths : {Paths::any, Paths::never_relay, Paths::always_relay}) {
    if (text == to_text(paths)) return paths;
  }
  return std::nullopt;
}

bool allows(const PathRule& rule, const RelayId& relay) {
  return rule.use != RelayUse::only || is_named(rule, relay);
}

bool is_preferred(const PathRule& rule, const RelayId& relay) {
  return rule.use == RelayUse::first && is_named(rule, relay);
}

std::optional<std::string> complaint_about_path(const PathRule& rule,
                                                const std::optional<RelayId>& relay) {
  if (!relay) {
    if (rule.paths != Paths::always_relay) return std::nullopt;
    return "the path rule is always-relay, and this path is direct";
  }
  if (rule.paths == Paths::never_relay) {
    return fmt::format("the path rule is never-relay, and this path goes through relay {}",
                       relay->text);
  }
  if (allows(rule, *relay)) return std::nullopt;
  return fmt::format("the path rule does not allow relay {}", relay->text);
}

std::string describe(const PathRule& rule) {
  std::string text;
  switch (rule.paths) {
    case Paths::any:
      text = "any path";
      break;
    case Paths::never_relay:
      text = "never through a relay";
      break;
    case Paths::always_relay:
      text = "always through a relay";
      break;
  }
  if (rule.use == RelayUse::any) return text;
  std::string relays;
  for (const RelayId& relay : rule.relays) relays += (relays.empty() ? "" : ", ") + relay.text;
  if (relays.empty()) relays = "none";
  const bool is_first = rule.use == RelayUse::first;
  return fmt::format("{}; relays: {}{}", text, is_first ? "first " : "only ", relays);
}

}  // namespace zt
