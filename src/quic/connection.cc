// SPDX-License-Identifier: Apache-2.0
#include "quic/connection.h"

#include <ngtcp2/ngtcp2_crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "quic/convert.h"
#include "zt/base/assert.h"

namespace zt::quic {
namespace {

constexpr std::uint64_t kConnectionIdsActiveMax =
    8;  // The pool of ngtcp2; each migration takes one.
constexpr std::uint64_t kUnidirectionalStreamsMax = 16;  // HTTP/3 needs three.
constexpr std::size_t kStreamWindowMax = 8 << 20;        // See connection.h, limits.
// Peers are authenticated, and a change of path makes thousands of harmless duplicates.
constexpr std::uint64_t kGlitchBurst = 1'000'000;
constexpr std::uint64_t kGlitchRate = 100'000;
constexpr std::uint64_t kCryptoErrorFirst = 0x100;  // RFC 9000 section 20.1.
constexpr std::uint64_t kCryptoErrorLast = 0x1ff;
constexpr std::size_t kReasonSizeMax = 256;
// RFC 9002 section 6.1.2, for all timers but pacing. The library wants to acknowledge an eighth of
// a round trip after a packet, which in a local network is before anything goes the other way: an
// answer that comes within this time takes the acknowledgment with it.
constexpr Duration kTimerGranularity = std::chrono::milliseconds(1);

ngtcp2_cc_algo to_native(CongestionControl control) {
  switch (control) {
    case CongestionControl::cubic:
      return NGTCP2_CC_ALGO_CUBIC;
    case CongestionControl::reno:
      return NGTCP2_CC_ALGO_RENO;
    case CongestionControl::bbr:
      return NGTCP2_CC_ALGO_BBR;
  }
  return NGTCP2_CC_ALGO_CUBIC;
}

}  // namespace

// ConnectionCallbacks are what ngtcp2 calls: cast, call the member, translate.
struct ConnectionCallbacks {
  static Connection& self(void* user) { return *static_cast<Connection*>(user); }

  static void rand(std::uint8_t* data, std::size_t size, const ngtcp2_rand_ctx* context) noexcept {
    static_cast<Random*>(context->native_handle)
        ->fill(std::as_writable_bytes(std::span(data, size)));
  }
  static int recv_key(ngtcp2_conn*, ngtcp2_encryption_level level, void* user) noexcept {
    return level == NGTCP2_ENCRYPTION_LEVEL_1RTT ? self(user).start_http3() : 0;
  }
  static int handshake_completed(ngtcp2_conn*, void* user) noexcept {
    return self(user).handshake_completed();
  }
  static int handshake_confirmed(ngtcp2_conn*, void* user) noexcept {
    self(user).is_handshake_confirmed_ = true;
    return 0;
  }
  static int recv_stream_data(ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t,
                              const std::uint8_t* data, std::size_t size, void* user,
                              void*) noexcept {
    return self(user).receive_stream(id, bytes_of(data, size),
                                     (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
  }
  static int acked_stream_data(ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t size,
                               void* user, void*) noexcept {
    Connection& connection = self(user);
    connection.note_acknowledged();
    return connection.application_failure(connection.http3_->acknowledge(id, size));
  }
  static int ack_datagram(ngtcp2_conn*, std::uint64_t, void* user) noexcept {
    self(user).note_acknowledged();
    return 0;
  }
  static int stream_close(ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t code,
                          void* user, void*) noexcept {
    Connection& connection = self(user);
    if (connection.http3_ == nullptr) return 0;
    const bool has_code = (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0;
    return connection.application_failure(
        connection.http3_->close_stream(id, has_code ? code : NGHTTP3_H3_NO_ERROR));
  }
  static int stream_reset(ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t code,
                          void* user, void*) noexcept {
    if (Http3* http3 = self(user).http3()) http3->reset_by_peer(id, code);
    return 0;
  }
  static int recv_stop_sending(ngtcp2_conn*, std::int64_t id, std::uint64_t code, void* user,
                               void*) noexcept {
    if (Http3* http3 = self(user).http3()) http3->stopped_by_peer(id, code);
    return 0;
  }
  static int extend_max_stream_data(ngtcp2_conn*, std::int64_t id, std::uint64_t, void* user,
                                    void*) noexcept {
    Connection& connection = self(user);
    if (connection.http3_ == nullptr) return 0;
    return connection.application_failure(connection.http3_->unblock(id));
  }
  static int extend_max_remote_streams(ngtcp2_conn*, std::uint64_t count, void* user) noexcept {
    if (Http3* http3 = self(user).http3()) http3->allow_requests(count);
    return 0;
  }
  static int get_new_connection_id(ngtcp2_conn*, ngtcp2_cid* cid,
                                   ngtcp2_stateless_reset_token* token, std::size_t,
                                   void* user) noexcept {
    return self(user).new_connection_id(*cid, *token);
  }
  static int remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* cid, void* user) noexcept {
    self(user).remove_connection_id(*cid);
    return 0;
  }
  static int dcid_status(ngtcp2_conn*, ngtcp2_connection_id_status_type type, std::uint64_t,
                         const ngtcp2_cid*, const ngtcp2_stateless_reset_token* token,
                         void* user) noexcept {
    if (token == nullptr) return 0;
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE) {
      self(user).add_reset_token(*token);
    } else {
      self(user).remove_reset_token(*token);
    }
    return 0;
  }
  static int get_path_challenge_data(ngtcp2_conn*, ngtcp2_path_challenge_data* data,
                                     void* user) noexcept {
    self(user).context_.random.fill(std::as_writable_bytes(std::span(data->data)));
    return 0;
  }
  static int begin_path_validation(ngtcp2_conn*, std::uint32_t, const ngtcp2_path* path,
                                   const ngtcp2_path* fallback, void* user) noexcept {
    PathTable& paths = self(user).paths_;
    paths.keep(number_of(*path));
    if (fallback != nullptr) paths.keep(number_of(*fallback));
    return 0;
  }
  static int path_validation(ngtcp2_conn*, std::uint32_t, const ngtcp2_path* path,
                             const ngtcp2_path*, ngtcp2_path_validation_result result,
                             void* user) noexcept {
    self(user).path_validated(*path, result);
    return 0;
  }
  static int recv_stateless_reset(ngtcp2_conn*, const ngtcp2_pkt_stateless_reset2*,
                                  void* user) noexcept {
    self(user).is_reset_by_peer_ = true;
    return 0;
  }
  static int recv_datagram(ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size,
                           void* user) noexcept {
    Connection& connection = self(user);
    if (connection.http3_ == nullptr) return 0;
    return connection.application_failure(connection.http3_->read_datagram(bytes_of(data, size)));
  }

  static ngtcp2_callbacks make(bool is_server) {
    ngtcp2_callbacks callbacks{};
    if (is_server) {
      callbacks.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
      callbacks.recv_tx_key = recv_key;  // SETTINGS go out with the server's first flight.
    } else {
      callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
      callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
      callbacks.recv_rx_key = recv_key;
      callbacks.handshake_confirmed = handshake_confirmed;
    }
    callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
    callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
    callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
    callbacks.update_key = ngtcp2_crypto_update_key_cb;
    callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    callbacks.rand = rand;
    callbacks.get_new_connection_id2 = get_new_connection_id;
    callbacks.remove_connection_id = remove_connection_id;
    callbacks.dcid_status2 = dcid_status;
    callbacks.get_path_challenge_data2 = get_path_challenge_data;
    callbacks.begin_path_validation = begin_path_validation;
    callbacks.path_validation = path_validation;
    callbacks.recv_stateless_reset2 = recv_stateless_reset;
    callbacks.handshake_completed = handshake_completed;
    callbacks.recv_stream_data = recv_stream_data;
    callbacks.acked_stream_data_offset = acked_stream_data;
    callbacks.stream_close = stream_close;
    callbacks.stream_reset = stream_reset;
    callbacks.recv_stop_sending = recv_stop_sending;
    callbacks.extend_max_stream_data = extend_max_stream_data;
    callbacks.extend_max_remote_streams_bidi = extend_max_remote_streams;
    callbacks.recv_datagram = recv_datagram;
    callbacks.ack_datagram = ack_datagram;
    return callbacks;
  }
};

Connection::Connection(Context& context, ConnectionKey key, const Endpoint::ConnectOptions& options,
                       Instant now)
    : context_(context), key_(key), is_accepted_(false), remote_(options.remote) {
  link_.pin = options.pin;
  ConnectionId destination;
  destination.size = kFirstDestinationIdSize;
  context_.random.fill(
      std::as_writable_bytes(std::span(destination.bytes).first(destination.size)));
  if (options.peer_route) {
    std::memcpy(destination.bytes.data(), options.peer_route->bytes.data(), RouteId::kSize);
  }
  peer_route_ = destination.route();
  first_id_ = context_.make_connection_id(peer_route_);
  const ngtcp2_cid destination_native = destination.native();
  const ngtcp2_cid source_native = first_id_.native();
  const ngtcp2_callbacks callbacks = ConnectionCallbacks::make(false);
  const ngtcp2_settings settings = make_settings(now);
  const ngtcp2_transport_params parameters = make_parameters();
  ngtcp2_conn* native = nullptr;
  const int result = ngtcp2_conn_client_new(
      &native, &destination_native, &source_native, &paths_.open(options.remote, {}, {}),
      NGTCP2_PROTO_VER_V1, &callbacks, &settings, &parameters, nullptr, this);
  ZT_ASSERT(result == 0);  // Memory only.
  native_.reset(native);
  register_id(first_id_);
  is_kept_alive_ = options.is_kept_alive;
  ping_every(std::nullopt);
  start_tls(options.server_name);
}

Connection::Connection(Context& context, ConnectionKey key, const AcceptRequest& request,
                       Instant now)
    : context_(context),
      key_(key),
      is_accepted_(true),
      remote_(request.remote),
      peer_route_(request.client_id.route()) {
  first_id_ = context_.make_connection_id(peer_route_);
  const ngtcp2_cid destination_native = request.client_id.native();
  const ngtcp2_cid source_native = first_id_.native();
  const ngtcp2_callbacks callbacks = ConnectionCallbacks::make(true);
  ngtcp2_settings settings = make_settings(now);
  ngtcp2_transport_params parameters = make_parameters();
  parameters.original_dcid = request.original_id.native();
  parameters.original_dcid_present = 1;
  if (!request.token.empty()) {
    settings.token = request.token.data();
    settings.tokenlen = request.token.size();
    settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
    parameters.retry_scid = request.destination_id.native();
    parameters.retry_scid_present = 1;
  }
  parameters.stateless_reset_token_present = 1;
  ZT_ASSERT(ngtcp2_crypto_generate_stateless_reset_token(
                std::data(parameters.stateless_reset_token), context_.reset_key.data(),
                context_.reset_key.size(), &source_native) == 0);
  ngtcp2_conn* native = nullptr;
  const int result = ngtcp2_conn_server_new(
      &native, &destination_native, &source_native, &paths_.open(request.remote, {}, {}),
      NGTCP2_PROTO_VER_V1, &callbacks, &settings, &parameters, nullptr, this);
  ZT_ASSERT(result == 0);  // Memory only.
  native_.reset(native);
  register_id(first_id_);
  register_id(request.destination_id);
  start_tls({});
}

Connection::~Connection() {
  // Before the TLS session that its callbacks refer to.
  http3_.reset();
  native_.reset();
  for (const ConnectionId& id : ids_) context_.recipients.erase(id);
  for (const ConnectionId& token : reset_tokens_) context_.reset_tokens.erase(token);
}

ngtcp2_settings Connection::make_settings(Instant now) const {
  const Endpoint::Limits& limits = context_.limits;
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = to_timestamp(now);
  settings.initial_rtt = quic::to_native(limits.rtt_initial);
  settings.cc_algo = to_native(limits.congestion_control);
  settings.handshake_timeout = quic::to_native(limits.handshake_timeout);
  settings.rand_ctx.native_handle = &context_.random;
  settings.max_window = limits.connection_receive_size_max;
  settings.max_stream_window = std::min(limits.stream_receive_size_max, kStreamWindowMax);
  settings.max_tx_udp_payload_size = limits.payload_size_max;
  settings.no_pmtud = limits.payload_size_max <= NGTCP2_MAX_UDP_PAYLOAD_SIZE ? 1 : 0;
  settings.pmtud_probes = context_.probed_sizes.data();
  settings.pmtud_probeslen = context_.probed_sizes.size();
  settings.glitch_ratelim_burst = kGlitchBurst;
  settings.glitch_ratelim_rate = kGlitchRate;
  return settings;
}

ngtcp2_transport_params Connection::make_parameters() const {
  const Endpoint::Limits& limits = context_.limits;
  const std::uint64_t stream_window = std::min(limits.stream_receive_size_max, kStreamWindowMax);
  ngtcp2_transport_params parameters;
  ngtcp2_transport_params_default(&parameters);
  parameters.initial_max_data = limits.connection_receive_size_max;
  parameters.initial_max_stream_data_bidi_local = stream_window;
  parameters.initial_max_stream_data_bidi_remote = stream_window;
  parameters.initial_max_stream_data_uni = 64 << 10;
  // HTTP/3 servers open no bidirectional streams (RFC 9114 section 6.1).
  parameters.initial_max_streams_bidi = is_accepted_ ? limits.streams_per_connection_max : 0;
  parameters.initial_max_streams_uni = kUnidirectionalStreamsMax;
  parameters.max_idle_timeout = quic::to_native(limits.idle_timeout);
  parameters.active_connection_id_limit = kConnectionIdsActiveMax;
  parameters.max_datagram_frame_size = 65'535;  // RFC 9221 section 3: any that fits a packet.
  return parameters;
}

void Connection::start_tls(const std::string& server_name) {
  link_.connection = native_.get();
  SSL_CTX& context = is_accepted_ ? *context_.tls_server : *context_.tls_client;
  tls_ = make_tls_session(context, is_accepted_, link_, server_name);
  ngtcp2_conn_set_tls_native_handle(native_.get(), tls_.get());
}

void Connection::register_id(const ConnectionId& id) {
  ids_.push_back(id);
  context_.recipients.insert_or_assign(id, Recipient{this, key_});
}

// --- Packets in.

void Connection::read(const ReceivedPacket& packet, Instant now) {
  if (ending_) return;
  const ngtcp2_path* path = nullptr;
  if (is_accepted_) {
    const bool is_first_epoch = packet.is_long_header || packet.destination_id == first_id_;
    path = &paths_.find_or_open(
        packet.remote, is_first_epoch ? ConnectionId{} : packet.destination_id, current_path());
  } else {
    path = paths_.find_newest(packet.remote);
    if (path == nullptr) {
      ++context_.counters.packets_discarded;
      return;
    }
  }
  const ngtcp2_pkt_info info{.ecn = packet.ecn};
  const int result = ngtcp2_conn_read_pkt(native_.get(), path, &info, octets_of(packet.bytes),
                                          packet.bytes.size(), to_timestamp(now));
  if (result != 0) {
    fail(result, now);
    return;
  }
  if (number_of(*path) == current_path()) arrived_last_ = now;
  if (is_ready_ || !ngtcp2_conn_get_handshake_completed2(native_.get())) return;
  // The connecting side waits for SETTINGS, which say whether extended CONNECT and datagrams work.
  if (is_accepted_ || (http3_ != nullptr && http3_->has_peer_settings())) become_ready();
}

void Connection::read_reset(const SocketAddress& remote, BytesView packet, Instant now) {
  if (ending_ || remote != this->remote()) return;
  // ngtcp2 checks the token again, and wants it to come along the path in use.
  const int result =
      ngtcp2_conn_read_pkt(native_.get(), ngtcp2_conn_get_path2(native_.get()), nullptr,
                           octets_of(packet), packet.size(), to_timestamp(now));
  if (result != 0) fail(result, now);
}

void Connection::become_ready() {
  is_ready_ = true;
  remote_announced_ = remote();
  http3_->announce();
  context_.events.push(ConnectionReady{key_, is_accepted_, remote_announced_, link_.identity});
}

void Connection::handle_timeout(Instant now) {
  if (ending_) return;
  const ngtcp2_tstamp timestamp = to_timestamp(now);
  if (ngtcp2_conn_get_expiry2(native_.get()) > timestamp) return;
  const int result = ngtcp2_conn_handle_expiry(native_.get(), timestamp);
  if (result != 0) return fail(result, now);
  if (http3_ != nullptr &&
      black_hole_.is_due(ngtcp2_conn_get_path_max_tx_udp_payload_size2(native_.get()),
                         from_native_duration(ngtcp2_conn_get_pto2(native_.get())), now)) {
    black_hole_.doubt(http3_->has_unacknowledged(), now);
  }
}

std::optional<Instant> Connection::deadline() const {
  std::optional<Instant> deadline = from_timestamp(ngtcp2_conn_get_expiry2(native_.get()));
  if (deadline && is_ready_ && !is_output_waiting_) *deadline += kTimerGranularity;
  return deadline;
}

int Connection::start_http3() {
  http3_ = std::make_unique<Http3>(key_, is_accepted_, context_, *native_);
  return application_failure(http3_->start());
}

int Connection::handshake_completed() {
  // An accepted connection is confirmed as soon as it is complete (RFC 9001 section 4.1.2).
  if (is_accepted_) is_handshake_confirmed_ = true;
  return 0;
}

int Connection::receive_stream(std::int64_t stream_id, BytesView bytes, bool is_end) {
  // On the accepting side requests follow ConnectionReady, also if both are in one datagram.
  if (is_accepted_ && !is_ready_) become_ready();
  return application_failure(
      http3_->read(stream_id, bytes, is_end, ngtcp2_conn_get_timestamp(native_.get())));
}

int Connection::new_connection_id(ngtcp2_cid& cid, ngtcp2_stateless_reset_token& token) {
  const ConnectionId id = context_.make_connection_id(peer_route_);
  cid = id.native();
  if (ngtcp2_crypto_generate_stateless_reset_token(std::data(token.data), context_.reset_key.data(),
                                                   context_.reset_key.size(), &cid) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  register_id(id);
  return 0;
}

void Connection::remove_connection_id(const ngtcp2_cid& cid) {
  const ConnectionId id = ConnectionId::from(cid);
  context_.recipients.erase(id);
  std::erase(ids_, id);
}

// A token that is already somebody's stays theirs: a peer cannot take over another's.
void Connection::add_reset_token(const ngtcp2_stateless_reset_token& token) {
  const ConnectionId key = ConnectionId::from(std::data(token.data), std::size(token.data));
  if (context_.reset_tokens.emplace(key, Recipient{this, key_}).second) {
    reset_tokens_.push_back(key);
  }
}

void Connection::remove_reset_token(const ngtcp2_stateless_reset_token& token) {
  const ConnectionId key = ConnectionId::from(std::data(token.data), std::size(token.data));
  if (std::erase(reset_tokens_, key) > 0) context_.reset_tokens.erase(key);
}

int Connection::application_failure(const Http3Result& result) {
  if (result) return 0;
  if (!application_error_) application_error_ = result.error();
  return NGTCP2_ERR_CALLBACK_FAILURE;
}

// --- Paths.

PathNumber Connection::current_path() const {
  return number_of(*ngtcp2_conn_get_path2(native_.get()));
}

SocketAddress Connection::remote() const {
  return paths_.remote_of(current_path()).value_or(remote_);
}

std::expected<void, MigrateError> Connection::migrate(const SocketAddress& remote,
                                                      bool is_immediate, Instant now) {
  if (ending_) return std::unexpected(MigrateError::gone);
  if (is_accepted_ || !is_handshake_confirmed_) return std::unexpected(MigrateError::not_ready);
  if (remote == this->remote()) return std::unexpected(MigrateError::same_path);
  return take_path(remote, is_immediate, now);
}

std::expected<void, MigrateError> Connection::rebind(Instant now) {
  if (ending_) return std::unexpected(MigrateError::gone);
  if (is_accepted_ || !is_handshake_confirmed_) return std::unexpected(MigrateError::not_ready);
  return take_path(remote(), true, now);
}

void Connection::ping_every(std::optional<Duration> interval) {
  if (!interval && is_kept_alive_) interval = context_.limits.keep_alive;
  ngtcp2_conn_set_keep_alive_timeout(native_.get(),
                                     interval ? quic::to_native(*interval) : UINT64_MAX);
}

std::expected<void, MigrateError> Connection::take_path(const SocketAddress& remote,
                                                        bool is_immediate, Instant now) {
  const ngtcp2_path& path = paths_.open(remote, {}, current_path());
  const auto initiate =
      is_immediate ? ngtcp2_conn_initiate_immediate_migration : ngtcp2_conn_initiate_migration;
  // The callback for a validation that this one aborts comes first, within the call.
  const int result = initiate(native_.get(), &path, to_timestamp(now));
  switch (result) {
    case 0:
      migration_ = Migration{number_of(path), remote};
      take_remote(remote);
      return {};
    case NGTCP2_ERR_CONN_ID_BLOCKED:
      return std::unexpected(MigrateError::blocked);
    case NGTCP2_ERR_INVALID_ARGUMENT:
      return std::unexpected(MigrateError::same_path);
    default:
      return std::unexpected(MigrateError::not_ready);
  }
}

void Connection::path_validated(const ngtcp2_path& path, ngtcp2_path_validation_result result) {
  const PathNumber number = number_of(path);
  if (is_accepted_) {
    if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS && number == current_path()) {
      announce_remote(number);
    }
    return;
  }
  if (!migration_ || migration_->path != number) return;
  const SocketAddress remote = migration_->remote;
  migration_.reset();
  if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS) {
    announce_remote(number);
  } else {
    // After an immediate one it is elsewhere than was said, also when it comes back.
    if (number == current_path()) remote_announced_ = {};
    context_.events.push(MigrationFailed{key_, remote});
  }
}

// take_remote forgets what was found out about the path to another address.
void Connection::take_remote(const SocketAddress& remote) {
  remote_ = remote;
  black_hole_.path_changed();
  path_size_.path_changed();
}

void Connection::announce_remote(PathNumber path) {
  const std::optional<SocketAddress> remote = paths_.remote_of(path);
  if (!remote) return;
  take_remote(*remote);
  if (!is_ready_ || *remote == remote_announced_) return;
  remote_announced_ = *remote;
  context_.events.push(ConnectionMoved{key_, *remote});
}

// --- Packets out.

std::optional<Transmit> Connection::write(std::span<std::byte> buffer, Instant now) {
  if (ending_) return std::nullopt;
  if (held_.size > 0) return write_held(buffer);
  const ngtcp2_tstamp timestamp = to_timestamp(now);
  note_sending(now);
  const std::size_t packet_size_max =
      std::min(ngtcp2_conn_get_max_tx_udp_payload_size2(native_.get()), payload_size_max_);
  const std::size_t path_payload_size = this->path_payload_size();
  const std::size_t quantum = ngtcp2_conn_get_send_quantum2(native_.get());
  const std::size_t size_max =
      std::min({buffer.size(), kBatchSizeMax, std::max(quantum, path_payload_size)});
  if (http3_ != nullptr) http3_->set_turn_size_max(size_max);
  const std::span<std::uint8_t> octets(octets_of(buffer), buffer.size());
  std::size_t size = 0;
  std::size_t segment_size = 0;
  PathNumber batch_path{};
  std::uint8_t batch_ecn = 0;
  for (std::size_t count = 0; count < kSegmentsMax; ++count) {
    // The first packet may be a probe, larger than the path is known to carry.
    const std::size_t room = octets.size() - size;
    if (room < packet_size_max || (count > 0 && size + segment_size > size_max)) break;
    ngtcp2_path_storage storage;
    ngtcp2_path_storage_zero(&storage);
    ngtcp2_pkt_info info{};
    const ngtcp2_ssize written =
        write_packet(storage.path, info, octets.subspan(size, packet_size_max), timestamp);
    if (written < 0) {
      fail(static_cast<int>(written), now);
      return std::nullopt;
    }
    if (written == 0) break;
    const auto packet_size = static_cast<std::size_t>(written);
    const PathNumber path = number_of(storage.path);
    if (count == 0) {
      segment_size = packet_size;
      batch_path = path;
      batch_ecn = info.ecn;
    } else if (path != batch_path || info.ecn != batch_ecn || packet_size > segment_size) {
      held_.bytes.assign(octets.begin() + std::ptrdiff_t(size),
                         octets.begin() + std::ptrdiff_t(size + packet_size));
      held_.size = packet_size;
      held_.path = path;
      held_.ecn = info.ecn;
      break;
    }
    size += packet_size;
    if (packet_size < segment_size || packet_size > path_payload_size) break;
  }
  if (size == 0) return std::nullopt;
  ngtcp2_conn_update_pkt_tx_time(native_.get(), timestamp);
  return describe(batch_path, size, segment_size, batch_ecn);
}

std::optional<Transmit> Connection::write_held(std::span<std::byte> buffer) {
  const std::size_t size = std::exchange(held_.size, 0);
  if (buffer.size() < size) return std::nullopt;  // The contract forbids it; the packet is lost.
  std::copy_n(held_.bytes.begin(), size, octets_of(buffer));
  return describe(held_.path, size, size, held_.ecn);
}

// A path whose number has made room for another gets a Transmit of no bytes, which the endpoint
// passes over: the packet counts as lost.
std::optional<Transmit> Connection::describe(PathNumber path, std::size_t size,
                                             std::size_t segment_size, std::uint8_t ecn) const {
  const std::optional<SocketAddress> remote = paths_.remote_of(path);
  return Transmit{.remote = remote.value_or(remote_),
                  .size = remote ? size : 0,
                  .segment_size = segment_size,
                  .ecn = ecn,
                  .rtt_minimum = rtt_minimum_};
}

std::size_t Connection::path_payload_size() const {
  return std::min(ngtcp2_conn_get_path_max_tx_udp_payload_size2(native_.get()), payload_size_max_);
}

void Connection::note_sending(Instant now) {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info2(native_.get(), &info);
  black_hole_.sending(info.bytes_in_flight == 0, now);
  payload_size_max_ = black_hole_.payload_size_max(now);
  rtt_minimum_ = from_native_duration(info.min_rtt);
  if (is_ready_) path_size_.seen(path_payload_size(), now);
}

void Connection::note_acknowledged() {
  if (const auto now = from_timestamp(ngtcp2_conn_get_timestamp(native_.get()))) {
    black_hole_.acknowledged(*now);
  }
}

bool Connection::can_write_streams() const {
  return http3_ != nullptr && ngtcp2_conn_get_max_data_left2(native_.get()) > 0;
}

// write_packet fills one packet: datagrams and stream bytes take turns in being first, and the
// other kind fills the rest.
ngtcp2_ssize Connection::write_packet(ngtcp2_path& path, ngtcp2_pkt_info& info,
                                      std::span<std::uint8_t> buffer, ngtcp2_tstamp now) {
  is_datagram_turn_ = !is_datagram_turn_;
  Filling filling{.try_datagrams = is_datagram_turn_};
  for (;;) {
    std::optional<ngtcp2_ssize> result;
    const Bytes* datagram = nullptr;
    if (filling.try_datagrams && http3_ != nullptr) {
      datagram = http3_->next_datagram(datagram_frame_payload_size_max());
    }
    if (datagram != nullptr) {
      result = fill_datagram(*datagram, path, info, buffer, now);
    } else {
      result = fill_stream(filling, path, info, buffer, now);
    }
    if (!result) continue;
    is_output_waiting_ = *result == 0 && (datagram != nullptr || output_.stream_id >= 0);
    return *result;
  }
}

// fill_datagram and fill_stream return the size of a packet that is complete, 0 if none can be
// sent, or an error; and nothing if there is room for more.
std::optional<ngtcp2_ssize> Connection::fill_datagram(const Bytes& datagram, ngtcp2_path& path,
                                                      ngtcp2_pkt_info& info,
                                                      std::span<std::uint8_t> buffer,
                                                      ngtcp2_tstamp now) {
  int is_accepted = 0;
  const ngtcp2_vec piece{octets_of(datagram.data()), datagram.size()};
  const ngtcp2_ssize result =
      ngtcp2_conn_writev_datagram(native_.get(), &path, &info, buffer.data(), buffer.size(),
                                  &is_accepted, NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0, &piece, 1, now);
  if (is_accepted != 0) {
    http3_->pop_datagram();
    black_hole_.sent_datagram();
  }
  if (result == NGTCP2_ERR_WRITE_MORE) return std::nullopt;
  return result;
}

std::optional<ngtcp2_ssize> Connection::fill_stream(Filling& filling, ngtcp2_path& path,
                                                    ngtcp2_pkt_info& info,
                                                    std::span<std::uint8_t> buffer,
                                                    ngtcp2_tstamp now) {
  output_.stream_id = -1;
  output_.is_end = false;
  output_.count = 0;
  if (filling.have_streams && can_write_streams() &&
      application_failure(http3_->next_output(output_)) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if (output_.stream_id < 0 && !filling.try_datagrams) {
    filling = {.try_datagrams = true, .have_streams = false};
    return std::nullopt;
  }
  for (std::size_t i = 0; i < output_.count; ++i) {
    pieces_[i] = {output_.pieces[i].base, output_.pieces[i].len};
  }
  std::uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
  if (output_.stream_id >= 0) flags |= NGTCP2_WRITE_STREAM_FLAG_MORE;
  if (output_.is_end) flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
  ngtcp2_ssize accepted = -1;
  const ngtcp2_ssize result = ngtcp2_conn_writev_stream(
      native_.get(), &path, &info, buffer.data(), buffer.size(), &accepted, flags,
      output_.stream_id, pieces_.data(), output_.count, now);
  if (result == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
    http3_->block(output_.stream_id);
    return std::nullopt;
  }
  if (result == NGTCP2_ERR_STREAM_SHUT_WR || result == NGTCP2_ERR_STREAM_NOT_FOUND) {
    http3_->shut_writing(output_.stream_id);
    return std::nullopt;
  }
  if (output_.stream_id >= 0 && accepted >= 0 &&
      application_failure(http3_->wrote(output_, static_cast<std::size_t>(accepted))) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if (result == NGTCP2_ERR_WRITE_MORE) return std::nullopt;
  return result;
}

std::size_t Connection::datagram_frame_payload_size_max() const {
  if (http3_ == nullptr || !http3_->takes_datagrams()) return 0;
  const ngtcp2_transport_params* peer = ngtcp2_conn_get_remote_transport_params2(native_.get());
  if (peer == nullptr) return 0;
  // First byte, packet number, AEAD tag; frame type and a length of up to four bytes.
  constexpr std::size_t kPacketOverhead = 1 + 4 + 16;
  constexpr std::size_t kFrameOverhead = 1 + 4;
  const std::size_t overhead =
      kPacketOverhead + kFrameOverhead + ngtcp2_conn_get_dcid2(native_.get())->datalen;
  const std::size_t path_size = path_payload_size();
  const std::size_t path_max = path_size > overhead ? path_size - overhead : 0;
  const std::uint64_t frame_max = peer->max_datagram_frame_size;
  const std::size_t peer_max =
      frame_max > kFrameOverhead
          ? static_cast<std::size_t>(std::min<std::uint64_t>(frame_max - kFrameOverhead, 65'535))
          : 0;
  return std::min(path_max, peer_max);
}

bool Connection::is_path_size_settled(Instant now) const {
  return !black_hole_.is_first_doubt(now) &&
         path_size_.is_settled(context_.probed_sizes,
                               from_native_duration(ngtcp2_conn_get_pto2(native_.get())), now);
}

// --- Ends.

void Connection::close(std::uint64_t code, std::string_view reason, Instant now) {
  if (ending_) return;
  reason = reason.substr(0, kReasonSizeMax);
  ngtcp2_ccerr error;
  ngtcp2_ccerr_set_application_error(&error, code, octets_of(as_bytes(reason)), reason.size());
  end(CloseReason::local, &error, now);
}

// fail turns an error of the library into an Ending.
void Connection::fail(int error, Instant now) {
  ngtcp2_ccerr close;
  ngtcp2_ccerr_default(&close);
  switch (error) {
    case NGTCP2_ERR_DRAINING:
      end_by_peer(now);
      return;
    case NGTCP2_ERR_IDLE_CLOSE:
      end(CloseReason::idle, nullptr, now);
      return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      end(CloseReason::handshake_timeout, nullptr, now);
      return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_CLOSING:
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
    case NGTCP2_ERR_VERSION_NEGOTIATION:
      end(CloseReason::handshake_failed, nullptr, now);
      return;
    case NGTCP2_ERR_CRYPTO: {
      ngtcp2_ccerr_set_tls_alert(&close, ngtcp2_conn_get_tls_alert2(native_.get()), nullptr, 0);
      end(is_ready_ ? CloseReason::violation : CloseReason::handshake_failed, &close, now);
      return;
    }
    case NGTCP2_ERR_CALLBACK_FAILURE:
      if (application_error_) {
        ngtcp2_ccerr_set_application_error(&close, application_error_->code, nullptr, 0);
        end(CloseReason::violation, &close, now);
        return;
      }
      break;
    default:
      break;
  }
  ngtcp2_ccerr_set_liberr(&close, error, nullptr, 0);
  end(CloseReason::violation, &close, now).text = ngtcp2_strerror(error);
}

void Connection::end_by_peer(Instant now) {
  if (is_reset_by_peer_) {
    end(CloseReason::stateless_reset, nullptr, now);
    return;
  }
  const ngtcp2_ccerr& error = *ngtcp2_conn_get_ccerr2(native_.get());
  const bool is_crypto = error.type == NGTCP2_CCERR_TYPE_TRANSPORT &&
                         error.error_code >= kCryptoErrorFirst &&
                         error.error_code <= kCryptoErrorLast;
  Ending& ending = end(is_crypto ? CloseReason::handshake_failed : CloseReason::peer, nullptr, now);
  ending.code = error.error_code;
  ending.text = as_text(bytes_of(error.reason, error.reasonlen));
}

Ending& Connection::end(CloseReason reason, const ngtcp2_ccerr* error, Instant now) {
  ERR_clear_error();
  Ending& ending = ending_.emplace();
  ending.reason = reason;
  ending.remote = remote();
  ending.period = 3 * from_native_duration(ngtcp2_conn_get_pto2(native_.get()));
  if (link_.is_refused) ending.text = "the peer's certificate is not the one demanded";
  if (error == nullptr) return ending;
  ending.code = error->error_code;
  ending.text.append(as_text(bytes_of(error->reason, error->reasonlen)));
  std::array<std::uint8_t, NGTCP2_MAX_UDP_PAYLOAD_SIZE> packet{};
  ngtcp2_path_storage storage;
  ngtcp2_path_storage_zero(&storage);
  ngtcp2_pkt_info info{};
  const ngtcp2_ssize size = ngtcp2_conn_write_connection_close(
      native_.get(), &storage.path, &info, packet.data(), packet.size(), error, to_timestamp(now));
  if (size <= 0) return ending;  // No keys yet, or nothing may be sent to an address not validated.
  const BytesView view = bytes_of(packet.data(), static_cast<std::size_t>(size));
  ending.packet.assign(view.begin(), view.end());
  ending.remote = paths_.remote_of(number_of(storage.path)).value_or(ending.remote);
  return ending;
}

// --- Questions.

std::optional<Digest> Connection::export_key(std::string_view label) const {
  if (!is_ready_) return std::nullopt;
  Digest key;
  const int result =
      SSL_export_keying_material(tls_.get(), octets_of(std::span<std::byte>(key.bytes)),
                                 key.bytes.size(), label.data(), label.size(), nullptr, 0, 0);
  if (result == 1) return key;
  ERR_clear_error();
  return std::nullopt;
}

Statistics Connection::statistics() const {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info2(native_.get(), &info);
  return {.rtt_smoothed = from_native_duration(info.smoothed_rtt),
          .rtt_minimum = from_native_duration(info.min_rtt),
          .congestion_window_size = info.cwnd,
          .bytes_in_flight = info.bytes_in_flight,
          .packets_sent = info.pkt_sent,
          .packets_lost = info.pkt_lost,
          .packets_received = info.pkt_recv,
          .arrived_last = arrived_last_,
          .datagram_payload_size = path_payload_size()};
}

}  // namespace zt::quic
