// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/resource.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fixture.h"
#include "zt/base/random.h"

namespace zt::policy {
namespace {

std::string names(const std::vector<const Resource*>& matches) {
  std::string text;
  for (const Resource* match : matches) text.append(text.empty() ? "" : " ").append(match->name);
  return text;
}

TEST_CASE("a host belongs to the narrowest resource") {
  const std::vector<Resource> resources = {
      resource("all", "*"),
      resource("dev", "*.dev.internal"),
      resource("db", "db.dev.internal"),
      resource("ten", "10.0.0.0/8"),
      resource("rack", "10.1.0.0/16"),
      resource("box", "10.1.2.3"),
      resource("six", "::/0"),
  };
  const auto match = [&resources](std::string_view host) {
    return names(best_matches(resources, target(host)));
  };
  CHECK(match("db.dev.internal") == "db");
  CHECK(match("web.dev.internal") == "dev");
  CHECK(match("dev.internal") == "all");
  CHECK(match("10.1.2.3") == "box");
  CHECK(match("10.1.2.4") == "rack");
  CHECK(match("10.2.0.0") == "ten");
  CHECK(match("11.0.0.0").empty());
  CHECK(match("fd00::1") == "six");
}

TEST_CASE("a narrow resource keeps its hosts when it is disabled or has no port") {
  std::vector<Resource> resources = {resource("all", "*"), resource("db", "db.internal")};
  resources[1].is_enabled = false;
  CHECK(names(best_matches(resources, target("db.internal"))) == "db");
  resources[1].is_enabled = true;
  resources[1].tcp = {PortRange{5432, 5432}};
  CHECK(names(best_matches(resources, target("db.internal", 22))) == "db");
}

TEST_CASE("equal resources come in the order of use, then of ids") {
  std::vector<Resource> resources = {resource("c", "db.x"), resource("b", "db.x"),
                                     resource("a", "db.x"), resource("d", "db.x")};
  CHECK(names(best_matches(resources, target("db.x"))) == "a b c d");
  resources[2].tcp = {};            // a has no port.
  resources[1].is_enabled = false;  // b has it, but is disabled.
  CHECK(names(best_matches(resources, target("db.x"))) == "c d b a");
  CHECK(best_match(resources, target("db.x"))->name == "c");
  CHECK(best_match(resources, target("other.x")) == nullptr);
}

TEST_CASE("aliases count like the address") {
  std::vector<Resource> resources = {resource("wide", "*.internal"), resource("db", "10.0.0.7")};
  resources[1].aliases = {AddressPattern::parse("db.internal").value(),
                          AddressPattern::parse("*.db.internal").value()};
  CHECK(names(best_matches(resources, target("db.internal"))) == "db");
  CHECK(names(best_matches(resources, target("a.db.internal"))) == "db");
  CHECK(names(best_matches(resources, target("10.0.0.7"))) == "db");
  CHECK(names(best_matches(resources, target("web.internal"))) == "wide");
}

TEST_CASE("a disguise of IPv4 never reaches past the resource of the plain address", "[threat]") {
  const std::vector<Resource> resources = {
      resource("six", "::/0"),
      resource("nat64", "64:ff9b::/96"),
      resource("box", "10.0.0.7"),
      resource("wide", "192.168.0.0/16"),
      resource("named", "64:ff9b::192.168.0.1"),
  };
  const auto match = [&resources](std::string_view host) {
    return names(best_matches(resources, target(host)));
  };
  // The kernel dials a mapped address as IPv4: it is the plain address.
  CHECK(match("::ffff:10.0.0.7") == "box");
  CHECK(match("::ffff:10.0.0.8").empty());
  // Whoever may reach ::/0 does not reach 10.0.0.7 by it.
  for (const std::string_view disguise : {"64:ff9b::10.0.0.7", "::10.0.0.7", "2002:a00:7::1",
                                          "fd00::5efe:10.0.0.7", "64:ff9b::192.168.0.2"}) {
    CAPTURE(disguise);
    CHECK(match(disguise).empty());
  }
  // Nor does a resource with the plain address open its disguises.
  CHECK(names(best_matches(std::span(resources).subspan(2, 1), target("2002:a00:7::1"))).empty());
  CHECK(match("64:ff9b::10.0.0.8") == "nat64");
  CHECK(match("64:ff9b::192.168.0.1") == "named");
  CHECK(match("2002:a00:8::1") == "six");
}

TEST_CASE("a resource offers the ends of its ranges and nothing beside") {
  Resource db = resource("db", "db.internal");
  db.tcp = {PortRange{22, 22}, PortRange{8000, 8100}};
  db.udp = {};
  for (const std::uint16_t port : std::vector<std::uint16_t>{22, 8000, 8100})
    CHECK(offers(db, Protocol::tcp, port));
  for (const std::uint16_t port : std::vector<std::uint16_t>{0, 21, 23, 7999, 8101}) {
    CHECK_FALSE(offers(db, Protocol::tcp, port));
  }
  CHECK_FALSE(offers(db, Protocol::udp, 22));
  CHECK_FALSE(offers(resource("all", "*"), Protocol::udp, 0));
}

// match_slowly sorts all matches by specificity and keeps the first of them.
std::vector<std::string> match_slowly(const std::vector<Resource>& resources, const Host& host) {
  std::vector<std::pair<Specificity, std::string>> matches;
  for (const Resource& candidate : resources) {
    if (candidate.address.matches(host)) {
      matches.emplace_back(candidate.address.specificity(), candidate.name);
    }
  }
  std::sort(matches.rbegin(), matches.rend());
  std::vector<std::string> best;
  for (const auto& [specificity, name] : matches) {
    if (specificity == matches.front().first) best.push_back(name);
  }
  std::sort(best.begin(), best.end());
  return best;
}

TEST_CASE("matching agrees with sorting, in any order of resources", "[property]") {
  constexpr std::uint64_t kSeed = 7;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  const std::vector<std::string_view> patterns = {
      "*",     "*.x",      "a.*",         "?.x",        "a.x",       "b.x",         "*.*",
      "a.*.x", "10.0.0.1", "10.0.0.0/31", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.0/30", "**.x"};
  const std::vector<std::string_view> hosts = {"a.x",      "b.x",      "a.b.x",    "a",
                                               "10.0.0.0", "10.0.0.1", "10.0.0.2", "11.0.0.1"};
  for (int round = 0; round < 20000; ++round) {
    std::vector<Resource> resources;
    for (std::uint64_t i = random.below(6); i > 0; --i) {
      resources.push_back(resource(std::to_string(i), patterns[random.below(patterns.size())]));
      if (random.below(2) == 0) std::swap(resources.front(), resources.back());
    }
    const Target wanted = target(hosts[random.below(hosts.size())]);
    std::vector<std::string> found;
    for (const Resource* match : best_matches(resources, wanted)) found.push_back(match->name);
    REQUIRE(found == match_slowly(resources, wanted.host));
  }
}

}  // namespace
}  // namespace zt::policy
