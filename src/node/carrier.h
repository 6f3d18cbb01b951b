// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/carrier.h: UDP to one server, or a TCP link where UDP is blocked.
//
// Theory of operation
//   An owner (a leg of RelayBindings, ControllerSession) keeps one QUIC connection to its server.
//   Its Carrier decides what the datagrams travel on, in the spirit of RFC 8305:
//
//     begin      UDP has a head start. Then a link is opened beside it, or at once where UDP was
//                blocked last time. If the link is open before the owner is connected: to_link.
//     distrust   Nothing comes by UDP any more: a link is opened beside it. If it is open before
//                anything is heard: to_link.
//     on a link  UDP is probed by a QUIC handshake of its own, first after probe_first, then by
//                Backoff. When one succeeds: to_udp.
//
//   At to_link before it is connected the owner starts its connection anew. At every other change
//   it lets its connection go on as from another address of ours (Endpoint::rebind): to QUIC, and
//   to the server, it is roaming. All names stay (node/tcp_links.h), so other connections that go
//   through the server need not know.
//
//   After to_udp the link still brings what was on its way, for drain_time or until the owner knows
//   that the server has followed.
//
// Limits   One link and one probe at a time, each with a deadline.
// Threats  A network that drops UDP at will makes us use TCP and, every now and then, find out.
//          What travels is the same on both.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "node/backoff.h"
#include "node/tcp_links.h"
#include "quic/endpoint.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::node {

class Carrier {
 public:
  struct Limits {
    bool is_tcp_allowed = true;
    Duration head_start = std::chrono::milliseconds(250);
    Duration link_timeout = std::chrono::seconds(4);
    Duration probe_first = std::chrono::seconds(1);
    Duration probe_timeout = std::chrono::seconds(4);
    Duration drain_time = std::chrono::seconds(3);
    Backoff::Limits probes = {.minimum = std::chrono::seconds(20),
                              .maximum = std::chrono::minutes(5)};
  };

  struct Change {
    enum class Kind : std::uint8_t {
      to_link,      // Datagrams to `name` go over the link from now on.
      to_udp,       // … by UDP.
      link_failed,  // It could not be opened, and UDP has to do.
      lost,         // The link that carried is gone, and all that went over it.
    };
    Kind kind{};
    SocketAddress name;  // Of to_link.
    std::string reason;  // Of link_failed and lost.
  };

  // `endpoint`, `links` and `random` outlive the object.
  Carrier(const Limits& limits, quic::Endpoint& endpoint, TcpLinks& links, Random& random);
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;
  ~Carrier() = default;

  // begin says that the owner tries to connect to one of `place.remotes`.
  void begin(ServerPlace place, const Now& now);
  // connected says that it has: at `name`.
  void connected(const SocketAddress& name, const Now& now);
  // followed says that the server answers along the carrier in use.
  void followed();
  // distrust says that nothing comes by UDP, trust that something does.
  void distrust(const Now& now);
  void trust();
  // end says that the owner has no connection any more; begin() may follow.
  void end(const Now& now);

  // link_opened and link_closed return whether it is this one's link. `remote` is the server's
  // address by TCP.
  bool link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now);
  bool link_closed(const SocketAddress& link, std::string_view reason, const Now& now);
  // handle takes an event of the endpoint and returns whether nobody else needs it.
  bool handle(const quic::Event& event, const Now& now);
  void handle_timeout(const Now& now);
  // poll_change is to be asked after each call but the last three.
  [[nodiscard]] std::optional<Change> poll_change();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  [[nodiscard]] bool is_on_link() const { return is_on_link_; }
  // is_link_pending tells that a link may still come to the help of an owner that does not connect.
  [[nodiscard]] bool is_link_pending() const { return link_at_ || (link_ && !is_on_link_); }

 private:
  enum class Phase : std::uint8_t { idle, connecting, connected };

  void open_link(const Now& now);
  void close_link();
  void take_link(const SocketAddress& name, const Now& now);
  void lose_link(std::string_view reason, const Now& now);
  void probe(const Now& now);
  void end_probe(const Now& now);
  void use_link();

  Limits limits_;
  quic::Endpoint& endpoint_;
  TcpLinks& links_;
  Backoff backoff_;
  Phase phase_ = Phase::idle;
  ServerPlace place_;
  SocketAddress name_;  // While connected or on the link.
  std::optional<SocketAddress> link_;
  bool is_link_open_ = false;
  bool is_on_link_ = false;
  bool is_distrusted_ = false;
  std::optional<quic::ConnectionKey> probe_;
  std::optional<Instant> link_at_;     // When one is opened.
  std::optional<Instant> link_by_;     // When it must be open.
  std::optional<Instant> probe_at_;    // On the link.
  std::optional<Instant> probe_by_;    // When the probe has failed.
  std::optional<Instant> drained_at_;  // When the link is closed that has carried.
  std::deque<Change> changes_;
};

}  // namespace zt::node
