// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/direct_paths.h: moves connections between client and connector off the relay, and back.
//
// Theory of operation
//   A connection that both ends trust gets a path::PathFinder here. The client opens an extended
//   CONNECT stream of `:protocol` zt-paths on it; both ends tell their candidates there, as
//   capsules (wire/candidates.h). The finders' probes travel on the node's own UDP port, sealed by
//   keys of the connection's TLS exporter, and are told from QUIC by their first byte. What a
//   finder decides becomes a migration of the connection (RFC 9000 section 9): up with validation,
//   down to the relay at once.
//
//     candidates ─┐                        ┌─► endpoint.migrate
//     probes ─────┼─► PathFinder of the ───┼─► probes
//     time ───────┘   connection           └─► candidates
//
//   The connection works through its relay all the time, whatever happens here: with a peer that
//   refuses the stream, ends it, or knows nothing of it, the connection is on the relay for the
//   rest of its life. A connection has one finder and one stream, ever.
//
//   The stream also carries the word of a connector that it will end soon (wire/draining.h).
//
//   A connection whose rule is never-relay (base/path_rule.h) works through its relay only until it
//   is direct. From then on it stays where it is when its path dies, and waits there for another
//   direct one or for its end: nothing that a flow has written goes to the relay.
//
//   The connector answers only peers that have shown a valid grant (accept), so that a stranger
//   with a certificate learns no address.
//
// Limits   connections_max finders; further connections stay on their relay. probes_queued_max
//          probes wait for the socket; more are lost, as probes may be. One list waits for the
//          stream to take it: a newer one replaces it; so it is with the peer's lists that have
//          arrived together.
// Time     Deadlines are checked on every call. Cost: connections are ordered by deadline, so a
//          quiet one costs nothing.
// Threats  Those of path/finder.h, wire/probe.h and wire/candidates.h. A stream that carries
//          anything malformed is reset, and its connection is on the relay. The finder outlives the
//          stream, so that new streams bring neither new allowances nor a new replay window.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "quic/endpoint.h"
#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/http/message.h"
#include "zt/path/finder.h"
#include "zt/wire/capsule.h"
#include "zt/wire/probe.h"

namespace zt::node {

inline constexpr std::string_view kPathsPath = "/.well-known/zt/paths";
// is_paths_request tells whether a request is for accept().
[[nodiscard]] bool is_paths_request(const http::Request& request);

// PathChanged: the connection took another path.
struct PathChanged {
  quic::ConnectionKey connection{};
  std::optional<SocketAddress> direct;  // Absent: the relay.
  std::string_view reason;              // Why a direct path was left; a literal, or empty.
};

struct PeerDraining {  // The connector at the other end will end soon: ask it nothing new.
  quic::ConnectionKey connection{};
};
using PathEvent = std::variant<PathChanged, PeerDraining>;

// transmit_probe writes a probe to the beginning of `buffer`, which must be large enough.
[[nodiscard]] quic::Transmit transmit_probe(std::span<std::byte> buffer,
                                            const SocketAddress& target,
                                            const wire::ProbeBytes& bytes);

class DirectPaths {
 public:
  struct Config {
    wire::ProbeSender role = wire::ProbeSender::client;
    Paths policy = Paths::any;
    path::PathFinder::Limits finder;
    std::size_t connections_max = 4096;
    std::size_t probes_queued_max = 256;
  };

  // `endpoint` and `random` outlive the object.
  DirectPaths(const Config& config, quic::Endpoint& endpoint, Random& random);
  DirectPaths(const DirectPaths&) = delete;
  DirectPaths& operator=(const DirectPaths&) = delete;
  ~DirectPaths();

  // --- What the node says.

  // set_local says where this node may be reached: the UDP port's families, and what the peers are
  // told. Call it again when that changes, also to the same: then the network has changed.
  void set_local(const path::LocalSocket& socket, std::vector<wire::Candidate> candidates,
                 const Now& now);
  // open begins on a connection that we opened; `relay` is where it is now. Again: nothing.
  // `policy` is the connection's; ours, if it is automatic.
  void open(quic::ConnectionKey connection, const SocketAddress& relay, Paths policy,
            const Now& now);
  // accept begins on an accepted connection, and answers the peer's stream. `policy` is likewise.
  void accept(const quic::StreamKey& stream, Paths policy, const Now& now);
  // set_relay says through which relay the connection works from now on, should it not be direct,
  // and moves it there. It returns false for an unknown connection: the caller has to move it.
  bool set_relay(quic::ConnectionKey connection, const SocketAddress& relay, const Now& now);
  // network_changed says that our packets leave from other addresses, before set_local; then
  // relay_rebound, for each relay, that it can be used from there, or again.
  void network_changed(const Now& now);
  void relay_rebound(const SocketAddress& relay, const Now& now);
  // drain tells all peers, and those to come, that this end will end soon. Of a connector only.
  void drain();
  // set_active says whether flows use the connection.
  void set_active(quic::ConnectionKey connection, bool is_active, const Now& now);

  // --- The engine contract.

  // take_probe takes one datagram for which wire::is_probe is true.
  void take_probe(const SocketAddress& source, BytesView datagram, const Now& now);
  // handle takes an event of the endpoint and returns whether nobody else needs it.
  bool handle(const quic::Event& event, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<PathEvent> poll_event();
  // poll_transmit is Endpoint::poll_transmit for probes.
  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // --- Status.

  [[nodiscard]] Paths policy() const { return config_.policy; }
  [[nodiscard]] bool is_direct(quic::ConnectionKey connection) const;
  // finder_count returns how many connections have a finder.
  [[nodiscard]] std::size_t finder_count() const { return entries_.size(); }
  // status is empty for a connection without a finder.
  [[nodiscard]] std::vector<path::PairStatus> status(quic::ConnectionKey connection,
                                                     const Now& now) const;
  struct Counters {
    std::uint64_t probes_sent = 0;
    std::uint64_t probes_received = 0;   // That could be opened.
    std::uint64_t probes_discarded = 0;  // Malformed, forged, or of no connection.
    std::uint64_t probes_dropped = 0;    // Ours, for a full queue.
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Entry;
  struct WaitingProbe {
    SocketAddress target;
    wire::ProbeBytes bytes{};
  };

  Entry* find(quic::ConnectionKey connection);
  Entry* find(const quic::StreamKey& stream);
  Entry* add(const quic::StreamKey& stream, const SocketAddress& relay, Paths policy,
             const Now& now);
  void remove(quic::ConnectionKey connection);
  void abandon(Entry& entry, const Now& now);
  void drain(Entry& entry, const Now& now);
  void take_output(Entry& entry, const path::PathFinder::Output& output, const Now& now);
  void send_probe(const Entry& entry, const path::SendProbe& send);
  void write(Entry& entry);
  void tell_draining(Entry& entry);
  void read_lists(Entry& entry, const Now& now);
  void migrate(Entry& entry, const path::Pair& pair, const Now& now);
  void fall_back(Entry& entry, const Now& now);
  void moved(Entry& entry, const SocketAddress& remote, const Now& now);
  void take_direct(Entry& entry, const path::Pair& pair, const Now& now);
  void note_change(Entry& entry, const std::optional<SocketAddress>& direct,
                   std::string_view reason);
  void hear(Entry& entry) const;

  Config config_;
  quic::Endpoint& endpoint_;
  Random& random_;
  path::LocalChanged local_;
  std::map<quic::ConnectionKey, std::unique_ptr<Entry>> entries_;
  std::map<wire::ProbeLabel, quic::ConnectionKey> labels_;
  std::set<std::pair<Instant, quic::ConnectionKey>> deadlines_;
  std::deque<WaitingProbe> probes_;
  std::deque<PathEvent> events_;
  bool is_draining_ = false;
  Counters counters_;
};

}  // namespace zt::node
