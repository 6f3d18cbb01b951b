// SPDX-License-Identifier: Apache-2.0
#include "io/network_facts.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace zt::io {
namespace {

constexpr std::uint32_t kLinkFlags = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

// What a route matches and where it leads. Not its metrics, nor RTA_CACHEINFO: there a lifetime is
// counted down.
constexpr std::array kRouteAttributes{RTA_DST,     RTA_SRC, RTA_OIF,   RTA_GATEWAY, RTA_PRIORITY,
                                      RTA_PREFSRC, RTA_VIA, RTA_NH_ID, RTA_PREF,    RTA_MULTIPATH};

// Takes a T off the front of `rest`; nothing, and no step, if it is shorter.
template <class T>
std::optional<T> take(BytesView& rest) {
  if (rest.size() < sizeof(T)) return std::nullopt;
  T value{};
  std::memcpy(&value, rest.data(), sizeof value);
  rest = rest.subspan(sizeof value);
  return value;
}

// Takes what a header announces, `size` bytes and the padding to a multiple of four, which the last
// one in a row may lack.
std::optional<BytesView> take_padded(BytesView& rest, std::size_t size) {
  if (size > rest.size()) return std::nullopt;
  const BytesView taken = rest.first(size);
  rest = rest.subspan(std::min((size + 3) & ~std::size_t{3}, rest.size()));
  return taken;
}

// The attributes of one message, as far as they matter here: 0 to kTypeMax.
class Attributes {
 public:
  // Nothing if an attribute does not fit.
  static std::optional<Attributes> parse(BytesView rest) {
    Attributes attributes;
    while (!rest.empty()) {
      const auto header = take<rtattr>(rest);
      if (!header || header->rta_len < sizeof(rtattr)) return std::nullopt;
      const auto value = take_padded(rest, header->rta_len - sizeof(rtattr));
      if (!value) return std::nullopt;
      const unsigned type = header->rta_type & static_cast<unsigned>(NLA_TYPE_MASK);
      if (type <= kTypeMax) attributes.values_[type] = *value;
    }
    return attributes;
  }

  [[nodiscard]] std::optional<std::uint32_t> number(unsigned type) const {
    BytesView value = values_.at(type);
    return take<std::uint32_t>(value);
  }

  // An IPv4 address.
  [[nodiscard]] std::optional<IpAddress> v4(unsigned type) const {
    BytesView value = values_.at(type);
    const auto octets = take<std::array<std::uint8_t, 4>>(value);
    return octets && value.empty() ? std::optional(IpAddress::v4(*octets)) : std::nullopt;
  }

  // Writes those that are present behind each other, each with its type and size.
  void append_to(Bytes& value, const auto& types) const {
    for (const unsigned type : types) {
      const BytesView bytes = values_.at(type);
      if (bytes.empty()) continue;
      const std::array head{static_cast<std::byte>(type), static_cast<std::byte>(bytes.size()),
                            static_cast<std::byte>(bytes.size() >> 8U)};
      value.insert(value.end(), head.begin(), head.end());
      value.insert(value.end(), bytes.begin(), bytes.end());
    }
  }

 private:
  static constexpr unsigned kTypeMax = RTA_NH_ID;

  std::array<BytesView, kTypeMax + 1> values_;
};

// What one message says: whether it matters, and the fact if there is one.
struct Message {
  bool is_news = false;
  std::optional<NetworkFact> fact;
};

Message read_link(BytesView body) {
  const auto header = take<ifinfomsg>(body);
  // Of another family it is about a port of a bridge, which is "deleted" by leaving the bridge.
  if (!header || header->ifi_family != AF_UNSPEC) return {};
  Message message{.is_news = true};
  if ((header->ifi_flags & IFF_UP) != 0) {
    message.fact = {.kind = NetworkFact::Kind::link,
                    .interface_index = static_cast<std::uint32_t>(header->ifi_index),
                    .flags = header->ifi_flags & kLinkFlags};
  }
  return message;
}

Message read_address(BytesView body) {
  const auto header = take<ifaddrmsg>(body);
  if (!header || (header->ifa_family != AF_INET && header->ifa_family != AF_INET6)) return {};
  const auto attributes = Attributes::parse(body);
  if (!attributes) return {};
  const std::uint32_t flags = attributes->number(IFA_FLAGS).value_or(header->ifa_flags);
  const bool is_settled = (flags & IFA_F_TENTATIVE) == 0 || (flags & IFA_F_OPTIMISTIC) != 0;
  Message message{.is_news = true};
  if (is_settled && (flags & IFA_F_DADFAILED) == 0) {
    message.fact = {.kind = NetworkFact::Kind::address,
                    .family = header->ifa_family,
                    .interface_index = header->ifa_index,
                    .flags = flags & IFA_F_DEPRECATED,
                    .value = {std::byte{header->ifa_prefixlen}}};
    attributes->append_to(message.fact->value, std::array{IFA_ADDRESS, IFA_LOCAL});
  }
  return message;
}

Message read_route(BytesView body) {
  const auto header = take<rtmsg>(body);
  if (!header || (header->rtm_family != AF_INET && header->rtm_family != AF_INET6)) return {};
  const auto attributes = Attributes::parse(body);
  if (!attributes) return {};
  // The header has room for the first 256 tables only.
  if (attributes->number(RTA_TABLE).value_or(header->rtm_table) != RT_TABLE_MAIN) return {};
  if ((header->rtm_flags & RTM_F_CLONED) != 0) return {};  // Of the cache: learnt for one target.
  Message message{
      .is_news = true,
      .fact = NetworkFact{.kind = NetworkFact::Kind::route,
                          .family = header->rtm_family,
                          .value = {std::byte{header->rtm_type}, std::byte{header->rtm_dst_len},
                                    std::byte{header->rtm_src_len}, std::byte{header->rtm_tos}}}};
  attributes->append_to(message.fact->value, kRouteAttributes);
  return message;
}

void add(NetlinkReport& report, Message message, bool is_true) {
  report.has_news = report.has_news || message.is_news;
  if (message.fact && is_true) report.facts.push_back(*std::move(message.fact));
}

// The end of an answer has a status in front, zero or a negative errno; the oldest kernels' has
// none if all is well.
void read_end(NetlinkReport& report, BytesView body) {
  report.is_end = true;
  const int status = take<int>(body).value_or(0);
  if (status < 0 && status != std::numeric_limits<int>::min()) report.error_number = -status;
}

}  // namespace

std::optional<RouteAnswer> read_route_answer(BytesView datagram) {
  const auto header = take<nlmsghdr>(datagram);
  if (!header || header->nlmsg_len < sizeof(nlmsghdr)) return std::nullopt;
  if (header->nlmsg_type != RTM_NEWROUTE) return std::nullopt;  // An error: there is no route.
  auto body = take_padded(datagram, header->nlmsg_len - sizeof(nlmsghdr));
  if (!body) return std::nullopt;
  const auto route = take<rtmsg>(*body);
  if (!route || route->rtm_family != AF_INET || route->rtm_type != RTN_UNICAST) {
    return std::nullopt;
  }
  const auto attributes = Attributes::parse(*body);
  if (!attributes) return std::nullopt;
  return RouteAnswer{.gateway = attributes->v4(RTA_GATEWAY)};
}

NetlinkReport read_netlink(BytesView datagram) {
  NetlinkReport report;
  while (const auto header = take<nlmsghdr>(datagram)) {
    if (header->nlmsg_len < sizeof(nlmsghdr)) break;
    const auto body = take_padded(datagram, header->nlmsg_len - sizeof(nlmsghdr));
    if (!body) break;
    switch (header->nlmsg_type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        add(report, read_link(*body), header->nlmsg_type == RTM_NEWLINK);
        break;
      case RTM_NEWADDR:
      case RTM_DELADDR:
        add(report, read_address(*body), header->nlmsg_type == RTM_NEWADDR);
        break;
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        add(report, read_route(*body), header->nlmsg_type == RTM_NEWROUTE);
        break;
      case NLMSG_DONE:
      case NLMSG_ERROR:
        read_end(report, *body);
        break;
      default:
        break;
    }
  }
  return report;
}

}  // namespace zt::io
