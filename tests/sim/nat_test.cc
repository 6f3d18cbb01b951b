// SPDX-License-Identifier: Apache-2.0
#include "nat.h"

#include <catch2/catch_test_macros.hpp>

namespace zt::sim {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using enum NatBehavior;

const IpAddress kExternal = IpAddress::v4({11, 0, 0, 1});
const SocketAddress kInside{IpAddress::v4({10, 0, 0, 2}), 4000};
const SocketAddress kFirst{IpAddress::v4({11, 0, 0, 8}), 1};
const SocketAddress kFirstOtherPort{kFirst.ip, 2};
const SocketAddress kSecond{IpAddress::v4({11, 0, 0, 9}), 1};
constexpr Instant kNow(seconds(1));

TEST_CASE("a mapping depends on what of the destination it is said to", "[rfc4787-4.1]") {
  struct Row {
    NatBehavior mapping;
    bool is_same_for_port;
    bool is_same_for_address;
  };
  for (const Row& row : {Row{endpoint_independent, true, true}, Row{address_dependent, true, false},
                         Row{address_and_port_dependent, false, false}}) {
    CAPTURE(to_text(row.mapping));
    Nat nat({.external = kExternal, .mapping = row.mapping});
    const auto first = nat.outbound(kInside, kFirst, kNow);
    CHECK(first->ip == kExternal);
    CHECK(nat.outbound(kInside, kFirst, kNow) == first);
    CHECK((nat.outbound(kInside, kFirstOtherPort, kNow) == first) == row.is_same_for_port);
    CHECK((nat.outbound(kInside, kSecond, kNow) == first) == row.is_same_for_address);
  }
}

TEST_CASE("a filter lets in who was sent to, as far as it is said to look", "[rfc4787-5]") {
  struct Row {
    NatBehavior filtering;
    bool is_port_let_in;
    bool is_stranger_let_in;
  };
  for (const Row& row : {Row{endpoint_independent, true, true}, Row{address_dependent, true, false},
                         Row{address_and_port_dependent, false, false}}) {
    CAPTURE(to_text(row.filtering));
    Nat nat({.external = kExternal, .filtering = row.filtering});
    const SocketAddress outside = nat.outbound(kInside, kFirst, kNow).value();
    CHECK(nat.inbound(kFirst, outside, kNow) == kInside);
    CHECK(nat.inbound(kFirstOtherPort, outside, kNow).has_value() == row.is_port_let_in);
    CHECK(nat.inbound(kSecond, outside, kNow).has_value() == row.is_stranger_let_in);
    CHECK_FALSE(nat.inbound(kFirst, {kExternal, 1}, kNow).has_value());
    CHECK_FALSE(nat.inbound(kFirst, kInside, kNow).has_value());
  }
}

TEST_CASE("a mapping dies without outbound packets, whatever comes in", "[rfc4787-4.3]") {
  Nat nat({.external = kExternal, .filtering = endpoint_independent, .timeout = seconds(10)});
  const SocketAddress outside = nat.outbound(kInside, kFirst, kNow).value();
  CHECK(nat.inbound(kFirst, outside, kNow + seconds(10) - nanoseconds(1)).has_value());
  CHECK_FALSE(nat.inbound(kFirst, outside, kNow + seconds(10)).has_value());
  CHECK(nat.outbound(kInside, kFirst, kNow + seconds(10)) != outside);
}

TEST_CASE("a hairpin comes back with an external source, if there is one", "[rfc4787-6]") {
  const SocketAddress other{IpAddress::v4({10, 0, 0, 3}), 5000};
  for (const bool is_hairpinning : {false, true}) {
    Nat nat({.external = kExternal,
             .filtering = endpoint_independent,
             .is_hairpinning = is_hairpinning});
    const SocketAddress outside = nat.outbound(other, kFirst, kNow).value();
    const auto turned = nat.hairpin(kInside, outside, kNow);
    REQUIRE(turned.has_value() == is_hairpinning);
    if (!turned) continue;
    CHECK(turned->source == nat.outbound(kInside, outside, kNow));
    CHECK(turned->destination == other);
  }
}

TEST_CASE("a firewall filters and translates nothing") {
  Nat nat({.external = kExternal, .filtering = address_dependent, .is_translating = false});
  CHECK(nat.outbound(kInside, kFirst, kNow) == kInside);
  CHECK(nat.inbound(kFirstOtherPort, kInside, kNow) == kInside);
  CHECK_FALSE(nat.inbound(kSecond, kInside, kNow).has_value());
}

TEST_CASE("a full NAT drops, a restarted one has forgotten") {
  Nat nat({.external = kExternal, .mapping = address_dependent, .mappings_max = 1});
  const SocketAddress outside = nat.outbound(kInside, kFirst, kNow).value();
  CHECK_FALSE(nat.outbound(kInside, kSecond, kNow).has_value());
  CHECK(nat.mapping_count() == 1);
  nat.forget();
  CHECK_FALSE(nat.inbound(kFirst, outside, kNow).has_value());
  CHECK(nat.outbound(kInside, kSecond, kNow).has_value());
}

}  // namespace
}  // namespace zt::sim
