// SPDX-License-Identifier: Apache-2.0
// What QUIC costs: two endpoints in one thread, joined by memory, move one stream. Prints the
// goodput, the CPU time per gigabyte (both ends together) and its ratio to sealing and opening the
// same bytes with AES-128-GCM, which no implementation can do without.
//
//   bench_quic [seconds] [payload size] [cubic|bbr|reno] [streams]
//   bench_quic idle [connections] [path]   memory of idle connections instead, both ends together;
//                                          the path carries UDP payloads of 1472 bytes, or as said

#include <fmt/core.h>
#include <malloc.h>
#include <openssl/aead.h>
#include <time.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include "crypto/identity.h"
#include "quic/endpoint.h"
#include "zt/base/assert.h"
#include "zt/base/random.h"

namespace zt::quic {
namespace {

const SocketAddress kServer{IpAddress::v4({192, 0, 2, 1}), 443};
const SocketAddress kClient{IpAddress::v4({198, 51, 100, 7}), 50'000};

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

Instant now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

// crypto_cost returns CPU seconds per gigabyte of sealing and opening packets of that size.
double crypto_cost(std::size_t size) {
  bssl::ScopedEVP_AEAD_CTX context;
  const std::array<std::uint8_t, 16> key{};
  const std::array<std::uint8_t, 12> nonce{};
  ZT_ASSERT(EVP_AEAD_CTX_init(context.get(), EVP_aead_aes_128_gcm(), key.data(), key.size(), 16,
                              nullptr) == 1);
  std::vector<std::uint8_t> packet(size + 16);
  const double start = cpu_seconds();
  std::uint64_t bytes = 0;
  while (cpu_seconds() - start < 0.5) {
    for (int i = 0; i < 1000; ++i) {
      std::size_t sealed = 0;
      std::size_t opened = 0;
      ZT_ASSERT(EVP_AEAD_CTX_seal(context.get(), packet.data(), &sealed, packet.size(),
                                  nonce.data(), nonce.size(), packet.data(), size, nullptr,
                                  0) == 1);
      ZT_ASSERT(EVP_AEAD_CTX_open(context.get(), packet.data(), &opened, packet.size(),
                                  nonce.data(), nonce.size(), packet.data(), sealed, nullptr,
                                  0) == 1);
      bytes += size;
    }
  }
  return (cpu_seconds() - start) / (double(bytes) / 1e9);
}

struct Options {
  unsigned seconds = 3;
  Endpoint::Limits limits;
  unsigned streams = 1;
  std::size_t path_payload_size = 65527;  // What the path carries in one datagram.
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : identity_(crypto::Identity::create("bench", UnixTime(std::chrono::seconds(1'800'000'000)))),
        options_(options),
        client_(config(false), client_random_),
        server_(config(true), server_random_) {}

  void measure_idle(unsigned count) {
    (void)connect();
    while (ready_count_ < 2) turn();  // What is made once is made.
    const std::size_t before = mallinfo2().uordblks;
    for (unsigned i = 1; i <= count; ++i) {
      ZT_ASSERT(connect().has_value());
      while (ready_count_ < 2 + 2 * i) turn();
    }
    const Instant settled = now() + std::chrono::seconds(2);
    while (now() < settled) turn();
    fmt::print("{:.1f} KiB per idle connection, both ends together\n",
               double(mallinfo2().uordblks - before) / 1024 / count);
  }

  void run() {
    const auto connection = connect();
    ZT_ASSERT(connection.has_value());
    while (ready_count_ < 2) turn();
    for (unsigned i = 0; i < options_.streams; ++i) {
      const auto stream = client_.open_request(*connection,
                                               {.method = "CONNECT",
                                                .scheme = {},
                                                .authority = "a:1",
                                                .path = {},
                                                .protocol = {},
                                                .fields = {}},
                                               false);
      ZT_ASSERT(stream.has_value());
      streams_.push_back(*stream);
    }
    const Instant warm = now() + std::chrono::milliseconds(500);
    while (now() < warm) turn();
    const Instant start = now();
    const double cpu_start = cpu_seconds();
    const std::uint64_t received_start = received_;
    const Instant end = start + std::chrono::seconds(options_.seconds);
    while (now() < end) turn();
    report(double((now() - start).count()) / 1e9, cpu_seconds() - cpu_start,
           double(received_ - received_start), *connection);
  }

 private:
  Endpoint::Config config(bool is_accepting) const {
    Endpoint::Config config;
    config.identity = &identity_;
    config.is_accepting = is_accepting;
    config.limits = options_.limits;
    return config;
  }

  std::expected<ConnectionKey, ConnectError> connect() {
    return client_.connect({.remote = kServer,
                            .pin = {PeerPin::Kind::certificate, identity_.certificate_digest()},
                            .server_name = {},
                            .peer_route = {},
                            .is_kept_alive = true},
                           now());
  }

  void turn() {
    for (const StreamKey& stream : streams_) {
      for (;;) {
        const auto space = client_.writable(stream);
        if (space.empty()) break;
        client_.commit(stream, space.size());
      }
    }
    move(client_, server_, kClient);
    move(server_, client_, kServer);
    const Instant time = now();
    for (Endpoint* endpoint : {&client_, &server_}) {
      const auto deadline = endpoint->next_deadline();
      if (deadline && *deadline <= time) endpoint->handle_timeout(time);
      while (const auto event = endpoint->poll_event()) take(*endpoint, *event);
    }
  }

  void move(Endpoint& from, Endpoint& to, const SocketAddress& source) {
    for (int i = 0; i < 8; ++i) {
      const auto transmit = from.poll_transmit(buffer_, now());
      if (!transmit) return;
      ++batches_;
      segments_ += (transmit->size + transmit->segment_size - 1) / transmit->segment_size;
      if (transmit->segment_size > options_.path_payload_size) continue;  // A probe, lost.
      to.handle(
          {source, BytesView(buffer_).first(transmit->size), transmit->segment_size, transmit->ecn},
          now());
      while (const auto event = to.poll_event()) take(to, *event);
    }
  }

  void take(Endpoint& endpoint, const Event& event) {
    if (std::holds_alternative<ConnectionReady>(event)) {
      ++ready_count_;
    } else if (const auto* closed = std::get_if<ConnectionClosed>(&event)) {
      fmt::print(stderr, "closed: {} {}\n", to_text(closed->reason), closed->text);
      ZT_ASSERT(false);
    } else if (const auto* readable = std::get_if<StreamReadable>(&event)) {
      for (;;) {
        const Readable body = endpoint.readable(readable->stream);
        if (body.bytes.empty()) break;
        received_ += body.bytes.size();
        endpoint.consume(readable->stream, body.bytes.size());
      }
    }
  }

  void report(double wall, double cpu, double bytes, ConnectionKey connection) const {
    const auto statistics = client_.statistics(connection);
    const double cost = cpu / (bytes / 1e9);
    const double crypto = crypto_cost(options_.limits.payload_size_max - 40);
    fmt::print("{:.2f} Gbit/s  {:.3f} CPU s/GB  AES-128-GCM {:.3f}  ratio {:.2f}\n",
               bytes * 8 / wall / 1e9, cost, crypto, cost / crypto);
    fmt::print("payload {}  segments/batch {:.1f}  lost {} of {}  cwnd {} KiB  rtt {} us\n",
               statistics->datagram_payload_size, double(segments_) / double(batches_),
               statistics->packets_lost, statistics->packets_sent,
               statistics->congestion_window_size >> 10, statistics->rtt_smoothed.count() / 1000);
  }

  crypto::Identity identity_;
  Options options_;
  SeededRandom client_random_{1};
  SeededRandom server_random_{2};
  Endpoint client_;
  Endpoint server_;
  std::vector<StreamKey> streams_;
  Bytes buffer_ = Bytes(64 << 10);
  unsigned ready_count_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t batches_ = 0;
  std::uint64_t segments_ = 0;
};

}  // namespace
}  // namespace zt::quic

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  const auto number = [&](std::size_t index, unsigned otherwise) {
    if (index >= arguments.size()) return otherwise;
    std::from_chars(arguments[index].data(), arguments[index].data() + arguments[index].size(),
                    otherwise);
    return otherwise;
  };
  zt::quic::Options options;
  if (!arguments.empty() && arguments[0] == "idle") {
    options.path_payload_size = number(2, 1472);
    zt::quic::Bench(options).measure_idle(number(1, 1000));
    return 0;
  }
  options.seconds = number(0, 3);
  options.limits.payload_size_max = number(1, 1452);
  if (arguments.size() > 2 && arguments[2] == "bbr") {
    options.limits.congestion_control = zt::quic::CongestionControl::bbr;
  } else if (arguments.size() > 2 && arguments[2] == "reno") {
    options.limits.congestion_control = zt::quic::CongestionControl::reno;
  }
  options.streams = number(3, 1);
  zt::quic::Bench(options).run();
  return 0;
}
