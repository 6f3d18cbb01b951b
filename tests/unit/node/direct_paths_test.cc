// SPDX-License-Identifier: Apache-2.0
#include "node/direct_paths.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <string>

#include "crypto/hash.h"
#include "pair_of_links.h"
#include "zt/wire/candidates.h"

namespace zt::node::test {
namespace {

using std::chrono::minutes;

Bytes capsule_of(BytesView value) {
  return wire::encode_capsule(wire::kCandidatesCapsule, value);
}
Bytes capsule_of(const wire::CandidateList& list) {
  return capsule_of(wire::encode_candidates(list));
}

SocketAddress victim(std::uint8_t number, std::uint16_t port = 7) {
  return {IpAddress::v4({198, 19, 0, number}), port};
}

// --- The stream.

struct Fault {
  std::string name;
  std::function<void(quic::Endpoint&, const quic::StreamKey&)> commit;
};

std::vector<Fault> faults() {
  const auto says = [](std::string name, Bytes bytes) {
    return Fault{std::move(name), [bytes = std::move(bytes)](quic::Endpoint& endpoint,
                                                             const quic::StreamKey& stream) {
                   CHECK(endpoint.write(stream, bytes) == bytes.size());
                 }};
  };
  const Bytes sound = wire::encode_candidates({.generation = 9, .candidates = {}});
  Bytes too_long = sound;
  for (std::size_t i = 0; i <= wire::kCandidatesMax; ++i) {
    // Kind, family, IPv4 address, port.
    for (const int octet : {1, 4, 198, 18, 0, 9, 0, 7}) too_long.push_back(std::byte(octet));
  }
  return {
      {"the end", [](auto& endpoint, const auto& stream) { endpoint.finish(stream); }},
      {"a reset", [](auto& endpoint, const auto& stream) { endpoint.reset(stream, 7); }},
      {"a refusal of ours", [](auto& endpoint, const auto& stream) { endpoint.stop(stream, 7); }},
      says("an empty capsule", capsule_of(Bytes{})),
      says("generation zero", capsule_of(Bytes{std::byte{0}})),
      says("half a candidate", capsule_of(Bytes{std::byte{9}, std::byte{1}, std::byte{4}})),
      says("an unknown kind",
           capsule_of(Bytes{std::byte{9}, std::byte{7}, std::byte{4}, std::byte{1}, std::byte{1},
                            std::byte{1}, std::byte{1}, std::byte{0}, std::byte{7}})),
      says("too many candidates", capsule_of(too_long)),
      says("a capsule that is too long", capsule_of(Bytes(wire::kCandidatesValueSizeMax + 1))),
      {"the end within a capsule",
       [sound](auto& endpoint, const auto& stream) {
         const Bytes whole = capsule_of(sound);
         CHECK(endpoint.write(stream, BytesView(whole).first(whole.size() - 1)) > 0);
         endpoint.finish(stream);
       }},
  };
}

TEST_CASE("whatever the connector does to the stream, a direct connection comes back to its relay",
          "[threat]") {
  for (const Fault& fault : faults()) {
    CAPTURE(fault.name);
    PairOfLinks pair;
    const auto connection = pair.connect_directly();
    fault.commit(pair.connector.link.endpoint(), *pair.connector.paths_stream);
    pair.world.wake(pair.connector);
    CHECK(pair.world.run_until([&] { return pair.remote_of(connection) == kRelayAt; }, seconds(1)));
    CHECK_FALSE(pair.client.link.paths().is_direct(connection));
    REQUIRE_FALSE(pair.client.changes.empty());
    CHECK_FALSE(pair.client.changes.back().direct);
    CHECK(pair.client.changes.back().reason == "no longer watched by the peer");

    // There it stays, whatever flows come.
    pair.look(connection);
    pair.world.run_for(minutes(2));
    CHECK(pair.remote_of(connection) == kRelayAt);
    CHECK(pair.connector.all<quic::RequestReceived>().size() == 1);
    CHECK(pair.still_works(connection));
  }
}

TEST_CASE("whatever the client does to the stream, its connection works through the relay",
          "[threat]") {
  const bool is_with_request = GENERATE(true, false);
  CAPTURE(is_with_request);
  for (const Fault& fault : faults()) {
    CAPTURE(fault.name);
    PairOfLinks pair;
    const auto connection = pair.connect();
    const auto stream =
        pair.client.link.endpoint().open_request(connection, paths_request(), false);
    REQUIRE(stream);
    if (!is_with_request) {
      pair.world.wake(pair.client);
      pair.world.run_for(seconds(1));
    }
    fault.commit(pair.client.link.endpoint(), *stream);
    pair.world.wake(pair.client);
    pair.world.run_for(minutes(1));
    CHECK(pair.remote_of(connection) == kRelayAt);
    CHECK(pair.still_works(connection));
  }
}

TEST_CASE("a path that is being validated when the stream ends is left, too") {
  PairOfLinks pair;
  pair.world.set_default_link({.delay = milliseconds(40)});
  const auto connection = pair.connect_and_look();
  // The finder has its two pongs, and QUIC is on its way.
  std::size_t pongs = 0;
  pair.on_wire = [&](const sim::Hop& hop, std::span<const std::byte> bytes) {
    if (wire::is_probe(bytes) && bytes[2] == std::byte{2} && hop.to == kClientAt) ++pongs;
  };
  REQUIRE(pair.world.run_until([&] { return pongs >= 2; }, seconds(2)));
  pair.connector.link.endpoint().reset(*pair.connector.paths_stream, 7);
  pair.world.wake(pair.connector);
  pair.world.run_for(seconds(3));
  CHECK(pair.remote_of(connection) == kRelayAt);
  CHECK(pair.still_works(connection));
}

TEST_CASE("a connector that refuses the stream is asked once, and its connection stays") {
  PairOfLinks pair;
  pair.connector.answer_status = GENERATE(404, 503, 204, 302);
  CAPTURE(pair.connector.answer_status);
  const auto connection = pair.connect_and_look();
  pair.world.run_for(seconds(5));
  for (int i = 0; i < 10; ++i) pair.look(connection);
  pair.world.run_for(minutes(1));
  CHECK(pair.connector.all<quic::RequestReceived>().size() == 1);
  CHECK(pair.client.link.paths().counters().probes_sent == 0);
  CHECK(pair.remote_of(connection) == kRelayAt);
  CHECK(pair.still_works(connection));
}

TEST_CASE("a second stream on a connection is refused, also after the first", "[threat]") {
  PairOfLinks pair;
  const auto connection = pair.connect();
  const bool is_first_ended = GENERATE(true, false);
  quic::Endpoint& endpoint = pair.client.link.endpoint();
  const auto first = endpoint.open_request(connection, paths_request(), false);
  REQUIRE(first);
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(1));
  if (is_first_ended) {
    endpoint.reset(*first, 7);
    pair.world.wake(pair.client);
    pair.world.run_for(seconds(1));
  }
  const auto second = endpoint.open_request(connection, paths_request(), false);
  REQUIRE(second);
  const Bytes list = capsule_of(
      wire::CandidateList{.generation = 1, .candidates = {{wire::CandidateKind::host, victim(1)}}});
  CHECK(endpoint.write(*second, list) == list.size());
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(5));
  const auto answers = pair.client.all<quic::ResponseReceived>();
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].response.status == 200);
  CHECK(answers[1].response.status == 503);
  CHECK(pair.probes_to[victim(1)] == 0);
}

TEST_CASE("lists and streams without end cost a victim what one list does", "[threat]") {
  // One address and all its ports: 10 + 2 a second. All addresses: 40 + 10 a second.
  const bool is_new_stream_each_time = GENERATE(true, false);
  CAPTURE(is_new_stream_each_time);
  PairOfLinks pair;
  const auto connection = pair.connect();
  quic::Endpoint& endpoint = pair.client.link.endpoint();
  std::optional<quic::StreamKey> stream;
  std::uint64_t generation = 0;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    wire::CandidateList list{.generation = ++generation, .candidates = {}};
    for (std::uint16_t i = 0; i < wire::kCandidatesMax; ++i) {
      const auto port = static_cast<std::uint16_t>(1000 + round * 16 + i);
      list.candidates.push_back(
          {wire::CandidateKind::host, victim(i < 8 ? 1 : static_cast<std::uint8_t>(i), port)});
    }
    if (stream && is_new_stream_each_time) endpoint.reset(*stream, 7);
    if (!stream || is_new_stream_each_time) {
      const auto opened = endpoint.open_request(connection, paths_request(), false);
      if (opened) stream = *opened;
    }
    for (int i = 0; i < 10; ++i) {
      list.generation = ++generation;
      (void)endpoint.write(*stream, capsule_of(list));
    }
    pair.world.wake(pair.client);
    pair.world.run_for(milliseconds(20));
  }
  const std::size_t seconds_run = kRounds * 20 / 1000;
  std::size_t to_one = 0;
  std::size_t to_all = 0;
  for (const auto& [address, count] : pair.probes_to) {
    if (address.ip == victim(1).ip) to_one += count;
    if (address.ip.octets()[1] == 19 || address != kClientAt) to_all += count;
  }
  CHECK(to_one > 0);
  CHECK(to_one <= 10 + 2 * seconds_run + 1);
  CHECK(to_all <= 40 + 10 * seconds_run + 1);
}

// --- Probes.

TEST_CASE("a probe that is not the peer's changes nothing and is counted", "[threat]") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  const auto other = pair.connect_directly();
  const auto server_keys = pair.connector.all<quic::ConnectionReady>();
  Bytes sound;  // A ping of the client.
  pair.on_wire = [&](const sim::Hop& hop, std::span<const std::byte> bytes) {
    if (bytes.size() == wire::kProbeSize && wire::is_probe(bytes) && hop.to == kConnectorAt &&
        bytes[2] == std::byte{1}) {
      sound.assign(bytes.begin(), bytes.end());
    }
  };
  REQUIRE(pair.world.run_until([&] { return !sound.empty(); }, seconds(2)));
  pair.world.run_for(seconds(1));
  const auto changed = [&](std::size_t index) {
    Bytes bytes = sound;
    bytes[index] ^= std::byte{1};
    return bytes;
  };
  const auto sealed_by = [&](quic::ConnectionKey key) {
    const auto secret = pair.client.link.endpoint().export_key(key, "EXPORTER-zt-probe-key");
    Bytes bytes = sound;
    const Digest tag = crypto::hmac_sha256(secret->bytes, wire::probe_content(bytes));
    std::copy_n(tag.bytes.begin(), wire::ProbeMac::kSize, bytes.end() - wire::ProbeMac::kSize);
    return bytes;
  };
  Bytes longer = sound;
  longer.push_back(std::byte{0});
  struct Row {
    std::string name;
    Bytes bytes;
    std::uint64_t opened = 0;
    std::uint64_t discarded = 0;
  };
  const bool is_ours =
      sealed_by(connection) == sound;  // Whose the ping was, of the two connections.
  const std::vector<Row> rows = {
      {"another version", changed(1), 0, 1},
      {"another kind", changed(2), 0, 1},
      {"another label", changed(4), 0, 1},
      {"another transaction", changed(19), 0, 1},
      {"another pair", changed(31), 0, 1},
      {"another tag", changed(66), 0, 1},
      {"sealed for another connection", sealed_by(is_ours ? other : connection), 0, 1},
      {"replayed", sound, 1, 0},
      {"too short", Bytes(sound.begin(), sound.end() - 1), 0, 0},  // QUIC's to discard.
      {"too long", longer, 0, 0},
      {"nothing but the first byte", Bytes(1, wire::kProbeFirstByte), 0, 0},
  };
  class Stranger final : public sim::Actor {
    void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) override {
      (void)datagrams, (void)now;
      ++heard;
    }
    void handle_timeout(const Now& now) override { (void)now; }
    void settle(const Now& now) override { (void)now; }
    std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                const Now& now) override {
      (void)buffer, (void)now;
      return std::nullopt;
    }
    [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }

   public:
    std::size_t heard = 0;
  } stranger;
  pair.world.attach(stranger, kStrangerAt);
  for (const Row& row : rows) {
    CAPTURE(row.name);
    pair.probes_to.clear();
    // With idle flows nothing else is sent while this is looked at.
    pair.client.link.paths().set_active(connection, false, pair.world.now());
    pair.client.link.paths().set_active(other, false, pair.world.now());
    pair.world.run_for(milliseconds(100));
    const auto before = pair.connector.link.paths().counters();
    const auto quic_before = pair.connector.link.endpoint().counters();
    const std::size_t pairs_before =
        pair.connector.link.paths().status(server_keys[0].connection, pair.world.now()).size();
    pair.world.send(stranger, kConnectorAt, row.bytes, row.bytes.size(), 0);
    pair.world.run_for(milliseconds(60));
    const auto& after = pair.connector.link.paths().counters();
    CHECK(after.probes_discarded - before.probes_discarded == row.discarded);
    CHECK(after.probes_received - before.probes_received == row.opened);
    const bool is_left_to_quic =
        pair.connector.link.endpoint().counters().packets_discarded > quic_before.packets_discarded;
    CHECK(is_left_to_quic == (row.opened + row.discarded == 0));
    CHECK(pair.probes_to[kStrangerAt] == 0);
    CHECK(pair.connector.link.paths().status(server_keys[0].connection, pair.world.now()).size() ==
          pairs_before);
    CHECK(pair.is_direct(connection));
  }
}

TEST_CASE("a train of packets and probes loses neither, whatever their sizes", "[rfc9443]") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  (void)connection;
  LinkActor& connector = pair.connector;
  // Sizes of the datagrams of a train: equal but for the last, which may be shorter. 67p is a
  // probe.
  struct Part {
    std::size_t size;
    bool is_probe;
  };
  const auto train = GENERATE(
      std::vector<Part>{{67, true}}, std::vector<Part>{{67, false}},
      std::vector<Part>{{1200, false}, {67, true}},
      std::vector<Part>{{1200, false}, {1200, false}, {67, true}},
      std::vector<Part>{{1200, false}, {67, false}}, std::vector<Part>{{68, false}, {67, true}},
      std::vector<Part>{{67, true}, {67, true}, {67, true}},
      std::vector<Part>{{67, false}, {67, true}, {67, false}},
      std::vector<Part>{{67, true}, {67, false}, {40, false}},
      std::vector<Part>{{134, false}, {134, false}}, std::vector<Part>{{134, false}, {67, true}},
      std::vector<Part>{{40, false}, {40, false}, {27, false}});
  const bool has_size = GENERATE(true, false);
  if (!has_size && train.size() > 1) return;  // A single datagram may come without.
  Bytes bytes;
  std::size_t probes = 0;
  for (const Part& part : train) {
    if (part.is_probe) {
      ++probes;
      bytes.insert(bytes.end(), pair.last_probe.begin(), pair.last_probe.end());
    } else {
      // Of no connection, and too short to be answered or long and answered: counted either way.
      bytes.push_back(std::byte{0x41});
      bytes.insert(bytes.end(), part.size - 1, std::byte{0x0b});
    }
  }
  const auto paths_before = connector.link.paths().counters();
  const auto quic_before = connector.link.endpoint().counters();
  connector.link.handle({.remote = kStrangerAt,
                         .bytes = bytes,
                         .segment_size = has_size ? train.front().size : 0,
                         .ecn = 0},
                        pair.world.now());
  const auto& paths_after = connector.link.paths().counters();
  const auto& quic_after = connector.link.endpoint().counters();
  CHECK(paths_after.probes_received + paths_after.probes_discarded - paths_before.probes_received -
            paths_before.probes_discarded ==
        probes);
  CHECK(quic_after.packets_discarded - quic_before.packets_discarded == train.size() - probes);
}

TEST_CASE("the queue of probes is limited, and what is dropped is counted") {
  Link::Config config = client_config();
  config.paths.probes_queued_max = GENERATE(0U, 1U, 5U);
  PairOfLinks pair(config);
  const auto connection = pair.connect_and_look();
  pair.world.run_for(seconds(1));
  // Many pairs, all probed at once, and nobody takes what is to be sent.
  wire::CandidateList list{.generation = 1000, .candidates = {}};
  for (std::uint8_t i = 1; i <= 12; ++i) {
    list.candidates.push_back({wire::CandidateKind::host, victim(i)});
  }
  const Bytes capsule = capsule_of(list);
  CHECK(pair.connector.link.endpoint().write(*pair.connector.paths_stream, capsule) > 0);
  pair.client.is_mute = true;
  pair.world.wake(pair.connector);
  pair.world.run_for(milliseconds(300));
  CHECK(pair.client.link.paths().counters().probes_dropped > 0);
  std::size_t queued = 0;
  Bytes buffer(1500);
  while (pair.client.link.paths().poll_transmit(buffer)) ++queued;
  CHECK(queued == config.paths.probes_queued_max);
  pair.client.is_mute = false;
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(1));
  CHECK(pair.still_works(connection));
}

// --- Many connections.

TEST_CASE("beyond connections_max a connection stays on its relay") {
  Link::Config client = client_config();
  Link::Config connector = connector_config();
  const bool is_client_full = GENERATE(true, false);
  (is_client_full ? client : connector).paths.connections_max = 1;
  PairOfLinks pair(client, connector);
  const auto first = pair.connect_directly();
  const auto second = pair.connect_and_look();
  pair.world.run_for(seconds(5));
  CHECK(pair.is_direct(first));
  CHECK(pair.remote_of(second) == kRelayAt);
  CHECK(pair.still_works(second));

  // The place of the first is free when that is gone.
  pair.connector.answer_status = 200;
  pair.client.link.endpoint().close(first, 0, "", pair.world.now().instant);
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(1));
  CHECK(pair.is_direct(pair.connect_directly()));
}

TEST_CASE("a connection that is closed leaves nothing behind") {
  PairOfLinks pair;
  pair.world.set_default_link({.delay = milliseconds(1)});
  for (int round = 0; round < 60; ++round) {
    const auto connection = pair.connect_and_look();
    // Closed in each state: asked for, probing, direct, and direct without the stream.
    pair.world.run_for(milliseconds(round % 4 == 0 ? 0 : 30 * (round % 8)));
    if (round % 5 == 4) pair.client.link.paths().set_active(connection, false, pair.world.now());
    if (round % 7 == 6) {
      pair.connector.link.endpoint().reset(*pair.connector.paths_stream, 7);
      pair.world.wake(pair.connector);
      pair.world.run_for(milliseconds(round));
    }
    pair.client.link.endpoint().close(connection, 0, "", pair.world.now().instant);
    pair.world.wake(pair.client);
    pair.world.run_for(milliseconds(round % 3));
  }
  pair.world.run_for(seconds(40));
  for (LinkActor* actor : {&pair.client, &pair.connector}) {
    CHECK(actor->link.endpoint().connection_count() == 0);
    CHECK(actor->link.paths().finder_count() == 0);
    CHECK_FALSE(actor->link.paths().next_deadline());
    Bytes buffer(1500);
    CHECK_FALSE(actor->link.paths().poll_transmit(buffer));
  }
}

TEST_CASE("an idle direct connection wakes its ends a few times a minute") {
  PairOfLinks pair;
  constexpr std::size_t kConnections = 20;
  for (std::size_t i = 0; i < kConnections; ++i) {
    const auto connection = pair.connect_and_look();
    REQUIRE(pair.world.run_until([&] { return pair.is_direct(connection); }, seconds(2)));
    pair.client.link.paths().set_active(connection, false, pair.world.now());
  }
  pair.world.run_for(minutes(2));
  pair.client.wake_count = pair.connector.wake_count = 0;
  pair.world.run_for(minutes(10));
  const double client = double(pair.client.wake_count) / kConnections / 10;
  const double connector = double(pair.connector.wake_count) / kConnections / 10;
  // Four pings, six of QUIC's keep-alive and the timers of their acknowledgements; without a finder
  // there would be 18 and 12.
  CHECK(client <= 22.5);
  CHECK(connector <= 12.5);
}

// --- Migrations.

TEST_CASE("a relay that changes while the connection is direct moves nothing") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  const std::size_t changes = pair.client.changes.size();
  CHECK(pair.client.link.paths().set_relay(connection, kOtherRelayAt, pair.world.now()));
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(5));
  CHECK(pair.is_direct(connection));
  CHECK(pair.client.changes.size() == changes);

  // When the direct path dies, that is the relay to go to.
  pair.block_direct(true);
  CHECK(pair.world.run_until([&] { return pair.remote_of(connection) == kOtherRelayAt; },
                             seconds(1)));
  CHECK(pair.still_works(connection));
}

TEST_CASE("a relay that changes moves a relayed connection at once, and only a known one") {
  PairOfLinks pair;
  const auto unknown = pair.connect();
  CHECK_FALSE(pair.client.link.paths().set_relay(unknown, kOtherRelayAt, pair.world.now()));
  pair.block_direct(true);
  const auto connection = pair.connect_and_look();
  pair.world.run_for(seconds(1));
  CHECK(pair.client.link.paths().set_relay(connection, kOtherRelayAt, pair.world.now()));
  pair.world.wake(pair.client);
  CHECK(pair.remote_of(connection) == kOtherRelayAt);
  CHECK(pair.remote_of(unknown) == kRelayAt);
  CHECK(pair.still_works(connection));
}

TEST_CASE("a fall-back that is blocked is tried until it works") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  // Without a way for new ones, every change of network costs a connection ID.
  pair.block_direct(true);
  bool is_blocked = false;
  for (int i = 0; i < 20 && !is_blocked; ++i) {
    const auto result = pair.client.link.endpoint().rebind(connection, pair.world.now().instant);
    is_blocked = !result && result.error() == quic::MigrateError::blocked;
  }
  REQUIRE(is_blocked);
  pair.world.wake(pair.client);
  pair.world.run_for(seconds(2));
  CHECK_FALSE(pair.client.link.paths().is_direct(connection));
  CHECK(pair.remote_of(connection) == kConnectorAt);
  pair.block_direct(false);
  CHECK(pair.world.run_until([&] { return pair.still_works(connection); }, seconds(5)));
  pair.world.run_for(seconds(5));
  const bool is_direct = pair.client.link.paths().is_direct(connection);
  CHECK(pair.remote_of(connection) == (is_direct ? kConnectorAt : kRelayAt));
}

TEST_CASE("a fall-back into a network that is away works when that is back") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  pair.world.set_default_link({.is_blocked = true});
  pair.block_direct(true);
  pair.world.run_for(seconds(5));
  CHECK(pair.remote_of(connection) == kRelayAt);
  REQUIRE(pair.client.all<quic::MigrationFailed>().size() == 1);
  SECTION("through the relay") {
    pair.world.set_default_link({.delay = milliseconds(10)});
    CHECK(pair.still_works(connection));
  }
  SECTION("directly") {
    pair.block_direct(false);
    CHECK(pair.world.run_until([&] { return pair.is_direct(connection); }, seconds(5)));
    CHECK(pair.still_works(connection));
    // And its next death is noticed.
    pair.world.set_default_link({.delay = milliseconds(10)});
    pair.block_direct(true);
    CHECK(pair.world.run_until([&] { return pair.remote_of(connection) == kRelayAt; }, seconds(2)));
  }
}

TEST_CASE("a relay that says the peer's address is ours changes nothing", "[threat]") {
  PairOfLinks pair;
  const auto lie = [&] {
    pair.client.link.paths().set_local(
        {.id = path::SocketId{1}, .is_v4 = true, .is_v6 = false},
        {{wire::CandidateKind::observed, kConnectorAt}, {wire::CandidateKind::host, kClientAt}},
        pair.world.now());
    pair.world.wake(pair.client);
  };
  SECTION("before: the path is found") {
    lie();
    const auto connection = pair.connect_directly();
    CHECK(pair.is_direct(connection));
  }
  SECTION("while it is direct: it is watched as before") {
    const auto connection = pair.connect_directly();
    lie();
    pair.world.run_for(seconds(5));
    CHECK(pair.is_direct(connection));
    pair.block_direct(true);
    CHECK(pair.world.run_until([&] { return pair.remote_of(connection) == kRelayAt; }, seconds(1)));
    CHECK(pair.still_works(connection));
  }
}

TEST_CASE(
    "the connector tells of a connection that leaves the direct path as of one that takes it") {
  PairOfLinks pair;
  const auto connection = pair.connect_directly();
  pair.block_direct(true);
  CHECK(pair.world.run_until([&] { return pair.remote_of(connection) == kRelayAt; }, seconds(1)));
  pair.world.run_for(seconds(1));
  REQUIRE(pair.connector.changes.size() == 2);
  CHECK(pair.connector.changes[0].direct == kClientAt);
  CHECK_FALSE(pair.connector.changes[1].direct);
}

TEST_CASE(
    "a connector that drains says so once on each connection, also on those that come later") {
  PairOfLinks pair;
  const auto first = pair.connect_directly();
  const bool is_second_earlier = GENERATE(true, false);
  std::optional<quic::ConnectionKey> second;
  if (is_second_earlier) second = pair.connect_and_look();
  pair.world.run_for(seconds(1));
  REQUIRE(pair.client.draining.empty());
  pair.connector.link.paths().drain();
  pair.world.wake(pair.connector);
  pair.world.run_for(seconds(1));
  if (!is_second_earlier) second = pair.connect_and_look();
  pair.world.run_for(seconds(1));
  REQUIRE(pair.client.draining.size() == 2);
  CHECK(pair.client.draining[0].connection == first);
  CHECK(pair.client.draining[1].connection == *second);
  CHECK(pair.is_direct(first));  // It is still a path.
  CHECK(pair.still_works(first));
}

}  // namespace
}  // namespace zt::node::test
