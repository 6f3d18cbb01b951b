// SPDX-License-Identifier: Apache-2.0
#pragma once
// unit/http/http_world.h: a Server with clients of both transports, in one thread, under a clock
// that the test moves.

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "crypto/identity.h"
#include "http/call.h"
#include "http/http1_client.h"
#include "http/server.h"
#include "http/tls_session.h"
#include "quic/endpoint.h"

namespace zt::http::test {

inline constexpr UnixTime kToday{std::chrono::hours(24 * 365 * 56)};

inline SocketAddress address(std::uint8_t last, std::uint16_t port) {
  return {.ip = IpAddress::v4({192, 0, 2, last}), .port = port};
}

inline Request get(std::string path) {
  return {.method = "GET", .scheme = "https", .authority = "zt.test", .path = std::move(path)};
}

inline Request post(std::string path) {
  Request request = get(std::move(path));
  request.method = "POST";
  return request;
}

// Told is what the server's core was told, in order.
struct Told {
  std::vector<RequestArrived> arrived;
  std::vector<ExchangeKey> gone;
  std::vector<PeerMoved> moved;

  void drain(Server& server) {
    while (auto output = server.poll_output()) {
      if (auto* request = std::get_if<RequestArrived>(&*output)) {
        arrived.push_back(std::move(*request));
      } else if (const auto* move = std::get_if<PeerMoved>(&*output)) {
        moved.push_back(*move);
      } else {
        gone.push_back(std::get<ExchangeGone>(*output).exchange);
      }
    }
  }
};

// TcpClient is a client over TLS and HTTP/1.1 whose bytes travel `step` at a time.
class TcpClient {
 public:
  TcpClient(Server& server, const crypto::Identity& server_identity,
            const crypto::Identity* identity, Instant now, std::size_t step = 100'000)
      : http(Http1Client::Limits{.body_size_max = std::nullopt}),
        tls(TlsContext::client(identity),
            {.pin = {.kind = quic::PeerPin::Kind::public_key,
                     .digest = server_identity.public_key_digest()}},
            now),
        server_(server),
        step_(step) {
    const auto opened = server.open(address(7, 4321), now);
    REQUIRE(opened);
    key = *opened;
  }

  // settle carries bytes until none moves. A client that is not reading leaves the server's alone.
  void settle(Instant now) {
    while (settle_once(now)) {
    }
  }

  // told returns what the client was told: "200 body end", "!error".
  std::string told() {
    std::string text;
    while (const auto event = http.poll_event()) {
      if (const auto* response = std::get_if<Http1Response>(&*event)) {
        last = response->response;
        text += std::to_string(response->response.status) + " ";
      } else if (const auto* chunk = std::get_if<Http1Chunk>(&*event)) {
        text += chunk->bytes;
      } else if (std::holds_alternative<Http1Ended>(*event)) {
        text += " end";
      } else {
        text += "!" + std::string(to_text(std::get<Http1Failed>(*event).error));
      }
    }
    return text;
  }

  Http1Client http;
  TlsSession tls;
  TcpKey key{};
  Response last;
  bool is_reading = true;

 private:
  bool settle_once(Instant now) {
    bool has_moved = false;
    http.sent(tls.write(as_bytes(http.to_send())));
    const BytesView up = tls.to_send();
    if (!up.empty() && server_.wants_receive(key)) {
      const std::size_t size = std::min(step_, up.size());
      server_.receive(key, up.subspan(0, size), now);
      tls.sent(size);
      has_moved = true;
    }
    if (!is_reading) return has_moved;
    const BytesView down = server_.to_send(key);
    if (!down.empty()) {
      const std::size_t taken = tls.receive(down.subspan(0, std::min(step_, down.size())));
      server_.sent(key, taken, now);
      has_moved = has_moved || taken > 0;
    }
    std::array<std::byte, 5000> buffer{};
    while (const std::size_t size = tls.read(buffer)) {
      http.receive(as_text(BytesView(buffer).subspan(0, size)), now);
      has_moved = true;
    }
    return has_moved;
  }

  Server& server_;
  std::size_t step_;
};

// QuicWorld is a Server behind a quic::Endpoint, and Calls behind another, joined without loss.
class QuicWorld {
 public:
  explicit QuicWorld(const Server::Limits& limits = {}, const Calls::Limits& call_limits = {},
                     const quic::Endpoint::Limits& endpoint_limits = {})
      : server_endpoint({.identity = &server_identity,
                         .route = {},
                         .is_accepting = true,
                         .is_client_certificate_required = false,
                         .limits = endpoint_limits},
                        server_random_),
        client_endpoint({.identity = &client_identity, .route = {}, .limits = endpoint_limits},
                        client_random_),
        server({.identity = &server_identity, .alt_svc_port = 8443, .limits = limits},
               &server_endpoint),
        calls(client_endpoint, call_limits) {
    const auto connected =
        client_endpoint.connect({.remote = server_address,
                                 .pin = {.kind = quic::PeerPin::Kind::certificate,
                                         .digest = server_identity.certificate_digest()},
                                 .server_name = "zt.test",
                                 .peer_route = std::nullopt},
                                now);
    REQUIRE(connected);
    connection = *connected;
    settle();
    REQUIRE(is_ready);
  }

  // settle gives the endpoints, which pace what they send, a moment to say what they have to say.
  void settle() { advance(std::chrono::milliseconds(50)); }

  // advance lets `duration` pass in steps in which every due timer fires.
  void advance(Duration duration) { advance_until(now + duration); }

  void advance_until(Instant until) {
    flow();
    while (now < until) {
      auto next = earlier_of(client_endpoint.next_deadline(), server_endpoint.next_deadline());
      next = earlier_of(next, earlier_of(server.next_deadline(), calls.next_deadline()));
      now = std::clamp(next.value_or(until), now + std::chrono::microseconds(1), until);
      client_endpoint.handle_timeout(now);
      server_endpoint.handle_timeout(now);
      server.handle_timeout(now);
      calls.handle_timeout(now);
      flow();
    }
  }

  // carry_out has the server carry out a command and settles.
  void carry_out(Server::Command command) {
    server.carry_out(std::move(command), now);
    settle();
  }

  crypto::Identity server_identity = crypto::Identity::create("server", kToday);
  crypto::Identity client_identity = crypto::Identity::create("client", kToday);
  SocketAddress server_address = address(1, 443);
  SocketAddress client_address = address(2, 5000);
  Instant now{std::chrono::seconds(1000)};

 private:
  SeededRandom server_random_{1};
  SeededRandom client_random_{2};

 public:
  quic::Endpoint server_endpoint;
  quic::Endpoint client_endpoint;
  Server server;
  Calls calls;
  quic::ConnectionKey connection{};
  bool is_ready = false;
  bool is_client_reading = true;  // If not, the client's streams are not drained.
  Told told;
  std::vector<CallEvent> call_events;
  std::vector<quic::Event> unclaimed;  // Events of the client that belong to no call.

 private:
  // flow carries datagrams until nothing is left to send at this instant.
  void flow() {
    do {
      drain_events();
    } while (carry(client_endpoint, server_endpoint, client_address) ||
             carry(server_endpoint, client_endpoint, server_address));
  }

  void drain_events() {
    bool has_moved = true;
    while (has_moved) {
      has_moved = false;
      while (const auto event = server_endpoint.poll_event()) {
        (void)server.handle(*event, now);  // Whether it claims an event is tested elsewhere.
        has_moved = true;
      }
      while (is_client_reading) {
        const auto event = client_endpoint.poll_event();
        if (!event) break;
        if (std::holds_alternative<quic::ConnectionReady>(*event)) is_ready = true;
        if (!calls.handle(*event, now)) unclaimed.push_back(*event);
        has_moved = true;
      }
    }
    told.drain(server);
    while (auto event = calls.poll_event()) call_events.push_back(std::move(*event));
  }

  bool carry(quic::Endpoint& from, quic::Endpoint& to, const SocketAddress& source) {
    bool has_moved = false;
    while (const auto transmit = from.poll_transmit(buffer_, now)) {
      to.handle({.remote = source,
                 .bytes = BytesView(buffer_).subspan(0, transmit->size),
                 .segment_size = transmit->segment_size,
                 .ecn = transmit->ecn},
                now);
      has_moved = true;
    }
    return has_moved;
  }

  Bytes buffer_ = Bytes(std::size_t{64} << 10U);
};

}  // namespace zt::http::test
