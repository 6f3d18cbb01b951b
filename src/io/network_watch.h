// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/network_watch.h: tells when this machine's place in the network has changed.
//
// Theory of operation
//   A laptop roams, a cable is pulled, a VPN comes up: whoever holds connections should try its
//   paths at once and not wait until they time out. The kernel announces each change of a link, an
//   address or a route in messages (rtnetlink). They come in bursts, most repeat what is known (a
//   router advertisement renews every address), and under load some get lost. Therefore messages
//   only start a look: told is the difference between two pictures of the network.
//
//   1. A message that can matter, or the loss of messages, begins a burst.
//   2. The burst is over after kQuiet without another such message, and kBurstMax after its first
//      one at the latest; the next message then begins a new one.
//   3. At its end a picture is taken: all facts (io/network_facts.h), asked from the kernel.
//   4. If it differs from the picture before, the owner is told, once.
//
//   What has changed and changed back within a burst is not told, for nothing is different. An
//   IPv6 address is told when it can be used: after duplicate address detection, a second or two
//   after it appeared.
//
//   What is watched is the network namespace in which the calling thread is; it stays there.
//
// Limits   An answer of more than kAnswerSizeMax (some 17000 routes of a family, or 700 links) is
//          not read to its end, and what it is about is not compared: a core router is told about
//          its links and addresses only. Rules and tables other than "main" are not watched; who
//          uses them to divert traffic (WireGuard's wg-quick) adds a link and an address, too.
// Time     Two constants below. Timers are the loop's.
// Cost     Nothing while nothing happens. A burst costs one picture: four questions that the kernel
//          answers at once, 0.1 ms for a laptop, and 1 us for each route and 6 us for each link
//          where there are many; under a storm of messages that is once every kBurstMax.
// Threats  Any process may send to a netlink socket if it is privileged; what does not come from
//          the kernel is ignored. Who may change links is privileged as well, but a peer on the
//          same network can send router advertisements and so make us look, and tell, some
//          twenty-five times a second: the owner bounds what a call makes it do.

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <vector>

#include "io/descriptor.h"
#include "io/loop.h"
#include "io/network_facts.h"
#include "io/socket_error.h"

namespace zt::io {

class NetworkWatch {
 public:
  // A link that goes down takes its addresses and routes with it within a millisecond or so;
  // programs that set up a new one need a few between their steps.
  static constexpr Duration kQuiet = std::chrono::milliseconds(20);
  // Half a second of dead air is heard in a call; a burst may take the smaller part of it.
  static constexpr Duration kBurstMax = std::chrono::milliseconds(200);
  // 15 ms of work at most: others wait for it, therefore no more.
  static constexpr std::size_t kAnswerSizeMax = 1 << 20;

  // create begins to watch: changes from here on are told. `on_change` runs in the loop, never
  // within create, and may destroy the watch. Where the picture cannot be taken (no descriptor, no
  // memory) the burst is told as if it had changed something.
  //
  // Errors: unreachable, denied or failed where the kernel or the sandbox has no netlink (then the
  // caller goes on without), limit.
  [[nodiscard]] static std::expected<std::unique_ptr<NetworkWatch>, SocketError> create(
      Loop& loop, Callback on_change);

  NetworkWatch(const NetworkWatch&) = delete;
  NetworkWatch& operator=(const NetworkWatch&) = delete;
  ~NetworkWatch() = default;

 private:
  using Picture = std::vector<NetworkFact>;  // Sorted, each once.

  NetworkWatch(Loop& loop, Descriptor socket, Picture picture, Callback on_change);
  static std::expected<Picture, SocketError> take_picture();

  void listen();
  void note_news();
  [[nodiscard]] bool is_different();

  Loop& loop_;
  Descriptor socket_;
  std::optional<Picture> picture_;    // Absent if the last one could not be taken.
  std::optional<Instant> burst_end_;  // The latest one of the burst that goes on.
  Watch watch_;
  Timer timer_;  // Of the burst.
};

}  // namespace zt::io
