// SPDX-License-Identifier: Apache-2.0
#include "zt/base/ip.h"

#include <arpa/inet.h>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/random.h"

namespace zt {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  CAPTURE(text);
  REQUIRE(address.has_value());
  return *address;
}

TEST_CASE("IPv4 is four decimal numbers and nothing else") {
  for (const std::string_view text : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "10.20.30.40"}) {
    CHECK(ip(text).is_v4());
    CHECK(ip(text).to_text() == text);
  }
  for (const std::string_view text : {"",           "1",          "1.2.3",
                                      "1.2.3.4.5",  "1.2.3.256",  "01.2.3.4",
                                      "1.2.3.04",   "0x7f.0.0.1", "127.1",
                                      "2130706433", "1.2.3.4 ",   " 1.2.3.4",
                                      "1..2.3",     ".1.2.3",     "1.2.3.",
                                      "+1.2.3.4",   "-1.2.3.4",   "1.2.3.4%eth0",
                                      "1.2.3.4/32", "1.2.3.1000", "1.2.3.99999999999999999999",
                                      "a.b.c.d"}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::parse(text).has_value());
  }
}

TEST_CASE("IPv6 is read in all its spellings and written in one", "[rfc5952-4]") {
  const std::vector<std::pair<std::string_view, std::string_view>> table = {
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"0:0:0:0:0:0:0:0", "::"},
      {"2001:0db8::0001", "2001:db8::1"},
      {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:DB8::AbCd", "2001:db8::abcd"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"::ffff:192.0.2.128", "::ffff:192.0.2.128"},
      {"::ffff:c000:280", "::ffff:192.0.2.128"},
      {"::192.0.2.128", "::c000:280"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
      {"fe80:0:0:0:1::", "fe80::1:0:0:0"},
  };
  for (const auto& [text, canonical] : table) {
    CAPTURE(text);
    CHECK(ip(text).is_v6());
    CHECK(ip(text).to_text() == canonical);
  }
}

TEST_CASE("IPv6 refuses what RFC 4291 has no form for", "[rfc4291-2.2]") {
  for (const std::string_view text : {":",
                                      ":::",
                                      "1",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1::2::3",
                                      "12345::",
                                      "g::",
                                      ":1::",
                                      "1:",
                                      ":1",
                                      "1::2:",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1:2:3:4:5:6:7:8",
                                      "1:2:3:4::5:6:7:8",
                                      "::1%eth0",
                                      "fe80::1%1",
                                      "::1/128",
                                      "[::1]",
                                      "::1.2.3",
                                      "::1.2.3.4.5",
                                      "::1.2.3.256",
                                      "::01.2.3.4",
                                      "1.2.3.4::",
                                      "::1.2.3.4:1",
                                      "1:2:3:4:5:6:7:1.2.3.4",
                                      " ::1",
                                      "::1 ",
                                      "::-1",
                                      "::+1",
                                      "::0x1"}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::parse(text).has_value());
  }
}

// sparse_v6 draws an address that is often zero or all ones, so that runs and prefixes occur.
IpAddress sparse_v6(SeededRandom& random) {
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < 16; i += 2) {
    const auto shape = random.below(4);
    const auto group = shape == 0 ? random.below(65536) : shape == 1 ? random.below(16) : 0;
    octets[i] = static_cast<std::uint8_t>(group >> 8U);
    octets[i + 1] = static_cast<std::uint8_t>(group & 255U);
  }
  return IpAddress::v6(octets);
}

TEST_CASE("IPv6 text agrees with the C library", "[property]") {
  constexpr std::uint64_t kSeed = 5952;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    const IpAddress address = sparse_v6(random);
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    REQUIRE(inet_ntop(AF_INET6, address.octets().data(), buffer.data(), buffer.size()) != nullptr);
    const std::string theirs = buffer.data();
    CAPTURE(theirs);
    REQUIRE(IpAddress::parse(theirs) == address);
    REQUIRE(IpAddress::parse(address.to_text()) == address);
    // The C library writes IPv4-compatible addresses in mixed notation too.
    if (theirs.find('.') == std::string::npos) REQUIRE(address.to_text() == theirs);
  }
}

TEST_CASE("what we accept as an address, the C library accepts as the same one", "[property]") {
  constexpr std::uint64_t kSeed = 4291;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  constexpr std::string_view kCharacters = "0123f:::...%/ 25";
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (std::uint64_t i = random.below(14); i > 0; --i) {
      text.push_back(kCharacters[random.below(kCharacters.size())]);
    }
    CAPTURE(text);
    std::array<std::uint8_t, 16> octets{};
    const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    const bool is_theirs = inet_pton(family, text.c_str(), octets.data()) == 1;
    const auto ours = IpAddress::parse(text);
    REQUIRE(ours.has_value() == is_theirs);
    if (ours) REQUIRE(ours->octets() == octets);
  }
}

TEST_CASE("no disguise of IPv4 stays on") {
  const std::vector<std::pair<std::string_view, std::string_view>> table = {
      {"127.0.0.1", "127.0.0.1"},
      {"::ffff:127.0.0.1", "127.0.0.1"},
      {"::ffff:7f00:1", "127.0.0.1"},
      {"0:0:0:0:0:ffff:7f00:0001", "127.0.0.1"},
      {"::127.0.0.1", "127.0.0.1"},
      {"::7f00:1", "127.0.0.1"},
      {"::2", "0.0.0.2"},
      {"::ffff:0:127.0.0.1", "127.0.0.1"},
      {"64:ff9b::7f00:1", "127.0.0.1"},
      {"64:ff9b::169.254.169.254", "169.254.169.254"},
      {"64:ff9b:1::127.0.0.1", "127.0.0.1"},    // The /96 form.
      {"64:ff9b:1:0:7f:0:100:0", "127.0.0.1"},  // The /64 form.
      {"64:ff9b:1:7f:0:1::", "127.0.0.1"},      // The /56 form.
      {"64:ff9b:1:7f00:0:100::", "127.0.0.1"},  // The /48 form.
      {"2002:7f00:1::", "127.0.0.1"},
      {"2002:7f00:1:ffff::1", "127.0.0.1"},
      {"2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"},  // RFC 4380 section 4.
      {"2001::80ff:fffe", "127.0.0.1"},
      {"2001:db8::5efe:127.0.0.1", "127.0.0.1"},
      {"2001:db8::200:5efe:7f00:1", "127.0.0.1"},
      {"fe80::5efe:8.8.8.8", "8.8.8.8"},
      {"fe80::0200:5efe:10.0.0.1", "10.0.0.1"},
  };
  for (const auto& [text, expected] : table) {
    CAPTURE(text);
    CHECK(unwrapped(ip(text)).to_text() == expected);
  }
}

TEST_CASE("an address that carries no IPv4 stays as it is") {
  for (const std::string_view text :
       {"::", "::1", "0.0.0.0", "8.8.8.8", "2001:db8::1", "fd00::7f00:1",
        "2003:7f00:1::", "2001:1::1", "64:ff9b:2::7f00:1", "64:ff9c::7f00:1", "::fffe:7f00:1",
        "::1:7f00:1", "::ffff:1:7f00:1", "2001:db8::100:5efe:7f00:1", "2001:db8::1:5efe:7f00:1",
        "2001:db8::5eff:7f00:1"}) {
    CAPTURE(text);
    CHECK(unwrapped(ip(text)) == ip(text));
  }
}

TEST_CASE("kinds of addresses, on both sides of each border") {
  using enum AddressKind;
  const std::vector<std::pair<std::string_view, AddressKind>> table = {
      {"0.0.0.0", unspecified},
      {"0.255.255.255", unspecified},
      {"1.0.0.0", global},
      {"10.0.0.1", global},
      {"100.64.0.1", global},
      {"100.100.100.199", global},
      {"100.100.100.200", metadata},
      {"126.255.255.255", global},
      {"127.0.0.0", loopback},
      {"127.255.255.255", loopback},
      {"128.0.0.0", global},
      {"168.63.129.15", global},
      {"168.63.129.16", metadata},
      {"169.253.255.255", global},
      {"169.254.0.0", link_local},
      {"169.254.169.253", link_local},
      {"169.254.169.254", metadata},
      {"169.254.170.2", metadata},
      {"169.254.170.23", metadata},
      {"169.254.255.255", link_local},
      {"169.255.0.0", global},
      {"172.16.0.1", global},
      {"191.255.255.255", global},
      {"192.0.0.0", reserved},
      {"192.0.0.8", reserved},
      {"192.0.0.9", global},
      {"192.0.0.10", global},
      {"192.0.0.11", reserved},
      {"192.0.0.192", metadata},
      {"192.0.1.0", global},
      {"192.0.2.0", reserved},
      {"192.0.3.0", global},
      {"192.168.0.1", global},
      {"198.51.99.255", global},
      {"198.51.100.0", reserved},
      {"203.0.113.255", reserved},
      {"203.0.114.0", global},
      {"223.255.255.255", global},
      {"224.0.0.0", multicast},
      {"239.255.255.255", multicast},
      {"240.0.0.0", reserved},
      {"255.255.255.254", reserved},
      {"255.255.255.255", broadcast},
      {"::", unspecified},
      {"::1", loopback},
      {"::2", unspecified},
      {"fe7f:ffff::", global},
      {"fe80::", link_local},
      {"febf:ffff::1", link_local},
      {"fec0::", global},
      {"feff::1", global},
      {"ff00::", multicast},
      {"ff02::1", multicast},
      {"100::1", reserved},
      {"100:0:0:1::1", global},
      {"2001:db7:ffff::", global},
      {"2001:db8::", reserved},
      {"2001:db9::", global},
      {"3fff::1", reserved},
      {"3fff:fff:ffff::1", reserved},
      {"3fff:1000::1", global},
      {"fd00:ec2::254", metadata},
      {"fd00:ec2::23", metadata},
      {"fd00:ec2::255", global},
      {"fd20:ce::254", metadata},
      {"fd00::1", global},
      {"2606:4700::1111", global},
  };
  for (const auto& [text, expected] : table) {
    CAPTURE(text, to_text(expected));
    CHECK(kind_of(ip(text)) == expected);
  }
}

TEST_CASE("a disguise does not change the kind of a dangerous address", "[threat]") {
  for (const std::string_view inner : {"0.0.0.0", "127.0.0.1", "169.254.1.1", "169.254.169.254",
                                       "100.100.100.200", "224.0.0.1", "255.255.255.255"}) {
    const AddressKind kind = kind_of(ip(inner));
    const auto& o = ip(inner).octets();
    const std::string quad(inner);
    std::array<std::uint8_t, 16> teredo = ip("2001::").octets();
    for (std::size_t i = 0; i < 4; ++i) teredo[12 + i] = static_cast<std::uint8_t>(~o[i]);
    std::array<std::uint8_t, 16> six_to_four = ip("2002::1").octets();
    std::copy_n(o.begin(), 4, six_to_four.begin() + 2);
    CAPTURE(inner);
    CHECK(kind_of(IpAddress::v6(teredo)) == kind);
    CHECK(kind_of(IpAddress::v6(six_to_four)) == kind);
    for (const std::string_view prefix : {"::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::",
                                          "fd00::5efe:", "2600::200:5efe:"}) {
      CAPTURE(prefix);
      CHECK(kind_of(ip(std::string(prefix) + quad)) == kind);
    }
  }
}

TEST_CASE("a dangerous place does not become global by what it carries", "[threat]") {
  CHECK(kind_of(ip("fe80::5efe:8.8.8.8")) == AddressKind::link_local);
  CHECK(kind_of(ip("ff02::5efe:8.8.8.8")) == AddressKind::multicast);
}

TEST_CASE("a prefix is read only without host bits") {
  for (const auto& [text, canonical] :
       std::vector<std::pair<std::string_view, std::string_view>>{{"10.0.0.0/8", "10.0.0.0/8"},
                                                                  {"0.0.0.0/0", "0.0.0.0/0"},
                                                                  {"10.1.2.3", "10.1.2.3/32"},
                                                                  {"10.1.2.2/31", "10.1.2.2/31"},
                                                                  {"::/0", "::/0"},
                                                                  {"fd00::/8", "fd00::/8"},
                                                                  {"FD00::1", "fd00::1/128"},
                                                                  {"fd00::2/127", "fd00::2/127"}}) {
    CAPTURE(text);
    REQUIRE(IpPrefix::parse(text).has_value());
    CHECK(IpPrefix::parse(text)->to_text() == canonical);
  }
  for (const std::string_view text :
       {"10.0.0.1/8", "10.1.2.3/31", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "/8",
        "10.0.0.0/8/8", "10.0.0.0/8 ", "fd00::1/127", "fd00::/129", "db/8", "10.0/8", ""}) {
    CAPTURE(text);
    CHECK_FALSE(IpPrefix::parse(text).has_value());
  }
}

TEST_CASE("a prefix contains its first and last address and not their neighbours") {
  struct Row {
    std::string_view prefix, before, first, last, after;
  };
  for (const Row& row : std::vector<Row>{
           {"10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
           {"10.0.0.128/25", "10.0.0.127", "10.0.0.128", "10.0.0.255", "10.0.1.0"},
           {"10.0.0.4/31", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"},
           {"10.0.0.4/32", "10.0.0.3", "10.0.0.4", "10.0.0.4", "10.0.0.5"},
           {"100.64.0.0/10", "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
           {"fd00::/8", "fcff::", "fd00::", "fdff::1", "fe00::"},
           {"fd00::/65", "fcff::", "fd00::", "fd00::7fff:0:0:1", "fd00::8000:0:0:0"}}) {
    CAPTURE(row.prefix);
    const IpPrefix prefix = IpPrefix::parse(row.prefix).value();
    CHECK_FALSE(prefix.contains(ip(row.before)));
    CHECK(prefix.contains(ip(row.first)));
    CHECK(prefix.contains(ip(row.last)));
    CHECK_FALSE(prefix.contains(ip(row.after)));
  }
  CHECK(IpPrefix::parse("0.0.0.0/0")->contains(ip("255.255.255.255")));
  CHECK_FALSE(IpPrefix::parse("0.0.0.0/0")->contains(ip("::")));
  CHECK_FALSE(IpPrefix::parse("::/0")->contains(ip("0.0.0.0")));
}

TEST_CASE("a prefix agrees with comparing bit by bit", "[property]") {
  constexpr std::uint64_t kSeed = 4632;
  CAPTURE(kSeed);
  SeededRandom random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    const IpAddress base = sparse_v6(random);
    auto octets = base.octets();
    const auto flipped = static_cast<unsigned>(random.below(128));
    octets[flipped / 8] = static_cast<std::uint8_t>(octets[flipped / 8] ^ (128U >> flipped % 8));
    const auto length = static_cast<unsigned>(random.below(129));
    const IpPrefix prefix{base, length};
    REQUIRE(prefix.contains(IpAddress::v6(octets)) == (flipped >= length));
    REQUIRE(prefix.contains(base));
  }
}

TEST_CASE("a socket address has brackets exactly when it is IPv6") {
  for (const std::string_view text :
       {"192.0.2.1:53", "[2001:db8::1]:53", "[::]:65535", "0.0.0.0:1"}) {
    CAPTURE(text);
    REQUIRE(SocketAddress::parse(text).has_value());
    CHECK(SocketAddress::parse(text)->to_text() == text);
  }
  for (const std::string_view text :
       {"192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:+1", "192.0.2.1:01",
        "[192.0.2.1]:53", "2001:db8::1:53", "[2001:db8::1]", "[2001:db8::1]53", "[::1:53",
        "::1]:53", "name:53", ":53", "[]:53", "", "192.0.2.1:53 "}) {
    CAPTURE(text);
    CHECK_FALSE(SocketAddress::parse(text).has_value());
  }
}

TEST_CASE("ports end at 1 and 65535") {
  CHECK(parse_port("1") == 1);
  CHECK(parse_port("65535") == 65535);
  for (const std::string_view text :
       {"", "0", "65536", "99999", "100000", "01", "+1", "-1", " 1", "1a"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_port(text).has_value());
  }
}

TEST_CASE("hashes tell socket addresses apart") {
  const std::hash<SocketAddress> hash;
  const SocketAddress address = SocketAddress::parse("10.0.0.1:80").value();
  CHECK(hash(address) == hash(SocketAddress::parse("10.0.0.1:80").value()));
  CHECK(hash(address) != hash(SocketAddress::parse("10.0.0.1:81").value()));
  CHECK(hash(address) != hash(SocketAddress::parse("10.0.0.2:80").value()));
  CHECK(hash(address) != hash(SocketAddress::parse("[a00:1::]:80").value()));
}

}  // namespace
}  // namespace zt
