// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/connection.h: one QUIC connection: an ngtcp2_conn, its TLS session, its paths and its HTTP/3
// session.
//
// Theory of operation
//   The endpoint hands in packets and the time, and asks for batches to send. Whatever ends the
//   connection is written down in an Ending, with the packet that tells the peer, if one can be
//   made; from then on the connection does nothing. The endpoint looks for an Ending after each
//   call, keeps what is in it, and destroys the connection: a closed connection holds no buffers.
//
//   Batches. ngtcp2 is asked for one packet at a time. A batch ends before the packet that is
//   larger, has another ECN mark or goes another path; that packet is held and opens the next
//   batch. (ngtcp2's own aggregation mixes paths in one batch if the path's payload size is 1200,
//   the size of its path probes.) A packet that is larger than the path is known to carry (a probe
//   for a larger size) travels alone, so that a kernel that refuses it refuses nothing else.
//
//   A path that begins to swallow large packets is noticed, and gets small ones: black_hole.h.
//
// Limits   One held packet. Everything else is limited by Http3 and by ngtcp2's flow control.
// Stream
//          windows stay at 8 MiB or below: above 8000 lost frames that wait to be sent again on one
//          stream ngtcp2 1.24.0 gives up the connection, and a change of path can lose a whole
//          window.

#include <ngtcp2/ngtcp2.h>
#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quic/black_hole.h"
#include "quic/context.h"
#include "quic/http3.h"
#include "quic/path_size.h"
#include "quic/paths.h"
#include "quic/tls.h"

namespace zt::quic {

struct NativeConnectionDeleter {
  void operator()(ngtcp2_conn* connection) const noexcept { ngtcp2_conn_del(connection); }
};
using NativeConnection = std::unique_ptr<ngtcp2_conn, NativeConnectionDeleter>;

// Ending is what remains of a connection.
struct Ending {
  CloseReason reason = CloseReason::local;
  std::uint64_t code = 0;
  std::string text;
  Bytes packet;          // CONNECTION_CLOSE; empty if the peer is not told.
  SocketAddress remote;  // Where it goes.
  Duration period{};     // Three probe timeouts: for so long the peer may still send.
};

// AcceptRequest is a client's first Initial that passed the endpoint's gate.
struct AcceptRequest {
  SocketAddress remote;
  ConnectionId client_id;       // The client's source connection ID.
  ConnectionId destination_id;  // That of this Initial: chosen by the client, or in our Retry.
  ConnectionId original_id;     // The client's first one, which differs after a Retry.
  std::span<const std::uint8_t> token;  // Empty unless a Retry was answered.
};

// ReceivedPacket is one datagram for one connection.
struct ReceivedPacket {
  SocketAddress remote;
  ConnectionId destination_id;
  bool is_long_header = false;
  std::uint8_t ecn = 0;
  BytesView bytes;
};

class Connection {
 public:
  static constexpr std::size_t kSegmentsMax = 64;       // UDP_MAX_SEGMENTS of the kernel.
  static constexpr std::size_t kBatchSizeMax = 65'000;  // Below 65,507 with room to spare.

  // Opening side.
  Connection(Context& context, ConnectionKey key, const Endpoint::ConnectOptions& options,
             Instant now);
  // Accepting side.
  Connection(Context& context, ConnectionKey key, const AcceptRequest& request, Instant now);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  [[nodiscard]] ConnectionKey key() const { return key_; }
  [[nodiscard]] bool is_accepted() const { return is_accepted_; }
  // is_ready tells whether the user has been told ConnectionReady.
  [[nodiscard]] bool is_ready() const { return is_ready_; }
  [[nodiscard]] std::optional<Ending>& ending() { return ending_; }
  // take_ids returns the connection IDs that are registered for this connection; the caller now
  // unregisters them.
  [[nodiscard]] std::vector<ConnectionId> take_ids() { return std::exchange(ids_, {}); }

  void read(const ReceivedPacket& packet, Instant now);
  // read_reset takes a packet that ends in one of the peer's stateless reset tokens.
  void read_reset(const SocketAddress& remote, BytesView packet, Instant now);
  void handle_timeout(Instant now);
  // write is Endpoint::poll_transmit for this connection.
  [[nodiscard]] std::optional<Transmit> write(std::span<std::byte> buffer, Instant now);
  // deadline is when handle_timeout() or write() has something to do. While nothing waits to be
  // paced it is kTimerGranularity later than the library says.
  [[nodiscard]] std::optional<Instant> deadline() const;
  void close(std::uint64_t code, std::string_view reason, Instant now);

  [[nodiscard]] std::expected<void, MigrateError> migrate(const SocketAddress& remote,
                                                          bool is_immediate, Instant now);
  [[nodiscard]] std::expected<void, MigrateError> rebind(Instant now);
  void ping_every(std::optional<Duration> interval);
  [[nodiscard]] std::optional<Digest> export_key(std::string_view label) const;
  [[nodiscard]] Statistics statistics() const;
  [[nodiscard]] SocketAddress remote() const;

  // http3 returns null before the session exists.
  [[nodiscard]] Http3* http3() { return http3_.get(); }
  [[nodiscard]] const Http3* http3() const { return http3_.get(); }
  // datagram_frame_payload_size_max returns how much one DATAGRAM frame can carry now; 0 if the
  // peer takes none.
  [[nodiscard]] std::size_t datagram_frame_payload_size_max() const;
  // is_path_size_settled tells whether discovery has nothing left that could change it.
  [[nodiscard]] bool is_path_size_settled(Instant now) const;

  // Used by the endpoint only: the connection's places in its heap and queue.
  struct Schedule {
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    Instant deadline;
    std::size_t heap_index = kNone;
    bool is_queued = false;
    bool is_unfinished = true;  // Counted among the unfinished handshakes, if accepted.
  };
  Schedule schedule;

 private:
  friend struct ConnectionCallbacks;

  struct HeldPacket {
    std::vector<std::uint8_t> bytes;
    std::size_t size = 0;  // 0: none.
    PathNumber path{};
    std::uint8_t ecn = 0;
  };
  struct Migration {
    PathNumber path{};
    SocketAddress remote;
  };

  [[nodiscard]] ngtcp2_settings make_settings(Instant now) const;
  [[nodiscard]] ngtcp2_transport_params make_parameters() const;
  void start_tls(const std::string& server_name);
  void register_id(const ConnectionId& id);
  void fail(int error, Instant now);
  // end returns the Ending, for those who know more about it.
  Ending& end(CloseReason reason, const ngtcp2_ccerr* error, Instant now);
  void end_by_peer(Instant now);
  [[nodiscard]] int application_failure(const Http3Result& result);
  void become_ready();
  [[nodiscard]] std::expected<void, MigrateError> take_path(const SocketAddress& remote,
                                                            bool is_immediate, Instant now);
  void take_remote(const SocketAddress& remote);
  void announce_remote(PathNumber path);
  [[nodiscard]] PathNumber current_path() const;
  [[nodiscard]] std::optional<Transmit> write_held(std::span<std::byte> buffer);
  [[nodiscard]] std::optional<Transmit> describe(PathNumber path, std::size_t size,
                                                 std::size_t segment_size, std::uint8_t ecn) const;
  [[nodiscard]] ngtcp2_ssize write_packet(ngtcp2_path& path, ngtcp2_pkt_info& info,
                                          std::span<std::uint8_t> buffer, ngtcp2_tstamp now);
  // Filling says what write_packet() still has for the packet.
  struct Filling {
    bool try_datagrams = false;
    bool have_streams = true;
  };
  [[nodiscard]] std::optional<ngtcp2_ssize> fill_datagram(const Bytes& datagram, ngtcp2_path& path,
                                                          ngtcp2_pkt_info& info,
                                                          std::span<std::uint8_t> buffer,
                                                          ngtcp2_tstamp now);
  [[nodiscard]] std::optional<ngtcp2_ssize> fill_stream(Filling& filling, ngtcp2_path& path,
                                                        ngtcp2_pkt_info& info,
                                                        std::span<std::uint8_t> buffer,
                                                        ngtcp2_tstamp now);
  [[nodiscard]] bool can_write_streams() const;
  // path_payload_size returns the largest UDP payload that the path is believed to carry.
  [[nodiscard]] std::size_t path_payload_size() const;
  void note_sending(Instant now);
  void note_acknowledged();

  // ngtcp2 calls these; they return 0 or NGTCP2_ERR_CALLBACK_FAILURE.
  [[nodiscard]] int start_http3();
  [[nodiscard]] int handshake_completed();
  [[nodiscard]] int receive_stream(std::int64_t stream_id, BytesView bytes, bool is_end);
  [[nodiscard]] int new_connection_id(ngtcp2_cid& cid, ngtcp2_stateless_reset_token& token);
  void remove_connection_id(const ngtcp2_cid& cid);
  void add_reset_token(const ngtcp2_stateless_reset_token& token);
  void remove_reset_token(const ngtcp2_stateless_reset_token& token);
  void path_validated(const ngtcp2_path& path, ngtcp2_path_validation_result result);

  Context& context_;
  ConnectionKey key_;
  bool is_accepted_;
  bool is_kept_alive_ = false;
  bool is_ready_ = false;
  bool is_handshake_confirmed_ = false;
  bool is_reset_by_peer_ = false;  // A stateless reset arrived.
  bool is_datagram_turn_ = true;
  bool is_output_waiting_ = false;  // For pacing or congestion control, when it was last written.
  Instant arrived_last_;            // Along the path in use.
  PathTable paths_;
  SocketAddress remote_announced_;
  SocketAddress remote_;   // Of the current path, should its number be forgotten.
  RouteId peer_route_;     // As the peer's connection IDs began in the handshake.
  ConnectionId first_id_;  // Our source connection ID in the handshake.
  TlsLink link_;
  bssl::UniquePtr<SSL> tls_;
  NativeConnection native_;
  std::unique_ptr<Http3> http3_;
  std::vector<ConnectionId> ids_;           // Registered with the endpoint.
  std::vector<ConnectionId> reset_tokens_;  // Likewise: those of the peer's IDs that are in use.
  std::optional<Migration> migration_;
  std::optional<ApplicationError> application_error_;
  std::optional<Ending> ending_;
  HeldPacket held_;
  BlackHoleDetection black_hole_;
  PathSize path_size_;
  std::size_t payload_size_max_ = std::numeric_limits<std::size_t>::max();  // As it says.
  Duration rtt_minimum_ = Duration::max();  // Before the first sample.
  // Of write_packet(), kept because clearing them for each packet would cost more than filling
  // them.
  Http3::Output output_;
  std::array<ngtcp2_vec, Http3::Output::kPiecesMax> pieces_{};
};

}  // namespace zt::quic
