// SPDX-License-Identifier: Apache-2.0
#include "zt/path/nat_verdict.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "zt/base/random.h"

namespace zt::path {
namespace {

constexpr std::uint16_t kPort = 40000;

SocketAddress at(const char* text) {
  const auto address = SocketAddress::parse(text);
  REQUIRE(address.has_value());
  return *address;
}

IpAddress ip(const char* text) {
  const auto address = IpAddress::parse(text);
  REQUIRE(address.has_value());
  return *address;
}

struct Seen {
  const char* relay;
  const char* observed;  // Null: the relay does not tell.
};

// A laptop at 192.168.1.5, whose relays are bound as `seen` says.
NetworkFacts laptop(const std::vector<Seen>& seen) {
  NetworkFacts facts{.port = kPort,
                     .is_v4 = true,
                     .is_v6 = true,
                     .addresses = {ip("127.0.0.1"), ip("192.168.1.5"), ip("::1")},
                     .advertised = {},
                     .sightings = {}};
  for (const auto& [relay, observed] : seen) {
    facts.sightings.push_back({.observer = at(relay), .observed = {}});
    if (observed != nullptr) facts.sightings.back().observed = at(observed);
  }
  return facts;
}

TEST_CASE("what relays see tells the mapping of RFC 4787 section 4.1") {
  struct Row {
    const char* name;
    std::vector<Seen> seen;
    NatMapping mapping;
    Chance chance;
  };
  const std::vector<Row> rows = {
      {"no relay", {}, NatMapping::unseen, Chance::unknown},
      {"a relay that does not tell",
       {{"9.0.0.1:443", nullptr}},
       NatMapping::unseen,
       Chance::unknown},
      {"a relay that tells what cannot be",
       {{"9.0.0.1:443", "127.0.0.1:40000"}},
       NatMapping::unseen,
       Chance::unknown},
      {"a relay on this machine",
       {{"127.0.0.1:443", "127.0.0.1:40000"}},
       NatMapping::unseen,
       Chance::unknown},
      {"one relay sees the machine",
       {{"9.0.0.1:443", "192.168.1.5:40000"}},
       NatMapping::none,
       Chance::any},
      {"two relays see the machine",
       {{"9.0.0.1:443", "192.168.1.5:40000"}, {"9.0.0.2:443", "192.168.1.5:40000"}},
       NatMapping::none,
       Chance::any},
      {"the machine's address, and another port",
       {{"9.0.0.1:443", "192.168.1.5:40001"}},
       NatMapping::one_observer,
       Chance::unknown},
      {"another address, and the same port",
       {{"9.0.0.1:443", "8.0.0.1:40000"}},
       NatMapping::one_observer,
       Chance::unknown},
      {"two relays beyond a NAT see the same",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.2:443", "8.0.0.1:5000"}},
       NatMapping::endpoint_independent,
       Chance::most},
      {"two relays see different ports",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.2:443", "8.0.0.1:5001"}},
       NatMapping::dependent,
       Chance::few},
      {"two relays see different addresses",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.2:443", "8.0.0.2:5000"}},
       NatMapping::dependent,
       Chance::few},
      {"two relays at one address see the same",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.1:444", "8.0.0.1:5000"}},
       NatMapping::one_host,
       Chance::unknown},
      {"two relays at one address see different ports",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.1:444", "8.0.0.1:5001"}},
       NatMapping::address_and_port_dependent,
       Chance::few},
      {"another port for each address, not for each port",
       {{"9.0.0.1:443", "8.0.0.1:5000"},
        {"9.0.0.1:444", "8.0.0.1:5000"},
        {"9.0.0.2:443", "8.0.0.1:5001"}},
       NatMapping::address_dependent,
       Chance::few},
      {"another port for each relay",
       {{"9.0.0.1:443", "8.0.0.1:5000"},
        {"9.0.0.1:444", "8.0.0.1:5001"},
        {"9.0.0.2:443", "8.0.0.1:5002"}},
       NatMapping::address_and_port_dependent,
       Chance::few},
      {"one relay twice is one relay",
       {{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.1:443", "8.0.0.1:5001"}},
       NatMapping::one_observer,
       Chance::unknown},
      {"a relay on our side of the NAT does not count",
       {{"192.168.1.9:443", "192.168.1.5:40000"}, {"9.0.0.1:443", "8.0.0.1:5000"}},
       NatMapping::one_observer,
       Chance::unknown},
      {"a relay on our side of the NAT, and two beyond",
       {{"192.168.1.9:443", "192.168.1.5:40000"},
        {"9.0.0.1:443", "8.0.0.1:5000"},
        {"9.0.0.2:443", "8.0.0.1:5000"}},
       NatMapping::endpoint_independent,
       Chance::most},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    NetworkFacts facts = laptop(row.seen);
    const FamilyVerdict verdict = judge_network(facts).v4;
    CHECK(to_text(verdict.mapping) == to_text(row.mapping));
    CHECK(explain(verdict.mapping) == explain(row.mapping));
    CHECK(to_text(verdict.chance) == to_text(row.chance));
    std::ranges::reverse(facts.sightings);
    CHECK(judge_network(facts).v4 == verdict);
  }
}

TEST_CASE("a node is mapped to one address where all relays beyond the NAT see the same") {
  const auto mapped = [](const std::vector<Seen>& seen) {
    return judge_network(laptop(seen)).v4.mapped;
  };
  CHECK_FALSE(mapped({}));
  CHECK_FALSE(mapped({{"9.0.0.1:443", "192.168.1.5:40000"}}));
  CHECK(mapped({{"9.0.0.1:443", "8.0.0.1:5000"}}) == at("8.0.0.1:5000"));
  CHECK(mapped({{"192.168.1.9:443", "192.168.1.5:40000"}, {"9.0.0.1:443", "8.0.0.1:5000"}}) ==
        at("8.0.0.1:5000"));
  CHECK(mapped({{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.2:443", "8.0.0.1:5000"}}) ==
        at("8.0.0.1:5000"));
  CHECK_FALSE(mapped({{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.2:443", "8.0.0.1:5001"}}));
}

TEST_CASE("a family reaches as far as a relay proves, or as the machine's addresses let it hope") {
  struct Row {
    const char* name;
    bool is_open;
    std::vector<IpAddress> addresses;
    std::vector<Seen> seen;
    Reach reach;
    Chance chance;
  };
  const std::vector<Row> rows = {
      {"a relay is bound",
       true,
       {ip("2a00::5")},
       {{"[2a00:1::1]:443", "[2a00::5]:40000"}},
       Reach::proven,
       Chance::any},
      {"a relay is bound over unique local addresses",
       true,
       {ip("fd00::5")},
       {{"[fd00::1]:443", "[fd00::5]:40000"}},
       Reach::proven,
       Chance::any},
      {"a relay of the other family proves nothing",
       true,
       {ip("2a00::5")},
       {{"9.0.0.1:443", "192.168.1.5:40000"}},
       Reach::unproven,
       Chance::unknown},
      {"nor one on this machine",
       true,
       {ip("2a00::5")},
       {{"[::1]:443", "[::1]:40000"}},
       Reach::unproven,
       Chance::unknown},
      {"a global address beside local ones",
       true,
       {ip("fe80::5"), ip("fd00::5"), ip("2a00::5")},
       {},
       Reach::unproven,
       Chance::unknown},
      {"link-local only", true, {ip("::1"), ip("fe80::5")}, {}, Reach::local, Chance::none},
      {"unique local only", true, {ip("fdff::5"), ip("fc00::5")}, {}, Reach::local, Chance::none},
      {"just beyond unique local", true, {ip("fbff::5")}, {}, Reach::unproven, Chance::unknown},
      {"loopback only", true, {ip("::1")}, {}, Reach::absent, Chance::none},
      {"addresses of the other family",
       true,
       {ip("192.168.1.5"), ip("169.254.0.7")},
       {},
       Reach::absent,
       Chance::none},
      {"no socket", false, {ip("2a00::5")}, {}, Reach::shut, Chance::none},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    NetworkFacts facts = laptop(row.seen);
    facts.addresses = row.addresses;
    facts.is_v6 = row.is_open;
    const FamilyVerdict verdict = judge_network(facts).v6;
    CHECK(explain(verdict.reach) == explain(row.reach));
    CHECK(to_text(verdict.chance) == to_text(row.chance));
  }
}

TEST_CASE("usable addresses are those that peers are told, in order") {
  NetworkFacts facts = laptop({});
  facts.addresses = {ip("fe80::1"),     ip("2a00::5"),     ip("fd00::5"),   ip("10.0.0.9"),
                     ip("169.254.0.1"), ip("192.168.1.5"), ip("127.0.0.1"), ip("10.0.0.2")};
  const NatVerdict verdict = judge_network(facts);
  CHECK(verdict.v4.addresses ==
        std::vector<IpAddress>{ip("10.0.0.2"), ip("10.0.0.9"), ip("192.168.1.5")});
  CHECK(verdict.v6.addresses == std::vector<IpAddress>{ip("2a00::5"), ip("fd00::5")});
}

TEST_CASE("an advertised address lets any peer in, by its own family, whatever the NAT maps") {
  NetworkFacts facts = laptop({{"9.0.0.1:443", "8.0.0.1:5000"}, {"9.0.0.1:444", "8.0.0.1:5001"}});
  facts.addresses.push_back(ip("2a00::5"));
  CHECK(judge_network(facts).v4.chance == Chance::few);
  facts.advertised = {at("8.0.0.1:7000")};
  CHECK(judge_network(facts).v4.chance == Chance::any);
  CHECK(judge_network(facts).v4.mapping == NatMapping::address_and_port_dependent);
  CHECK(judge_network(facts).v6.chance == Chance::unknown);
  facts.is_v4 = false;
  CHECK(judge_network(facts).v4.chance == Chance::none);
}

TEST_CASE("a NAT64 is a NAT: a relay by IPv6 that sees an IPv4 address") {
  const NetworkFacts facts =
      laptop({{"[64:ff9b::900:1]:443", "8.0.0.1:5000"}, {"[64:ff9b::900:2]:443", "8.0.0.1:5000"}});
  CHECK(judge_network(facts).v6.mapping == NatMapping::endpoint_independent);
  CHECK(judge_network(facts).v4.mapping == NatMapping::unseen);
}

// Nat gives each flow a port as its kind of mapping says; no port is given twice.
class Nat {
 public:
  explicit Nat(NatMapping kind) : kind_(kind) {}

  SocketAddress map(const SocketAddress& relay) {
    SocketAddress key;
    if (kind_ != NatMapping::endpoint_independent) key.ip = relay.ip;
    if (kind_ == NatMapping::address_and_port_dependent) key.port = relay.port;
    const auto [entry, is_new] = ports_.try_emplace(key, next_port_);
    if (is_new) ++next_port_;
    return {.ip = IpAddress::v4({8, 0, 0, 1}), .port = entry->second};
  }

 private:
  NatMapping kind_;
  std::uint16_t next_port_ = 5000;
  std::map<SocketAddress, std::uint16_t> ports_;
};

TEST_CASE("the verdict is the NAT's kind, or admits what too few relays leave open", "[property]") {
  const std::map<NatMapping, std::set<NatMapping>> possible = {
      {NatMapping::endpoint_independent,
       {NatMapping::endpoint_independent, NatMapping::one_host, NatMapping::one_observer}},
      {NatMapping::address_dependent,
       {NatMapping::address_dependent, NatMapping::dependent, NatMapping::one_host,
        NatMapping::one_observer}},
      {NatMapping::address_and_port_dependent,
       {NatMapping::address_and_port_dependent, NatMapping::dependent, NatMapping::one_observer}},
  };
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    for (const auto& [kind, verdicts] : possible) {
      Nat nat(kind);
      NetworkFacts facts = laptop({});
      std::set<IpAddress> hosts;
      std::set<SocketAddress> relays;
      for (std::uint64_t count = 1 + random.below(4); count > 0; --count) {
        const SocketAddress relay{
            .ip = IpAddress::v4({9, 0, 0, static_cast<std::uint8_t>(1 + random.below(3))}),
            .port = static_cast<std::uint16_t>(443 + random.below(2))};
        hosts.insert(relay.ip);
        relays.insert(relay);
        facts.sightings.push_back({.observer = relay, .observed = nat.map(relay)});
      }
      const NatMapping mapping = judge_network(facts).v4.mapping;
      CAPTURE(to_text(kind), explain(mapping));
      CHECK(verdicts.contains(mapping));
      // Two addresses, one of them with two ports, leave nothing open.
      if (hosts.size() > 1 && relays.size() > hosts.size()) CHECK(mapping == kind);
      CHECK((mapping == NatMapping::one_observer) == (relays.size() == 1));
    }
  }
}

}  // namespace
}  // namespace zt::path
