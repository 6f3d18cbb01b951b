// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/client_node.h: a whole client but for its sockets.
//
// Theory of operation
//   The counterpart of ConnectorNode: a Link and a client::Engine. An ingress adapter of the shell
//   asks for a flow with open_flow; FlowReady or FlowRefused answers. From FlowReady on the shell
//   moves bytes between the application and the flow until both sides are at their end, then it
//   calls flow_ended. FlowAborted and FlowCut ask it to abandon the application's side and call
//   flow_ended at once.
//
//   Death of a connector. QUIC keeps a connection with it for hours (node/link.h). While our
//   network works, a connector from which nothing at all has come for `silence_timeout` is given
//   up, and its flows end. While our network does not work, or the machine sleeps, no time counts.
//
// Limits   Those of the parts.

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
#include "zt/client/engine.h"
#include "zt/grant/jwk.h"

namespace zt::node {

class ClientNode {
 public:
  using FlowKey = client::FlowKey;

  struct Config {
    Link::Config link;
    client::Engine::Limits engine;
    FlowJournal::Limits journal;
    Duration silence_timeout = std::chrono::seconds(30);  // Of a connector. Three keep-alives.
  };

  // --- Effects.

  struct SignedIn {  // The node is somebody: whose key it was, and as which device.
    SubjectId subject;
    std::string subject_name;
    DeviceId device;
  };
  struct ViewChanged {};  // The resources that the user may see are others.
  struct FlowReady {
    FlowKey flow{};
  };
  struct FlowRefused {  // The key is dead.
    FlowKey flow{};
    client::Outcome outcome;
  };
  struct FlowReadable {
    FlowKey flow{};
  };
  struct FlowWritable {
    FlowKey flow{};
  };
  struct FlowAborted {  // The far end abandoned it: reset the application, then flow_ended.
    FlowKey flow{};
  };
  struct FlowCut {  // Its connection is gone: reset the application, then flow_ended.
    FlowKey flow{};
    std::string reason;
  };
  using Effect =
      std::variant<Lookup, TcpLinkWanted, TcpLinkUnwanted, SignedIn, ViewChanged, FlowReady,
                   FlowRefused, FlowReadable, FlowWritable, FlowAborted, FlowCut, KeepFlows,
                   Refused, Notice, path::UpnpWanted, path::UpnpUnwanted>;

  // `random` outlives the node.
  ClientNode(const Config& config, Credential credential, Random& random);
  ClientNode(const ClientNode&) = delete;
  ClientNode& operator=(const ClientNode&) = delete;

  // restore_flows makes the node ask by KeepFlows to have its flow reports kept, and takes what an
  // earlier run kept. Call it before start, or never. flows_unkept says that keeping has failed.
  void restore_flows(std::string_view kept, const Now& now) { journal_.restore(kept, now); }
  void flows_unkept(const Now& now) { journal_.keep_failed(now); }

  // --- The engine contract.

  void set_local(const LocalPort& local, const Now& now) { link_.set_local(local, now); }
  void start(const Now& now);
  // leave ends the gateway's mapping, then one connection at a time, and returns false if there is
  // none left. The newest is first: what goes through a relay has ended before the relay forgets
  // this node. Only poll_transmit() follows.
  bool leave(const Now& now) { return link_.leave(now); }
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Effect> poll_effect(const Now& now);
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now);
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

  // --- What the shell asks and answers.

  [[nodiscard]] FlowKey open_flow(const Authority& target, Protocol protocol, const Now& now);
  // flow_ended also gives up a flow that is not ready yet.
  void flow_ended(FlowKey flow, std::uint64_t bytes_up, std::uint64_t bytes_down,
                  std::string reason, const Now& now);
  void lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, bool is_name_absent,
                   const Now& now);

  // --- Bytes of TCP flows, datagrams of UDP flows.

  [[nodiscard]] FlowStreams<FlowKey>& flows() { return flows_; }
  struct FlowDatagram {
    FlowKey flow{};
    std::span<const std::byte> payload;  // Dies with the next call that is not const.
  };
  [[nodiscard]] std::optional<FlowDatagram> poll_datagram();
  // send_datagram is that of ConnectorNode, for a datagram of the application.
  [[nodiscard]] std::optional<std::size_t> send_datagram(FlowKey flow,
                                                         std::span<const std::byte> payload,
                                                         const Now& now);

  // --- Status.

  // status is empty before the sign-in.
  [[nodiscard]] client::Status status(const Now& now) const;
  [[nodiscard]] bool is_signed_in() const { return engine_.has_value(); }
  [[nodiscard]] const Link& link() const { return link_; }
  // path_of tells how a connection to a connector travels, and its statistics; nothing if there is
  // none.
  struct Path {
    std::string text;  // "relayed:rly_…" or "direct".
    bool is_over_tcp = false;
    SocketAddress remote;
    quic::ConnectionKey connection{};
    Paths rule = Paths::any;  // Of the connection.
    quic::Statistics statistics;
  };
  [[nodiscard]] std::optional<Path> path_to(client::PeerKey connector) const;
  // path_of is path_to for the connection that carries a flow.
  [[nodiscard]] std::optional<Path> path_of(FlowKey flow) const;
  // pairs_to lists what a direct path to a connector was looked for between; empty if none was.
  [[nodiscard]] std::vector<path::PairStatus> pairs_to(client::PeerKey connector,
                                                       const Now& now) const;

 private:
  struct Peer {
    ConnectorId connector;
    std::optional<quic::ConnectionKey> connection;
    Paths paths = Paths::any;  // Of its flows.
    std::uint64_t packets_received = 0;
    Duration silence{};  // Since then, as far as it counts.
    // Of what flows have sent and nothing has come of: as the last look found it.
    std::optional<Instant> unanswered_since;
    std::uint64_t packets_answered = 0;  // What had come by then.
  };

  void take_link_events(const Now& now);
  void take(Link::Event& event, const Now& now);
  void take_without_engine(Link::Event& event, const Now& now);
  void take_told(const WatchMessage& message, const Now& now);
  void tell_relay(const RelayId& relay, const Now& now);
  void take_keys(const std::string& jwks);
  void take_view(const std::string& token, const Now& now);
  void take_endpoint_event(const quic::Event& event, const Now& now);
  void lose_connection(const quic::ConnectionClosed& closed, const Now& now);
  void take_response(const quic::ResponseReceived& received, const Now& now);
  void end_stream(const quic::StreamKey& stream, std::string_view why, const Now& now);
  void take_engine_outputs(const Now& now);
  void take_output(client::Engine::Output& output, const Now& now);
  void ask_grant(const client::AskGrant& ask, const Now& now);
  void connect_to(const client::ConnectTo& wanted, const Now& now);
  void reroute(const client::Reroute& reroute, const Now& now);
  void listen_to(const client::ListenTo& wanted);
  void hear(const Now& now);
  void watch_answers(const Now& now);
  void watch_silence(const Now& now);
  [[nodiscard]] Duration round_trip_of(quic::ConnectionKey connection) const;
  void open_stream(const client::OpenFlow& open, const Now& now);
  void unpair(FlowKey flow, const Now& now);
  void note_draining(quic::ConnectionKey connection, const Now& now);
  void look_for_paths(const quic::StreamKey& stream, const Now& now);
  void present_grant(const client::PresentGrant& present);
  void take_path_change(const PathChanged& change, const Now& now);
  std::optional<client::PeerKey> peer_of(quic::ConnectionKey connection) const;
  [[nodiscard]] std::optional<Path> path_of_connection(quic::ConnectionKey connection) const;

  Config config_;
  Random& random_;
  Link link_;
  FlowJournal journal_;
  FlowStreams<FlowKey> flows_;
  std::optional<Admission> admission_;
  grant::KeySet keys_;
  std::optional<client::Engine> engine_;  // From the sign-in on.
  std::deque<client::Engine::Input> replies_;
  std::uint64_t next_flow_ = 1;
  std::map<http::CallKey, client::RequestKey> grant_calls_;
  std::map<client::PeerKey, Peer> peers_;
  std::optional<Instant> silence_check_at_;  // While there is a peer.
  std::optional<Instant> answers_check_at_;  // While flows have sent what may be unanswered.
  // The packets that had come from a connector when the engine asked to hear of the next.
  std::map<client::PeerKey, std::uint64_t> listened_;
  std::map<quic::StreamKey, client::GrantRefused> presenting_;  // Until a grant is accepted.
  std::set<FlowKey> open_flows_;
  std::set<FlowKey> answered_flows_;  // Whose response has come, whatever it was.
  std::vector<std::byte> datagram_;   // Scratch.
  std::deque<Effect> effects_;
};

}  // namespace zt::node
