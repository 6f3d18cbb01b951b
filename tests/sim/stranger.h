// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/stranger.h: somebody who speaks QUIC and HTTP/3, and says whatever a test wants said.
//
// Theory of operation
//   A Stranger has a certificate of its own making and no role. It stands in a World and connects
//   to whoever a test says; what it sends may claim any source. A Victim stands somewhere, says
//   nothing, and counts what it gets.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crypto/identity.h"
#include "quic/endpoint.h"
#include "world.h"
#include "zt/base/random.h"

namespace zt::sim {

class Stranger final : public Actor {
 public:
  Stranger(World& world, std::uint64_t seed, const SocketAddress& address);

  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;

  // connect waits until the handshake is done; nothing if it never is.
  std::optional<quic::ConnectionKey> connect(const quic::Endpoint::ConnectOptions& options);
  // ask opens a request stream and waits for the status of the answer; 0 if there is none.
  int ask(quic::ConnectionKey connection, const http::Request& request);
  // open is ask without waiting.
  quic::StreamKey open(quic::ConnectionKey connection, const http::Request& request);
  [[nodiscard]] int status_of(const quic::StreamKey& stream) const;
  [[nodiscard]] bool is_reset(const quic::StreamKey& stream) const;
  void write(const quic::StreamKey& stream, std::span<const std::byte> bytes);

  [[nodiscard]] quic::Endpoint& endpoint() { return endpoint_; }
  [[nodiscard]] const crypto::Identity& identity() const { return identity_; }
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  // source is what its datagrams claim to come from; its address, if there is none.
  std::optional<SocketAddress> source;
  // is_answering tells whether it answers requests by 200 with these fields.
  std::optional<http::Fields> answer;

 private:
  World& world_;
  SocketAddress address_;
  SeededRandom random_;
  crypto::Identity identity_;
  quic::Endpoint endpoint_;
  std::vector<std::byte> buffer_;
  std::vector<quic::Event> events_;
};

class Victim final : public Actor {
 public:
  void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override;
  void handle_timeout(const Now& now) override;
  void settle(const Now& now) override;
  std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer, const Now& now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }

  std::size_t datagram_count = 0;
  std::size_t received_size = 0;
  std::size_t probe_count = 0;
};

}  // namespace zt::sim
