// SPDX-License-Identifier: Apache-2.0
#include "stranger.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "zt/wire/probe.h"

namespace zt::sim {

using namespace std::chrono_literals;

namespace {

quic::Endpoint::Config config_of(const crypto::Identity& identity, Random& random) {
  RouteId route;
  random.fill(route.bytes);
  return {.identity = &identity, .route = route, .is_accepting = true};
}

}  // namespace

// --- Stranger

Stranger::Stranger(World& world, std::uint64_t seed, const SocketAddress& address)
    : world_(world),
      address_(address),
      random_(seed),
      identity_(crypto::Identity::create("stranger", world.now().unix_time)),
      endpoint_(config_of(identity_, random_), random_),
      buffer_(1 << 17) {
  world.attach(*this, address);
}

void Stranger::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  if (!wire::is_probe(datagrams.bytes)) endpoint_.handle(datagrams, now.instant);
}
void Stranger::handle_timeout(const Now& now) {
  endpoint_.handle_timeout(now.instant);
}
void Stranger::settle(const Now& now) {
  while (auto event = endpoint_.poll_event()) {
    if (const auto* readable = std::get_if<quic::StreamReadable>(&*event)) {
      endpoint_.consume(readable->stream, endpoint_.readable(readable->stream).bytes.size());
    }
    const auto* request = std::get_if<quic::RequestReceived>(&*event);
    if (request != nullptr && answer) {
      (void)endpoint_.respond(request->stream, {.status = 200, .fields = *answer}, false);
    }
    events_.push_back(*std::move(event));
  }
  if (!source) return;
  while (const auto transmit = endpoint_.poll_transmit(buffer_, now.instant)) {
    const auto bytes = std::span<const std::byte>(buffer_).first(transmit->size);
    for (std::size_t at = 0; at < bytes.size(); at += transmit->segment_size) {
      world_.inject({.realm = kPublic, .from = *source, .to = transmit->remote},
                    bytes.subspan(at, std::min(transmit->segment_size, bytes.size() - at)));
    }
  }
}
std::optional<quic::Transmit> Stranger::poll_transmit(std::span<std::byte> buffer, const Now& now) {
  if (source) return std::nullopt;
  return endpoint_.poll_transmit(buffer, now.instant);
}
std::optional<Instant> Stranger::next_deadline() const {
  return endpoint_.next_deadline();
}

std::optional<quic::ConnectionKey> Stranger::connect(
    const quic::Endpoint::ConnectOptions& options) {
  const auto key = endpoint_.connect(options, world_.now().instant);
  REQUIRE(key);
  world_.wake(*this);
  const auto is_ready = [&](const quic::Event& event) {
    const auto* ready = std::get_if<quic::ConnectionReady>(&event);
    return ready != nullptr && ready->connection == *key;
  };
  const bool is_done = world_.run_until([&] { return std::ranges::any_of(events_, is_ready); }, 5s);
  return is_done ? std::optional(*key) : std::nullopt;
}

quic::StreamKey Stranger::open(quic::ConnectionKey connection, const http::Request& request) {
  const auto stream = endpoint_.open_request(connection, request, false);
  REQUIRE(stream);
  world_.wake(*this);
  return *stream;
}

int Stranger::ask(quic::ConnectionKey connection, const http::Request& request) {
  const quic::StreamKey stream = open(connection, request);
  (void)world_.run_until([&] { return status_of(stream) != 0; }, 3s);
  return status_of(stream);
}

int Stranger::status_of(const quic::StreamKey& stream) const {
  for (const quic::Event& event : events_) {
    const auto* response = std::get_if<quic::ResponseReceived>(&event);
    if (response != nullptr && response->stream == stream) return response->response.status;
  }
  return 0;
}

bool Stranger::is_reset(const quic::StreamKey& stream) const {
  return std::ranges::any_of(events_, [&](const quic::Event& event) {
    const auto* reset = std::get_if<quic::StreamReset>(&event);
    return reset != nullptr && reset->stream == stream;
  });
}

void Stranger::write(const quic::StreamKey& stream, std::span<const std::byte> bytes) {
  (void)endpoint_.write(stream, bytes);  // What does not fit was refused, which is as well.
  world_.wake(*this);
}

// --- Victim

void Victim::handle(const quic::ReceivedDatagrams& datagrams, const Now& /*now*/) {
  ++datagram_count;
  received_size += datagrams.bytes.size();
  if (wire::is_probe(datagrams.bytes)) ++probe_count;
}
void Victim::handle_timeout(const Now& /*now*/) {}
void Victim::settle(const Now& /*now*/) {}
std::optional<quic::Transmit> Victim::poll_transmit(std::span<std::byte> /*buffer*/,
                                                    const Now& /*now*/) {
  return std::nullopt;
}

}  // namespace zt::sim
