// SPDX-License-Identifier: Apache-2.0
#include "zt/client/engine.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "fixture.h"
#include "zt/base/engine.h"

namespace zt::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using wire::ProxyError;
using Kind = Outcome::Kind;

static_assert(zt::Engine<client::Engine>);

// --- The good way.

TEST_CASE("a flow asks for a grant, connects, opens, is ready, and is reported twice") {
  Fixture f;
  const FlowKey flow = f.request();
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  CHECK(ask->target == *Authority::parse("db.internal:5432"));
  CHECK(ask->protocol == Protocol::tcp);
  CHECK(f.take_all().empty());

  f.handle(GrantAnswered{ask->request, f.grant_of()});
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect);
  const GrantedConnector wanted = f.connector_of(1, {});
  CHECK(connect->connector == wanted.id);
  CHECK(connect->certificate == wanted.certificate);
  CHECK(connect->route == wanted.route);
  CHECK(connect->relay == f.relay(1));
  CHECK(f.take_all().empty());

  f.ready(connect->peer);
  const auto open = f.take<OpenFlow>();
  REQUIRE(open);
  CHECK(open->flow == flow);
  CHECK(open->peer == connect->peer);
  CHECK(open->token.matches("token-1"));
  const auto listen = f.take<ListenTo>();
  REQUIRE(listen);
  CHECK(listen->peer == connect->peer);
  CHECK(listen->ping_interval == milliseconds(50));
  CHECK(f.take_all().empty());

  auto answer = f.accepted(flow);
  answer.id = id_of<FlowIdTag>(99);
  f.handle(answer);
  CHECK(f.take<FlowReady>()->flow == flow);
  const auto opened = f.take<Report>();
  REQUIRE(opened);
  CHECK(opened->report.flow == id_of<FlowIdTag>(99));  // As the connector calls it.
  CHECK(opened->report.event == FlowEvent::opened);
  CHECK(opened->report.reporter == FlowReporter::client);
  CHECK(opened->report.grant == id_of<GrantIdTag>(1));
  CHECK(opened->report.decision == id_of<DecisionIdTag>(1));
  CHECK(opened->report.connector == f.connector(1));
  CHECK(opened->report.path == "relayed:" + f.relay(1).text);

  f.hear(open->peer);
  f.advance(seconds(2));
  f.handle(FlowEnded{flow, 3, 4, "finished"});
  const auto closed = f.take<Report>();
  CHECK(closed->report.event == FlowEvent::closed);
  CHECK(closed->report.bytes_up == 3);
  CHECK(closed->report.bytes_down == 4);
  CHECK(closed->report.duration == seconds(2));
  CHECK(f.take_all().empty());
}

TEST_CASE("flows share a grant and a connection") {
  Fixture f;
  f.open();
  const FlowKey second = f.request("db.internal:8000");
  CHECK_FALSE(f.take<AskGrant>());
  CHECK_FALSE(f.take<ConnectTo>());
  const auto open = f.take<OpenFlow>();
  REQUIRE(open);
  CHECK(open->flow == second);
  CHECK(open->peer == f.last_peer);
}

TEST_CASE("flows that come together wait for one grant and one connection") {
  Fixture f;
  f.request("db.internal:5432");
  f.request("db.internal:5432");
  f.request("db.internal:8000");
  const auto ask = f.take<AskGrant>();
  CHECK(f.take_all().empty());
  f.handle(GrantAnswered{ask->request, f.grant_of()});
  const auto connect = f.take<ConnectTo>();
  CHECK(f.take_all().empty());
  f.ready(connect->peer);
  for (int i = 0; i < 3; ++i) CHECK(f.take<OpenFlow>());
  CHECK(f.take<ListenTo>());
  CHECK(f.take_all().empty());
}

TEST_CASE("TCP and UDP have grants of their own") {
  Fixture f;
  f.open();
  f.request("db.internal:53", Protocol::udp);
  CHECK(f.take<AskGrant>()->protocol == Protocol::udp);
}

TEST_CASE("a grant for other ports than a waiting flow's is asked for anew, for that port") {
  Fixture f;
  f.request("db.internal:5432");
  f.request("db.internal:8000");
  auto grant = f.grant_of();
  grant.ports = {{5432, 5432}};
  f.answer(std::move(grant));
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  CHECK(ask->target.port == 8000);
  CHECK(f.take<ConnectTo>());
}

TEST_CASE("an IPv4-mapped address is asked for as IPv4") {
  Fixture f;
  f.handle(ViewReceived{f.snapshot({f.resource_of("10.0.0.0/8", "Net")})});
  f.request("[::ffff:10.1.2.3]:5432");
  CHECK(f.take<AskGrant>()->target.to_text() == "10.1.2.3:5432");
}

// --- The local no.

TEST_CASE("of what the view refuses the controller has the last word") {
  Fixture f;
  for (const auto* target : {"www.example.com:443", "xdb.internal:5432", "db.internal:22"}) {
    INFO(target);
    const FlowKey flow = f.request(target);
    const auto ask = f.take<AskGrant>();
    REQUIRE(ask);
    CHECK(ask->target == *Authority::parse(target));
    CHECK(f.take_all().empty());
    f.handle(GrantAnswered{ask->request, GrantDenied{.status = 403,
                                                     .detail = "denied: so it is",
                                                     .rule = {},
                                                     .decision = id_of<DecisionIdTag>(5)}});
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(refused->flow == flow);
    CHECK(refused->outcome.text == "denied: so it is");
    CHECK(f.take_all().empty());  // The controller has written it down itself.
  }
}

TEST_CASE("what is allowed by now is carried, although the view does not show it yet") {
  Fixture f;
  f.request("new.internal:80");
  f.answer(f.grant_of());
  CHECK(f.take<ConnectTo>());
}

TEST_CASE("a denial that the view agrees with is remembered for a minute, or until a new view") {
  Fixture f;
  const auto is_asked = [&] {
    f.request("x.internal:1");
    const auto ask = f.take<AskGrant>();
    if (ask) f.handle(GrantAnswered{ask->request, GrantDenied{.status = 403, .detail = "no"}});
    CHECK(f.take<FlowRefused>()->outcome.text == "no");
    return ask.has_value();
  };
  CHECK(is_asked());
  f.advance(minutes(1) - Duration(1));
  CHECK_FALSE(is_asked());
  f.advance(Duration(1));
  CHECK(is_asked());
  f.handle(ViewReceived{f.snapshot({f.resource_of("db.internal", "Database")})});
  CHECK(is_asked());
}

TEST_CASE("the view says no by itself, with the reason, beyond so many questions a minute") {
  Fixture f({.refusals_max = 1});
  f.request("x.internal:1");
  REQUIRE(f.take<AskGrant>());
  const auto refusal_of = [&](const char* target) {
    f.request(target);
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(f.take_all().empty());
    return refused->outcome;
  };
  const Outcome absent = refusal_of("[2001:db8::1]:443");
  CHECK(absent.kind == Kind::no_resource);
  CHECK(absent.text ==
        "denied: no rule gives service account \"ci\" access to [2001:db8::1]:443 (tcp); ask an "
        "administrator");
  const Outcome wrong_port = refusal_of("db.internal:22");
  CHECK(wrong_port.kind == Kind::denied);
  CHECK(wrong_port.text ==
        "denied: resource \"Database\" does not offer tcp port 22; it offers tcp 5432,8000-8100 "
        "and udp 53");
  auto entry = f.resource_of("db.internal", "Database");
  entry.is_enabled = false;
  f.handle(ViewReceived{f.snapshot({entry})});
  CHECK(refusal_of("db.internal:5432").text == "denied: resource \"Database\" is disabled");
  f.advance(minutes(1));
  (void)f.take_all();
  f.request("x.internal:2");
  CHECK(f.take<AskGrant>());
}

TEST_CASE("while the controller is away the view refuses at once, and it is told later") {
  Fixture f({.refusals_max = 2});
  f.handle(ControllerDown{"no route"});
  for (const bool is_told : {true, true, false}) {
    const FlowKey flow = f.request("x.internal:1");
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(refused->flow == flow);
    const auto told = f.take<Report>();
    CHECK(told.has_value() == is_told);
    if (!told) continue;
    CHECK(told->report.event == FlowEvent::denied);
    CHECK(told->report.target == "x.internal:1");
    CHECK(told->report.subject == f.self.subject);
    CHECK(told->report.reason == refused->outcome.text);
  }
  CHECK(f.take_all().empty());
}

TEST_CASE("before the first view every flow is refused as not signed in") {
  Fixture f;
  Engine fresh({}, f.self, f.random);
  fresh.handle(FlowRequested{FlowKey(1), *Authority::parse("db.internal:5432"), Protocol::tcp},
               f.now);
  CHECK(std::get<FlowRefused>(*fresh.poll_output()).outcome.kind == Kind::not_signed_in);
}

TEST_CASE("an alias is a resource") {
  Fixture f;
  f.request("db.alias:5432");
  CHECK(f.take<AskGrant>()->target.to_text() == "db.alias:5432");
}

TEST_CASE("a delta of the view for another revision asks for a snapshot") {
  Fixture f;
  grant::NodeConfig delta = f.snapshot({});
  delta.kind = grant::NodeConfig::Kind::delta;
  delta.base = 50;
  delta.revision = 51;
  f.handle(ViewReceived{delta});
  CHECK(f.take<SnapshotNeeded>()->held_revision == 1);
}

// --- The controller's no.

TEST_CASE("a denial names rule and decision, and is remembered for two seconds") {
  Fixture f;
  f.request();
  const auto ask = f.take<AskGrant>();
  const GrantDenied denied{.status = 403,
                           .detail = "denied: rule rul_1 denies everyone",
                           .rule = "rul_1",
                           .decision = id_of<DecisionIdTag>(5)};
  f.handle(GrantAnswered{ask->request, denied});
  const Outcome outcome{.kind = Kind::denied,
                        .text = denied.detail,
                        .rule = "rul_1",
                        .decision = id_of<DecisionIdTag>(5)};
  CHECK(f.take<FlowRefused>()->outcome == outcome);
  CHECK_FALSE(f.take<Report>());  // The controller has written it down itself.

  f.advance(seconds(2) - Duration(1));
  f.request();
  CHECK(f.take<FlowRefused>()->outcome == outcome);
  CHECK_FALSE(f.take<AskGrant>());
  f.advance(Duration(1));
  f.request();
  CHECK(f.take<AskGrant>());
}

TEST_CASE("a denial holds for its port only, and a new view forgets it") {
  Fixture f;
  f.request("db.internal:5432");
  f.request("db.internal:8000");
  f.handle(GrantAnswered{f.take<AskGrant>()->request, GrantDenied{403, "denied: no rule", "", {}}});
  CHECK(f.take<FlowRefused>());
  CHECK_FALSE(f.take<FlowRefused>());
  CHECK(f.take<AskGrant>()->target.port == 8000);
  f.handle(ViewReceived{f.snapshot({f.resource_of("db.internal", "Database")})});
  f.request("db.internal:5432");
  CHECK_FALSE(f.take<FlowRefused>());
}

TEST_CASE("a controller without an answer is unreachable, with its reason") {
  Fixture f;
  f.request();
  f.handle(GrantAnswered{f.take<AskGrant>()->request,
                         GrantUnavailable{"no connector of network \"home\" is online"}});
  const auto refused = f.take<FlowRefused>();
  CHECK(refused->outcome.kind == Kind::unreachable);
  CHECK(refused->outcome.text == "no connector of network \"home\" is online");
}

TEST_CASE("a controller that does not answer is given ten seconds") {
  Fixture f;
  f.request();
  const auto ask = f.take<AskGrant>();
  f.advance(seconds(10) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  CHECK(f.take<FlowRefused>()->outcome.text == "the controller did not answer in time");
  f.handle(GrantAnswered{ask->request, f.grant_of()});  // Too late.
  CHECK(f.take_all().empty());
}

TEST_CASE("while the controller is away requests wait, and then are refused at once") {
  Fixture f;
  f.handle(ControllerDown{"connection refused"});
  f.request();
  CHECK(f.take_all().empty());
  SECTION("it comes back in time") {
    f.advance(seconds(5));
    f.handle(ControllerUp{});
    CHECK(f.take<AskGrant>());
  }
  SECTION("it does not") {
    f.advance(seconds(10));
    const auto refused = f.take<FlowRefused>();
    CHECK(refused->outcome.kind == Kind::unreachable);
    CHECK(refused->outcome.text == "the controller cannot be reached: connection refused");
    f.request();
    CHECK(f.take<FlowRefused>());
  }
}

TEST_CASE("a held grant works while the controller is away") {
  Fixture f;
  f.open();
  f.handle(ControllerDown{"connection refused"});
  f.advance(minutes(2));
  f.request();
  CHECK(f.take<OpenFlow>());
}

// --- The connector's answers.

TEST_CASE("the application hears what the connector said") {
  struct Row {
    int status;
    ProxyError error;
    Kind kind;
  };
  const Row rows[] = {
      {403, ProxyError::destination_ip_prohibited, Kind::denied},
      {502, ProxyError::dns_error, Kind::dns_failed},
      {504, ProxyError::dns_timeout, Kind::dns_failed},
      {502, ProxyError::connection_refused, Kind::refused},
      {504, ProxyError::connection_timeout, Kind::timed_out},
      {502, ProxyError::destination_ip_unroutable, Kind::unreachable},
      {502, ProxyError::destination_unavailable, Kind::unreachable},
      {503, ProxyError::connection_limit_reached, Kind::limit},
      {400, ProxyError::http_request_error, Kind::unreachable},
  };
  for (const Row& row : rows) {
    INFO(to_text(row.error));
    Fixture f;
    f.open();
    const FlowKey flow = f.request();
    f.take_all();
    f.handle(f.refused(flow, row.status, row.error, "it said so"));
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(refused->outcome.kind == row.kind);
    CHECK(refused->outcome.text == "it said so");
    CHECK(refused->outcome.decision == id_of<DecisionIdTag>(1));
    CHECK(f.take<Report>()->report.reason == "it said so");
  }
}

TEST_CASE("a connector's text is made fit to be shown") {
  Fixture f({.details_size_max = 10});
  f.open();
  const FlowKey flow = f.request();
  f.take_all();
  f.handle(f.refused(flow, 502, ProxyError::connection_refused, "\x1b[31mred\nabcdefgh"));
  CHECK(f.take<FlowRefused>()->outcome.text == "?[31mred?a");
}

TEST_CASE("a held grant that the connector refuses is fetched anew, once") {
  Fixture f;
  f.open();
  const FlowKey flow = f.request();
  f.take_all();
  const auto no = f.refused(flow, 403, ProxyError::http_request_denied, "the grant was revoked");
  f.handle(no);
  CHECK_FALSE(f.take<FlowRefused>());
  f.answer(f.grant_of(2));
  CHECK(f.take<OpenFlow>()->token.matches("token-2"));
  f.handle(no);
  const auto refused = f.take<FlowRefused>();
  REQUIRE(refused);
  CHECK(refused->outcome.kind == Kind::denied);
  CHECK(refused->outcome.text == "the grant was revoked");
  CHECK_FALSE(f.take<AskGrant>());
}

TEST_CASE("a fresh grant that the connector refuses is not fetched again") {
  Fixture f;
  const FlowKey flow = f.request();
  f.answer(f.grant_of());
  f.ready(f.take<ConnectTo>()->peer);
  f.take_all();
  f.handle(f.refused(flow, 403, ProxyError::http_request_denied, "no"));
  CHECK(f.take<FlowRefused>());
}

TEST_CASE("a connector that does not answer is given twenty seconds") {
  Fixture f;
  f.open();
  f.request();
  f.take_all();
  f.advance(seconds(20) - Duration(1));
  CHECK_FALSE(f.take<FlowRefused>());
  f.advance(Duration(1));
  CHECK(f.take<FlowRefused>()->outcome.kind == Kind::timed_out);
}

TEST_CASE("late and foreign answers change nothing") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(f.refused(flow, 403, ProxyError::http_request_denied, "no"));
  f.handle(f.accepted(FlowKey(999)));
  f.ready(f.last_peer);
  f.ready(PeerKey(999));
  f.handle(ConnectorLost{PeerKey(999), ""});
  f.handle(GrantAnswered{RequestKey(999), f.grant_of()});
  f.handle(FlowEnded{FlowKey(999), 1, 1, ""});
  CHECK(f.take_all().empty());
}

// --- Fail-over.

TEST_CASE("connectors are tried in order, and a failed one is tried last from then on") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)})}));
  const auto first = f.take<ConnectTo>();
  CHECK(first->connector == f.connector(1));
  f.handle(ConnectorLost{first->peer, "handshake_failed"});
  const auto second = f.take<ConnectTo>();
  REQUIRE(second);
  CHECK(second->connector == f.connector(2));
  f.ready(second->peer);
  CHECK(f.take<OpenFlow>()->peer == second->peer);
  f.request();
  CHECK(f.take<OpenFlow>()->peer == second->peer);
}

TEST_CASE("a failed connector is tried again without a flow, later and later") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)})}));
  f.handle(ConnectorLost{f.take<ConnectTo>()->peer, "no"});
  const PeerKey second = f.take<ConnectTo>()->peer;
  f.ready(second);
  // use opens a flow, which the second connector serves, and returns whom else it made us try.
  const auto use = [&]() -> std::optional<PeerKey> {
    const FlowKey flow = f.request();
    const auto open = f.take<OpenFlow>();
    REQUIRE(open);
    CHECK(open->peer == second);
    f.hear(second);
    f.handle(f.accepted(flow));
    f.handle(FlowEnded{flow, 0, 0, "finished"});
    const auto connect = f.take<ConnectTo>();
    f.take_all();
    if (!connect) return std::nullopt;
    CHECK(connect->connector == f.connector(1));
    return connect->peer;
  };
  const auto waiting = f.take<OpenFlow>();
  f.hear(second);
  f.handle(f.accepted(waiting->flow));
  for (const auto pause : {seconds(10), seconds(20), seconds(40)}) {
    f.advance(pause - milliseconds(1));
    CHECK_FALSE(use());
    f.advance(milliseconds(1));
    const auto again = use();
    REQUIRE(again);
    CHECK_FALSE(use());  // One at a time.
    f.handle(ConnectorLost{*again, "no"});
  }
  f.advance(seconds(80));
  const auto again = use();
  REQUIRE(again);
  f.ready(*again);
  CHECK(f.take<CloseConnector>()->peer == *again);
  f.request();  // It lives, and is so heavy that it comes first.
  CHECK(f.take<ConnectTo>()->connector == f.connector(1));
}

TEST_CASE("a connection goes through the relay with the shortest way to both ends") {
  Fixture f;
  f.handle(RelayAvailable{f.relay(2), "relay-2", milliseconds(70)});
  GrantedConnector connector = f.connector_of(1, {f.relay(1), f.relay(2)});
  f.request();
  SECTION("as far as we know") {
    f.answer(f.grant_of(1, {connector}));
    CHECK(f.take<ConnectTo>()->relay == f.relay(1));
  }
  SECTION("as the connector has measured") {
    connector.round_trips = {{f.relay(1), milliseconds(90)}, {f.relay(2), milliseconds(10)}};
    f.answer(f.grant_of(1, {connector}));
    CHECK(f.take<ConnectTo>()->relay == f.relay(2));
  }
  SECTION("what it has not measured is no nearer than what it has") {
    connector.round_trips = {{f.relay(2), milliseconds(60)}};
    f.answer(f.grant_of(1, {connector}));
    CHECK(f.take<ConnectTo>()->relay == f.relay(1));
  }
  SECTION("as we have measured since") {
    f.handle(RelayAvailable{f.relay(1), "relay-1", milliseconds(200)});
    f.answer(f.grant_of(1, {connector}));
    CHECK(f.take<ConnectTo>()->relay == f.relay(2));
  }
}

TEST_CASE("each connector's first relay comes before any second relay") {
  Fixture f;
  f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(9), f.relay(1), f.relay(2)}),
                          f.connector_of(2, {f.relay(2)})}));
  std::vector<std::pair<ConnectorId, RelayId>> tried;
  while (const auto connect = f.take<ConnectTo>()) {
    tried.emplace_back(connect->connector, connect->relay);
    f.handle(ConnectorLost{connect->peer, "no"});
  }
  CHECK(tried == std::vector{std::pair(f.connector(1), f.relay(1)),
                             std::pair(f.connector(2), f.relay(2)),
                             std::pair(f.connector(1), f.relay(2))});
  const auto refused = f.take<FlowRefused>();
  CHECK(refused->outcome.kind == Kind::unreachable);
  CHECK(refused->outcome.text ==
        "no connector of \"Database\" can be reached: connector \"con-1\": no");
}

TEST_CASE("a connector without room passes the flow on to the next one") {
  Fixture f;
  const FlowKey flow = f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)})}));
  f.ready(f.take<ConnectTo>()->peer);
  f.take<OpenFlow>();
  f.take<ListenTo>();
  f.handle(f.refused(flow, 503, ProxyError::connection_limit_reached, "full"));
  const auto second = f.take<ConnectTo>();
  REQUIRE(second);
  CHECK(second->connector == f.connector(2));
  CHECK(f.take_all().empty());
}

TEST_CASE("tries are limited") {
  Fixture f({.connectors_tried_max = 2});
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)}),
                          f.connector_of(3, {f.relay(1)})}));
  f.handle(ConnectorLost{f.take<ConnectTo>()->peer, "no"});
  f.handle(ConnectorLost{f.take<ConnectTo>()->peer, "no"});
  CHECK_FALSE(f.take<ConnectTo>());
  CHECK(f.take<FlowRefused>());
}

TEST_CASE("a list of connectors that is out of date is fetched anew") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(FlowEnded{flow, 0, 0, "finished"});
  f.handle(ConnectorLost{f.last_peer, "idle"});
  f.take_all();
  f.request();
  f.handle(ConnectorLost{f.take<ConnectTo>()->peer, "no"});
  CHECK_FALSE(f.take<FlowRefused>());
  f.answer(f.grant_of(2, {f.connector_of(2, {f.relay(1)})}));
  CHECK(f.take<ConnectTo>()->connector == f.connector(2));
}

TEST_CASE("a list of connectors that were bound nowhere is waited with once, then fetched anew") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {})}));
  CHECK(f.take_all().empty());
  f.advance(seconds(4) - milliseconds(1));
  const FlowKey early = f.request();
  CHECK_FALSE(f.take<AskGrant>());
  f.handle(FlowEnded{early, 0, 0, "given up"});
  f.advance(milliseconds(1));
  CHECK(f.take<FlowRefused>());
  f.request();
  f.answer(f.grant_of(2, {f.connector_of(1, {f.relay(1)})}));
  CHECK(f.take<ConnectTo>()->connector == f.connector(1));
}

TEST_CASE("no connector online, and no relay in common, are said as such") {
  Fixture f;
  SECTION("none is online") {
    f.request();
    f.answer(f.grant_of(1, {}));
    CHECK(f.take<FlowRefused>()->outcome.text == "no connector of \"Database\" is online");
  }
  SECTION("no relay in common") {
    f.request();
    f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(2)})}));
    CHECK(f.take<BindAt>()->relays == std::vector{f.relay(2)});
    CHECK(f.take_all().empty());
    f.advance(seconds(4));
    CHECK(f.take<FlowRefused>()->outcome.text ==
          "no relay in common with the connectors of \"Database\"");
  }
  SECTION("a relay in common comes in time") {
    f.request();
    f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(2)})}));
    f.advance(seconds(3));
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
    CHECK(f.take<ConnectTo>()->relay == f.relay(2));
  }
  SECTION("no relay at all") {
    f.handle(RelayLost{f.relay(1)});
    f.request();
    f.answer(f.grant_of());
    f.advance(seconds(4));
    CHECK(f.take<FlowRefused>()->outcome.text == "no relay can be reached");
  }
}

TEST_CASE("a connection that is lost cuts its open flows and takes the others elsewhere") {
  Fixture f;
  const FlowKey open = f.open();
  const FlowKey asking = f.request();
  f.take_all();
  f.handle(ConnectorLost{f.last_peer, "idle"});
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == open);
  CHECK(cut->reason == "connector \"con-1\": idle");
  CHECK(f.take<AbandonFlow>()->flow == asking);
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect);
  f.ready(connect->peer);
  CHECK(f.take<OpenFlow>()->flow == asking);
  f.handle(FlowEnded{open, 7, 8, "cut"});
  const auto report = f.take<Report>();
  CHECK(report->report.reason == "connector \"con-1\": idle");
  CHECK(report->report.connector == f.connector(1));
  CHECK(report->report.bytes_up == 7);
}

// --- Silence.

// TwoConnectors has a live flow on the first connector of a grant for two.
struct TwoConnectors : Fixture {
  explicit TwoConnectors(const Engine::Limits& limits = {}) : Fixture(limits) {
    live = request();
    answer(grant_of(1, {connector_of(1, {relay(1)}), connector_of(2, {relay(1)})}));
    first = take<ConnectTo>()->peer;
    ready(first);
    hear(first);
    handle(accepted(live));
    take_all();
  }

  // connect_second brings a connection up to the other connector, with `flow` on its way there.
  void connect_second(FlowKey flow) {
    const auto connect = take<ConnectTo>();
    REQUIRE(connect);
    CHECK(connect->connector == connector(2));
    second = connect->peer;
    ready(second);
    const auto open = take<OpenFlow>();
    REQUIRE(open);
    CHECK(open->flow == flow);
    CHECK(open->peer == second);
    hear(second);
  }

  FlowKey live{};
  PeerKey first{};
  PeerKey second{};
};

TEST_CASE("a connector that says nothing for two round trips and the margin is passed over") {
  TwoConnectors f;
  const FlowKey flow = f.request();
  CHECK(f.take<OpenFlow>()->peer == f.first);
  CHECK(f.take<ListenTo>()->peer == f.first);
  f.advance(f.kPatience - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  CHECK(f.take<AbandonFlow>()->flow == flow);
  const auto listen = f.take<ListenTo>();
  REQUIRE(listen);
  CHECK(listen->peer == f.first);
  CHECK(listen->ping_interval == milliseconds(500));
  f.connect_second(flow);
  f.handle(f.accepted(flow));
  CHECK(f.take<FlowReady>()->flow == flow);
  SECTION("the flow is reported once, where it is") {
    CHECK(f.take<Report>()->report.connector == f.connector(2));
    CHECK_FALSE(f.take<Report>());
  }
  SECTION("its live flow stays where it is") {
    CHECK_FALSE(f.take<Cut>());
    CHECK(f.engine.status(f.now).connectors[0].is_silent);
    CHECK(f.engine.status(f.now).connectors[0].flow_count == 1);
    f.handle(ConnectorLost{f.first, "idle"});
    CHECK(f.take<Cut>()->flow == f.live);
  }
  SECTION("no flow asks it while it is silent") {
    f.take_all();
    f.request();
    CHECK(f.take<OpenFlow>()->peer == f.second);
  }
  SECTION("once it is heard it is as good as before") {
    f.hear(f.first);
    f.take_all();
    f.request();
    CHECK(f.take<OpenFlow>()->peer == f.first);
  }
  SECTION("a late answer of it changes nothing") {
    f.take_all();
    f.handle(f.accepted(flow));
    CHECK(f.take_all().empty());
  }
}

TEST_CASE("a connector that is heard in time keeps the flows that wait for it") {
  TwoConnectors f;
  f.request();
  f.take_all();
  f.advance(f.kPatience - Duration(1));
  f.hear(f.first);
  f.advance(milliseconds(50) - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  CHECK(f.take<ListenTo>()->peer == f.first);  // It may die yet, before it answers.
  f.advance(f.kPatience - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  CHECK(f.take<AbandonFlow>());
}

TEST_CASE("nobody listens while no flow waits") {
  TwoConnectors f;
  const FlowKey flow = f.request();
  f.take_all();
  f.hear(f.first);
  f.handle(f.accepted(flow));
  f.take_all();
  f.advance(seconds(10));
  CHECK(f.take_all().empty());
}

TEST_CASE("a connector that leaves live flows unanswered is silent before a new flow asks it") {
  TwoConnectors f;
  f.advance(seconds(1));
  f.take_all();
  f.handle(ConnectorUnanswered{f.first, f.now.instant - milliseconds(100)});
  CHECK(f.take<ListenTo>()->peer == f.first);
  SECTION("it is heard in time") {
    f.advance(f.kPatience - milliseconds(101));
    f.hear(f.first);
    f.advance(seconds(1));
    CHECK(f.take_all().empty());
    CHECK_FALSE(f.engine.status(f.now).connectors[0].is_silent);
  }
  SECTION("it is not, for as long as counts from when it fell silent") {
    f.advance(f.kPatience - milliseconds(100) - Duration(1));
    CHECK_FALSE(f.engine.status(f.now).connectors[0].is_silent);
    f.advance(Duration(1));
    CHECK(f.engine.status(f.now).connectors[0].is_silent);
    CHECK_FALSE(f.take<Cut>());
    f.take_all();
    f.handle(ConnectorUnanswered{f.first, f.now.instant});  // We know.
    CHECK(f.take_all().empty());
    f.connect_second(f.request());
  }
  SECTION("who is listened to already is not listened to for longer") {
    f.handle(ConnectorUnanswered{f.first, f.now.instant});
    CHECK_FALSE(f.take<ListenTo>());
  }
}

TEST_CASE("a question renews the listening, but not the time of a connector that is silent") {
  TwoConnectors f;
  f.request();
  f.take_all();
  SECTION("asked again before it was heard") {
    f.advance(f.kPatience - Duration(1));
    f.request();
    CHECK_FALSE(f.take<ListenTo>());
    f.advance(Duration(1));
    CHECK(f.take<AbandonFlow>());
    CHECK(f.take<AbandonFlow>());
  }
  SECTION("asked again after it was heard") {
    f.hear(f.first);
    f.advance(milliseconds(10));
    f.request();
    CHECK(f.take<ListenTo>());
    f.advance(f.kPatience - Duration(1));
    CHECK_FALSE(f.take<AbandonFlow>());
    f.advance(Duration(1));
    CHECK(f.take<AbandonFlow>());
  }
}

TEST_CASE("the round trip that counts is the last one that was told, up to a second") {
  struct Case {
    Duration told;
    Duration patience;
  };
  const auto told = GENERATE(Case{.told = milliseconds(1), .patience = milliseconds(402)},
                             Case{.told = milliseconds(300), .patience = milliseconds(1000)},
                             Case{.told = seconds(1), .patience = milliseconds(2400)},
                             Case{.told = seconds(100), .patience = milliseconds(2400)});
  TwoConnectors f;
  const FlowKey before = f.request();
  f.handle(ConnectorHeard{f.first, told.told});
  f.handle(f.accepted(before));
  f.advance(seconds(10));
  f.request();
  f.take_all();
  f.advance(told.patience - Duration(1));
  CHECK_FALSE(f.take<AbandonFlow>());
  f.advance(Duration(1));
  CHECK(f.take<AbandonFlow>());
}

TEST_CASE("a silent connector that is the only one is waited for") {
  Fixture f;
  f.open();
  const FlowKey flow = f.request();
  f.take_all();
  f.advance(f.kPatience);
  CHECK(f.take<ListenTo>());
  CHECK(f.take_all().empty());
  const FlowKey later = f.request();
  CHECK(f.take<OpenFlow>()->flow == later);
  f.hear(f.last_peer);
  f.handle(f.accepted(flow));
  CHECK(f.take<FlowReady>()->flow == flow);
  f.handle(f.accepted(later));
  CHECK(f.take<FlowReady>()->flow == later);
}

TEST_CASE("when all connectors are silent the flow waits, and is not refused") {
  TwoConnectors f;
  const FlowKey flow = f.request();
  f.take_all();
  f.advance(f.kPatience);
  CHECK(f.take<AbandonFlow>());
  f.connect_second(flow);
  f.take_all();
  f.advance(milliseconds(50));
  f.advance(f.kPatience);
  CHECK_FALSE(f.take<AbandonFlow>());
  f.handle(ConnectorLost{f.second, "idle"});
  f.take<AbandonFlow>();
  CHECK_FALSE(f.take<FlowRefused>());
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect);
  f.handle(ConnectorLost{connect->peer, "no"});
  CHECK(f.take<OpenFlow>()->peer == f.first);  // The last resort.
}

TEST_CASE("being passed over counts as a try") {
  TwoConnectors f({.connectors_tried_max = 1});
  f.request();
  f.take_all();
  f.advance(f.kPatience);
  CHECK_FALSE(f.take<AbandonFlow>());
  CHECK_FALSE(f.take<ConnectTo>());
}

TEST_CASE("a connector whose relay died has its time anew through another one") {
  TwoConnectors f;
  f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  const FlowKey other = f.request("db.alias:5432");
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  f.handle(GrantAnswered{ask->request, f.grant_of(2, {f.connector_of(1, {f.relay(1), f.relay(2)}),
                                                      f.connector_of(2, {f.relay(2)})})});
  CHECK(f.take<OpenFlow>()->flow == other);
  f.take_all();
  f.advance(f.kPatience - Duration(1));
  f.handle(RelayLost{f.relay(1)});
  CHECK(f.take<Reroute>()->peer == f.first);
  f.advance(f.kPatience - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  CHECK(f.take<AbandonFlow>()->flow == other);
}

TEST_CASE("connectors that are slow to come up are raced, and the first that is ready has it") {
  Fixture f;
  const FlowKey flow = f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)}),
                          f.connector_of(3, {f.relay(1)})}));
  const auto first = f.take<ConnectTo>();
  REQUIRE(first);
  CHECK(first->connector == f.connector(1));
  f.advance(f.kPatience - Duration(1));
  CHECK(f.take_all().empty());
  f.advance(Duration(1));
  const auto second = f.take<ConnectTo>();
  REQUIRE(second);
  CHECK(second->connector == f.connector(2));
  CHECK(f.take_all().empty());  // The first is not given up.
  SECTION("the first") {
    f.ready(first->peer);
    CHECK(f.take<OpenFlow>()->peer == first->peer);
    f.take_all();
    f.ready(second->peer);  // Its connection would end, as no grant is shown on it.
    CHECK(f.take<CloseConnector>()->peer == second->peer);
    CHECK(f.take_all().empty());
  }
  SECTION("the second") {
    f.ready(second->peer);
    CHECK(f.take<OpenFlow>()->peer == second->peer);
    CHECK(f.take<ListenTo>()->peer == second->peer);
    SECTION("and the first comes later") {
      f.ready(first->peer);
      CHECK(f.take<CloseConnector>()->peer == first->peer);
      CHECK(f.take_all().empty());
    }
    SECTION("and the first never comes") {
      f.hear(second->peer);
      f.handle(f.accepted(flow));
      f.take_all();
      f.advance(seconds(4) - f.kPatience);
      CHECK(f.take<CloseConnector>()->peer == first->peer);
      CHECK(f.take_all().empty());
    }
  }
  SECTION("the third, when the second is slow as well") {
    f.advance(f.kPatience);
    const auto third = f.take<ConnectTo>();
    REQUIRE(third);
    CHECK(third->connector == f.connector(3));
    f.ready(third->peer);
    CHECK(f.take<OpenFlow>()->peer == third->peer);
  }
  SECTION("the third, at once when the second fails") {
    f.handle(ConnectorLost{second->peer, "no"});
    const auto third = f.take<ConnectTo>();
    REQUIRE(third);
    CHECK(third->connector == f.connector(3));
    SECTION("or the first after all") {
      f.handle(ConnectorLost{third->peer, "no"});
      CHECK(f.take_all().empty());
      f.ready(first->peer);
      CHECK(f.take<OpenFlow>()->peer == first->peer);
    }
    SECTION("or none") {
      f.handle(ConnectorLost{third->peer, "no"});
      f.advance(seconds(4) - f.kPatience);
      CHECK(f.take<CloseConnector>()->peer == first->peer);
      CHECK(
          f.take<FlowRefused>()->outcome.text ==
          "no connector of \"Database\" can be reached: connector \"con-1\": it did not answer in "
          "time");
    }
  }
  SECTION("an application that gives up leaves nothing behind") {
    f.handle(FlowEnded{flow, 0, 0, "given up"});
    CHECK(f.engine.status(f.now).connectors[0].flow_count == 0);
    CHECK(f.engine.status(f.now).connectors[1].flow_count == 0);
  }
}

TEST_CASE("a lost relay reroutes its connections through another one in common") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1), f.relay(2)})}));
  const auto connect = f.take<ConnectTo>();
  SECTION("at once") {
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
    f.ready(connect->peer);
    f.take_all();
    f.handle(RelayLost{f.relay(1)});
  }
  SECTION("when it comes") {
    f.ready(connect->peer);
    f.take_all();
    f.handle(RelayLost{f.relay(1)});
    CHECK(f.take_all().empty());
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  }
  const auto reroute = f.take<Reroute>();
  REQUIRE(reroute);
  CHECK(reroute->peer == connect->peer);
  CHECK(reroute->relay == f.relay(2));
  CHECK(f.take_all().empty());
}

TEST_CASE("connections follow their relay to where it is found again") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)})}));
  const auto connect = f.take<ConnectTo>();
  f.ready(connect->peer);
  f.take_all();
  f.handle(RelayAvailable{f.relay(1), "relay-1", f.kRoundTrip});  // A heartbeat: it was not lost.
  CHECK(f.take_all().empty());
  f.handle(RelayLost{f.relay(1)});
  CHECK(f.take_all().empty());
  f.handle(RelayAvailable{f.relay(1), "relay-1", f.kRoundTrip});
  const auto reroute = f.take<Reroute>();
  REQUIRE(reroute);
  CHECK(reroute->peer == connect->peer);
  CHECK(reroute->relay == f.relay(1));
}

TEST_CASE("a lost relay fails what still connects through it") {
  Fixture f;
  f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1), f.relay(2)})}));
  f.take<ConnectTo>();
  f.handle(RelayLost{f.relay(1)});
  CHECK(f.take<CloseConnector>());
  CHECK(f.take<ConnectTo>()->relay == f.relay(2));
}

// --- Those that drain.

TEST_CASE("a relay that drains is left for another one as soon as there is one") {
  Fixture f;
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1), f.relay(2)})}));
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect->relay == f.relay(1));
  SECTION("that was there before") {
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
    f.ready(connect->peer);
    f.take_all();
    f.handle(RelayDraining{f.relay(1)});
  }
  SECTION("that comes later") {
    f.ready(connect->peer);
    f.take_all();
    f.handle(RelayDraining{f.relay(1)});
    CHECK(f.take_all().empty());
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  }
  SECTION("when the connection stands") {
    f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
    f.handle(RelayDraining{f.relay(1)});
    CHECK_FALSE(f.take<Reroute>());
    f.ready(connect->peer);
  }
  const auto reroute = f.take<Reroute>();
  REQUIRE(reroute);
  CHECK(reroute->peer == connect->peer);
  CHECK(reroute->relay == f.relay(2));
  f.handle(RelayLost{f.relay(1)});
  CHECK_FALSE(f.take<Reroute>());
}

TEST_CASE(
    "a connection goes through a relay that drains if there is no other, once it is bound "
    "again like through any") {
  Fixture f;
  f.handle(RelayDraining{f.relay(1)});
  f.handle(RelayDraining{f.relay(9)});  // Unknown.
  const bool is_bound_again = GENERATE(false, true);
  if (is_bound_again) f.handle(RelayAvailable{f.relay(1), "relay-1", f.kRoundTrip});
  const bool has_other = GENERATE(false, true);
  if (has_other) f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip});
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1), f.relay(2)})}));
  CHECK(f.take<ConnectTo>()->relay == f.relay(has_other && !is_bound_again ? 2 : 1));
}

TEST_CASE("a connector that drains keeps its flows, and is asked for new ones after all others") {
  Fixture f;
  const FlowKey live = f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)})}));
  const auto first = f.take<ConnectTo>();
  f.ready(first->peer);
  f.handle(f.accepted(live));
  f.take_all();
  f.handle(ConnectorDraining{first->peer});
  CHECK(f.take_all().empty());
  CHECK(f.engine.status(f.now).connectors.at(0).is_draining);
  f.request();
  const auto second = f.take<ConnectTo>();
  REQUIRE(second);
  CHECK(second->connector == f.connector(2));
  SECTION("and when none of them can be reached, it is") {
    f.handle(ConnectorLost{second->peer, "no answer"});
    CHECK(f.take<OpenFlow>()->peer == first->peer);
  }
  SECTION("and the live flow ends with its connection") {
    f.handle(ConnectorLost{first->peer, "the node ends"});
    CHECK(f.take<Cut>()->flow == live);
  }
}

TEST_CASE("when the only connector drains, the controller is asked for another one") {
  Fixture f;
  f.open();
  const PeerKey draining = f.last_peer;
  f.handle(ConnectorDraining{draining});
  const FlowKey flow = f.request();
  REQUIRE(f.take<OpenFlow>()->peer == draining);
  f.handle(f.refused(flow, 503, wire::ProxyError::destination_unavailable, "draining"));
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  SECTION("which takes over") {
    f.handle(GrantAnswered{ask->request, f.grant_of(2, {f.connector_of(2, {f.relay(1)})})});
    CHECK(f.take<ConnectTo>()->connector == f.connector(2));
  }
  SECTION("and if there is none, the flow is refused with the reason") {
    f.handle(GrantAnswered{ask->request, f.grant_of(2, {f.connector_of(1, {f.relay(1)})})});
    REQUIRE(f.take<OpenFlow>()->peer == draining);
    f.handle(f.refused(flow, 503, wire::ProxyError::destination_unavailable, "draining"));
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(refused->outcome.kind == Outcome::Kind::unreachable);
    CHECK(refused->outcome.text.ends_with("draining"));
  }
}

TEST_CASE("an unused connection is closed after a minute") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(minutes(2));
  CHECK_FALSE(f.take<CloseConnector>());
  f.handle(FlowEnded{flow, 0, 0, "finished"});
  f.advance(seconds(60) - Duration(1));
  CHECK_FALSE(f.take<CloseConnector>());
  f.advance(Duration(1));
  CHECK(f.take<CloseConnector>()->peer == f.last_peer);
}

// --- Grants live and die.

TEST_CASE("a grant is renewed at two thirds of its life while a flow lives by it") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(seconds(300 * 617 / 1000 - 1));
  CHECK_FALSE(f.take<AskGrant>());
  f.advance(seconds(300 * 100 / 1000 + 2));
  f.answer(f.grant_of(2));
  const auto present = f.take<PresentGrant>();
  REQUIRE(present);
  CHECK(present->peer == f.last_peer);
  CHECK(present->token.matches("token-2"));
  CHECK(f.take_all().empty());  // The live flow is not touched.
  f.request();
  CHECK(f.take<OpenFlow>()->token.matches("token-2"));
  f.handle(FlowEnded{flow, 0, 0, "finished"});
}

TEST_CASE("a grant that nobody lives by is not renewed and dies in time") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(FlowEnded{flow, 0, 0, "finished"});
  f.take_all();
  f.advance(minutes(5) - seconds(3));
  CHECK(f.engine.status(f.now).grants.size() == 1);
  f.advance(seconds(3));
  CHECK(f.engine.status(f.now).grants.empty());
  CHECK_FALSE(f.take<AskGrant>());
  f.request();
  CHECK(f.take<AskGrant>());
}

TEST_CASE("a grant in its last two seconds is not used for new flows") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(FlowEnded{flow, 0, 0, "finished"});
  f.take_all();
  f.advance(minutes(5) - seconds(2) - Duration(1));
  f.handle(FlowRequested{FlowKey(500), *Authority::parse("db.internal:5432"), Protocol::tcp});
  CHECK_FALSE(f.take<FlowRefused>());
  f.advance(Duration(1));
  f.handle(FlowEnded{FlowKey(500), 0, 0, ""});
  f.take_all();
  f.request("db.internal:8000");
  CHECK_FALSE(f.take<OpenFlow>());
}

TEST_CASE("a renewal without an answer is tried again, one that is denied is not") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(seconds(220));
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  SECTION("no answer") {
    f.handle(GrantAnswered{ask->request, GrantUnavailable{"503"}});
    f.advance(seconds(2) - Duration(1));
    CHECK_FALSE(f.take<AskGrant>());
    f.advance(Duration(1));
    CHECK(f.take<AskGrant>());
    CHECK_FALSE(f.take<Cut>());
  }
  SECTION("denied: the flow would hang, so it ends, with the reason") {
    f.handle(GrantAnswered{ask->request, GrantDenied{403, "denied: no rule", "", {}}});
    const auto cut = f.take<Cut>();
    REQUIRE(cut);
    CHECK(cut->flow == flow);
    CHECK(cut->reason == "access has ended: denied: no rule");
    f.handle(FlowEnded{flow, 1, 2, "reset"});
    CHECK(f.take<Report>()->report.reason == "access has ended: denied: no rule");
    f.advance(seconds(60));
    CHECK_FALSE(f.take<AskGrant>());
  }
}

TEST_CASE("a revoked grant is used no more, and its flows end with that reason") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(GrantsRevoked{{id_of<GrantIdTag>(2)}});
  CHECK_FALSE(f.take<Cut>());
  f.handle(GrantsRevoked{{id_of<GrantIdTag>(1)}});
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == flow);
  CHECK(cut->reason == "the grant was revoked");
  f.advance(seconds(1));
  CHECK_FALSE(f.take<AskGrant>());  // Nobody lives by it.
  f.request();
  CHECK(f.take<AskGrant>());
}

// --- Flows that outlive their grants.

TEST_CASE("a flow whose grant has ended is not over: another grant is asked for and presented") {
  Fixture f;
  const FlowKey flow = f.open();
  SECTION("a machine that slept") {
    f.advance(std::chrono::hours(1));
  }
  SECTION("a controller that was away, until just before the end") {
    f.handle(ControllerDown{"gone"});
    f.advance(minutes(5) - Duration(1));
    CHECK_FALSE(f.take<AskGrant>());
    f.handle(ControllerUp{});
  }
  SECTION("a controller that was away") {
    f.handle(ControllerDown{"gone"});
    for (int i = 0; i < 3600; ++i) f.advance(seconds(1));
    CHECK_FALSE(f.take<AskGrant>());
    CHECK(f.engine.status(f.now).grants.empty());
    f.handle(ControllerUp{});
    f.advance(Duration::zero());
  }
  CHECK_FALSE(f.take<Cut>());
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  CHECK(ask->target == *Authority::parse("db.internal:5432"));
  CHECK_FALSE(f.take<AskGrant>());
  f.handle(GrantAnswered{ask->request, f.grant_of(2)});
  const auto present = f.take<PresentGrant>();
  REQUIRE(present);
  CHECK(present->peer == f.last_peer);
  CHECK(present->grant == id_of<GrantIdTag>(2));
  CHECK(present->token.reveal() == "token-2");
  // From then on it is renewed like any other.
  f.advance(seconds(220));
  CHECK(f.take<AskGrant>());
  f.handle(FlowEnded{flow, 1, 2, "finished"});
}

TEST_CASE("a controller that comes back between two tries is asked at once") {
  Fixture f;
  f.open();
  f.handle(ControllerDown{"gone"});
  f.advance(minutes(6));
  f.advance(seconds(10));  // The try that was parked is over; the next one is due in two seconds.
  f.take_all();
  f.advance(seconds(1));
  CHECK_FALSE(f.take<AskGrant>());
  f.handle(ControllerUp{});
  CHECK(*f.engine.next_deadline() <= f.now.instant);
  f.advance(Duration::zero());
  CHECK(f.take<AskGrant>());
}

TEST_CASE("a grant that has ended is asked for until there is an answer; a denial is one") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(minutes(6));
  const auto first = f.take<AskGrant>();
  REQUIRE(first);
  f.handle(GrantAnswered{first->request, GrantUnavailable{"500"}});
  f.advance(seconds(2) - Duration(1));
  CHECK_FALSE(f.take<AskGrant>());
  f.advance(Duration(1));
  const auto second = f.take<AskGrant>();
  REQUIRE(second);
  f.advance(seconds(10));  // No answer at all.
  f.advance(seconds(2));
  const auto third = f.take<AskGrant>();
  REQUIRE(third);
  CHECK_FALSE(f.take<Cut>());
  f.handle(GrantAnswered{third->request, GrantDenied{403, "denied: too late", "", {}}});
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == flow);
  CHECK(cut->reason == "access has ended: denied: too late");
}

TEST_CASE("a denial ends the flows to its port; for the others another grant is asked for") {
  Fixture f;
  const FlowKey first = f.open("db.internal:5432");
  const FlowKey second = f.open("db.internal:8000");
  f.advance(minutes(6));
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  const bool is_first = ask->target.port == 5432;
  f.handle(GrantAnswered{ask->request, GrantDenied{403, "no", "", {}}});
  const auto cut = f.take<Cut>();
  REQUIRE(cut);
  CHECK(cut->flow == (is_first ? first : second));
  CHECK_FALSE(f.take<Cut>());
  f.advance(Duration::zero());
  const auto other = f.take<AskGrant>();
  REQUIRE(other);
  CHECK(other->target.port == (is_first ? 8000 : 5432));
  f.handle(GrantAnswered{other->request, f.grant_of(2)});
  CHECK(f.take<PresentGrant>());
  CHECK_FALSE(f.take<Cut>());
}

TEST_CASE("a grant that is lost to a new flow's refusal is asked for on behalf of the open ones") {
  Fixture f;
  f.open();
  const FlowKey flow = f.request();
  const auto out = f.take<OpenFlow>();
  REQUIRE(out);
  f.handle(Fixture::refused(flow, 403, ProxyError::http_request_denied, "unknown key"));
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  f.advance(Duration::zero());
  CHECK_FALSE(f.take<AskGrant>());  // One question for both.
  f.handle(GrantAnswered{ask->request, f.grant_of(2)});
  CHECK(f.take<PresentGrant>());
  CHECK(f.take<OpenFlow>()->flow == flow);
}

TEST_CASE("a resource that the view has lost is asked for once more: the reason ends its flows") {
  Fixture f;
  const FlowKey flow = f.open();
  f.handle(ViewReceived{f.snapshot({})});
  f.advance(Duration::zero());
  const auto ask = f.take<AskGrant>();
  REQUIRE(ask);
  f.handle(GrantAnswered{ask->request, GrantDenied{404, "no such resource", "", {}}});
  CHECK(f.take<Cut>()->flow == flow);
  f.advance(minutes(1));
  CHECK_FALSE(f.take<AskGrant>());
}

TEST_CASE("a grant that a connector refuses is renewed while the former one lives, then cuts") {
  Fixture f;
  const FlowKey flow = f.open();
  f.advance(seconds(220));
  f.answer(f.grant_of(2));
  const auto present = f.take<PresentGrant>();
  REQUIRE(present);
  SECTION("the flow of another grant is none of its business") {
    f.handle(GrantRefused{present->peer, id_of<GrantIdTag>(7), 403, "no"});
    f.advance(seconds(60));
    CHECK_FALSE(f.take<AskGrant>());
    CHECK_FALSE(f.take<Cut>());
  }
  SECTION("in time") {
    f.handle(GrantRefused{present->peer, present->grant, 403, "not yet valid"});
    CHECK_FALSE(f.take<Cut>());
    f.advance(seconds(10) - Duration(1));
    CHECK_FALSE(f.take<AskGrant>());
    f.advance(Duration(1));
    f.answer(f.grant_of(3));
    const auto again = f.take<PresentGrant>();
    REQUIRE(again);
    CHECK(again->grant == id_of<GrantIdTag>(3));
    f.advance(seconds(80));  // The grant that was accepted has ended.
    f.handle(GrantRefused{again->peer, again->grant, 403, "not\nyet"});
    const auto cut = f.take<Cut>();
    REQUIRE(cut);
    CHECK(cut->flow == flow);
    CHECK(cut->reason == "connector \"con-1\": it does not accept the grant: not?yet");
  }
  SECTION("when it has ended") {
    f.advance(seconds(80));
    f.handle(GrantRefused{present->peer, present->grant, 403, ""});
    CHECK(f.take<Cut>()->flow == flow);
  }
  SECTION("not for good") {
    f.advance(seconds(80));
    f.handle(GrantRefused{present->peer, present->grant, 503, ""});
    CHECK_FALSE(f.take<Cut>());
    f.advance(seconds(2));
    CHECK(f.take<AskGrant>());
  }
}

TEST_CASE("a wall clock that jumps changes nothing") {
  Fixture f;
  f.open();
  f.now.unix_time += std::chrono::hours(100);
  f.engine.handle_timeout(f.now);
  f.request();
  CHECK(f.take<OpenFlow>());
  f.now.unix_time -= std::chrono::hours(200);
  f.request();
  CHECK(f.take<OpenFlow>());
}

// --- Ends and limits.

TEST_CASE("an application that gives up leaves nothing behind, at each step") {
  Fixture f;
  const auto give_up = [&](FlowKey flow) {
    f.handle(FlowEnded{flow, 0, 0, "given up"});
    CHECK(f.engine.status(f.now).flows_waiting == 0);
  };
  give_up(f.request());
  const FlowKey second = f.request();
  f.answer(f.grant_of());
  give_up(second);
  const FlowKey third = f.request();
  f.ready(f.take<ConnectTo>()->peer);
  CHECK_FALSE(f.take<FlowReady>());
  give_up(third);
  f.handle(f.accepted(third));
  CHECK_FALSE(f.take<FlowReady>());
}

TEST_CASE("limits refuse the first flow above them") {
  SECTION("flows") {
    Fixture f({.flows_max = 1});
    f.open();
    f.request();
    CHECK(f.take<FlowRefused>()->outcome.kind == Kind::limit);
  }
  SECTION("flows that wait") {
    Fixture f({.flows_waiting_max = 1});
    f.open();
    f.request();
    CHECK_FALSE(f.take<FlowRefused>());
    f.request();
    CHECK(f.take<FlowRefused>()->outcome.kind == Kind::limit);
  }
  SECTION("grants: idle ones make room, others do not") {
    Fixture f({.grants_max = 1});
    const FlowKey flow = f.open();
    f.request("db.alias:5432");
    CHECK(f.take<FlowRefused>()->outcome.kind == Kind::limit);
    f.handle(FlowEnded{flow, 0, 0, "finished"});
    f.request("db.alias:5432");
    CHECK(f.take<AskGrant>());
  }
  SECTION("connectors: idle ones make room, others do not") {
    Fixture f({.connectors_max = 1});
    const FlowKey flow = f.open();
    f.request("db.alias:5432");
    f.answer(f.grant_of(2, {f.connector_of(2, {f.relay(1)})}));
    CHECK(f.take<FlowRefused>()->outcome.kind == Kind::limit);
    f.handle(FlowEnded{flow, 0, 0, "finished"});
    f.request("db.alias:5432");
    CHECK(f.take<CloseConnector>()->peer == f.last_peer);
    CHECK(f.take<ConnectTo>());
  }
}

TEST_CASE("the status shows what people ask for") {
  Fixture f;
  f.open();
  f.advance(seconds(10));
  const Status status = f.engine.status(f.now);
  CHECK(status.is_controller_up);
  CHECK(status.view_revision == 1);
  REQUIRE(status.resources.size() == 1);
  CHECK(status.resources[0].name == "Database");
  CHECK(status.resources[0].flow_count == 1);
  CHECK(status.resources[0].last_decision == "granted");
  REQUIRE(status.grants.size() == 1);
  CHECK(status.grants[0].host == "db.internal");
  CHECK(status.grants[0].left == minutes(5) - seconds(10));
  CHECK(status.grants[0].flow_count == 1);
  REQUIRE(status.connectors.size() == 1);
  CHECK(status.connectors[0] == ConnectorStatus{.key = f.last_peer,
                                                .id = f.connector(1),
                                                .name = "con-1",
                                                .relay = f.relay(1),
                                                .is_ready = true,
                                                .flow_count = 1});
  CHECK(status.relays == std::vector{RelayStatus{f.relay(1), "relay-1"}});
  CHECK(status.flows_open == 1);
  CHECK(status.flows_opened == 1);
}

// --- Path rules.

grant::NodeConfig with_rule(Fixture& f, const PathRule& rule) {
  grant::ResourceEntry entry = f.resource_of("db.internal", "Database");
  entry.path = rule;
  return f.snapshot({entry});
}

TEST_CASE("a flow that may not be relayed is opened when its connection is direct") {
  Fixture f;
  f.handle(ViewReceived{with_rule(f, {.paths = Paths::never_relay})});
  const FlowKey flow = f.request();
  f.answer(f.grant_of());
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect);
  CHECK(connect->paths == Paths::never_relay);
  f.ready(connect->peer);
  CHECK(f.take<PresentGrant>()->peer == connect->peer);
  CHECK_FALSE(f.take<OpenFlow>());
  SECTION("in time") {
    const FlowKey second = f.request();
    CHECK(f.take_all().empty());  // The grant is shown once.
    f.advance(seconds(10) - milliseconds(1));
    f.handle(PathTaken{connect->peer, true});
    CHECK(f.take<OpenFlow>()->flow == flow);
    CHECK(f.take<OpenFlow>()->flow == second);
    f.hear(connect->peer);
    f.handle(f.accepted(flow));
    CHECK(f.take<FlowReady>());
    CHECK(f.take<Report>()->report.path == "direct");
    // When the direct path is lost, the next ones wait, and the open one stays.
    f.handle(PathTaken{connect->peer, false});
    f.take_all();
    f.request();
    CHECK_FALSE(f.take<OpenFlow>());
    CHECK_FALSE(f.take<Cut>());
    f.handle(PathTaken{connect->peer, true});
    CHECK(f.take<OpenFlow>());
  }
  SECTION("and fails with the reason when that takes too long") {
    f.advance(seconds(10));
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
    CHECK(refused->outcome.kind == Kind::unreachable);
    CHECK(refused->outcome.text ==
          "no connector of \"Database\" can be reached: connector \"con-1\": no direct path was "
          "found within 10 s, and the path rule of \"Database\" is never-relay");
    CHECK_FALSE(f.take<OpenFlow>());
  }
}

TEST_CASE("when one connector has no direct path, the next one is tried") {
  Fixture f;
  f.handle(ViewReceived{with_rule(f, {.paths = Paths::never_relay})});
  f.request();
  f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1)}), f.connector_of(2, {f.relay(1)})}));
  f.ready(f.take<ConnectTo>()->peer);
  f.take_all();
  f.advance(seconds(10));
  const auto second = f.take<ConnectTo>();
  REQUIRE(second);
  CHECK(second->connector == f.connector(2));
  f.ready(second->peer);
  f.handle(PathTaken{second->peer, true});
  CHECK(f.take<OpenFlow>()->peer == second->peer);
}

TEST_CASE("only relays that the rule allows are used, and those that it prefers first") {
  Fixture f;
  f.handle(RelayAvailable{f.relay(2), "relay-2", f.kRoundTrip * 4});
  const auto connector = f.connector_of(1, {f.relay(1), f.relay(2)});
  const auto relay_under = [&](const PathRule& rule) -> std::optional<RelayId> {
    f.handle(ViewReceived{with_rule(f, rule)});
    f.request();
    if (const auto ask = f.take<AskGrant>()) {
      f.handle(GrantAnswered{ask->request, f.grant_of(1, {connector})});
    }
    const auto connect = f.take<ConnectTo>();
    return connect ? std::optional(connect->relay) : std::nullopt;
  };
  SECTION("all are equal") {
    CHECK(relay_under({}) == f.relay(1));
  }
  SECTION("one only") {
    CHECK(relay_under({.use = RelayUse::only, .relays = {f.relay(2)}}) == f.relay(2));
    f.take_all();
    // Nothing else will do, also when it is lost.
    f.handle(RelayLost{f.relay(2)});
    CHECK_FALSE(f.take<ConnectTo>());
    f.advance(seconds(4));
    const auto refused = f.take<FlowRefused>();
    REQUIRE(refused);
  }
  SECTION("one first") {
    const PathRule rule{.use = RelayUse::first, .relays = {f.relay(2)}};
    CHECK(relay_under(rule) == f.relay(2));
    f.handle(RelayLost{f.relay(2)});
    CHECK(f.take<ConnectTo>()->relay == f.relay(1));
  }
  SECTION("none") {
    CHECK_FALSE(relay_under({.use = RelayUse::only, .relays = {}}));
    f.advance(seconds(4));
    CHECK(f.take<FlowRefused>()->outcome.text ==
          "no relay in common with the connectors of \"Database\" is allowed by its path rule (any "
          "path; relays: only none)");
  }
  SECTION("a live connection moves to allowed relays only") {
    f.handle(RelayAvailable{f.relay(3), "relay-3", f.kRoundTrip * 8});
    const PathRule rule{.use = RelayUse::only, .relays = {f.relay(2), f.relay(3)}};
    f.handle(ViewReceived{with_rule(f, rule)});
    f.request();
    f.answer(f.grant_of(1, {f.connector_of(1, {f.relay(1), f.relay(2), f.relay(3)})}));
    const auto connect = f.take<ConnectTo>();
    CHECK(connect->relay == f.relay(2));
    f.ready(connect->peer);
    f.take_all();
    f.handle(RelayLost{f.relay(2)});
    CHECK(f.take<Reroute>()->relay == f.relay(3));
  }
}

TEST_CASE("flows of two path rules do not share a connection") {
  Fixture f;
  grant::ResourceEntry free = f.resource_of("db.internal", "Database");
  grant::ResourceEntry bound = f.resource_of("web.internal", "Web");
  bound.id = id_of<ResourceIdTag>(2);
  bound.aliases.clear();
  bound.path.paths = Paths::always_relay;
  f.handle(ViewReceived{f.snapshot({free, bound})});
  f.open("db.internal:5432");
  f.request("web.internal:5432");
  GrantIssued grant = f.grant_of(2);
  grant.resource = bound.id;
  f.answer(std::move(grant));
  const auto connect = f.take<ConnectTo>();
  REQUIRE(connect);
  CHECK(connect->connector == f.connector(1));
  CHECK(connect->peer != f.last_peer);
  CHECK(connect->paths == Paths::always_relay);
}

}  // namespace
}  // namespace zt::client
