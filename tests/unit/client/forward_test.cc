// SPDX-License-Identifier: Apache-2.0
#include "zt/client/forward.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>

namespace zt::client {
namespace {

TEST_CASE("a forward is read and written") {
  struct Row {
    std::string_view text;
    std::string_view written;
  };
  const Row rows[] = {
      {"5432=db.internal:5432", "127.0.0.1:5432=db.internal:5432"},
      {"0=db.internal:5432", "127.0.0.1:0=db.internal:5432"},
      {"tcp:15432=db.internal:5432", "127.0.0.1:15432=db.internal:5432"},
      {"udp:53=dns.internal:53", "udp:127.0.0.1:53=dns.internal:53"},
      {"0.0.0.0:80=web:8080", "0.0.0.0:80=web:8080"},
      {"[::1]:80=[fd00::1]:8080", "[::1]:80=[fd00::1]:8080"},
      {"udp:[::]:53=10.0.0.1:53", "udp:[::]:53=10.0.0.1:53"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto forward = Forward::parse(row.text);
    REQUIRE(forward);
    CHECK(forward->to_text() == row.written);
    CHECK(Forward::parse(forward->to_text()) == forward);
  }
}

TEST_CASE("a wrong forward says what is wrong") {
  struct Row {
    std::string_view text;
    ForwardError error;
  };
  const Row rows[] = {
      {"", ForwardError::no_equals_sign},
      {"5432:db.internal:5432", ForwardError::no_equals_sign},
      {"=db.internal:5432", ForwardError::bad_port},
      {"x=db.internal:5432", ForwardError::bad_port},
      {"65536=db.internal:5432", ForwardError::bad_port},
      {"-1=db.internal:5432", ForwardError::bad_port},
      {"080=db.internal:5432", ForwardError::bad_port},
      {"127.0.0.1:=db.internal:5432", ForwardError::bad_port},
      {"localhost:80=db.internal:5432", ForwardError::bad_bind},
      {":80=db.internal:5432", ForwardError::bad_bind},
      {"::1:80=db.internal:5432", ForwardError::bad_bind},
      {"[127.0.0.1]:80=db.internal:5432", ForwardError::bad_bind},
      {"sctp:80=db.internal:5432", ForwardError::bad_bind},
      {"80=", ForwardError::bad_target},
      {"80=db.internal", ForwardError::bad_target},
      {"80=db.internal:0", ForwardError::bad_target},
      {"80=db internal:5432", ForwardError::bad_target},
      {"80=a=b:1", ForwardError::bad_target},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto forward = Forward::parse(row.text);
    REQUIRE_FALSE(forward);
    CHECK(forward.error() == row.error);
  }
  CHECK(explain(ForwardError::bad_port, "x=db:1") ==
        "\"x=db:1\" is no forward: the local port is not a number from 0 to 65535; expected "
        "[udp:][BIND:]PORT=HOST:PORT");
}

}  // namespace
}  // namespace zt::client
