// SPDX-License-Identifier: Apache-2.0
#include "zt/base/protocol.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>

namespace zt {
namespace {

TEST_CASE("a protocol has one spelling") {
  CHECK(parse_protocol(to_text(Protocol::tcp)) == Protocol::tcp);
  CHECK(parse_protocol(to_text(Protocol::udp)) == Protocol::udp);
  for (const std::string_view text : {"", "TCP", "tcp ", "icmp", "6"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_protocol(text).has_value());
  }
}

TEST_CASE("a port range has one spelling and holds both its ends") {
  for (const std::string_view text : {"1", "65535", "8000-8100", "1-65535", "80-81"}) {
    CAPTURE(text);
    REQUIRE(PortRange::parse(text).has_value());
    CHECK(PortRange::parse(text)->to_text() == text);
  }
  for (const std::string_view text : {"", "-", "0", "0-1", "1-0", "80-80", "81-80", "80-", "-80",
                                      "80-65536", "80-81-82", "80 - 81", "80,81", "080-81"}) {
    CAPTURE(text);
    CHECK_FALSE(PortRange::parse(text).has_value());
  }
  const PortRange range = PortRange::parse("8000-8100").value();
  CHECK_FALSE(range.contains(7999));
  CHECK(range.contains(8000));
  CHECK(range.contains(8100));
  CHECK_FALSE(range.contains(8101));
}

}  // namespace
}  // namespace zt
