// SPDX-License-Identifier: Apache-2.0
#include "zt/relay/engine.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <string_view>

namespace zt::relay {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Now kStart{Instant(seconds(1000)), UnixTime(std::chrono::hours(500'000))};
constexpr Volume kRun{.datagrams = 10, .bytes = 12'000};

Now after(Duration passed) {
  return {kStart.instant + passed,
          kStart.unix_time + std::chrono::duration_cast<std::chrono::milliseconds>(passed)};
}

RouteId route(unsigned number) {
  RouteId result;
  result.bytes[7] = static_cast<std::byte>(number);
  result.bytes[6] = static_cast<std::byte>(number >> 8U);
  return result;
}

Digest certificate(unsigned number) {
  Digest result;
  result.bytes[0] = static_cast<std::byte>(number);
  return result;
}

SocketAddress address(std::string_view text) {
  return *SocketAddress::parse(text);
}

const SocketAddress kClient = address("192.0.2.1:4000");
const SocketAddress kConnector = address("198.51.100.7:5000");
const SocketAddress kStranger = address("203.0.113.9:6000");
const TenantId kTenant{"ten_a"};
const TenantId kOtherTenant{"ten_b"};

Bind bind_of(unsigned key, unsigned route_number, const SocketAddress& source,
             unsigned certificate_number, const TenantId& tenant = kTenant,
             Duration lifetime = minutes(10)) {
  return {.key = BindingKey(key),
          .route = route(route_number),
          .tenant = tenant,
          .certificate = certificate(certificate_number),
          .source = source,
          .expires =
              kStart.unix_time + std::chrono::duration_cast<std::chrono::milliseconds>(lifetime)};
}

// Table has a client (key 1, route 1) and a connector (key 2, route 2) of one tenant.
struct Table {
  explicit Table(const Engine::Limits& limits = {}) : engine(limits, random) {
    REQUIRE(engine.bind(bind_of(1, 1, kClient, 1), kStart));
    REQUIRE(engine.bind(bind_of(2, 2, kConnector, 2), kStart));
  }

  std::expected<SocketAddress, DropReason> forward(const SocketAddress& source, unsigned to,
                                                   Duration passed = {}) {
    return engine.forward(source, route(to), kRun, kStart.instant + passed);
  }

  SeededRandom random{7};
  Engine engine;
};

TEST_CASE("a datagram is forwarded between two live bindings of one tenant, both ways") {
  Table table;
  CHECK(table.forward(kClient, 2) == kConnector);
  CHECK(table.forward(kConnector, 1) == kClient);
  CHECK(table.engine.totals().forwarded == Volume{20, 24'000});
  CHECK(table.engine.status()[1].forwarded == kRun);
}

TEST_CASE("a stranger's datagram goes nowhere, whatever route it names") {
  Table table;
  CHECK(table.forward(kStranger, 2).error() == DropReason::source_unbound);
  CHECK(table.forward(kStranger, 99).error() == DropReason::source_unbound);
  CHECK(table.engine.totals().dropped_for(DropReason::source_unbound) == Volume{20, 24'000});
}

TEST_CASE("the same address with another port is a stranger") {
  Table table;
  CHECK(table.forward(address("192.0.2.1:4001"), 2).error() == DropReason::source_unbound);
}

TEST_CASE("a route that nobody holds goes nowhere") {
  Table table;
  CHECK(table.forward(kClient, 3).error() == DropReason::route_unbound);
}

TEST_CASE("a tenant cannot reach another tenant's node") {
  Table table;
  REQUIRE(table.engine.bind(bind_of(3, 3, kStranger, 3, kOtherTenant), kStart));
  CHECK(table.forward(kStranger, 2).error() == DropReason::tenant_differs);
  CHECK(table.forward(kClient, 3).error() == DropReason::tenant_differs);
}

TEST_CASE("a binding dies at its deadline, with no timer") {
  Table table;
  REQUIRE(table.engine.bind(bind_of(3, 3, kStranger, 3, kTenant, minutes(20)), kStart));
  const Duration last = minutes(10) - Duration(1);
  CHECK(table.forward(kClient, 2, last) == kConnector);
  CHECK(table.forward(kClient, 2, minutes(10)).error() == DropReason::source_unbound);
  CHECK(table.forward(kStranger, 2, last) == kConnector);
  CHECK(table.forward(kStranger, 2, minutes(10)).error() == DropReason::route_unbound);
}

TEST_CASE("the timer at the deadline frees the binding and says so once") {
  Table table;
  REQUIRE(table.engine.next_deadline() == kStart.instant + minutes(10));
  table.engine.handle_timeout(after(minutes(10) - Duration(1)));
  CHECK_FALSE(table.engine.poll_output());
  table.engine.handle_timeout(after(minutes(10)));
  CHECK(table.engine.poll_output() == BindingEnded{BindingKey(1), route(1), EndReason::expired});
  CHECK(table.engine.poll_output() == BindingEnded{BindingKey(2), route(2), EndReason::expired});
  CHECK_FALSE(table.engine.poll_output());
  CHECK_FALSE(table.engine.next_deadline());
  CHECK(table.engine.binding_count() == 0);
}

TEST_CASE("a token that has expired binds nothing; one with a millisecond left does") {
  Table table;
  Bind request = bind_of(3, 3, kStranger, 3);
  request.expires = kStart.unix_time;
  CHECK(table.engine.bind(request, kStart).error() == BindError::expired);
  request.expires += std::chrono::milliseconds(1);
  CHECK(table.engine.bind(request, kStart));
}

TEST_CASE("a token of the far future does not overflow the clock") {
  Table table;
  Bind request = bind_of(3, 3, kStranger, 3);
  request.expires = from_unix_seconds(99'999'999'999);
  REQUIRE(table.engine.bind(request, kStart));
  CHECK(table.forward(kStranger, 2) == kConnector);
}

TEST_CASE("a route cannot be taken from the node that holds it") {
  Table table;
  CHECK(table.engine.bind(bind_of(3, 2, kStranger, 3), kStart).error() == BindError::route_taken);
  CHECK(table.forward(kClient, 2) == kConnector);
  SECTION("nor with the same certificate in another tenant") {
    CHECK(table.engine.bind(bind_of(3, 2, kConnector, 2, kOtherTenant), kStart).error() ==
          BindError::route_taken);
    CHECK(table.forward(kClient, 2) == kConnector);
  }
  SECTION("but it is free once the holder's binding is over") {
    Bind request = bind_of(3, 2, kStranger, 3, kTenant, minutes(30));
    const Duration last = minutes(10) - std::chrono::milliseconds(1);
    CHECK(table.engine.bind(request, after(last)).error() == BindError::route_taken);
    CHECK(table.engine.bind(request, after(minutes(10))));
  }
}

TEST_CASE("a renewal replaces the binding, keeps its counters and ends the former key") {
  Table table;
  CHECK(table.forward(kClient, 2));
  REQUIRE(table.engine.bind(bind_of(3, 2, kConnector, 2, kTenant, minutes(30)), kStart));
  CHECK(table.engine.poll_output() == BindingEnded{BindingKey(2), route(2), EndReason::replaced});
  CHECK_FALSE(table.engine.poll_output());
  CHECK(table.engine.status()[1].key == BindingKey(3));
  CHECK(table.engine.status()[1].forwarded == kRun);

  table.engine.unbind(BindingKey(2), kStart);  // The former stream ends later.
  CHECK(table.forward(kClient, 2) == kConnector);
}

TEST_CASE("a renewal of the only binding of a tenant works at the tenant's limit") {
  SeededRandom random(7);
  Engine engine({.bindings_max = 1, .bindings_per_tenant_max = 1}, random);
  REQUIRE(engine.bind(bind_of(1, 1, kClient, 1), kStart));
  CHECK(engine.bind(bind_of(2, 1, kStranger, 1), kStart));
  CHECK(engine.binding_count() == 1);
  CHECK(engine.forward(kStranger, route(1), kRun, kStart.instant) == kStranger);
  CHECK(engine.forward(kClient, route(1), kRun, kStart.instant).error() ==
        DropReason::source_unbound);
}

TEST_CASE("one node may hold an old and a new route at one address") {
  Table table;
  REQUIRE(table.engine.bind(bind_of(3, 3, kConnector, 2, kTenant, minutes(30)), kStart));
  CHECK(table.forward(kClient, 2) == kConnector);
  CHECK(table.forward(kClient, 3) == kConnector);
  table.engine.unbind(BindingKey(2), kStart);
  CHECK(table.forward(kConnector, 1) == kClient);
  CHECK(table.forward(kClient, 2).error() == DropReason::route_unbound);

  SECTION("and is a live source for as long as the longer one lives") {
    REQUIRE(table.engine.bind(bind_of(4, 4, kStranger, 4, kTenant, minutes(60)), kStart));
    CHECK(table.forward(kConnector, 4, minutes(30) - Duration(1)) == kStranger);
    CHECK(table.forward(kConnector, 4, minutes(30)).error() == DropReason::source_unbound);
  }
}

TEST_CASE("an unbound route is dead at once") {
  Table table;
  table.engine.unbind(BindingKey(2), kStart);
  CHECK(table.forward(kClient, 2).error() == DropReason::route_unbound);
  CHECK(table.forward(kConnector, 1).error() == DropReason::source_unbound);
  CHECK_FALSE(table.engine.poll_output());
  table.engine.unbind(BindingKey(2), kStart);
  table.engine.unbind(BindingKey(77), kStart);
  CHECK(table.engine.binding_count() == 1);
}

TEST_CASE("a binding follows its node to a new address") {
  Table table;
  table.engine.move(BindingKey(1), kStranger, kStart);
  CHECK(table.forward(kConnector, 1) == kStranger);
  CHECK(table.forward(kStranger, 2) == kConnector);
  CHECK(table.forward(kClient, 2).error() == DropReason::source_unbound);
  table.engine.move(BindingKey(77), kClient, kStart);
  CHECK(table.forward(kClient, 2).error() == DropReason::source_unbound);
}

TEST_CASE("a newcomer at an address ends what another node had bound there") {
  Table table;
  SECTION("by binding") {
    REQUIRE(table.engine.bind(bind_of(3, 3, kClient, 3), kStart));
    CHECK(table.engine.poll_output() ==
          BindingEnded{BindingKey(1), route(1), EndReason::displaced});
  }
  SECTION("by moving, from another tenant") {
    REQUIRE(table.engine.bind(bind_of(3, 3, kStranger, 3, kOtherTenant), kStart));
    table.engine.move(BindingKey(3), kClient, kStart);
    CHECK(table.engine.poll_output() ==
          BindingEnded{BindingKey(1), route(1), EndReason::displaced});
    CHECK(table.forward(kClient, 2).error() == DropReason::tenant_differs);
  }
  CHECK(table.forward(kConnector, 1).error() == DropReason::route_unbound);
}

TEST_CASE("limits refuse the first binding above them") {
  SeededRandom random(7);
  Engine engine({.bindings_max = 3, .bindings_per_tenant_max = 2}, random);
  REQUIRE(engine.bind(bind_of(1, 1, address("192.0.2.1:1"), 1), kStart));
  REQUIRE(engine.bind(bind_of(2, 2, address("192.0.2.1:2"), 2), kStart));
  CHECK(engine.bind(bind_of(3, 3, address("192.0.2.1:3"), 3), kStart).error() ==
        BindError::tenant_full);
  REQUIRE(engine.bind(bind_of(4, 4, address("192.0.2.1:4"), 4, kOtherTenant), kStart));
  CHECK(engine.bind(bind_of(5, 5, address("192.0.2.1:5"), 5, kOtherTenant), kStart).error() ==
        BindError::relay_full);
  SECTION("and bindings that are over make room") {
    Bind late = bind_of(5, 5, address("192.0.2.1:5"), 5, kOtherTenant, minutes(60));
    CHECK(engine.bind(late, after(minutes(10))));
  }
}

TEST_CASE("a rate limit passes its burst, then its rate, and counts the rest") {
  Table table({.rate_bytes_per_s = 12'000, .burst_size_max = 24'000});
  CHECK(table.forward(kClient, 2));
  CHECK(table.forward(kClient, 2));
  CHECK(table.forward(kClient, 2).error() == DropReason::rate_limited);
  CHECK(table.forward(kConnector, 1));  // Each binding has its own bucket.
  CHECK(table.forward(kClient, 2, seconds(1) - std::chrono::milliseconds(1)).error() ==
        DropReason::rate_limited);
  CHECK(table.forward(kClient, 2, seconds(1) + std::chrono::milliseconds(1)));
  const BindingStatus status = table.engine.status()[1];
  CHECK(status.forwarded == Volume{30, 36'000});
  CHECK(status.rate_limited == Volume{20, 24'000});
}

TEST_CASE("a rate limit does not refill above its burst") {
  Table table({.rate_bytes_per_s = 12'000, .burst_size_max = 12'000});
  CHECK(table.forward(kClient, 2, minutes(5)));
  CHECK(table.forward(kClient, 2, minutes(5)).error() == DropReason::rate_limited);
}

TEST_CASE("addresses of both families are sources and destinations") {
  Table table;
  const SocketAddress v6 = address("[2001:db8::7]:4000");
  REQUIRE(table.engine.bind(bind_of(3, 3, v6, 3), kStart));
  CHECK(table.forward(kClient, 3) == v6);
  CHECK(table.forward(v6, 1) == kClient);
}

TEST_CASE("an address is a source while a binding lives there, and follows its moves") {
  Table table;
  const SocketAddress link = address("[100::1]:1");
  CHECK(table.engine.is_source(kClient, after(minutes(10) - Duration(1)).instant));
  CHECK_FALSE(table.engine.is_source(kClient, after(minutes(10)).instant));
  CHECK_FALSE(table.engine.is_source(kStranger, kStart.instant));
  table.engine.move(BindingKey(1), link, after(seconds(1)));
  CHECK(table.engine.is_source(link, after(seconds(1)).instant));
  CHECK_FALSE(table.engine.is_source(kClient, after(seconds(1)).instant));
  table.engine.unbind(BindingKey(1), after(seconds(2)));
  CHECK_FALSE(table.engine.is_source(link, after(seconds(2)).instant));
}

}  // namespace
}  // namespace zt::relay
