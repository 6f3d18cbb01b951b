// SPDX-License-Identifier: Apache-2.0
#include "quic/endpoint.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "quic/connection.h"
#include "quic/context.h"
#include "quic/convert.h"
#include "quic/schedule.h"
#include "quic/tls.h"
#include "zt/base/assert.h"

namespace zt::quic {
namespace {

constexpr std::array<std::uint32_t, 1> kVersions = {NGTCP2_PROTO_VER_V1};
constexpr Duration kRetryTokenLifetime = std::chrono::seconds(10);
// A Stateless Reset looks like a short packet and is smaller than what it answers, so that two
// endpoints cannot answer each other for ever (RFC 9000 section 10.3).
constexpr std::size_t kResetSizeMax = 43;
constexpr std::size_t kResetSizeMin =
    NGTCP2_MIN_STATELESS_RESET_RANDLEN + NGTCP2_STATELESS_RESET_TOKENLEN;
constexpr std::size_t kRepliesQueuedMax = 256;
// Sizes that paths are probed for, up to the configured one, in this order: Ethernet with IPv6 and,
// if that fails, with PPPoE, on optical access, and in common tunnels; if it works, jumbo frames.
constexpr std::array<std::uint16_t, 6> kProbedSizes = {1452, 1444, 1406, 1342, 8952, 4052};
// After a wake-up that changed nothing, the next one is not before so long.
constexpr Duration kDeadlineStep = std::chrono::microseconds(10);

// StatelessReply is a datagram that belongs to no live connection.
struct StatelessReply {
  SocketAddress remote;
  Bytes bytes;
};

// Closing is what stays of a connection for three probe timeouts: the packet that tells the peer,
// in case it was lost (RFC 9000 section 10.2).
struct Closing {
  std::vector<ConnectionId> ids;
  Bytes packet;  // Empty if the peer needs not be told: then late packets are only ignored.
  Instant until;
  std::uint64_t received_count = 0;
};

// ReplyBudget allows so many replies a second.
class ReplyBudget {
 public:
  explicit ReplyBudget(std::size_t per_second) : per_second_(per_second), left_(per_second) {}

  [[nodiscard]] bool take(Instant now) {
    if (!started_at_ || now - *started_at_ >= std::chrono::seconds(1)) {
      started_at_ = now;
      left_ = per_second_;
    }
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  std::size_t per_second_;
  std::size_t left_;
  std::optional<Instant> started_at_;
};

ngtcp2_cid native_cid(const std::uint8_t* data, std::size_t size) {
  ngtcp2_cid cid;
  ngtcp2_cid_init(&cid, data, std::min<std::size_t>(size, NGTCP2_MAX_CIDLEN));
  return cid;
}

}  // namespace

std::string_view to_text(CloseReason reason) {
  switch (reason) {
    case CloseReason::local:
      return "closed here";
    case CloseReason::peer:
      return "closed by the peer";
    case CloseReason::idle:
      return "idle for too long";
    case CloseReason::handshake_timeout:
      return "the handshake took too long";
    case CloseReason::handshake_failed:
      return "the handshake failed";
    case CloseReason::stateless_reset:
      return "the peer has lost its state";
    case CloseReason::violation:
      return "the protocol was violated";
  }
  return "unknown";
}

Context::Context(const Endpoint::Limits& the_limits, Random& the_random)
    : limits(the_limits), random(the_random) {
  ConnectionIdHash hash;
  random.fill(std::as_writable_bytes(std::span(hash.key)));
  recipients = RecipientTable(0, hash);
  reset_tokens = RecipientTable(0, hash);
  random.fill(std::as_writable_bytes(std::span(reset_key)));
  random.fill(std::as_writable_bytes(std::span(token_key)));
  for (const std::uint16_t size : kProbedSizes) {
    if (size <= limits.payload_size_max) probed_sizes.push_back(size);
  }
  const auto payload_size_max = static_cast<std::uint16_t>(limits.payload_size_max);
  if (payload_size_max > NGTCP2_MAX_UDP_PAYLOAD_SIZE &&
      std::ranges::count(probed_sizes, payload_size_max) == 0) {
    probed_sizes.push_back(payload_size_max);
  }
}

ConnectionId Context::make_connection_id(const RouteId& peer) {
  ConnectionId id;
  id.size = kConnectionIdSize;
  std::memcpy(id.bytes.data(), route.bytes.data(), RouteId::kSize);
  std::memcpy(id.bytes.data() + RouteId::kSize, peer.bytes.data(), RouteId::kSize);
  do {  // Few random bytes are left, and a peer that lies about its route can have many IDs.
    random.fill(std::as_writable_bytes(
        std::span(id.bytes).subspan(2 * RouteId::kSize, kConnectionIdSize - 2 * RouteId::kSize)));
  } while (recipients.contains(id));
  return id;
}

class Endpoint::Impl {
 public:
  Impl(const Config& config, Random& random);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() = default;

  void handle(const ReceivedDatagrams& datagrams, Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Event> poll_event();
  [[nodiscard]] std::optional<Transmit> poll_transmit(std::span<std::byte> buffer, Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::expected<ConnectionKey, ConnectError> connect(const ConnectOptions& options,
                                                                   Instant now);
  void close(ConnectionKey key, std::uint64_t code, std::string_view reason, Instant now);
  [[nodiscard]] std::optional<ReceivedDatagram> poll_datagram();

  [[nodiscard]] Context& context() { return context_; }
  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }

  // newest returns the connection that was made last.
  [[nodiscard]] std::optional<ConnectionKey> newest() const {
    std::optional<ConnectionKey> newest;
    for (const auto& [key, connection] : connections_)
      newest = std::max(newest, std::optional(key));
    return newest;
  }

  // find returns null for a key of no live connection.
  [[nodiscard]] Connection* find(ConnectionKey key) const {
    const auto found = connections_.find(key);
    return found == connections_.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] Http3* find_http3(ConnectionKey key) const {
    Connection* connection = find(key);
    return connection == nullptr ? nullptr : connection->http3();
  }
  // touch says that a connection may have something to send.
  void touch(ConnectionKey key) {
    if (Connection* connection = find(key)) turns_.push(*connection);
  }
  // settle takes a connection that has ended out of everything. It returns whether it had ended.
  bool settle(Connection& connection, Instant now);

 private:
  void handle_packet(const SocketAddress& remote, BytesView packet, std::uint8_t ecn, Instant now);
  void deliver(Connection& connection, const ReceivedPacket& packet, Instant now);
  [[nodiscard]] bool handle_reset(const SocketAddress& remote, BytesView packet, Instant now);
  void answer_closing(ConnectionKey key, const SocketAddress& remote, std::size_t size);
  void accept(const SocketAddress& remote, BytesView packet, std::uint8_t ecn, Instant now);
  [[nodiscard]] bool check_token(const SocketAddress& remote, const ngtcp2_pkt_hd& header,
                                 AcceptRequest& request, Instant now);
  void send_version_negotiation(const SocketAddress& remote, const ngtcp2_version_cid& ids,
                                Instant now);
  void send_retry(const SocketAddress& remote, const ngtcp2_pkt_hd& header, Instant now);
  void send_invalid_token(const SocketAddress& remote, const ngtcp2_pkt_hd& header, Instant now);
  void send_stateless_reset(const SocketAddress& remote, const ngtcp2_version_cid& ids,
                            std::size_t received_size, Instant now);
  [[nodiscard]] bool may_reply(Instant now);
  void reply(const SocketAddress& remote, std::span<const std::uint8_t> bytes);
  void add_closing(ConnectionKey key, Ending& ending, std::vector<ConnectionId> ids, Instant now);
  void remove_closing(std::map<ConnectionKey, Closing>::iterator closing);
  void schedule(Connection& connection, Instant now);

  Context context_;
  bool is_accepting_;
  std::uint64_t key_last_ = 0;
  std::size_t handshakes_count_ = 0;
  ReplyBudget budget_;
  Fifo<StatelessReply> replies_;
  std::map<ConnectionKey, Closing> closings_;  // In the order of closing, nearly that of `until`.
  DeadlineHeap deadlines_;
  TurnQueue turns_;
  // Who got the last packet: usually also who gets the next one.
  Connection* recent_ = nullptr;
  ConnectionId recent_id_;
  Bytes datagram_polled_;
  // Connections refer to everything above.
  std::unordered_map<ConnectionKey, std::unique_ptr<Connection>> connections_;
};

Endpoint::Impl::Impl(const Config& config, Random& random)
    : context_(config.limits, random),
      is_accepting_(config.is_accepting),
      budget_(config.limits.stateless_replies_max) {
  ZT_ASSERT(!config.is_accepting || config.identity != nullptr);
  ZT_ASSERT(config.limits.payload_size_max >= NGTCP2_MAX_UDP_PAYLOAD_SIZE);
  ZT_ASSERT(config.limits.payload_size_max <= Connection::kBatchSizeMax);
  context_.route = config.route;
  if (config.reset_key) {
    std::memcpy(context_.reset_key.data(), config.reset_key->bytes.data(), Digest::kSize);
  }
  context_.tls_client = make_tls_context({.identity = config.identity, .is_server = false});
  if (config.is_accepting) {
    context_.tls_server =
        make_tls_context({.identity = config.identity,
                          .is_server = true,
                          .is_client_certificate_required = config.is_client_certificate_required});
  }
}

// --- Datagrams in.

void Endpoint::Impl::handle(const ReceivedDatagrams& datagrams, Instant now) {
  const std::size_t segment_size =
      datagrams.segment_size == 0 ? datagrams.bytes.size() : datagrams.segment_size;
  BytesView rest = datagrams.bytes;
  while (!rest.empty()) {
    const BytesView packet = rest.first(std::min(segment_size, rest.size()));
    rest = rest.subspan(packet.size());
    handle_packet(datagrams.remote, packet, datagrams.ecn, now);
  }
}

void Endpoint::Impl::handle_packet(const SocketAddress& remote, BytesView packet, std::uint8_t ecn,
                                   Instant now) {
  ngtcp2_version_cid ids;
  const int decoded =
      ngtcp2_pkt_decode_version_cid(&ids, octets_of(packet), packet.size(), kConnectionIdSize);
  if (decoded == NGTCP2_ERR_VERSION_NEGOTIATION) {
    send_version_negotiation(remote, ids, now);
    return;
  }
  if (decoded != 0 || ids.dcidlen > NGTCP2_MAX_CIDLEN || ids.scidlen > NGTCP2_MAX_CIDLEN) {
    ++context_.counters.packets_discarded;
    return;
  }
  const bool is_long_header = (std::to_integer<unsigned>(packet[0]) & 0x80U) != 0;
  const ConnectionId destination_id = ConnectionId::from(ids.dcid, ids.dcidlen);
  if (recent_ != nullptr && destination_id == recent_id_) {
    deliver(*recent_, {remote, destination_id, is_long_header, ecn, packet}, now);
    return;
  }
  const auto found = context_.recipients.find(destination_id);
  if (found == context_.recipients.end()) {
    if (!is_long_header) {
      if (!handle_reset(remote, packet, now)) {
        send_stateless_reset(remote, ids, packet.size(), now);
      }
    } else if (is_accepting_ && ids.version == NGTCP2_PROTO_VER_V1) {
      accept(remote, packet, ecn, now);
    } else if (is_accepting_ && packet.size() >= NGTCP2_MAX_UDP_PAYLOAD_SIZE && ids.version != 0) {
      send_version_negotiation(remote, ids, now);
    } else {
      ++context_.counters.packets_discarded;
    }
    return;
  }
  Connection* connection = found->second.connection;
  if (connection == nullptr) {
    answer_closing(found->second.key, remote, packet.size());
    return;
  }
  recent_ = connection;
  recent_id_ = destination_id;
  deliver(*connection, {remote, destination_id, is_long_header, ecn, packet}, now);
}

void Endpoint::Impl::deliver(Connection& connection, const ReceivedPacket& packet, Instant now) {
  connection.read(packet, now);
  if (!settle(connection, now)) turns_.push(connection);
}

// handle_reset looks for the token of a Stateless Reset (RFC 9000 section 10.3.1): such a packet
// begins with noise where the connection ID would be. It returns whether a connection was ended.
bool Endpoint::Impl::handle_reset(const SocketAddress& remote, BytesView packet, Instant now) {
  if (packet.size() < kResetSizeMin) return false;
  const BytesView token = packet.last(NGTCP2_STATELESS_RESET_TOKENLEN);
  const auto found = context_.reset_tokens.find(ConnectionId::from(octets_of(token), token.size()));
  if (found == context_.reset_tokens.end()) return false;
  Connection& connection = *found->second.connection;
  connection.read_reset(remote, packet, now);
  return settle(connection, now);
}

// answer_closing repeats CONNECTION_CLOSE for the first, second, fourth, eighth… late packet, so
// that a peer that does not hear it is not answered at its own rate. The reply is never larger than
// the packet that asked for it, which may have come from anybody.
void Endpoint::Impl::answer_closing(ConnectionKey key, const SocketAddress& remote,
                                    std::size_t size) {
  const auto found = closings_.find(key);
  if (found == closings_.end()) return;
  Closing& closing = found->second;
  const std::uint64_t count = ++closing.received_count;
  if ((count & (count - 1)) != 0 || closing.packet.empty() || closing.packet.size() > size) return;
  reply(remote, {octets_of(std::span<const std::byte>(closing.packet)), closing.packet.size()});
}

void Endpoint::Impl::accept(const SocketAddress& remote, BytesView packet, std::uint8_t ecn,
                            Instant now) {
  ngtcp2_pkt_hd header;
  if (ngtcp2_accept(&header, octets_of(packet), packet.size()) != 0) {
    ++context_.counters.packets_discarded;
    return;
  }
  if (connections_.size() >= context_.limits.connections_max ||
      handshakes_count_ >= context_.limits.handshakes_max) {
    ++context_.counters.handshakes_dropped;
    return;
  }
  AcceptRequest request{.remote = remote,
                        .client_id = ConnectionId::from(header.scid),
                        .destination_id = ConnectionId::from(header.dcid),
                        .original_id = ConnectionId::from(header.dcid),
                        .token = {}};
  if (!check_token(remote, header, request, now)) return;
  if (request.token.empty() && handshakes_count_ >= context_.limits.handshakes_before_retry) {
    send_retry(remote, header, now);
    return;
  }
  const ConnectionKey key{++key_last_};
  auto made = std::make_unique<Connection>(context_, key, request, now);
  Connection& connection = *made;
  connections_.emplace(key, std::move(made));
  ++handshakes_count_;
  ++context_.counters.handshakes_started;
  deliver(connection, {remote, request.destination_id, true, ecn, packet}, now);
}

// check_token looks for the answer to our Retry and completes the request with it. It returns false
// if the Initial needs no further thought. Tokens of other kinds we do not issue: they are as good
// as none.
bool Endpoint::Impl::check_token(const SocketAddress& remote, const ngtcp2_pkt_hd& header,
                                 AcceptRequest& request, Instant now) {
  if (header.tokenlen == 0 || header.token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) return true;
  const NativeAddress address = to_native(remote);
  ngtcp2_cid original;
  const int verified = ngtcp2_crypto_verify_retry_token2(
      &original, header.token, header.tokenlen, context_.token_key.data(),
      context_.token_key.size(), header.version, &address.storage.sa, address.size, &header.dcid,
      to_native(kRetryTokenLifetime), to_timestamp(now));
  if (verified != 0) {
    send_invalid_token(remote, header, now);
    return false;
  }
  request.original_id = ConnectionId::from(original);
  request.token = {header.token, header.tokenlen};
  return true;
}

// --- Replies to strangers.

bool Endpoint::Impl::may_reply(Instant now) {
  return replies_.count() < kRepliesQueuedMax && budget_.take(now);
}

void Endpoint::Impl::reply(const SocketAddress& remote, std::span<const std::uint8_t> bytes) {
  if (replies_.count() >= kRepliesQueuedMax) return;
  replies_.push({remote, context_.buffers.copy(std::as_bytes(bytes))});
}

void Endpoint::Impl::send_version_negotiation(const SocketAddress& remote,
                                              const ngtcp2_version_cid& ids, Instant now) {
  if (!is_accepting_ || !may_reply(now)) return;
  std::array<std::uint8_t, 640>
      packet{};  // Connection IDs of future versions have up to 255 bytes.
  const ngtcp2_ssize size = ngtcp2_pkt_write_version_negotiation(
      packet.data(), packet.size(), static_cast<std::uint8_t>(context_.random.next()), ids.scid,
      ids.scidlen, ids.dcid, ids.dcidlen, kVersions.data(), kVersions.size());
  if (size <= 0) return;
  ++context_.counters.versions_negotiated;
  reply(remote, std::span(packet).first(static_cast<std::size_t>(size)));
}

// send_retry asks a client to prove its address (RFC 9000 section 8.1.2). The connection ID that it
// is to use starts with our route, like every other.
void Endpoint::Impl::send_retry(const SocketAddress& remote, const ngtcp2_pkt_hd& header,
                                Instant now) {
  if (!may_reply(now)) return;
  const ngtcp2_cid source =
      context_.make_connection_id(ConnectionId::from(header.scid).route()).native();
  const NativeAddress address = to_native(remote);
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2> token{};
  const ngtcp2_ssize token_size = ngtcp2_crypto_generate_retry_token2(
      token.data(), context_.token_key.data(), context_.token_key.size(), header.version,
      &address.storage.sa, address.size, &source, &header.dcid, to_timestamp(now));
  if (token_size <= 0) return;
  std::array<std::uint8_t, 512> packet{};
  const ngtcp2_ssize size =
      ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &source,
                                &header.dcid, token.data(), static_cast<std::size_t>(token_size));
  if (size <= 0) return;
  ++context_.counters.retries_sent;
  reply(remote, std::span(packet).first(static_cast<std::size_t>(size)));
}

void Endpoint::Impl::send_invalid_token(const SocketAddress& remote, const ngtcp2_pkt_hd& header,
                                        Instant now) {
  ++context_.counters.handshakes_dropped;
  if (!may_reply(now)) return;
  std::array<std::uint8_t, 256> packet{};
  const ngtcp2_ssize size = ngtcp2_crypto_write_connection_close(
      packet.data(), packet.size(), header.version, &header.scid, &header.dcid,
      NGTCP2_INVALID_TOKEN, nullptr, 0);
  if (size > 0) reply(remote, std::span(packet).first(static_cast<std::size_t>(size)));
}

void Endpoint::Impl::send_stateless_reset(const SocketAddress& remote,
                                          const ngtcp2_version_cid& ids, std::size_t received_size,
                                          Instant now) {
  ++context_.counters.packets_discarded;
  const std::size_t size = std::min(kResetSizeMax, received_size - 1);
  if (size < kResetSizeMin || !may_reply(now)) return;
  const ngtcp2_cid cid = native_cid(ids.dcid, ids.dcidlen);
  ngtcp2_stateless_reset_token token{};
  if (ngtcp2_crypto_generate_stateless_reset_token(std::data(token.data), context_.reset_key.data(),
                                                   context_.reset_key.size(), &cid) != 0) {
    return;
  }
  // Where a short packet has its destination stands the route of the peer, so that a relay brings
  // the reset back to it. To anybody else these bytes are as random as the rest.
  std::array<std::uint8_t, kResetSizeMax> noise{};
  context_.random.fill(std::as_writable_bytes(std::span(noise)));
  if (ids.dcidlen == kConnectionIdSize) {
    const std::size_t room = size - NGTCP2_STATELESS_RESET_TOKENLEN - 1;
    std::copy_n(ids.dcid + RouteId::kSize, std::min(RouteId::kSize, room), noise.begin() + 1);
  }
  std::array<std::uint8_t, kResetSizeMax> packet{};
  const ngtcp2_ssize written = ngtcp2_pkt_write_stateless_reset2(
      packet.data(), packet.size(), &token, noise.data(), size - NGTCP2_STATELESS_RESET_TOKENLEN);
  if (written <= 0) return;
  ++context_.counters.resets_sent;
  reply(remote, std::span(packet).first(static_cast<std::size_t>(written)));
}

// --- Time.

void Endpoint::Impl::handle_timeout(Instant now) {
  while (Connection* connection = deadlines_.top()) {
    if (connection->schedule.deadline > now) break;
    // It comes back when its turn to write is over.
    deadlines_.remove(*connection);
    connection->handle_timeout(now);
    if (!settle(*connection, now)) turns_.push(*connection);
  }
  while (!closings_.empty() && closings_.begin()->second.until <= now) {
    remove_closing(closings_.begin());
  }
}

std::optional<Instant> Endpoint::Impl::next_deadline() const {
  std::optional<Instant> deadline;
  if (const Connection* connection = deadlines_.top()) deadline = connection->schedule.deadline;
  if (!closings_.empty()) {
    deadline = earlier_of(deadline, std::optional(closings_.begin()->second.until));
  }
  return deadline;
}

void Endpoint::Impl::schedule(Connection& connection, Instant now) {
  const std::optional<Instant> deadline = connection.deadline();
  if (deadline) {
    deadlines_.set(connection, std::max(*deadline, now + kDeadlineStep));
  } else {
    deadlines_.remove(connection);
  }
}

// --- Out.

std::optional<Event> Endpoint::Impl::poll_event() {
  if (context_.events.is_empty()) return std::nullopt;
  Event event = context_.events.pop();
  if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    if (Connection* connection = find(closed->stream.connection)) {
      connection->http3()->forget(closed->stream.id);
      turns_.push(*connection);  // The peer may open another stream.
    }
  }
  return event;
}

std::optional<Transmit> Endpoint::Impl::poll_transmit(std::span<std::byte> buffer, Instant now) {
  while (!replies_.is_empty()) {
    StatelessReply reply = replies_.pop();
    const std::size_t size = reply.bytes.size();
    const bool fits = size <= buffer.size();
    if (fits) std::ranges::copy(reply.bytes, buffer.begin());
    context_.buffers.give(std::move(reply.bytes));
    if (fits) return Transmit{.remote = reply.remote, .size = size, .segment_size = size, .ecn = 0};
  }
  while (!turns_.is_empty()) {
    Connection* connection = turns_.pop();
    if (connection == nullptr) continue;
    const std::optional<Transmit> transmit = connection->write(buffer, now);
    if (settle(*connection, now)) continue;
    if (!transmit) {
      schedule(*connection, now);
      continue;
    }
    turns_.push(*connection);
    if (transmit->size > 0) return transmit;
  }
  // A connection that failed while it wrote has left a packet.
  return replies_.is_empty() ? std::nullopt : poll_transmit(buffer, now);
}

std::optional<ReceivedDatagram> Endpoint::Impl::poll_datagram() {
  while (!context_.datagrams.is_empty()) {
    QueuedDatagram datagram = context_.datagrams.pop();
    context_.buffers.give(std::move(datagram_polled_));
    datagram_polled_ = std::move(datagram.payload);
    Http3* http3 = find_http3(datagram.stream.connection);
    if (http3 == nullptr) continue;
    http3->datagram_polled();
    if (!http3->has_stream(datagram.stream.id)) continue;
    return ReceivedDatagram{datagram.stream, datagram_polled_};
  }
  return std::nullopt;
}

// --- Connections begin and end.

std::expected<ConnectionKey, ConnectError> Endpoint::Impl::connect(const ConnectOptions& options,
                                                                   Instant now) {
  if (connections_.size() >= context_.limits.connections_max) {
    return std::unexpected(ConnectError::limit);
  }
  const ConnectionKey key{++key_last_};
  auto connection = std::make_unique<Connection>(context_, key, options, now);
  turns_.push(*connection);
  connections_.emplace(key, std::move(connection));
  return key;
}

void Endpoint::Impl::close(ConnectionKey key, std::uint64_t code, std::string_view reason,
                           Instant now) {
  Connection* connection = find(key);
  if (connection == nullptr) return;
  connection->close(code, reason, now);
  settle(*connection, now);
}

bool Endpoint::Impl::settle(Connection& connection, Instant now) {
  if (connection.is_accepted() && connection.schedule.is_unfinished &&
      (connection.is_ready() || connection.ending())) {
    connection.schedule.is_unfinished = false;
    --handshakes_count_;
    if (!connection.is_ready()) ++context_.counters.handshakes_failed;
  }
  std::optional<Ending>& written = connection.ending();
  if (!written) return false;
  Ending ending = std::move(*written);
  const ConnectionKey key = connection.key();
  const bool is_known = connection.is_ready() || !connection.is_accepted();
  deadlines_.remove(connection);
  turns_.remove(connection);
  if (recent_ == &connection) recent_ = nullptr;
  std::vector<ConnectionId> ids = connection.take_ids();
  connections_.erase(key);
  if (!ending.packet.empty()) {
    reply(ending.remote,
          {octets_of(std::span<const std::byte>(ending.packet)), ending.packet.size()});
  }
  add_closing(key, ending, std::move(ids), now);
  if (is_known) {
    context_.events.push(ConnectionClosed{key, ending.reason, ending.code, std::move(ending.text)});
  }
  return true;
}

void Endpoint::Impl::add_closing(ConnectionKey key, Ending& ending, std::vector<ConnectionId> ids,
                                 Instant now) {
  for (const ConnectionId& id : ids) context_.recipients.erase(id);
  const bool is_silent = ending.reason == CloseReason::idle ||
                         ending.reason == CloseReason::stateless_reset ||
                         context_.limits.closings_max == 0;
  if (is_silent) return;
  if (closings_.size() >= context_.limits.closings_max) remove_closing(closings_.begin());
  for (const ConnectionId& id : ids) {
    context_.recipients.insert_or_assign(id, Recipient{nullptr, key});
  }
  closings_.emplace(key, Closing{.ids = std::move(ids),
                                 .packet = std::move(ending.packet),
                                 .until = now + ending.period});
}

void Endpoint::Impl::remove_closing(std::map<ConnectionKey, Closing>::iterator closing) {
  for (const ConnectionId& id : closing->second.ids) context_.recipients.erase(id);
  closings_.erase(closing);
}

// --- Endpoint.

Endpoint::Endpoint(const Config& config, Random& random)
    : impl_(std::make_unique<Impl>(config, random)) {}
Endpoint::~Endpoint() = default;

void Endpoint::handle(const ReceivedDatagrams& datagrams, Instant now) {
  impl_->handle(datagrams, now);
}
void Endpoint::handle_timeout(Instant now) {
  impl_->handle_timeout(now);
}
std::optional<Event> Endpoint::poll_event() {
  return impl_->poll_event();
}
std::optional<Transmit> Endpoint::poll_transmit(std::span<std::byte> buffer, Instant now) {
  return impl_->poll_transmit(buffer, now);
}
std::optional<Instant> Endpoint::next_deadline() const {
  return impl_->next_deadline();
}

std::expected<ConnectionKey, ConnectError> Endpoint::connect(const ConnectOptions& options,
                                                             Instant now) {
  return impl_->connect(options, now);
}
void Endpoint::close(ConnectionKey connection, std::uint64_t code, std::string_view reason,
                     Instant now) {
  impl_->close(connection, code, reason, now);
}

bool Endpoint::close_newest(std::string_view reason, Instant now) {
  const std::optional<ConnectionKey> key = impl_->newest();
  if (key) impl_->close(*key, NGHTTP3_H3_NO_ERROR, reason, now);
  return key.has_value();
}

std::expected<void, MigrateError> Endpoint::migrate(ConnectionKey connection,
                                                    const SocketAddress& remote, bool is_immediate,
                                                    Instant now) {
  Connection* found = impl_->find(connection);
  if (found == nullptr) return std::unexpected(MigrateError::gone);
  impl_->touch(connection);
  return found->migrate(remote, is_immediate, now);
}

std::expected<void, MigrateError> Endpoint::rebind(ConnectionKey connection, Instant now) {
  Connection* found = impl_->find(connection);
  if (found == nullptr) return std::unexpected(MigrateError::gone);
  impl_->touch(connection);
  return found->rebind(now);
}

void Endpoint::ping_every(ConnectionKey connection, std::optional<Duration> interval) {
  Connection* found = impl_->find(connection);
  if (found == nullptr) return;
  impl_->touch(connection);
  found->ping_every(interval);
}

void Endpoint::set_route(const RouteId& route) {
  impl_->context().route = route;
}

std::optional<Digest> Endpoint::export_key(ConnectionKey connection, std::string_view label) const {
  const Connection* found = impl_->find(connection);
  return found == nullptr ? std::nullopt : found->export_key(label);
}
std::optional<Statistics> Endpoint::statistics(ConnectionKey connection) const {
  const Connection* found = impl_->find(connection);
  return found == nullptr ? std::nullopt : std::optional(found->statistics());
}
std::optional<SocketAddress> Endpoint::remote_of(ConnectionKey connection) const {
  const Connection* found = impl_->find(connection);
  return found == nullptr ? std::nullopt : std::optional(found->remote());
}
std::size_t Endpoint::connection_count() const {
  return impl_->connection_count();
}
const Counters& Endpoint::counters() const {
  return impl_->context().counters;
}

std::expected<StreamKey, StreamError> Endpoint::open_request(ConnectionKey connection,
                                                             const http::Request& request,
                                                             bool is_end) {
  Connection* found = impl_->find(connection);
  if (found == nullptr) return std::unexpected(StreamError::gone);
  if (found->http3() == nullptr) return std::unexpected(StreamError::blocked);
  impl_->touch(connection);
  return found->http3()->open_request(request, is_end);
}

std::expected<void, StreamError> Endpoint::respond(const StreamKey& stream,
                                                   const http::Response& response, bool is_end) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return std::unexpected(StreamError::gone);
  impl_->touch(stream.connection);
  return http3->respond(stream.id, response, is_end);
}

std::span<std::byte> Endpoint::writable(const StreamKey& stream) {
  Http3* http3 = impl_->find_http3(stream.connection);
  return http3 == nullptr ? std::span<std::byte>() : http3->writable(stream.id);
}

void Endpoint::commit(const StreamKey& stream, std::size_t size) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return;
  http3->commit(stream.id, size);
  impl_->touch(stream.connection);
}

std::size_t Endpoint::write(const StreamKey& stream, std::span<const std::byte> bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const std::span<std::byte> space = writable(stream);
    if (space.empty()) break;
    const std::size_t size = std::min(space.size(), bytes.size() - written);
    std::memcpy(space.data(), bytes.data() + written, size);
    commit(stream, size);
    written += size;
  }
  return written;
}

void Endpoint::finish(const StreamKey& stream) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return;
  http3->finish(stream.id);
  impl_->touch(stream.connection);
}

bool Endpoint::is_send_drained(const StreamKey& stream) const {
  const Http3* http3 = impl_->find_http3(stream.connection);
  return http3 == nullptr || http3->is_send_drained(stream.id);
}

Readable Endpoint::readable(const StreamKey& stream) const {
  const Http3* http3 = impl_->find_http3(stream.connection);
  return http3 == nullptr ? Readable{} : http3->readable(stream.id);
}

void Endpoint::consume(const StreamKey& stream, std::size_t size) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return;
  http3->consume(stream.id, size);
  impl_->touch(stream.connection);
}

void Endpoint::reset(const StreamKey& stream, std::uint64_t code) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return;
  http3->reset(stream.id, code);
  impl_->touch(stream.connection);
}

void Endpoint::stop(const StreamKey& stream, std::uint64_t code) {
  Http3* http3 = impl_->find_http3(stream.connection);
  if (http3 == nullptr) return;
  http3->stop(stream.id, code);
  impl_->touch(stream.connection);
}

DatagramResult Endpoint::send_datagram(const StreamKey& stream,
                                       std::span<const std::byte> payload) {
  Connection* connection = impl_->find(stream.connection);
  if (connection == nullptr || connection->http3() == nullptr) return DatagramResult::gone;
  impl_->touch(stream.connection);
  return connection->http3()->send_datagram(stream.id, payload,
                                            connection->datagram_frame_payload_size_max());
}

std::optional<ReceivedDatagram> Endpoint::poll_datagram() {
  return impl_->poll_datagram();
}

std::size_t Endpoint::datagram_size_max(const StreamKey& stream) const {
  const Connection* connection = impl_->find(stream.connection);
  if (connection == nullptr || connection->http3() == nullptr) return 0;
  const std::size_t frame_max = connection->datagram_frame_payload_size_max();
  const std::size_t overhead = Http3::datagram_overhead(stream.id);
  return frame_max > overhead ? frame_max - overhead : 0;
}

bool Endpoint::is_datagram_size_settled(const StreamKey& stream, Instant now) const {
  const Connection* connection = impl_->find(stream.connection);
  return connection != nullptr && connection->is_path_size_settled(now);
}

}  // namespace zt::quic
