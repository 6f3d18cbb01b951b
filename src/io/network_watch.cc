// SPDX-License-Identifier: Apache-2.0
#include "io/network_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <span>
#include <utility>

#include "io/netlink.h"

namespace zt::io {
namespace {

// A change of a link comes with some ten messages; more wait for the next turn.
constexpr int kReceivesPerTurnMax = 64;

constexpr std::uint32_t kGroups =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

struct Question {
  std::uint16_t type;
  std::uint8_t family;
};

// The four questions whose answers are a picture.
constexpr std::array kQuestions{Question{.type = RTM_GETLINK, .family = AF_UNSPEC},
                                Question{.type = RTM_GETADDR, .family = AF_UNSPEC},
                                Question{.type = RTM_GETROUTE, .family = AF_INET},
                                Question{.type = RTM_GETROUTE, .family = AF_INET6}};

// Asks the kernel for everything of one kind. It writes the next piece of the answer while we read
// one, therefore nothing here waits. Each question has its own socket: no announcement is among
// the answers, and closing it ends an answer that is too large.
std::expected<std::vector<NetworkFact>, SocketError> ask(const Question& question) {
  const auto socket = open_netlink(0);
  if (!socket) return std::unexpected(socket.error());
  struct {
    nlmsghdr header;
    rtgenmsg body;
  } const request{.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg)),
                             .nlmsg_type = question.type,
                             .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                             .nlmsg_seq = 1,
                             .nlmsg_pid = 0},
                  .body = {.rtgen_family = question.family}};
  // A netlink socket that is not connected sends to the kernel.
  if (::send(socket->number(), &request, sizeof request, 0) < 0) {
    return std::unexpected(to_socket_error(errno));
  }
  std::vector<NetworkFact> facts;
  std::array<std::byte, kNetlinkSizeMax> space{};
  std::size_t answer_size = 0;
  while (answer_size <= NetworkWatch::kAnswerSizeMax) {
    const auto datagram = receive_netlink(socket->number(), space);
    if (!datagram) return std::unexpected(to_socket_error(datagram.error()));
    answer_size += datagram->size();
    NetlinkReport report = read_netlink(*datagram);
    std::ranges::move(report.facts, std::back_inserter(facts));
    if (report.error_number != 0) return std::unexpected(to_socket_error(report.error_number));
    if (report.is_end) return facts;
  }
  return std::vector<NetworkFact>{};
}

}  // namespace

std::expected<std::unique_ptr<NetworkWatch>, SocketError> NetworkWatch::create(Loop& loop,
                                                                               Callback on_change) {
  // The socket comes first: what changes while the picture is taken is announced.
  auto socket = open_netlink(kGroups);
  if (!socket) return std::unexpected(socket.error());
  auto picture = take_picture();
  if (!picture) return std::unexpected(picture.error());
  return std::unique_ptr<NetworkWatch>(
      new NetworkWatch(loop, *std::move(socket), *std::move(picture), std::move(on_change)));
}

NetworkWatch::NetworkWatch(Loop& loop, Descriptor socket, Picture picture, Callback on_change)
    : loop_(loop),
      socket_(std::move(socket)),
      picture_(std::move(picture)),
      watch_(
          loop, socket_.number(), [this] { listen(); }, [] {}),
      // The loop keeps a callback alive while it runs: this one may destroy the watch.
      timer_(loop, [this, on_change = std::move(on_change)]() mutable {
        if (is_different()) on_change();
      }) {
  watch_.want_readable();
}

std::expected<NetworkWatch::Picture, SocketError> NetworkWatch::take_picture() {
  Picture picture;
  for (const Question& question : kQuestions) {
    auto facts = ask(question);
    if (!facts) return std::unexpected(facts.error());
    std::ranges::move(*facts, std::back_inserter(picture));
  }
  // The kernel's order may depend on history; without IPv6 it answers a question about all.
  std::ranges::sort(picture);
  const auto repeated = std::ranges::unique(picture);
  picture.erase(repeated.begin(), repeated.end());
  return picture;
}

void NetworkWatch::listen() {
  std::array<std::byte, kNetlinkSizeMax> space{};
  bool has_news = false;
  for (int i = 0; i < kReceivesPerTurnMax; ++i) {
    const auto datagram = receive_netlink(socket_.number(), space);
    if (!datagram && datagram.error() == EAGAIN) break;
    // What got lost (ENOBUFS: we were too slow) may have been anything.
    has_news = has_news || !datagram || read_netlink(*datagram).has_news;
  }
  if (has_news) note_news();
  watch_.want_readable();
}

void NetworkWatch::note_news() {
  const Instant now = loop_.now().instant;
  if (!burst_end_) burst_end_ = now + kBurstMax;
  timer_.arm(std::min(now + kQuiet, *burst_end_));
}

// Ends the burst.
bool NetworkWatch::is_different() {
  burst_end_.reset();
  auto picture = take_picture();
  if (!picture) {
    picture_.reset();
    return true;
  }
  if (picture_ == *picture) return false;
  picture_ = *std::move(picture);
  return true;
}

}  // namespace zt::io
