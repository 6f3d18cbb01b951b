// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/context.h: what the connections of one endpoint share.
//
// Theory of operation
//   The endpoint owns one Context; each of its connections borrows it. Connections put events and
//   received datagrams into its queues, take memory from its pools, and register the connection IDs
//   by which packets find them.

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "quic/connection_id.h"
#include "quic/endpoint.h"
#include "quic/fifo.h"
#include "quic/stream.h"

namespace zt::quic {

class Connection;

// Recipient is who gets the packets of a connection ID: a live connection, or the remains of a
// closed one.
struct Recipient {
  Connection* connection = nullptr;
  ConnectionKey key{};
};

using RecipientTable = std::unordered_map<ConnectionId, Recipient, ConnectionIdHash>;

struct QueuedDatagram {
  StreamKey stream;
  Bytes payload;
};

// BufferPool keeps byte vectors whose memory is used again.
class BufferPool {
 public:
  static constexpr std::size_t kSpareCountMax = 256;

  [[nodiscard]] Bytes copy(BytesView content) {
    Bytes bytes;
    if (!spares_.empty()) {
      bytes = std::move(spares_.back());
      spares_.pop_back();
    }
    bytes.assign(content.begin(), content.end());
    return bytes;
  }

  void give(Bytes bytes) {
    if (spares_.size() < kSpareCountMax) spares_.push_back(std::move(bytes));
  }

 private:
  std::vector<Bytes> spares_;
};

struct Context {
  Context(const Endpoint::Limits& the_limits, Random& the_random);

  // make_connection_id returns a new ID, to be issued to the peer of that route.
  [[nodiscard]] ConnectionId make_connection_id(const RouteId& peer);

  Endpoint::Limits limits;
  Random& random;
  RouteId route;
  std::vector<std::uint16_t> probed_sizes;  // UDP payload sizes that paths are probed for.
  bssl::UniquePtr<SSL_CTX> tls_client;
  bssl::UniquePtr<SSL_CTX> tls_server;  // Null unless accepting.
  std::array<std::uint8_t, 32> reset_key{};
  std::array<std::uint8_t, 32> token_key{};
  RecipientTable recipients;
  // By the tokens with which peers would reset us statelessly; kept in the form of connection IDs.
  RecipientTable reset_tokens;
  ChunkPool chunks;
  BufferPool buffers;
  Fifo<Event> events;
  Fifo<QueuedDatagram> datagrams;  // Received, for poll_datagram().
  Counters counters;
};

}  // namespace zt::quic
