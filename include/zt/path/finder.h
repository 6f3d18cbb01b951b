// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/finder.h: finds the best direct path between a client and a connector, and notices its
// death.
//
// Theory of operation
//   One PathFinder stands at each end of one connection. The connection works through a relay from
//   its first packet; a finder looks for something better beside it. A pair is one of our sockets
//   and one remote address. A pair works while pings on it are answered from the address that they
//   went to: that proves both directions at once.
//
//     candidates of both ends ─► pairs ─► pings ─► pongs ─► Upgrade ─► live ─► Downgrade
//
//   The client decides: only a QUIC client may migrate (RFC 9000 section 9). The connector answers
//   pings, and sends some by itself to the client's candidates, because that opens its own NAT or
//   firewall for the client's (RFC 8445 calls it punching). It never says Upgrade.
//
//   A pair's source that is not on the peer's list, but sends a ping under the connection's key, is
//   probed as well: so a NAT that gives each destination another port is crossed if the other end's
//   filter lets it in.
//
//   Candidates are probed in this order: host addresses first, then configured, then observed; in
//   each kind IPv6 before IPv4. Among pairs that work the one with the lowest cost is taken: its
//   round trip, plus 0, 5 or 10 ms by kind, plus 1 ms for IPv4, plus 10 ms for each loss in its
//   last 16 pings. A direct path is better than the relay whatever it costs; Paths says
//   otherwise.
//
//   Upgrade   two pongs in a row, then the client migrates with validation. After a Downgrade the
//             pair must have worked without a miss for `hold_min`, doubled for each direct path
//             that dies within a minute of its use, up to `hold_max`. A change of network forgets
//             that.
//   Switch    from one direct pair to another, if it is cheaper by 5 ms and by a quarter, has three
//             pongs in a row, and the last change is `switch_interval_min` ago.
//   Downgrade at once, to the relay, without validation, when the live pair is dead. It is pinged
//             once a round trip, between 50 and 500 ms, while flows are active; any packet from it
//             counts as a sign of life. The first miss is followed by pings 10 ms apart; three
//             misses with nothing heard since are death. A pair that we hear, but that has not
//             answered for a second, is dead too (one way). A ping is a miss when it is not
//             answered within round trip + 4 × its variation + 10 ms, within 20 ms to 1 s. On an
//             even path the death is thus known one interval, two round trips and 50 ms after the
//             last sign of life. A late timer alone kills nothing, since three pings must have had
//             their time. Eight losses in sixteen are worse than the relay: `lossy`.
//   Round     every candidate is probed again, and the peer is told our list anew, which makes it
//             punch again: when a direct path has died, and while flows stay on the relay after
//             30 s, then twice that, and so on to 10 minutes.
//   Network   LocalChanged: all pairs are probed at once, the live one too, the peer is told our
//             new candidates and does the same.
//
// Shape: base/engine.h. Probes come in authentic (wire::open_probe with the connection's key) and
//   go out as values to be sealed: no key is here.
//
// Limits, and what is sent at most. A probe is 67 bytes.
//   - Remote candidates: wire::kCandidatesMax. Sockets: `sockets_max`. Learnt addresses:
//     `learnt_max`, and 8 + 1 in 30 s: two NATs that give each destination another port would go on
//     for ever. What exceeds is not probed.
//   - Toward an address that has not answered: `tries_max` pings for each pair and round, 100 ms
//     apart and then doubling; at most 10 + 2 a second for an IPv4 address or an IPv6 /64, all
//     ports together; at most 40 + 10 a second for all of them together. A new list refills
//     nothing.
//   - Toward an address that has answered: at most 100 a second, whatever the peer sends.
//   - Toward an address that nobody named, but pings came from: three probes for each ping,
//     the pong included, until it answers (RFC 9000 section 8.1 has the same factor). At most 30
//     saved up.
//   - Pongs: one for each ping that was not seen before, at most 100 + 50 a second.
// Time: deadlines are checked on every call.
// Threats
//   - A stranger has no key: nothing of him arrives here. Reflection of our own pings: `sender`.
//   - A peer that answers in a victim's name: it cannot guess the nonce of a ping that it did not
//     get.
//   - Replay: a ping counts once (a window of 256 transactions); a pong only while its ping waits,
//     and only from where that went.
//   - A peer that names a victim: the numbers above hold for each connection, however many lists it
//     sends: in the long run 10 probes a second, about 1.2 kB with all headers. Addresses that are
//     loopback, link-local, multicast, reserved or a cloud's metadata, and IPv6 disguises of IPv4,
//     are neither probed nor answered.
//   - Private addresses of the peer's network may be somebody else's in ours: he gets the same few
//     probes, and cannot answer them.
//   - A peer that lies about `observed`: it is shown to people, and nothing depends on it.
//   - On the path, an attacker may pass a ping on from another source before the original arrives.
//     He can so make us probe that source (bounded as above) and, if he also carries the answers,
//     become a path: QUIC validates it, and he gets sealed packets that he could see anyway.
//   - `always_relay` tells the peer no address and answers no ping: addresses stay private.

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "zt/base/engine.h"
#include "zt/base/ip.h"
#include "zt/base/path_rule.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/allowance.h"
#include "zt/wire/candidates.h"
#include "zt/wire/probe.h"

namespace zt::path {

enum class SocketId : std::uint32_t {};    // Chosen by the owner; a socket that is opened anew is
                                           // another one.
enum class PairNumber : std::uint32_t {};  // Not used twice within 2^32; 0 is none.

// LocalSocket is a socket that may be sent from.
struct LocalSocket {
  SocketId id{};
  bool is_v4 = false;  // Reaches IPv4 addresses.
  bool is_v6 = false;

  friend bool operator==(const LocalSocket&, const LocalSocket&) = default;
};

// --- Inputs.

// LocalChanged says everything about this end; also the first input. Send it when addresses,
// interfaces or sockets have changed, and when a relay or the controller observed another address.
struct LocalChanged {
  std::vector<LocalSocket> sockets;
  std::vector<wire::Candidate> candidates;  // The first kCandidatesMax are told to the peer.
};
struct RemoteChanged {  // The peer's list came in-band. An older generation is ignored.
  wire::CandidateList list;
};
struct ProbeReceived {  // Authentic: wire::open_probe gave it with this connection's key.
  SocketId socket{};
  SocketAddress source;
  wire::Probe probe;
};
// PathInUse says where QUIC is: the answer to Upgrade and Switch, or its own doing. None is a
// relay.
struct PathInUse {
  std::optional<PairNumber> pair;
};
struct MigrationFailed {  // The other answer to Upgrade and Switch: QUIC is where it was.
  PairNumber pair{};
};
struct FlowsActive {
  bool is_active = false;
};
struct PolicyChanged {
  Paths policy = Paths::any;
};

// --- Outputs.

struct SendProbe {  // Seal it and send it.
  SocketId socket{};
  SocketAddress target;
  wire::Probe probe;

  friend bool operator==(const SendProbe&, const SendProbe&) = default;
};
struct TellPeer {  // Send it in-band.
  wire::CandidateList list;
};
struct Pair {
  PairNumber number{};
  SocketId socket{};
  SocketAddress remote;

  friend bool operator==(const Pair&, const Pair&) = default;
};
struct Upgrade {  // Migrate from the relay to `pair`, validating; then PathInUse or
                  // MigrationFailed.
  Pair pair;
};
struct Switch {  // The same, from another direct pair.
  Pair pair;
};
enum class DowngradeReason : std::uint8_t {
  dead,          // Three pings in a row without an answer, and nothing heard.
  dead_one_way,  // We hear the peer, and it does not hear us.
  lossy,         // Half of the pings are lost.
  socket_gone,   // Our socket is closed.
  policy,        // always_relay.
};
[[nodiscard]] std::string_view to_text(DowngradeReason reason);
// Downgrade: migrate to the relay at once, without validation. No answer is waited for. Under
// never_relay it says that no permitted path is left: hold the flows until Upgrade.
struct Downgrade {
  DowngradeReason reason{};
  bool may_use_relay = true;
};

// --- Status, for people.

struct PairStatus {
  Pair pair;
  wire::CandidateKind kind{};  // Of the remote address.
  bool is_learnt = false;      // Nobody named it; a ping came from there.
  bool is_working = false;     // Answers at the moment.
  bool is_live = false;
  std::optional<Duration> rtt;  // Smoothed; none before the first pong.
  unsigned losses = 0;          // Of the last 16 pings.
  SocketAddress observed;       // Our address as the peer saw it; port 0 if it has not said.
  std::uint64_t pings = 0;      // Sent.
};

class PathFinder {
 public:
  struct Limits {
    std::size_t sockets_max = 4;
    std::size_t learnt_max = 8;
    unsigned tries_max = 8;
    Allowance::Rate learnt{.burst = 8, .period = std::chrono::seconds(30)};
    Allowance::Rate unanswered_address{.burst = 10, .period = std::chrono::milliseconds(500)};
    Allowance::Rate unanswered_all{.burst = 40, .period = std::chrono::milliseconds(100)};
    Allowance::Rate pongs{.burst = 100, .period = std::chrono::milliseconds(20)};
    std::size_t addresses_max = 32;  // Whose allowance is remembered; more are not probed.
    Duration hold_min = std::chrono::seconds(1);
    Duration hold_max = std::chrono::seconds(64);
    Duration switch_interval_min = std::chrono::seconds(5);
    Duration migration_timeout = std::chrono::seconds(5);  // For PathInUse or MigrationFailed.
    Duration round_min = std::chrono::seconds(30);
    Duration round_max = std::chrono::minutes(10);
  };

  using Input = std::variant<LocalChanged, RemoteChanged, ProbeReceived, PathInUse, MigrationFailed,
                             FlowsActive, PolicyChanged>;
  using Output = std::variant<SendProbe, TellPeer, Upgrade, Switch, Downgrade>;

  // `random` draws nonces; it outlives the finder. `label` is of the connection's TLS exporter.
  PathFinder(const Limits& limits, wire::ProbeSender role, const wire::ProbeLabel& label,
             Paths policy, Random& random, const Now& now);
  PathFinder(const PathFinder&) = delete;
  PathFinder& operator=(const PathFinder&) = delete;
  ~PathFinder() = default;

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // note_heard says that QUIC opened a packet of the live pair at `at`: a sign of life. It only
  // stores the time: call it for every batch, without draining.
  void note_heard(Instant at) { heard_ = std::max(heard_, at); }

  [[nodiscard]] std::optional<PairNumber> live() const { return live_; }
  [[nodiscard]] std::optional<Pair> find(PairNumber number) const;
  // status lists the pairs in the order of their numbers.
  [[nodiscard]] std::vector<PairStatus> status(const Now& now) const;

 private:
  // Ping is one that has not been answered.
  struct Ping {
    std::uint64_t transaction = 0;
    wire::ProbeNonce nonce;
    Instant sent;
  };

  struct State {
    Pair pair;
    wire::CandidateKind kind{};
    bool is_learnt = false;
    bool is_proven = false;  // Has answered, and not missed three since.
    bool is_heard = false;   // Connector: a ping came from there, so the way is open.
    unsigned tries = 0;      // Pings since it was unproven or named anew.
    unsigned credit = 0;     // Probes that may go to a learnt address before it answers.
    unsigned pongs_in_row = 0;
    std::optional<Instant> next_ping;
    Instant good_since;        // While pongs_in_row > 0.
    std::deque<Ping> waiting;  // The oldest first; at most kWaitingMax.
    Instant last_sent;
    std::optional<Duration> rtt;
    Duration rtt_variation{};
    std::uint16_t losses = 0;  // One bit for each of the last 16 pings; 1 is lost.
    Instant barred_until;      // After a failed migration.
    Duration bar{};
    SocketAddress observed;
    std::uint64_t pings = 0;
  };

  struct Migration {
    PairNumber target{};
    Instant deadline;
  };

  // ReplayWindow takes each number once, as long as it is among the last 256.
  class ReplayWindow {
   public:
    [[nodiscard]] bool take(std::uint64_t transaction);

   private:
    std::uint64_t highest_ = 0;
    std::bitset<256> seen_;  // Bit i is highest_ - i.
  };

  void apply(const LocalChanged& input, Instant now);
  void apply(const RemoteChanged& input, Instant now);
  void apply(const ProbeReceived& input, Instant now);
  void apply(const PathInUse& input, Instant now);
  void apply(const MigrationFailed& input, Instant now);
  void apply(const FlowsActive& input, Instant now);
  void apply(const PolicyChanged& input, Instant now);

  void receive_ping(const ProbeReceived& input, Instant now);
  void receive_pong(const ProbeReceived& input, Instant now);
  static void count_result(State& state, bool is_lost);
  static void forget_missed(State& state, std::size_t older_count, Instant now);
  void tell_peer();

  void rebuild_pairs(Instant now);
  State& add_pair(SocketId socket, const SocketAddress& remote);
  [[nodiscard]] bool may_probe(const SocketAddress& remote) const;
  [[nodiscard]] State* learn(const ProbeReceived& input);
  void restart(State& state, Instant at) const;
  void restart_all(Instant now);
  void begin_round(Instant now);
  void reschedule_all(Instant now);

  void advance(Instant now);
  void count_misses(State& state, Instant now);
  void mark_dead(State& state, Instant now) const;
  void send_due_pings(Instant now);
  void send_ping(State& state, Instant now);
  [[nodiscard]] std::optional<Instant> permitted_at(const State& state, Instant now);
  void take_permission(State& state, Instant now);
  [[nodiscard]] Allowance* allowance_of(const IpAddress& address, Instant now);
  void schedule_next(State& state) const;
  [[nodiscard]] std::optional<Duration> interval_of(const State& state) const;
  [[nodiscard]] std::optional<Instant> due_at(const State& state) const;
  [[nodiscard]] static Duration patience_of(const State& state);
  [[nodiscard]] static std::size_t missed_count(const State& state, Instant now);
  [[nodiscard]] std::size_t silent_count(const State& state) const;

  void decide(Instant now);
  [[nodiscard]] std::optional<DowngradeReason> reason_to_leave(const State& state,
                                                               Instant now) const;
  void downgrade(DowngradeReason reason, Instant now);
  [[nodiscard]] State* best(Instant now);
  [[nodiscard]] static Duration cost_of(const State& state);
  [[nodiscard]] bool is_eligible(const State& state, Instant now) const;
  void migrate_to(State& target, Instant now);
  void fail_migration(Instant now);

  [[nodiscard]] bool has_socket(SocketId socket) const;
  [[nodiscard]] bool is_client() const { return role_ == wire::ProbeSender::client; }
  [[nodiscard]] bool is_live(const State& state) const { return live_ == state.pair.number; }
  [[nodiscard]] bool is_in_use(const State& state) const;
  [[nodiscard]] State* state_of(PairNumber number);
  [[nodiscard]] const State* state_of(PairNumber number) const;
  [[nodiscard]] State* state_of(SocketId socket, const SocketAddress& remote);

  Limits limits_;
  wire::ProbeSender role_;
  wire::ProbeLabel label_;
  Paths policy_;
  Random& random_;

  std::vector<LocalSocket> sockets_;
  std::vector<wire::Candidate> local_;
  wire::CandidateList remote_;
  std::uint64_t generation_ = 0;  // Of our list.

  std::vector<State> pairs_;  // By number.
  std::uint32_t number_last_ = 0;
  std::uint64_t transaction_last_ = 0;
  ReplayWindow window_;
  Allowance unanswered_all_;
  Allowance pongs_;
  Allowance learnt_;
  std::map<IpAddress, Allowance> unanswered_;  // IPv6 by /64.

  bool is_active_ = false;
  std::optional<PairNumber> live_;
  std::optional<Migration> migration_;
  Instant heard_;     // From the live pair.
  Instant changed_;   // The path in use.
  Duration hold_{};   // How long a pair must have worked before Upgrade.
  Instant round_at_;  // The next round, while flows are on the relay.
  Duration round_interval_{};
  Instant now_;  // Of the last call.
  std::deque<Output> outputs_;
};

}  // namespace zt::path
