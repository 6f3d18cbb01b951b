// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/network_facts.h: what the kernel's messages about links, addresses and routes say (rtnetlink).
//
// Theory of operation
//   A fact is one thing that decides how packets leave this machine: a link that is up, an address
//   that may be used, a route of the main table. Two lists of all facts are equal exactly if there
//   is nothing that a node would have to do about the network. Therefore a fact leaves out what
//   changes by itself: lifetimes, counters, metrics, and the state of duplicate address detection.
//
//   `read_netlink` is pure: bytes in, facts out. The layout is that of the kernel's headers
//   (linux/netlink.h, linux/rtnetlink.h) in the byte order of the machine.
//
// Limits   Routes of other tables and rules that choose tables are not facts.
// Threats  The bytes are the kernel's, if the caller has checked the sender. They are read as if a
//          stranger had written them all the same: every length is compared with what is left, and
//          a message that is not well-formed says nothing.

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "zt/base/bytes.h"
#include "zt/base/ip.h"

namespace zt::io {

struct NetworkFact {
  enum class Kind : std::uint8_t {
    link,     // A link that is up (IFF_UP).
    address,  // An address that is not tentative, or is used while it is ("optimistic", RFC 4429).
    route,    // A route of the main table, of any type: an "unreachable" one matters, too.
  };

  Kind kind = Kind::link;
  std::uint8_t family = 0;            // AF_INET or AF_INET6; 0 of a link.
  std::uint32_t interface_index = 0;  // Of link and address; a route has it in its value.
  // Of a link IFF_UP, IFF_RUNNING and IFF_LOWER_UP; of an address IFA_F_DEPRECATED, which makes the
  // kernel choose another one.
  std::uint32_t flags = 0;
  // Of an address its prefix length, itself and its peer; of a route what it matches and where it
  // leads. Made to be compared, not to be read.
  Bytes value;

  friend auto operator<=>(const NetworkFact&, const NetworkFact&) = default;
  friend bool operator==(const NetworkFact&, const NetworkFact&) = default;
};

// NetlinkReport is what one datagram of a NETLINK_ROUTE socket says.
struct NetlinkReport {
  std::vector<NetworkFact> facts;  // Which are true (RTM_NEW…), in the order of the messages.
  bool has_news = false;           // A link, an address or a route of the main table came, changed
                                   // or went. Facts are news; a lost fact is news without a fact.
  bool is_end = false;             // The answer to a question is complete, or has failed.
  int error_number = 0;            // Positive, if it has failed.
};

// RouteAnswer is what the kernel answers when it is asked for the route to an address.
struct RouteAnswer {
  std::optional<IpAddress> gateway;  // Absent: the address is on the link, or is our own.
};

// read_route_answer reads the IPv4 route of a datagram that answers RTM_GETROUTE; nothing if there
// is none.
[[nodiscard]] std::optional<RouteAnswer> read_route_answer(BytesView datagram);

// read_netlink reads all messages of a datagram. Reading ends where a message is longer than the
// datagram or shorter than its header; messages of other types are passed over.
[[nodiscard]] NetlinkReport read_netlink(BytesView datagram);

}  // namespace zt::io
