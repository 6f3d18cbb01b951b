// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/relay_node.h: a whole relay but for its sockets.
//
// Theory of operation
//   Each run of received datagrams goes one of three ways: straight out again to the address that
//   its route is bound to, untouched and uncopied; to the relay's own endpoint, where nodes bind
//   their routes and the controller speaks; or nowhere. To bind, a node opens an extended CONNECT
//   on an authenticated connection and shows a relay token, which is verified here without asking
//   anybody. The binding lives while that stream is open and the token valid, and follows the
//   connection to an address that QUIC has validated. Until then a request from there waits: nobody
//   aims what is forwarded to him at an address that is not his. Whose certificate the controller
//   has blocked, or whose tenant the relay serves no longer, is unbound at once
//   (policy::judge_bind).
//
//   drain() tells every bound node that the relay will end (wire/draining.h), and the controller.
//   From then on only what is bound already is bound anew, so that a token that is renewed, or an
//   address that changes, loses nothing meanwhile. What is bound is forwarded as before. Drained
//   says that nothing is bound any more.
//
//   A node may come over a TCP link (http/datagram_link.h): its datagrams then have the link's name
//   as their remote address, which is an address like any other here, but that nobody is told of
//   it. When the link is closed, what is bound there ends.
//
// Limits   relay::Engine::Limits; one connection holds at most bindings_per_connection_max
//          bindings, and as many requests that wait.
// Threats  The relay has no key of the traffic that it forwards. What it answers to strangers is
//          at most QUIC's own handshake, which is limited to three times what they sent.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "node/link.h"
#include "node/notice.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/grant/relay_token.h"
#include "zt/policy/bind.h"
#include "zt/relay/engine.h"

namespace zt::node {

// DatagramSink is where forwarded datagrams go: straight to the socket.
class DatagramSink {
 public:
  DatagramSink() = default;
  DatagramSink(const DatagramSink&) = delete;
  DatagramSink& operator=(const DatagramSink&) = delete;
  virtual ~DatagramSink() = default;
  // send takes equal segments (the last may be shorter) of the receive buffer; it does not keep
  // them.
  virtual void send(const SocketAddress& remote, std::span<const std::byte> bytes,
                    std::size_t segment_size, std::uint8_t ecn) = 0;
};

class RelayNode {
 public:
  // Standing is what enrolment made of this machine. It is kept over restarts.
  struct Standing {
    TenantId tenant;
    RelayId relay;
  };

  struct Config {
    Link::Config link;
    relay::Engine::Limits engine;
    std::size_t bindings_per_connection_max = 4;
    std::optional<Standing> standing;  // Absent before the first enrolment.
  };

  struct StandingChanged {  // Keep it.
    Standing standing;
  };
  struct Drained {};  // After drain(): nothing is bound any more.
  using Effect = std::variant<Lookup, StandingChanged, Refused, Notice, Drained>;

  // `random` and `sink` outlive the node. `credential` is KnownIdentity if and only if there is a
  // standing.
  RelayNode(const Config& config, Credential credential, Random& random, DatagramSink& sink);
  RelayNode(const RelayNode&) = delete;
  RelayNode& operator=(const RelayNode&) = delete;

  void start(const Now& now);
  // drain begins the end: see above. Again: nothing.
  void drain(const Now& now);
  // leave closes one connection, and returns false if there is none left. The newest is first: what
  // goes through a relay has ended before the relay forgets this node. Only poll_transmit()
  // follows.
  bool leave(const Now& now) { return link_.endpoint().close_newest("the node ends", now.instant); }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Effect> poll_effect(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now) {
    return link_.poll_transmit(buffer, now);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // link_closed ends what is bound at the address of a TCP link.
  void link_closed(const SocketAddress& link, const Now& now);

  void lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, bool is_name_absent,
                   const Now& now);

  // take_route_changes returns what has changed in the table since the last call, for replicas of
  // it (engine.is_replicated).
  [[nodiscard]] std::vector<relay::RouteChange> take_route_changes();
  [[nodiscard]] const relay::Engine& engine() const { return engine_; }
  [[nodiscard]] const Link& link() const { return link_; }

 private:
  struct Binding {
    quic::StreamKey stream;
    policy::BindRequest request;
  };

  struct Peer {
    Digest certificate;
    SocketAddress remote;  // The last one that it has proved to be at.
  };

  void take_link_events(const Now& now);
  void take_engine_outputs();
  void take_told(const WatchMessage& message, const Now& now);
  void take_tenants(const std::vector<TenantKeys>& tenants, const Now& now);
  void judge_bindings(const Now& now);
  void take_endpoint_event(const quic::Event& event, const Now& now);
  void take_request(const quic::RequestReceived& received, const Now& now);
  void follow(const quic::ConnectionMoved& moved, const Now& now);
  [[nodiscard]] bool is_full(quic::ConnectionKey connection) const;
  void refuse(const quic::StreamKey& stream, int status, std::string_view details);
  void refuse(const quic::StreamKey& stream, const http::Response& response,
              std::string_view details);
  void tell_draining(const quic::StreamKey& stream);
  void unbind(const quic::StreamKey& stream, const Now& now);
  void send_heartbeat(const Now& now);
  [[nodiscard]] std::optional<relay::BindingKey> binding_of(const quic::StreamKey& stream) const;

  Config config_;
  DatagramSink& sink_;
  Link link_;
  relay::Engine engine_;
  grant::TenantKeys tenants_;
  policy::BindPolicy policy_;
  bool is_draining_ = false;
  bool is_drained_ = false;  // Drained is out.
  std::uint64_t next_binding_ = 1;
  std::map<relay::BindingKey, Binding> bindings_;
  std::map<quic::StreamKey, relay::BindingKey> keys_;
  std::map<quic::ConnectionKey, Peer> peers_;         // Accepted connections.
  std::map<quic::StreamKey, http::Request> waiting_;  // For their peer's address to be validated.
  std::deque<Effect> effects_;
};

}  // namespace zt::node
