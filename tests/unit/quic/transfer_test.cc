// SPDX-License-Identifier: Apache-2.0
// Bodies and datagrams: everything arrives once, in order, no faster than it is read.

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <vector>

#include "link.h"
#include "quic/endpoint.h"

namespace zt::quic::test {
namespace {

// Exchange moves a body each way over one stream.
struct Exchange {
  Exchange(Pair& pair, std::pair<StreamKey, StreamKey> streams, std::uint64_t size)
      : up(pair.client, streams.first, size, 1),
        up_reader(pair.server, streams.second, 1),
        down(pair.server, streams.second, size, 2),
        down_reader(pair.client, streams.first, 2) {}

  void step() {
    up.push();
    down.push();
    up_reader.pull();
    down_reader.pull();
  }
  [[nodiscard]] bool is_done() const { return up_reader.is_end() && down_reader.is_end(); }

  BodyWriter up;
  BodyReader up_reader;
  BodyWriter down;
  BodyReader down_reader;
};

TEST_CASE("a request and its answer are two datagrams: each takes the acknowledgment along") {
  Quality near;
  near.delay = microseconds(50);
  Pair pair(client_config(), server_config(), near);
  pair.connect();
  const auto [at_client, at_server] = pair.open_both();
  pair.network.run(seconds(30));  // Until the size of packets is found out.
  const auto say = [&](Peer& from, StreamKey own, Peer& to, StreamKey its) {
    pair.network.run(microseconds(200));  // What an application takes to think.
    REQUIRE_FALSE(from->writable(own).empty());
    from->commit(own, 1);
    REQUIRE(pair.network.run(seconds(1), [&] { return !to->readable(its).bytes.empty(); }));
    to->consume(its, 1);
  };
  constexpr std::uint64_t kExchanges = 100;
  const std::uint64_t before = pair.network.sent_count;
  for (std::uint64_t i = 0; i < kExchanges; ++i) {
    say(pair.client, at_client, pair.server, at_server);
    say(pair.server, at_server, pair.client, at_client);
  }
  CHECK(pair.network.sent_count - before <= 2 * kExchanges + kExchanges / 10);
}

TEST_CASE("batches say how near the connection's peer is, once that was measured") {
  for (const auto delay : {microseconds(50), microseconds(5000)}) {
    CAPTURE(delay);
    Quality quality;
    quality.delay = delay;
    Pair pair(client_config(), server_config(), quality);
    pair.connect();
    REQUIRE_FALSE(pair.client.rtts_minimum.empty());
    CHECK(pair.client.rtts_minimum.front() == Duration::max());
    CHECK(pair.client.rtts_minimum.back() == 2 * delay);
  }
}

TEST_CASE("bodies arrive whole in both directions at once, whatever the link does") {
  struct Row {
    const char* name;
    Quality quality;
    std::uint64_t size;
  };
  std::vector<Row> rows(4);
  rows[0] = {"clean", {}, 16 << 20};
  rows[1] = {"loss, reordering and duplication", {}, 16 << 20};
  rows[1].quality.loss_per_mille = 20;
  rows[1].quality.duplication_per_mille = 20;
  rows[1].quality.jitter = milliseconds(2);
  rows[2] = {"a slow link with a short queue", {}, 4 << 20};
  rows[2].quality.rate_bytes_per_s = 5'000'000;
  rows[2].quality.queue_size_max = 64 << 10;
  rows[3] = {"a path that carries no more than 1300 bytes", {}, 4 << 20};
  rows[3].quality.datagram_size_max = 1300;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Pair pair(client_config(), server_config(), row.quality, 7);
    pair.connect();
    Exchange exchange(pair, pair.open_both(), row.size);
    REQUIRE(pair.network.run(seconds(120), [&] {
      exchange.step();
      return exchange.is_done();
    }));
    CHECK(exchange.up_reader.read() == row.size);
    CHECK(exchange.up_reader.wrong() == 0);
    CHECK(exchange.down_reader.read() == row.size);
    CHECK(exchange.down_reader.wrong() == 0);
    REQUIRE(pair.network.run(seconds(5), [&] {
      return pair.client.has<StreamClosed>() && pair.server.has<StreamClosed>();
    }));
  }
}

TEST_CASE("the path is probed up to its size, and batches grow with it", "[rfc8899]") {
  struct Row {
    std::size_t path;  // The largest UDP payload that arrives.
    std::size_t found;
  };
  // An MTU of 1280 with IPv6 and IPv4, 1400, PPPoE, Ethernet, and frames of 4 and 9 KB.
  for (const Row row : {Row{1232, 1200}, Row{1252, 1200}, Row{1372, 1342}, Row{1444, 1444},
                        Row{1452, 1452}, Row{4052, 4052}, Row{8951, 4052}, Row{8952, 8952}}) {
    CAPTURE(row.path);
    Quality quality;
    quality.datagram_size_max = row.path;
    Pair pair(client_config(), server_config(), quality);
    pair.connect();
    Exchange exchange(pair, pair.open_both(), 8 << 20);
    REQUIRE(pair.network.run(seconds(30), [&] {
      exchange.step();
      return exchange.is_done();
    }));
    pair.network.run(seconds(5));  // A size that fails is tried three times.
    CHECK(pair.client->statistics(pair.key)->datagram_payload_size == row.found);
    CHECK(pair.server->statistics(pair.server_key)->datagram_payload_size == row.found);
    CHECK(pair.client.segments_count > 3 * pair.client.batches_count);
  }
}

TEST_CASE("a reader that stops makes the writer stop, and goes on where it was") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  constexpr std::uint64_t kSize = 40 << 20;
  BodyWriter writer(pair.client, streams.first, kSize, 3);
  BodyReader reader(pair.server, streams.second, 3);
  std::size_t wakeups = 0;
  pair.client.on_event = [&](const Event& event) {
    if (std::holds_alternative<StreamWritable>(event)) {
      ++wakeups;
      CHECK_FALSE(pair.client->writable(streams.first).empty());
      writer.push();
    }
  };
  writer.push();
  pair.network.run(seconds(10));
  // What may be on its way: the receiver's window and the sender's buffer.
  const Endpoint::Limits limits;
  CHECK(writer.written() <= limits.stream_receive_size_max + limits.stream_send_size_max);
  CHECK(writer.written() >= limits.stream_receive_size_max);
  // It is woken once a quarter of its buffer is free, not for less.
  writer.push();
  CHECK(pair.client->writable(streams.first).empty());
  const std::size_t wakeups_before = wakeups;
  pair.network.run(seconds(10));
  CHECK(wakeups == wakeups_before);
  REQUIRE(pair.network.run(seconds(60), [&] {
    reader.pull();
    return reader.is_end();
  }));
  CHECK(wakeups > wakeups_before);
  CHECK(reader.read() == kSize);
  CHECK(reader.wrong() == 0);
}

TEST_CASE("a stream that is not read does not hold up the others") {
  Pair pair;
  pair.connect();
  const auto stuck = pair.open_both();
  BodyWriter stuck_writer(pair.client, stuck.first, 40 << 20, 1);
  pair.client.on_event = [&](const Event& event) {
    if (const auto* writable = std::get_if<StreamWritable>(&event)) {
      if (writable->stream == stuck.first) stuck_writer.push();
    }
  };
  stuck_writer.push();
  pair.network.run(seconds(5));
  Exchange exchange(pair, pair.open_both(), 4 << 20);
  REQUIRE(pair.network.run(seconds(10), [&] {
    exchange.step();
    return exchange.is_done();
  }));
}

TEST_CASE("StreamReadable is told once until something is consumed") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  for (int i = 0; i < 10; ++i) {
    CHECK(pair.client->write(streams.first, as_bytes("abcdefghij")) == 10);
    pair.network.run(milliseconds(50));
  }
  CHECK(pair.server.all<StreamReadable>().size() == 1);
  CHECK(pair.server->readable(streams.second).bytes.size() == 100);
  pair.server->consume(streams.second, 40);
  CHECK(pair.server->readable(streams.second).bytes.size() == 60);
  CHECK(pair.client->write(streams.first, as_bytes("x")) == 1);
  pair.network.run(milliseconds(50));
  CHECK(pair.server.all<StreamReadable>().size() == 2);
}

TEST_CASE("each side of a stream ends by itself") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.client->finish(streams.first);
  pair.client->finish(streams.first);  // Repeated calls do nothing.
  CHECK(pair.client->writable(streams.first).empty());
  CHECK_FALSE(pair.client->is_send_drained(streams.first));
  pair.network.run(milliseconds(100));
  CHECK(pair.client->is_send_drained(streams.first));
  CHECK(pair.server->readable(streams.second).is_end);
  // The other direction goes on for as long as it likes.
  for (int i = 0; i < 5; ++i) {
    CHECK(pair.server->write(streams.second, as_bytes("more")) == 4);
    pair.network.run(seconds(1));
    CHECK(as_text(pair.client->readable(streams.first).bytes) == "more");
    CHECK_FALSE(pair.client->readable(streams.first).is_end);
    pair.client->consume(streams.first, 4);
  }
  CHECK_FALSE(pair.client.has<StreamClosed>());
  pair.server->finish(streams.second);
  pair.network.run(milliseconds(100));
  CHECK(pair.client->readable(streams.first).is_end == false);  // The stream is gone.
  CHECK(pair.client.has<StreamClosed>());
  CHECK(pair.server.has<StreamClosed>());
}

TEST_CASE("a closed stream stays readable until it has been read") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  CHECK(pair.server->write(streams.second, as_bytes("last words")) == 10);
  pair.server->finish(streams.second);
  pair.client->finish(streams.first);
  pair.network.run(seconds(1));
  CHECK(pair.server.has<StreamClosed>());
  CHECK_FALSE(pair.client.has<StreamClosed>());
  const Readable readable = pair.client->readable(streams.first);
  CHECK(as_text(readable.bytes) == "last words");
  CHECK(readable.is_end);
  pair.client->consume(streams.first, readable.bytes.size());
  pair.network.drain();
  CHECK(pair.client.has<StreamClosed>());
}

TEST_CASE("reset and stop reach the other side with their codes") {
  Pair pair;
  pair.connect();
  SECTION("the client resets its side") {
    const auto streams = pair.open_both();
    CHECK(pair.client->write(streams.first, as_bytes("abc")) == 3);
    pair.network.run(milliseconds(50));
    pair.client->reset(streams.first, 0x10c);
    pair.network.run(milliseconds(50));
    REQUIRE(pair.server.has<StreamReset>());
    CHECK(pair.server.last<StreamReset>()->code == 0x10c);
    CHECK(pair.server->readable(streams.second).bytes.empty());  // Unread bytes are gone.
    // The other direction still works.
    CHECK(pair.server->write(streams.second, as_bytes("still here")) == 10);
    pair.network.run(milliseconds(50));
    CHECK(as_text(pair.client->readable(streams.first).bytes) == "still here");
  }
  SECTION("the client stops the server's side") {
    const auto streams = pair.open_both();
    CHECK(pair.server->write(streams.second, Bytes(100'000)) == 100'000);
    pair.client->stop(streams.first, 0x10f);
    pair.network.run(milliseconds(100));
    REQUIRE(pair.server.has<StreamStopped>());
    CHECK(pair.server.last<StreamStopped>()->code == 0x10f);
    CHECK(pair.server->writable(streams.second).empty());
    CHECK(pair.client->readable(streams.first).bytes.empty());
    CHECK(pair.client->write(streams.first, as_bytes("up")) == 2);
    pair.network.run(milliseconds(50));
    CHECK(as_text(pair.server->readable(streams.second).bytes) == "up");
  }
  SECTION("both, at once, end the stream") {
    const auto streams = pair.open();
    pair.server->reset(streams.second, 0x102);
    pair.server->stop(streams.second, 0x102);
    pair.network.run(milliseconds(100));
    CHECK(pair.client.has<StreamReset>());
    CHECK(pair.client.has<StreamStopped>());
    pair.network.run(milliseconds(100));
    CHECK(pair.client.has<StreamClosed>());
    CHECK(pair.server.has<StreamClosed>());
  }
}

TEST_CASE("abandoned bytes give their flow-control credit back") {
  Pair pair;
  pair.connect();
  // Each round fills a stream window; the connection's window would be used up after four.
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    const auto streams = pair.open_both();
    BodyWriter writer(pair.client, streams.first, 8 << 20, 1);
    pair.client.on_event = [&](const Event&) { writer.push(); };
    writer.push();
    pair.network.run(seconds(2));
    REQUIRE(writer.written() >= Endpoint::Limits{}.stream_receive_size_max);
    pair.client.on_event = nullptr;
    if (round % 2 == 0) {
      pair.client->reset(streams.first, 1);
    } else {
      pair.server->stop(streams.second, 2);
    }
    pair.server->finish(streams.second);
    pair.network.run(seconds(1));
  }
}

TEST_CASE("readers that stop hold up nobody else, as long as there is room in reserve") {
  Pair pair;
  pair.connect();
  const Endpoint::Limits limits;
  const std::size_t stalled_count =
      limits.connection_reserve_size_max / limits.stream_receive_size_max - 1;
  // Again and again: what ends gives its room back.
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    std::vector<std::unique_ptr<BodyWriter>> stalled;
    std::vector<StreamKey> readers;
    for (std::size_t i = 0; i < stalled_count; ++i) {
      const auto streams = pair.open_both();
      stalled.push_back(std::make_unique<BodyWriter>(pair.client, streams.first, 16 << 20, i));
      readers.push_back(streams.second);
    }
    pair.client.on_event = [&](const Event&) {
      for (const auto& writer : stalled) writer->push();
    };
    for (const auto& writer : stalled) writer->push();
    pair.network.run(milliseconds(20));
    for (const StreamKey& reader : readers) {  // A first byte, and then no more.
      pair.network.run(seconds(1), [&] { return !pair.server->readable(reader).bytes.empty(); });
      pair.server->consume(reader, 1);
    }
    pair.network.run(seconds(10));
    for (const auto& writer : stalled) {
      CHECK(writer->written() >= limits.stream_receive_size_max);
    }
    const auto streams = pair.open_both();
    BodyWriter writer(pair.client, streams.first, 12 << 20, 99);
    BodyReader reader(pair.server, streams.second, 99);
    pair.client.on_event = [&](const Event&) { writer.push(); };
    pair.server.on_event = [&](const Event&) { reader.pull(); };
    writer.push();
    CHECK(pair.network.run(seconds(10), [&] { return reader.is_end(); }));
    pair.client.on_event = pair.server.on_event = nullptr;
    for (std::size_t i = 0; i < stalled_count; ++i) {
      pair.client->reset(stalled[i]->stream(), 1);
      pair.server->finish(readers[i]);
    }
    pair.network.run(seconds(1));
  }
}

TEST_CASE("streams share the connection fairly, in both directions") {
  Quality quality;
  quality.rate_bytes_per_s = 10'000'000;
  quality.queue_size_max = 200'000;
  Pair pair(client_config(), server_config(), quality);
  pair.connect();
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int i = 0; i < 8; ++i) {
    exchanges.push_back(std::make_unique<Exchange>(pair, pair.open_both(), 64 << 20));
  }
  (void)pair.network.run(seconds(4), [&] {
    for (auto& exchange : exchanges) exchange->step();
    return false;
  });
  for (const bool is_up : {true, false}) {
    std::uint64_t least = UINT64_MAX;
    std::uint64_t most = 0;
    for (const auto& exchange : exchanges) {
      const std::uint64_t read = (is_up ? exchange->up_reader : exchange->down_reader).read();
      least = std::min(least, read);
      most = std::max(most, read);
    }
    CAPTURE(is_up, least, most);
    CHECK(least > 1'000'000);
    CHECK(most < least + least / 4);
  }
}

TEST_CASE("a request beside bulk streams waits for what is under way, and for no round of them") {
  Quality quality;
  quality.rate_bytes_per_s = 12'500'000;
  quality.delay = microseconds(100);
  quality.queue_size_max = 600'000;
  quality.datagram_size_max = 1472;
  Pair pair(client_config(), server_config(), quality);
  pair.connect();
  const auto [at_client, at_server] = pair.open_both();
  std::vector<std::unique_ptr<Exchange>> bulks;
  for (int i = 0; i < 16; ++i) {
    bulks.push_back(std::make_unique<Exchange>(pair, pair.open_both(), 256 << 20));
  }
  const auto run = [&](Duration duration, const auto& is_done) {
    return pair.network.run(duration, [&] {
      for (auto& bulk : bulks) {
        bulk->up.push();
        bulk->up_reader.pull();
      }
      return is_done();
    });
  };
  const auto never = [] { return false; };
  (void)run(seconds(2), never);
  for (int i = 0; i < 50; ++i) {
    (void)run(milliseconds(i % 10), never);
    const Instant begin = pair.network.now();
    REQUIRE_FALSE(pair.client->writable(at_client).empty());
    pair.client->commit(at_client, 1);
    REQUIRE(run(seconds(1), [&] { return !pair.server->readable(at_server).bytes.empty(); }));
    pair.server->consume(at_server, 1);
    // Some 4 ms are in flight; a round would be another 16.
    CHECK(pair.network.now() - begin < milliseconds(8));
  }
}

TEST_CASE("a bulk connection does not starve another") {
  Pair pair;
  pair.connect();
  Exchange bulk(pair, pair.open_both(), 256 << 20);
  const auto second = pair.client->connect(connect_options(), pair.network.now());
  REQUIRE(second);
  const Instant start = pair.network.now();
  REQUIRE(pair.network.run(seconds(5), [&] {
    bulk.step();
    return pair.client.all<ConnectionReady>().size() == 2;
  }));
  CHECK(pair.network.now() - start < milliseconds(50));
}

TEST_CASE("the number of streams is limited, and a closed one makes room") {
  auto server = server_config();
  server.limits.streams_per_connection_max = 4;
  Pair pair(client_config(), server);
  pair.connect();
  std::vector<StreamKey> open;
  for (int i = 0; i < 4; ++i) {
    const auto stream = pair.client->open_request(pair.key, Pair::connect_request(), false);
    REQUIRE(stream);
    open.push_back(*stream);
  }
  const auto fifth = pair.client->open_request(pair.key, Pair::connect_request(), false);
  REQUIRE_FALSE(fifth);
  CHECK(fifth.error() == StreamError::blocked);
  pair.network.run(milliseconds(50));
  const StreamKey at_server = pair.server.all<RequestReceived>().front().stream;
  REQUIRE(pair.server->respond(at_server, {.status = 204, .fields = {}}, true));
  pair.client->finish(open.front());
  pair.network.run(milliseconds(100));
  CHECK(pair.client->open_request(pair.key, Pair::connect_request(), false));

  auto client = client_config();
  client.limits.streams_per_connection_max = 1;
  Pair other(client);
  other.connect();
  CHECK(other.client->open_request(other.key, Pair::connect_request(), false));
  const auto second = other.client->open_request(other.key, Pair::connect_request(), false);
  REQUIRE_FALSE(second);
  CHECK(second.error() == StreamError::limit);
}

TEST_CASE("extended CONNECT carries its protocol; responses answer once") {
  Pair pair;
  pair.connect();
  http::Request request{.method = "CONNECT",
                        .scheme = "https",
                        .authority = "relay.test:443",
                        .path = "/.well-known/zt/bind",
                        .protocol = "zt-bind",
                        .fields = {}};
  const auto stream = pair.client->open_request(pair.key, request, false);
  REQUIRE(stream);
  pair.network.run(milliseconds(50));
  CHECK(pair.server.last<RequestReceived>()->request == request);
  const StreamKey at_server = pair.server.last<RequestReceived>()->stream;
  CHECK(pair.server->respond(at_server, {.status = 200, .fields = {}}, false));
  const auto again = pair.server->respond(at_server, {.status = 200, .fields = {}}, false);
  REQUIRE_FALSE(again);
  CHECK(again.error() == StreamError::gone);
}

TEST_CASE("a request without a body is told to be at its end") {
  Pair pair;
  pair.connect();
  const http::Request request{.method = "GET",
                              .scheme = "https",
                              .authority = "a.test",
                              .path = "/",
                              .protocol = {},
                              .fields = {}};
  const auto stream = pair.client->open_request(pair.key, request, true);
  REQUIRE(stream);
  pair.network.run(milliseconds(50));
  const auto received = *pair.server.last<RequestReceived>();
  CHECK(received.is_end);
  CHECK(pair.server->readable(received.stream).is_end);
  REQUIRE(pair.server->respond(received.stream, {.status = 204, .fields = {}}, true));
  pair.network.run(milliseconds(50));
  CHECK(pair.client.last<ResponseReceived>()->is_end);
  CHECK(pair.client.has<StreamClosed>());
  CHECK(pair.server.has<StreamClosed>());
  CHECK_FALSE(pair.server.has<StreamReadable>());
}

TEST_CASE("a field section is accepted at its limit and refused above it") {
  // 32 bytes a field are added to the sizes (RFC 9114 section 4.2.2): here five fields.
  const std::size_t fixed =
      5 * 32 + std::string(":methodGET:schemehttps:authoritya:path/x-a").size();
  for (const std::size_t excess : {std::size_t{0}, std::size_t{1}}) {
    CAPTURE(excess);
    Pair pair;
    pair.connect();
    http::Request request{.method = "GET",
                          .scheme = "https",
                          .authority = "a",
                          .path = "/",
                          .protocol = {},
                          .fields = {}};
    request.fields.add(
        "x-a", std::string(Endpoint::Limits{}.field_section_size_max - fixed + excess, 'a'));
    const auto stream = pair.client->open_request(pair.key, request, true);
    REQUIRE(stream);
    pair.network.run(milliseconds(100));
    CHECK(pair.server.has<RequestReceived>() == (excess == 0));
    if (excess == 0) continue;
    REQUIRE(pair.client.has<ResponseReceived>());
    CHECK(pair.client.last<ResponseReceived>()->response.status == 431);
    CHECK(pair.client.has<StreamClosed>());
    CHECK(pair.server.events.size() == 1);  // ConnectionReady: the stream was never told.
    CHECK(pair.client->connection_count() == 1);
  }
}

TEST_CASE("an oversize response is refused") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open();
  http::Response response{.status = 200, .fields = {}};
  response.fields.add("x-a", std::string(Endpoint::Limits{}.field_section_size_max, 'a'));
  REQUIRE(pair.server->respond(streams.second, response, false));
  pair.network.run(milliseconds(100));
  CHECK_FALSE(pair.client.has<ResponseReceived>());
  REQUIRE(pair.client.has<StreamReset>());
  CHECK(pair.client.last<StreamReset>()->code == 0x107);
  CHECK(pair.server.has<StreamStopped>());
}

TEST_CASE("fields that HTTP cannot carry are left out") {
  Pair pair;
  pair.connect();
  http::Request request = Pair::connect_request();
  request.fields.add("x-good", "yes");
  request.fields.add("x-split", "a\r\nb: c");
  request.fields.add("X-Upper", "no");
  request.fields.add(":path", "/no");
  request.fields.add("connection", "close");
  REQUIRE(pair.client->open_request(pair.key, request, false));
  pair.network.run(milliseconds(50));
  REQUIRE(pair.server.has<RequestReceived>());
  CHECK(pair.server.last<RequestReceived>()->request.fields == http::Fields{{"x-good", "yes"}});
}

TEST_CASE("datagrams cross in both directions with their stream") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  for (int i = 0; i < 100; ++i) {
    CHECK(pair.client->send_datagram(streams.first, as_bytes("up" + std::to_string(i))) ==
          DatagramResult::queued);
    CHECK(pair.server->send_datagram(streams.second, as_bytes("down" + std::to_string(i))) ==
          DatagramResult::queued);
  }
  pair.network.run(milliseconds(100));
  REQUIRE(pair.server.datagrams.size() == 100);
  REQUIRE(pair.client.datagrams.size() == 100);
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(pair.server.datagrams[i] == std::pair(streams.second, "up" + std::to_string(i)));
    CHECK(pair.client.datagrams[i] == std::pair(streams.first, "down" + std::to_string(i)));
  }
}

TEST_CASE("the largest datagram is carried, one byte more is not") {
  Pair pair;
  pair.connect();
  const auto streams = pair.open_both();
  pair.network.run(seconds(1));
  const std::size_t size_max = pair.client->datagram_size_max(streams.first);
  CHECK(size_max >= 1452 - 60);
  CHECK(pair.client->send_datagram(streams.first, Bytes(size_max)) == DatagramResult::queued);
  CHECK(pair.client->send_datagram(streams.first, Bytes(size_max + 1)) ==
        DatagramResult::too_large);
  CHECK(pair.client->counters().datagrams_dropped == 1);
  pair.network.run(milliseconds(50));
  REQUIRE(pair.server.datagrams.size() == 1);
  CHECK(pair.server.datagrams[0].second.size() == size_max);
  CHECK(pair.client->send_datagram({pair.key, 400}, Bytes(1)) == DatagramResult::gone);
  CHECK(pair.client->datagram_size_max({ConnectionKey{99}, 0}) == 0);
}

TEST_CASE("how much a datagram may carry is settled only when it grows no more") {
  // Of each of these paths: an MTU of 1280, 1400, Ethernet, and 9000.
  for (const std::size_t path : {1252U, 1372U, 1472U, 8972U}) {
    CAPTURE(path);
    Quality quality;
    quality.datagram_size_max = path;
    Pair pair(client_config(), server_config(), quality);
    pair.connect();
    const auto streams = pair.open_both();
    const auto is_settled = [&](Peer& side, const StreamKey& stream) {
      return side->is_datagram_size_settled(stream, pair.network.now());
    };
    CHECK_FALSE(is_settled(pair.client, streams.first));
    CHECK_FALSE(is_settled(pair.server, streams.second));
    REQUIRE(pair.network.run(seconds(20), [&] {
      return is_settled(pair.client, streams.first) && is_settled(pair.server, streams.second);
    }));
    const std::size_t client_size = pair.client->datagram_size_max(streams.first);
    const std::size_t server_size = pair.server->datagram_size_max(streams.second);
    pair.network.run(seconds(60));
    CHECK(pair.client->datagram_size_max(streams.first) == client_size);
    CHECK(pair.server->datagram_size_max(streams.second) == server_size);
    CHECK_FALSE(pair.client->is_datagram_size_settled({ConnectionKey{99}, 0}, pair.network.now()));
  }
}

TEST_CASE("full datagram queues drop: the oldest when sending, the newest when receiving") {
  auto client = client_config();
  client.limits.datagrams_queued_max = 8;
  Pair pair(client);
  pair.connect();
  const auto streams = pair.open_both();
  for (int i = 0; i < 9; ++i) {
    const auto result = pair.client->send_datagram(streams.first, as_bytes(std::to_string(i)));
    CHECK(result == (i < 8 ? DatagramResult::queued : DatagramResult::dropped));
  }
  pair.network.run(milliseconds(50));
  REQUIRE(pair.server.datagrams.size() == 8);
  CHECK(pair.server.datagrams.front().second == "1");
  CHECK(pair.client->counters().datagrams_dropped == 1);
}

TEST_CASE("datagrams and a bulk stream share the connection") {
  Quality quality;
  quality.rate_bytes_per_s = 5'000'000;
  quality.queue_size_max = 100'000;
  Pair pair(client_config(), server_config(), quality);
  pair.connect();
  const auto streams = pair.open_both();
  const auto side = pair.open_both();
  BodyWriter writer(pair.client, streams.first, 64 << 20, 1);
  BodyReader reader(pair.server, streams.second, 1);
  (void)pair.network.run(seconds(3), [&] {
    writer.push();
    reader.pull();
    while (pair.client->send_datagram(side.first, Bytes(1000)) == DatagramResult::queued) {
    }
    return false;
  });
  CHECK(reader.read() > 3'000'000);
  CHECK(pair.server.datagrams.size() > 3000);
}

}  // namespace
}  // namespace zt::quic::test
