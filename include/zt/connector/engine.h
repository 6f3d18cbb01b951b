// SPDX-License-Identifier: Apache-2.0
#pragma once
// connector/engine.h: decides about every flow into the private network, without a socket.
//
// Theory of operation
//   A flow is dialled while two keys turn at once: a valid grant of the client, and a resource of
//   the connector's own signed configuration; and only to an address that the rules of addresses.h
//   pass. The flow lives as long as all three stay true. That is judged in one place (judge in
//   engine.cc): when the flow is asked for, when its name is resolved, and again for every flow
//   whenever the configuration, the connector's addresses or the revocations change.
//
//   A flow goes through these states:
//
//     FlowRequested ─► resolving ─► dialling ─► open ◄──Release──► held ─► cut ─► gone
//                        Resolve      Dial      Accept    Hold             Cut
//
//   An address as target skips `resolving`. A target that is an alias of a resource with one
//   address goes to that address: the alias need not exist in the private network's DNS. Until a
//   flow is open, it ends by Refuse. Once it is open, it ends by FlowEnded: the shell says so by
//   itself, or in answer to Cut. So each FlowKey that goes in ends by exactly one Refuse or one
//   FlowEnded, and a report is made of each end.
//
//   A grant ends at its `exp` by the wall clock, or when as much monotonic time has passed as was
//   left of it when it was presented, whichever is first: setting the clock back gains nothing.
//   What a connection shows again ends when it was found to end at first. A
//   later grant of the same subject, device and resource that covers the flow's target extends it
//   (GrantPresented, or a FlowRequested with the newer grant).
//
//   An open TCP flow whose grant has ended is held: not a byte passes, in either direction, until a
//   grant that would extend it is presented (Release), or `hold_timeout` is over (Cut). So a client
//   that slept, or whose controller was away, finds its flows as they were. What is held is judged
//   like any other flow: revocation, keys, configuration, addresses and paths cut it at once. A
//   clock that is set back releases nothing.
//
//   The id of a flow is drawn here. The client learns it with the answer, so that both ends report
//   one id; an id of the client's choice could make the log take a new flow for one that it has
//   seen.
//
// Limits: Limits; the answer is 503 connection_limit_reached, or ClosePeer. The list of revoked
//   grants is bounded: when it is full, every grant issued until that moment is refused. Of more
//   held flows than held_max, the one that has been held longest is cut.
// Time: deadlines (grant, resolution, dial, hold, a peer's first valid grant) are checked on every
//   call.
//   While flows live, the clocks are compared every ten seconds, so that a wall clock that jumped
//   ahead ends what it has to.
// Cost: a flow is one signature check and about a kilobyte; a peer without a grant about 300 bytes.
// Threats: stolen, forged, expired, foreign grants: grant::verify. A controller that grants too
//   much: the own configuration. Names that resolve to the connector itself or to metadata
//   services, rebinding between check and dial: the vetted addresses are what is dialled. A peer
//   that asks without ever showing a valid grant is closed, and fills neither memory nor log.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
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
#include "zt/connector/addresses.h"
#include "zt/grant/grant.h"
#include "zt/grant/jwk.h"
#include "zt/grant/node_config.h"
#include "zt/policy/resource.h"
#include "zt/wire/proxy_status.h"

namespace zt::connector {

// Keys are chosen by the shell and never used twice by one engine.
enum class PeerKey : std::uint64_t {};     // A QUIC connection of a client.
enum class FlowKey : std::uint64_t {};     // A request for a flow, and the flow.
enum class RenewalKey : std::uint64_t {};  // A request that presents a grant.

// --- Inputs.

struct ConfigurationReceived {  // Verified: signature, tenant and node.
  grant::NodeConfig configuration;
};
struct KeysReceived {  // The tenant's keys. They replace the former ones.
  grant::KeySet keys;
};
struct GrantsRevoked {
  std::vector<GrantId> grants;
  std::string reason;
};
struct OwnAddressesChanged {  // All addresses of this machine, also those seen from outside.
  std::vector<IpAddress> addresses;
};
struct PeerConnected {
  PeerKey peer{};
  Digest certificate;  // The leaf that the peer proved possession of.
};
struct PeerGone {  // Its requests are dead: nothing more is sent about them but Cut.
  PeerKey peer{};
};
struct PeerMoved {  // Its packets come by another path from now on.
  PeerKey peer{};
  std::optional<RelayId> relay;  // Absent: directly.
};
struct FlowRequested {
  FlowKey flow{};
  PeerKey peer{};
  std::string target;  // As it came: "host:port".
  Protocol protocol = Protocol::tcp;
  Secret token;                  // Empty if none came.
  SocketAddress client_address;  // For the report.
  std::string path;              // For the report.
  std::optional<RelayId> relay;  // Through which it came; absent: directly.
};
struct GrantPresented {
  RenewalKey renewal{};
  PeerKey peer{};
  Secret token;
};
enum class ResolveError : std::uint8_t {
  no_such_name,  // NXDOMAIN, or no address of either family.
  failed,        // No answer of use: SERVFAIL, refused, no server reachable.
};
struct Resolved {
  FlowKey flow{};
  std::expected<std::vector<IpAddress>, ResolveError> result;
};
enum class DialError : std::uint8_t {
  refused,      // ECONNREFUSED: something said no.
  unreachable,  // No route, network down, or filtered with an answer.
  timed_out,    // No answer from any address.
  failed,       // Anything else, such as no descriptors left.
};
struct Dialed {
  FlowKey flow{};
  std::expected<SocketAddress, DialError> result;  // One of Dial's addresses.
};
enum class FlowEnd : std::uint8_t {
  finished,         // Both sides said so in order.
  client_reset,     // The client abandoned it.
  resource_reset,   // The resource abandoned it.
  idle,             // UDP: nothing passed for its time.
  peer_gone,        // The client's connection is gone.
  cut,              // In answer to Cut.
  connector_ended,  // The connector's process did, and did not wait for it.
};
struct FlowEnded {
  FlowKey flow{};
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  FlowEnd cause = FlowEnd::finished;
};

// --- Outputs.

struct Resolve {  // Answer with Resolved. Both families.
  FlowKey flow{};
  DnsName name;
};
struct Dial {  // Answer with Dialed. Nothing but these addresses, in this order (RFC 8305).
  FlowKey flow{};
  Protocol protocol = Protocol::tcp;
  std::vector<SocketAddress> addresses;  // At least one.
};
struct Accept {  // Answer 200 and carry the bytes.
  FlowKey flow{};
  FlowId id;
};
struct Refuse {  // Answer, abandon what was asked for, close what it opened. The key is dead.
  FlowKey flow{};
  FlowId id;
  int status = 0;
  wire::ProxyError error{};
  std::string details;  // For the client's user.
};
struct Hold {  // Let no byte of an open flow pass, until Release or Cut. FlowEnded may come first.
  FlowKey flow{};
};
struct Release {  // Let the bytes of a held flow pass again: what has come meanwhile, its end too.
  FlowKey flow{};
};
enum class CutReason : std::uint8_t {
  grant_expired,  // And no other came in time.
  grant_revoked,
  key_withdrawn,          // The tenant's keys no longer hold the one that signed the grant.
  configuration_changed,  // The resource is gone, or no longer includes the target.
  address_prohibited,     // The dialled address became one of the connector's own.
  path_forbidden,         // The path, or the rule about it, has changed.
  peer_gone,
};
struct Cut {  // Abandon both sides of an open or held flow at once, then answer with FlowEnded.
  FlowKey flow{};
  CutReason reason{};
};
struct GrantRefusal {
  int status = 0;
  wire::ProxyError error{};
  std::string details;

  friend bool operator==(const GrantRefusal&, const GrantRefusal&) = default;
};
struct GrantAnswered {  // 204 without a refusal.
  RenewalKey renewal{};
  std::size_t flows_extended = 0;
  std::optional<GrantRefusal> refusal;
};
struct SnapshotNeeded {  // Ask the controller for a whole configuration.
  std::uint64_t held_revision = 0;
};
enum class CloseReason : std::uint8_t {
  no_grant,        // No valid grant within `first_grant_timeout`.
  refusals,        // Too many refusals without one valid grant.
  too_many_peers,  // `peers_max`.
};
struct ClosePeer {  // Close the connection, then say PeerGone.
  PeerKey peer{};
  CloseReason reason{};
};
struct Report {
  FlowReport report;
};

[[nodiscard]] std::string_view to_text(FlowEnd end);
[[nodiscard]] std::string_view to_text(CutReason reason);
[[nodiscard]] std::string_view to_text(CloseReason reason);

class Engine {
 public:
  struct Limits {
    std::size_t peers_max = 4096;
    std::size_t flows_max = 16384;
    std::size_t flows_per_peer_max = 2048;
    std::size_t pending_max = 1024;  // Flows that resolve or dial.
    std::size_t revoked_max = 65536;
    std::size_t dial_addresses_max = 8;
    std::size_t refusals_before_grant_max = 8;  // Of one peer.
    std::size_t known_grants_max = 8;           // Of one peer: some 2 KB each.
    std::size_t stranger_reports_max = 60;      // A minute, of peers without a valid grant.
    std::size_t held_max = 4096;                // Of flows_max.
    Duration resolve_timeout = std::chrono::seconds(5);
    Duration dial_timeout = std::chrono::seconds(10);
    Duration first_grant_timeout = std::chrono::seconds(10);
    // An hour of sleep, and time to wake up in; zero: a flow is cut when its grant ends.
    Duration hold_timeout = std::chrono::minutes(75);
  };

  // Self is what enrolment made of this node.
  struct Self {
    TenantId tenant;
    NetworkId network;
    ConnectorId connector;
  };

  using Input = std::variant<ConfigurationReceived, KeysReceived, GrantsRevoked,
                             OwnAddressesChanged, PeerConnected, PeerGone, PeerMoved, FlowRequested,
                             GrantPresented, Resolved, Dialed, FlowEnded>;
  using Output = std::variant<Resolve, Dial, Accept, Refuse, Hold, Release, Cut, GrantAnswered,
                              SnapshotNeeded, ClosePeer, Report>;

  // `random` draws flow ids; it outlives the engine.
  Engine(const Limits& limits, Self self, Random& random);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() = default;

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // --- For status and tests.

  struct Statistics {
    std::size_t peers = 0;
    std::size_t flows_pending = 0;
    std::size_t flows_open = 0;
    std::size_t flows_held = 0;
    std::size_t flows_cut = 0;  // Cut, and not yet said to have ended.
    std::size_t grants_revoked = 0;
    std::uint64_t flows_opened = 0;  // Since the start, like those below.
    std::uint64_t flows_refused = 0;
    std::uint64_t reports_suppressed = 0;  // Refusals of strangers above `stranger_reports_max`.

    friend bool operator==(const Statistics&, const Statistics&) = default;
  };
  [[nodiscard]] Statistics statistics() const;
  // has_shown_grant tells whether a peer has presented a valid grant.
  [[nodiscard]] bool has_shown_grant(PeerKey peer) const;
  // may_tell_addresses tells whether a peer may look for a direct path: it has presented a valid
  // grant, and none for a resource whose rule is always-relay.
  [[nodiscard]] bool may_tell_addresses(PeerKey peer) const;
  [[nodiscard]] std::uint64_t configuration_revision() const { return resources_.revision; }
  [[nodiscard]] const grant::ResourceTable& resources() const { return resources_; }

 private:
  enum class State : std::uint8_t { resolving, dialling, open, held, cut };

  // Lease is how long a grant carries a flow: while both clocks are below their bounds.
  struct Lease {
    UnixTime wall;
    Instant monotonic;

    [[nodiscard]] bool is_live(const Now& now) const {
      return now.unix_time < wall && now.instant < monotonic;
    }
  };

  // Permit is a grant that was verified for a peer, as far as its flows need it.
  struct Permit {
    GrantId id;
    Digest key;  // That signed it.
    DecisionId decision;
    SubjectId subject;
    DeviceId device;
    ResourceId resource;
    Lease lease;
  };

  // VerifiedGrant is a grant that holds for the peer that presented it, now.
  struct VerifiedGrant {
    grant::Grant grant;
    Permit permit;
  };

  // KnownGrant is a token whose signature and form were verified by the keys of now, so that the
  // next flow under it need not pay for that again. All else is judged anew each time.
  struct KnownGrant {
    Secret token;
    Digest key;  // That signed it.
    grant::Grant grant;
    Instant ends;  // By the clocks of when it came first.
  };

  struct Peer {
    Digest certificate;
    Instant grant_deadline;
    bool has_shown_grant = false;  // A valid one, at least once.
    bool is_relay_only = false;    // One was for a resource that is always relayed.
    bool is_closing = false;
    std::size_t refusal_count = 0;  // Before the first grant.
    std::set<FlowKey> flows;
    GrantId extended_by;                   // The grant that was last applied to all flows.
    std::vector<KnownGrant> known_grants;  // The newest last; known_grants_max of them.
  };

  // Destination is where a flow really goes.
  struct Destination {
    Host host;                       // To resolve, or to dial.
    std::optional<IpAddress> named;  // The address, if the resource names it literally.

    friend bool operator==(const Destination&, const Destination&) = default;
  };

  struct Flow {
    FlowId id;
    PeerKey peer{};
    State state = State::resolving;
    std::string target_text;  // For the report; empty until it was understood.
    Authority target;
    Protocol protocol = Protocol::tcp;
    Permit permit;
    Destination destination;
    SocketAddress client_address;
    std::string path;
    std::optional<RelayId> relay;          // That it goes through.
    Instant step_deadline;                 // While it resolves or dials.
    std::vector<SocketAddress> vetted;     // What may be dialled.
    std::optional<SocketAddress> dialled;  // Once open.
    Instant opened;
    Instant held_since;               // While held.
    std::string end_reason;           // Once cut.
    std::optional<Instant> deadline;  // As it stands in deadlines_.
    std::optional<UnixTime> expiry;   // As it stands in expiries_.
  };

  // Refusal is an answer that is not yet tied to a request.
  struct Refusal {
    int status = 0;
    wire::ProxyError error{};
    std::string details;
    FlowEvent event = FlowEvent::denied;
  };

  struct Revocation {
    Instant instant;  // It may be forgotten when both clocks have passed.
    UnixTime unix_time;
  };

  void on(ConfigurationReceived& input, const Now& now);
  void on(KeysReceived& input, const Now& now);
  void on(GrantsRevoked& input, const Now& now);
  void on(OwnAddressesChanged& input, const Now& now);
  void on(PeerConnected& input, const Now& now);
  void on(PeerGone& input, const Now& now);
  void on(PeerMoved& input, const Now& now);
  void on(FlowRequested& input, const Now& now);
  void on(GrantPresented& input, const Now& now);
  void on(Resolved& input, const Now& now);
  void on(Dialed& input, const Now& now);
  void on(FlowEnded& input, const Now& now);

  // admit fills `flow` step by step until something refuses it; what is filled is reported.
  [[nodiscard]] std::optional<Refusal> admit(const FlowRequested& input, Peer& peer, Flow& flow,
                                             const Now& now);
  [[nodiscard]] std::expected<VerifiedGrant, Refusal> verify(const Secret& token, Peer& peer,
                                                             const Now& now) const;
  [[nodiscard]] std::expected<const KnownGrant*, grant::GrantError> know(
      const Secret& token, Peer& peer, const grant::GrantExpectations& expected,
      const Now& now) const;
  [[nodiscard]] bool is_revoked(const grant::Grant& grant) const;
  [[nodiscard]] std::expected<Destination, Refusal> judge(const ResourceId& resource,
                                                          const Authority& target,
                                                          Protocol protocol) const;
  [[nodiscard]] std::expected<std::vector<SocketAddress>, Refusal> vet(
      const Flow& flow, const std::vector<IpAddress>& addresses) const;
  [[nodiscard]] std::optional<Refusal> find_no_room(const Peer& peer) const;

  [[nodiscard]] const PathRule& path_rule_of(const ResourceId& resource) const;
  void note_grant(PeerKey key, Peer& peer, const Permit& permit);
  void begin(FlowKey key, Flow flow, const Now& now);
  void dial(FlowKey key, Flow& flow, const std::vector<IpAddress>& addresses, const Now& now);
  std::size_t extend(Peer& peer, const VerifiedGrant& verified);
  void judge_again(const Now& now);
  [[nodiscard]] std::optional<CutReason> reason_to_end(const Flow& flow) const;

  void refuse(FlowKey key, const Flow& flow, const Refusal& refusal, bool is_stranger,
              const Now& now);
  void count_refusal(PeerKey key, Peer& peer);
  void close_peer(PeerKey key, Peer& peer, CloseReason reason);
  void end(FlowKey key, CutReason reason, std::string_view text, const Now& now);
  void lapse(FlowKey key, const Now& now);
  void unhold(FlowKey key, const Flow& flow);
  void forget(FlowKey key);
  void revoke(const GrantId& grant, const Now& now);
  void expire(const Now& now);
  void schedule(FlowKey key, Flow& flow);
  void report(const Flow& flow, FlowEvent event, std::string_view reason, const Now& now);
  [[nodiscard]] FlowReport make_report(const Flow& flow, FlowEvent event, std::string_view reason,
                                       const Now& now) const;

  Limits limits_;
  Self self_;
  Random& random_;
  grant::KeySet keys_;
  grant::ResourceTable resources_;
  std::vector<policy::Resource> own_resources_;  // What policy makes of resources_.
  OwnAddresses own_addresses_;

  std::map<PeerKey, Peer> peers_;
  std::map<FlowKey, Flow> flows_;
  std::size_t pending_count_ = 0;
  std::size_t cut_count_ = 0;
  std::set<std::pair<Instant, FlowKey>> held_;  // By the time since when.
  std::set<std::pair<Instant, FlowKey>> deadlines_;
  std::set<std::pair<UnixTime, FlowKey>> expiries_;
  std::set<std::pair<Instant, PeerKey>> peer_deadlines_;
  Instant clocks_compared_;

  std::map<GrantId, Revocation> revoked_;
  std::deque<std::pair<GrantId, Revocation>> revoked_in_order_;
  std::optional<UnixTime> refused_until_issued_;  // Once the list was full.

  Instant stranger_window_;
  std::size_t stranger_reports_ = 0;
  Statistics totals_;
  std::deque<Output> outputs_;
};

}  // namespace zt::connector
