// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/http3.h: the HTTP/3 session of one connection: requests, bodies and HTTP Datagrams.
//
// Theory of operation
//   Http3 stands between the transport (ngtcp2, in Connection) and the user (Endpoint). nghttp3
//   frames and checks messages; Http3 keeps one Stream per request: the two body buffers, and which
//   of its four ends (ours and the peer's, each as seen by the transport and by the user) are over.
//
//   Bodies go out when nghttp3 asks for them (`read_body`), as views of the send buffer. Bodies
//   that come in are copied into the receive buffer; the flow-control credit for them is given back
//   when the user consumes them.
//
//   A stream whose reader stops holds a whole window of bytes. They would hold back every stream of
//   the connection if they counted against its window. Therefore a stream brings room for its own
//   window when it is read for the first time, and takes it away when it ends. Credit cannot be
//   taken back from the peer: the next that is given is kept until that is settled.
//
//   Bodies share the connection in turns of `turn_size_max` (quic/stream_turns.h): a stream whose
//   turn it is not has nothing to send, if nghttp3 asks. What nghttp3 itself has to interleave, the
//   ends of turns and heads of messages, it takes evenly: its priorities are set to "incremental"
//   on both sides (RFC 9218 section 4.2).
//
//   A stream lives until the transport has closed it, the user has read what arrived, and the user
//   has been told (StreamClosed). Only then may the peer open another, so that a peer cannot make
//   more memory by opening and resetting streams quickly.
//
// Limits   field_section_size_max: a request above it is answered 431, a response above it is
//          refused with H3_EXCESSIVE_LOAD. QPACK has no dynamic table and no blocked streams.
//          datagrams_queued_max to send, of which the oldest is dropped, and
//          datagrams_received_max, of which the newest is.
// Threats  Everything that a peer can get wrong ends the connection with the code of RFC 9114.

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "quic/context.h"
#include "quic/endpoint.h"
#include "quic/stream.h"
#include "quic/stream_turns.h"

namespace zt::quic {

// ApplicationError ends the connection with an HTTP/3 code.
struct ApplicationError {
  std::uint64_t code = 0;
};
using Http3Result = std::expected<void, ApplicationError>;

class Http3 {
 public:
  // Both `context` and `transport` outlive the session.
  Http3(ConnectionKey connection, bool is_server, Context& context, ngtcp2_conn& transport);
  Http3(const Http3&) = delete;
  Http3& operator=(const Http3&) = delete;
  ~Http3();

  // start opens the control and QPACK streams; 1-RTT keys for sending must be there.
  [[nodiscard]] Http3Result start();
  // has_peer_settings tells whether the peer has said what it supports.
  [[nodiscard]] bool has_peer_settings() const { return peer_.is_known; }
  // announce lets the user hear of this session: events are told from now on.
  void announce() { is_announced_ = true; }

  // --- From the transport.

  [[nodiscard]] Http3Result read(std::int64_t stream_id, BytesView bytes, bool is_end,
                                 ngtcp2_tstamp now);
  [[nodiscard]] Http3Result read_datagram(BytesView bytes);
  [[nodiscard]] Http3Result acknowledge(std::int64_t stream_id, std::uint64_t size);
  // has_unacknowledged tells whether bytes of any request stream have left and not been
  // acknowledged. It looks at each stream.
  [[nodiscard]] bool has_unacknowledged() const;
  [[nodiscard]] Http3Result close_stream(std::int64_t stream_id, std::uint64_t code);
  [[nodiscard]] Http3Result unblock(std::int64_t stream_id);
  // allow_requests says how many requests the peer may have opened in all: PRIORITY_UPDATE frames
  // (RFC 9218 section 7.2) for others are errors.
  void allow_requests(std::uint64_t count);
  void reset_by_peer(std::int64_t stream_id, std::uint64_t code);
  void stopped_by_peer(std::int64_t stream_id, std::uint64_t code);

  // Output is the next piece of a stream to send; `stream_id` is -1 if there is none.
  struct Output {
    static constexpr std::size_t kPiecesMax = 8;
    std::int64_t stream_id = -1;
    bool is_end = false;
    std::size_t count = 0;
    std::array<nghttp3_vec, kPiecesMax> pieces{};
  };
  // set_turn_size_max says how many bytes of a stream next_output gives out in one turn.
  void set_turn_size_max(std::size_t turn_size_max) { turn_size_max_ = turn_size_max; }
  [[nodiscard]] Http3Result next_output(Output& output);
  // wrote says that `size` bytes of `output` went into a packet, and its end if all of it did.
  [[nodiscard]] Http3Result wrote(const Output& output, std::size_t size);
  // block says that the peer's flow control holds the stream back; unblock() undoes it.
  void block(std::int64_t stream_id);
  // shut_writing says that the transport sends no more of the stream.
  void shut_writing(std::int64_t stream_id);

  // next_datagram returns the oldest datagram that fits into `size_max`, drops those that do not,
  // and null if there is none. pop_datagram removes it.
  [[nodiscard]] const Bytes* next_datagram(std::size_t size_max);
  void pop_datagram();

  // --- From the user. Each returns false or nothing for a stream that does not exist.

  [[nodiscard]] std::expected<StreamKey, StreamError> open_request(const http::Request& request,
                                                                   bool is_end);
  [[nodiscard]] std::expected<void, StreamError> respond(std::int64_t stream_id,
                                                         const http::Response& response,
                                                         bool is_end);
  [[nodiscard]] std::span<std::byte> writable(std::int64_t stream_id);
  void commit(std::int64_t stream_id, std::size_t size);
  void finish(std::int64_t stream_id);
  [[nodiscard]] bool is_send_drained(std::int64_t stream_id) const;
  [[nodiscard]] Readable readable(std::int64_t stream_id) const;
  void consume(std::int64_t stream_id, std::size_t size);
  void reset(std::int64_t stream_id, std::uint64_t code);
  void stop(std::int64_t stream_id, std::uint64_t code);
  [[nodiscard]] bool has_stream(std::int64_t stream_id) const { return find(stream_id) != nullptr; }
  // forget removes a stream whose StreamClosed is being told.
  void forget(std::int64_t stream_id);

  [[nodiscard]] DatagramResult send_datagram(std::int64_t stream_id, BytesView payload,
                                             std::size_t frame_payload_size_max);
  // datagram_overhead is what a datagram of that stream needs besides its payload.
  [[nodiscard]] static std::size_t datagram_overhead(std::int64_t stream_id);
  [[nodiscard]] bool takes_datagrams() const { return peer_.takes_datagrams; }
  void datagram_polled() { --datagrams_received_count_; }

 private:
  friend struct Http3Callbacks;

  // Head is a message whose fields are arriving.
  struct Head {
    http::Request request;
    http::Response response;
    std::size_t size = 0;  // RFC 9114 section 4.2.2.
  };

  struct Stream {
    Stream(std::int64_t the_id, Context& context)
        : id(the_id),
          send(context.chunks, context.limits.stream_send_size_max,
               context.limits.stream_unsent_size_max),
          receive(context.chunks) {}

    std::int64_t id;
    SendBuffer send;
    ReceiveBuffer receive;
    std::unique_ptr<Head> head;
    bool is_announced = false;     // The user knows the key.
    bool is_head_sent = false;     // The request or the final response.
    bool is_finishing = false;     // The user ended our side.
    bool is_sending_over = false;  // Reset by us or stopped by the peer: nothing more goes out.
    bool is_end_sent = false;      // FIN is in a packet.
    bool is_end_merged = false;    // The same packet carried the last bytes.
    bool is_end_acknowledged = false;
    bool is_receiving_over =
        false;  // Stopped by us or reset by the peer: arriving bytes are dropped.
    bool is_end_received = false;
    bool is_readable_told = false;
    bool is_writable_wanted = false;
    bool is_transport_closed = false;
    bool is_closed_told = false;
    StreamTurns::Place turn;
    std::uint64_t sent_size = 0;          // Bytes of the QUIC stream, framing included.
    std::uint64_t acknowledged_size = 0;  // Likewise.
    std::size_t reserved_size = 0;        // What it added to the connection's window.
  };

  struct Peer {
    bool is_known = false;
    bool takes_extended_connect = false;
    bool takes_datagrams = false;
  };

  [[nodiscard]] Stream* find(std::int64_t stream_id);
  [[nodiscard]] const Stream* find(std::int64_t stream_id) const;
  [[nodiscard]] StreamKey key_of(const Stream& stream) const { return {connection_, stream.id}; }
  Stream& add(std::int64_t stream_id);
  template <class T>
  void tell(T event);

  // nghttp3 calls these.
  void begin_head(std::int64_t stream_id);
  void add_field(std::int64_t stream_id, std::int32_t token, BytesView name, BytesView value,
                 bool is_sensitive);
  [[nodiscard]] bool end_head(std::int64_t stream_id, bool is_end);
  void receive_body(std::int64_t stream_id, BytesView bytes);
  void receive_end(std::int64_t stream_id);
  [[nodiscard]] std::ptrdiff_t read_body(std::int64_t stream_id, std::span<nghttp3_vec> pieces,
                                         bool& is_end);
  void acknowledge_body(std::int64_t stream_id, std::size_t size);
  void receive_settings(const nghttp3_proto_settings& settings);

  bool finish_request_head(Stream& stream, bool is_end);
  bool finish_response_head(Stream& stream, bool is_end);
  void refuse_oversize(Stream& stream);
  void tell_readable(Stream& stream);
  void tell_writable(Stream& stream);
  void give_credit(std::int64_t stream_id, std::size_t size);
  void give_connection_credit(std::size_t size);
  void reserve(Stream& stream);
  void release(Stream& stream);
  void drop_received(Stream& stream);
  void stop_sending(Stream& stream);
  void settle(Stream& stream);
  void resume(const Stream& stream);

  ConnectionKey connection_;
  bool is_server_;
  Context& context_;
  ngtcp2_conn& transport_;
  nghttp3_conn* session_ = nullptr;
  bool is_announced_ = false;
  Peer peer_;
  std::unordered_map<std::int64_t, std::unique_ptr<Stream>> streams_;
  StreamTurns turns_;
  std::size_t turn_size_max_ = kChunkSizeSmall;  // Until it is said.
  Fifo<QueuedDatagram> datagrams_to_send_;
  std::size_t datagrams_received_count_ = 0;
  std::size_t reserved_size_ = 0;      // Of all streams.
  std::size_t reserve_owed_size_ = 0;  // Released, but still with the peer.
};

}  // namespace zt::quic
