// SPDX-License-Identifier: Apache-2.0
#include "node/flow_streams.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "pair_of_links.h"

namespace zt::node::test {
namespace {

enum class FlowKey : std::uint64_t {};
constexpr FlowKey kFlow{1};

// PairOfEnds is a stream between two links, paired with a flow at the connector's end.
struct PairOfEnds {
  PairOfEnds() {
    pair.connector.answer_status = 201;  // The stream is a request like any other.
    const auto opened = pair.client.link.endpoint().open_request(pair.connect(), request(), false);
    REQUIRE(opened);
    near = *opened;
    pair.world.wake(pair.client);
    pair.world.run_for(milliseconds(100));
    const auto requests = pair.connector.all<quic::RequestReceived>();
    REQUIRE(requests.size() == 1);
    flows.pair(kFlow, requests.front().stream);
  }

  static http::Request request() {
    return {.method = "CONNECT", .scheme = "", .authority = "db.internal:5432", .path = ""};
  }
  void send(std::string_view text, bool is_end) {
    quic::Endpoint& endpoint = pair.client.link.endpoint();
    CHECK(endpoint.write(near, as_bytes(text)) == text.size());
    if (is_end) endpoint.finish(near);
    pair.world.wake(pair.client);
    pair.world.run_for(milliseconds(100));
  }
  std::string read() { return std::string(as_text(flows.readable(kFlow).bytes)); }

  PairOfLinks pair;
  quic::StreamKey near;
  FlowStreams<FlowKey> flows{pair.connector.link.endpoint()};
};

TEST_CASE("a held flow shows neither bytes nor space nor an end, and after that all of them") {
  PairOfEnds ends;
  ends.send("first ", false);
  CHECK(ends.read() == "first ");
  ends.flows.hold(kFlow);
  ends.send("second", true);
  CHECK(ends.read().empty());
  CHECK_FALSE(ends.flows.readable(kFlow).is_end);
  CHECK(ends.flows.writable(kFlow).empty());
  ends.flows.release(kFlow);
  std::string all;
  while (!ends.read().empty()) {
    all += ends.read();
    ends.flows.consume(kFlow, ends.read().size());
  }
  CHECK(all == "first second");
  CHECK(ends.flows.readable(kFlow).is_end);
}

TEST_CASE("what a flow's key held is forgotten with the flow") {
  PairOfEnds ends;
  const auto stream = ends.flows.stream_of(kFlow);
  REQUIRE(stream);
  ends.flows.hold(kFlow);
  ends.flows.unpair(kFlow);
  ends.flows.pair(kFlow, *stream);
  ends.send("first", false);
  CHECK(ends.read() == "first");
}

}  // namespace
}  // namespace zt::node::test
