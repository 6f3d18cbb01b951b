// SPDX-License-Identifier: Apache-2.0
#include "node/flow_spool.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "zt/base/bytes.h"
#include "zt/base/random.h"

namespace zt::node {
namespace {

using Kind = SpoolLine::Kind;

std::string event(const std::string& flow, const std::string& kind) {
  return R"({"event":")" + kind + R"(","id":")" + flow + R"("})";
}

std::string report(std::uint64_t number, const std::string& flow, const std::string& kind) {
  return to_text({.kind = Kind::report, .number = number, .event = event(flow, kind)});
}

std::string done(std::uint64_t number) {
  return to_text({.kind = Kind::done, .number = number});
}

TEST_CASE("a line reads back as it was written, up to the highest number") {
  for (const Kind kind : {Kind::report, Kind::done, Kind::open}) {
    for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, SpoolLine::kNumberMax}) {
      const SpoolLine line{.kind = kind, .number = number, .event = event("flo_a", "opened")};
      const std::string text = to_text(line);
      REQUIRE(text.ends_with('\n'));
      CHECK(parse_spool_line(text.substr(0, text.size() - 1)) == line);
    }
  }
  const std::string text = to_text({.number = SpoolLine::kNumberMax + 1});
  CHECK_FALSE(parse_spool_line(text.substr(0, text.size() - 1)));
}

TEST_CASE("a number has one spelling, whatever the checksum says") {
  const auto line = [](const std::string& content) {
    const Digest digest = crypto::sha256(as_bytes(content));
    return to_hex(std::span(digest.bytes).first(8)) + " " + content;
  };
  CHECK(parse_spool_line(line("done 7 {}"))->number == 7);
  for (const char* wrong : {"", "007", "+7", "-0", "0x7", "7.0", "18446744073709551616"}) {
    INFO(wrong);
    CHECK_FALSE(parse_spool_line(line("done " + std::string(wrong) + " {}")));
  }
}

TEST_CASE("a line with any bit changed, or any end missing, is no line") {
  std::string text = report(7, "flo_a", "opened");
  text.pop_back();
  for (std::size_t size = 0; size < text.size(); ++size) {
    CHECK_FALSE(parse_spool_line(text.substr(0, size)));
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string other = text;
      other[i] = static_cast<char>(static_cast<unsigned char>(other[i]) ^ (1U << bit));
      CHECK_FALSE(parse_spool_line(other));
    }
  }
}

TEST_CASE("what waits is what was reported and is not done") {
  const KeptFlows kept = recover_flows(report(1, "flo_a", "opened") + report(2, "flo_b", "denied") +
                                       done(1) + report(3, "flo_a", "closed"));
  REQUIRE(kept.waiting.size() == 2);
  CHECK(kept.waiting.at(2) == event("flo_b", "denied"));
  CHECK(kept.waiting.at(3) == event("flo_a", "closed"));
  CHECK(kept.open.empty());
  CHECK(kept.number_last == 3);
  CHECK(kept.damaged_count == 0);
}

TEST_CASE("a flow is open until it is closed, delivered or not") {
  const std::string open =
      to_text({.kind = Kind::open, .number = 0, .event = event("flo_c", "opened")});
  const KeptFlows kept = recover_flows(report(1, "flo_a", "opened") + report(2, "flo_b", "opened") +
                                       done(2) + open + report(3, "flo_b", "closed"));
  CHECK(kept.open.size() == 2);
  CHECK(kept.open.at("flo_a") == event("flo_a", "opened"));
  CHECK(kept.open.at("flo_c") == event("flo_c", "opened"));
  CHECK(kept.waiting.size() == 1);
}

TEST_CASE("numbers go on rising after everything is done") {
  CHECK(recover_flows(done(41)).number_last == 41);
  CHECK(recover_flows("").number_last == 0);
}

TEST_CASE("damage costs the lines that it is in, and is counted") {
  const std::string before = report(1, "flo_a", "denied");
  const std::string after = report(3, "flo_c", "denied");
  const std::string middle = report(2, "flo_b", "denied");
  SECTION("zeros in the middle, as a lost block reads") {
    std::string zeros(middle.size(), '\0');
    zeros.back() = '\n';
    const KeptFlows kept = recover_flows(before + zeros + after);
    CHECK(kept.waiting.size() == 2);
    CHECK(kept.damaged_count == 1);
  }
  SECTION("a torn line takes the next one along, but not the one after that") {
    const KeptFlows kept = recover_flows(before + middle.substr(0, 20) + middle + after);
    CHECK(kept.waiting.size() == 2);
    CHECK(kept.damaged_count == 1);
  }
  SECTION("an end without a line feed") {
    const KeptFlows kept = recover_flows(before + middle.substr(0, middle.size() - 1));
    CHECK(kept.waiting.size() == 1);
    CHECK(kept.damaged_count == 1);
  }
  SECTION("a whole line that is no event") {
    const KeptFlows kept = recover_flows(
        before + to_text({.kind = Kind::report, .number = 2, .event = "[]"}) +
        to_text({.kind = Kind::report, .number = 3, .event = R"({"id":7,"event":"opened"})"}));
    CHECK(kept.waiting.size() == 1);
    CHECK(kept.damaged_count == 2);
  }
}

TEST_CASE("a text cut anywhere means what its whole lines mean", "[property]") {
  constexpr std::uint64_t kSeed = 20261122;
  INFO("seed " << kSeed);
  SeededRandom random(kSeed);
  const auto draw = [&random](std::uint64_t limit) {
    std::array<std::byte, 4> bytes{};
    random.fill(bytes);
    std::uint64_t value = 0;
    for (const std::byte byte : bytes) value = value * 256 + std::to_integer<std::uint64_t>(byte);
    return value % limit;
  };
  std::vector<std::string> lines;
  std::string text;
  for (std::uint64_t number = 1; number <= 60; ++number) {
    const std::string flow = "flo_" + std::to_string(draw(8));
    lines.push_back(draw(4) == 0 ? done(draw(number))
                                 : report(number, flow, draw(2) == 0 ? "opened" : "closed"));
    text += lines.back();
  }
  for (std::size_t size = 0; size <= text.size(); ++size) {
    std::string whole;
    for (const std::string& line : lines) {
      if (whole.size() + line.size() > size) break;
      whole += line;
    }
    const bool is_torn = whole.size() < size;
    KeptFlows expected = recover_flows(whole);
    expected.damaged_count += is_torn ? 1 : 0;
    REQUIRE(recover_flows(text.substr(0, size)) == expected);
    // Whatever stands where the rest should be, it is not taken for a line.
    std::string garbled = text.substr(0, size);
    for (int i = 0; i < 30; ++i) garbled += static_cast<char>(draw(256));
    REQUIRE(recover_flows(garbled).waiting == expected.waiting);
    REQUIRE(recover_flows(garbled).open == expected.open);
  }
}

}  // namespace
}  // namespace zt::node
