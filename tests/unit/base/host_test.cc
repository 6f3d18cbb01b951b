// SPDX-License-Identifier: Apache-2.0
#include "zt/base/host.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/random.h"

namespace zt {
namespace {

TEST_CASE("a name has one spelling") {
  for (const auto& [text, canonical] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"db.internal", "db.internal"},
           {"DB.Internal", "db.internal"},
           {"db.internal.", "db.internal"},
           {"db", "db"},
           {"_sip._tcp.x.test", "_sip._tcp.x.test"},
           {"a--b.test", "a--b.test"},
           {"xn--bcher-kva.test", "xn--bcher-kva.test"},
           {"1.2.3.4.test", "1.2.3.4.test"},
           {"3com.x9", "3com.x9"},
           {"0x7f.test", "0x7f.test"},
           {"0xg", "0xg"},
           {"x0", "x0"}}) {
    CAPTURE(text);
    REQUIRE(DnsName::parse(text).has_value());
    CHECK(DnsName::parse(text)->text() == canonical);
  }
}

TEST_CASE("a name with other characters, empty labels or a number at its end is refused") {
  for (const std::string_view text :
       {"",       ".",           "..",   ".a",        "a..b",  "a.b..", "-a.test", "a-.test",
        "a.-",    "-",           "a b",  "a\n",       "a/b",   "a:1",   "a@b",     "*.a",
        "a%00",   "bücher.test", "a\\b", "$(a)",      "127.1", "1",     "1.2.3.4", "0x7f",
        "0x7f.1", "a.0x7F",      "a.0x", "1.2.3.256", "a.007", "a;b",   "a'b"}) {
    CAPTURE(text);
    CHECK_FALSE(DnsName::parse(text).has_value());
  }
  CHECK_FALSE(DnsName::parse(std::string_view("a\0b", 3)).has_value());
}

TEST_CASE("labels end at 63 characters and names at 253") {
  const std::string label63(63, 'a');
  const std::string label64(64, 'a');
  CHECK(DnsName::parse(label63).has_value());
  CHECK_FALSE(DnsName::parse(label64).has_value());
  const std::string name253 = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');
  REQUIRE(name253.size() == 253);
  CHECK(DnsName::parse(name253).has_value());
  CHECK(DnsName::parse(name253 + ".").has_value());
  CHECK_FALSE(DnsName::parse(name253 + "b").has_value());
  CHECK_FALSE(DnsName::parse(name253 + "b.").has_value());
}

TEST_CASE("a host is an address when it can be one") {
  CHECK(std::holds_alternative<IpAddress>(parse_host("10.0.0.1").value()));
  CHECK(std::holds_alternative<IpAddress>(parse_host("::1").value()));
  CHECK(parse_host("[::1]") == parse_host("::1"));
  CHECK(std::holds_alternative<DnsName>(parse_host("localhost").value()));
  CHECK(to_text(parse_host("[FD00::1]").value()) == "fd00::1");
  CHECK(to_text(parse_host("DB.test.").value()) == "db.test");
  for (const std::string_view text : {"", "[]", "[10.0.0.1]", "[db]", "[::1", "::1]", "10.0.0.1.",
                                      "1.2.3", "::1%lo", "a b", "[::1%lo]"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_host(text).has_value());
  }
}

TEST_CASE("an authority is a host and a port, never a user", "[rfc9110-9.3.6]") {
  for (const auto& [text, canonical] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"db.internal:5432", "db.internal:5432"},
           {"DB.internal.:1", "db.internal:1"},
           {"10.0.0.1:22", "10.0.0.1:22"},
           {"[fd00::1]:65535", "[fd00::1]:65535"}}) {
    CAPTURE(text);
    REQUIRE(Authority::parse(text).has_value());
    CHECK(Authority::parse(text)->to_text() == canonical);
  }
  for (const std::string_view text :
       {"",         ":",          "db",      "db:",          "db:0",
        "db:65536", "db:http",    ":80",     "user@db:80",   "db:80/",
        "db:80:80", "fd00::1:80", "fd00::1", "[fd00::1]",    "[10.0.0.1]:80",
        "[db]:80",  "db :80",     "db: 80",  "http://db:80", "[::1]:80]:80",
        "[:80"}) {
    CAPTURE(text);
    CHECK_FALSE(Authority::parse(text).has_value());
  }
}

TEST_CASE("wildcards: a star is any characters, a question mark one") {
  struct Row {
    std::string_view pattern, name;
    bool matches;
  };
  for (const Row& row : std::vector<Row>{{"*.x.test", "a.x.test", true},
                                         {"*.x.test", "a.b.x.test", true},
                                         {"*.x.test", "x.test", false},
                                         {"*.x.test", ".x.test", true},
                                         {"*.x.test", "a.x.test.evil", false},
                                         {"*.x.test", "a-x.test", false},
                                         {"*speedtest*", "www.speedtest.net", true},
                                         {"*speedtest*", "speedtest", true},
                                         {"*speedtest*", "speed.test", false},
                                         {"*.*", "a.b", true},
                                         {"*.*", "ab", false},
                                         {"db?.test", "db1.test", true},
                                         {"db?.test", "db.test", false},
                                         {"db?.test", "db12.test", false},
                                         {"DB?.Test", "db1.tEST", true},
                                         {"*", "", true},
                                         {"*", "anything", true},
                                         {"", "", true},
                                         {"", "a", false},
                                         {"?", "", false},
                                         {"**", "", true},
                                         {"a*b*c", "abbbc", true},
                                         {"a*b*c", "abbbcd", false}}) {
    CAPTURE(row.pattern, row.name);
    CHECK(matches_wildcard(row.pattern, row.name) == row.matches);
  }
}

// matches_slowly is the definition: recursion over both texts.
bool matches_slowly(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*') {
    return matches_slowly(pattern.substr(1), name) ||
           (!name.empty() && matches_slowly(pattern, name.substr(1)));
  }
  if (name.empty()) return false;
  return (pattern.front() == '?' || pattern.front() == name.front()) &&
         matches_slowly(pattern.substr(1), name.substr(1));
}

TEST_CASE("wildcards agree with their definition", "[property]") {
  constexpr std::uint64_t kSeed = 42;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  const auto draw = [&random](std::string_view alphabet, std::uint64_t size_max) {
    std::string text;
    for (std::uint64_t i = random.below(size_max + 1); i > 0; --i) {
      text.push_back(alphabet[random.below(alphabet.size())]);
    }
    return text;
  };
  for (int round = 0; round < 100000; ++round) {
    const std::string pattern = draw("ab.*?", 7);
    const std::string name = draw("ab.", 9);
    CAPTURE(pattern, name);
    REQUIRE(matches_wildcard(pattern, name) == matches_slowly(pattern, name));
  }
}

TEST_CASE("a hostile pattern costs no more than the product of the sizes", "[threat]") {
  std::string pattern;
  for (int i = 0; i < 120; ++i) pattern.append("*a");
  CHECK_FALSE(matches_wildcard(pattern + "b", std::string(253, 'a')));
}

}  // namespace
}  // namespace zt
