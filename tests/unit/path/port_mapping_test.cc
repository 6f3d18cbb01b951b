// SPDX-License-Identifier: Apache-2.0
#include "zt/path/port_mapping.h"

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <string>
#include <vector>

#include "zt/wire/cursor.h"

namespace zt::path {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

SocketAddress address(std::string_view text) {
  return SocketAddress::parse(text).value();
}

const SocketAddress kGateway = address("192.168.1.1:5351");
const SocketAddress kInternal = address("192.168.1.2:41002");
const SocketAddress kExternal = address("11.1.2.3:41002");
const wire::MappingNonce kNonce{{std::byte{1}, std::byte{2}}};
const MappingPlace kPlace{.gateway = kGateway.ip, .internal = kInternal};

// Gateway is what answers requests, in the words of the RFCs.
struct Gateway {
  bool speaks_pcp = true;
  bool speaks_nat_pmp = true;
  bool says_unsupported = false;  // Of NAT-PMP, to a request of PCP.
  std::uint8_t pcp_result = 0;
  std::uint16_t nat_pmp_result = 0;
  std::uint32_t lifetime_s = 600;
  SocketAddress external = kExternal;
  std::vector<std::string> log;  // What it was asked.

  std::vector<Bytes> answer(BytesView request) {
    wire::Reader reader(request);
    const std::uint8_t version = reader.u8().value();
    const std::uint8_t opcode = reader.u8().value();
    if (version == 2) return answer_pcp(request);
    if (opcode == 0) {
      log.emplace_back("address");
      if (!speaks_nat_pmp) return {};
      return {nat_pmp(12, 0x80, [this](wire::Writer& writer) { write_ip(writer); })};
    }
    (void)reader.u16();
    const std::uint16_t internal = reader.u16().value();
    const std::uint16_t suggested = reader.u16().value();
    const std::uint32_t wanted = reader.u32().value();
    log.push_back(wanted == 0 ? "NAT-PMP end" : "NAT-PMP " + std::to_string(suggested));
    if (!speaks_nat_pmp) return {};
    return {nat_pmp(16, 0x81, [&](wire::Writer& writer) {
      writer.u16(internal);
      writer.u16(external.port);
      writer.u32(wanted == 0 ? 0 : lifetime_s);
    })};
  }

 private:
  std::vector<Bytes> answer_pcp(BytesView request) {
    wire::Reader reader(request.subspan(4));
    const std::uint32_t wanted = reader.u32().value();
    wire::Reader data(request.subspan(24));
    const BytesView echoed = data.bytes(18).value();  // Nonce, protocol, internal port.
    log.push_back(wanted == 0 ? "PCP end" : "PCP " + std::to_string(data.u16().value()));
    if (says_unsupported) {
      return {nat_pmp(8, 0x81, [](wire::Writer&) {}, 1)};
    }
    if (!speaks_pcp) return {};
    Bytes bytes(60);
    wire::Writer writer(bytes);
    writer.u8(2);
    writer.u8(0x81);
    writer.u8(0);
    writer.u8(pcp_result);
    writer.u32(wanted == 0 ? 0 : lifetime_s);
    writer.u32(7);
    writer.bytes(Bytes(12));
    writer.bytes(echoed);
    writer.u16(external.port);
    writer.bytes(from_hex("00000000000000000000ffff").value());
    write_ip(writer);
    return {bytes};
  }

  Bytes nat_pmp(std::size_t size, std::uint8_t opcode,
                const std::function<void(wire::Writer&)>& write_rest,
                std::optional<std::uint16_t> result = std::nullopt) const {
    Bytes bytes(size);
    wire::Writer writer(bytes);
    writer.u8(0);
    writer.u8(opcode);
    writer.u16(result.value_or(nat_pmp_result));
    writer.u32(7);
    write_rest(writer);
    return bytes;
  }

  void write_ip(wire::Writer& writer) const {
    writer.bytes(std::as_bytes(std::span(external.ip.octets())).first(4));
  }
};

// Bench is a mapper, its gateway one millisecond away, and virtual time.
class Bench {
  SeededRandom random_{1};  // Before its user.

 public:
  Gateway gateway;
  Now now{Instant(seconds(1000)), UnixTime(hours(480'000))};
  std::vector<Instant> sent;
  unsigned changes = 0;
  unsigned upnp_wanted = 0;
  unsigned upnp_unwanted = 0;
  std::vector<Bytes> requests;

  Bench() { enter(kPlace); }

  void enter(const std::optional<MappingPlace>& place) {
    feed(PlaceChanged{.place = place, .nonce = kNonce});
  }
  void feed(PortMapper::Input input) {
    mapper.handle(std::move(input), now);
    drain();
  }
  void answer(BytesView datagram, const SocketAddress& source = kGateway) {
    feed(GatewayAnswered{.source = source, .datagram = datagram});
  }

  // run lets time pass; nothing happens between deadlines.
  void run(Duration duration) {
    const Instant end = now.instant + duration;
    while (const auto deadline = mapper.next_deadline()) {
      if (*deadline > end) break;
      now.instant = std::max(now.instant, *deadline);
      mapper.handle_timeout(now);
      drain();
    }
    now.instant = end;
  }

  [[nodiscard]] std::optional<SocketAddress> external() const {
    const auto mapping = mapper.status().mapping;
    return mapping ? std::optional(mapping->external) : std::nullopt;
  }
  [[nodiscard]] std::optional<MappingMethod> method() const {
    const auto mapping = mapper.status().mapping;
    return mapping ? std::optional(mapping->method) : std::nullopt;
  }
  [[nodiscard]] std::optional<MappingFailure> failure() const { return mapper.status().failure; }

  PortMapper mapper{PortMapper::Limits{}, random_};
  bool is_gateway_mute = false;  // It hears, and its answers get lost.

 private:
  void drain() {
    while (const auto output = mapper.poll_output()) {
      if (const auto* send = std::get_if<SendToGateway>(&*output)) {
        CHECK(send->target == kGateway);
        sent.push_back(now.instant);
        requests.push_back(send->datagram);
        const std::vector<Bytes> answers = gateway.answer(send->datagram);
        if (is_gateway_mute) continue;
        for (const Bytes& bytes : answers) {
          mapper.handle(GatewayAnswered{.source = kGateway, .datagram = bytes}, now);
        }
      } else if (std::holds_alternative<UpnpWanted>(*output)) {
        ++upnp_wanted;
      } else if (std::holds_alternative<UpnpUnwanted>(*output)) {
        ++upnp_unwanted;
      } else {
        ++changes;
      }
    }
  }
};

class MuteBench : public Bench {
 public:
  MuteBench() {
    enter(std::nullopt);
    gateway.log.clear();
    sent.clear();
    changes = 0;
    is_gateway_mute = true;
    enter(kPlace);
  }
};

TEST_CASE("a gateway that speaks PCP is asked once, for the same port outside") {
  const Bench bench;
  CHECK(bench.external() == kExternal);
  CHECK(bench.method() == MappingMethod::pcp);
  CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002"});
  CHECK(bench.changes == 1);
}

TEST_CASE("a gateway that says that it speaks NAT-PMP only is asked in it at once [rfc6887-A]") {
  Bench bench;
  bench.enter(std::nullopt);
  bench.gateway = {.speaks_pcp = false, .says_unsupported = true};
  const Instant start = bench.now.instant;
  bench.enter(kPlace);
  CHECK(bench.external() == kExternal);
  CHECK(bench.method() == MappingMethod::nat_pmp);
  CHECK(bench.now.instant == start);
  CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002", "address", "NAT-PMP 41002"});
}

TEST_CASE("a gateway that is silent to PCP is asked by NAT-PMP, and UPnP is tried beside it") {
  MuteBench bench;
  bench.is_gateway_mute = false;
  bench.gateway = {.speaks_pcp = false};
  bench.run(seconds(2));
  CHECK(bench.upnp_wanted == 0);
  bench.run(seconds(2));
  CHECK(bench.method() == MappingMethod::nat_pmp);
  CHECK(bench.upnp_wanted == bench.upnp_unwanted);
}

TEST_CASE("retransmissions keep the times of RFC 6887, a tenth more or less [rfc6887-8.1.1]") {
  MuteBench bench;
  bench.run(hours(3));
  std::vector<Instant> tries;
  for (const Instant at : bench.sent) {
    if (tries.empty() || tries.back() != at) tries.push_back(at);  // NAT-PMP sends two at once.
  }
  REQUIRE(tries.size() > 12);
  double expected_s = 3;
  for (std::size_t i = 1; i < tries.size(); ++i) {
    const double waited_s = std::chrono::duration<double>(tries[i] - tries[i - 1]).count();
    CHECK(waited_s >= expected_s * 0.89);
    CHECK(waited_s <= expected_s * 1.11);
    expected_s = std::min(expected_s * 2, 1024.0);
  }
  CHECK(bench.failure() == MappingFailure::no_answer);
  CHECK(bench.upnp_wanted == 1);  // Not answered yet, so not asked again.
}

TEST_CASE("a mapping is asked for again once a minute, by the same nonce, and nothing is told") {
  Bench bench;
  const Instant start = bench.now.instant;
  bench.run(minutes(5) + seconds(30));
  REQUIRE(bench.sent.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) CHECK(bench.sent[i] == start + minutes(i));
  const auto nonce_of = [](const Bytes& request) {
    return Bytes(request.begin() + 24, request.begin() + 36);
  };
  CHECK(nonce_of(bench.requests.front()) == Bytes(kNonce.bytes.begin(), kNonce.bytes.end()));
  CHECK(nonce_of(bench.requests.back()) == nonce_of(bench.requests.front()));
  CHECK(bench.changes == 1);
}

TEST_CASE("a mapping is renewed at half of a short life, and not more often than each 4 s") {
  for (const auto& [lifetime_s, interval] :
       {std::pair(100U, seconds(50)), std::pair(30U, seconds(15))}) {
    Bench bench;
    bench.gateway.lifetime_s = lifetime_s;
    bench.enter(kPlace);
    const std::size_t before = bench.sent.size();
    bench.run(interval - milliseconds(1));
    CHECK(bench.sent.size() == before);
    bench.run(milliseconds(1));
    CHECK(bench.sent.size() == before + 1);
  }
}

TEST_CASE("a gateway that has forgotten is asked for the same port again, and may give another") {
  Bench bench;
  bench.gateway.external = address("11.1.2.3:50000");
  bench.run(minutes(1));
  CHECK(bench.gateway.log.back() == "PCP 41002");
  CHECK(bench.external() == address("11.1.2.3:50000"));
  CHECK(bench.changes == 2);
  bench.run(minutes(1));
  CHECK(bench.gateway.log.back() == "PCP 50000");
}

TEST_CASE("a mapping lives to the end of what was granted, and not longer") {
  Bench bench;
  bench.is_gateway_mute = true;
  bench.run(minutes(10) - milliseconds(1));
  CHECK(bench.external() == kExternal);
  bench.run(milliseconds(1));
  CHECK_FALSE(bench.external());
  CHECK(bench.failure() == MappingFailure::no_answer);

  bench.is_gateway_mute = false;  // It comes back, and is found soon.
  bench.run(seconds(10));
  CHECK(bench.external() == kExternal);
}

TEST_CASE("a late timer does not let a mapping live longer") {
  Bench bench;
  bench.is_gateway_mute = true;
  bench.now.instant += minutes(10);
  bench.feed(UpnpFailed{});
  CHECK_FALSE(bench.external());
}

TEST_CASE("the lifetime of an answer is clamped") {
  Bench bench;
  bench.gateway.lifetime_s = 4'000'000'000;
  bench.enter(kPlace);
  CHECK(bench.mapper.status().mapping.value().lifetime == hours(24));
  CHECK(bench.mapper.next_deadline() == bench.now.instant + minutes(1));

  for (const std::uint32_t lifetime_s : {0U, 1U, 29U}) {
    bench.gateway.lifetime_s = lifetime_s;
    bench.enter(kPlace);
    CHECK_FALSE(bench.external());
    CHECK(bench.failure() == MappingFailure::short_lived);
  }
  bench.gateway.lifetime_s = 30;
  bench.enter(kPlace);
  CHECK(bench.external() == kExternal);
}

TEST_CASE("an external address that is not public is of no use: deleted, told, and asked rarely") {
  for (const char* text : {"10.0.0.1", "172.31.255.255", "192.168.3.4", "100.64.0.1", "100.127.0.1",
                           "198.18.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1",
                           "255.255.255.255", "192.0.2.1", "240.0.0.1"}) {
    INFO(text);
    Bench bench;
    bench.gateway.external = {.ip = IpAddress::parse(text).value(), .port = 41002};
    bench.gateway.log.clear();
    bench.enter(kPlace);
    CHECK_FALSE(bench.external());
    CHECK(bench.failure() == MappingFailure::not_public);
    CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002", "PCP end"});
    bench.run(minutes(29));
    CHECK(bench.gateway.log.size() == 2);
    CHECK(bench.upnp_wanted == 0);
    bench.gateway.external = kExternal;
    bench.run(minutes(2));
    CHECK(bench.external() == kExternal);
  }
  for (const char* text : {"9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "100.63.0.1",
                           "100.128.0.1", "198.17.0.1", "198.20.0.1"}) {
    CHECK(is_public(IpAddress::parse(text).value()));
  }
  CHECK_FALSE(is_public(IpAddress::parse("2001:db9::1").value()));
}

TEST_CASE("a mapping whose external address turns private is lost at once") {
  Bench bench;
  bench.gateway.external = address("10.0.0.1:41002");
  bench.run(minutes(1));
  CHECK_FALSE(bench.external());
  CHECK(bench.failure() == MappingFailure::not_public);
}

TEST_CASE("a refusal has its reason, and is asked about again when the gateway says") {
  struct Row {
    std::uint8_t pcp;
    MappingFailure failure;
  };
  for (const Row& row :
       {Row{1, MappingFailure::unsupported}, Row{2, MappingFailure::refused},
        Row{3, MappingFailure::unsupported}, Row{7, MappingFailure::no_uplink},
        Row{8, MappingFailure::exhausted}, Row{10, MappingFailure::exhausted},
        Row{11, MappingFailure::no_uplink}, Row{255, MappingFailure::unsupported}}) {
    Bench bench;
    bench.gateway.pcp_result = row.pcp;
    bench.gateway.lifetime_s = 120;
    bench.enter(kPlace);
    CHECK_FALSE(bench.external());
    CHECK(bench.failure() == row.failure);
    CHECK(bench.upnp_wanted == 1);
    const std::size_t before = bench.sent.size();
    bench.run(seconds(120) - milliseconds(1));
    CHECK(bench.sent.size() == before);
    bench.gateway.pcp_result = 0;
    bench.run(milliseconds(1));
    CHECK(bench.external() == kExternal);
  }
}

TEST_CASE("the time of a refusal is within 30 s and 30 min") {
  for (const auto& [lifetime_s, wait] :
       {std::pair(0U, Duration(seconds(30))), std::pair(4'000'000'000U, Duration(minutes(30)))}) {
    Bench bench;
    bench.gateway.pcp_result = 2;
    bench.gateway.lifetime_s = lifetime_s;
    bench.enter(kPlace);
    CHECK(bench.mapper.next_deadline() == bench.now.instant + wait);
  }
}

TEST_CASE("NAT-PMP refuses with its own numbers") {
  struct Row {
    std::uint16_t result;
    MappingFailure failure;
  };
  for (const Row& row :
       {Row{1, MappingFailure::unsupported}, Row{2, MappingFailure::refused},
        Row{3, MappingFailure::no_uplink}, Row{4, MappingFailure::exhausted},
        Row{5, MappingFailure::unsupported}, Row{65535, MappingFailure::unsupported}}) {
    Bench bench;
    bench.gateway = {.says_unsupported = true, .nat_pmp_result = row.result};
    bench.enter(kPlace);
    CHECK(bench.failure() == row.failure);
    CHECK(bench.upnp_wanted == 1);
  }
}

TEST_CASE("only the gateway's address and port are believed") {
  MuteBench bench;
  const Bytes answer = bench.gateway.answer(bench.requests.back()).front();
  for (const char* source : {"192.168.1.3:5351", "192.168.1.1:5350", "192.168.1.2:5351"}) {
    bench.answer(answer, address(source));
    CHECK_FALSE(bench.external());
  }
  bench.answer(answer);
  CHECK(bench.external() == kExternal);
}

TEST_CASE("an answer of PCP with another nonce or port is not ours [rfc6887-11.4]") {
  MuteBench bench;
  const Bytes good = bench.gateway.answer(bench.requests.back()).front();
  for (const std::size_t at : {24U, 35U, 40U, 41U}) {
    Bytes other = good;
    other[at] ^= std::byte{1};
    bench.answer(other);
    CHECK_FALSE(bench.external());
  }
  Bytes refusal = good;
  refusal[3] = std::byte{2};
  refusal[24] ^= std::byte{1};
  bench.answer(refusal);
  CHECK_FALSE(bench.failure());
}

TEST_CASE("an answer that nobody waits for changes nothing") {
  Bench bench;
  bench.gateway.external = address("11.9.9.9:9");
  const Bytes late = bench.gateway.answer(bench.requests.back()).front();
  bench.answer(late);
  CHECK(bench.external() == kExternal);
  bench.enter(std::nullopt);
  bench.answer(late);
  CHECK_FALSE(bench.external());
}

TEST_CASE("NAT-PMP needs both of its answers, for our port") {
  MuteBench bench;
  bench.gateway = {.speaks_pcp = false};
  bench.run(seconds(4));  // It was asked by NAT-PMP.
  const Bytes mapped = bench.gateway.answer(bench.requests.back()).front();
  Bytes other_port = mapped;
  other_port[9] ^= std::byte{1};
  const Bytes external = bench.gateway.answer(wire::encode_nat_pmp_address()).front();
  bench.answer(external);
  bench.answer(other_port);
  CHECK_FALSE(bench.external());
  bench.answer(mapped);
  CHECK(bench.external() == kExternal);
}

TEST_CASE("a port of zero is no mapping") {
  Bench bench;
  bench.gateway.external.port = 0;
  bench.enter(kPlace);
  CHECK_FALSE(bench.external());
  CHECK(bench.failure() == MappingFailure::unsupported);
}

TEST_CASE("no place: the mapping is deleted in order, and nothing is asked") {
  Bench bench;
  bench.enter(std::nullopt);
  CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002", "PCP end"});
  CHECK_FALSE(bench.external());
  CHECK(bench.changes == 2);
  CHECK_FALSE(bench.mapper.next_deadline());
  CHECK_FALSE(bench.mapper.status().place);
}

TEST_CASE("what an answer under way may have made is deleted as well") {
  MuteBench bench;
  bench.enter(std::nullopt);
  CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002", "PCP end"});

  MuteBench later;
  later.run(seconds(4));
  later.enter(std::nullopt);
  CHECK(later.gateway.log == std::vector<std::string>{"PCP 41002", "address", "NAT-PMP 41002",
                                                      "PCP end", "NAT-PMP end"});
}

TEST_CASE("another network: the old mapping is forgotten, and a new one asked for at once") {
  Bench bench;
  bench.gateway.log.clear();
  bench.enter(kPlace);
  CHECK(bench.gateway.log == std::vector<std::string>{"PCP 41002"});
  CHECK(bench.external() == kExternal);
}

// --- UPnP-IGD

TEST_CASE("UPnP's mapping is used, and renewed at half of its life") {
  MuteBench bench;
  bench.run(seconds(4));
  REQUIRE(bench.upnp_wanted == 1);
  bench.feed(UpnpMapped{.external = kExternal, .lifetime = minutes(10)});
  CHECK(bench.method() == MappingMethod::upnp);
  bench.run(minutes(5) - milliseconds(1));
  CHECK(bench.upnp_wanted == 1);
  bench.run(milliseconds(1));
  CHECK(bench.upnp_wanted == 2);
  bench.feed(UpnpMapped{.external = kExternal, .lifetime = minutes(10)});
  bench.enter(std::nullopt);
  CHECK(bench.upnp_unwanted == 1);
  CHECK_FALSE(bench.external());
}

TEST_CASE("a renewal by UPnP that fails keeps the mapping to its end") {
  MuteBench bench;
  bench.run(seconds(4));
  bench.feed(UpnpMapped{.external = kExternal, .lifetime = minutes(10)});
  bench.run(minutes(5));
  bench.feed(UpnpFailed{MappingFailure::refused});
  CHECK(bench.external() == kExternal);
  bench.run(minutes(5));
  CHECK_FALSE(bench.external());
}

TEST_CASE("UPnP's mapping obeys the same rules") {
  struct Row {
    SocketAddress external;
    Duration lifetime;
    MappingFailure failure;
  };
  for (const Row& row :
       {Row{address("192.168.7.7:41002"), minutes(10), MappingFailure::not_public},
        Row{kExternal, seconds(29), MappingFailure::short_lived},
        Row{{.ip = kExternal.ip, .port = 0}, minutes(10), MappingFailure::unsupported}}) {
    MuteBench bench;
    bench.run(seconds(4));
    bench.feed(UpnpMapped{.external = row.external, .lifetime = row.lifetime});
    CHECK_FALSE(bench.external());
    CHECK(bench.failure() == row.failure);
    CHECK(bench.upnp_unwanted == 1);  // What it made is deleted.
  }
}

TEST_CASE("why UPnP fails is told rather than that the others are silent") {
  MuteBench bench;
  bench.run(minutes(1));
  CHECK(bench.failure() == MappingFailure::no_answer);
  bench.feed(UpnpFailed{MappingFailure::endless});
  CHECK(bench.failure() == MappingFailure::endless);
  bench.run(minutes(10));
  CHECK(bench.upnp_wanted == 2);
}

TEST_CASE("PCP takes the place of UPnP, and makes sure of it once that is deleted") {
  MuteBench bench;
  bench.run(seconds(4));
  bench.feed(UpnpMapped{.external = address("11.1.2.3:777"), .lifetime = minutes(10)});
  bench.is_gateway_mute = false;
  bench.run(seconds(6));
  CHECK(bench.method() == MappingMethod::pcp);
  CHECK(bench.external() == kExternal);
  CHECK(bench.upnp_unwanted == 1);
  const auto pcp_count = bench.gateway.log.size();
  bench.run(seconds(15));
  CHECK(bench.gateway.log.size() > pcp_count);
  bench.feed(UpnpMapped{.external = address("11.1.2.3:777"), .lifetime = minutes(10)});
  CHECK(bench.external() == kExternal);  // Too late.
}

}  // namespace
}  // namespace zt::path
