// SPDX-License-Identifier: Apache-2.0
#include "quic/http3.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quic/convert.h"
#include "zt/base/assert.h"

namespace zt::quic {
namespace {

constexpr std::size_t kFieldOverhead = 32;      // RFC 9114 section 4.2.2.
constexpr std::uint64_t kDatagramError = 0x33;  // H3_DATAGRAM_ERROR, RFC 9297 section 5.2.
constexpr int kStatusFieldsTooLarge = 431;      // RFC 6585 section 5.
constexpr nghttp3_pri kPriority = {.urgency = NGHTTP3_DEFAULT_URGENCY, .inc = 1};

[[nodiscard]] Http3Result to_result(std::ptrdiff_t result) {
  if (result >= 0) return {};
  return std::unexpected(
      ApplicationError{nghttp3_err_infer_quic_app_error_code(static_cast<int>(result))});
}

[[nodiscard]] bool is_bidirectional(std::int64_t stream_id) {
  return ngtcp2_is_bidi_stream(stream_id) != 0;
}

// is_field_name tells whether HTTP/3 carries a field of this name: lower case (RFC 9114
// section 4.2), no pseudo-header field, and none that is about a connection of HTTP/1.1.
[[nodiscard]] bool is_field_name(std::string_view name) {
  constexpr std::array<std::string_view, 6> kConnectionFields = {
      "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"};
  const auto bytes = as_bytes(name);
  if (nghttp3_check_header_name(octets_of(bytes), bytes.size()) == 0) return false;
  if (name.starts_with(':') ||
      std::ranges::find(kConnectionFields, name) != kConnectionFields.end()) {
    return false;
  }
  return std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
}

// FieldList is a message in nghttp3's form. It borrows the texts; nghttp3 copies them.
class FieldList {
 public:
  void add(std::string_view name, std::string_view value, bool is_sensitive = false) {
    const auto flags = is_sensitive ? NGHTTP3_NV_FLAG_NEVER_INDEX : NGHTTP3_NV_FLAG_NONE;
    list_.push_back({.name = octets_of(as_bytes(name)),
                     .value = octets_of(as_bytes(value)),
                     .namelen = name.size(),
                     .valuelen = value.size(),
                     .flags = static_cast<std::uint8_t>(flags)});
  }

  // add_all leaves out what HTTP cannot carry: one such field would cost the whole connection.
  void add_all(const http::Fields& fields) {
    for (const http::Field& field : fields) {
      const auto value = as_bytes(field.value);
      if (!is_field_name(field.name)) continue;
      if (nghttp3_check_header_value(octets_of(value), value.size()) == 0) continue;
      add(field.name, field.value, field.is_sensitive);
    }
  }

  [[nodiscard]] const nghttp3_nv* data() const { return list_.data(); }
  [[nodiscard]] std::size_t count() const { return list_.size(); }

 private:
  std::vector<nghttp3_nv> list_;
};

// Datagrams begin with the stream ID divided by four (RFC 9297 section 2.1), as a variable-length
// integer (RFC 9000 section 16).
constexpr std::size_t kVarintSizeMax = 8;

std::size_t varint_size(std::uint64_t value) {
  if (value < (1U << 6U)) return 1;
  if (value < (1U << 14U)) return 2;
  if (value < (1U << 30U)) return 4;
  return kVarintSizeMax;
}

void append_varint(std::uint64_t value, Bytes& bytes) {
  const std::size_t size = varint_size(value);
  const std::uint64_t size_bits = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
  const std::uint64_t coded = value | (size_bits << (size * 8 - 2));
  for (std::size_t i = 0; i < size; ++i) {
    bytes.push_back(static_cast<std::byte>(coded >> (8 * (size - 1 - i))));
  }
}

struct Varint {
  std::uint64_t value = 0;
  std::size_t size = 0;
};

std::optional<Varint> parse_varint(BytesView bytes) {
  if (bytes.empty()) return std::nullopt;
  const auto first = std::to_integer<std::uint64_t>(bytes[0]);
  const std::size_t size = std::size_t{1} << (first >> 6U);
  if (bytes.size() < size) return std::nullopt;
  std::uint64_t value = first & 0x3fU;
  for (std::size_t i = 1; i < size; ++i) {
    value = (value << 8U) | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return Varint{value, size};
}

}  // namespace

// Http3Callbacks are what nghttp3 calls: cast, call the member, translate.
struct Http3Callbacks {
  static Http3& self(void* user) { return *static_cast<Http3*>(user); }

  static BytesView bytes_of_buffer(const nghttp3_rcbuf* buffer) {
    const nghttp3_vec vec = nghttp3_rcbuf_get_buf(buffer);
    return bytes_of(vec.base, vec.len);
  }
  static int begin_headers(nghttp3_conn*, std::int64_t id, void* user, void*) noexcept {
    self(user).begin_head(id);
    return 0;
  }
  static int recv_header(nghttp3_conn*, std::int64_t id, std::int32_t token, nghttp3_rcbuf* name,
                         nghttp3_rcbuf* value, std::uint8_t flags, void* user, void*) noexcept {
    self(user).add_field(id, token, bytes_of_buffer(name), bytes_of_buffer(value),
                         (flags & NGHTTP3_NV_FLAG_NEVER_INDEX) != 0);
    return 0;
  }
  static int end_headers(nghttp3_conn*, std::int64_t id, int fin, void* user, void*) noexcept {
    return self(user).end_head(id, fin != 0) ? 0 : NGHTTP3_ERR_CALLBACK_FAILURE;
  }
  static int recv_data(nghttp3_conn*, std::int64_t id, const std::uint8_t* data, std::size_t size,
                       void* user, void*) noexcept {
    self(user).receive_body(id, bytes_of(data, size));
    return 0;
  }
  static int end_stream(nghttp3_conn*, std::int64_t id, void* user, void*) noexcept {
    self(user).receive_end(id);
    return 0;
  }
  static int deferred_consume(nghttp3_conn*, std::int64_t id, std::size_t size, void* user,
                              void*) noexcept {
    self(user).give_credit(id, size);
    return 0;
  }
  static int acked_stream_data(nghttp3_conn*, std::int64_t id, std::uint64_t size, void* user,
                               void*) noexcept {
    self(user).acknowledge_body(id, size);
    return 0;
  }
  // nghttp3 refuses a stream: after GOAWAY, or a server push.
  static int stop_sending(nghttp3_conn*, std::int64_t id, std::uint64_t code, void* user,
                          void*) noexcept {
    return ngtcp2_conn_shutdown_stream_read(&self(user).transport_, 0, id, code) == 0
               ? 0
               : NGHTTP3_ERR_CALLBACK_FAILURE;
  }
  static int reset_stream(nghttp3_conn*, std::int64_t id, std::uint64_t code, void* user,
                          void*) noexcept {
    return ngtcp2_conn_shutdown_stream_write(&self(user).transport_, 0, id, code) == 0
               ? 0
               : NGHTTP3_ERR_CALLBACK_FAILURE;
  }
  static int recv_settings(nghttp3_conn*, const nghttp3_proto_settings* settings,
                           void* user) noexcept {
    self(user).receive_settings(*settings);
    return 0;
  }
  static nghttp3_ssize read_data(nghttp3_conn*, std::int64_t id, nghttp3_vec* vec,
                                 std::size_t count, std::uint32_t* flags, void* user,
                                 void*) noexcept {
    bool is_end = false;
    const std::ptrdiff_t filled = self(user).read_body(id, {vec, count}, is_end);
    if (is_end) *flags |= NGHTTP3_DATA_FLAG_EOF;
    return filled;
  }
};

Http3::Http3(ConnectionKey connection, bool is_server, Context& context, ngtcp2_conn& transport)
    : connection_(connection), is_server_(is_server), context_(context), transport_(transport) {}

Http3::~Http3() {
  nghttp3_conn_del(session_);
}

Http3Result Http3::start() {
  nghttp3_callbacks callbacks{};
  callbacks.acked_stream_data = Http3Callbacks::acked_stream_data;
  callbacks.recv_data = Http3Callbacks::recv_data;
  callbacks.deferred_consume = Http3Callbacks::deferred_consume;
  callbacks.begin_headers = Http3Callbacks::begin_headers;
  callbacks.recv_header = Http3Callbacks::recv_header;
  callbacks.end_headers = Http3Callbacks::end_headers;
  callbacks.stop_sending = Http3Callbacks::stop_sending;
  callbacks.end_stream = Http3Callbacks::end_stream;
  callbacks.reset_stream = Http3Callbacks::reset_stream;
  callbacks.recv_settings2 = Http3Callbacks::recv_settings;
  nghttp3_settings settings;
  nghttp3_settings_default(&settings);
  settings.max_field_section_size = context_.limits.field_section_size_max;
  settings.qpack_max_dtable_capacity = 0;
  settings.qpack_encoder_max_dtable_capacity = 0;
  settings.qpack_blocked_streams = 0;
  settings.enable_connect_protocol = is_server_ ? 1 : 0;
  settings.h3_datagram = 1;
  const auto create =
      is_server_ ? nghttp3_conn_server_new_versioned : nghttp3_conn_client_new_versioned;
  int result = create(&session_, NGHTTP3_CALLBACKS_VERSION, &callbacks, NGHTTP3_SETTINGS_VERSION,
                      &settings, nullptr, this);
  ZT_ASSERT(result == 0);  // Memory only.
  if (is_server_) {
    nghttp3_conn_set_max_client_streams_bidi(session_, context_.limits.streams_per_connection_max);
  }
  std::array<std::int64_t, 3> ids{};
  for (std::int64_t& id : ids) {
    result = ngtcp2_conn_open_uni_stream(&transport_, &id, nullptr);
    // RFC 9114 section 6.2: a peer must allow at least three unidirectional streams.
    if (result != 0) return std::unexpected(ApplicationError{NGHTTP3_H3_GENERAL_PROTOCOL_ERROR});
  }
  if (auto bound = to_result(nghttp3_conn_bind_control_stream(session_, ids[0])); !bound) {
    return bound;
  }
  return to_result(nghttp3_conn_bind_qpack_streams(session_, ids[1], ids[2]));
}

// --- From the transport.

Http3Result Http3::read(std::int64_t stream_id, BytesView bytes, bool is_end, ngtcp2_tstamp now) {
  const nghttp3_ssize consumed = nghttp3_conn_read_stream2(session_, stream_id, octets_of(bytes),
                                                           bytes.size(), is_end ? 1 : 0, now);
  if (consumed > 0) give_credit(stream_id, static_cast<std::size_t>(consumed));
  return to_result(consumed);
}

Http3Result Http3::read_datagram(BytesView bytes) {
  const auto quarter_id = parse_varint(bytes);
  // RFC 9297 section 2.1: an ID above the largest stream ID, or none, is an error.
  if (!quarter_id || quarter_id->value > NGTCP2_MAX_VARINT / 4) {
    return std::unexpected(ApplicationError{kDatagramError});
  }
  const Stream* stream = find(static_cast<std::int64_t>(quarter_id->value * 4));
  if (stream == nullptr || !stream->is_announced || stream->is_receiving_over ||
      datagrams_received_count_ >= context_.limits.datagrams_received_max) {
    ++context_.counters.datagrams_dropped;
    return {};
  }
  ++datagrams_received_count_;
  context_.datagrams.push(
      {key_of(*stream), context_.buffers.copy(bytes.subspan(quarter_id->size))});
  return {};
}

bool Http3::has_unacknowledged() const {
  return std::ranges::any_of(streams_, [](const auto& entry) {
    const Stream& stream = *entry.second;
    return !stream.is_transport_closed && !stream.is_sending_over &&
           stream.sent_size > stream.acknowledged_size;
  });
}

Http3Result Http3::acknowledge(std::int64_t stream_id, std::uint64_t size) {
  if (Stream* stream = find(stream_id)) {
    stream->acknowledged_size += size;
    if (stream->is_end_sent && stream->acknowledged_size == stream->sent_size) {
      stream->is_end_acknowledged = stream->is_end_merged || size == 0;
    }
  }
  return to_result(nghttp3_conn_add_ack_offset(session_, stream_id, size));
}

Http3Result Http3::close_stream(std::int64_t stream_id, std::uint64_t code) {
  const int result = nghttp3_conn_close_stream(session_, stream_id, code);
  if (result != 0 && result != NGHTTP3_ERR_STREAM_NOT_FOUND) return to_result(result);
  if (!is_bidirectional(stream_id)) {
    if (ngtcp2_conn_is_local_stream2(&transport_, stream_id) == 0) {
      ngtcp2_conn_extend_max_streams_uni(&transport_, 1);
    }
    return {};
  }
  Stream* stream = find(stream_id);
  if (stream == nullptr) {
    // A stream of which nothing but its end arrived.
    if (is_server_) ngtcp2_conn_extend_max_streams_bidi(&transport_, 1);
    return {};
  }
  stream->is_transport_closed = true;
  stream->send.drop();
  settle(*stream);
  return {};
}

Http3Result Http3::unblock(std::int64_t stream_id) {
  return to_result(nghttp3_conn_unblock_stream(session_, stream_id));
}

void Http3::allow_requests(std::uint64_t count) {
  if (is_server_) nghttp3_conn_set_max_client_streams_bidi(session_, count);
}

void Http3::reset_by_peer(std::int64_t stream_id, std::uint64_t code) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over) return;
  drop_received(*stream);
  if (stream->is_announced) tell(StreamReset{key_of(*stream), code});
}

void Http3::stopped_by_peer(std::int64_t stream_id, std::uint64_t code) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_sending_over) return;
  stop_sending(*stream);
  if (stream->is_announced) tell(StreamStopped{key_of(*stream), code});
}

Http3Result Http3::next_output(Output& output) {
  for (;;) {
    int is_end = 0;
    const nghttp3_ssize count = nghttp3_conn_writev_stream(
        session_, &output.stream_id, &is_end, output.pieces.data(), output.pieces.size());
    output.is_end = is_end != 0;
    output.count = count > 0 ? static_cast<std::size_t>(count) : 0;
    if (count < 0 || output.stream_id >= 0) return to_result(count);
    const std::optional<std::int64_t> next = turns_.pass();
    if (!next) return {};
    if (Stream* stream = find(*next)) {
      stream->turn.is_waiting = false;
      resume(*stream);
    }
  }
}

Http3Result Http3::wrote(const Output& output, std::size_t size) {
  if (Stream* stream = find(output.stream_id)) {
    stream->sent_size += size;
    if (output.is_end && size == nghttp3_vec_len(output.pieces.data(), output.count)) {
      stream->is_end_sent = true;
      stream->is_end_merged = size > 0;
    }
  }
  return to_result(nghttp3_conn_add_write_offset(session_, output.stream_id, size));
}

void Http3::block(std::int64_t stream_id) {
  nghttp3_conn_block_stream(session_, stream_id);
}

void Http3::shut_writing(std::int64_t stream_id) {
  nghttp3_conn_shutdown_stream_write(session_, stream_id);
}

const Bytes* Http3::next_datagram(std::size_t size_max) {
  while (!datagrams_to_send_.is_empty() && datagrams_to_send_.front().payload.size() > size_max) {
    // The path has become smaller since this was queued.
    ++context_.counters.datagrams_dropped;
    pop_datagram();
  }
  return datagrams_to_send_.is_empty() ? nullptr : &datagrams_to_send_.front().payload;
}

void Http3::pop_datagram() {
  context_.buffers.give(datagrams_to_send_.pop().payload);
}

// --- From the user.

std::expected<StreamKey, StreamError> Http3::open_request(const http::Request& request,
                                                          bool is_end) {
  if (is_server_) return std::unexpected(StreamError::gone);
  if (!is_announced_) return std::unexpected(StreamError::blocked);
  if (streams_.size() >= context_.limits.streams_per_connection_max) {
    return std::unexpected(StreamError::limit);
  }
  // RFC 9220 section 3: not before the server has said that it knows :protocol.
  if (!request.protocol.empty() && !peer_.takes_extended_connect) {
    return std::unexpected(StreamError::gone);
  }
  std::int64_t id = -1;
  const int opened = ngtcp2_conn_open_bidi_stream(&transport_, &id, nullptr);
  if (opened == NGTCP2_ERR_STREAM_ID_BLOCKED) return std::unexpected(StreamError::blocked);
  if (opened != 0) return std::unexpected(StreamError::gone);
  FieldList fields;
  fields.add(":method", request.method);
  if (!request.protocol.empty()) fields.add(":protocol", request.protocol);
  if (!request.scheme.empty()) fields.add(":scheme", request.scheme);
  if (!request.authority.empty()) fields.add(":authority", request.authority);
  if (!request.path.empty()) fields.add(":path", request.path);
  fields.add_all(request.fields);
  Stream& stream = add(id);
  stream.is_announced = true;
  stream.is_head_sent = true;
  stream.is_finishing = is_end;
  const nghttp3_data_reader reader{.read_data = Http3Callbacks::read_data};
  const int submitted = nghttp3_conn_submit_request(session_, id, fields.data(), fields.count(),
                                                    is_end ? nullptr : &reader, nullptr);
  if (submitted != 0) {  // The server is going away (RFC 9114 section 5.2).
    stream.is_announced = false;
    (void)ngtcp2_conn_shutdown_stream(&transport_, 0, id, NGHTTP3_H3_REQUEST_CANCELLED);
    return std::unexpected(StreamError::gone);
  }
  return key_of(stream);
}

std::expected<void, StreamError> Http3::respond(std::int64_t stream_id,
                                                const http::Response& response, bool is_end) {
  Stream* stream = find(stream_id);
  if (!is_server_ || stream == nullptr || !stream->is_announced || stream->is_head_sent ||
      stream->is_sending_over || stream->is_transport_closed) {
    return std::unexpected(StreamError::gone);
  }
  ZT_ASSERT(response.status >= 200 && response.status <= 599);
  FieldList fields;
  const std::string status = std::to_string(response.status);
  fields.add(":status", status);
  fields.add_all(response.fields);
  const nghttp3_data_reader reader{.read_data = Http3Callbacks::read_data};
  const int submitted = nghttp3_conn_submit_response(session_, stream_id, fields.data(),
                                                     fields.count(), is_end ? nullptr : &reader);
  if (submitted != 0) return std::unexpected(StreamError::gone);
  stream->is_head_sent = true;
  if (is_end) stream->is_finishing = true;
  return {};
}

std::span<std::byte> Http3::writable(std::int64_t stream_id) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_finishing || stream->is_sending_over ||
      stream->is_transport_closed) {
    return {};
  }
  const std::span<std::byte> space = stream->send.space();
  if (space.empty()) stream->is_writable_wanted = true;
  return space;
}

void Http3::commit(std::int64_t stream_id, std::size_t size) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || size == 0 || stream->is_finishing || stream->is_sending_over ||
      stream->is_transport_closed) {
    return;
  }
  stream->send.commit(size);
  resume(*stream);
}

void Http3::finish(std::int64_t stream_id) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_finishing || stream->is_sending_over) return;
  stream->is_finishing = true;
  stream->is_writable_wanted = false;
  resume(*stream);
}

bool Http3::is_send_drained(std::int64_t stream_id) const {
  const Stream* stream = find(stream_id);
  if (stream == nullptr) return true;
  if (stream->is_sending_over) return false;
  return stream->is_end_acknowledged || (stream->is_transport_closed && stream->is_end_sent);
}

Readable Http3::readable(std::int64_t stream_id) const {
  const Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over) return {};
  const std::span<const std::byte> bytes = stream->receive.front();
  return {bytes, stream->is_end_received && bytes.size() == stream->receive.size()};
}

void Http3::consume(std::int64_t stream_id, std::size_t size) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over) return;
  stream->is_readable_told = false;
  stream->receive.consume(size);
  reserve(*stream);
  give_credit(stream_id, size);
  settle(*stream);
}

void Http3::reset(std::int64_t stream_id, std::uint64_t code) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_sending_over || stream->is_transport_closed) return;
  // The only error is a stream of the wrong kind.
  (void)ngtcp2_conn_shutdown_stream_write(&transport_, 0, stream_id, code);
  stop_sending(*stream);
}

void Http3::stop(std::int64_t stream_id, std::uint64_t code) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over) return;
  if (!stream->is_transport_closed) {
    (void)ngtcp2_conn_shutdown_stream_read(&transport_, 0, stream_id, code);
  }
  drop_received(*stream);
  settle(*stream);
}

void Http3::forget(std::int64_t stream_id) {
  const Stream* stream = find(stream_id);
  if (stream == nullptr || !stream->is_closed_told) return;
  streams_.erase(stream_id);
  if (is_server_) ngtcp2_conn_extend_max_streams_bidi(&transport_, 1);
}

DatagramResult Http3::send_datagram(std::int64_t stream_id, BytesView payload,
                                    std::size_t frame_payload_size_max) {
  const Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_sending_over || stream->is_transport_closed ||
      !peer_.takes_datagrams) {
    return DatagramResult::gone;
  }
  if (payload.size() + datagram_overhead(stream_id) > frame_payload_size_max) {
    ++context_.counters.datagrams_dropped;
    return DatagramResult::too_large;
  }
  DatagramResult result = DatagramResult::queued;
  if (datagrams_to_send_.count() >= context_.limits.datagrams_queued_max) {
    if (datagrams_to_send_.is_empty()) return DatagramResult::dropped;
    // The oldest goes: for what datagrams carry, fresh is worth more than complete.
    ++context_.counters.datagrams_dropped;
    pop_datagram();
    result = DatagramResult::dropped;
  }
  Bytes frame = context_.buffers.copy({});
  append_varint(static_cast<std::uint64_t>(stream_id) / 4, frame);
  frame.insert(frame.end(), payload.begin(), payload.end());
  datagrams_to_send_.push({key_of(*stream), std::move(frame)});
  return result;
}

std::size_t Http3::datagram_overhead(std::int64_t stream_id) {
  return varint_size(static_cast<std::uint64_t>(stream_id) / 4);
}

// --- From nghttp3.

void Http3::begin_head(std::int64_t stream_id) {
  Stream* stream = find(stream_id);
  if (stream == nullptr) {
    if (!is_server_) return;
    stream = &add(stream_id);
    // Fair turns instead of the order of stream IDs; fails only for a stream that is not there.
    (void)nghttp3_conn_set_server_stream_priority(session_, stream_id, &kPriority);
  }
  stream->head = std::make_unique<Head>();
}

void Http3::add_field(std::int64_t stream_id, std::int32_t token, BytesView name, BytesView value,
                      bool is_sensitive) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->head == nullptr) return;
  Head& head = *stream->head;
  head.size += name.size() + value.size() + kFieldOverhead;
  if (head.size > context_.limits.field_section_size_max) return;
  const std::string_view text = as_text(value);
  switch (token) {
    case NGHTTP3_QPACK_TOKEN__METHOD:
      head.request.method = text;
      return;
    case NGHTTP3_QPACK_TOKEN__SCHEME:
      head.request.scheme = text;
      return;
    case NGHTTP3_QPACK_TOKEN__AUTHORITY:
      head.request.authority = text;
      return;
    case NGHTTP3_QPACK_TOKEN__PATH:
      head.request.path = text;
      return;
    case NGHTTP3_QPACK_TOKEN__PROTOCOL:
      head.request.protocol = text;
      return;
    case NGHTTP3_QPACK_TOKEN__STATUS:
      // nghttp3 has checked that these are three digits.
      std::from_chars(text.data(), text.data() + text.size(), head.response.status);
      return;
    default:
      break;
  }
  http::Fields& fields = is_server_ ? head.request.fields : head.response.fields;
  fields.add(std::string(as_text(name)), std::string(text), is_sensitive);
}

bool Http3::end_head(std::int64_t stream_id, bool is_end) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->head == nullptr) return true;
  if (stream->head->size > context_.limits.field_section_size_max) {
    refuse_oversize(*stream);
    return true;
  }
  return is_server_ ? finish_request_head(*stream, is_end) : finish_response_head(*stream, is_end);
}

bool Http3::finish_request_head(Stream& stream, bool is_end) {
  const std::unique_ptr<Head> head = std::move(stream.head);
  stream.is_announced = true;
  stream.is_end_received = is_end;
  tell(RequestReceived{key_of(stream), std::move(head->request), is_end});
  return true;
}

bool Http3::finish_response_head(Stream& stream, bool is_end) {
  const std::unique_ptr<Head> head = std::move(stream.head);
  if (head->response.status < 200) return true;  // Interim: skipped.
  if (stream.is_receiving_over) return true;     // The user has lost interest.
  stream.is_end_received = is_end;
  tell(ResponseReceived{key_of(stream), std::move(head->response), is_end});
  return true;
}

void Http3::refuse_oversize(Stream& stream) {
  stream.head.reset();
  const std::int64_t id = stream.id;
  if (is_server_) {
    FieldList fields;
    const std::string status = std::to_string(kStatusFieldsTooLarge);
    fields.add(":status", status);
    // If this fails, the peer sees the stream refused without a status.
    (void)nghttp3_conn_submit_response(session_, id, fields.data(), fields.count(), nullptr);
    stream.is_head_sent = true;
    (void)ngtcp2_conn_shutdown_stream_read(&transport_, 0, id, NGHTTP3_H3_NO_ERROR);
  } else {
    (void)ngtcp2_conn_shutdown_stream(&transport_, 0, id, NGHTTP3_H3_EXCESSIVE_LOAD);
    if (!stream.is_sending_over) stop_sending(stream);
    if (!stream.is_receiving_over) {
      tell(StreamReset{key_of(stream), NGHTTP3_H3_EXCESSIVE_LOAD});
    }
  }
  drop_received(stream);
}

void Http3::receive_body(std::int64_t stream_id, BytesView bytes) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over) {
    give_credit(stream_id, bytes.size());
    return;
  }
  stream->receive.append(bytes);
  tell_readable(*stream);
}

void Http3::receive_end(std::int64_t stream_id) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_receiving_over || stream->is_end_received) return;
  stream->is_end_received = true;
  tell_readable(*stream);
}

std::ptrdiff_t Http3::read_body(std::int64_t stream_id, std::span<nghttp3_vec> pieces,
                                bool& is_end) {
  Stream* stream = find(stream_id);
  if (stream == nullptr) return NGHTTP3_ERR_WOULDBLOCK;
  if (!stream->send.has_untaken() && !stream->is_finishing) {
    turns_.leave(stream_id);
    return NGHTTP3_ERR_WOULDBLOCK;
  }
  const std::size_t turn_size = std::min(stream->send.untaken_size(), turn_size_max_);
  if (!turns_.ask(stream_id, stream->turn, turn_size)) return NGHTTP3_ERR_WOULDBLOCK;
  std::array<std::span<const std::byte>, Output::kPiecesMax> views;
  const std::size_t views_max = std::min(pieces.size(), views.size());
  const std::size_t count = stream->send.take(std::span(views).first(views_max), turn_size);
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) {
    pieces[i] = {octets_of(views[i].data()), views[i].size()};
    size += views[i].size();
  }
  StreamTurns::charge(stream->turn, size);
  tell_writable(*stream);
  is_end = stream->is_finishing && !stream->send.has_untaken();
  return static_cast<std::ptrdiff_t>(count);
}

void Http3::acknowledge_body(std::int64_t stream_id, std::size_t size) {
  Stream* stream = find(stream_id);
  if (stream == nullptr || stream->is_sending_over) return;
  stream->send.acknowledge(size);
  tell_writable(*stream);
}

void Http3::receive_settings(const nghttp3_proto_settings& settings) {
  peer_.is_known = true;
  peer_.takes_extended_connect = settings.enable_connect_protocol != 0;
  peer_.takes_datagrams = settings.h3_datagram != 0;
}

// --- Within.

Http3::Stream* Http3::find(std::int64_t stream_id) {
  const auto found = streams_.find(stream_id);
  return found == streams_.end() ? nullptr : found->second.get();
}

const Http3::Stream* Http3::find(std::int64_t stream_id) const {
  const auto found = streams_.find(stream_id);
  return found == streams_.end() ? nullptr : found->second.get();
}

Http3::Stream& Http3::add(std::int64_t stream_id) {
  auto& slot = streams_[stream_id];
  slot = std::make_unique<Stream>(stream_id, context_);
  return *slot;
}

template <class T>
void Http3::tell(T event) {
  context_.events.push(std::move(event));
}

void Http3::tell_readable(Stream& stream) {
  if (!stream.is_announced || stream.is_readable_told) return;
  stream.is_readable_told = true;
  tell(StreamReadable{key_of(stream)});
}

void Http3::tell_writable(Stream& stream) {
  if (!stream.is_writable_wanted || !stream.send.has_room()) return;
  stream.is_writable_wanted = false;
  tell(StreamWritable{key_of(stream)});
}

void Http3::give_credit(std::int64_t stream_id, std::size_t size) {
  if (size == 0) return;
  // A stream that is gone needs no credit; there is no other error for one of these streams.
  (void)ngtcp2_conn_extend_max_stream_offset(&transport_, stream_id, size);
  give_connection_credit(size);
}

void Http3::give_connection_credit(std::size_t size) {
  const std::size_t kept = std::min(size, reserve_owed_size_);
  reserve_owed_size_ -= kept;
  if (size > kept) ngtcp2_conn_extend_max_offset(&transport_, size - kept);
}

// reserve adds the stream's window to the connection's, once.
void Http3::reserve(Stream& stream) {
  const std::size_t size = context_.limits.stream_receive_size_max;
  if (stream.reserved_size > 0 ||
      size > context_.limits.connection_reserve_size_max - reserved_size_) {
    return;
  }
  stream.reserved_size = size;
  reserved_size_ += size;
  give_connection_credit(size);
}

// release takes it back, once nothing of the stream waits any more.
void Http3::release(Stream& stream) {
  const std::size_t size = std::exchange(stream.reserved_size, 0);
  reserved_size_ -= size;
  reserve_owed_size_ += size;
}

// drop_received ends the user's interest in the peer's side. The bytes that were waiting have cost
// credit of the connection. nghttp3 is not told: ngtcp2 brings no more bytes of the stream, and
// what nghttp3 would do is to send a Stream Cancellation, which a decoder without a dynamic table
// may leave out (RFC 9204 section 2.2.2.2). nghttp3 ends a connection on which it receives some
// thousand bytes of them between two messages of its own.
void Http3::drop_received(Stream& stream) {
  stream.is_receiving_over = true;
  const std::size_t size = stream.receive.drop();
  release(stream);
  if (size > 0) give_connection_credit(size);
}

// stop_sending forgets what was to be sent. ngtcp2 never reads the bytes of a reset stream again.
void Http3::stop_sending(Stream& stream) {
  stream.is_sending_over = true;
  stream.is_writable_wanted = false;
  nghttp3_conn_shutdown_stream_write(session_, stream.id);
  stream.send.drop();
}

// resume lets nghttp3 ask the stream for bytes, unless it has asked and the stream waits.
void Http3::resume(const Stream& stream) {
  // Fails only for want of memory.
  if (stream.is_head_sent && !stream.turn.is_waiting) {
    (void)nghttp3_conn_resume_stream(session_, stream.id);
  }
}

// settle tells the user of the end of a stream, or removes one that the user never heard of. The
// reference is dead afterwards.
void Http3::settle(Stream& stream) {
  if (!stream.is_transport_closed || stream.is_closed_told) return;
  if (!stream.is_announced) {
    streams_.erase(stream.id);
    if (is_server_) ngtcp2_conn_extend_max_streams_bidi(&transport_, 1);
    return;
  }
  if (!stream.is_receiving_over && stream.receive.size() > 0) return;
  release(stream);
  stream.is_closed_told = true;
  tell(StreamClosed{key_of(stream)});
}

}  // namespace zt::quic
