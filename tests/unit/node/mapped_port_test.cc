// SPDX-License-Identifier: Apache-2.0
#include "node/mapped_port.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "zt/base/bytes.h"
#include "zt/wire/cursor.h"

namespace zt::node {
namespace {

using path::NatMapping;
using std::chrono::seconds;

const SocketAddress kGateway{.ip = IpAddress::v4({192, 168, 1, 1}), .port = 5351};
const SocketAddress kExternal{.ip = IpAddress::v4({11, 1, 2, 3}), .port = 41002};
const path::MappingPlace kPlace{.gateway = kGateway.ip,
                                .internal = {.ip = IpAddress::v4({192, 168, 1, 2}), .port = 41002}};

class Bench {
 public:
  Now now{Instant(seconds(1000)), UnixTime{}};

  explicit Bench(bool is_wanted = true)
      : port(MappedPort::Config{.is_wanted = is_wanted}, random_) {}

  void place(const std::optional<path::MappingPlace>& place, NatMapping nat) {
    port.set_place(place, nat, now);
  }

  // sent returns what leaves now.
  std::vector<Bytes> sent() {
    std::vector<Bytes> all;
    std::array<std::byte, 1500> buffer{};
    while (const auto transmit = port.poll_transmit(buffer)) {
      CHECK(transmit->remote == kGateway);
      CHECK(transmit->segment_size == transmit->size);
      all.emplace_back(buffer.begin(),
                       buffer.begin() + static_cast<std::ptrdiff_t>(transmit->size));
    }
    return all;
  }

  // map answers the last request of PCP.
  void map(const Bytes& request) {
    Bytes bytes(60);
    wire::Writer writer(bytes);
    writer.u32(0x02810000);
    writer.u32(600);
    writer.u64(0);
    writer.u64(0);
    writer.bytes(BytesView(request).subspan(24, 18));
    writer.u16(kExternal.port);
    writer.u64(0);
    writer.u32(0xffff);
    writer.u32(0x0b010203);
    CHECK(port.handle({.remote = kGateway, .bytes = bytes, .segment_size = 0, .ecn = 0}, now));
  }

  // told returns the notices and changes that wait.
  std::vector<std::string> told() {
    std::vector<std::string> all;
    while (const auto event = port.poll_event()) {
      if (const auto* notice = std::get_if<Notice>(&*event)) {
        all.emplace_back(notice->message);
      } else if (std::holds_alternative<path::MappingChanged>(*event)) {
        all.emplace_back("changed");
      } else {
        all.emplace_back("UPnP");
      }
    }
    return all;
  }

 private:
  SeededRandom random_{1};

 public:
  MappedPort port;
};

TEST_CASE("nothing is asked before a relay has seen a NAT, nor without a gateway") {
  Bench bench;
  CHECK(bench.port.need() == MappingNeed::unknown);
  bench.place(kPlace, NatMapping::unseen);
  CHECK(bench.port.need() == MappingNeed::unknown);
  bench.place(kPlace, NatMapping::none);
  CHECK(bench.port.need() == MappingNeed::no_nat);
  bench.place(std::nullopt, NatMapping::endpoint_independent);
  CHECK(bench.port.need() == MappingNeed::no_gateway);
  bench.port.handle_timeout(bench.now);
  CHECK(bench.sent().empty());
  CHECK_FALSE(bench.port.next_deadline());
}

TEST_CASE("every kind of NAT is reason enough") {
  for (const NatMapping nat : {NatMapping::endpoint_independent, NatMapping::address_dependent,
                               NatMapping::address_and_port_dependent, NatMapping::dependent,
                               NatMapping::one_host, NatMapping::one_observer}) {
    Bench bench;
    bench.place(kPlace, nat);
    CHECK(bench.port.need() == MappingNeed::needed);
    CHECK(bench.sent().size() == 1);
  }
}

TEST_CASE("who does not want a mapping asks for none, whatever relays say") {
  Bench bench(false);
  bench.place(kPlace, NatMapping::dependent);
  CHECK(bench.port.need() == MappingNeed::off);
  CHECK(bench.sent().empty());
}

TEST_CASE("a mapping comes with one notice, and outlives the silence of relays") {
  Bench bench;
  bench.place(kPlace, NatMapping::one_observer);
  bench.map(bench.sent().front());
  CHECK(bench.port.external() == kExternal);
  CHECK(bench.told() == std::vector<std::string>{"changed", "the gateway maps our port"});
  bench.place(kPlace, NatMapping::unseen);
  bench.place(kPlace, NatMapping::one_observer);
  CHECK(bench.port.external() == kExternal);
  CHECK(bench.sent().empty());
  CHECK(bench.told().empty());
}

TEST_CASE("it is given up when a relay sees the machine as it is") {
  Bench bench;
  bench.place(kPlace, NatMapping::one_observer);
  bench.map(bench.sent().front());
  bench.place(kPlace, NatMapping::none);
  CHECK_FALSE(bench.port.external());
  const auto last = bench.sent();
  REQUIRE(last.size() == 1);
  CHECK(last.front()[7] == std::byte{0});  // A lifetime of zero.
  CHECK(bench.told().back() == "changed");
}

TEST_CASE("elsewhere it is asked for when a relay has seen the machine there") {
  Bench bench;
  bench.place(kPlace, NatMapping::one_observer);
  bench.map(bench.sent().front());
  path::MappingPlace other = kPlace;
  other.internal.ip = IpAddress::v4({192, 168, 1, 9});
  bench.place(other, NatMapping::unseen);
  CHECK_FALSE(bench.port.external());
  (void)bench.sent();
  bench.place(other, NatMapping::one_observer);
  CHECK(bench.sent().size() == 1);
}

TEST_CASE("the nonce is the same after a restart, another at each gateway, and by another key") {
  const auto nonce_of = [](const Digest& key, const path::MappingPlace& place) {
    SeededRandom random(key.bytes[0] == std::byte{0} ? 1 : 2);
    MappedPort port(MappedPort::Config{.nonce_key = key}, random);
    port.set_place(place, NatMapping::one_observer, Now{});
    std::array<std::byte, 1500> buffer{};
    REQUIRE(port.poll_transmit(buffer));
    return Bytes(buffer.begin() + 24, buffer.begin() + 36);
  };
  const Bytes nonce = nonce_of({}, kPlace);
  CHECK(nonce_of({}, kPlace) == nonce);
  CHECK(nonce_of(Digest{{std::byte{1}}}, kPlace) != nonce);
  path::MappingPlace elsewhere = kPlace;
  elsewhere.gateway = IpAddress::v4({192, 168, 1, 254});
  CHECK(nonce_of({}, elsewhere) != nonce);
}

TEST_CASE("what the gateway's port sends is taken, and nobody else's") {
  Bench bench;
  const Bytes bytes(1200);
  const auto takes = [&](const SocketAddress& remote) {
    return bench.port.handle({.remote = remote, .bytes = bytes, .segment_size = 100, .ecn = 0},
                             bench.now);
  };
  CHECK_FALSE(takes(kGateway));  // It is not asked anything.
  bench.place(kPlace, NatMapping::one_observer);
  CHECK(takes(kGateway));
  CHECK_FALSE(takes({.ip = kGateway.ip, .port = 4433}));
  CHECK_FALSE(takes({.ip = kPlace.internal.ip, .port = kGateway.port}));
}

TEST_CASE("at the end the gateway is told, once, and nothing is asked again") {
  Bench bench;
  CHECK_FALSE(bench.port.leave(bench.now));
  Bench mapped;
  mapped.place(kPlace, NatMapping::one_observer);
  mapped.map(mapped.sent().front());
  CHECK(mapped.port.leave(mapped.now));
  CHECK(mapped.sent().size() == 1);
  CHECK_FALSE(mapped.port.leave(mapped.now));
  mapped.place(kPlace, NatMapping::one_observer);
  CHECK(mapped.sent().empty());
}

TEST_CASE("a loss has one notice with its reason, and a failure that stays has one") {
  Bench bench;
  bench.place(kPlace, NatMapping::one_observer);
  bench.map(bench.sent().front());
  (void)bench.told();
  for (int i = 0; i < 60; ++i) {
    const auto deadline = bench.port.next_deadline();
    REQUIRE(deadline);
    bench.now.instant = *deadline;
    bench.port.handle_timeout(bench.now);
    (void)bench.sent();
  }
  std::vector<std::string> told = bench.told();
  std::erase(told, "UPnP");
  CHECK(told == std::vector<std::string>{"changed", "the port mapping is lost"});
}

}  // namespace
}  // namespace zt::node
