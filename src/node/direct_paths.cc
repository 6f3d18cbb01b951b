// SPDX-License-Identifier: Apache-2.0
#include "node/direct_paths.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "crypto/hash.h"
#include "node/messages.h"
#include "zt/base/assert.h"
#include "zt/wire/candidates.h"
#include "zt/wire/draining.h"

namespace zt::node {

namespace {

// Labels of the TLS exporter (RFC 8446 section 7.5).
constexpr std::string_view kKeyLabel = "EXPORTER-zt-probe-key";
constexpr std::string_view kNameLabel = "EXPORTER-zt-probe-name";
// Until the peer has issued another connection ID, or a relay is bound again.
constexpr Duration kFallBackRetry = std::chrono::milliseconds(20);

wire::ProbeMac mac_of(const Digest& key, BytesView content) {
  const Digest tag = crypto::hmac_sha256(key.bytes, content);
  wire::ProbeMac mac;
  std::copy_n(tag.bytes.begin(), mac.bytes.size(), mac.bytes.begin());
  return mac;
}

}  // namespace

struct DirectPaths::Entry {
  Entry(const Config& config, const quic::StreamKey& on_stream, const Digest& probe_key,
        const wire::ProbeLabel& probe_label, const SocketAddress& at_relay, Paths with_policy,
        Random& random, const Now& now)
      : connection(on_stream.connection),
        stream(on_stream),
        key(probe_key),
        label(probe_label),
        finder(config.finder, config.role, probe_label, with_policy, random, now),
        policy(with_policy),
        relay(at_relay) {}

  quic::ConnectionKey connection;
  quic::StreamKey stream;  // That carries the lists.
  Digest key;
  wire::ProbeLabel label;
  path::PathFinder finder;
  Paths policy;
  bool was_direct = false;
  SocketAddress relay;  // Where the connection goes when no direct path works.
  wire::CapsuleParser parser{{wire::kCandidatesCapsule, wire::kDrainingCapsule},
                             wire::kCandidatesValueSizeMax};
  Bytes unsent;                             // The rest of a capsule.
  std::optional<wire::CandidateList> list;  // To be sent after that.
  bool is_active = false;
  bool is_peer_draining = false;
  bool is_over = false;                 // The stream is; nothing is looked for any more.
  std::optional<SocketAddress> direct;  // As PathChanged last said.
  std::uint64_t packets_received = 0;   // When we last looked.
  std::optional<Instant> fall_back_at;  // A return to the relay that could not be made yet.
  std::optional<Instant> deadline;      // As it stands in deadlines_.
};

bool is_paths_request(const http::Request& request) {
  return request.method == "CONNECT" && request.protocol == wire::kCandidatesProtocol &&
         request.path == kPathsPath;
}

quic::Transmit transmit_probe(std::span<std::byte> buffer, const SocketAddress& target,
                              const wire::ProbeBytes& bytes) {
  ZT_ASSERT(buffer.size() >= bytes.size());
  std::ranges::copy(bytes, buffer.begin());
  return {.remote = target, .size = bytes.size(), .segment_size = bytes.size(), .ecn = 0};
}

DirectPaths::DirectPaths(const Config& config, quic::Endpoint& endpoint, Random& random)
    : config_(config), endpoint_(endpoint), random_(random) {}

DirectPaths::~DirectPaths() = default;

// --- What the node says.

void DirectPaths::set_local(const path::LocalSocket& socket,
                            std::vector<wire::Candidate> candidates, const Now& now) {
  local_ = {.sockets = {socket}, .candidates = std::move(candidates)};
  for (const auto& [connection, entry] : entries_) {
    entry->finder.handle(local_, now);
    drain(*entry, now);
  }
}

void DirectPaths::open(quic::ConnectionKey connection, const SocketAddress& relay, Paths policy,
                       const Now& now) {
  if (find(connection) != nullptr || entries_.size() >= config_.connections_max) return;
  http::Request request{.method = "CONNECT",
                        .scheme = "https",
                        .authority = "zt-connector",
                        .path = std::string(kPathsPath),
                        .protocol = wire::kCandidatesProtocol};
  request.fields.add("capsule-protocol", "?1");
  const auto stream = endpoint_.open_request(connection, request, false);
  if (!stream) return;  // The next flow asks again.
  if (Entry* entry = add(*stream, relay, policy, now)) return drain(*entry, now);
  endpoint_.reset(*stream, kStreamRequestCancelled);
  endpoint_.stop(*stream, kStreamRequestCancelled);
}

void DirectPaths::accept(const quic::StreamKey& stream, Paths policy, const Now& now) {
  const auto remote = endpoint_.remote_of(stream.connection);
  Entry* entry = nullptr;
  if (remote && find(stream.connection) == nullptr && entries_.size() < config_.connections_max) {
    entry = add(stream, *remote, policy, now);
  }
  if (entry == nullptr) {
    (void)endpoint_.respond(stream, {.status = 503}, true);
    endpoint_.stop(stream, kStreamNoError);
    return;
  }
  http::Response response{.status = 200};
  response.fields.add("capsule-protocol", "?1");
  (void)endpoint_.respond(stream, response, false);  // A stream that is gone is noticed later.
  if (is_draining_) tell_draining(*entry);
  read_lists(*entry, now);  // What came with the request has been told of already.
}

void DirectPaths::drain() {
  is_draining_ = true;
  for (const auto& [connection, entry] : entries_) tell_draining(*entry);
}

void DirectPaths::tell_draining(Entry& entry) {
  const Bytes capsule = wire::encode_capsule(wire::kDrainingCapsule, {});
  entry.unsent.insert(entry.unsent.end(), capsule.begin(), capsule.end());
  write(entry);
}

bool DirectPaths::set_relay(quic::ConnectionKey connection, const SocketAddress& relay,
                            const Now& now) {
  Entry* entry = find(connection);
  if (entry == nullptr) return false;
  entry->relay = relay;
  if (entry->finder.live()) return true;
  fall_back(*entry, now);
  drain(*entry, now);
  return true;
}

void DirectPaths::set_active(quic::ConnectionKey connection, bool is_active, const Now& now) {
  Entry* entry = find(connection);
  if (entry == nullptr || entry->is_active == is_active) return;
  entry->is_active = is_active;
  hear(*entry);
  entry->finder.handle(path::FlowsActive{is_active}, now);
  drain(*entry, now);
}

// A direct path may work from the new address as well, and QUIC finds out sooner than the finder.
void DirectPaths::network_changed(const Now& now) {
  for (const auto& [connection, entry] : entries_) {
    if (entry->finder.live()) (void)endpoint_.rebind(connection, now.instant);
  }
}

// What was sent before the relay knew us, or our address, is lost: the new path sends it again at
// once.
void DirectPaths::relay_rebound(const SocketAddress& relay, const Now& now) {
  for (const auto& [connection, entry] : entries_) {
    if (endpoint_.remote_of(connection) != relay) continue;
    (void)endpoint_.rebind(connection, now.instant);
  }
}

// --- Entries.

DirectPaths::Entry* DirectPaths::find(quic::ConnectionKey connection) {
  const auto found = entries_.find(connection);
  return found == entries_.end() ? nullptr : found->second.get();
}

DirectPaths::Entry* DirectPaths::find(const quic::StreamKey& stream) {
  Entry* entry = find(stream.connection);
  return entry != nullptr && entry->stream == stream ? entry : nullptr;
}

DirectPaths::Entry* DirectPaths::add(const quic::StreamKey& stream, const SocketAddress& relay,
                                     Paths policy, const Now& now) {
  const quic::ConnectionKey connection = stream.connection;
  const auto key = endpoint_.export_key(connection, kKeyLabel);
  const auto name = endpoint_.export_key(connection, kNameLabel);
  if (!key || !name) return nullptr;
  wire::ProbeLabel label;
  std::copy_n(name->bytes.begin(), label.bytes.size(), label.bytes.begin());
  // What the user has set holds for each connection.
  if (config_.policy != Paths::any) policy = config_.policy;
  // Two connections of one label would need 2^32 of them; the second stays on its relay.
  if (!labels_.emplace(label, connection).second) return nullptr;
  auto entry = std::make_unique<Entry>(config_, stream, *key, label, relay, policy, random_, now);
  entry->finder.handle(local_, now);
  return entries_.emplace(connection, std::move(entry)).first->second.get();
}

void DirectPaths::remove(quic::ConnectionKey connection) {
  const auto found = entries_.find(connection);
  if (found == entries_.end()) return;
  const Entry& entry = *found->second;
  if (entry.deadline) deadlines_.erase({*entry.deadline, connection});
  labels_.erase(entry.label);
  entries_.erase(found);
}

// abandon gives the search up. Nobody would notice the death of a direct path any more, so the
// connection goes back to its relay, and no new path is answered. The entry stays: a stream in the
// place of this one would have all of the finder's allowances anew, as often as the peer likes.
void DirectPaths::abandon(Entry& entry, const Now& now) {
  if (std::exchange(entry.is_over, true)) return;
  endpoint_.reset(entry.stream, kStreamRequestCancelled);
  endpoint_.stop(entry.stream, kStreamRequestCancelled);
  entry.unsent.clear();
  entry.finder.handle(path::PolicyChanged{Paths::always_relay}, now);
  drain(entry, now);
}

// --- Datagrams.

void DirectPaths::take_probe(const SocketAddress& source, BytesView datagram, const Now& now) {
  const auto label = wire::probe_label_of(datagram);
  const auto found = label ? labels_.find(*label) : labels_.end();
  if (found == labels_.end()) {
    ++counters_.probes_discarded;
    return;
  }
  Entry& entry = *entries_.at(found->second);
  const auto probe = wire::open_probe(
      datagram, [&entry](BytesView content) { return mac_of(entry.key, content); });
  if (!probe) {
    ++counters_.probes_discarded;
    return;
  }
  ++counters_.probes_received;
  hear(entry);
  entry.finder.handle(
      path::ProbeReceived{
          .socket = local_.sockets.empty() ? path::SocketId{} : local_.sockets.front().id,
          .source = source,
          .probe = *probe},
      now);
  drain(entry, now);
}

std::optional<quic::Transmit> DirectPaths::poll_transmit(std::span<std::byte> buffer) {
  if (probes_.empty()) return std::nullopt;
  const WaitingProbe probe = probes_.front();
  probes_.pop_front();
  ++counters_.probes_sent;
  return transmit_probe(buffer, probe.target, probe.bytes);
}

void DirectPaths::send_probe(const Entry& entry, const path::SendProbe& send) {
  if (probes_.size() >= config_.probes_queued_max) {
    ++counters_.probes_dropped;
    return;
  }
  const auto seal = [&entry](BytesView content) { return mac_of(entry.key, content); };
  probes_.push_back({.target = send.target, .bytes = wire::seal_probe(send.probe, seal)});
}

// --- Events and time.

bool DirectPaths::handle(const quic::Event& event, const Now& now) {
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    remove(closed->connection);
    return false;
  }
  if (const auto* moved_to = std::get_if<quic::ConnectionMoved>(&event)) {
    if (Entry* entry = find(moved_to->connection)) moved(*entry, moved_to->remote, now);
    return false;
  }
  if (const auto* failed = std::get_if<quic::MigrationFailed>(&event)) {
    Entry* entry = find(failed->connection);
    if (entry == nullptr) return false;
    for (const path::PairStatus& pair : entry->finder.status(now)) {
      if (pair.pair.remote != failed->remote) continue;
      entry->finder.handle(path::MigrationFailed{pair.pair.number}, now);
    }
    drain(*entry, now);
    return false;
  }
  if (const auto* response = std::get_if<quic::ResponseReceived>(&event)) {
    Entry* entry = find(response->stream);
    if (entry == nullptr) return false;
    if (response->response.status != 200 || response->is_end) abandon(*entry, now);
    return true;
  }
  if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    Entry* entry = find(readable->stream);
    if (entry == nullptr) return false;
    read_lists(*entry, now);
    return true;
  }
  if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    Entry* entry = find(writable->stream);
    if (entry != nullptr) write(*entry);
    return entry != nullptr;
  }
  const quic::StreamKey* over = nullptr;
  if (const auto* reset = std::get_if<quic::StreamReset>(&event)) over = &reset->stream;
  if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) over = &stopped->stream;
  if (const auto* closed = std::get_if<quic::StreamClosed>(&event)) over = &closed->stream;
  if (over == nullptr) return false;
  Entry* entry = find(*over);
  if (entry == nullptr) return false;
  abandon(*entry, now);
  return true;
}

void DirectPaths::handle_timeout(const Now& now) {
  std::vector<quic::ConnectionKey> due;
  for (const auto& [deadline, connection] : deadlines_) {
    if (deadline > now.instant) break;
    due.push_back(connection);
  }
  for (const quic::ConnectionKey connection : due) {
    Entry& entry = *entries_.at(connection);
    if (entry.fall_back_at && *entry.fall_back_at <= now.instant) fall_back(entry, now);
    hear(entry);
    entry.finder.handle_timeout(now);
    drain(entry, now);
  }
}

std::optional<PathEvent> DirectPaths::poll_event() {
  if (events_.empty()) return std::nullopt;
  const PathEvent event = events_.front();
  events_.pop_front();
  return event;
}

std::optional<Instant> DirectPaths::next_deadline() const {
  return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.begin()->first);
}

void DirectPaths::drain(Entry& entry, const Now& now) {
  while (const auto output = entry.finder.poll_output()) take_output(entry, *output, now);
  if (entry.deadline) deadlines_.erase({*entry.deadline, entry.connection});
  entry.deadline = entry.finder.next_deadline();
  if (entry.fall_back_at) entry.deadline = earlier_of(entry.deadline, entry.fall_back_at);
  if (entry.deadline) deadlines_.emplace(*entry.deadline, entry.connection);
}

void DirectPaths::take_output(Entry& entry, const path::PathFinder::Output& output,
                              const Now& now) {
  if (const auto* send = std::get_if<path::SendProbe>(&output)) {
    send_probe(entry, *send);
  } else if (const auto* tell = std::get_if<path::TellPeer>(&output)) {
    entry.list = tell->list;
    write(entry);
  } else if (const auto* upgrade = std::get_if<path::Upgrade>(&output)) {
    migrate(entry, upgrade->pair, now);
  } else if (const auto* change = std::get_if<path::Switch>(&output)) {
    migrate(entry, change->pair, now);
  } else if (const auto* down = std::get_if<path::Downgrade>(&output)) {
    note_change(entry, std::nullopt,
                entry.is_over ? "no longer watched by the peer" : path::to_text(down->reason));
    fall_back(entry, now);
  }
}

// --- The stream.

void DirectPaths::write(Entry& entry) {
  if (entry.is_over) {
    entry.unsent.clear();
    return entry.list.reset();
  }
  for (;;) {
    const std::size_t written = endpoint_.write(entry.stream, entry.unsent);
    entry.unsent.erase(entry.unsent.begin(), entry.unsent.begin() + std::ptrdiff_t(written));
    if (!entry.unsent.empty() || !entry.list) return;  // StreamWritable goes on.
    entry.unsent =
        wire::encode_capsule(wire::kCandidatesCapsule, wire::encode_candidates(*entry.list));
    entry.list.reset();
  }
}

// read_lists takes what has arrived. A list replaces the one before it, so only the last of them
// counts: a peer that sends nothing but lists costs no more than its bytes.
void DirectPaths::read_lists(Entry& entry, const Now& now) {
  std::optional<wire::CandidateList> last;
  while (!entry.is_over) {
    const quic::Readable readable = endpoint_.readable(entry.stream);
    BytesView rest = readable.bytes;
    for (;;) {
      const auto capsule = entry.parser.next(rest);
      if (!capsule) return abandon(entry, now);
      if (!*capsule) break;
      if ((*capsule)->type == wire::kDrainingCapsule) {
        const bool is_told = std::exchange(entry.is_peer_draining, true);
        if (!is_told) events_.emplace_back(PeerDraining{entry.connection});
        continue;
      }
      auto list = wire::parse_candidates((*capsule)->value);
      if (!list) return abandon(entry, now);
      last = std::move(*list);
    }
    if (readable.is_end) return abandon(entry, now);
    if (readable.bytes.empty()) break;
    endpoint_.consume(entry.stream, readable.bytes.size());
  }
  if (last) entry.finder.handle(path::RemoteChanged{std::move(*last)}, now);
  drain(entry, now);
}

// --- Migrations.

void DirectPaths::migrate(Entry& entry, const path::Pair& pair, const Now& now) {
  const auto result = endpoint_.migrate(entry.connection, pair.remote, false, now.instant);
  if (result) return;  // ConnectionMoved or MigrationFailed.
  if (result.error() == quic::MigrateError::same_path) {
    // It had been given up: what QUIC has waiting may wait for long, and goes at once on a new
    // path.
    (void)endpoint_.rebind(entry.connection, now.instant);
    take_direct(entry, pair, now);
  } else {
    entry.finder.handle(path::MigrationFailed{pair.number}, now);
  }
}

void DirectPaths::fall_back(Entry& entry, const Now& now) {
  entry.fall_back_at.reset();
  if (entry.policy == Paths::never_relay && entry.was_direct) return;
  const auto result = endpoint_.migrate(entry.connection, entry.relay, true, now.instant);
  if (result || result.error() != quic::MigrateError::blocked) return;
  entry.fall_back_at = now.instant + kFallBackRetry;
}

void DirectPaths::moved(Entry& entry, const SocketAddress& remote, const Now& now) {
  if (endpoint_.remote_of(entry.connection) != remote) return;  // It has moved on since.
  const std::vector<path::PairStatus> pairs = entry.finder.status(now);
  const auto found = std::ranges::find(
      pairs, remote, [](const path::PairStatus& status) { return status.pair.remote; });
  if (found != pairs.end()) {
    take_direct(entry, found->pair, now);
  } else {
    note_change(entry, std::nullopt, {});
    entry.finder.handle(path::PathInUse{}, now);
    // A path that was given up while QUIC validated it: nobody watches it.
    if (config_.role == wire::ProbeSender::client && remote != entry.relay) fall_back(entry, now);
  }
  drain(entry, now);
}

void DirectPaths::take_direct(Entry& entry, const path::Pair& pair, const Now& now) {
  entry.fall_back_at.reset();
  entry.was_direct = true;
  note_change(entry, pair.remote, {});
  entry.finder.handle(path::PathInUse{pair.number}, now);
}

void DirectPaths::note_change(Entry& entry, const std::optional<SocketAddress>& direct,
                              std::string_view reason) {
  if (entry.direct == direct) return;
  entry.direct = direct;
  events_.emplace_back(
      PathChanged{.connection = entry.connection, .direct = direct, .reason = reason});
}

// hear tells the finder of packets that QUIC could open.
void DirectPaths::hear(Entry& entry) const {
  if (!entry.finder.live()) return;
  const auto statistics = endpoint_.statistics(entry.connection);
  if (!statistics || statistics->packets_received == entry.packets_received) return;
  entry.packets_received = statistics->packets_received;
  entry.finder.note_heard(statistics->arrived_last);
}

// --- Status.

bool DirectPaths::is_direct(quic::ConnectionKey connection) const {
  const auto found = entries_.find(connection);
  return found != entries_.end() && found->second->finder.live().has_value();
}

std::vector<path::PairStatus> DirectPaths::status(quic::ConnectionKey connection,
                                                  const Now& now) const {
  const auto found = entries_.find(connection);
  if (found == entries_.end()) return {};
  return found->second->finder.status(now);
}

}  // namespace zt::node
