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
//   What matches no resource of the view is refused at once as `no_resource`: it is none of zt's
//   business, and nothing about it leaves this machine.
//
//   Grants are renewed at two thirds of their life (with jitter) while a flow lives by them, and
//   the new one is presented to the connectors of those flows. The life of a grant is measured from
//   its arrival with the monotonic clock, so a client whose wall clock is wrong works all the same.
//   A grant that a connector no longer accepts is fetched anew once for each flow.
//
//   Connectors are tried in the controller's order, each first by its first relay that we are bound
//   at, then by its second, and so on; one that failed a moment ago is tried last. When a relay is
//   lost, its connections are rerouted through another one (Reroute), and live flows go on.
//
// Limits: Limits; the answer is an Outcome of kind `limit`.
// Time: deadlines are checked on every call.
// Threats: a hostile connector can refuse, delay and lie about its own resources, and nothing else:
//   its certificate is pinned by the controller's answer. Grants leave this engine only toward
//   connectors that they name. Details that a connector sends are shown as text: they are limited
//   in size and made printable.

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
struct RelayAvailable {  // We are bound there.
  RelayId relay;
  std::string name;
};
struct RelayLost {
  RelayId relay;
};

// GrantedConnector is one way to the resource.
struct GrantedConnector {
  ConnectorId id;
  std::string name;
  Digest certificate;
  RouteId route;
  std::vector<RelayId> relays;  // Where it is bound.
  std::uint32_t weight = 0;

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
  std::vector<GrantedConnector> connectors;  // Best first; may be empty: none is online.
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
struct GrantsRevoked {  // They are not used for new flows.
  std::vector<GrantId> grants;
};

struct ConnectorReady {  // The answer to ConnectTo. The certificate was as pinned.
  PeerKey peer{};
};
struct ConnectorLost {  // The answer to ConnectTo, or the end of a connection. Its streams are
                        // dead.
  PeerKey peer{};
  std::string reason;
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
};
struct Reroute {  // Move the connection to another relay at once: the former is dead.
  PeerKey peer{};
  RelayId relay;
};
struct CloseConnector {  // Close the connection, or stop trying. The key is dead.
  PeerKey peer{};
};
struct OpenFlow {  // Send CONNECT. Answer with FlowAnswered.
  FlowKey flow{};
  FlowId id;
  PeerKey peer{};
  Authority target;
  Protocol protocol = Protocol::tcp;
  Secret token;
};
struct AbandonFlow {  // Reset the request of OpenFlow: its answer is of no use any more.
  FlowKey flow{};
};
struct PresentGrant {  // POST /.well-known/zt/grant.
  PeerKey peer{};
  Secret token;
};

// Outcome is why a flow did not come to be, for the application and for its user.
struct Outcome {
  enum class Kind : std::uint8_t {
    no_resource,    // Not a resource of this user: connect as if zt were not there, or refuse.
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
struct Cut {  // The flow's connection is gone: abandon the application's side, then say FlowEnded.
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
  ConnectorId id;
  std::string name;
  RelayId relay;
  bool is_ready = false;
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
    std::size_t connectors_max = 256;                    // Connections; idle ones make room.
    std::size_t connectors_tried_max = 6;                // For one flow.
    std::size_t details_size_max = 300;                  // Of a connector's text that is shown.
    Duration grant_timeout = std::chrono::seconds(10);   // For an answer of the controller.
    Duration connect_timeout = std::chrono::seconds(4);  // For one try of one connector.
    Duration answer_timeout = std::chrono::seconds(20);  // For a connector that resolves and dials.
    Duration flow_timeout = std::chrono::seconds(45);    // In all.
    Duration denial_lifetime = std::chrono::seconds(2);
    Duration connector_idle = std::chrono::seconds(60);
    Duration connector_hold_down = std::chrono::seconds(10);  // A failed one is tried last.
    Duration renewal_retry = std::chrono::seconds(2);
  };

  // Self is what signing in made of this node.
  struct Self {
    TenantId tenant;
    SubjectId subject;
    DeviceId device;
  };

  using Input = std::variant<ViewReceived, ControllerUp, ControllerDown, RelayAvailable, RelayLost,
                             GrantAnswered, GrantsRevoked, ConnectorReady, ConnectorLost,
                             FlowRequested, FlowAnswered, FlowEnded>;
  using Output = std::variant<AskGrant, ConnectTo, Reroute, CloseConnector, OpenFlow, AbandonFlow,
                              PresentGrant, FlowReady, FlowRefused, Cut, SnapshotNeeded, Report>;

  // `random` draws flow ids and jitter; it outlives the engine.
  Engine(const Limits& limits, const Self& self, Random& random);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  [[nodiscard]] Status status(const Now& now) const;
  [[nodiscard]] const grant::ResourceTable& view() const { return view_; }

 private:
  Limits limits_;
  Self self_;
  Random& random_;
  grant::ResourceTable view_;
  std::deque<Output> outputs_;
};

}  // namespace zt::client
