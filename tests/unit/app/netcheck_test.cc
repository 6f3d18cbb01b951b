// SPDX-License-Identifier: Apache-2.0
#include "app/netcheck.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <utility>
#include <vector>

#include "wire/json.h"

namespace zt::app {
namespace {

using path::Chance;
using path::NatMapping;
using path::Reach;

SocketAddress at(const char* text) {
  const auto address = SocketAddress::parse(text);
  REQUIRE(address.has_value());
  return *address;
}

// A laptop behind a NAT, with one relay bound and one that does not answer.
Netcheck laptop() {
  Netcheck check{.controller = {.address = "zt.example:443",
                                .is_up = true,
                                .reason = "",
                                .remote = at("9.0.0.9:443"),
                                .round_trip = std::chrono::microseconds(12345),
                                .observed = at("8.0.0.1:5000")},
                 .relays = {},
                 .port = 40000,
                 .advertised = {},
                 .nat = {}};
  check.relays.push_back({.id = RelayId{"rly_1"},
                          .name = "ams",
                          .contact = {.address = "ams.example:443",
                                      .is_up = true,
                                      .reason = "",
                                      .remote = at("9.0.0.1:443"),
                                      .round_trip = std::chrono::milliseconds(7),
                                      .observed = at("8.0.0.1:5000")}});
  check.relays.push_back({.id = RelayId{"rly_2"},
                          .name = "fra",
                          .contact = {.address = "fra.example:443",
                                      .is_up = false,
                                      .reason = "no answer",
                                      .remote = at("[2a00::2]:443"),
                                      .round_trip = {},
                                      .observed = {}}});
  check.relays.push_back({.id = RelayId{"rly_3"},
                          .name = "spare",
                          .contact = {.address = "spare.example:443"},
                          .is_spare = true});
  check.nat.v4 = {.addresses = {IpAddress::v4({192, 168, 1, 5})},
                  .reach = Reach::proven,
                  .mapping = NatMapping::one_observer,
                  .chance = Chance::unknown};
  check.hairpin = path::Hairpin::testing;
  return check;
}

TEST_CASE("a netcheck tells how the gateway maps the port, or why not") {
  Netcheck check = laptop();
  check.mapping_need = node::MappingNeed::no_nat;
  CHECK(netcheck_text(netcheck_json(check)).contains("port map    not needed: there is no NAT\n"));

  check.mapping_need = node::MappingNeed::needed;
  check.mapping.place = {.gateway = IpAddress::v4({192, 168, 1, 1}),
                         .internal = at("192.168.1.5:40000")};
  CHECK(netcheck_text(netcheck_json(check))
            .contains("port map    the gateway is being asked (gateway 192.168.1.1)\n"));

  check.mapping.failure = path::MappingFailure::not_public;
  const auto failed = wire::parse_json_object(netcheck_json(check));
  CHECK(failed["port_mapping"]["state"] == "not_public");
  CHECK(netcheck_text(netcheck_json(check)).contains("port map    none: the gateway's external"));

  check.mapping.failure.reset();
  check.mapping.mapping = {.method = path::MappingMethod::pcp,
                           .external = at("8.0.0.1:40000"),
                           .lifetime = std::chrono::minutes(10),
                           .expires = {}};
  const auto mapped = wire::parse_json_object(netcheck_json(check));
  CHECK(mapped["port_mapping"]["state"] == "mapped");
  CHECK(mapped["port_mapping"]["by"] == "PCP");
  CHECK(mapped["port_mapping"]["external"] == "8.0.0.1:40000");
  CHECK(mapped["port_mapping"]["lifetime_s"] == 600);
  CHECK(netcheck_text(netcheck_json(check))
            .contains("port map    8.0.0.1:40000 by PCP, for 600 s and renewed (gateway"));
  CHECK(conclusion(check).starts_with("direct paths are likely with any peer"));
}

TEST_CASE("a netcheck tells whether the NAT hairpins, of IPv4 and where there is any") {
  Netcheck check = laptop();
  check.hairpin = path::Hairpin::works;
  CHECK(wire::parse_json_object(netcheck_json(check))["ipv4"]["hairpin"] == "yes");
  CHECK_FALSE(wire::parse_json_object(netcheck_json(check))["ipv6"].contains("hairpin"));
  CHECK(
      netcheck_text(netcheck_json(check)).contains("\n  hairpin   yes: what is sent to the NAT's"));
  check.hairpin = path::Hairpin::fails;
  CHECK(netcheck_text(netcheck_json(check)).contains("\n  hairpin   no: "));
  check.nat.v4.reach = Reach::absent;
  CHECK_FALSE(netcheck_text(netcheck_json(check)).contains("hairpin"));
}

TEST_CASE("a netcheck works if the controller is up and a relay is bound, and only then") {
  for (const bool is_up : {false, true}) {
    for (const bool is_bound : {false, true}) {
      CAPTURE(is_up, is_bound);
      Netcheck check = laptop();
      check.controller.is_up = is_up;
      check.relays.front().contact.is_up = is_bound;
      CHECK(check.is_working() == (is_up && is_bound));
      CHECK(is_working_netcheck(netcheck_json(check)) == (is_up && is_bound));
    }
  }
}

TEST_CASE("what is no netcheck does not work") {
  for (const char* text : {"", "null", "[]", "{}", R"({"working":1})", R"({"working":"true"})"}) {
    CAPTURE(text);
    CHECK_FALSE(is_working_netcheck(text));
  }
}

TEST_CASE("the conclusion names what is missing first") {
  Netcheck check = laptop();
  check.nat.v4.chance = Chance::any;
  CHECK(conclusion(check) == "direct paths are likely with any peer");
  check.port = 0;
  CHECK(conclusion(check) ==
        "whether direct paths work cannot be told: this machine's addresses cannot be read");
  check.is_always_relayed = true;
  CHECK(conclusion(check) == "relayed only: UDP to peers is off by --always-relay");
  check.controller.is_up = false;
  CHECK(conclusion(check) ==
        "the controller is not reached: open flows go on until their grants end, and no new access "
        "is granted until UDP to zt.example:443 is allowed and answered, or TCP");
  check.relays.front().contact.is_up = false;
  CHECK(conclusion(check) ==
        "no relay is reached: nothing works until UDP to ams.example:443 or fra.example:443 is "
        "allowed and answered, or TCP");
  check.relays.clear();
  CHECK(conclusion(check) ==
        "nothing works until UDP to the controller, zt.example:443, is allowed and answered, or "
        "TCP");
  check.controller.is_up = true;
  CHECK(conclusion(check) ==
        "nothing works: the controller knows no relay; zt admin relay token makes one");
}

TEST_CASE("the conclusion takes the better family, and says what the other allows") {
  struct Row {
    Chance v4;
    Chance v6;
    const char* sentence;
  };
  const std::vector<Row> rows = {
      {Chance::any, Chance::any, "direct paths are likely with any peer"},
      {Chance::any, Chance::none, "direct paths are likely with any peer"},
      {Chance::most, Chance::none,
       "direct paths are likely with peers that have no NAT, or one with endpoint-independent "
       "mapping; a relay carries what does not go directly"},
      {Chance::few, Chance::unknown,
       "direct paths are likely only with peers whose NAT is neither symmetric nor "
       "port-restricted; a relay carries what does not go directly"},
      {Chance::none, Chance::any,
       "direct paths are likely with any peer over IPv6; a relay carries what does not go "
       "directly"},
      {Chance::few, Chance::any,
       "direct paths are likely with any peer over IPv6, and only with peers whose NAT is neither "
       "symmetric nor port-restricted over IPv4; a relay carries what does not go directly"},
      {Chance::unknown, Chance::unknown,
       "whether peers elsewhere can be reached directly cannot be told; a relay carries what does "
       "not go directly"},
      {Chance::none, Chance::none,
       "direct paths are possible within the local network only; a relay carries what does not go "
       "directly"},
  };
  for (const Row& row : rows) {
    Netcheck check = laptop();
    check.nat.v4.chance = row.v4;
    check.nat.v6.chance = row.v6;
    CHECK(conclusion(check) == row.sentence);
  }
}

TEST_CASE("the object says all that the text says") {
  Netcheck check = laptop();
  check.advertised = {at("8.0.0.1:7000")};
  const wire::Json object = wire::parse_json_object(netcheck_json(check));
  REQUIRE(object.is_object());
  CHECK(object["version"] == 1);
  CHECK(object["ok"] == true);
  CHECK(object["controller"] == wire::Json{{"address", "zt.example:443"},
                                           {"up", true},
                                           {"transport", "HTTP/3"},
                                           {"by", "UDP"},
                                           {"reason", ""},
                                           {"remote", "9.0.0.9:443"},
                                           {"family", "IPv4"},
                                           {"observed", "8.0.0.1:5000"},
                                           {"round_trip_ms", 12.345}});
  CHECK(object["relays"] == wire::Json{{{"id", "rly_1"},
                                        {"name", "ams"},
                                        {"address", "ams.example:443"},
                                        {"bound", true},
                                        {"spare", false},
                                        {"silent", false},
                                        {"reason", ""},
                                        {"by", "UDP"},
                                        {"remote", "9.0.0.1:443"},
                                        {"family", "IPv4"},
                                        {"round_trip_ms", 7.0},
                                        {"observed", "8.0.0.1:5000"}},
                                       {{"id", "rly_2"},
                                        {"name", "fra"},
                                        {"address", "fra.example:443"},
                                        {"bound", false},
                                        {"spare", false},
                                        {"silent", false},
                                        {"reason", "no answer"},
                                        {"remote", "[2a00::2]:443"},
                                        {"family", "IPv6"}},
                                       {{"id", "rly_3"},
                                        {"name", "spare"},
                                        {"address", "spare.example:443"},
                                        {"bound", false},
                                        {"spare", true},
                                        {"silent", false},
                                        {"reason", ""}}});
  CHECK(object["udp_blocked"] == false);
  CHECK(object["udp_port"] == 40000);
  CHECK(object["always_relay"] == false);
  CHECK(object["advertised"] == wire::Json::array({"8.0.0.1:7000"}));
  CHECK(object["ipv4"]["addresses"] == wire::Json::array({"192.168.1.5"}));
  CHECK(object["ipv4"]["reach"] == "usable");
  CHECK(object["ipv4"]["mapping"] == "unknown");
  CHECK(object["ipv4"]["direct_peers"] == "unknown");
  CHECK(object["ipv6"]["reach"] == "absent");
}

TEST_CASE("the text is for people") {
  CHECK(netcheck_text(netcheck_json(laptop())) ==
        "controller  zt.example:443 up, by HTTP/3 over IPv4, round trip 12.3 ms, "
        R"(sees us at 8.0.0.1:5000
UDP port    40000
IPv4        usable: a relay or the controller is reached by it
  addresses 192.168.1.5
  NAT       unknown: there is a NAT, and from one place alone its mapping cannot be told
  hairpin   being tried
IPv6        this machine has no address of it
port map    not asked for: nobody tells by UDP whether there is a NAT

RELAY  ADDRESS            BY    ROUND TRIP  SEES US AT    STATE
ams    ams.example:443    IPv4  7.0 ms      8.0.0.1:5000  bound
fra    fra.example:443    IPv6  -           -             not bound: no answer
spare  spare.example:443  -     -           -             spare: enough others

conclusion  whether peers elsewhere can be reached directly cannot be told; a relay carries )"
        "what does not go directly\n");
}

TEST_CASE("UDP is blocked if all that is up is so over TCP") {
  Netcheck check = laptop();
  check.relays.front().contact.is_over_tcp = true;
  CHECK_FALSE(check.is_udp_blocked());  // The controller is reached by UDP.
  check.controller.is_over_tcp = true;
  CHECK(check.is_udp_blocked());
  CHECK(conclusion(check).starts_with("UDP is blocked here: all goes by TCP through a relay"));
  const std::string text = netcheck_text(netcheck_json(check));
  CHECK(text.find("up, by HTTP/3 over TCP, IPv4,") != std::string::npos);
  CHECK(text.find("ams.example:443    TCP, IPv4  7.0 ms") != std::string::npos);
  CHECK(text.find("bound; UDP is blocked\n") != std::string::npos);
  CHECK(wire::parse_json_object(netcheck_json(check))["udp_blocked"] == true);
  check.relays.front().contact.is_up = false;
  check.controller.is_up = false;
  CHECK_FALSE(check.is_udp_blocked());
}

TEST_CASE("a relay that is bound and does not answer is called silent") {
  Netcheck check = laptop();
  check.relays.front().is_silent = true;
  CHECK(netcheck_text(netcheck_json(check)).find("8.0.0.1:5000  bound, but silent\n") !=
        std::string::npos);
}

TEST_CASE("the text of a client that reaches nobody says why") {
  Netcheck check = laptop();
  check.controller = {.address = "zt.example:443",
                      .is_up = false,
                      .reason = "the controller is unreachable: no answer",
                      .remote = {},
                      .round_trip = {}};
  check.relays.clear();
  check.is_always_relayed = true;
  check.advertised = {at("8.0.0.1:7000"), at("[2a00::5]:7000")};
  check.port = 0;
  CHECK(netcheck_text(netcheck_json(check)) ==
        R"(controller  zt.example:443 away: the controller is unreachable: no answer
UDP port    unknown
advertised  8.0.0.1:7000, [2a00::5]:7000
policy      relays only (--always-relay)

conclusion  nothing works until UDP to the controller, zt.example:443, is allowed and answered, or)"
        " TCP\n");
}

TEST_CASE("the text of a malformed object is no harm to a terminal", "[threat]") {
  CHECK(netcheck_text("no object") == "no object");
  for (const char* text : {"{}", R"({"controller":[],"relays":{"a":7},"ipv4":1,"advertised":"x"})",
                           R"({"relays":[7,null,{"name":7}],"udp_port":"x"})"}) {
    CAPTURE(text);
    CHECK(netcheck_text(text).ends_with("\nconclusion  \n"));
  }
  Netcheck check = laptop();
  check.relays.back().name = "\x1b[2J";
  check.relays.front().contact.is_up = false;
  check.relays.front().contact.reason = "closed (\x1b[2J)";
  check.controller.is_up = false;
  check.controller.reason = "\n";
  const std::string shown = netcheck_text(netcheck_json(check));
  CHECK(shown.find('\x1b') == std::string::npos);
  CHECK(shown.find("away: ?\n") != std::string::npos);
}

}  // namespace
}  // namespace zt::app
