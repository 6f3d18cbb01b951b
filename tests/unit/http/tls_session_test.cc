// SPDX-License-Identifier: Apache-2.0
#include "http/tls_session.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>

#include "crypto/identity.h"

namespace zt::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Instant kStart{seconds(1000)};
constexpr UnixTime kDay{std::chrono::hours(24 * 365 * 56)};

struct Identities {
  crypto::Identity server = crypto::Identity::create("server", kDay);
  crypto::Identity client = crypto::Identity::create("client", kDay);
};

quic::PeerPin pin_of(const crypto::Identity& identity) {
  return {.kind = quic::PeerPin::Kind::certificate, .digest = identity.certificate_digest()};
}

// carry moves what `from` has to send into `to`, `step` bytes at a time, and returns how much it
// was.
std::size_t carry(TlsSession& from, TlsSession& to, std::size_t step = 100'000) {
  std::size_t total = 0;
  while (true) {
    const BytesView bytes = from.to_send();
    if (bytes.empty()) return total;
    const std::size_t taken = to.receive(bytes.subspan(0, std::min(step, bytes.size())));
    if (taken == 0) return total;
    from.sent(taken);
    total += taken;
  }
}

void settle(TlsSession& a, TlsSession& b, std::size_t step = 100'000) {
  while (carry(a, b, step) + carry(b, a, step) > 0) {
  }
}

std::string read_all(TlsSession& session) {
  std::string text;
  std::array<std::byte, 1000> buffer{};
  while (const std::size_t size = session.read(buffer)) {
    text += as_text(BytesView(buffer).subspan(0, size));
  }
  return text;
}

TEST_CASE("two ends find each other, know each other's keys, and carry bytes both ways") {
  const Identities identities;
  for (const std::size_t step : {std::size_t{1}, std::size_t{100'000}}) {
    TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
    TlsSession client(TlsContext::client(&identities.client),
                      {.pin = pin_of(identities.server), .server_name = "zt.test"}, kStart);
    CHECK_FALSE(client.peer());
    settle(client, server, step);
    REQUIRE(client.state() == TlsSession::State::ready);
    REQUIRE(server.state() == TlsSession::State::ready);
    REQUIRE(server.peer());
    CHECK(server.peer()->certificate == identities.client.certificate_digest());
    CHECK(server.peer()->public_key == identities.client.public_key_digest());
    CHECK(client.peer()->certificate == identities.server.certificate_digest());
    CHECK_FALSE(client.next_deadline());

    CHECK(client.write(as_bytes("question")) == 8);
    CHECK(server.write(as_bytes("answer")) == 6);
    settle(client, server, step);
    CHECK(read_all(server) == "question");
    CHECK(read_all(client) == "answer");
  }
}

TEST_CASE("a client without a certificate is served, and is nobody") {
  const Identities identities;
  TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
  TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
  settle(client, server);
  CHECK(client.state() == TlsSession::State::ready);
  CHECK(server.state() == TlsSession::State::ready);
  CHECK_FALSE(server.peer());
}

TEST_CASE("a pin is kept for the certificate or for the public key, and only for that") {
  const Identities identities;
  using Kind = quic::PeerPin::Kind;
  struct Row {
    Kind kind;
    Digest digest;
    bool is_accepted;
  };
  const std::array<Row, 5> rows = {{
      {Kind::certificate, identities.server.certificate_digest(), true},
      {Kind::public_key, identities.server.public_key_digest(), true},
      {Kind::certificate, identities.server.public_key_digest(), false},
      {Kind::public_key, identities.server.certificate_digest(), false},
      {Kind::certificate, identities.client.certificate_digest(), false},
  }};
  for (const Row& row : rows) {
    TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
    TlsSession client(TlsContext::client(&identities.client),
                      {.pin = {.kind = row.kind, .digest = row.digest}}, kStart);
    settle(client, server);
    if (row.is_accepted) {
      CHECK(client.state() == TlsSession::State::ready);
      CHECK(server.state() == TlsSession::State::ready);
      continue;
    }
    REQUIRE(client.state() == TlsSession::State::failed);
    CHECK(client.error() == TlsError::wrong_peer);
    CHECK_FALSE(client.peer());
    // The alert reaches the server.
    REQUIRE(server.state() == TlsSession::State::failed);
    CHECK(server.error() == TlsError::refused);
    CHECK(client.write(as_bytes("x")) == 0);
  }
}

TEST_CASE("the end of the stream is genuine only after close_notify") {
  const Identities identities;
  for (const bool is_shut : {true, false}) {
    TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
    TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
    settle(client, server);
    CHECK(server.write(as_bytes("last words")) == 10);
    if (is_shut) server.shut();
    settle(client, server);
    client.receive_end();
    CHECK(read_all(client) == "last words");
    CHECK(client.is_receive_ended() == is_shut);
    if (is_shut) {
      CHECK(client.state() == TlsSession::State::ready);
      CHECK(client.write(as_bytes("still here")) == 10);  // Half-closed.
      CHECK(server.write(as_bytes("x")) == 0);
      settle(client, server);
      CHECK(read_all(server) == "still here");
    } else {
      CHECK(client.state() == TlsSession::State::failed);
      CHECK(client.error() == TlsError::truncated);
    }
  }
}

TEST_CASE("a slow reader stops the writer, and nothing is lost") {
  const Identities identities;
  TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
  TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
  settle(client, server);
  std::string sent;
  for (int i = 0; sent.size() < 1'000'000; ++i) sent += std::to_string(i) + ",";
  std::string_view rest = sent;
  std::string got;
  std::size_t in_flight_max = 0;
  while (got.size() < sent.size()) {
    rest.remove_prefix(server.write(as_bytes(rest)));
    const std::size_t refused = server.write(as_bytes(rest));
    CHECK(refused == 0);
    settle(client, server);
    in_flight_max = std::max(in_flight_max, sent.size() - rest.size() - got.size());
    got += read_all(client);
  }
  CHECK(got == sent);
  CHECK(in_flight_max <= 3 * TlsSession::kBufferSize);
  server.shut();
  settle(client, server);
  CHECK(read_all(client).empty());
  CHECK(client.is_receive_ended());
}

TEST_CASE("close_notify waits for room and follows everything that was written") {
  const Identities identities;
  TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
  TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
  settle(client, server);
  // Records that fill the buffer to the last byte but a few: no room for an alert.
  const std::string block(TlsSession::kBufferSize - 2 * 22 - 16'384 - 4, 'x');
  CHECK(server.write(as_bytes(std::string(16'384, 'x'))) == 16'384);
  CHECK(server.write(as_bytes(block)) == block.size());
  server.shut();
  CHECK(server.state() == TlsSession::State::ready);
  std::string got;
  for (int i = 0; i < 3; ++i) {
    settle(client, server);
    got += read_all(client);
  }
  CHECK(got.size() == 16'384 + block.size());
  CHECK(client.is_receive_ended());
}

TEST_CASE("a handshake that does not end in time fails, at its deadline and not before") {
  const Identities identities;
  TlsSession server(TlsContext::server(identities.server),
                    TlsSession::ServerOptions{.handshake_timeout = seconds(10)}, kStart);
  CHECK(server.next_deadline() == kStart + seconds(10));
  server.handle_timeout(kStart + seconds(10) - milliseconds(1));
  CHECK(server.state() == TlsSession::State::handshaking);
  server.handle_timeout(kStart + seconds(10));
  REQUIRE(server.state() == TlsSession::State::failed);
  CHECK(server.error() == TlsError::timeout);
  CHECK_FALSE(server.next_deadline());
}

TEST_CASE("a stream that ends within the handshake is truncated") {
  const Identities identities;
  TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
  client.receive_end();
  REQUIRE(client.state() == TlsSession::State::failed);
  CHECK(client.error() == TlsError::truncated);
}

TEST_CASE("bytes that are no TLS fail the session, and are all taken") {
  const Identities identities;
  for (const std::string_view text : {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "SSH-2.0-x\r\n",
                                      "\x16\x03\x01\xff\xff\x01\x01\x01\x01\x01\x01\x01\x01"}) {
    TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
    CHECK(server.receive(as_bytes(text)) == text.size());
    REQUIRE(server.state() == TlsSession::State::failed);
    CHECK(server.error() == TlsError::protocol);
    CHECK_FALSE(server.error_detail().empty());
  }
}

// A client of ours with one setting changed.
struct OddClient {
  explicit OddClient(void (*change)(SSL_CTX*)) : context(TlsContext::client(nullptr)) {
    change(context.native());
  }
  TlsContext context;
};

TEST_CASE("TLS 1.2 and clients that speak only another protocol are refused") {
  const Identities identities;
  struct Row {
    void (*change)(SSL_CTX*);
    bool is_served;
  };
  const std::array<Row, 4> rows = {{
      {[](SSL_CTX* context) {
         (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
         (void)SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
       },
       false},
      {[](SSL_CTX* context) {
         (void)SSL_CTX_set_alpn_protos(context, reinterpret_cast<const std::uint8_t*>("\x02h2"), 3);
       },
       false},
      {[](SSL_CTX* context) {
         (void)SSL_CTX_set_alpn_protos(
             context, reinterpret_cast<const std::uint8_t*>("\x02h2\x08http/1.1"), 12);
       },
       true},
      {[](SSL_CTX* context) { (void)SSL_CTX_set_alpn_protos(context, nullptr, 0); }, true},
  }};
  for (const Row& row : rows) {
    const OddClient odd(row.change);
    TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
    TlsSession client(odd.context, {.pin = pin_of(identities.server)}, kStart);
    settle(client, server);
    CHECK((server.state() == TlsSession::State::ready) == row.is_served);
    CHECK((client.state() == TlsSession::State::ready) == row.is_served);
    if (!row.is_served) CHECK(server.error() == TlsError::protocol);
  }
}

TEST_CASE("a flipped bit of a record ends the session") {
  const Identities identities;
  TlsSession server(TlsContext::server(identities.server), TlsSession::ServerOptions{}, kStart);
  TlsSession client(TlsContext::client(nullptr), {.pin = pin_of(identities.server)}, kStart);
  settle(client, server);
  CHECK(client.write(as_bytes("transfer 10")) == 11);
  const BytesView record = client.to_send();
  Bytes changed(record.begin(), record.end());
  changed.back() ^= std::byte{1};
  CHECK(server.receive(changed) == changed.size());
  CHECK(read_all(server).empty());
  REQUIRE(server.state() == TlsSession::State::failed);
  CHECK(server.error() == TlsError::protocol);
}

}  // namespace
}  // namespace zt::http
