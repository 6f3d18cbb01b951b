// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/endpoint.h: every QUIC v1 + HTTP/3 connection that shares one UDP port, without a socket.
//
// Theory of operation
//   An Endpoint owns connections in both directions: those it opened and, if configured, those it
//   accepted. Datagrams go in with the address they came from; datagrams come out with the address
//   they go to, as a batch of equal segments ready for UDP_SEGMENT. It follows base/engine.h with
//   two poll functions: poll_event() and poll_transmit(); drain the events first, because carrying
//   them out usually makes more to send.
//
//   Streams are HTTP/3 requests. Bytes are pulled, not pushed: `readable` shows received body bytes
//   in place and `consume` gives their flow-control credit back; `writable` shows free space of the
//   send buffer in place and `commit` sends what was put there. A TCP socket can therefore be read
//   into and written from these views with one copy in each direction, and a slow reader stops the
//   sender.
//
//   Connection IDs are 16 bytes and start with the endpoint's RouteId, so that a relay can route by
//   them. A client's first destination connection ID starts with the peer's RouteId if one is
//   given.
//
//   Paths. A connection is on one remote address at a time. ngtcp2 sees virtual local addresses:
//   the accepting side gives each (remote, destination connection ID) pair a path of its own, so
//   that it follows every migration of its peer (the cures for ngtcp2 1.24.0 are explained in
//   paths.h).
//
// Limits   In Limits; each names the answer that it gives when it is reached.
// Time     `now` never goes backwards. Timers only wake: deadlines are checked on every call.
// Threats  Strangers get no memory to speak of: Retry (RFC 9000 section 8.1.2) once
//          `handshakes_before_retry` handshakes are unfinished, a cap on unfinished handshakes, a
//          deadline for each, at most three times the received bytes before validation, a budget of
//          stateless replies; no events, only counters. Peers are identified by their leaf
//          certificate only. No 0-RTT, no session resumption, no qlog. A Stateless Reset begins
//          with noise, so a relay cannot route it: behind one, a peer that lost its state is
//          noticed when idle.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "crypto/identity.h"
#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/http/message.h"

namespace zt::quic {

enum class ConnectionKey : std::uint64_t {};  // Local, never used twice by one endpoint.

// StreamKey names one HTTP/3 request stream of one connection.
struct StreamKey {
  ConnectionKey connection{};
  std::int64_t id = -1;

  friend auto operator<=>(const StreamKey&, const StreamKey&) = default;
  friend bool operator==(const StreamKey&, const StreamKey&) = default;
};

// PeerPin is what a connecting side demands of its peer's certificate.
struct PeerPin {
  enum class Kind : std::uint8_t {
    certificate,  // SHA-256 of the DER certificate (RFC 8705 x5t#S256).
    public_key,   // SHA-256 of the DER SubjectPublicKeyInfo (RFC 7469 pin).
  };
  Kind kind = Kind::certificate;
  Digest digest;

  friend bool operator==(const PeerPin&, const PeerPin&) = default;
};

// PeerIdentity is the verified leaf certificate of a peer: it proved possession of the key.
struct PeerIdentity {
  Digest certificate;  // SHA-256 of the DER certificate.
  Digest public_key;   // SHA-256 of the DER SubjectPublicKeyInfo.

  friend bool operator==(const PeerIdentity&, const PeerIdentity&) = default;
};

enum class CloseReason : std::uint8_t {
  local,              // We closed it.
  peer,               // The peer closed it with an application or transport code.
  idle,               // Nothing arrived for the idle timeout.
  handshake_timeout,  // The handshake did not end in time.
  handshake_failed,   // TLS refused: wrong pin, no certificate, no common ALPN.
  stateless_reset,    // The peer lost its state (RFC 9000 section 10.3).
  violation,          // The peer broke the protocol, or a limit of the library was reached.
};
[[nodiscard]] std::string_view to_text(CloseReason reason);

struct ConnectionReady {  // The handshake is complete; for an accepted one, also confirmed.
  ConnectionKey connection{};
  bool is_accepted = false;
  SocketAddress remote;
  std::optional<PeerIdentity> peer;  // Always present on the connecting side.
};
// ConnectionClosed is the last event of a connection; its streams are gone without events. It is
// told of connections that were opened here and of accepted ones that were told ready.
struct ConnectionClosed {
  ConnectionKey connection{};
  CloseReason reason{};
  std::uint64_t code = 0;  // Application or transport error code, 0 if none.
  std::string text;        // For people; from the peer: untrusted.
};
struct ConnectionMoved {  // The connection is on another remote address, validated.
  ConnectionKey connection{};
  SocketAddress remote;
};
// MigrationFailed: migrate() did not reach `remote`. After a validating migration the connection is
// where it was; after an immediate one it stays on the dead path until it is migrated again.
struct MigrationFailed {
  ConnectionKey connection{};
  SocketAddress remote;
};
struct RequestReceived {
  StreamKey stream;
  http::Request request;
  bool is_end = false;  // No body follows.
};
struct ResponseReceived {
  StreamKey stream;
  http::Response response;  // Final responses only; 1xx are skipped.
  bool is_end = false;
};
struct StreamReadable {  // readable() has something: bytes or the end. Told once until consumed.
  StreamKey stream;
};
struct StreamWritable {  // writable() had been empty and has space again.
  StreamKey stream;
};
struct StreamReset {  // The peer abandoned its sending side (RESET_STREAM); unread bytes are gone.
  StreamKey stream;
  std::uint64_t code = 0;
};
struct StreamStopped {  // The peer wants no more of our bytes (STOP_SENDING).
  StreamKey stream;
  std::uint64_t code = 0;
};
// StreamClosed: both sides are over and acknowledged, and all that arrived was consumed; the key is
// dead once this event has been polled. Until then the peer may not open another stream in its
// place: whoever gets StreamReset, and will not answer, ends the own side with finish() or reset().
struct StreamClosed {
  StreamKey stream;
};

using Event = std::variant<ConnectionReady, ConnectionClosed, ConnectionMoved, MigrationFailed,
                           RequestReceived, ResponseReceived, StreamReadable, StreamWritable,
                           StreamReset, StreamStopped, StreamClosed>;

// ReceivedDatagrams is what one UDP receive gave: equal segments (the last may be shorter) of one
// remote address (UDP_GRO), all with the same ECN bits.
struct ReceivedDatagrams {
  SocketAddress remote;
  std::span<const std::byte> bytes;
  std::size_t segment_size = 0;  // 1 to bytes.size().
  std::uint8_t ecn = 0;          // Two bits of the IP header (RFC 3168).
};

// Transmit describes datagrams that poll_transmit wrote to the front of its buffer.
struct Transmit {
  SocketAddress remote;
  std::size_t size = 0;          // Bytes in all.
  std::size_t segment_size = 0;  // Of each datagram but the last, which may be shorter.
  std::uint8_t ecn = 0;
  Duration rtt_minimum = Duration::max();  // Of the connection's path, if it was measured.
};

struct Readable {
  std::span<const std::byte>
      bytes;            // The next contiguous body bytes; may be a part of what is held.
  bool is_end = false;  // The peer's side ends right after `bytes`.
};

struct ReceivedDatagram {  // An HTTP Datagram (RFC 9297) of a request stream.
  StreamKey stream;
  std::span<const std::byte> payload;  // Dies with the next call that is not const.
};

enum class StreamError : std::uint8_t {
  gone,     // No such connection or stream, or it is closing: forget it.
  blocked,  // The peer allows no more streams now; try again after an event of this connection.
  limit,    // A limit of ours; try another connection.
};

enum class ConnectError : std::uint8_t {
  limit,  // `connections_max` is reached.
};

enum class MigrateError : std::uint8_t {
  gone,       // No such connection.
  not_ready,  // Handshake not confirmed, or an accepted connection: only the client migrates.
  same_path,  // Already there.
  blocked,    // The peer has to issue more connection IDs first; try again shortly.
};

enum class DatagramResult : std::uint8_t {
  queued,
  dropped,    // The queue is full: the oldest or this one was dropped, as an IP router would.
  too_large,  // Larger than datagram_size_max().
  gone,
};

struct Statistics {
  Duration rtt_smoothed{};
  Duration rtt_minimum{};  // Duration::max() before the path's first sample.
  std::uint64_t congestion_window_size = 0;
  std::uint64_t bytes_in_flight = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_received = 0;  // That could be opened.
  // When a datagram last came along the path in use. It proves that the path is alive if
  // packets_received has grown with it: the source of a datagram alone is anybody's claim.
  Instant arrived_last;
  std::uint64_t datagram_payload_size = 0;  // Current UDP payload size of the path.
};

enum class CongestionControl : std::uint8_t { cubic, reno, bbr };

// Counters count what happened to strangers, about whom there are no events.
struct Counters {
  std::uint64_t handshakes_started = 0;  // Accepted connections that got memory.
  std::uint64_t handshakes_failed = 0;   // Of these: ended before ConnectionReady.
  std::uint64_t handshakes_dropped = 0;  // Initials ignored because of a limit.
  std::uint64_t retries_sent = 0;
  std::uint64_t versions_negotiated = 0;
  std::uint64_t resets_sent = 0;        // Stateless resets.
  std::uint64_t packets_discarded = 0;  // Malformed, or of no connection.
  std::uint64_t datagrams_dropped = 0;  // HTTP Datagrams: queue full, too large, stream unknown.
};

class Endpoint {
 public:
  struct Limits {
    std::size_t connections_max = 4096;
    std::size_t handshakes_max = 256;          // Unfinished accepted ones; more are dropped.
    std::size_t handshakes_before_retry = 32;  // 0 means: always Retry.
    std::size_t streams_per_connection_max = 1024;
    std::size_t stream_receive_size_max = 6 << 20;  // Stream window; at most 8 MiB, see paths.h.
    std::size_t connection_receive_size_max = 24 << 20;
    // Beside that, each stream that is read brings room for its own window, up to so much in all:
    // a reader that stops takes nothing from the others.
    std::size_t connection_reserve_size_max = 144 << 20;
    std::size_t stream_send_size_max = 4 << 20;      // Buffered and unacknowledged, per stream.
    std::size_t stream_unsent_size_max = 128 << 10;  // The part of it that was never sent.
    std::size_t field_section_size_max = 32 << 10;   // Of one received request or response.
    // Of one connection. Those to send wait for the network: more would only wait longer. Those
    // that were received wait for the end of the turn in which they came.
    std::size_t datagrams_queued_max = 512;
    std::size_t datagrams_received_max = 4096;
    Duration handshake_timeout = std::chrono::seconds(10);
    Duration idle_timeout = std::chrono::seconds(30);
    Duration keep_alive = std::chrono::seconds(10);  // Only on connections opened with it.
    // The largest UDP payload that is sent, 1200 to 65,000. Paths start at 1200 and are probed for
    // more (RFC 8899). 8952 fits jumbo frames with IPv6.
    std::size_t payload_size_max = 8952;
    Duration rtt_initial = std::chrono::milliseconds(100);  // Before the first measurement.
    // Measured on 100 Mbit/s and a round trip of 50 ms (congestion_test.cc): BBR gets 85 Mbit/s and
    // leaves the queue empty, CUBIC 97 and fills it, however long it is. Where one packet of a
    // hundred is lost, BBR gets 65 to 90 (with the LossThresh of our build), CUBIC 3.
    CongestionControl congestion_control = CongestionControl::bbr;
    // Closed connections whose last packet is kept for three probe timeouts; the oldest is dropped.
    std::size_t closings_max = 1024;
    // Retry, Version Negotiation, Stateless Reset and refusals a second; more are not sent.
    std::size_t stateless_replies_max = 1000;
  };

  struct Config {
    const crypto::Identity* identity = nullptr;  // Our certificate and key; outlives the endpoint.
    RouteId route;                               // Prefix of our connection IDs.
    bool is_accepting = false;
    bool is_client_certificate_required =
        true;  // Of accepted connections; if false it is asked for.
    // Key of the stateless reset tokens. The same value after a restart tells peers at once that
    // their connections are gone (RFC 9000 section 10.3); absent, it is drawn at random. Never give
    // it to two endpoints that live at the same time.
    std::optional<Digest> reset_key;
    Limits limits;
  };

  // `random` outlives the endpoint.
  Endpoint(const Config& config, Random& random);
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  ~Endpoint();

  // --- The engine contract.

  void handle(const ReceivedDatagrams& datagrams, Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Event> poll_event();
  // poll_transmit writes at most one batch into `buffer` (at least `payload_size_max` bytes; 64 KiB
  // is best; at most 64 segments and 65,000 bytes are used) and describes it, or returns nothing if
  // there is nothing to send at `now` (pacing and congestion control may hold data back until
  // next_deadline()).
  [[nodiscard]] std::optional<Transmit> poll_transmit(std::span<std::byte> buffer, Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // --- Connections.

  struct ConnectOptions {
    SocketAddress remote;
    PeerPin pin;
    std::string server_name;            // SNI; empty sends none.
    std::optional<RouteId> peer_route;  // Set when `remote` is a relay that must route to the peer.
    bool is_kept_alive = true;
  };
  [[nodiscard]] std::expected<ConnectionKey, ConnectError> connect(const ConnectOptions& options,
                                                                   Instant now);
  // close sends CONNECTION_CLOSE with an application error code (RFC 9114 section 8.1). Unknown
  // keys are ignored. ConnectionClosed{local} follows.
  void close(ConnectionKey connection, std::uint64_t code, std::string_view reason, Instant now);
  // close_newest closes the connection that was made last, with H3_NO_ERROR; false if there is
  // none.
  bool close_newest(std::string_view reason, Instant now);

  // migrate moves a connection that we opened to `remote` (RFC 9000 section 9). A validating
  // migration keeps using the old path until the new one has answered, then ConnectionMoved or
  // MigrationFailed follows; an immediate one (`is_immediate`: the old path is dead) switches at
  // once.
  [[nodiscard]] std::expected<void, MigrateError> migrate(ConnectionKey connection,
                                                          const SocketAddress& remote,
                                                          bool is_immediate, Instant now);

  // rebind says that our own address has changed: a connection that we opened goes on to the same
  // remote as a new path, at once (RFC 9000 section 9.4: congestion control and round trip start
  // anew), and tells the peer by its first packet. MigrationFailed follows if nothing answers.
  [[nodiscard]] std::expected<void, MigrateError> rebind(ConnectionKey connection, Instant now);

  // ping_every sends a PING whenever nothing was sent for `interval`, above zero; absent: as
  // ConnectOptions said. Unknown keys are ignored.
  void ping_every(ConnectionKey connection, std::optional<Duration> interval);

  // set_route changes the prefix of connection IDs issued from now on.
  void set_route(const RouteId& route);

  // export_key derives 32 bytes from the TLS session (RFC 8446 section 7.5); nothing before
  // ConnectionReady.
  [[nodiscard]] std::optional<Digest> export_key(ConnectionKey connection,
                                                 std::string_view label) const;
  [[nodiscard]] std::optional<Statistics> statistics(ConnectionKey connection) const;
  [[nodiscard]] std::optional<SocketAddress> remote_of(ConnectionKey connection) const;
  [[nodiscard]] std::size_t connection_count() const;
  [[nodiscard]] const Counters& counters() const;

  // --- Requests.

  [[nodiscard]] std::expected<StreamKey, StreamError> open_request(ConnectionKey connection,
                                                                   const http::Request& request,
                                                                   bool is_end);
  // respond sends the final response of a received request; at most once for a stream.
  [[nodiscard]] std::expected<void, StreamError> respond(const StreamKey& stream,
                                                         const http::Response& response,
                                                         bool is_end);

  // writable returns free contiguous space of the send buffer: empty if it is full (StreamWritable
  // follows later), if the side was finished, or if the stream is gone. It dies with the next call
  // that is not const.
  [[nodiscard]] std::span<std::byte> writable(const StreamKey& stream);
  // commit sends the first `size` bytes of what writable() last returned.
  void commit(const StreamKey& stream, std::size_t size);
  // write copies as much of `bytes` as fits and returns how much that was.
  std::size_t write(const StreamKey& stream, std::span<const std::byte> bytes);
  // finish ends our side after all committed bytes (FIN). Repeated calls do nothing.
  void finish(const StreamKey& stream);
  // is_send_drained tells whether the peer has everything, FIN included; true also for a stream
  // that is gone, false for one that was reset or stopped.
  [[nodiscard]] bool is_send_drained(const StreamKey& stream) const;

  // readable never blocks: empty and not at the end means "nothing yet".
  [[nodiscard]] Readable readable(const StreamKey& stream) const;
  // consume drops the first `size` bytes of readable() and lets the peer send as much again.
  void consume(const StreamKey& stream, std::size_t size);

  // reset abandons our sending side (RESET_STREAM), stop refuses the peer's (STOP_SENDING).
  void reset(const StreamKey& stream, std::uint64_t code);
  void stop(const StreamKey& stream, std::uint64_t code);

  // --- HTTP Datagrams (RFC 9297) of a request stream.

  [[nodiscard]] DatagramResult send_datagram(const StreamKey& stream,
                                             std::span<const std::byte> payload);
  [[nodiscard]] std::optional<ReceivedDatagram> poll_datagram();
  // datagram_size_max returns the largest payload that the path carries now; 0 if the peer takes
  // none.
  [[nodiscard]] std::size_t datagram_size_max(const StreamKey& stream) const;
  // is_datagram_size_settled tells whether datagram_size_max is the last word on the path in use:
  // discovery has nothing left to try (path_size.h), and no black hole is suspected that may have
  // been an interruption. Until then the size may grow at any time.
  [[nodiscard]] bool is_datagram_size_settled(const StreamKey& stream, Instant now) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zt::quic
