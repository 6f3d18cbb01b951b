// SPDX-License-Identifier: Apache-2.0
#include "zt/http/problem.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "zt/http/http_status.h"

namespace zt::http {
namespace {

TEST_CASE("a problem is written with its status's phrase and without empty members") {
  CHECK(to_json({.status = 404}) == R"({"status":404,"title":"Not Found","type":"about:blank"})");
  CHECK(to_json({.type = "urn:zt:denied",
                 .title = "Denied",
                 .status = 403,
                 .detail = "no rule allows \"db\"",
                 .instance = "/x",
                 .rule = "rul_1",
                 .decision = "dec_2"}) ==
        R"({"decision":"dec_2","detail":"no rule allows \"db\"","instance":"/x","rule":"rul_1",)"
        R"("status":403,"title":"Denied","type":"urn:zt:denied"})");
}

TEST_CASE("what was written is read back") {
  const Problem problem{.type = "urn:zt:denied",
                        .title = "Denied",
                        .status = 403,
                        .detail = "because\n\xc3\xa4",
                        .instance = "/x",
                        .rule = "rul_1",
                        .decision = "dec_2"};
  CHECK(parse_problem(to_json(problem), 403) == problem);
}

TEST_CASE("bytes that are no text do not stop a problem, and long texts are cut") {
  const std::string text = to_json({.detail = "\xff\xfe"});
  CHECK(text.find("\xef\xbf\xbd") != std::string::npos);
  const auto cut = parse_problem(to_json({.detail = std::string(kProblemTextMax + 1, 'x')}), 500);
  REQUIRE(cut);
  CHECK(cut->detail.size() == kProblemTextMax);
}

TEST_CASE("a foreign problem is read as far as it makes sense") {
  const auto problem = parse_problem(
      R"({"title":5,"status":"403","detail":"d","extra":{"a":[1]},"rule":null})", 404);
  REQUIRE(problem);
  CHECK(problem->title.empty());
  CHECK(problem->status == 404);
  CHECK(problem->detail == "d");
  CHECK(problem->rule.empty());
  CHECK(parse_problem(R"({"status":99999999999999999999})", 404)->status == 404);
  CHECK(parse_problem(R"({"status":200})", 404)->status == 404);
  CHECK(parse_problem(R"({})", 200)->status == 500);
}

TEST_CASE("a body that is no JSON object, or nests too deeply, is no problem") {
  for (const std::string_view body :
       {"", "null", "[]", "\"x\"", "{", "{}x", "<html>", "{\"a\":}"}) {
    CAPTURE(body);
    CHECK_FALSE(parse_problem(body, 500));
  }
  const std::string deep = R"({"a":)" + std::string(20'000, '[') + std::string(20'000, ']') + "}";
  CHECK_FALSE(parse_problem(deep, 500));
  std::string large = R"({"detail":")" + std::string(kProblemSizeMax, 'x') + "\"}";
  CHECK_FALSE(parse_problem(large, 500));
}

TEST_CASE("a status has its own phrase or that of its class") {
  CHECK(reason_phrase(200) == "OK");
  CHECK(reason_phrase(431) == "Request Header Fields Too Large");
  CHECK(reason_phrase(299) == "OK");
  CHECK(reason_phrase(499) == "Bad Request");
  CHECK(reason_phrase(999) == "Unknown");
}

}  // namespace
}  // namespace zt::http
