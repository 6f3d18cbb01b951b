// SPDX-License-Identifier: Apache-2.0
// An accepting endpoint gets a real client's datagrams, damaged as the input says, and strangers'
// datagrams made of the input. It must not crash, and must keep to its limits.
//
// The input is a script: an operation of one byte, then what the operation needs.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>

#include "crypto/identity.h"
#include "quic/endpoint.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/random.h"

namespace zt::quic {
namespace {

const SocketAddress kServer{IpAddress::v4({192, 0, 2, 1}), 443};
const SocketAddress kClient{IpAddress::v4({198, 51, 100, 7}), 50'000};

const crypto::Identity& identity() {
  static const auto made =
      crypto::Identity::create("fuzz", UnixTime(std::chrono::seconds(1'800'000'000)));
  return made;
}

class Script {
 public:
  explicit Script(BytesView bytes) : rest_(bytes) {}
  [[nodiscard]] bool is_over() const { return rest_.empty(); }
  std::size_t number() {
    const BytesView byte = take(1);
    return byte.empty() ? 0 : std::to_integer<std::size_t>(byte[0]);
  }
  BytesView take(std::size_t size) {
    const BytesView taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  BytesView rest_;
};

class World {
 public:
  World()
      : client_random_(1),
        server_random_(2),
        client_(client(), client_random_),
        server_(server(), server_random_) {}

  void play(Script script) {
    (void)client_.connect({.remote = kServer,
                           .pin = {PeerPin::Kind::certificate, identity().certificate_digest()},
                           .server_name = {},
                           .peer_route = {},
                           .is_kept_alive = true},
                          now_);
    for (int steps = 0; steps < 256 && !script.is_over(); ++steps) {
      drain();
      step(script);
    }
    drain();
    ZT_ASSERT(server_.connection_count() <= 8);
  }

 private:
  static Endpoint::Config client() {
    Endpoint::Config config;
    config.identity = &identity();
    return config;
  }
  static Endpoint::Config server() {
    Endpoint::Config config = client();
    config.is_accepting = true;
    config.limits.connections_max = 8;
    config.limits.handshakes_before_retry = 4;
    config.limits.streams_per_connection_max = 8;
    return config;
  }

  void step(Script& script) {
    switch (script.number() % 8) {
      case 0: {  // A stranger.
        const BytesView bytes = script.take(script.number() * 6);
        if (!bytes.empty()) server_.handle({kClient, bytes, bytes.size(), 0}, now_);
        break;
      }
      case 1: {  // A damaged datagram of the client.
        if (to_server_.empty()) break;
        Bytes bytes = to_server_.front();
        bytes[script.number() * 7 % bytes.size()] ^= static_cast<std::byte>(script.number());
        if (script.number() % 4 == 0) bytes.resize(1 + script.number() % bytes.size());
        server_.handle({kClient, bytes, bytes.size(), 0}, now_);
        break;
      }
      case 2:  // From another address.
        if (to_server_.empty()) break;
        server_.handle({{kClient.ip, static_cast<std::uint16_t>(script.number())},
                        to_server_.front(),
                        to_server_.front().size(),
                        static_cast<std::uint8_t>(script.number() & 3U)},
                       now_);
        break;
      case 3:
        if (!to_server_.empty()) to_server_.pop_front();
        break;
      case 4:
        use(script);
        break;
      case 5:
        now_ += std::chrono::milliseconds(script.number() * 8);
        server_.handle_timeout(now_);
        client_.handle_timeout(now_);
        break;
      default:
        deliver();
        break;
    }
  }

  void deliver() {
    if (!to_server_.empty()) {
      const Bytes bytes = std::exchange(to_server_.front(), {});
      to_server_.pop_front();
      server_.handle({kClient, bytes, bytes.size(), 0}, now_);
    }
    if (!to_client_.empty()) {
      const Bytes bytes = std::exchange(to_client_.front(), {});
      to_client_.pop_front();
      client_.handle({kServer, bytes, bytes.size(), 0}, now_);
    }
  }

  void use(Script& script) {
    if (!ready_) return;
    const std::size_t choice = script.number();
    if (!stream_ || choice % 4 == 0) {
      const auto opened = client_.open_request(*ready_,
                                               {.method = "CONNECT",
                                                .scheme = {},
                                                .authority = "a:1",
                                                .path = {},
                                                .protocol = {},
                                                .fields = {}},
                                               choice % 8 == 0);
      if (opened) stream_ = *opened;
      return;
    }
    switch (choice % 6) {
      case 1:
        (void)client_.write(*stream_, script.take(choice));
        break;
      case 2:
        client_.finish(*stream_);
        break;
      case 3:
        client_.reset(*stream_, choice);
        break;
      case 4:
        client_.stop(*stream_, choice);
        break;
      default:
        (void)client_.send_datagram(*stream_, script.take(choice));
        break;
    }
  }

  void drain() {
    while (const auto event = server_.poll_event()) answer(*event);
    while (const auto event = client_.poll_event()) {
      if (const auto* ready = std::get_if<ConnectionReady>(&*event)) ready_ = ready->connection;
    }
    while (server_.poll_datagram()) {
    }
    drain(server_, to_client_);
    drain(client_, to_server_);
  }

  void drain(Endpoint& endpoint, std::deque<Bytes>& flying) {
    for (int i = 0; i < 64; ++i) {
      const auto transmit = endpoint.poll_transmit(buffer_, now_);
      if (!transmit) return;
      BytesView rest = BytesView(buffer_).first(transmit->size);
      while (!rest.empty()) {
        const BytesView segment = rest.first(std::min(rest.size(), transmit->segment_size));
        rest = rest.subspan(segment.size());
        flying.emplace_back(segment.begin(), segment.end());
      }
    }
  }

  void answer(const Event& event) {
    if (const auto* request = std::get_if<RequestReceived>(&event)) {
      (void)server_.respond(request->stream, {.status = 200, .fields = {}}, false);
    } else if (const auto* readable = std::get_if<StreamReadable>(&event)) {
      const Readable body = server_.readable(readable->stream);
      (void)server_.write(readable->stream, body.bytes);
      server_.consume(readable->stream, body.bytes.size());
    } else if (const auto* reset = std::get_if<StreamReset>(&event)) {
      server_.finish(reset->stream);
    }
  }

  SeededRandom client_random_;
  SeededRandom server_random_;
  Instant now_ = Instant(std::chrono::seconds(1));
  Endpoint client_;
  Endpoint server_;
  std::deque<Bytes> to_server_;
  std::deque<Bytes> to_client_;
  std::optional<ConnectionKey> ready_;
  std::optional<StreamKey> stream_;
  Bytes buffer_ = Bytes(64 << 10);
};

}  // namespace
}  // namespace zt::quic

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  zt::quic::World world;
  world.play(zt::quic::Script(std::as_bytes(std::span(data, size))));
  return 0;
}
