// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/connector_node.h: a whole connector but for its sockets.
//
// Theory of operation
//   Datagrams and answers of the world go in; datagrams, effects and the bytes of flows come out.
//   It is a Link (endpoint, controller, relays) and a connector::Engine, and translates between
//   them: a CONNECT becomes FlowRequested, Accept becomes a 200, a line of the watch stream becomes
//   a configuration.
//
//   The shell answers each effect: Lookup by lookup_done, DialWanted by dialed. Once FlowOpened is
//   out, it moves bytes between its socket and the flow (`flows()`, or the datagram calls), told by
//   FlowReadable and FlowWritable when there is reason to look again, until both sides are at their
//   end; then it calls flow_ended. FlowAborted and FlowCut ask it to abandon the socket and call
//   flow_ended at once.
//
//   A flow whose grant has ended shows nothing to read and no space to write until another grant
//   has come: the shell need not know. All bytes go by `flows()`, so nothing can pass it.
//
//   drain() begins the end: the controller is told, and so is every client (wire/draining.h); new
//   flows are refused, and connections without one are closed. Live flows go on, and their
//   grants are renewed. Drained says that none is left, and that the clients have all its bytes.
//
//   A client that is silent may sleep, and keeps its connection for hours (node/link.h). Where
//   there is little room left for connections, the one that has been silent longest makes room for
//   a client that has shown a valid grant: strangers push nobody out.
//
// Limits   Those of the parts.
// Threats  Nothing of a request reaches the shell but vetted addresses.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "node/flow_journal.h"
#include "node/flow_streams.h"
#include "node/link.h"
#include "node/notice.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/connector/engine.h"
#include "zt/grant/jwk.h"

namespace zt::node {

class ConnectorNode {
 public:
  using FlowKey = connector::FlowKey;

  // Standing is what enrolment made of this machine. It is kept over restarts.
  struct Standing {
    TenantId tenant;
    NetworkId network;
    ConnectorId connector;
    std::string jwks;  // The tenant's keys, as JSON text.
  };

  struct Config {
    Link::Config link;
    connector::Engine::Limits engine;
    FlowJournal::Limits journal;
    Duration udp_idle_timeout = std::chrono::minutes(2);  // RFC 4787 REQ-5 asks for two.
    std::optional<Standing> standing;                     // Absent before the first enrolment.
  };

  // --- Effects.

  struct DialWanted {  // Dial one of these, in this order, and call dialed().
    FlowKey flow{};
    Protocol protocol = Protocol::tcp;
    std::vector<SocketAddress> addresses;
  };
  struct FlowOpened {  // Move its bytes.
    FlowKey flow{};
    Protocol protocol = Protocol::tcp;
  };
  struct FlowDropped {  // It never opened: drop its dial or its socket. The key is dead.
    FlowKey flow{};
  };
  struct FlowReadable {
    FlowKey flow{};
  };
  struct FlowWritable {
    FlowKey flow{};
  };
  struct FlowAborted {  // The client abandoned it: reset the socket, then flow_ended(client_reset).
    FlowKey flow{};
  };
  struct FlowCut {  // Access ended: reset the socket, then flow_ended(cut).
    FlowKey flow{};
  };
  struct StandingChanged {  // Keep it.
    Standing standing;
  };
  struct Drained {};  // After drain(): no flow is left.
  // Refused is of node/controller_session.h: the node has to stop.
  using Effect =
      std::variant<Lookup, TcpLinkWanted, TcpLinkUnwanted, DialWanted, FlowOpened, FlowDropped,
                   FlowReadable, FlowWritable, FlowAborted, FlowCut, StandingChanged, KeepFlows,
                   Refused, Notice, Drained, path::UpnpWanted, path::UpnpUnwanted>;

  // `random` outlives the node. `credential` is KnownIdentity if and only if there is a standing.
  ConnectorNode(const Config& config, Credential credential, Random& random);
  ConnectorNode(const ConnectorNode&) = delete;
  ConnectorNode& operator=(const ConnectorNode&) = delete;

  // restore_flows makes the node ask by KeepFlows to have its flow reports kept, and takes what an
  // earlier run kept. Call it before start, or never. flows_unkept says that keeping has failed.
  void restore_flows(std::string_view kept, const Now& now) { journal_.restore(kept, now); }
  void flows_unkept(const Now& now) { journal_.keep_failed(now); }

  // --- The engine contract.

  void start(const Now& now);
  // drain begins the end: see above. Again: nothing.
  void drain(const Now& now);
  // leave ends the gateway's mapping, then one connection at a time, and returns false if there is
  // none left. The newest is first: what goes through a relay has ended before the relay forgets
  // this node. Only poll_transmit() follows.
  bool leave(const Now& now) { return link_.leave(now); }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Effect> poll_effect(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now) {
    return link_.poll_transmit(buffer, now);
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // link_opened and link_closed are those of Link.
  void link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now) {
    link_.link_opened(link, remote, now);
  }
  void link_closed(const SocketAddress& link, std::string_view reason, const Now& now) {
    link_.link_closed(link, reason, now);
  }
  // upnp_answered is that of Link.
  void upnp_answered(const path::UpnpAnswer& answer, const Now& now) {
    link_.upnp_answered(answer, now);
  }

  // --- Answers of the world.

  // lookup_done: no addresses and `is_name_absent` means that the name does not exist.
  void lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, bool is_name_absent,
                   const Now& now);
  void dialed(FlowKey flow, std::expected<SocketAddress, connector::DialError> result,
              const Now& now);
  void flow_ended(FlowKey flow, std::uint64_t bytes_up, std::uint64_t bytes_down,
                  connector::FlowEnd cause, const Now& now);
  // set_local is that of Link. The machine's own addresses are not dialled for others, nor is the
  // one that a gateway maps to our port.
  void set_local(const LocalPort& local, const Now& now);

  // --- Bytes of TCP flows.

  [[nodiscard]] FlowStreams<FlowKey>& flows() { return flows_; }

  // --- Datagrams of UDP flows (RFC 9298).

  struct FlowDatagram {
    FlowKey flow{};
    std::span<const std::byte> payload;  // Dies with the next call that is not const.
  };
  [[nodiscard]] std::optional<FlowDatagram> poll_datagram(const Now& now);
  // send_datagram carries a datagram of the resource. What has no room or does not fit is dropped.
  // It returns how large a payload may be, if this one is larger and its sender is to be told so.
  [[nodiscard]] std::optional<std::size_t> send_datagram(FlowKey flow,
                                                         std::span<const std::byte> payload,
                                                         const Now& now);

  // --- For status.

  [[nodiscard]] std::size_t flow_count() const { return flows_.count(); }
  [[nodiscard]] const Link& link() const { return link_; }
  [[nodiscard]] const connector::Engine* engine() const { return engine_ ? &*engine_ : nullptr; }

 private:
  void enter(const Standing& standing, const Now& now);
  void take_link_events(const Now& now);
  void take_engine_outputs(const Now& now);
  void take(Link::Event& event, const Now& now);
  void take_told(WatchMessage& message, const Now& now);
  void take_keys(const std::string& jwks, const Now& now);
  void take_configuration(const std::string& token, const Now& now);
  void tell_own_addresses(const Now& now);
  void bind_as_ruled(const Now& now);
  void take_endpoint_event(const quic::Event& event, const Now& now);
  void take_request(const quic::RequestReceived& received, const Now& now);
  void refuse_for_draining(const quic::StreamKey& stream);
  void close_unused(const Now& now);
  void make_room(quic::ConnectionKey newcomer, const Now& now);
  [[nodiscard]] bool is_used(quic::ConnectionKey connection) const;
  void take_output(connector::Engine::Output& output, const Now& now);
  void take_refusal(const connector::Refuse& refusal);
  void take_grant_answer(const connector::GrantAnswered& answer);
  void abort_flow(const quic::StreamKey& stream);
  void send_heartbeat(const Now& now);
  void end_idle_flows(const Now& now);
  [[nodiscard]] std::string path_of(const SocketAddress& remote) const;
  void note(std::string_view message);
  void warn(std::string_view message, std::string reason);

  Config config_;
  Random& random_;
  Link link_;
  FlowJournal journal_;
  FlowStreams<FlowKey> flows_;
  std::optional<Standing> standing_;
  grant::KeySet keys_;
  std::optional<connector::Engine> engine_;  // From the first admission on.
  std::vector<IpAddress> own_addresses_;
  std::uint64_t next_key_ = 1;
  std::map<LookupKey, FlowKey> lookups_;
  std::map<connector::RenewalKey, quic::StreamKey> renewals_;
  std::map<FlowKey, Instant> udp_flows_;  // When each last carried something.
  std::set<FlowKey> open_flows_;
  std::set<quic::ConnectionKey> clients_;  // Connections that were accepted before drain().
  std::set<quic::StreamKey> parting_;  // Of flows that are over, whose last bytes are on their way.
  bool is_draining_ = false;
  bool is_drained_ = false;  // Drained is out.
  std::optional<Instant> idle_check_at_;
  std::vector<std::byte> datagram_;  // Scratch.
  std::deque<Effect> effects_;
};

}  // namespace zt::node
