// SPDX-License-Identifier: Apache-2.0
#include "zt/connector/engine.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "fixture.h"
#include "zt/base/bytes.h"
#include "zt/base/engine.h"

namespace zt::connector {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using wire::ProxyError;

static_assert(zt::Engine<connector::Engine>);

// --- The good way.

TEST_CASE("a flow is resolved, dialled where it was vetted, accepted, and reported twice") {
  Fixture f;
  const grant::Grant grant = f.grant_of("db.internal");
  const FlowKey flow = f.request(grant, "db.internal:5432");
  const auto resolve = f.take<Resolve>();
  REQUIRE(resolve);
  CHECK(resolve->flow == flow);
  CHECK(resolve->name.text() == "db.internal");

  f.resolve(flow, {"10.0.0.5", "10.0.0.6", "fd00::5"});
  const auto dial = f.take<Dial>();
  REQUIRE(dial);
  const SocketAddress first = *SocketAddress::parse("10.0.0.5:5432");
  CHECK(dial->addresses == std::vector{first, *SocketAddress::parse("[fd00::5]:5432"),
                                       *SocketAddress::parse("10.0.0.6:5432")});
  CHECK(f.take_all().empty());

  f.handle(Dialed{flow, first});
  const auto accept = f.take<Accept>();
  REQUIRE(accept);
  const auto opened = f.take<Report>();
  REQUIRE(opened);
  CHECK(opened->report == FlowReport{.flow = accept->id,
                                     .event = FlowEvent::opened,
                                     .reporter = FlowReporter::connector,
                                     .time = f.now.unix_time,
                                     .decision = grant.decision,
                                     .grant = grant.id,
                                     .subject = grant.subject,
                                     .device = grant.device,
                                     .resource = f.resource,
                                     .network = f.self.network,
                                     .connector = f.self.connector,
                                     .client_address = SocketAddress::parse("192.0.2.1:4000"),
                                     .target = "db.internal:5432",
                                     .target_address = first,
                                     .protocol = Protocol::tcp,
                                     .bytes_up = 0,
                                     .bytes_down = 0,
                                     .duration = {},
                                     .reason = "",
                                     .path = "direct"});
  f.advance(seconds(3));
  f.handle(FlowEnded{flow, 10, 20, FlowEnd::finished});
  const auto closed = f.take<Report>();
  REQUIRE(closed);
  CHECK(closed->report.flow == accept->id);
  CHECK(closed->report.event == FlowEvent::closed);
  CHECK(closed->report.bytes_up == 10);
  CHECK(closed->report.bytes_down == 20);
  CHECK(closed->report.duration == seconds(3));
  CHECK(closed->report.reason == "finished");
  CHECK(f.take_all().empty());
  CHECK(f.engine.statistics().flows_open == 0);
}

TEST_CASE("an address as target is dialled without resolution") {
  Fixture f;
  f.handle(ConfigurationReceived{f.snapshot({f.resource_of("10.1.0.0/16")})});
  f.request(f.grant_of("10.1.2.3"), "10.1.2.3:5432");
  const auto dial = f.take<Dial>();
  REQUIRE(dial);
  CHECK(dial->addresses == std::vector{*SocketAddress::parse("10.1.2.3:5432")});
}

TEST_CASE("UDP is judged as UDP") {
  Fixture f;
  f.request(f.grant_of("db.internal"), "db.internal:53", Protocol::udp);
  CHECK(f.take<Resolve>());
  f.request(f.grant_of("db.internal"), "db.internal:53", Protocol::tcp);
  CHECK(f.take<Refuse>()->details == "denied: resource \"Database\" does not offer tcp port 53");
}

TEST_CASE("an alias goes to the one address of its resource") {
  Fixture f;
  auto entry = f.resource_of("10.1.2.3");
  entry.aliases = {"db.alias"};
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  f.request(f.grant_of("db.alias"), "db.alias:5432");
  CHECK(f.take<Dial>()->addresses == std::vector{*SocketAddress::parse("10.1.2.3:5432")});

  entry.address = "db.internal";
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  f.request(f.grant_of("db.alias"), "db.alias:5432");
  CHECK(f.take<Resolve>()->name.text() == "db.internal");

  entry.address = "*.internal";
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  f.request(f.grant_of("db.alias"), "db.alias:5432");
  CHECK(f.take<Resolve>()->name.text() == "db.alias");
}

// --- Refusals of the grant.

struct GrantRow {
  const char* what;
  std::function<void(Fixture&, grant::Grant&)> spoil;
  std::string details;  // Empty: any.
};

TEST_CASE("a grant that is not for this flow, here, now, is refused with the reason") {
  const GrantRow rows[] = {
      {"another tenant",
       [](Fixture&, grant::Grant& grant) { grant.tenant = id_of<TenantIdTag>(2); },
       std::string(to_text(grant::GrantError::wrong_tenant))},
      {"another network",
       [](Fixture&, grant::Grant& grant) { grant.network = id_of<NetworkIdTag>(2); },
       std::string(to_text(grant::GrantError::wrong_audience))},
      {"another client key",
       [](Fixture&, grant::Grant& grant) { grant.client_certificate = certificate_of(9); },
       std::string(to_text(grant::GrantError::wrong_client_key))},
      {"not yet valid",
       [](Fixture& f, grant::Grant& grant) {
         grant.not_before = f.now.unix_time + seconds(31);
         grant.expires_at = f.now.unix_time + minutes(2);
       },
       std::string(to_text(grant::GrantError::not_yet_valid))},
      {"expired",
       [](Fixture& f, grant::Grant& grant) {
         grant.issued_at = grant.not_before = f.now.unix_time - minutes(2);
         grant.expires_at = f.now.unix_time;
       },
       std::string(to_text(grant::GrantError::expired))},
      {"another host",
       [](Fixture&, grant::Grant& grant) {
         grant.permissions[0].hosts = {host_of("other.internal")};
       },
       "the grant does not cover db.internal:5432 on tcp"},
      {"another port",
       [](Fixture&, grant::Grant& grant) { grant.permissions[0].ports = {{5433, 5433}}; },
       "the grant does not cover db.internal:5432 on tcp"},
      {"another protocol",
       [](Fixture&, grant::Grant& grant) { grant.permissions[0].protocols = {Protocol::udp}; },
       "the grant does not cover db.internal:5432 on tcp"},
      {"a resource that this connector does not have",
       [](Fixture&, grant::Grant& grant) { grant.resource = id_of<ResourceIdTag>(2); }, ""},
  };
  for (const GrantRow& row : rows) {
    INFO(row.what);
    Fixture f;
    grant::Grant grant = f.grant_of("db.internal");
    row.spoil(f, grant);
    const FlowKey flow = f.request(grant, "db.internal:5432");
    const auto refuse = f.take<Refuse>();
    REQUIRE(refuse);
    CHECK(refuse->flow == flow);
    CHECK(refuse->status == 403);
    CHECK(refuse->error == ProxyError::http_request_denied);
    if (!row.details.empty()) CHECK(refuse->details == row.details);
    const auto report = f.take<Report>();
    REQUIRE(report);
    CHECK(report->report.event == FlowEvent::denied);
    CHECK(report->report.flow == refuse->id);
    CHECK(report->report.reason == refuse->details);
    CHECK(f.take_all().empty());
    CHECK(f.engine.statistics().flows_pending == 0);
  }
}

std::string with_header(std::string_view token, std::string_view header) {
  const std::string_view rest = token.substr(token.find('.'));
  return to_base64url(as_bytes(header)) + std::string(rest);
}

TEST_CASE("a token that was not signed by the tenant is refused with the reason") {
  Fixture f;
  const grant::Grant grant = f.grant_of("db.internal");
  const std::string good(f.signed_grant(grant).reveal());
  const auto stranger = crypto::SigningKey::create();
  std::string forged = good;
  forged.back() = forged.back() == 'A' ? 'Q' : 'A';
  const std::string kid = grant::thumbprint(f.key.public_key()).to_text();
  struct Row {
    const char* what;
    std::string token;
  };
  const Row rows[] = {
      {"no token", ""},
      {"no JWS", "abc"},
      {"a changed signature", forged},
      {"no signature", good.substr(0, good.rfind('.') + 1)},
      {"alg none",
       with_header(good, R"({"alg":"none","kid":")" + kid + R"(","typ":"zt-grant+jwt"})")},
      {"alg HS256",
       with_header(good, R"({"alg":"HS256","kid":")" + kid + R"(","typ":"zt-grant+jwt"})")},
      {"another typ",
       with_header(good, R"({"alg":"EdDSA","kid":")" + kid + R"(","typ":"zt-relay+jwt"})")},
      {"another key", std::string(grant::issue(grant, stranger)->reveal())},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    f.connect(static_cast<unsigned>(++f.last_flow) + 100);
    const unsigned peer = static_cast<unsigned>(f.last_flow) + 100;
    f.request(Secret(row.token), "db.internal:5432", Protocol::tcp, peer);
    const auto refuse = f.take<Refuse>();
    REQUIRE(refuse);
    CHECK(refuse->status == 403);
    CHECK_FALSE(refuse->details.empty());
    CHECK_FALSE(f.take<Dial>());
    CHECK_FALSE(f.take<Resolve>());
  }
}

TEST_CASE("a stolen grant is useless on another connection") {
  Fixture f;
  f.connect(2);
  f.request(f.grant_of("db.internal"), "db.internal:5432", Protocol::tcp, 2);
  CHECK(f.take<Refuse>()->details == to_text(grant::GrantError::wrong_client_key));
}

TEST_CASE("a grant that was shown before is judged anew for time, keys and revocation") {
  Fixture f;
  const grant::Grant grant = f.grant_of("db.internal");
  const auto refusal = [&] {
    f.take_all();
    f.request(grant, "db.internal:5432");
    const auto refuse = f.take<Refuse>();
    return refuse ? refuse->details : std::string();
  };
  CHECK(refusal().empty());
  CHECK(refusal().empty());

  SECTION("its end has come") {
    f.now.unix_time = grant.expires_at - seconds(1);
    CHECK(refusal().empty());
    f.now.unix_time = grant.expires_at;
    CHECK(refusal() == to_text(grant::GrantError::expired));
    f.now.unix_time = grant.expires_at - seconds(1);
    CHECK(refusal().empty());
  }
  SECTION("its key is withdrawn, though another one has come") {
    grant::KeySet keys;
    REQUIRE(keys.add(crypto::SigningKey::create().public_key()));
    f.handle(KeysReceived{keys});
    CHECK(refusal() == to_text(grant::GrantError::unknown_key));
  }
  SECTION("it is revoked") {
    f.handle(GrantsRevoked{{grant.id}, ""});
    CHECK(refusal() == to_text(CutReason::grant_revoked));
  }
  SECTION("another client shows it") {
    f.connect(2);
    f.take_all();
    f.request(grant, "db.internal:5432", Protocol::tcp, 2);
    CHECK(f.take<Refuse>()->details == to_text(grant::GrantError::wrong_client_key));
  }
  SECTION("a byte of it differs") {
    std::string forged(f.signed_grant(grant).reveal());
    forged.back() = forged.back() == 'A' ? 'B' : 'A';
    f.take_all();
    f.request(Secret(forged), "db.internal:5432");
    CHECK(f.take<Refuse>());
  }
  SECTION("more grants than are known have come since") {
    for (std::uint64_t number = 2; number < 20; ++number) {
      f.request(f.grant_of("db.internal", number), "db.internal:5432");
    }
    CHECK(refusal().empty());
  }
}

TEST_CASE("a target that is none is refused before anything else is looked at") {
  Fixture f;
  for (const auto* target :
       {"", "db.internal", "db.internal:0", "db.internal:70000", ":5432", "user@db.internal:5432",
        "db.internal:5432\r\nx: y", "127.1:5432", "0x7f000001:5432", "[fe80::1%eth0]:5432"}) {
    INFO(target);
    f.request(f.grant_of("db.internal"), target);
    const auto refuse = f.take<Refuse>();
    REQUIRE(refuse);
    CHECK(refuse->status == 400);
    CHECK(refuse->error == ProxyError::http_request_error);
    CHECK(f.take<Report>()->report.target.empty());
    f.handle(PeerGone{PeerKey(1)});  // A fresh peer, so that none is closed for its refusals.
    f.connect(1);
  }
}

// --- The own configuration.

TEST_CASE("nothing is carried before keys and configuration have come") {
  Fixture f;
  SECTION("no configuration") {
    Engine fresh({}, f.self, f.random);
    grant::KeySet keys;
    REQUIRE(keys.add(f.key.public_key()));
    fresh.handle(KeysReceived{keys}, f.now);
    fresh.handle(PeerConnected{PeerKey(1), certificate_of(1)}, f.now);
    fresh.handle(FlowRequested{.flow = FlowKey(1),
                               .peer = PeerKey(1),
                               .target = "db.internal:5432",
                               .protocol = Protocol::tcp,
                               .token = f.signed_grant(f.grant_of("db.internal")),
                               .client_address = {},
                               .path = {}},
                 f.now);
    const auto refuse = std::get<Refuse>(*fresh.poll_output());
    CHECK(refuse.status == 503);
    CHECK(refuse.details == "the connector has no configuration yet");
  }
  SECTION("no keys") {
    f.handle(KeysReceived{});
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    const auto refuse = f.take<Refuse>();
    CHECK(refuse->status == 503);
    CHECK(refuse->details == "the connector has no keys of its tenant yet");
  }
}

TEST_CASE("a grant opens no door that the connector's own configuration lacks") {
  Fixture f;
  SECTION("an empty configuration") {
    f.handle(ConfigurationReceived{f.snapshot({})});
  }
  SECTION("a disabled resource") {
    auto entry = f.resource_of("db.internal");
    entry.is_enabled = false;
    f.handle(ConfigurationReceived{f.snapshot({entry})});
  }
  SECTION("the resource has another address") {
    f.handle(ConfigurationReceived{f.snapshot({f.resource_of("db2.internal")})});
  }
  SECTION("the resource has other ports") {
    auto entry = f.resource_of("db.internal");
    entry.tcp = {{5433, 5433}};
    f.handle(ConfigurationReceived{f.snapshot({entry})});
  }
  SECTION("the target belongs to a narrower resource") {
    auto wide = f.resource_of("*.internal");
    auto narrow = f.resource_of("db.internal");
    narrow.id = id_of<ResourceIdTag>(2);
    f.handle(ConfigurationReceived{f.snapshot({wide, narrow})});
  }
  SECTION("the resource's address is in a form that is not understood") {
    f.handle(ConfigurationReceived{f.snapshot({f.resource_of("~magic~")})});
  }
  f.request(f.grant_of("db.internal"), "db.internal:5432");
  const auto refuse = f.take<Refuse>();
  REQUIRE(refuse);
  CHECK(refuse->status == 403);
  CHECK(refuse->error == ProxyError::http_request_denied);
  CHECK(refuse->details.starts_with("denied: "));
}

TEST_CASE("a delta for another revision asks for a snapshot and changes nothing") {
  Fixture f;
  grant::NodeConfig delta = f.snapshot({});
  delta.kind = grant::NodeConfig::Kind::delta;
  delta.base = 77;
  delta.revision = 78;
  delta.remove = {f.resource};
  f.handle(ConfigurationReceived{delta});
  CHECK(f.take<SnapshotNeeded>()->held_revision == 1);
  f.request(f.grant_of("db.internal"), "db.internal:5432");
  CHECK(f.take<Resolve>());
}

TEST_CASE("a delta that fits is applied") {
  Fixture f;
  grant::NodeConfig delta = f.snapshot({});
  delta.kind = grant::NodeConfig::Kind::delta;
  delta.base = 1;
  delta.remove = {f.resource};
  f.handle(ConfigurationReceived{delta});
  CHECK_FALSE(f.take<SnapshotNeeded>());
  CHECK(f.engine.configuration_revision() == 2);
  f.request(f.grant_of("db.internal"), "db.internal:5432");
  CHECK(f.take<Refuse>());
}

// --- Addresses.

TEST_CASE("a name that resolves to a prohibited address is not dialled") {
  Fixture f;
  f.handle(OwnAddressesChanged{{*IpAddress::parse("10.0.0.9")}});
  for (const auto* address :
       {"127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1", "0.0.0.0", "10.0.0.9", "::ffff:10.0.0.9",
        "224.0.0.1", "255.255.255.255"}) {
    INFO(address);
    const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
    f.resolve(flow, {address});
    CHECK_FALSE(f.take<Dial>());
    const auto refuse = f.take<Refuse>();
    REQUIRE(refuse);
    CHECK(refuse->status == 403);
    CHECK(refuse->error == ProxyError::destination_ip_prohibited);
    CHECK(f.take<Report>()->report.event == FlowEvent::denied);
  }
}

TEST_CASE("a prohibited address says what it is") {
  Fixture f;
  const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.resolve(flow, {"127.0.0.1"});
  CHECK(f.take<Refuse>()->details ==
        "what db.internal resolves to is a loopback address; it is dialled only for a resource "
        "that names it literally");
}

TEST_CASE("of several addresses the prohibited ones are left out") {
  Fixture f;
  const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.resolve(flow, {"127.0.0.1", "10.0.0.5", "::1"});
  CHECK(f.take<Dial>()->addresses == std::vector{*SocketAddress::parse("10.0.0.5:5432")});
}

TEST_CASE("a prefix does not unlock what it contains; naming the very address does") {
  Fixture f;
  const auto ask = [&](std::string_view address, std::string_view target) {
    f.handle(ConfigurationReceived{f.snapshot({f.resource_of(address)})});
    f.request(f.grant_of(target), Authority{host_of(target), 5432}.to_text());
    return f.take<Dial>().has_value();
  };
  CHECK_FALSE(ask("127.0.0.0/8", "127.0.0.1"));
  CHECK_FALSE(ask("0.0.0.0/0", "169.254.169.254"));
  CHECK_FALSE(ask("::/0", "::1"));
  CHECK_FALSE(ask("127.0.0.0/31", "127.0.0.1"));
  CHECK(ask("127.0.0.1", "127.0.0.1"));
  CHECK(ask("127.0.0.1/32", "127.0.0.1"));
  CHECK(ask("::1/128", "::1"));
  CHECK_FALSE(ask("127.0.0.1", "::ffff:127.0.0.1"));
}

TEST_CASE("a name does not become an address that its resource names by an alias") {
  Fixture f;
  auto entry = f.resource_of("db.internal");
  entry.aliases = {"127.0.0.1"};
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.resolve(flow, {"127.0.0.1"});
  CHECK(f.take<Refuse>());
}

// --- Resolution and dialling fail.

TEST_CASE("what resolution and dialling say reaches the client") {
  Fixture f;
  const FlowKey first = f.request(f.grant_of("db.internal"), "db.internal:5432");
  SECTION("no such name") {
    f.handle(Resolved{first, std::unexpected(ResolveError::no_such_name)});
    const auto refuse = f.take<Refuse>();
    CHECK(refuse->status == 502);
    CHECK(refuse->error == ProxyError::dns_error);
    CHECK(refuse->details == "db.internal has no address in the private network");
  }
  SECTION("an empty answer") {
    f.handle(Resolved{first, std::vector<IpAddress>{}});
    CHECK(f.take<Refuse>()->error == ProxyError::dns_error);
  }
  SECTION("no resolver") {
    f.handle(Resolved{first, std::unexpected(ResolveError::failed)});
    CHECK(f.take<Refuse>()->details == "db.internal could not be resolved by the connector");
  }
  SECTION("the service refuses") {
    f.resolve(first, {"10.0.0.5"});
    f.handle(Dialed{first, std::unexpected(DialError::refused)});
    const auto refuse = f.take<Refuse>();
    CHECK(refuse->status == 502);
    CHECK(refuse->error == ProxyError::connection_refused);
    CHECK(refuse->details == "db.internal:5432 refused the connection");
  }
  SECTION("the service does not answer") {
    f.resolve(first, {"10.0.0.5"});
    f.handle(Dialed{first, std::unexpected(DialError::timed_out)});
    const auto refuse = f.take<Refuse>();
    CHECK(refuse->status == 504);
    CHECK(refuse->error == ProxyError::connection_timeout);
  }
  CHECK(f.take<Report>()->report.event == FlowEvent::failed);
  CHECK(f.engine.statistics().flows_pending == 0);
}

TEST_CASE("resolution and dialling have deadlines") {
  Fixture f;
  const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.take_all();
  SECTION("resolution") {
    f.advance(seconds(5) - Duration(1));
    CHECK(f.take_all().empty());
    f.advance(Duration(1));
    CHECK(f.take<Refuse>()->error == ProxyError::dns_timeout);
    f.resolve(flow, {"10.0.0.5"});  // Too late: the key is dead.
    CHECK_FALSE(f.take<Dial>());
  }
  SECTION("dialling") {
    f.resolve(flow, {"10.0.0.5"});
    f.take_all();
    f.advance(seconds(10) - Duration(1));
    CHECK(f.take_all().empty());
    f.advance(Duration(1));
    CHECK(f.take<Refuse>()->error == ProxyError::connection_timeout);
    f.handle(Dialed{flow, *SocketAddress::parse("10.0.0.5:5432")});
    CHECK_FALSE(f.take<Accept>());
  }
}

TEST_CASE("a client that gives up before its flow is open leaves nothing") {
  Fixture f;
  const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.take_all();
  f.handle(FlowEnded{flow, 0, 0, FlowEnd::client_reset});
  CHECK(f.take<Report>()->report.reason == "abandoned by the client");
  f.resolve(flow, {"10.0.0.5"});
  CHECK(f.take_all().empty());
  CHECK(f.engine.statistics().flows_pending == 0);
}

// --- A flow lives as long as its right.

// present shows the engine a grant as peer 1, and returns how many flows it has extended.
std::size_t present(Fixture& f, const grant::Grant& grant) {
  f.handle(GrantPresented{RenewalKey(1), PeerKey(1), f.signed_grant(grant)});
  const auto answer = f.take<GrantAnswered>();
  REQUIRE(answer);
  return answer->flows_extended;
}

// change_right makes of a grant one for another right than that of Fixture::open, in each way that
// there is: one a run of the test.
void change_right(grant::Grant& grant) {
  SECTION("another subject") {
    grant.subject = {id_of<ServiceAccountIdTag>(2).text};
  }
  SECTION("another device") {
    grant.device = id_of<DeviceIdTag>(2);
  }
  SECTION("another resource") {
    grant.resource = id_of<ResourceIdTag>(2);
  }
  SECTION("another host") {
    grant.permissions[0].hosts = {host_of("db2.internal")};
  }
  SECTION("other ports") {
    grant.permissions[0].ports = {{8000, 8100}};
  }
  SECTION("UDP only") {
    grant.permissions[0].protocols = {Protocol::udp};
  }
}

TEST_CASE("a flow is held when its grant ends, by the monotonic clock, and nothing else happens") {
  Fixture f;
  const FlowKey flow = f.open();
  f.now.unix_time -= minutes(60);  // Somebody sets the clock back.
  f.advance(minutes(5) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  const auto hold = f.take<Hold>();
  REQUIRE(hold);
  CHECK(hold->flow == flow);
  CHECK(f.take_all().empty());
  CHECK(f.engine.statistics().flows_held == 1);
  CHECK(f.engine.statistics().flows_open == 0);
  f.advance(minutes(60));
  CHECK(f.take_all().empty());
}

TEST_CASE("a flow is held when the wall clock jumps over its grant's end, within ten seconds") {
  Fixture f;
  f.open();
  f.now.unix_time += minutes(5) - milliseconds(1);
  f.engine.handle_timeout(f.now);
  CHECK_FALSE(f.take<Hold>());
  f.now.unix_time += milliseconds(1);
  CHECK(*f.engine.next_deadline() <= f.now.instant + seconds(10));
  f.engine.handle_timeout(f.now);
  CHECK(f.take<Hold>());
}

TEST_CASE("a held flow is cut when hold_timeout is over since its grant ended, not before") {
  Fixture f({.hold_timeout = minutes(10)});
  const FlowKey flow = f.open();
  f.advance(minutes(5));
  CHECK(f.take<Hold>());
  CHECK(f.engine.next_deadline() == f.now.instant + minutes(10));
  f.advance(minutes(10) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == flow);
  CHECK(cut->reason == CutReason::grant_expired);
  f.handle(FlowEnded{flow, 1, 2, FlowEnd::cut});
  const auto closed = f.take<Report>();
  REQUIRE(closed);
  CHECK(closed->report.reason == "the grant has expired, and no other came in time");
  CHECK(closed->report.duration == minutes(15));
  CHECK(f.engine.statistics() == Engine::Statistics{.peers = 1, .flows_opened = 1});
}

TEST_CASE("a late timer holds no longer: the time counts from the end of the grant") {
  Fixture f({.hold_timeout = minutes(10)});
  f.open();
  f.advance(minutes(15) - Duration(1));  // The connector's machine slept.
  CHECK(f.take<Hold>());
  CHECK_FALSE(f.take<Cut>());
  f.advance(Duration(1));
  CHECK(f.take<Cut>()->reason == CutReason::grant_expired);
}

TEST_CASE("what is not to be held is cut when its grant ends") {
  SECTION("by the operator's will") {
    Fixture f({.hold_timeout = Duration::zero()});
    const FlowKey flow = f.open();
    f.advance(minutes(5) - Duration(1));
    CHECK(f.take_all().empty());
    f.advance(Duration(1));
    CHECK(f.take<Cut>()->reason == CutReason::grant_expired);
    CHECK_FALSE(f.take<Hold>());
    f.handle(FlowEnded{flow, 1, 2, FlowEnd::cut});
    CHECK(f.take<Report>()->report.reason == "the grant has expired");
  }
  SECTION("UDP") {
    Fixture f;
    const FlowKey flow = f.request(f.grant_of("db.internal"), "db.internal:53", Protocol::udp);
    f.resolve(flow, {"10.0.0.5"});
    f.handle(Dialed{flow, SocketAddress{*IpAddress::parse("10.0.0.5"), 53}});
    f.take_all();
    f.advance(minutes(5));
    CHECK(f.take<Cut>()->reason == CutReason::grant_expired);
    CHECK_FALSE(f.take<Hold>());
  }
}

TEST_CASE("a held flow goes on by a later grant of the same right, and lives by it") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(minutes(60));
  REQUIRE(f.take<Hold>());
  SECTION("that is presented") {
    CHECK(present(f, f.grant_of("db.internal", 2)) == 1);
  }
  SECTION("that comes with another flow") {
    f.request(f.grant_of("db.internal", 2), "db.internal:8000");
  }
  const auto release = f.take<Release>();
  REQUIRE(release);
  CHECK(release->flow == flow);
  CHECK_FALSE(f.take<Release>());
  CHECK(f.engine.statistics().flows_held == 0);
  CHECK(f.engine.statistics().flows_open == 1);
  f.take_all();
  f.advance(minutes(5) - Duration(1));
  CHECK_FALSE(f.take<Hold>());
  f.advance(Duration(1));
  CHECK(f.take<Hold>()->flow == flow);
}

TEST_CASE("no other grant lets a held flow go on") {
  Fixture f;
  f.open();
  f.advance(minutes(6));
  REQUIRE(f.take<Hold>());
  auto grant = f.grant_of("db.internal", 2);
  change_right(grant);
  CHECK(present(f, grant) == 0);
  CHECK_FALSE(f.take<Release>());
  CHECK(f.engine.statistics().flows_held == 1);
}

TEST_CASE("what is no grant here and now lets no held flow go on") {
  Fixture f;
  f.open();
  f.advance(minutes(6));
  REQUIRE(f.take<Hold>());
  auto grant = f.grant_of("db.internal", 2);
  unsigned peer = 1;
  SECTION("another's certificate") {
    grant.client_certificate = certificate_of(2);
  }
  SECTION("another's connection") {
    grant.client_certificate = certificate_of(2);
    peer = 2;
    f.connect(2);
  }
  SECTION("expired") {
    grant.issued_at -= minutes(5);
    grant.not_before -= minutes(5);
    grant.expires_at = f.now.unix_time;
  }
  SECTION("revoked") {
    f.handle(GrantsRevoked{{grant.id}, ""});
  }
  f.handle(GrantPresented{RenewalKey(1), PeerKey(peer), f.signed_grant(grant)});
  CHECK_FALSE(f.take<Release>());
  CHECK(f.engine.statistics().flows_held == 1);
}

TEST_CASE("a clock that is set back lets no held flow go on, by itself or by the same grant") {
  Fixture f;
  const grant::Grant grant = f.grant_of("db.internal");
  f.open(grant);
  f.advance(minutes(5));
  REQUIRE(f.take<Hold>());
  f.now.unix_time -= minutes(5);
  f.advance(seconds(1));
  CHECK(f.take_all().empty());
  CHECK(present(f, grant) == 0);
  CHECK_FALSE(f.take<Release>());
}

TEST_CASE("a held flow is judged like any other, and cut at once") {
  Fixture f;
  const grant::Grant grant = f.grant_of("db.internal");
  f.open(grant);
  f.advance(minutes(6));
  REQUIRE(f.take<Hold>());
  CutReason expected{};
  SECTION("its grant is revoked") {
    f.handle(GrantsRevoked{{grant.id}, ""});
    expected = CutReason::grant_revoked;
  }
  SECTION("the resource is gone") {
    f.handle(ConfigurationReceived{f.snapshot({})});
    expected = CutReason::configuration_changed;
  }
  SECTION("the key is withdrawn") {
    f.handle(KeysReceived{});
    expected = CutReason::key_withdrawn;
  }
  SECTION("the address becomes our own") {
    f.handle(OwnAddressesChanged{{*IpAddress::parse("10.0.0.5")}});
    expected = CutReason::address_prohibited;
  }
  SECTION("the path is forbidden") {
    grant::ResourceEntry entry = f.resource_of("db.internal");
    entry.path.paths = Paths::always_relay;
    f.handle(ConfigurationReceived{f.snapshot({entry})});
    expected = CutReason::path_forbidden;
  }
  SECTION("the client is gone") {
    f.handle(PeerGone{PeerKey(1)});
    expected = CutReason::peer_gone;
  }
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->reason == expected);
  CHECK(f.engine.statistics().flows_held == 0);
  CHECK(f.engine.statistics().flows_cut == 1);
  f.handle(FlowEnded{cut->flow, 0, 0, FlowEnd::cut});
  CHECK(f.take<Report>());
  CHECK(f.engine.statistics().flows_cut == 0);
  f.advance(minutes(75));
  CHECK_FALSE(f.take<Cut>());
}

TEST_CASE("a held flow whose resource ends it is over, and reported as any other") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(minutes(6));
  REQUIRE(f.take<Hold>());
  f.handle(FlowEnded{flow, 3, 4, FlowEnd::resource_reset});
  const auto closed = f.take<Report>();
  REQUIRE(closed);
  CHECK(closed->report.reason == "abandoned by the resource");
  CHECK(closed->report.bytes_down == 4);
  CHECK(closed->report.duration == minutes(6));
  CHECK(f.engine.statistics().flows_held == 0);
  CHECK(present(f, f.grant_of("db.internal", 2)) == 0);
  CHECK_FALSE(f.take<Release>());
}

TEST_CASE("of more held flows than held_max the one that is held longest is cut") {
  Fixture f({.held_max = 2});
  std::vector<FlowKey> flows;
  for (std::uint64_t number = 1; number <= 3; ++number) {
    auto grant = f.grant_of("db.internal", number);
    grant.subject = {id_of<ServiceAccountIdTag>(number).text};  // None extends another.
    flows.push_back(f.open(grant));
    f.advance(seconds(10));
  }
  f.advance(minutes(5) - seconds(20));
  CHECK(f.take<Hold>()->flow == flows[0]);
  CHECK(f.take<Hold>()->flow == flows[1]);
  CHECK(f.take_all().empty());
  f.advance(seconds(10));
  CHECK(f.take<Hold>()->flow == flows[2]);
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == flows[0]);
  CHECK(cut->reason == CutReason::grant_expired);
  CHECK(f.engine.statistics().flows_held == 2);
  f.handle(FlowEnded{flows[0], 0, 0, FlowEnd::cut});
  CHECK(f.take<Report>()->report.reason ==
        "the grant has expired, and too many flows wait for another one");
}

TEST_CASE("a flow that is not open yet is refused when its grant dies") {
  Fixture f;
  auto grant = f.grant_of("db.internal");
  grant.expires_at = f.now.unix_time + seconds(2);
  f.request(grant, "db.internal:5432");
  f.take_all();
  f.advance(seconds(2) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  const auto refuse = f.take<Refuse>();
  CHECK(refuse->status == 403);
  CHECK(refuse->details == "the grant has expired");
}

TEST_CASE("revocation cuts the live flow at once and refuses the grant from then on") {
  Fixture f;
  const FlowKey flow = f.open(f.grant_of("db.internal", 1));
  const FlowKey other = f.open(f.grant_of("db.internal", 2));
  const FlowKey pending = f.request(f.grant_of("db.internal", 1), "db.internal:5432");
  f.take_all();
  f.handle(GrantsRevoked{{id_of<GrantIdTag>(1)}, "access was removed"});
  const auto cut = f.take<Cut>();
  CHECK(cut->flow == flow);
  CHECK(cut->reason == CutReason::grant_revoked);
  const auto refuse = f.take<Refuse>();
  CHECK(refuse->flow == pending);
  CHECK(refuse->details == "the grant was revoked: access was removed");
  CHECK_FALSE(f.take<Cut>());
  f.handle(FlowEnded{flow, 0, 0, FlowEnd::cut});
  f.take<Report>();
  CHECK(f.take<Report>()->report.reason == "the grant was revoked: access was removed");

  f.request(f.grant_of("db.internal", 1), "db.internal:5432");
  CHECK(f.take<Refuse>()->details == "the grant was revoked");
  f.request(f.grant_of("db.internal", 2), "db.internal:5432");
  CHECK(f.take<Resolve>());
  f.handle(FlowEnded{other, 0, 0, FlowEnd::finished});
}

TEST_CASE("a revocation is kept for as long as a revoked grant could live, then forgotten") {
  Fixture f;
  f.handle(GrantsRevoked{{id_of<GrantIdTag>(1)}, ""});
  f.advance(grant::Grant::kLifetimeMax);
  CHECK(f.engine.statistics().grants_revoked == 1);
  f.advance(minutes(1));
  CHECK(f.engine.statistics().grants_revoked == 0);
}

TEST_CASE("more revocations than fit refuse every grant issued until then") {
  Fixture f({.revoked_max = 2});
  for (std::uint64_t i = 1; i <= 3; ++i) f.handle(GrantsRevoked{{id_of<GrantIdTag>(i)}, ""});
  CHECK(f.engine.statistics().grants_revoked == 1);
  f.request(f.grant_of("db.internal", 1), "db.internal:5432");  // Not on the list any more.
  CHECK(f.take<Refuse>()->details == "the grant was revoked");
  f.advance(grant::GrantExpectations::kLeewayMax + seconds(1));
  f.handle(PeerGone{PeerKey(1)});
  f.connect(1);
  f.request(f.grant_of("db.internal", 9), "db.internal:5432");
  CHECK(f.take<Resolve>());
}

TEST_CASE("a configuration that loses the resource cuts its flows") {
  Fixture f;
  const FlowKey flow = f.open();
  SECTION("the same configuration again changes nothing") {
    f.handle(ConfigurationReceived{f.snapshot({f.resource_of("db.internal")})});
    CHECK(f.take_all().empty());
    return;
  }
  SECTION("it is gone") {
    f.handle(ConfigurationReceived{f.snapshot({})});
  }
  SECTION("its port is gone") {
    auto entry = f.resource_of("db.internal");
    entry.tcp = {};
    f.handle(ConfigurationReceived{f.snapshot({entry})});
  }
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == flow);
  CHECK(cut->reason == CutReason::configuration_changed);
}

TEST_CASE("a flow to an alias is cut when the alias goes elsewhere") {
  Fixture f;
  auto entry = f.resource_of("10.1.2.3");
  entry.aliases = {"db.alias"};
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  const FlowKey flow = f.request(f.grant_of("db.alias"), "db.alias:5432");
  f.handle(Dialed{flow, *SocketAddress::parse("10.1.2.3:5432")});
  f.take_all();
  entry.address = "10.1.2.4";
  f.handle(ConfigurationReceived{f.snapshot({entry})});
  CHECK(f.take<Cut>()->reason == CutReason::configuration_changed);
}

TEST_CASE("an address that becomes the connector's own is cut") {
  Fixture f;
  f.open("10.0.0.5");
  f.handle(OwnAddressesChanged{{*IpAddress::parse("10.0.0.6")}});
  CHECK(f.take_all().empty());
  f.handle(OwnAddressesChanged{{*IpAddress::parse("10.0.0.5")}});
  CHECK(f.take<Cut>()->reason == CutReason::address_prohibited);
}

TEST_CASE("a key that is withdrawn cuts the flows that it signed for") {
  Fixture f;
  f.open();
  grant::KeySet keys;
  REQUIRE(keys.add(crypto::SigningKey::create().public_key()));
  REQUIRE(keys.add(f.key.public_key()));
  f.handle(KeysReceived{keys});
  CHECK(f.take_all().empty());
  keys.remove(grant::thumbprint(f.key.public_key()));
  f.handle(KeysReceived{keys});
  CHECK(f.take<Cut>()->reason == CutReason::key_withdrawn);
}

TEST_CASE("a client that is gone takes its flows along") {
  Fixture f;
  const FlowKey open = f.open();
  const FlowKey pending = f.request(f.grant_of("db.internal"), "db.internal:5432");
  f.take_all();
  f.handle(PeerGone{PeerKey(1)});
  CHECK(f.take<Cut>()->flow == open);
  CHECK(f.take<Refuse>()->flow == pending);
  f.handle(FlowEnded{open, 5, 6, FlowEnd::cut});
  f.take<Report>();
  const auto report = f.take<Report>();
  CHECK(report->report.event == FlowEvent::closed);
  CHECK(report->report.bytes_up == 5);
  CHECK(f.engine.statistics() == Engine::Statistics{.flows_opened = 1, .flows_refused = 1});
}

// --- Renewal.

TEST_CASE("a later grant extends the flows that it covers") {
  Fixture f;
  f.open();
  f.advance(minutes(3));
  auto renewed = f.grant_of("db.internal", 2);
  f.handle(GrantPresented{RenewalKey(7), PeerKey(1), f.signed_grant(renewed)});
  const auto answer = f.take<GrantAnswered>();
  REQUIRE(answer);
  CHECK(answer->renewal == RenewalKey(7));
  CHECK(answer->flows_extended == 1);
  CHECK_FALSE(answer->refusal);
  f.advance(minutes(5) - Duration(1));
  CHECK_FALSE(f.take<Hold>());
  f.advance(Duration(1));
  CHECK(f.take<Hold>());
}

TEST_CASE("a flow that comes with a later grant extends the others") {
  Fixture f;
  f.open();
  f.advance(minutes(3));
  f.request(f.grant_of("db.internal", 2), "db.internal:8000");
  f.advance(minutes(3));
  CHECK_FALSE(f.take<Hold>());
}

TEST_CASE("a grant for another right extends nothing") {
  Fixture f;
  f.open();
  auto grant = f.grant_of("db.internal", 2);
  grant.expires_at += minutes(5);
  change_right(grant);
  SECTION("a shorter life") {
    grant.expires_at = f.now.unix_time + minutes(1);
  }
  CHECK(present(f, grant) == 0);
  f.advance(minutes(5) - Duration(1));
  CHECK_FALSE(f.take<Hold>());
  f.advance(Duration(1));
  CHECK(f.take<Hold>());
}

TEST_CASE("another peer's flows are not extended, and a bad renewal is answered as a bad grant") {
  Fixture f;
  f.open();
  f.connect(2);
  f.handle(GrantPresented{RenewalKey(1), PeerKey(2), f.signed_grant(f.grant_of("db.internal", 2))});
  CHECK(f.take<GrantAnswered>()->refusal ==
        GrantRefusal{403, ProxyError::http_request_denied,
                     std::string(to_text(grant::GrantError::wrong_client_key))});
  f.handle(GrantsRevoked{{id_of<GrantIdTag>(3)}, ""});
  f.handle(GrantPresented{RenewalKey(2), PeerKey(1), f.signed_grant(f.grant_of("db.internal", 3))});
  CHECK(f.take<GrantAnswered>()->refusal->details == "the grant was revoked");
}

// --- Limits.

TEST_CASE("a peer that shows no valid grant in time is closed") {
  Fixture f;
  f.advance(seconds(10) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  const auto close = f.take<ClosePeer>();
  CHECK(close->peer == PeerKey(1));
  CHECK(close->reason == CloseReason::no_grant);
  f.request(f.grant_of("db.internal"), "db.internal:5432");
  CHECK(f.take<Refuse>()->status == 503);
  CHECK_FALSE(f.take<Report>());
}

TEST_CASE("a peer with a valid grant is not closed, even while it idles or is refused") {
  Fixture f;
  f.request(f.grant_of("db.internal"), "db.internal:5432");
  for (int i = 0; i < 20; ++i) f.request(Secret(), "db.internal:5432");
  f.advance(minutes(1));
  CHECK_FALSE(f.take<ClosePeer>());
}

TEST_CASE("a peer with too many refusals and no valid grant is closed") {
  Fixture f({.refusals_before_grant_max = 3});
  f.request(Secret("x"), "db.internal:5432");
  f.handle(GrantPresented{RenewalKey(1), PeerKey(1), Secret("x")});
  CHECK_FALSE(f.take<ClosePeer>());
  f.request(Secret("x"), "db.internal:5432");
  CHECK(f.take<ClosePeer>()->reason == CloseReason::refusals);
}

TEST_CASE("strangers cannot fill the log") {
  Fixture f({.refusals_before_grant_max = 100, .stranger_reports_max = 2});
  std::size_t reports = 0;
  for (int i = 0; i < 5; ++i) f.request(Secret("x"), "db.internal:5432");
  while (f.take<Report>()) ++reports;
  CHECK(reports == 2);
  CHECK(f.engine.statistics().reports_suppressed == 3);
  f.connect(2);
  f.advance(minutes(1));
  f.connect(3);
  f.request(Secret("x"), "db.internal:5432", Protocol::tcp, 3);
  CHECK(f.take<Report>());
}

TEST_CASE("limits refuse the first flow and the first peer above them") {
  SECTION("flows of a peer") {
    Fixture f({.flows_per_peer_max = 1});
    f.open();
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    const auto refuse = f.take<Refuse>();
    CHECK(refuse->status == 503);
    CHECK(refuse->error == ProxyError::connection_limit_reached);
  }
  SECTION("flows in all") {
    Fixture f({.flows_max = 1});
    const FlowKey flow = f.open();
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK(f.take<Refuse>()->status == 503);
    f.handle(FlowEnded{flow, 0, 0, FlowEnd::finished});
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK(f.take<Resolve>());
  }
  SECTION("flows that are not open yet") {
    Fixture f({.pending_max = 1});
    f.open();
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK_FALSE(f.take<Refuse>());
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK(f.take<Refuse>()->status == 503);
  }
  SECTION("peers") {
    Fixture f({.peers_max = 1});
    f.connect(2);
    CHECK(f.take<ClosePeer>()->reason == CloseReason::too_many_peers);
    CHECK(f.engine.statistics().peers == 1);
    f.handle(PeerGone{PeerKey(2)});
    f.handle(PeerGone{PeerKey(1)});
    f.connect(3);
    CHECK_FALSE(f.take<ClosePeer>());
  }
}

TEST_CASE("an idle engine waits for nothing") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(FlowEnded{flow, 0, 0, FlowEnd::finished});
  f.handle(PeerGone{PeerKey(1)});
  CHECK_FALSE(f.engine.next_deadline());
}

// --- Path rules.

grant::NodeConfig with_rule(Fixture& f, const PathRule& rule) {
  grant::ResourceEntry entry = f.resource_of("db.internal");
  entry.path = rule;
  return f.snapshot({entry});
}

TEST_CASE("a flow that comes by a forbidden path is refused with the rule") {
  Fixture f;
  const auto home = id_of<RelayIdTag>(1);
  f.relay = home;
  SECTION("through a relay") {
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::never_relay})});
    f.take_all();
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    const auto refused = f.take<Refuse>();
    REQUIRE(refused);
    CHECK(refused->status == 403);
    CHECK(refused->details ==
          "the path rule is never-relay, and this path goes through relay " + home.text);
    CHECK(f.take<Report>()->report.event == FlowEvent::denied);
    CHECK_FALSE(f.take<Resolve>());
    f.relay.reset();
    f.open();
  }
  SECTION("directly") {
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::always_relay})});
    f.take_all();
    f.relay.reset();
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK(f.take<Refuse>()->details == "the path rule is always-relay, and this path is direct");
    f.take_all();
    f.relay = home;
    f.open();
  }
  SECTION("through another relay") {
    f.handle(ConfigurationReceived{with_rule(f, {.use = RelayUse::only, .relays = {home}})});
    f.take_all();
    f.open();
    f.relay = id_of<RelayIdTag>(2);
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    CHECK(f.take<Refuse>()->details == "the path rule does not allow relay " + f.relay->text);
  }
}

TEST_CASE("a live flow is cut when its path becomes a forbidden one") {
  Fixture f;
  const auto home = id_of<RelayIdTag>(1);
  SECTION("because the connection moves") {
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::never_relay})});
    const FlowKey flow = f.open();
    f.handle(PeerMoved{PeerKey(1), std::nullopt});
    CHECK(f.take_all().empty());
    f.handle(PeerMoved{PeerKey(1), home});
    const auto cut = f.take<Cut>();
    REQUIRE(cut);
    CHECK(cut->flow == flow);
    CHECK(cut->reason == CutReason::path_forbidden);
  }
  SECTION("because the rule changes") {
    f.relay = home;
    f.open();
    f.handle(ConfigurationReceived{with_rule(f, {.use = RelayUse::first, .relays = {}})});
    CHECK_FALSE(f.take<Cut>());
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::never_relay})});
    CHECK(f.take<Cut>()->reason == CutReason::path_forbidden);
  }
  SECTION("before it is open, it is refused") {
    f.relay = home;
    f.request(f.grant_of("db.internal"), "db.internal:5432");
    f.take_all();
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::never_relay})});
    CHECK(f.take<Refuse>()->status == 403);
  }
}

TEST_CASE("who uses what is always relayed is told no addresses") {
  Fixture f;
  CHECK_FALSE(f.engine.may_tell_addresses(PeerKey(1)));
  const auto present = [&] {
    f.handle(GrantPresented{RenewalKey(1), PeerKey(1), f.signed_grant(f.grant_of("db.internal"))});
  };
  SECTION("by its rule") {
    f.handle(ConfigurationReceived{with_rule(f, {.paths = Paths::always_relay})});
    present();
    CHECK(f.engine.has_shown_grant(PeerKey(1)));
    CHECK_FALSE(f.engine.may_tell_addresses(PeerKey(1)));
  }
  SECTION("and others are") {
    present();
    CHECK(f.engine.may_tell_addresses(PeerKey(1)));
  }
}

}  // namespace
}  // namespace zt::connector
