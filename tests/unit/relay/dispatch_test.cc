// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/dispatch.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

namespace zt::relay {
namespace {

constexpr std::size_t kSegmentSize = 100;
constexpr Now kNow{Instant(std::chrono::seconds(5)), UnixTime(std::chrono::hours(500'000))};

RouteId route(unsigned number) {
  RouteId result;
  result.bytes.fill(static_cast<std::byte>(number));
  return result;
}

Bytes short_header(unsigned route_number, std::size_t size = kSegmentSize) {
  Bytes packet(size, std::byte{0xee});
  packet[0] = std::byte{0x40};
  for (std::size_t i = 0; i < RouteId::kSize; ++i) packet[1 + i] = std::byte(route_number);
  return packet;
}

Bytes long_header(unsigned route_number, std::size_t id_size = 16) {
  Bytes packet(kSegmentSize, std::byte{0xee});
  packet[0] = std::byte{0xc0};
  packet[5] = static_cast<std::byte>(id_size);
  for (std::size_t i = 0; i < RouteId::kSize; ++i) packet[6 + i] = std::byte(route_number);
  return packet;
}

Bytes joined(std::initializer_list<Bytes> packets) {
  Bytes result;
  for (const Bytes& packet : packets) result.insert(result.end(), packet.begin(), packet.end());
  return result;
}

std::vector<Run> runs_of(BytesView datagrams, std::size_t segment_size = kSegmentSize) {
  std::vector<Run> runs;
  for_each_run(datagrams, segment_size, [&](const Run& run) { runs.push_back(run); });
  return runs;
}

TEST_CASE("nothing received is no run") {
  CHECK(runs_of({}).empty());
}

TEST_CASE("equal neighbours are one run, also with a shorter last segment") {
  const Bytes bytes = joined({short_header(1), short_header(1), short_header(1, 40)});
  const auto runs = runs_of(bytes);
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].route == route(1));
  CHECK(runs[0].bytes.size() == 240);
  CHECK(runs[0].volume() == Volume{3, 240});
}

TEST_CASE("a run ends where the route or the header form changes, in order") {
  const Bytes bytes =
      joined({short_header(1), short_header(2), short_header(2), long_header(2), short_header(1)});
  const auto runs = runs_of(bytes);
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].volume() == Volume{1, 100});
  CHECK(runs[1].volume() == Volume{2, 200});
  CHECK(runs[2].has_long_header);
  CHECK(runs[3].route == route(1));
  CHECK(runs[1].bytes.data() == bytes.data() + 100);
}

TEST_CASE("what has no route is a run of its own") {
  const Bytes bytes = joined({Bytes(kSegmentSize), short_header(1), Bytes(5, std::byte{0x40})});
  const auto runs = runs_of(bytes);
  REQUIRE(runs.size() == 3);
  CHECK_FALSE(runs[0].route);
  CHECK(runs[1].route);
  CHECK_FALSE(runs[2].route);
}

TEST_CASE("a segment size above the received bytes is one datagram") {
  const Bytes bytes = short_header(1);
  const auto runs = runs_of(bytes, 65'000);
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].volume() == Volume{1, 100});
}

TEST_CASE("a run goes to its place") {
  SeededRandom random(1);
  Engine engine({}, random);
  const SocketAddress client = *SocketAddress::parse("192.0.2.1:1000");
  const SocketAddress connector = *SocketAddress::parse("192.0.2.2:1000");
  const SocketAddress stranger = *SocketAddress::parse("192.0.2.3:1000");
  const RouteId own = route(9);
  unsigned number = 0;
  for (const SocketAddress& source : {client, connector}) {
    ++number;
    Digest certificate;
    certificate.bytes[0] = static_cast<std::byte>(number);
    REQUIRE(engine.bind({.key = BindingKey(number),
                         .route = route(number),
                         .tenant = {"ten_a"},
                         .certificate = certificate,
                         .source = source,
                         .expires = kNow.unix_time + std::chrono::minutes(1)},
                        kNow));
  }
  const Verdict to_own{.place = Verdict::Place::own, .target = {}};
  const Verdict to_connector{.place = Verdict::Place::forward, .target = connector};
  struct Row {
    const char* what;
    SocketAddress source;
    Bytes packet;
    Verdict verdict;
  };
  const Row rows[] = {
      {"data between bound nodes", client, short_header(2), to_connector},
      {"a handshake between bound nodes", client, long_header(2), to_connector},
      {"data for the relay", client, short_header(9), to_own},
      {"data for the relay from anybody", stranger, short_header(9), to_own},
      {"a stranger's first packet", stranger, long_header(200), to_own},
      {"a bound node's first packet to the relay", client, long_header(201), to_own},
      {"a stranger's data", stranger, short_header(2), {}},
      {"a stranger's handshake with a bound node", stranger, long_header(2), {}},
      {"data for nobody", client, short_header(77), {}},
      {"no QUIC", client, Bytes(kSegmentSize), {}},
      {"a connection ID too short for a route", client, long_header(2, 7), {}},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    const auto runs = runs_of(row.packet);
    REQUIRE(runs.size() == 1);
    CHECK(dispatch(engine, own, row.source, runs[0], kNow.instant) == row.verdict);
  }
  CHECK(engine.totals().dropped_for(DropReason::not_routable).datagrams == 2);
  CHECK(engine.totals().dropped_for(DropReason::source_unbound).datagrams == 2);
  CHECK(engine.totals().dropped_for(DropReason::route_unbound).datagrams == 1);
}

}  // namespace
}  // namespace zt::relay
