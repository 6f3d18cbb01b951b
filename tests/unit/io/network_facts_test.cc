// SPDX-License-Identifier: Apache-2.0
#include "io/network_facts.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <cstring>
#include <span>

namespace zt::io {
namespace {

constexpr std::array<std::uint8_t, 4> kAddress{10, 0, 0, 1};

// Writes one message as the kernel does, and behind it others.
class Messages {
 public:
  template <class Body>
  Messages& message(std::uint16_t type, const Body& body) {
    begin_ = bytes.size();
    const nlmsghdr header{.nlmsg_len = 0,
                          .nlmsg_type = type,
                          .nlmsg_flags = NLM_F_MULTI,
                          .nlmsg_seq = 1,
                          .nlmsg_pid = 0};
    return put(header).put(body).close();
  }

  template <class Value>
  Messages& attribute(std::uint16_t type, const Value& value) {
    return put(rtattr{.rta_len = sizeof(rtattr) + sizeof value, .rta_type = type})
        .put(value)
        .close();
  }

  // The size that the last message claims, at the front of its header.
  Messages& claim(std::uint32_t size) {
    std::memcpy(&bytes[begin_], &size, sizeof size);
    return *this;
  }

  Bytes bytes;

 private:
  template <class Value>
  Messages& put(const Value& value) {
    const auto view = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), view.begin(), view.end());
    return *this;
  }
  Messages& close() {
    bytes.resize((bytes.size() + 3) & ~std::size_t{3});
    return claim(static_cast<std::uint32_t>(bytes.size() - begin_));
  }

  std::size_t begin_ = 0;
};

ifinfomsg link(unsigned flags, std::uint8_t family = AF_UNSPEC) {
  ifinfomsg body{};
  body.ifi_family = family;
  body.ifi_index = 7;
  body.ifi_flags = flags;
  return body;
}

ifaddrmsg address(std::uint8_t flags = 0, std::uint8_t family = AF_INET) {
  ifaddrmsg body{};
  body.ifa_family = family;
  body.ifa_prefixlen = 24;
  body.ifa_flags = flags;
  body.ifa_index = 7;
  return body;
}

rtmsg route(std::uint8_t table = RT_TABLE_MAIN, unsigned flags = 0) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_table = table;
  body.rtm_type = RTN_UNICAST;
  body.rtm_flags = flags;
  return body;
}

// What a message of one address with IFA_FLAGS says.
NetlinkReport read_flags(std::uint32_t flags) {
  return read_netlink(Messages()
                          .message(RTM_NEWADDR, address())
                          .attribute(IFA_ADDRESS, kAddress)
                          .attribute(IFA_FLAGS, flags)
                          .bytes);
}

}  // namespace

TEST_CASE("the answer about a route says which gateway it has") {
  const auto via = Messages().message(RTM_NEWROUTE, route()).attribute(RTA_GATEWAY, kAddress);
  const auto answer = read_route_answer(via.bytes);
  REQUIRE(answer);
  CHECK(answer->gateway == IpAddress::v4(kAddress));

  const auto on_link = read_route_answer(Messages().message(RTM_NEWROUTE, route()).bytes);
  REQUIRE(on_link);
  CHECK_FALSE(on_link->gateway);

  // Of a gateway by IPv6, or one that is no address, nothing can be said.
  const std::array<std::uint8_t, 16> v6{0xfe, 0x80};
  CHECK_FALSE(
      read_route_answer(Messages().message(RTM_NEWROUTE, route()).attribute(RTA_GATEWAY, v6).bytes)
          ->gateway);
}

TEST_CASE("what is no answer about a route is none") {
  rtmsg unreachable = route();
  unreachable.rtm_type = RTN_UNREACHABLE;
  CHECK_FALSE(read_route_answer(Messages().message(RTM_NEWROUTE, unreachable).bytes));
  CHECK_FALSE(read_route_answer(Messages().message(NLMSG_ERROR, nlmsgerr{}).bytes));
  const Bytes whole =
      Messages().message(RTM_NEWROUTE, route()).attribute(RTA_GATEWAY, kAddress).bytes;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(read_route_answer(BytesView(whole).first(size)));
  }
}

TEST_CASE("a link is a fact while it is up, with the flags that tell of its carrier") {
  const auto up =
      read_netlink(Messages().message(RTM_NEWLINK, link(IFF_UP | IFF_RUNNING | IFF_PROMISC)).bytes);
  REQUIRE(up.facts.size() == 1);
  CHECK(up.has_news);
  CHECK(up.facts[0] == NetworkFact{.kind = NetworkFact::Kind::link,
                                   .family = 0,
                                   .interface_index = 7,
                                   .flags = IFF_UP | IFF_RUNNING,
                                   .value = {}});
  const auto down = read_netlink(Messages().message(RTM_NEWLINK, link(IFF_BROADCAST)).bytes);
  CHECK(down.has_news);
  CHECK(down.facts.empty());
  const auto gone = read_netlink(Messages().message(RTM_DELLINK, link(IFF_UP)).bytes);
  CHECK(gone.has_news);
  CHECK(gone.facts.empty());
}

TEST_CASE("what a bridge says about its ports is no news") {
  const auto report = read_netlink(Messages().message(RTM_DELLINK, link(IFF_UP, AF_BRIDGE)).bytes);
  CHECK_FALSE(report.has_news);
}

TEST_CASE("an address that is refreshed with new lifetimes is the same fact") {
  const auto with_lifetime = [](std::uint32_t seconds) {
    const ifa_cacheinfo lifetime{
        .ifa_prefered = seconds, .ifa_valid = seconds, .cstamp = seconds, .tstamp = seconds};
    return read_netlink(Messages()
                            .message(RTM_NEWADDR, address(IFA_F_PERMANENT))
                            .attribute(IFA_ADDRESS, kAddress)
                            .attribute(IFA_CACHEINFO, lifetime)
                            .bytes);
  };
  REQUIRE(with_lifetime(300).facts.size() == 1);
  CHECK(with_lifetime(300).facts == with_lifetime(600).facts);
}

TEST_CASE("an address is a fact while it can be used") {
  struct Row {
    std::uint32_t flags;
    bool is_fact;
  };
  for (const auto& [flags, is_fact] : {
           Row{IFA_F_PERMANENT, true},
           Row{IFA_F_TENTATIVE, false},
           Row{IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, true},
           Row{IFA_F_TENTATIVE | IFA_F_DADFAILED, false},
           Row{IFA_F_DADFAILED, false},
           Row{IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE, true},
       }) {
    CAPTURE(flags);
    const auto report = read_flags(flags);
    CHECK(report.has_news);
    CHECK(report.facts.size() == (is_fact ? 1 : 0));
  }
  CHECK(read_flags(IFA_F_DEPRECATED).facts != read_flags(0).facts);
  CHECK(read_flags(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC).facts == read_flags(0).facts);
}

TEST_CASE("addresses differ by interface, prefix length, address and peer") {
  const auto plain =
      Messages().message(RTM_NEWADDR, address()).attribute(IFA_ADDRESS, kAddress).bytes;
  ifaddrmsg elsewhere = address();
  elsewhere.ifa_index = 8;
  ifaddrmsg wider = address();
  wider.ifa_prefixlen = 16;
  for (const Bytes& other : {
           Messages().message(RTM_NEWADDR, elsewhere).attribute(IFA_ADDRESS, kAddress).bytes,
           Messages().message(RTM_NEWADDR, wider).attribute(IFA_ADDRESS, kAddress).bytes,
           Messages().message(RTM_NEWADDR, address()).attribute(IFA_LOCAL, kAddress).bytes,
           Messages().message(RTM_NEWADDR, address()).attribute(IFA_ADDRESS, 1U).bytes,
       }) {
    REQUIRE(read_netlink(other).facts.size() == 1);
    CHECK(read_netlink(other).facts != read_netlink(plain).facts);
  }
}

TEST_CASE("a route is a fact if it is of the main table, wherever the table's number is") {
  CHECK(read_netlink(Messages().message(RTM_NEWROUTE, route()).bytes).facts.size() == 1);
  const auto by_attribute = [](std::uint32_t table) {
    return read_netlink(
        Messages().message(RTM_NEWROUTE, route(RT_TABLE_COMPAT)).attribute(RTA_TABLE, table).bytes);
  };
  CHECK(by_attribute(RT_TABLE_MAIN).facts.size() == 1);
  CHECK_FALSE(by_attribute(51820).has_news);
  CHECK_FALSE(read_netlink(Messages().message(RTM_NEWROUTE, route(RT_TABLE_LOCAL)).bytes).has_news);
  const auto learnt = route(RT_TABLE_MAIN, RTM_F_CLONED);
  CHECK_FALSE(read_netlink(Messages().message(RTM_NEWROUTE, learnt).bytes).has_news);
}

TEST_CASE("a route's gateway, interface and priority make it another one; its lifetime does not") {
  const auto with = [](std::uint16_t type, const auto& value) {
    return read_netlink(Messages().message(RTM_NEWROUTE, route()).attribute(type, value).bytes)
        .facts;
  };
  CHECK(with(RTA_GATEWAY, 1U) != with(RTA_GATEWAY, 2U));
  CHECK(with(RTA_OIF, 1U) != with(RTA_OIF, 2U));
  CHECK(with(RTA_PRIORITY, 1U) != with(RTA_PRIORITY, 2U));
  CHECK(with(RTA_OIF, 1U) != with(RTA_PRIORITY, 1U));
  CHECK(with(RTA_CACHEINFO, rta_cacheinfo{}) == with(RTA_METRICS, 5U));
}

TEST_CASE("the end of an answer has a status") {
  const auto whole =
      read_netlink(Messages().message(RTM_NEWLINK, link(IFF_UP)).message(NLMSG_DONE, 0).bytes);
  CHECK(whole.facts.size() == 1);
  CHECK(whole.is_end);
  CHECK(whole.error_number == 0);
  const auto failed = read_netlink(Messages().message(NLMSG_DONE, -ENOMEM).bytes);
  CHECK(failed.is_end);
  CHECK(failed.error_number == ENOMEM);
  nlmsgerr refusal{};
  refusal.error = -EPERM;
  const auto refused = read_netlink(Messages().message(NLMSG_ERROR, refusal).bytes);
  CHECK(refused.is_end);
  CHECK(refused.error_number == EPERM);
  CHECK_FALSE(read_netlink(Messages().message(RTM_NEWLINK, link(0)).bytes).is_end);
}

TEST_CASE("messages of other types are passed over") {
  const auto report = read_netlink(Messages()
                                       .message(RTM_NEWNEIGH, ndmsg{})
                                       .message(NLMSG_NOOP, 0)
                                       .message(RTM_NEWLINK, link(IFF_UP))
                                       .bytes);
  CHECK(report.facts.size() == 1);
}

TEST_CASE("a message whose size is a lie says nothing, and ends the reading") {
  const Bytes whole = Messages().message(RTM_NEWLINK, link(IFF_UP)).bytes;
  const auto size = static_cast<std::uint32_t>(whole.size());
  for (const std::uint32_t claimed : {0U, 15U, size + 1, size + 4, 0xffffffffU}) {
    CAPTURE(claimed);
    CHECK_FALSE(
        read_netlink(Messages().message(RTM_NEWLINK, link(IFF_UP)).claim(claimed).bytes).has_news);
  }
  // Too short for its body: passed over.
  const auto report = read_netlink(
      Messages().message(RTM_NEWLINK, std::uint32_t{0}).message(RTM_NEWLINK, link(IFF_UP)).bytes);
  CHECK(report.facts.size() == 1);
}

TEST_CASE("a message with an attribute that does not fit says nothing, and the next one counts") {
  for (const std::uint16_t claimed : std::array<std::uint16_t, 4>{0, 3, 9, 65535}) {
    CAPTURE(claimed);
    const rtattr lie{.rta_len = claimed, .rta_type = IFA_ADDRESS};
    struct {
      ifaddrmsg header;
      rtattr attribute;
      std::uint32_t value;
    } const body{.header = address(), .attribute = lie, .value = 1};
    const auto report = read_netlink(
        Messages().message(RTM_NEWADDR, body).message(RTM_NEWLINK, link(IFF_UP)).bytes);
    REQUIRE(report.facts.size() == 1);
    CHECK(report.facts[0].kind == NetworkFact::Kind::link);
  }
}

TEST_CASE("no prefix of a datagram says more than the whole, and none is read beyond its end") {
  const Bytes whole = Messages()
                          .message(RTM_NEWADDR, address())
                          .attribute(IFA_ADDRESS, kAddress)
                          .message(RTM_NEWROUTE, route())
                          .attribute(RTA_OIF, 7U)
                          .bytes;
  const auto facts = read_netlink(whole).facts;
  REQUIRE(facts.size() == 2);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Bytes front(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto fewer = read_netlink(front).facts;
    REQUIRE(fewer.size() < facts.size());
    CHECK((fewer.empty() || fewer[0] == facts[0]));
  }
}

}  // namespace zt::io
