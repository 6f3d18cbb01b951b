// SPDX-License-Identifier: Apache-2.0
#include "zt/http/query.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace zt::http {
namespace {

TEST_CASE("a query's names and values are decoded") {
  const auto query = Query::parse("revision=12&name=a%20b+c&flag&empty=&%C3%A4=x%3Dy&&z=1=2");
  REQUIRE(query);
  CHECK(query->find("revision") == "12");
  CHECK(query->find("name") == "a b c");
  CHECK(query->find("flag") == "");
  CHECK(query->find("empty") == "");
  CHECK(query->find("\xc3\xa4") == "x=y");
  CHECK(query->find("z") == "1=2");
  CHECK_FALSE(query->find("absent"));
  CHECK(query->parameters().size() == 6);
  CHECK(Query::parse("")->parameters().empty());
}

TEST_CASE("an ambiguous or malformed query is refused") {
  CHECK(Query::parse("a=1&a=2").error() == QueryError::repeated);
  CHECK(Query::parse("a=1&%61=2").error() == QueryError::repeated);
  for (const std::string_view text :
       {"a=%", "a=%2", "a=%zz", "%=1", "a=%00", "a=%0d", "a=%7f", "a=\x1d", "\x7f=a"}) {
    CAPTURE(text);
    CHECK(Query::parse(text).error() == QueryError::malformed);
  }
}

TEST_CASE("kParametersMax parameters are read and one more is not") {
  std::string text;
  for (std::size_t i = 0; i < kParametersMax; ++i) text += "p" + std::to_string(i) + "&";
  CHECK(Query::parse(text));
  CHECK(Query::parse(text + "q").error() == QueryError::too_many);
}

TEST_CASE("a target is split at its first question mark") {
  CHECK(split_target("/a?b?c").path == "/a");
  CHECK(split_target("/a?b?c").query == "b?c");
  CHECK(split_target("/a").path == "/a");
  CHECK(split_target("/a").query.empty());
}

TEST_CASE("path segments are decoded after they were separated") {
  using Segments = std::vector<std::string>;
  CHECK(split_path("/") == Segments{});
  CHECK(split_path("/api/v1") == Segments{"api", "v1"});
  CHECK(split_path("/api/v1/") == Segments{"api", "v1"});
  CHECK(split_path("/a%2Fb/c+d") == Segments{"a/b", "c+d"});
  for (const std::string_view path :
       {"", "a", "//a", "/a//b", "/a/./b", "/../a", "/%2e%2e/a", "/a%", "/a%00", "/%2e"}) {
    CAPTURE(path);
    CHECK_FALSE(split_path(path));
  }
}

TEST_CASE("what percent_encode wrote, percent_decode reads") {
  CHECK(percent_encode("aZ0-._~") == "aZ0-._~");
  CHECK(percent_encode("a/b c+\xff") == "a%2Fb%20c%2B%FF");
  std::string printable;
  for (int c = 0x20; c < 0x100; ++c) {
    if (c != 0x7f) printable += static_cast<char>(c);
  }
  CHECK(percent_decode(percent_encode(printable)) == printable);
  CHECK(percent_decode(percent_encode(printable), true) == printable);
}

}  // namespace
}  // namespace zt::http
