// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/address_pattern.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zt::policy {
namespace {

AddressPattern pattern(std::string_view text) {
  const auto parsed = AddressPattern::parse(text);
  CAPTURE(text);
  REQUIRE(parsed.has_value());
  return *parsed;
}

Host host(std::string_view text) {
  return parse_host(text).value();
}

TEST_CASE("a pattern has one of four forms and one spelling") {
  for (const auto& [text, canonical] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"10.0.0.7", "10.0.0.7"},
           {"10.0.0.7/32", "10.0.0.7"},
           {"10.0.0.0/8", "10.0.0.0/8"},
           {"0.0.0.0/0", "0.0.0.0/0"},
           {"FD00::1", "fd00::1"},
           {"fd00::/8", "fd00::/8"},
           {"::ffff:10.0.0.7", "10.0.0.7"},
           {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
           {"::ffff:0:0/96", "0.0.0.0/0"},
           {"64:ff9b::/96", "64:ff9b::/96"},
           {"DB.Internal.", "db.internal"},
           {"db", "db"},
           {"*.Dev.internal", "*.dev.internal"},
           {"*.dev.internal.", "*.dev.internal"},
           {"*speedtest*", "*speedtest*"},
           {"*.*", "*.*"},
           {"*", "*"},
           {"db?.internal", "db?.internal"},
           {"db-?.10.internal", "db-?.10.internal"}}) {
    CAPTURE(text);
    REQUIRE(AddressPattern::parse(text).has_value());
    CHECK(AddressPattern::parse(text)->to_text() == canonical);
    CHECK(AddressPattern::parse(canonical) == AddressPattern::parse(text));
  }
}

TEST_CASE("what could be mistaken for a pattern is refused") {
  for (const std::string_view text :
       {"",      ".",  "10.0.0.1/8",  "10.0.0.0/33", "10.0.0",    "10.0.*",     "10.0.0.?", "1*",
        "*..x",  ".*", "*.x..",       "a b",         "*.x/8",     "http://db",  "db:5432",  "*:80",
        "[::1]", "$*", "*.b\xc3\xbc", "-db",         "fd00::/8*", "fd00::1%lo", "!*.x"}) {
    CAPTURE(text);
    CHECK_FALSE(AddressPattern::parse(text).has_value());
  }
  CHECK(AddressPattern::parse("*" + std::string(kPatternSizeMax - 1, 'a')).has_value());
  CHECK_FALSE(AddressPattern::parse("*" + std::string(kPatternSizeMax, 'a')).has_value());
}

TEST_CASE("a pattern matches its hosts and not their neighbours") {
  struct Row {
    std::string_view pattern, host;
    bool matches;
  };
  for (const Row& row : std::vector<Row>{{"10.0.0.7", "10.0.0.7", true},
                                         {"10.0.0.7", "10.0.0.8", false},
                                         {"10.0.0.7", "::ffff:10.0.0.7", true},
                                         {"10.0.0.7", "::ffff:a00:7", true},
                                         {"10.0.0.7", "::10.0.0.7", false},
                                         {"10.0.0.7", "64:ff9b::10.0.0.7", false},
                                         {"::ffff:10.0.0.7", "10.0.0.7", true},
                                         {"::/0", "::ffff:10.0.0.7", false},
                                         {"::/0", "fd00::1", true},
                                         {"0.0.0.0/0", "::ffff:10.0.0.7", true},
                                         {"0.0.0.0/0", "fd00::1", false},
                                         {"10.0.0.0/8", "10.255.255.255", true},
                                         {"10.0.0.0/8", "11.0.0.0", false},
                                         {"64:ff9b::/96", "64:ff9b::10.0.0.7", true},
                                         {"db.internal", "db.internal", true},
                                         {"db.internal", "DB.internal.", true},
                                         {"db.internal", "x.db.internal", false},
                                         {"db.internal", "db.internal.evil", false},
                                         {"*.internal", "db.internal", true},
                                         {"*.internal", "a.db.internal", true},
                                         {"*.internal", "internal", false},
                                         {"*", "db", true},
                                         {"*", "10.0.0.7", false},
                                         {"*", "fd00::1", false},
                                         {"*.*", "10.0.0.7", false},
                                         {"?b", "db", true},
                                         {"?b", "b", false}}) {
    CAPTURE(row.pattern, row.host);
    CHECK(pattern(row.pattern).matches(host(row.host)) == row.matches);
  }
}

TEST_CASE("single address before small before large prefix, name before wildcard") {
  const std::vector<std::vector<std::string_view>> descending = {
      {"10.0.0.7", "10.0.0.6/31", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0"},
      {"fd00::7", "fd00::/64", "fd00::/8", "::/0"},
      {"db.dev.internal", "d?.dev.internal", "*.dev.internal", "*.internal", "*.*", "*"},
      {"a", "?*"},
  };
  for (const auto& patterns : descending) {
    for (std::size_t i = 1; i < patterns.size(); ++i) {
      CAPTURE(patterns[i - 1], patterns[i]);
      CHECK(pattern(patterns[i - 1]).specificity() > pattern(patterns[i]).specificity());
    }
  }
  CHECK(pattern("*.internal").specificity() == pattern("**.internal").specificity());
}

TEST_CASE("a name is above the longest wildcard that matches it") {
  const std::string label(63, 'a');
  const std::string name = label + "." + label + "." + label + "." + std::string(61, 'b');
  CHECK(pattern(name).specificity() > pattern(name.substr(1) + "?").specificity());
  CHECK(pattern("a").specificity() > pattern(name.substr(1) + "*").specificity());
}

TEST_CASE("only a pattern for one host is literal") {
  CHECK(pattern("10.0.0.7").literal_host() == host("10.0.0.7"));
  CHECK(pattern("fd00::7/128").literal_host() == host("fd00::7"));
  CHECK(pattern("db.internal").literal_host() == host("db.internal"));
  for (const std::string_view text : {"10.0.0.6/31", "fd00::6/127", "0.0.0.0/0", "*", "d?"}) {
    CAPTURE(text);
    CHECK_FALSE(pattern(text).literal_host().has_value());
  }
}

}  // namespace
}  // namespace zt::policy
