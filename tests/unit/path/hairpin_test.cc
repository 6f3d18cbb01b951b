// SPDX-License-Identifier: Apache-2.0
#include "zt/path/hairpin.h"

#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <vector>

namespace zt::path {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const SocketAddress kOutside = SocketAddress::parse("11.1.2.3:41002").value();
const SocketAddress kElsewhere = SocketAddress::parse("11.9.9.9:5000").value();

FamilyVerdict seen_at(const std::optional<SocketAddress>& mapped,
                      NatMapping mapping = NatMapping::endpoint_independent) {
  return {.addresses = {}, .reach = Reach::proven, .mapping = mapping, .mapped = mapped};
}

class Bench {
 public:
  Now now{Instant(seconds(1000)), UnixTime{}};

  explicit Bench(bool is_wanted = true) : test({.is_wanted = is_wanted}, random_) {}

  void pass(Duration duration) {
    now.instant += duration;
    test.handle_timeout(now);
  }

  // sent returns the one datagram that leaves now, if there is one.
  std::optional<HairpinTest::Sending> sent() {
    auto sending = test.poll_sending();
    CHECK_FALSE(test.poll_sending());
    return sending;
  }

  // sends_in lets time pass, deadline by deadline, and counts what leaves.
  int sends_in(Duration duration) {
    const Instant end = now.instant + duration;
    int count = sent() ? 1 : 0;
    while (test.next_deadline() && *test.next_deadline() <= end) {
      now.instant = *test.next_deadline();
      test.handle_timeout(now);
      if (sent()) ++count;
    }
    now.instant = end;
    return count;
  }

 private:
  SeededRandom random_{7};

 public:
  HairpinTest test;
};

TEST_CASE("what comes back in has been turned back", "[rfc4787-6]") {
  Bench bench;
  CHECK(bench.test.verdict() == Hairpin::unseen);
  bench.test.set_place(seen_at(kOutside), bench.now);
  CHECK(bench.test.verdict() == Hairpin::testing);
  const auto sent = bench.sent();
  REQUIRE(sent);
  CHECK(sent->target == kOutside);
  CHECK(bench.test.take(sent->bytes, bench.now));
  CHECK(bench.test.verdict() == Hairpin::works);
  CHECK(bench.test.take(sent->bytes, bench.now));  // A copy is nobody else's either.
  CHECK(bench.sends_in(minutes(9)) == 0);
}

TEST_CASE("the last of the tries may be the one that comes back") {
  Bench bench;
  bench.test.set_place(seen_at(kOutside), bench.now);
  std::optional<HairpinTest::Sending> last;
  for (int count = 0; count < 3; ++count) {
    last = bench.sent();
    REQUIRE(last);
    if (count < 2) bench.pass(milliseconds(500));
  }
  bench.pass(milliseconds(499));
  CHECK(bench.test.verdict() == Hairpin::testing);
  CHECK(bench.test.take(last->bytes, bench.now));
  CHECK(bench.test.verdict() == Hairpin::works);
}

TEST_CASE("three tries without an echo say no, and ten minutes later it is tried again") {
  Bench bench;
  bench.test.set_place(seen_at(kOutside), bench.now);
  CHECK(bench.sends_in(milliseconds(1500)) == 3);
  CHECK(bench.test.verdict() == Hairpin::fails);
  CHECK(bench.sends_in(minutes(10) - milliseconds(1)) == 0);
  bench.pass(milliseconds(1));
  const auto again = bench.sent();
  REQUIRE(again);
  CHECK(bench.test.verdict() == Hairpin::fails);  // Until it is known better.
  CHECK(bench.test.take(again->bytes, bench.now));
  CHECK(bench.test.verdict() == Hairpin::works);
}

TEST_CASE("only the datagram that was sent counts") {
  Bench bench;
  bench.test.set_place(seen_at(kOutside), bench.now);
  const auto sent = bench.sent();
  REQUIRE(sent);
  for (std::size_t at = 0; at < sent->bytes.size(); ++at) {
    auto altered = sent->bytes;
    altered[at] ^= std::byte{1};
    CHECK_FALSE(bench.test.take(altered, bench.now));
  }
  CHECK_FALSE(bench.test.take(BytesView(sent->bytes).first(66), bench.now));
  CHECK_FALSE(bench.test.take({}, bench.now));
  CHECK(bench.test.verdict() == Hairpin::testing);
}

TEST_CASE("another address is another test, which an echo of the one before does not answer") {
  Bench bench;
  bench.test.set_place(seen_at(kOutside), bench.now);
  const auto first = bench.sent();
  REQUIRE(first);
  bench.test.set_place(seen_at(kElsewhere), bench.now);
  const auto second = bench.sent();
  REQUIRE(second);
  CHECK(second->target == kElsewhere);
  CHECK_FALSE(bench.test.take(first->bytes, bench.now));
  CHECK(bench.test.verdict() == Hairpin::testing);
  CHECK(bench.test.take(second->bytes, bench.now));
  CHECK(bench.test.verdict() == Hairpin::works);
}

TEST_CASE("the same address after none is tried anew: the NAT may be another one") {
  Bench bench;
  bench.test.set_place(seen_at(kOutside), bench.now);
  CHECK(bench.test.take(bench.sent().value().bytes, bench.now));
  bench.test.set_place(seen_at(kOutside), bench.now);
  CHECK_FALSE(bench.sent());
  bench.test.set_place(seen_at(std::nullopt, NatMapping::unseen), bench.now);
  CHECK(bench.test.verdict() == Hairpin::unseen);
  CHECK_FALSE(bench.test.next_deadline());
  bench.test.set_place(seen_at(kOutside), bench.now);
  CHECK(bench.test.verdict() == Hairpin::testing);
  CHECK(bench.sent());
}

TEST_CASE("where there is nothing to try, nothing is sent, and the verdict says why") {
  Bench bench;
  bench.test.set_place(seen_at(std::nullopt, NatMapping::none), bench.now);
  CHECK(bench.test.verdict() == Hairpin::no_nat);
  bench.test.set_place(seen_at(std::nullopt, NatMapping::address_dependent), bench.now);
  CHECK(bench.test.verdict() == Hairpin::no_target);
  CHECK(bench.sends_in(minutes(30)) == 0);

  Bench unwilling(false);
  unwilling.test.set_place(seen_at(kOutside), unwilling.now);
  CHECK(unwilling.test.verdict() == Hairpin::off);
  CHECK(unwilling.sends_in(minutes(30)) == 0);
}

TEST_CASE("a relay that tells a new address at every turn aims few datagrams at them") {
  Bench bench;
  int count = 0;
  for (int turn = 0; turn < 10'000; ++turn) {
    const auto port = static_cast<std::uint16_t>(turn % 2 + 1);
    bench.test.set_place(seen_at(SocketAddress{.ip = kElsewhere.ip, .port = port}), bench.now);
    count += bench.sends_in(milliseconds(60));
  }
  // 600 s: a burst of four tests and one in 30 s, of which each is broken off after the first try.
  CHECK(count >= 20);
  CHECK(count <= 4 + 20 + 1);
}

}  // namespace
}  // namespace zt::path
