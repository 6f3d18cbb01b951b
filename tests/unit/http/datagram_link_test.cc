// SPDX-License-Identifier: Apache-2.0
#include "http/datagram_link.h"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <vector>

#include "http_world.h"

namespace zt::http {
namespace {

using std::chrono::seconds;
using test::Told;

constexpr Instant kStart{seconds(1000)};

// keep returns what makes datagrams of trains, and keeps them.
auto keep(std::vector<std::string>& received) {
  return [&received](BytesView bytes, std::size_t segment_size) {
    while (!bytes.empty()) {
      const BytesView segment = bytes.first(std::min(segment_size, bytes.size()));
      received.emplace_back(as_text(segment));
      bytes = bytes.subspan(segment.size());
    }
  };
}

// Ends are the two ends of one TCP connection: a link that opens, and a server.
struct Ends {
  explicit Ends(const DatagramLink::Limits& limits = {}, bool is_upgrade_allowed = true)
      : server({.is_upgrade_allowed = is_upgrade_allowed,
                .identity = &identity,
                .alt_svc_port = std::nullopt,
                .limits = {}},
               nullptr) {
    open(limits, identity.certificate_digest());
  }

  void open(const DatagramLink::Limits& limits, const Digest& pin) {
    near = std::make_unique<DatagramLink>(
        TlsContext::client(nullptr),
        DatagramLink::Options{
            .tls = {.pin = {.kind = quic::PeerPin::Kind::certificate, .digest = pin}},
            .authority = "relay.test"},
        limits, kStart);
    far.reset();
    key = server.open(test::address(7, 4321), kStart).value();
  }

  // settle carries bytes, at most `step` at a time, until none moves.
  void settle(std::size_t step = 100'000) {
    while (carry_up(step) || carry_down(step)) {
    }
  }
  bool carry_up(std::size_t step) {
    const BytesView bytes = near->to_send();
    const std::size_t size = std::min(step, bytes.size());
    if (size == 0) return false;
    const Bytes piece(bytes.begin(), bytes.begin() + std::ptrdiff_t(size));
    near->sent(size);
    if (far) {
      far->receive(piece, workspace, kStart, keep(far_received));
    } else {
      server.receive(key, piece, kStart);
      take_upgraded();
    }
    return true;
  }
  bool carry_down(std::size_t step) {
    const BytesView bytes = far ? far->to_send() : server.to_send(key);
    const std::size_t size = std::min(step, bytes.size());
    if (size == 0) return false;
    const Bytes piece(bytes.begin(), bytes.begin() + std::ptrdiff_t(size));
    if (far) {
      far->sent(size);
    } else {
      server.sent(key, size, kStart);
      take_upgraded();
    }
    near->receive(piece, workspace, kStart, keep(near_received));
    return true;
  }
  void take_upgraded() {
    auto upgraded = server.poll_upgraded();
    if (!upgraded) return;
    CHECK(upgraded->first == key);
    CHECK(server.connection_count() == 0);
    far =
        std::make_unique<DatagramLink>(std::move(upgraded->second), DatagramLink::Limits{}, kStart);
    far->receive({}, workspace, kStart, keep(far_received));
  }
  crypto::Identity identity = crypto::Identity::create("server", test::kToday);
  Server server;
  TcpKey key{};
  LinkWorkspace workspace;
  std::unique_ptr<DatagramLink> near;
  std::unique_ptr<DatagramLink> far;
  std::vector<std::string> near_received;
  std::vector<std::string> far_received;
};

// RawPeer answers a link's TLS by hand: with what no server of ours says.
struct RawPeer {
  RawPeer()
      : tls(TlsContext::server(identity), TlsSession::ServerOptions{}, kStart),
        link(TlsContext::client(nullptr),
             {.tls = {.pin = {.kind = quic::PeerPin::Kind::certificate,
                              .digest = identity.certificate_digest()}},
              .authority = "relay.test"},
             {}, kStart) {
    settle();
  }
  void settle() {
    bool has_moved = true;
    while (has_moved) {
      has_moved = false;
      if (const BytesView up = link.to_send(); !up.empty()) {
        const std::size_t taken = tls.receive(up);
        link.sent(taken);
        has_moved = taken > 0;
      }
      std::array<std::byte, 5000> buffer{};
      while (const std::size_t size = tls.read(buffer)) {
        asked += as_text(BytesView(buffer).first(size));
      }
      if (const BytesView down = tls.to_send(); !down.empty()) {
        const Bytes piece(down.begin(), down.end());
        tls.sent(piece.size());
        link.receive(piece, workspace, kStart, keep(received));
        has_moved = true;
      }
    }
  }
  // say sends text of any size.
  void say(std::string_view text) {
    while (!text.empty()) {
      const std::size_t size = tls.write(as_bytes(text));
      text.remove_prefix(size);
      settle();
      if (size == 0) break;
    }
    settle();
  }

  crypto::Identity identity = crypto::Identity::create("server", test::kToday);
  TlsSession tls;
  LinkWorkspace workspace;
  DatagramLink link;
  std::string asked;
  std::vector<std::string> received;
};

constexpr std::string_view kSwitching =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ZT-Datagrams\r\n\r\n";

TEST_CASE("a link opens through a server, and carries datagrams both ways, however they are cut") {
  for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, std::size_t{100'000}}) {
    Ends ends;
    ends.settle(step);
    REQUIRE(ends.near->state() == DatagramLink::State::open);
    REQUIRE(ends.far);
    CHECK(ends.near->send(as_bytes("aabbc"), 2) == 0);
    CHECK(ends.near->send(as_bytes("d"), 1) == 0);
    CHECK(ends.far->send(as_bytes("back"), 4) == 0);
    ends.settle(step);
    CHECK(ends.far_received == std::vector<std::string>{"aa", "bb", "c", "d"});
    CHECK(ends.near_received == std::vector<std::string>{"back"});
  }
}

TEST_CASE("a link to a server with another certificate carries nothing") {
  Ends ends;
  ends.open({}, ends.identity.public_key_digest());
  ends.settle();
  CHECK(ends.near->state() == DatagramLink::State::over);
  CHECK(ends.near->reason().starts_with("the peer's certificate is not the expected one"));
  CHECK_FALSE(ends.far);
}

TEST_CASE("a server that has no links answers as to any other request") {
  Ends ends({}, false);
  ends.settle();
  Told told;
  told.drain(ends.server);
  REQUIRE(told.arrived.size() == 1);
  CHECK(told.arrived[0].request.path == kDatagramsPath);
  ends.server.carry_out(Respond{.exchange = told.arrived[0].exchange, .response = {.status = 404}},
                        kStart);
  ends.settle();
  CHECK(ends.near->state() == DatagramLink::State::over);
  CHECK(ends.near->reason() == "the answer is 404");
}

TEST_CASE("a request for another path, method or protocol is no upgrade") {
  for (const std::string_view head :
       {"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: zt-datagrams\r\n\r\n",
        "POST /.well-known/zt/datagrams HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n"
        "upgrade: zt-datagrams\r\ncontent-length: 0\r\n\r\n",
        "GET /.well-known/zt/datagrams HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\n\r\n",
        "GET /.well-known/zt/datagrams HTTP/1.1\r\nhost: a\r\nupgrade: zt-datagrams\r\n\r\n",
        "GET /.well-known/zt/datagrams HTTP/1.1\r\nhost: a\r\n\r\n"}) {
    INFO(head);
    Ends ends;
    TlsSession tls(TlsContext::client(nullptr),
                   {.pin = {.kind = quic::PeerPin::Kind::certificate,
                            .digest = ends.identity.certificate_digest()}},
                   kStart);
    bool has_asked = false;
    for (int i = 0; i < 20; ++i) {
      if (!has_asked && tls.state() == TlsSession::State::ready) {
        has_asked = tls.write(as_bytes(head)) == head.size();
      }
      const BytesView up = tls.to_send();
      ends.server.receive(ends.key, up, kStart);
      tls.sent(up.size());
      const BytesView down = ends.server.to_send(ends.key);
      ends.server.sent(ends.key, tls.receive(down), kStart);
    }
    REQUIRE(has_asked);
    CHECK_FALSE(ends.server.poll_upgraded());
    Told told;
    told.drain(ends.server);
    CHECK(told.arrived.size() == 1);
  }
}

TEST_CASE("any answer but 101 for this protocol ends the link") {
  struct Row {
    std::string_view answer;
    std::string_view reason;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "the answer is 200"},
           Row{"HTTP/1.1 426 Upgrade Required\r\n\r\n", "the answer is 426"},
           Row{"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
               "the answer is for another protocol"},
           Row{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the answer is for another protocol"},
           Row{"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP/1.1"},
       }) {
    INFO(row.answer);
    RawPeer peer;
    CHECK(peer.asked.starts_with("GET /.well-known/zt/datagrams HTTP/1.1\r\nhost: relay.test\r\n"));
    peer.say(row.answer);
    CHECK(peer.link.state() == DatagramLink::State::over);
    CHECK(peer.link.reason() == row.reason);
  }
}

TEST_CASE("a head without end is not waited for beyond its limit") {
  RawPeer peer;
  std::string head = "HTTP/1.1 101 Switching Protocols\r\n";
  for (int i = 0; i < 40; ++i)
    head += "x-" + std::to_string(i) + ": " + std::string(300, 'x') + "\r\n";
  peer.say(head);
  CHECK(peer.link.state() == DatagramLink::State::over);
  CHECK(peer.link.reason() == "the answer is not HTTP/1.1");
}

TEST_CASE("frames may come with the answer; one without sense ends the link") {
  RawPeer peer;
  peer.say(std::string(kSwitching) + std::string("\0\2hi\0", 5));
  CHECK(peer.link.state() == DatagramLink::State::open);
  CHECK(peer.received == std::vector<std::string>{"hi"});
  peer.say("\1x");
  CHECK(peer.received == std::vector<std::string>{"hi", "x"});

  SECTION("an empty datagram") {
    peer.say(std::string_view("\0\0", 2));
  }
  SECTION("one that is too large") {
    peer.say("\xff\xff");
  }
  CHECK(peer.link.state() == DatagramLink::State::over);
  CHECK(peer.link.reason() == "the peer sends no datagrams");
}

TEST_CASE("a link is over when the peer says so, and when its stream just ends") {
  RawPeer peer;
  peer.say(kSwitching);
  REQUIRE(peer.link.state() == DatagramLink::State::open);
  SECTION("said") {
    peer.tls.shut();
    peer.settle();
  }
  SECTION("ended") {
    peer.link.receive_end();
  }
  CHECK(peer.link.state() == DatagramLink::State::over);
  CHECK(peer.link.reason() == "the peer closed it");
  CHECK(peer.link.send(as_bytes("late"), 4) == 4);
}

TEST_CASE(
    "what the socket does not take is dropped once the queue is full, whole trains at a time") {
  Ends ends({.queued_size_max = 20'000});
  ends.settle();
  REQUIRE(ends.near->state() == DatagramLink::State::open);
  const Bytes train(5000);
  CHECK(ends.near->send(train, 1000) == 0);
  CHECK(ends.near->send(train, 1000) == 0);
  CHECK(ends.near->send(train, 1000) == 0);
  CHECK(ends.near->send(train, 1000) == 5000);
  CHECK(ends.near->send(BytesView(train).first(4900), 1000) == 0);
  ends.settle();
  CHECK(ends.far_received.size() == 20);
  CHECK(ends.near->send(train, 1000) == 0);
}

TEST_CASE("a link opens in time or not at all, and lives while something comes") {
  Ends ends;
  REQUIRE(ends.near->next_deadline() == kStart + seconds(8));
  SECTION("not open") {
    ends.near->handle_timeout(kStart + seconds(8) - Duration(1));
    CHECK(ends.near->state() == DatagramLink::State::opening);
    ends.near->handle_timeout(kStart + seconds(8));
    CHECK(ends.near->reason() == "it took too long to open");
  }
  SECTION("open") {
    ends.settle();
    REQUIRE(ends.near->next_deadline() == kStart + seconds(60));
    ends.near->receive({}, ends.workspace, kStart + seconds(30), keep(ends.near_received));
    ends.near->handle_timeout(kStart + seconds(90) - Duration(1));
    CHECK(ends.near->state() == DatagramLink::State::open);
    ends.near->handle_timeout(kStart + seconds(90));
    CHECK(ends.near->reason() == "nothing came for too long");
  }
  CHECK_FALSE(ends.near->next_deadline());
}

TEST_CASE("a link that is closed says goodbye") {
  Ends ends;
  ends.settle();
  ends.near->close();
  ends.settle();
  CHECK(ends.near->state() == DatagramLink::State::over);
  CHECK(ends.far->state() == DatagramLink::State::over);
  CHECK(ends.far->reason() == "the peer closed it");
}

}  // namespace
}  // namespace zt::http
