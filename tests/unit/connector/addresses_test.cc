// SPDX-License-Identifier: Apache-2.0
#include "zt/connector/addresses.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace zt::connector {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  INFO(text);
  REQUIRE(address);
  return *address;
}

std::vector<IpAddress> ips(std::initializer_list<std::string_view> texts) {
  std::vector<IpAddress> result;
  for (const std::string_view text : texts) result.push_back(ip(text));
  return result;
}

TEST_CASE("what a private network is for may be dialled") {
  for (const auto* text : {"10.0.0.1", "192.168.1.9", "172.16.4.4", "192.0.43.8", "fd12::1",
                           "2606:4700::1", "100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"}) {
    INFO(text);
    CHECK_FALSE(prohibition_of(ip(text), std::nullopt, OwnAddresses()));
  }
}

TEST_CASE("dangerous addresses are refused in every spelling") {
  struct Row {
    std::string_view text;
    AddressKind kind;
  };
  const Row rows[] = {
      {"127.0.0.1", AddressKind::loopback},
      {"127.255.255.254", AddressKind::loopback},
      {"::1", AddressKind::loopback},
      {"::ffff:127.0.0.1", AddressKind::loopback},
      {"::127.0.0.1", AddressKind::loopback},
      {"::ffff:0:127.0.0.1", AddressKind::loopback},
      {"64:ff9b::7f00:1", AddressKind::loopback},
      {"2002:7f00:1::", AddressKind::loopback},
      {"fd00::5efe:7f00:1", AddressKind::loopback},
      {"0.0.0.0", AddressKind::unspecified},
      {"0.1.2.3", AddressKind::unspecified},
      {"::", AddressKind::unspecified},
      {"::ffff:0.0.0.0", AddressKind::unspecified},
      {"169.254.1.1", AddressKind::link_local},
      {"fe80::1", AddressKind::link_local},
      {"::ffff:169.254.1.1", AddressKind::link_local},
      {"169.254.169.254", AddressKind::metadata},
      {"::169.254.169.254", AddressKind::metadata},
      {"::ffff:169.254.169.254", AddressKind::metadata},
      {"64:ff9b::a9fe:a9fe", AddressKind::metadata},
      {"2002:a9fe:a9fe::1", AddressKind::metadata},
      {"fd00:ec2::254", AddressKind::metadata},
      {"100.100.100.200", AddressKind::metadata},
      {"168.63.129.16", AddressKind::metadata},
      {"224.0.0.1", AddressKind::multicast},
      {"ff02::1", AddressKind::multicast},
      {"255.255.255.255", AddressKind::broadcast},
      {"240.0.0.1", AddressKind::reserved},
      {"::ffff:240.0.0.1", AddressKind::reserved},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto prohibition = prohibition_of(ip(row.text), std::nullopt, OwnAddresses());
    CHECK(prohibition == Prohibition{row.kind});
  }
}

TEST_CASE("the connector's own addresses are refused in every spelling") {
  const OwnAddresses own(ips({"10.0.0.9", "fd12::9", "::ffff:10.0.0.8"}));
  for (const auto* text :
       {"10.0.0.9", "::ffff:10.0.0.9", "64:ff9b::a00:9", "2002:a00:9::", "fd12::9", "10.0.0.8"}) {
    INFO(text);
    CHECK(prohibition_of(ip(text), std::nullopt, own) == Prohibition{AddressKind::global});
  }
  CHECK_FALSE(prohibition_of(ip("10.0.0.10"), std::nullopt, own));
}

TEST_CASE("naming an address unlocks that address and no other spelling of it") {
  const OwnAddresses own(ips({"10.0.0.9"}));
  const IpAddress loopback = ip("127.0.0.1");
  CHECK_FALSE(prohibition_of(loopback, loopback, own));
  CHECK(prohibition_of(ip("127.0.0.2"), loopback, own));
  CHECK(prohibition_of(ip("::ffff:127.0.0.1"), loopback, own));
  CHECK(prohibition_of(ip("::1"), loopback, own));
  CHECK_FALSE(prohibition_of(ip("10.0.0.9"), ip("10.0.0.9"), own));
}

TEST_CASE("a prohibition reads as the end of a sentence") {
  CHECK(Prohibition{AddressKind::loopback}.to_text() == "is a loopback address");
  CHECK(Prohibition{AddressKind::global}.to_text() == "is an address of the connector itself");
}

TEST_CASE("families alternate, beginning with the resolver's first, without doubles") {
  CHECK(interleaved({}, 8).empty());
  CHECK(interleaved(ips({"10.0.0.1", "10.0.0.2", "fd00::1"}), 8) ==
        ips({"10.0.0.1", "fd00::1", "10.0.0.2"}));
  CHECK(interleaved(ips({"fd00::1", "fd00::2", "fd00::3", "10.0.0.1"}), 8) ==
        ips({"fd00::1", "10.0.0.1", "fd00::2", "fd00::3"}));
  CHECK(interleaved(ips({"10.0.0.1", "10.0.0.1"}), 8) == ips({"10.0.0.1"}));
  CHECK(interleaved(ips({"10.0.0.1", "10.0.0.2", "fd00::1"}), 2) == ips({"10.0.0.1", "fd00::1"}));
  CHECK(interleaved(ips({"10.0.0.1", "10.0.0.2", "fd00::1"}), 1) == ips({"10.0.0.1"}));
}

}  // namespace
}  // namespace zt::connector
