// SPDX-License-Identifier: Apache-2.0
#include "node/watch_message.h"

#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace zt::node {
namespace {

const std::string kRelay =
    R"({"id":"rly_00000000000000000000000000","address":"relay.example:443","certificate":")" +
    Digest{}.to_text() + R"("})";

// read returns the message that a line holds, if it is of that kind.
template <class Message>
std::optional<Message> read(const std::string& line) {
  auto message = parse_watch_message(line);
  if (!message || !std::holds_alternative<Message>(*message)) return std::nullopt;
  return std::move(std::get<Message>(*message));
}

WatchError error_of(const std::string& line) {
  const auto message = parse_watch_message(line);
  REQUIRE_FALSE(message.has_value());
  return message.error();
}

TEST_CASE("what does not concern a node is left out of its snapshot") {
  const auto snapshot = read<WatchSnapshot>(R"({"type":"snapshot","revision":7,"jwks":{}})");
  REQUIRE(snapshot);
  CHECK(snapshot->revision == 7);
  CHECK(snapshot->config.empty());
  CHECK(snapshot->jwks == "{}");
  CHECK(snapshot->relays.empty());
  CHECK_FALSE(snapshot->pass);
  CHECK(error_of(R"({"type":"snapshot"})") == WatchError::malformed);
  CHECK(error_of(R"({"type":"snapshot","revision":-1})") == WatchError::malformed);
}

TEST_CASE("a relay is read with its load, which may be absent or beyond measure") {
  const auto read_relay = [](const std::string& text) {
    const auto relays = read<WatchRelays>(R"({"type":"relays","relays":[)" + text + "]}");
    REQUIRE(relays);
    return relays->relays.at(0);
  };
  const RelayPlace place = read_relay(kRelay);
  CHECK(place.id.text == "rly_00000000000000000000000000");
  CHECK(place.address.to_text() == "relay.example:443");
  CHECK(place.load == 0);
  const std::string open = kRelay.substr(0, kRelay.size() - 1);
  CHECK(read_relay(open + R"(,"load":64})").load == 64);
  CHECK(read_relay(open + R"(,"load":5000000000})").load == UINT32_MAX);
  CHECK(error_of(R"({"type":"relays","relays":[{}]})") == WatchError::malformed);
  CHECK(error_of(R"({"type":"relays"})") == WatchError::malformed);
}

TEST_CASE("more relays than a node takes are too many") {
  std::string list = kRelay;
  for (std::size_t count = 1; count < kWatchRelaysMax; ++count) list += "," + kRelay;
  CHECK(read<WatchRelays>(R"({"type":"relays","relays":[)" + list + "]}"));
  CHECK(error_of(R"({"type":"relays","relays":[)" + list + "," + kRelay + "]}") ==
        WatchError::too_many);
}

TEST_CASE("a node reads from where its packets come") {
  const auto observed = read<WatchObserved>(R"({"type":"observed","address":"[2001:db8::4]:9"})");
  REQUIRE(observed);
  CHECK(observed->address == SocketAddress::parse("[2001:db8::4]:9"));
  CHECK(error_of(R"({"type":"observed","address":"198.51.100.4"})") == WatchError::malformed);
  CHECK(error_of(R"({"type":"observed"})") == WatchError::malformed);
}

TEST_CASE("messages of a later controller are skipped, and what is no message is an error") {
  const auto unknown = read<WatchUnknown>(R"({"type":"weather","is":"fair"})");
  REQUIRE(unknown);
  CHECK(unknown->type == "weather");
  for (const char* line : {"", "null", "[]", "{}", R"({"type":1})", R"({"type":"ping")"}) {
    CAPTURE(line);
    CHECK(error_of(line) == WatchError::malformed);
  }
}

}  // namespace
}  // namespace zt::node
