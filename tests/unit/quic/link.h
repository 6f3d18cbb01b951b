// SPDX-License-Identifier: Apache-2.0
#pragma once
// link.h: endpoints in one thread under virtual time, joined by links that delay, drop, duplicate,
// reorder and limit. Deterministic for a seed but for the keys of TLS.

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crypto/identity.h"
#include "quic/endpoint.h"
#include "zt/base/random.h"

namespace zt::quic::test {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline SocketAddress address(std::string_view text) {
  const auto parsed = SocketAddress::parse(text);
  REQUIRE(parsed);
  return *parsed;
}

inline RouteId route(std::uint8_t mark) {
  RouteId id;
  id.bytes.fill(std::byte{mark});
  return id;
}

inline const crypto::Identity& identity(std::size_t index) {
  static const std::vector<crypto::Identity> identities = [] {
    std::vector<crypto::Identity> made;
    for (int i = 0; i < 3; ++i) {
      made.push_back(crypto::Identity::create("test", UnixTime(seconds(1'800'000'000))));
    }
    return made;
  }();
  return identities.at(index);
}

// Quality is what a link does to datagrams, in one direction.
struct Quality {
  Duration delay = milliseconds(5);
  Duration jitter{};  // Up to so much more, which reorders.
  unsigned loss_per_mille = 0;
  unsigned duplication_per_mille = 0;
  std::uint64_t rate_bytes_per_s = 0;  // 0: no limit.
  std::size_t queue_size_max = 1 << 20;
  std::size_t datagram_size_max = 65'535;
  bool is_blocked = false;
};

// Peer is an endpoint and what it has told.
class Peer {
 public:
  Peer(std::string name, const Endpoint::Config& config, std::uint64_t seed)
      : name_(std::move(name)),
        random_(seed),
        endpoint_(std::make_unique<Endpoint>(config, random_)) {}

  Endpoint& operator*() { return *endpoint_; }
  Endpoint* operator->() { return endpoint_.get(); }
  [[nodiscard]] const std::string& name() const { return name_; }

  // replace loses all state, as a crash does.
  void replace(const Endpoint::Config& config) {
    endpoint_ = std::make_unique<Endpoint>(config, random_);
    events.clear();
  }

  template <class T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> found;
    for (const Event& event : events) {
      if (const T* match = std::get_if<T>(&event)) found.push_back(*match);
    }
    return found;
  }
  template <class T>
  [[nodiscard]] std::optional<T> last() const {
    const auto found = all<T>();
    return found.empty() ? std::nullopt : std::optional<T>(found.back());
  }
  template <class T>
  [[nodiscard]] bool has() const {
    return last<T>().has_value();
  }

  std::vector<Event> events;
  std::vector<std::pair<StreamKey, std::string>> datagrams;
  std::function<void(const Event&)> on_event;
  std::size_t batches_count = 0;
  std::size_t segments_count = 0;
  std::size_t event_backlog_max = 0;
  std::vector<Duration> rtts_minimum;  // Of each batch.

 private:
  std::string name_;
  SeededRandom random_;
  std::unique_ptr<Endpoint> endpoint_;
};

class Network {
 public:
  explicit Network(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] Instant now() const { return now_; }

  // join lets `a` reach `b` at `address_of_b`, and the other way round. Both directions start with
  // the same quality, which may be changed later through quality().
  void join(Peer& a, const SocketAddress& address_of_b, Peer& b, const SocketAddress& address_of_a,
            const Quality& quality) {
    links_[{&a, address_of_b}] = {&b, address_of_a, quality, Instant{}};
    links_[{&b, address_of_a}] = {&a, address_of_b, quality, Instant{}};
    add(a);
    add(b);
  }
  Quality& quality(Peer& from, const SocketAddress& to) { return links_.at({&from, to}).quality; }

  // inject delivers a datagram that no endpoint has sent.
  void inject(Peer& to, const SocketAddress& from, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    to->handle({from, bytes, bytes.size(), 0}, now_);
    drain();
  }

  // run goes on until `is_done` or until so much time has passed; it returns whether it was done.
  bool run(Duration duration, const std::function<bool()>& is_done) {
    const Instant end = now_ + duration;
    drain();
    while (!is_done()) {
      std::optional<Instant> next;
      if (!flying_.empty()) next = flying_.begin()->first.first;
      for (Peer* peer : peers_) next = earlier_of(next, (*peer)->next_deadline());
      if (!next || *next > end) {
        now_ = end;
        break;
      }
      now_ = std::max(now_, *next);
      deliver();
      for (Peer* peer : peers_) {
        const auto deadline = (*peer)->next_deadline();
        if (deadline && *deadline <= now_) (*peer)->handle_timeout(now_);
      }
      drain();
    }
    return is_done();
  }
  void run(Duration duration) {
    (void)run(duration, [] { return false; });
  }

  void drain() {
    for (Peer* peer : peers_) drain(*peer);
  }

  // Every datagram passes here before the link; return false to drop it.
  std::function<bool(Peer& from, const SocketAddress& to, Bytes& bytes)> on_send;
  std::uint64_t sent_count = 0;

 private:
  struct Link {
    Peer* to = nullptr;
    SocketAddress source;
    Quality quality;
    Instant free_at;
  };
  struct Datagram {
    Peer* to;
    SocketAddress source;
    Bytes bytes;
    std::uint8_t ecn;
  };

  void add(Peer& peer) {
    for (Peer* known : peers_) {
      if (known == &peer) return;
    }
    peers_.push_back(&peer);
  }

  void drain(Peer& peer) {
    // Carrying out events makes more to send, and closing connections while sending makes events.
    bool has_more = true;
    while (has_more) {
      has_more = false;
      std::size_t count = 0;
      while (auto event = peer->poll_event()) {
        has_more = true;
        ++count;
        peer.events.push_back(*event);
        if (peer.on_event) peer.on_event(peer.events.back());
      }
      peer.event_backlog_max = std::max(peer.event_backlog_max, count);
      while (const auto datagram = peer->poll_datagram()) {
        peer.datagrams.emplace_back(datagram->stream, std::string(as_text(datagram->payload)));
      }
      while (const auto transmit = peer->poll_transmit(buffer_, now_)) {
        has_more = true;
        send(peer, *transmit);
      }
    }
  }

  void send(Peer& peer, const Transmit& transmit) {
    // What UDP_SEGMENT demands: equal sizes, the last may be shorter; at most 64; at most 65,507.
    const std::size_t count =
        transmit.segment_size == 0
            ? 0
            : (transmit.size + transmit.segment_size - 1) / transmit.segment_size;
    if (count == 0 || count > 64 || transmit.segment_size > transmit.size ||
        transmit.size > 65'000) {
      FAIL("a batch of " << transmit.size << " bytes in segments of " << transmit.segment_size);
    }
    ++peer.batches_count;
    peer.rtts_minimum.push_back(transmit.rtt_minimum);
    peer.segments_count += count;
    BytesView rest = BytesView(buffer_).first(transmit.size);
    while (!rest.empty()) {
      const BytesView segment = rest.first(std::min(rest.size(), transmit.segment_size));
      rest = rest.subspan(segment.size());
      fly(peer, transmit.remote, Bytes(segment.begin(), segment.end()), transmit.ecn);
    }
  }

  void fly(Peer& from, const SocketAddress& to, Bytes bytes, std::uint8_t ecn) {
    ++sent_count;
    if (on_send && !on_send(from, to, bytes)) return;
    const auto found = links_.find({&from, to});
    if (found == links_.end()) return;
    Link& link = found->second;
    const Quality& quality = link.quality;
    if (quality.is_blocked || bytes.size() > quality.datagram_size_max) return;
    if (random_.below(1000) < quality.loss_per_mille) return;
    Instant sent = now_;
    if (quality.rate_bytes_per_s > 0) {
      const Instant start = std::max(now_, link.free_at);
      const double queued =
          std::chrono::duration<double>(start - now_).count() * double(quality.rate_bytes_per_s);
      if (queued + double(bytes.size()) > double(quality.queue_size_max)) return;
      link.free_at = start + Duration(bytes.size() * 1'000'000'000 / quality.rate_bytes_per_s);
      sent = link.free_at;
    }
    const int copies = random_.below(1000) < quality.duplication_per_mille ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const Duration extra =
          quality.jitter > Duration{}
              ? Duration(std::int64_t(random_.below(std::uint64_t(quality.jitter.count()))))
              : Duration{};
      flying_.emplace(std::pair(sent + quality.delay + extra, ++sequence_),
                      Datagram{link.to, link.source, bytes, ecn});
    }
  }

  void deliver() {
    while (!flying_.empty() && flying_.begin()->first.first <= now_) {
      auto node = flying_.extract(flying_.begin());
      Datagram& datagram = node.mapped();
      (*datagram.to)
          ->handle({datagram.source, datagram.bytes, datagram.bytes.size(), datagram.ecn}, now_);
    }
  }

  SeededRandom random_;
  Instant now_ = Instant(seconds(1));
  std::vector<Peer*> peers_;
  std::map<std::pair<Peer*, SocketAddress>, Link> links_;
  std::map<std::pair<Instant, std::uint64_t>, Datagram> flying_;
  std::uint64_t sequence_ = 0;
  Bytes buffer_ = Bytes(64 << 10);
};

// pattern_at is the byte at an offset of a body: it depends on the position, so that a byte that is
// lost, doubled or misplaced is seen.
inline std::byte pattern_at(std::uint64_t offset, std::uint64_t salt) {
  std::uint64_t x = (offset >> 3U) * 0x9e3779b97f4a7c15ULL + salt;
  x ^= x >> 29U;
  return static_cast<std::byte>((x * 0xbf58476d1ce4e5b9ULL) >> (8 * (offset & 7U)));
}

// Body writes `size` pattern bytes as the stream takes them, and ends the stream.
class BodyWriter {
 public:
  BodyWriter(Peer& peer, StreamKey stream, std::uint64_t size, std::uint64_t salt)
      : peer_(peer), stream_(stream), size_(size), salt_(salt) {}

  // push writes as much as fits; call it again on StreamWritable.
  void push() {
    while (written_ < size_) {
      const std::span<std::byte> space = peer_->writable(stream_);
      if (space.empty()) return;
      const std::size_t count =
          std::size_t(std::min<std::uint64_t>(space.size(), size_ - written_));
      for (std::size_t i = 0; i < count; ++i) space[i] = pattern_at(written_ + i, salt_);
      peer_->commit(stream_, count);
      written_ += count;
    }
    peer_->finish(stream_);
  }
  [[nodiscard]] std::uint64_t written() const { return written_; }
  [[nodiscard]] StreamKey stream() const { return stream_; }

 private:
  Peer& peer_;
  StreamKey stream_;
  std::uint64_t size_;
  std::uint64_t salt_;
  std::uint64_t written_ = 0;
};

// BodyReader compares everything that arrives with the pattern.
class BodyReader {
 public:
  BodyReader(Peer& peer, StreamKey stream, std::uint64_t salt)
      : peer_(peer), stream_(stream), salt_(salt) {}

  void pull() {
    for (;;) {
      const Readable readable = peer_->readable(stream_);
      for (std::size_t i = 0; i < readable.bytes.size(); ++i) {
        if (readable.bytes[i] != pattern_at(read_ + i, salt_)) ++wrong_;
      }
      read_ += readable.bytes.size();
      if (readable.is_end) is_end_ = true;
      if (readable.bytes.empty()) return;
      peer_->consume(stream_, readable.bytes.size());
    }
  }
  [[nodiscard]] std::uint64_t read() const { return read_; }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] bool is_end() const { return is_end_; }
  [[nodiscard]] StreamKey stream() const { return stream_; }

 private:
  Peer& peer_;
  StreamKey stream_;
  std::uint64_t salt_;
  std::uint64_t read_ = 0;
  std::uint64_t wrong_ = 0;
  bool is_end_ = false;
};

inline const SocketAddress kServerAddress{IpAddress::v4({192, 0, 2, 1}), 443};
inline const SocketAddress kClientAddress{IpAddress::v4({198, 51, 100, 7}), 50'000};

inline Endpoint::Config server_config() {
  Endpoint::Config config;
  config.identity = &identity(0);
  config.route = route(0xa0);
  config.is_accepting = true;
  return config;
}
inline Endpoint::Config client_config() {
  Endpoint::Config config;
  config.identity = &identity(1);
  config.route = route(0xc0);
  return config;
}
inline Endpoint::ConnectOptions connect_options() {
  Endpoint::ConnectOptions options;
  options.remote = kServerAddress;
  options.pin = {PeerPin::Kind::certificate, identity(0).certificate_digest()};
  return options;
}

// Pair is a client and a server on one link.
struct Pair {
  explicit Pair(const Endpoint::Config& client_side = client_config(),
                const Endpoint::Config& server_side = server_config(), const Quality& quality = {},
                std::uint64_t seed = 1)
      : network(seed),
        client("client", client_side, seed + 1),
        server("server", server_side, seed + 2) {
    network.join(client, kServerAddress, server, kClientAddress, quality);
  }

  // connect completes a handshake.
  void connect(const Endpoint::ConnectOptions& options = connect_options()) {
    const auto made = client->connect(options, network.now());
    REQUIRE(made);
    key = *made;
    REQUIRE(network.run(seconds(20), [this] {
      return client.has<ConnectionReady>() && server.has<ConnectionReady>();
    }));
    server_key = server.last<ConnectionReady>()->connection;
  }

  // open sends a plain CONNECT and waits until the server has it; it returns the server's key.
  std::pair<StreamKey, StreamKey> open() {
    const std::size_t before = server.all<RequestReceived>().size();
    const auto stream = client->open_request(key, connect_request(), false);
    REQUIRE(stream);
    REQUIRE(
        network.run(seconds(20), [&] { return server.all<RequestReceived>().size() > before; }));
    return {*stream, server.last<RequestReceived>()->stream};
  }

  // open_both opens a stream and answers it with 200.
  std::pair<StreamKey, StreamKey> open_both() {
    const auto streams = open();
    const std::size_t before = client.all<ResponseReceived>().size();
    REQUIRE(server->respond(streams.second, {.status = 200, .fields = {}}, false));
    REQUIRE(
        network.run(seconds(20), [&] { return client.all<ResponseReceived>().size() > before; }));
    return streams;
  }

  static http::Request connect_request() {
    http::Request request;
    request.method = "CONNECT";
    request.authority = "db.internal:5432";
    return request;
  }

  Network network;
  Peer client;
  Peer server;
  ConnectionKey key{};
  ConnectionKey server_key{};
};

}  // namespace zt::quic::test
