// SPDX-License-Identifier: Apache-2.0
#include "node/tcp_links.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

namespace zt::node {
namespace {

const SocketAddress kServer{IpAddress::v4({198, 18, 0, 11}), 443};
const SocketAddress kOther{IpAddress::v4({198, 18, 0, 12}), 443};

TEST_CASE("names of links are of the discard prefix, and each is another", "[rfc6666]") {
  std::set<SocketAddress> names;
  for (const std::uint64_t number : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{256},
                                     std::uint64_t{1} << 32U, ~std::uint64_t{0}}) {
    const SocketAddress name = link_address(number);
    CHECK(is_link_address(name.ip));
    CHECK(kind_of(name.ip) == AddressKind::reserved);
    CHECK(names.insert(name).second);
  }
  CHECK(link_address(258).ip.to_text() == "100::102");
  for (const char* text : {"100:0:0:1::1", "::1", "2001:db8::1", "1.0.0.0", "101::1"}) {
    CHECK_FALSE(is_link_address(*IpAddress::parse(text)));
  }
}

TEST_CASE("a link carries what goes to its server only while it is in use for that") {
  TcpLinks links;
  const SocketAddress link = links.open({.remotes = {kServer}});
  const auto wish = links.poll_wish();
  REQUIRE(wish);
  CHECK(std::get<TcpLinkWanted>(*wish).link == link);
  struct Row {
    TcpLinks::Use use;
    SocketAddress to_server;    // Where what is for the server goes.
    SocketAddress from_server;  // Who what comes from the server by UDP is said to be from.
  };
  for (const Row& row : {
           Row{{.link = link, .name = kServer, .is_carrying = true}, link, kServer},
           Row{{.link = link, .name = kServer, .is_carrying = true, .is_probing = true},
               link,
               link},
           Row{{.link = link, .name = kServer}, kServer, kServer},
       }) {
    links.set_use(row.use);
    CHECK(links.to_wire(kServer) == row.to_server);
    CHECK(links.from_wire(kServer) == row.from_server);
    CHECK(links.to_wire(link) == kServer);    // A probe.
    CHECK(links.from_wire(link) == kServer);  // Also what is late.
    CHECK(links.to_wire(kOther) == kOther);
    CHECK(links.from_wire(kOther) == kOther);
  }
  links.set_use({.link = link, .name = kServer, .is_carrying = true});
  links.close(link);
  CHECK(std::get<TcpLinkUnwanted>(*links.poll_wish()).link == link);
  CHECK_FALSE(links.poll_wish());
  CHECK(links.to_wire(kServer) == kServer);
  CHECK(links.open({.remotes = {kServer}}) != link);
}

TEST_CASE("where UDP was blocked is remembered for each network, of a few") {
  TcpLinks links(2);
  const auto network = [](std::uint8_t number) {
    return std::vector<IpAddress>{IpAddress::v4({10, 0, 0, number})};
  };
  links.set_network(network(1));
  CHECK_FALSE(links.is_udp_blocked());
  links.set_udp_blocked(true);
  links.set_network(network(2));
  CHECK_FALSE(links.is_udp_blocked());
  links.set_udp_blocked(true);
  links.set_network(network(1));
  CHECK(links.is_udp_blocked());
  links.set_udp_blocked(true);  // Seen again: network 2 is the older one.
  links.set_network(network(3));
  links.set_udp_blocked(true);
  links.set_network(network(2));
  CHECK_FALSE(links.is_udp_blocked());
  links.set_network(network(1));
  CHECK(links.is_udp_blocked());
  links.set_udp_blocked(false);
  CHECK_FALSE(links.is_udp_blocked());
}

}  // namespace
}  // namespace zt::node
