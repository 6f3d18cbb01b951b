// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/tcp_links.h: the TCP links of a node: their names, what goes over them, and where they are
// needed.
//
// Theory of operation
//   A link carries datagrams to one server over TCP (http/datagram_link.h), for networks that let
//   no UDP through. For everybody above it a server has one address, R, that of its UDP port. What
//   carries the datagrams to R, UDP or the link, is decided here and below, so that to QUIC a
//   change of the carrier is a change of our own address: nothing else moves.
//
//     above: QUIC, paths          here                  below: the shell
//          R ────────────────────────────────────────── R, by UDP            without a link
//          R ──────────────┬─── is_carrying ─────────── L, the link
//          L ──────────────┴─── a probe by UDP ──────── R, by UDP
//
//   L names the link between node and shell. It is out of the discard prefix 100::/64 (RFC 6666),
//   of which nothing is ever sent or received, so it names nothing else. While the link carries
//   what goes to R, L is the name above for R by UDP: a probe connection goes there to see whether
//   UDP works again.
//
// Limits   networks_max networks are remembered, the one that was seen longest ago is forgotten.
// Threats  A link's name never leaves the machine: shells send to links that they have, and take no
//          datagram from UDP that claims to be from one.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "quic/endpoint.h"
#include "zt/base/ip.h"

namespace zt::node {

// is_link_address tells whether an address is of the discard prefix 100::/64 (RFC 6666).
[[nodiscard]] inline bool is_link_address(const IpAddress& ip) {
  constexpr std::array<std::uint8_t, 8> kDiscardPrefix = {0x01};
  return ip.is_v6() &&
         std::equal(kDiscardPrefix.begin(), kDiscardPrefix.end(), ip.octets().begin());
}

// link_address returns the name of link `number`.
[[nodiscard]] inline SocketAddress link_address(std::uint64_t number) {
  std::array<std::uint8_t, 16> octets = {0x01};
  for (std::size_t i = octets.size(); number > 0 && i > 8; number >>= 8U) {
    octets[--i] = static_cast<std::uint8_t>(number & 0xffU);
  }
  return {.ip = IpAddress::v6(octets), .port = 1};
}

// ServerPlace is where a link goes, and how its server is recognised.
struct ServerPlace {
  std::vector<SocketAddress> remotes;
  quic::PeerPin pin;
  std::string server_name;  // SNI; empty sends none.
  std::string authority;    // HOST:PORT.
};

// TcpLinkWanted asks to open a link and to call link_opened or link_closed; datagrams for `link`
// go over it, and those that come are from `link`.
struct TcpLinkWanted {
  SocketAddress link;
  ServerPlace place;
};
struct TcpLinkUnwanted {  // Close it; nothing has to be called.
  SocketAddress link;
};
using TcpLinkWish = std::variant<TcpLinkWanted, TcpLinkUnwanted>;

class TcpLinks {
 public:
  explicit TcpLinks(std::size_t networks_max = 16) : networks_max_(networks_max) {}
  TcpLinks(const TcpLinks&) = delete;
  TcpLinks& operator=(const TcpLinks&) = delete;

  // open wishes for a link and returns its name, which is not used twice.
  [[nodiscard]] SocketAddress open(ServerPlace place) {
    const SocketAddress link = link_address(next_link_++);
    wishes_.emplace_back(TcpLinkWanted{.link = link, .place = std::move(place)});
    return link;
  }
  void close(const SocketAddress& link) {
    forget(link);
    wishes_.emplace_back(TcpLinkUnwanted{link});
  }
  // forget is close for a link that the shell has closed.
  void forget(const SocketAddress& link) {
    std::erase_if(uses_, [&](const Use& use) { return use.link == link; });
  }
  [[nodiscard]] std::optional<TcpLinkWish> poll_wish() {
    if (wishes_.empty()) return std::nullopt;
    TcpLinkWish wish = std::move(wishes_.front());
    wishes_.pop_front();
    return wish;
  }

  // Use is what a link is for.
  struct Use {
    SocketAddress link;
    SocketAddress name;        // Of the server: its UDP address.
    bool is_carrying = false;  // It carries what goes to the server.
    bool is_probing = false;   // What comes from the server by UDP is for the probe.
  };
  void set_use(const Use& use) {
    forget(use.link);
    uses_.push_back(use);
  }

  // to_wire and from_wire translate between names above and below.
  [[nodiscard]] SocketAddress to_wire(const SocketAddress& name) const {
    for (const Use& use : uses_) {
      if (use.is_carrying && use.name == name) return use.link;
      if (use.link == name) return use.name;
    }
    return name;
  }
  [[nodiscard]] SocketAddress from_wire(const SocketAddress& remote) const {
    for (const Use& use : uses_) {
      if (use.link == remote) return use.name;
      if (use.is_probing && use.name == remote) return use.link;
    }
    return remote;
  }

  // --- Memory of networks.

  // set_network says where the node is: the addresses from which its packets leave.
  void set_network(std::vector<IpAddress> sources) { network_ = std::move(sources); }
  // leads_to tells whether packets leave this network for addresses of that family, as far as is
  // known.
  [[nodiscard]] bool leads_to(const IpAddress& ip) const {
    return network_.empty() || std::ranges::any_of(network_, [&ip](const IpAddress& source) {
             return source.is_v6() == ip.is_v6();
           });
  }
  // in_order puts first what this network leads to.
  [[nodiscard]] std::vector<IpAddress> in_order(std::vector<IpAddress> addresses) const {
    std::ranges::stable_partition(addresses, [this](const IpAddress& ip) { return leads_to(ip); });
    return addresses;
  }
  // is_udp_blocked tells whether UDP did not work when it was last needed in this network.
  [[nodiscard]] bool is_udp_blocked() const {
    return std::ranges::find(blocked_, network_) != blocked_.end();
  }
  void set_udp_blocked(bool is_blocked) {
    std::erase(blocked_, network_);
    if (is_blocked) blocked_.push_back(network_);
    if (blocked_.size() > networks_max_) blocked_.pop_front();
  }

 private:
  std::size_t networks_max_;
  std::uint64_t next_link_ = 1;
  std::deque<TcpLinkWish> wishes_;
  std::vector<Use> uses_;  // A node has a handful.
  std::vector<IpAddress> network_;
  std::deque<std::vector<IpAddress>> blocked_;  // In the order in which they were seen.
};

}  // namespace zt::node
