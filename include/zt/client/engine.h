// SPDX-License-Identifier: Apache-2.0
#pragma once
// client/engine.h: turns "reach db.internal:5432" into a grant, a connector and a stream, or into
// the exact reason why not.
//
// Theory of operation
//   A flow waits for three things in turn: a grant that covers it, a connection to a connector that
//   the grant names, and that connector's answer. Each is shared by all flows that can use it: one
//   request for a grant is on its way for a host and protocol at a time, and one connection is held
//   to a connector. What a flow waits for ends by a deadline, so that every FlowKey that goes in
//   comes out as exactly one FlowRefused, or as FlowReady and later FlowEnded by the shell (by
//   itself, or in answer to Cut).
//
//     FlowRequested ─► grant ─► connector ─► answer ─► open ─► gone
//                     AskGrant  ConnectTo    OpenFlow  FlowReady
//
//   What the view says no to is refused. The controller is asked all the same, at a limited rate,
//   for it knows the reason (the rule that denies, for instance), may allow by now what the view
//   does not show yet, and writes the attempt down. Beyond the rate, or while the controller is
//   away, the view's own sentence has to do.
//
//   Grants are renewed at two thirds of their life (with jitter) while a flow lives by them, and
//   the new one is presented to the connectors of those flows. The life of a grant is measured from
//   its arrival with the monotonic clock, so a client whose wall clock is wrong works all the same.
//   A grant that a connector no longer accepts is fetched anew once for each flow.
//
//   A flow whose grant ends while the controller is away, or the machine sleeps, is not over: its
//   connector holds it (connector/engine.h). Another grant is asked for until there is an answer,
//   and presented. Where the controller denies it, or has revoked the former one, or the connector
//   does not accept it, the flow is cut, for it would hang.
//
//   Connectors are tried in the order of client/spread.h: by weight and load, open connections
//   first. Each is tried first by the best relay where both ends are bound, then by the second
//   best, and so on; path/relay_choice.h says what is good, and counts the round trips of both
//   ends. Where there is no such relay, we bind at one of the connector's (BindAt). When a relay is
//   lost, its connections are rerouted through another one (Reroute), or through the same when it
//   is found again, maybe at another of its addresses; live flows go on.
//
//   A connector that failed is doubtful until a connection to it stands: it is tried after all
//   others. While others do the work it is tried again without a flow, first after
//   connector_hold_down, then after twice that, and so on to connector_hold_down_max: so a dead one
//   costs no flow but the first.
//
//   A connection carries flows of one path rule (base/path_rule.h), that of their resource as the
//   view has it: flows of two rules to one connector have two connections. A rule limits the relays
//   that are tried. Under never-relay the connection is made through a relay, and shown the grant,
//   but no flow is opened on it (OpenFlow) while it is not direct (PathTaken): a flow waits for
//   that for direct_timeout, and then goes on to the next connector, or fails with this reason.
//
//   A connector that was asked something is listened to, and so is one that leaves live flows
//   without an answer (ConnectorUnanswered). It is silent when nothing has come from it
//   for two round trips and silence_margin, or when its connection does not stand by then. The
//   flows that wait for the answer of a silent one are taken back, for not a byte of their
//   applications has moved, and go to the next connector; those that wait for its connection try
//   the next one beside it, and the first that is ready has them. Live flows stay where they are: a
//   connector that hiccups loses none, and the shell says when it is dead (ConnectorLost). A silent
//   one is tried after all others until it is heard again. Who is the only one is waited for.
//
//   Who says that it drains is believed. A relay that drains comes after all others, and its
//   connections are rerouted as soon as there is another one. A connector that drains keeps its
//   live flows, and is asked for new ones after all others; when it refuses, the controller is
//   asked who has taken its place.
//
//   silence_margin is above what RelayBindings takes to notice a dead relay: a connection whose
//   relay dies is rerouted before its connector counts as silent.
//
// Limits: Limits; the answer is an Outcome of kind `limit`.
// Time: deadlines are checked on every call.
// Threats: a hostile connector can refuse, delay and lie about its own resources, and nothing else:
//   its certificate is pinned by the controller's answer. Grants leave this engine only toward
//   connectors that the controller named for the resource. Details that a connector sends are shown
//   as text: they are limited in size and made printable. A round trip that it feigns to be long
//   counts up to round_trip_max.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "zt/base/flow_report.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/protocol.h"
#include "zt/base/random.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"
#include "zt/grant/node_config.h"
#include "zt/policy/resource.h"
#include "zt/wire/proxy_status.h"

namespace zt::client {

enum class FlowKey : std::uint64_t {};     // Chosen by the shell, never used twice.
enum class PeerKey : std::uint64_t {};     // A connection to a connector; chosen by the engine.
enum class RequestKey : std::uint64_t {};  // A request for a grant; chosen by the engine.

// --- Inputs.

struct ViewReceived {  // Verified: signature, tenant and device.
  grant::NodeConfig configuration;
};
struct ControllerUp {};  // The watch stream stands.
struct ControllerDown {
  std::string reason;
};
struct RelayAvailable {  // We are bound there. Again: it is so far away, and so loaded, by now.
  RelayId relay;
  std::string name;
  Duration round_trip{};
  std::uint32_t load = 0;  // path::RelayOption's.
  bool is_draining = false;
};
struct RelayLost {
  RelayId relay;
};
struct RelayDraining {  // It works, and will end soon. RelayAvailable or RelayLost ends that.
  RelayId relay;
};

// GrantedConnector is one way to the resource.
struct GrantedConnector {
  ConnectorId id;
  std::string name;
  Digest certificate;
  RouteId route;
  std::vector<RelayId> relays;              // Where it is bound.
  std::map<RelayId, Duration> round_trips;  // From it to those, as far as they are known.
  std::uint32_t weight = 0;                 // Its share of new flows; 0: it seems to be offline.

  friend bool operator==(const GrantedConnector&, const GrantedConnector&) = default;
};
struct GrantIssued {
  Secret token;
  GrantId id;
  Duration lifetime{};  // `exp` minus `iat`.
  UnixTime expires;     // For people.
  DecisionId decision;
  ResourceId resource;
  std::string resource_name;
  std::vector<PortRange> ports;              // That the grant covers at the host; empty: as asked.
  std::vector<GrantedConnector> connectors;  // May be empty: none is online.
};
struct GrantDenied {
  int status = 0;       // 403, 404, …
  std::string detail;   // The controller's sentence.
  std::string rule;     // May be empty.
  DecisionId decision;  // May be empty.
};
struct GrantUnavailable {  // No answer of use: the controller is away, or answers 5xx.
  std::string reason;
};
struct GrantAnswered {  // The answer to AskGrant.
  RequestKey request{};
  std::variant<GrantIssued, GrantDenied, GrantUnavailable> answer;
};
struct GrantsRevoked {  // They are not used any more.
  std::vector<GrantId> grants;
};

struct ConnectorReady {  // The answer to ConnectTo. The certificate was as pinned.
  PeerKey peer{};
  Duration round_trip{};
};
struct ConnectorHeard {  // The answer to ListenTo: a packet of the connector has been opened.
  PeerKey peer{};
  Duration round_trip{};
};
struct ConnectorUnanswered {  // Its live flows have sent something, and nothing has come of it for
                              // longer than usual.
  PeerKey peer{};
  Instant since;  // Of the silence.
};
struct PathTaken {  // A connection is direct from now on, or no longer.
  PeerKey peer{};
  bool is_direct = false;
};
struct ConnectorLost {  // The answer to ConnectTo, or the end of a connection. Its streams are
                        // dead.
  PeerKey peer{};
  std::string reason;
};

struct GrantRefused {  // The answer to PresentGrant, if the connector has not accepted it.
  PeerKey peer{};
  GrantId grant;
  int status = 0;       // 4xx: it does not want it. Else it may take it later.
  std::string details;  // Of Proxy-Status; untrusted.
};
struct ConnectorDraining {  // It keeps its live flows for a while, and takes no new ones.
  PeerKey peer{};
};

struct FlowRequested {
  FlowKey flow{};
  Authority target;
  Protocol protocol = Protocol::tcp;
};
struct FlowAnswered {  // The answer to OpenFlow.
  FlowKey flow{};
  int status = 0;                         // 2xx is success.
  std::optional<wire::ProxyError> error;  // Of Proxy-Status.
  std::string details;                    // Of Proxy-Status; untrusted.
  std::optional<FlowId> id;               // The connector's name of the flow.
};
struct FlowEnded {  // Also for a flow that its application gave up before it was ready.
  FlowKey flow{};
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::string reason;  // "finished", "reset by the application", …
};

// --- Outputs.

struct AskGrant {  // POST /api/v1/grants. Answer with GrantAnswered.
  RequestKey request{};
  Authority target;
  Protocol protocol = Protocol::tcp;
};
struct ConnectTo {  // Answer with ConnectorReady or ConnectorLost.
  PeerKey peer{};
  ConnectorId connector;
  Digest certificate;  // To pin.
  RouteId route;       // Prefix of the first destination connection ID.
  RelayId relay;
  Paths paths = Paths::any;  // By which it may go on.
};
struct BindAt {  // Bind at these relays, too: connectors are there, and at none of ours.
  std::vector<RelayId> relays;
};
struct Reroute {  // Move the connection to another relay at once: the former is dead, or will be.
  PeerKey peer{};
  RelayId relay;
};
struct CloseConnector {  // Close the connection, or stop trying. The key is dead.
  PeerKey peer{};
};
struct ListenTo {  // Answer with ConnectorHeard when the next packet comes; until then see that one
                   // has to come: PING whenever nothing was sent for `ping_interval`. Again, before
                   // the answer: only the interval is another.
  PeerKey peer{};
  Duration ping_interval{};
};
struct OpenFlow {  // Send CONNECT. Answer with FlowAnswered.
  FlowKey flow{};
  FlowId id;
  PeerKey peer{};
  Authority target;
  Protocol protocol = Protocol::tcp;
  Secret token;
};
struct AbandonFlow {  // Reset the request of OpenFlow: its answer is of no use any more. The flow
                      // may be opened elsewhere.
  FlowKey flow{};
};
struct PresentGrant {  // POST /.well-known/zt/grant. Accepted, it lets direct paths be looked for.
  PeerKey peer{};
  GrantId grant;
  Secret token;
};

// Outcome is why a flow did not come to be, for the application and for its user.
struct Outcome {
  enum class Kind : std::uint8_t {
    no_resource,    // No resource of the view, which is all that was asked.
    not_signed_in,  // No session, or no view yet.
    denied,         // A rule, or the absence of one; or the connector's own check.
    refused,        // The service refused the connection.
    dns_failed,     // The connector cannot resolve the name.
    timed_out,      // The service did not answer.
    unreachable,    // No route from connector to service, or no way to controller or connector.
    limit,          // Somebody is full.
  };
  Kind kind{};
  std::string text;     // One sentence for the user, without a full stop.
  std::string rule;     // The rule that denied, if one did.
  DecisionId decision;  // As the central log has it.

  friend bool operator==(const Outcome&, const Outcome&) = default;
};
[[nodiscard]] std::string_view to_text(Outcome::Kind kind);

struct FlowReady {  // The connector has really connected: let the application go on.
  FlowKey flow{};
};
struct FlowRefused {  // The key is dead.
  FlowKey flow{};
  Outcome outcome;
};
struct Cut {  // The flow's connection or right is gone: abandon the application's side, then say
              // FlowEnded.
  FlowKey flow{};
  std::string reason;
};
struct SnapshotNeeded {  // Ask the controller for the whole view.
  std::uint64_t held_revision = 0;
};
struct Report {
  FlowReport report;
};

// --- Status, for people.

struct ResourceStatus {
  ResourceId id;
  std::string name;
  std::string address;
  std::vector<PortRange> tcp;
  std::vector<PortRange> udp;
  std::vector<std::string> aliases;
  std::size_t flow_count = 0;
  PathRule path;
  std::string last_decision;  // "granted", "denied: …", or empty before the first request.

  friend bool operator==(const ResourceStatus&, const ResourceStatus&) = default;
};
struct GrantStatus {
  GrantId id;
  std::string host;
  Protocol protocol = Protocol::tcp;
  std::string resource_name;
  UnixTime expires;
  Duration left{};
  std::size_t flow_count = 0;

  friend bool operator==(const GrantStatus&, const GrantStatus&) = default;
};
struct ConnectorStatus {
  PeerKey key{};
  ConnectorId id;
  std::string name;
  RelayId relay;
  PathRule path;  // Of the flows that it carries.
  bool is_ready = false;
  bool is_silent = false;
  bool is_draining = false;
  std::size_t flow_count = 0;

  friend bool operator==(const ConnectorStatus&, const ConnectorStatus&) = default;
};
struct RelayStatus {
  RelayId id;
  std::string name;

  friend bool operator==(const RelayStatus&, const RelayStatus&) = default;
};
struct Status {
  bool is_controller_up = false;
  std::string controller_reason;  // Why it is not.
  std::uint64_t view_revision = 0;
  std::vector<ResourceStatus> resources;    // By name.
  std::vector<GrantStatus> grants;          // By host.
  std::vector<ConnectorStatus> connectors;  // By key.
  std::vector<RelayStatus> relays;          // By id.
  std::size_t flows_waiting = 0;
  std::size_t flows_open = 0;
  std::uint64_t flows_opened = 0;  // Since the start, like those below.
  std::uint64_t flows_refused = 0;
  std::uint64_t bytes_up = 0;  // Of flows that have ended.
  std::uint64_t bytes_down = 0;

  friend bool operator==(const Status&, const Status&) = default;
};

class Engine {
 public:
  struct Limits {
    std::size_t flows_max = 16384;
    std::size_t flows_waiting_max = 4096;                // Of flows_max: those that are not open.
    std::size_t grants_max = 1024;                       // Held or asked for; idle ones make room.
    std::size_t denials_max = 1024;                      // Remembered; the oldest make room.
    std::size_t refusals_max = 64;                       // Of the view, asked about or reported in
                                                         // a refusal_interval.
    std::size_t connectors_max = 256;                    // Connections; idle ones make room.
    std::size_t connectors_tried_max = 6;                // For one flow.
    std::size_t details_size_max = 300;                  // Of a connector's text that is shown.
    Duration grant_timeout = std::chrono::seconds(10);   // For an answer of the controller.
    Duration connect_timeout = std::chrono::seconds(4);  // For one try of one connector.
    Duration direct_timeout = std::chrono::seconds(10);  // For a direct path, if there must be one.
    Duration answer_timeout = std::chrono::seconds(20);  // For a connector that resolves and dials.
    Duration flow_timeout = std::chrono::seconds(45);    // In all.
    Duration denial_lifetime = std::chrono::seconds(2);
    Duration refusal_interval = std::chrono::minutes(1);  // A denial that the view agrees with
                                                          // lives as long.
    Duration connector_idle = std::chrono::seconds(60);
    Duration connector_hold_down = std::chrono::seconds(10);  // Then a failed one is tried again.
    Duration connector_hold_down_max = std::chrono::minutes(5);
    Duration silence_margin = std::chrono::milliseconds(400);  // Beyond two round trips.
    Duration round_trip_max = std::chrono::seconds(1);         // That a connector is granted.
    Duration listen_pause = std::chrono::milliseconds(50);   // Once it was heard, while flows wait.
    Duration ping_interval = std::chrono::milliseconds(50);  // While it is listened to.
    Duration ping_interval_silent = std::chrono::milliseconds(500);  // Until it is heard again.
    Duration renewal_retry = std::chrono::seconds(2);
    Duration refused_pause = std::chrono::seconds(10);  // Until a refused grant is renewed.
  };

  // Self is what signing in made of this node.
  struct Self {
    TenantId tenant;
    SubjectId subject;
    std::string subject_name;  // May be empty.
    DeviceId device;
  };

  using Input =
      std::variant<ViewReceived, ControllerUp, ControllerDown, RelayAvailable, RelayLost,
                   RelayDraining, GrantAnswered, GrantsRevoked, ConnectorReady, ConnectorHeard,
                   ConnectorUnanswered, PathTaken, ConnectorLost, GrantRefused, ConnectorDraining,
                   FlowRequested, FlowAnswered, FlowEnded>;
  using Output =
      std::variant<AskGrant, ConnectTo, BindAt, Reroute, CloseConnector, ListenTo, OpenFlow,
                   AbandonFlow, PresentGrant, FlowReady, FlowRefused, Cut, SnapshotNeeded, Report>;

  // `random` draws flow ids and jitter; it outlives the engine.
  Engine(const Limits& limits, Self self, Random& random);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() = default;

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  [[nodiscard]] Status status(const Now& now) const;
  [[nodiscard]] const grant::ResourceTable& view() const { return view_; }

 private:
  enum class AccessKey : std::uint64_t {};

  enum class State : std::uint8_t {
    wants_grant,      // In `waiting` of its access.
    wants_relay,      // No relay in common with any connector at the moment.
    wants_connector,  // In `flows` of one or more peers that are connecting.
    wants_direct,     // In `flows` of a peer that is ready, and still relayed.
    wants_answer,     // OpenFlow is out.
    open,
    cut,
  };

  // Access is a grant for one host and protocol: asked for, held, or both (a renewal).
  struct Access {
    Host host;
    Protocol protocol = Protocol::tcp;
    std::uint16_t asked_port = 0;       // Of the last request.
    std::uint16_t granted_port = 0;     // Of the request that the held grant answered.
    std::optional<RequestKey> request;  // On its way.
    bool is_parked = false;             // To be asked for when the controller is back.
    Instant request_deadline;           // While on its way or parked.
    std::optional<GrantIssued> grant;   // Held.
    Instant received;
    Instant expires;
    Instant renewal;
    Instant former_expires;     // Of the grant before, that a connector has accepted.
    bool is_refused = false;    // The held one was, by a connector.
    bool is_lapsed = false;     // None is held, and flows live by it: asked for anew at `renewal`.
    std::set<FlowKey> waiting;  // For an answer.
    std::set<FlowKey> flows;    // That live, or are about to, by the grant.
    std::optional<Instant> timer;

    [[nodiscard]] bool is_live(Instant now) const { return grant.has_value() && now < expires; }
    [[nodiscard]] bool is_asking() const { return request.has_value() || is_parked; }
    [[nodiscard]] bool covers(std::uint16_t port) const;
    // held returns the grant, which is there.
    [[nodiscard]] const GrantIssued& held() const;
  };

  struct Relay {
    std::string name;
    Duration round_trip{};
    std::uint32_t load = 0;
    bool is_draining = false;
  };

  // Doubt is what is left of a connector that failed.
  struct Doubt {
    Instant retry;     // When it is tried again without a flow.
    Duration pause{};  // That led there.
  };

  // Hearing is what we know of a connector's being there.
  enum class Hearing : std::uint8_t {
    unasked,    // It owes no answer that we know of.
    listening,  // It connects, or ListenTo is out: it is silent at listen_until.
    heard,      // And flows still wait for an answer: listened to again at listen_until.
    silent,     // Until it is ready or heard.
  };

  // Peer is a connection to a connector.
  struct Peer {
    ConnectorId connector;
    std::string name;
    Digest certificate;
    std::vector<RelayId> relays;              // Where the connector is bound, as last heard.
    std::map<RelayId, Duration> round_trips;  // From there, likewise.
    RelayId relay;                            // That carries the connection.
    PathRule path;                            // Of its flows.
    bool is_ready = false;
    bool is_draining = false;
    bool is_direct = false;
    bool is_presented = false;  // It was shown a grant, though no flow is open.
    Instant connect_deadline;
    Duration round_trip{};  // To the relay, until it is ready.
    Hearing hearing = Hearing::unasked;
    std::optional<Instant> listen_until;
    std::set<FlowKey> flows;  // In wants_connector, wants_answer, open or cut.
    Instant idle_since;
    std::optional<Instant> timer;
  };

  struct Flow {
    FlowId id;
    Authority target;
    Protocol protocol = Protocol::tcp;
    State state = State::wants_grant;
    Instant requested;
    Instant deadline;       // For all of the setting up.
    Instant step_deadline;  // For the present state.
    std::optional<AccessKey> access;
    std::optional<PeerKey> peer;
    std::vector<PeerKey> slow_peers;  // That it waits for beside `peer`, in wants_connector.
    std::vector<std::pair<ConnectorId, RelayId>> tried;
    std::size_t tries_count = 0;
    bool has_asked = false;  // A grant was asked for on its behalf; a held one may be out of date.
    std::string last_problem;
    std::string resource_name;
    GrantId grant;  // These for the report; empty until they are known.
    DecisionId decision;
    ResourceId resource;
    ConnectorId connector;
    std::string path;
    Instant opened;
    std::string cut_reason;
    std::optional<Instant> timer;
  };

  struct Denial {
    Instant until;
    Outcome outcome;
  };

  // Candidate is a connector by way of a relay; or a connection to it that exists.
  struct Candidate {
    const GrantedConnector* connector = nullptr;
    RelayId relay;
    std::optional<PeerKey> peer;
  };

  enum class TimerKind : std::uint8_t { flow, access, peer };
  using Timer = std::pair<TimerKind, std::uint64_t>;
  using DenialKey = std::pair<Authority, Protocol>;

  // access_of returns what a flow is attached to.
  [[nodiscard]] Access& access_of(const Flow& flow);

  // engine.cc: the life of a flow.
  void on(FlowRequested& input, const Now& now);
  void on(FlowAnswered& input, const Now& now);
  void on(FlowEnded& input, const Now& now);
  [[nodiscard]] std::string printable(std::string_view text) const;
  void take_refusal(const FlowAnswered& input, Flow& flow, const Now& now);
  void open(FlowKey key, PeerKey peer_key, const Now& now);
  void refuse(FlowKey key, Outcome outcome, const Now& now);
  void cut(FlowKey key, std::string reason);
  void detach(FlowKey key, Flow& flow, const Now& now);
  void leave_peer(FlowKey key, Flow& flow, const Now& now);
  void report(const Flow& flow, FlowEvent event, std::string_view reason, const Now& now);
  [[nodiscard]] bool is_worth_asking(const FlowRequested& input, const Outcome& refusal,
                                     const Now& now);
  void report_refusal(const FlowRequested& input, const Outcome& outcome, const Now& now);
  void expire(const Now& now);
  void expire_flow(FlowKey key, const Now& now);
  void set_timer(Timer timer, std::optional<Instant>& held, std::optional<Instant> at);
  void schedule(FlowKey key, Flow& flow);

  // grants.cc: the view, and grants asked for, held, renewed and denied.
  void on(ViewReceived& input, const Now& now);
  void on(ControllerUp& input, const Now& now);
  void on(ControllerDown& input, const Now& now);
  void on(GrantAnswered& input, const Now& now);
  void on(GrantsRevoked& input, const Now& now);
  void on(GrantRefused& input, const Now& now);
  [[nodiscard]] std::optional<Outcome> judge_locally(const Authority& target,
                                                     Protocol protocol) const;
  void want_grant(FlowKey key, const Now& now);
  void use_grant(FlowKey key, AccessKey access, const Now& now);
  [[nodiscard]] std::optional<AccessKey> find_access(const Flow& flow, const Now& now) const;
  [[nodiscard]] static bool is_usable(const Access& access, const Flow& flow, const Now& now);
  [[nodiscard]] bool make_room_for_access();
  void ask(AccessKey key, std::uint16_t port, const Now& now);
  void take_issued(AccessKey key, GrantIssued& issued, const Now& now);
  void take_denied(AccessKey key, const GrantDenied& denied, const Now& now);
  void take_unavailable(AccessKey key, const std::string& reason, const Now& now);
  void present(const Access& access);
  void drop_grant(AccessKey key, Access& access, const Now& now);
  void cut_open_flows(const Access& access, std::optional<std::uint16_t> port,
                      const std::string& reason);
  [[nodiscard]] const Flow* find_open_flow(const Access& access) const;
  void expire_access(AccessKey key, const Now& now);
  [[nodiscard]] bool is_asked_elsewhere(AccessKey key, const Access& access,
                                        std::uint16_t port) const;
  void remember_denial(const Authority& target, Protocol protocol, const Outcome& outcome,
                       const Now& now);
  void schedule(AccessKey key, Access& access);
  void forget_if_idle(AccessKey key);

  // connectors.cc: connections, the relays that carry them, and fail-over.
  void on(RelayAvailable& input, const Now& now);
  void on(RelayLost& input, const Now& now);
  void on(RelayDraining& input, const Now& now);
  void on(ConnectorReady& input, const Now& now);
  void on(ConnectorHeard& input, const Now& now);
  void on(ConnectorUnanswered& input, const Now& now);
  void on(PathTaken& input, const Now& now);
  void on(ConnectorLost& input, const Now& now);
  void on(ConnectorDraining& input, const Now& now);
  void want_connector(FlowKey key, const Now& now);
  [[nodiscard]] std::vector<const GrantedConnector*> in_order(const Access& access) const;
  [[nodiscard]] std::optional<Candidate> find_candidate(const Flow& flow,
                                                        const Access& access) const;
  [[nodiscard]] std::optional<PeerKey> find_peer(const GrantedConnector& connector,
                                                 const PathRule& path) const;
  [[nodiscard]] PathRule path_rule_of(const Access& access) const;
  // common_relays of a connector, or of a peer, under a rule.
  template <class Reachable>
  [[nodiscard]] std::vector<RelayId> common_relays(const Reachable& reachable,
                                                   const PathRule& path) const;
  void wait_for_direct(FlowKey key, PeerKey peer, const Now& now);
  void give_up_direct(FlowKey key, const Now& now);
  void want_relay(FlowKey key, const Access& access, const Now& now);
  PeerKey connect(const GrantedConnector& connector, const RelayId& relay, const PathRule& path,
                  const Now& now);
  void retry_doubtful(const Access& access, const Now& now);
  void doubt(const ConnectorId& connector, const Now& now);
  [[nodiscard]] bool is_last_resort(const Candidate& candidate) const;
  [[nodiscard]] bool is_lasting(const RelayId& relay) const;
  void leave_relay(PeerKey key, Peer& peer, const Now& now);
  void give_up_connecting(FlowKey key, const Now& now);
  void join(FlowKey key, PeerKey peer, const Now& now);
  void leave_slow_peers(FlowKey key, Flow& flow, const Now& now);
  [[nodiscard]] bool make_room_for_peer();
  void lose_peer(PeerKey key, const std::string& reason, const Now& now);
  void lose_flow(FlowKey key, PeerKey peer_key, const Peer& peer, const std::string& problem,
                 const Now& now);
  void expire_peer(PeerKey key, const Now& now);
  void reroute(PeerKey key, Peer& peer, const RelayId& relay, const Now& now);
  [[nodiscard]] static std::string problem_with(const Peer& peer, std::string_view reason);
  [[nodiscard]] Duration patience_with(const Peer& peer) const;
  void listen(PeerKey key, Peer& peer, const Now& now);
  [[nodiscard]] bool has_waiting_flow(const Peer& peer) const;
  void expire_listening(PeerKey key, Peer& peer, const Now& now);
  void pass_over(FlowKey key, const Now& now);
  void schedule(PeerKey key, Peer& peer);

  Limits limits_;
  Self self_;
  Random& random_;

  grant::ResourceTable view_;
  std::vector<policy::Resource> resources_;  // What policy makes of view_.
  bool is_controller_up_ = false;
  std::string controller_reason_;
  std::optional<Instant> controller_down_since_;

  std::map<FlowKey, Flow> flows_;
  std::size_t open_count_ = 0;  // Open or cut.
  std::map<AccessKey, Access> accesses_;
  std::multimap<std::pair<Host, Protocol>, AccessKey> accesses_by_target_;
  std::map<RequestKey, AccessKey> requests_;
  std::map<DenialKey, Denial> denials_;
  std::size_t refusals_count_ = 0;  // Of the view, asked about or reported until refusals_end_.
  Instant refusals_end_;
  std::map<PeerKey, Peer> peers_;
  std::map<RelayId, Relay> relays_;                   // That we are bound at.
  std::map<ConnectorId, Doubt> doubts_;               // At most connectors_max.
  std::map<ResourceId, std::string> last_decisions_;  // Of resources in the view.
  std::uint64_t last_access_ = 0;
  std::uint64_t last_request_ = 0;
  std::uint64_t last_peer_ = 0;

  std::set<std::pair<Instant, Timer>> timers_;
  std::uint64_t flows_opened_ = 0;
  std::uint64_t flows_refused_ = 0;
  std::uint64_t bytes_up_ = 0;
  std::uint64_t bytes_down_ = 0;
  std::deque<Output> outputs_;
};

}  // namespace zt::client
