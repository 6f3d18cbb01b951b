// SPDX-License-Identifier: Apache-2.0
#include "zt/base/path_rule.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace zt {
namespace {

const RelayId kHome{"rly_home"};
const RelayId kAway{"rly_away"};

TEST_CASE("a path rule says which paths may carry a flow") {
  struct Row {
    PathRule rule;
    bool direct;
    bool home;
    bool away;
  };
  const Row rows[] = {
      {{}, true, true, true},
      {{.paths = Paths::never_relay}, true, false, false},
      {{.paths = Paths::always_relay}, false, true, true},
      {{.use = RelayUse::only, .relays = {kHome}}, true, true, false},
      {{.use = RelayUse::only, .relays = {}}, true, false, false},
      {{.use = RelayUse::first, .relays = {kHome}}, true, true, true},
      {{.paths = Paths::always_relay, .use = RelayUse::only, .relays = {kHome}},
       false,
       true,
       false},
      {{.paths = Paths::never_relay, .use = RelayUse::only, .relays = {kHome}}, true, false, false},
  };
  for (const Row& row : rows) {
    INFO(describe(row.rule));
    CHECK(complaint_about_path(row.rule, std::nullopt).has_value() != row.direct);
    CHECK(complaint_about_path(row.rule, kHome).has_value() != row.home);
    CHECK(complaint_about_path(row.rule, kAway).has_value() != row.away);
  }
}

TEST_CASE("a rule about relays holds for the way to a direct path, too") {
  const PathRule rule{.paths = Paths::never_relay, .use = RelayUse::only, .relays = {kHome}};
  CHECK(allows(rule, kHome));
  CHECK_FALSE(allows(rule, kAway));
  const PathRule first{.use = RelayUse::first, .relays = {kHome}};
  CHECK(is_preferred(first, kHome));
  CHECK_FALSE(is_preferred(first, kAway));
  CHECK_FALSE(is_preferred(rule, kHome));
}

TEST_CASE("complaints and rules are told in words") {
  CHECK(complaint_about_path({.paths = Paths::never_relay}, kHome) ==
        "the path rule is never-relay, and this path goes through relay rly_home");
  CHECK(complaint_about_path({.paths = Paths::always_relay}, std::nullopt) ==
        "the path rule is always-relay, and this path is direct");
  CHECK(complaint_about_path({.use = RelayUse::only, .relays = {kHome}}, kAway) ==
        "the path rule does not allow relay rly_away");
  CHECK(describe({}) == "any path");
  CHECK(
      describe({.paths = Paths::always_relay, .use = RelayUse::first, .relays = {kHome, kAway}}) ==
      "always through a relay; relays: first rly_home, rly_away");
  CHECK(describe({.use = RelayUse::only}) == "any path; relays: only none");
}

TEST_CASE("paths are read by the names with which they are written") {
  for (const Paths paths : {Paths::any, Paths::never_relay, Paths::always_relay}) {
    CHECK(parse_paths(to_text(paths)) == paths);
  }
  CHECK_FALSE(parse_paths("inherit"));
  CHECK_FALSE(parse_paths(""));
}

}  // namespace
}  // namespace zt
