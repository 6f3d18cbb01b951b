// SPDX-License-Identifier: Apache-2.0
#include "zt/client/socks_session.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>

namespace zt::client {
namespace {

using std::chrono::seconds;

constexpr Instant kDeadline{seconds(10)};

Bytes hex(std::string_view text) {
  return *from_hex(text);
}

// Greeting: version 5, one method: none. Request: CONNECT db.internal:5432.
const Bytes kGreeting = hex("050100");
const Bytes kRequest = hex("050100030b64622e696e7465726e616c1538");

SocksSession greeted() {
  SocksSession session(kDeadline);
  session.receive(kGreeting);
  REQUIRE(session.take_output() == hex("0500"));
  return session;
}

TEST_CASE("a CONNECT is greeted, wanted and accepted") {
  SocksSession session = greeted();
  CHECK_FALSE(session.wanted());
  session.receive(kRequest);
  REQUIRE(session.wanted());
  CHECK(session.wanted()->command == wire::SocksCommand::connect);
  CHECK(session.wanted()->target.to_text() == "db.internal:5432");
  CHECK_FALSE(session.wants_bytes());
  CHECK(session.take_output().empty());
  session.accept({});
  CHECK(session.take_output() == hex("05000001000000000000"));
  CHECK(session.is_done());
  CHECK_FALSE(session.is_closed());
  CHECK(session.take_rest().empty());
}

TEST_CASE("any split of the bytes is the same") {
  Bytes all = kGreeting;
  all.insert(all.end(), kRequest.begin(), kRequest.end());
  SocksSession session(kDeadline);
  for (const std::byte byte : all) {
    REQUIRE(session.wants_bytes());
    session.receive({&byte, 1});
  }
  REQUIRE(session.wanted());
  CHECK(session.take_output() == hex("0500"));

  SocksSession at_once(kDeadline);
  all.push_back(std::byte{0x77});  // The application does not wait for the answer.
  at_once.receive(all);
  REQUIRE(at_once.wanted());
  CHECK(at_once.take_rest().empty());
  at_once.accept({});
  CHECK(at_once.take_rest() == hex("77"));
}

TEST_CASE("a UDP association learns where to send") {
  SocksSession session = greeted();
  session.receive(hex("05030001000000000000"));
  REQUIRE(session.wanted());
  CHECK(session.wanted()->command == wire::SocksCommand::udp_associate);
  session.accept(*SocketAddress::parse("127.0.0.1:1080"));
  CHECK(session.take_output() == hex("050000017f0000010438"));
}

TEST_CASE("an outcome is told as SOCKS can tell it") {
  struct Row {
    Outcome::Kind kind;
    std::string_view output;
  };
  const Row rows[] = {
      {Outcome::Kind::limit, "05010001000000000000"},
      {Outcome::Kind::denied, "05020001000000000000"},
      {Outcome::Kind::no_resource, "05020001000000000000"},
      {Outcome::Kind::not_signed_in, "05020001000000000000"},
      {Outcome::Kind::unreachable, "05030001000000000000"},
      {Outcome::Kind::dns_failed, "05040001000000000000"},
      {Outcome::Kind::refused, "05050001000000000000"},
      {Outcome::Kind::timed_out, "05060001000000000000"},
  };
  for (const Row& row : rows) {
    INFO(to_text(row.kind));
    SocksSession session = greeted();
    session.receive(kRequest);
    session.reply(Outcome{.kind = row.kind});
    CHECK(session.take_output() == hex(row.output));
    CHECK(session.is_closed());
    CHECK_FALSE(session.wanted());
  }
}

TEST_CASE("what is no SOCKS5 is closed without a word") {
  for (const std::string_view text : {"GET / HTTP/1.1\r\n", "\x04\x01"}) {
    SocksSession session(kDeadline);
    session.receive(as_bytes(text));
    CHECK(session.is_closed());
    CHECK(session.take_output().empty());
    session.receive(kGreeting);
    CHECK(session.is_closed());
  }
}

TEST_CASE("a client that insists on authentication is told that there is none") {
  SocksSession session(kDeadline);
  session.receive(hex("050102"));
  CHECK(session.take_output() == hex("05ff"));
  CHECK(session.is_closed());
}

TEST_CASE("requests that are not served get their code") {
  struct Row {
    std::string_view request;
    std::string_view output;
  };
  const Row rows[] = {
      {"05020001000000000050", "05070001000000000000"},  // BIND.
      {"05010002000000000050", "05080001000000000000"},  // No such address type.
      {"05010101000000000050", "05010001000000000000"},  // A reserved byte is set.
  };
  for (const Row& row : rows) {
    INFO(row.request);
    SocksSession session = greeted();
    session.receive(hex(row.request));
    CHECK(session.take_output() == hex(row.output));
    CHECK(session.is_closed());
  }
}

TEST_CASE("a handshake has a deadline, an answer and a flow have none") {
  SocksSession session = greeted();
  CHECK(session.next_deadline() == kDeadline);
  session.handle_timeout(kDeadline - Duration(1));
  CHECK_FALSE(session.is_closed());
  SECTION("too late") {
    session.handle_timeout(kDeadline);
    CHECK(session.is_closed());
  }
  SECTION("in time") {
    session.receive(kRequest);
    CHECK_FALSE(session.next_deadline());
    session.handle_timeout(kDeadline);
    CHECK_FALSE(session.is_closed());
  }
}

}  // namespace
}  // namespace zt::client
