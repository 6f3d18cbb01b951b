// SPDX-License-Identifier: Apache-2.0
#include "app/ping_summary.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <string>

#include "wire/json.h"

namespace zt::app {
namespace {

using Packets = PingSummary::Packets;
using wire::Json;

constexpr const char* kRefusal = R"({"ok":false,"error":"unreachable","text":"nobody is there"})";

std::string status(std::uint64_t connection, Packets packets) {
  return wire::json_text({{"ok", true},
                          {"connectors",
                           {{{"id", "con_1"},
                             {"connection", connection},
                             {"packets_sent", packets.sent},
                             {"packets_lost", packets.lost}},
                            {{"id", "con_2"}}}}});
}

std::string pong(std::uint64_t connection, Packets packets, double round_trip_ms = 20.0) {
  return wire::json_text({{"ok", true},
                          {"time_ms", 41.5},
                          {"path", "direct"},
                          {"round_trip_ms", round_trip_ms},
                          {"connection", connection},
                          {"packets_sent", packets.sent},
                          {"packets_lost", packets.lost}});
}

TEST_CASE("all pings are answered, and the packets lost for it are said") {
  PingSummary summary;
  summary.begin(status(7, {.sent = 1000, .lost = 40}));
  (void)summary.add(pong(7, {.sent = 1020, .lost = 40}, 20.0));
  (void)summary.add(pong(7, {.sent = 1040, .lost = 41}, 23.0));
  (void)summary.add(pong(7, {.sent = 1061, .lost = 42}, 21.0));
  CHECK(summary.packets() == Packets{.sent = 61, .lost = 2});
  CHECK(summary.to_text() ==
        "3 of 3 answered, round trip min/avg/max 20.0/21.3/23.0 ms, 2 of 61 packets lost (3.3 %)");
}

TEST_CASE("a connection that the first ping opened counts from its beginning") {
  PingSummary summary;
  summary.begin(status(7, {.sent = 1000, .lost = 40}));
  (void)summary.add(pong(8, {.sent = 25, .lost = 5}));
  CHECK(summary.packets() == Packets{.sent = 25, .lost = 5});
}

TEST_CASE("pings that take two connections add up, and what only others use is left out") {
  PingSummary summary;
  summary.begin(status(7, {.sent = 100, .lost = 10}));
  CHECK(summary.packets() == std::nullopt);
  (void)summary.add(pong(7, {.sent = 110, .lost = 11}));
  (void)summary.add(pong(9, {.sent = 30, .lost = 2}));
  (void)summary.add(pong(9, {.sent = 35, .lost = 4}));
  CHECK(summary.packets() == Packets{.sent = 45, .lost = 5});
}

TEST_CASE("a loss noticed late is of no more packets than were sent") {
  PingSummary summary;
  summary.begin(status(7, {.sent = 100, .lost = 0}));
  (void)summary.add(pong(7, {.sent = 104, .lost = 9}));
  CHECK(summary.packets() == Packets{.sent = 4, .lost = 4});
  // Totals that shrink are no client's of ours: nothing is below nothing.
  (void)summary.add(pong(7, {.sent = 50, .lost = 0}));
  CHECK(summary.packets() == Packets{});
}

TEST_CASE("an answer shows the packets since the first ping, as numbers") {
  PingSummary summary;
  summary.begin(status(7, {.sent = 1000, .lost = 40}));
  (void)summary.add(pong(7, {.sent = 1010, .lost = 41}));
  const Json shown = wire::parse_json_object(summary.add(pong(7, {.sent = 1016, .lost = 41})));
  CHECK(shown == Json{{"ok", true},
                      {"time_ms", 41.5},
                      {"path", "direct"},
                      {"round_trip_ms", 20.0},
                      {"packets_sent", 16},
                      {"packets_lost", 1}});
}

TEST_CASE("a ping without an answer counts as a ping and is shown as it came") {
  PingSummary summary;
  summary.begin(status(7, {}));
  CHECK(summary.add(kRefusal) == kRefusal);
  CHECK(summary.to_text() == "0 of 1 answered");
  (void)summary.add(pong(7, {.sent = 10, .lost = 0}, 5.0));
  CHECK(summary.to_text() ==
        "1 of 2 answered, round trip min/avg/max 5.0/5.0/5.0 ms, 0 of 10 packets lost (0.0 %)");
}

TEST_CASE("a client of another version that counts nothing is said nothing of") {
  PingSummary summary;
  for (const char* before : {R"({"ok":true,"connectors":[{"id":"con_1","packets_sent":5}]})",
                             R"({"ok":true,"connectors":7})", R"({"ok":true})", "no object"}) {
    summary.begin(before);
  }
  const char* answer = R"({"ok":true,"time_ms":1.5,"path":"direct"})";
  CHECK(summary.add(answer) == answer);
  CHECK(summary.add("no object") == "no object");
  CHECK(summary.to_text() == "1 of 2 answered");
}

}  // namespace
}  // namespace zt::app
