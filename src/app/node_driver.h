// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/node_driver.h: runs one node of module node on one UDP port and one loop.
//
// Theory of operation
//   Whatever changes the node (datagrams, a timer, an answer of the shell) ends with settle(),
//   which asks for one settling at the end of the turn: effects are carried out first, because they
//   usually make more to send, then batches are sent until the node has none, the socket is full,
//   or a budget is spent; then the timer is armed at the node's next deadline. So a turn that
//   received a megabyte in sixteen trains settles once.
//
//   Where a wake-up is a good part of a round trip, the loop is let poll before it sleeps: each
//   batch that is sent says how near the connection's peer is. Which of several connections sent
//   last decides; the loop finds out by itself whether polling pays (io/busy_poll.h).
//
//   Names of TCP links (node/tcp_links.h) are addresses to the node: what is for one goes there,
//   and nothing from UDP may claim to be from one.
//
// Limits   transmits_per_turn_max batches before others have their turn. A batch that the socket
// did not
//          take waits for it; there is only ever one.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "app/link_sockets.h"
#include "app/name_lookups.h"
#include "io/loop.h"
#include "io/udp.h"
#include "quic/endpoint.h"
#include "zt/base/time.h"

namespace zt::app {

// Node is any of node::ConnectorNode, ClientNode, RelayNode, ControllerNode.
template <class Node>
class NodeDriver {
 public:
  using Effect = typename Node::Effect;

  // A request that has to wake four threads up on its way there and back loses some 0.2 ms; beyond
  // 1 ms polling would burn much for little.
  static constexpr Duration kNearRttMax = std::chrono::milliseconds(1);
  // As long as a request through two near nodes and its service take on a busy machine.
  static constexpr Duration kBusyPollMax = std::chrono::microseconds(300);

  // `loop`, `node` and `port` outlive the driver. `on_effect` carries one effect out; it may change
  // the node. `on_settle`, if not empty, runs after the effects, before sending.
  NodeDriver(io::Loop& loop, Node& node,
             std::move_only_function<void(Effect&, const Now&)> on_effect,
             std::move_only_function<void(const Now&)> on_settle)
      : loop_(loop),
        node_(node),
        on_effect_(std::move(on_effect)),
        on_settle_(std::move(on_settle)),
        buffer_(kBufferSize),
        timer_(loop, [this] { expire(); }),
        settling_(loop, [this] { carry_out(); }) {}
  NodeDriver(const NodeDriver&) = delete;
  NodeDriver& operator=(const NodeDriver&) = delete;

  // use_port is called once, before anything is sent. The port has udp_handlers.
  void use_port(io::UdpPort& port) { port_ = &port; }
  // use_links is called at most once: then the node may have TCP links.
  void use_links(LinkSockets& links) { links_ = &links; }

  // use_busy_polling lets the loop poll while the peers are near.
  void use_busy_polling() { is_busy_polling_ = true; }

  // udp_handlers and lookup_handler hand to the node what happens to its port and its lookups.
  [[nodiscard]] io::UdpSocket::Handlers udp_handlers() {
    return {.on_datagrams = [this](const io::Datagrams& datagrams) { on_datagrams(datagrams); },
            .on_writable = [this] { settle(); },
            .on_error = {}};
  }
  [[nodiscard]] NameLookups::OnEnd lookup_handler() {
    return
        [this](node::LookupKey key, const std::vector<IpAddress>& addresses, bool is_name_absent) {
          node_.lookup_done(key, addresses, is_name_absent, loop_.now());
          settle();
        };
  }

  void on_datagrams(const io::Datagrams& datagrams) {
    if (!node::is_link_address(datagrams.remote.ip)) on_link_datagrams(datagrams);
  }
  void on_link_datagrams(const io::Datagrams& datagrams) {
    node_.handle(quic::ReceivedDatagrams{.remote = datagrams.remote,
                                         .bytes = datagrams.bytes,
                                         .segment_size = datagrams.segment_size,
                                         .ecn = datagrams.ecn},
                 loop_.now());
    settle();
  }

  // settle asks for a settling at the end of the turn. Call it after each change of the node.
  void settle() { settling_.schedule(); }

  // leave tells every peer that this node ends, so that nobody waits for it. The loop has ended:
  // what the socket does not take at once is lost.
  void leave() {
    const Now now = loop_.now();
    while (node_.leave(now)) {
      while (const auto transmit = node_.poll_transmit(buffer_, now)) {
        (void)carry({.remote = transmit->remote,
                     .bytes = std::span<const std::byte>(buffer_).first(transmit->size),
                     .segment_size = transmit->segment_size,
                     .ecn = transmit->ecn});
        if (links_ != nullptr) links_->flush();
      }
    }
  }

  // carry sends by UDP, or over the link that the remote address names.
  io::UdpSocket::SendResult carry(const io::Datagrams& datagrams) {
    if (!node::is_link_address(datagrams.remote.ip)) return port_->send(datagrams);
    if (links_ != nullptr) links_->send(datagrams);
    return {.size = datagrams.bytes.size()};
  }

 private:
  // One send of 64 KiB is what UDP_SEGMENT takes; beyond them is room for the next packet, which
  // may be a probe of the largest size.
  static constexpr std::size_t kBufferSize = 65536 + 8952;
  // 8 batches are some 500 KB, a millisecond of sending; after that what was received has its turn.
  static constexpr int kTransmitsPerTurnMax = 8;

  void expire() {
    node_.handle_timeout(loop_.now());
    settle();
  }

  void carry_out() {
    const Now now = loop_.now();
    while (std::optional<Effect> effect = node_.poll_effect(now)) on_effect_(*effect, now);
    if (on_settle_) on_settle_(now);
    send(now);
    // Sending makes room, and whoever waits for room has more to send.
    if (std::optional<Effect> effect = node_.poll_effect(now)) {
      on_effect_(*effect, now);
      settle();
    }
    const std::optional<Instant> deadline = node_.next_deadline();
    if (deadline) {
      timer_.arm(*deadline);
    } else {
      timer_.cancel();
    }
  }

  void send(const Now& now) {
    for (int sent = 0; sent < kTransmitsPerTurnMax; ++sent) {
      if (unsent_.empty()) {
        const auto transmit = node_.poll_transmit(buffer_, now);
        if (!transmit) return;
        batch_ = *transmit;
        unsent_ = std::span<const std::byte>(buffer_).first(transmit->size);
        note_distance(transmit->rtt_minimum);
      }
      const auto result = carry({.remote = batch_.remote,
                                 .bytes = unsent_,
                                 .segment_size = batch_.segment_size,
                                 .ecn = batch_.ecn});
      unsent_ = unsent_.subspan(result.size);
      if (result.is_blocked) return;  // What has room again settles again.
    }
    settle();
  }

  void note_distance(Duration rtt_minimum) {
    if (!is_busy_polling_ || rtt_minimum == Duration::max()) return;
    loop_.set_busy_poll_max(rtt_minimum <= kNearRttMax ? kBusyPollMax : Duration::zero());
  }

  io::Loop& loop_;
  Node& node_;
  io::UdpPort* port_ = nullptr;
  LinkSockets* links_ = nullptr;
  std::move_only_function<void(Effect&, const Now&)> on_effect_;
  std::move_only_function<void(const Now&)> on_settle_;
  std::vector<std::byte> buffer_;
  quic::Transmit batch_;
  std::span<const std::byte> unsent_;  // Of batch_, in buffer_.
  bool is_busy_polling_ = false;
  io::Timer timer_;
  io::Deferred settling_;
};

}  // namespace zt::app
