// SPDX-License-Identifier: Apache-2.0
#include "wire/json.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace zt::wire {
namespace {

TEST_CASE("JSON nests sixteen deep and no deeper") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(parse_json(nested(16)));
  CHECK_FALSE(parse_json(nested(17)));
  CHECK_FALSE(parse_json(nested(100'000)));
  CHECK(parse_json(R"({"a":[{"b":[]}],"c":[[],[]]})"));
}

TEST_CASE("no object repeats a member, at any depth") {
  CHECK(parse_json(R"({"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]})"));
  CHECK_FALSE(parse_json(R"({"a":1,"a":1})"));
  CHECK_FALSE(parse_json(R"({"a":1,"\u0061":2})"));  // The same name in another spelling.
  CHECK_FALSE(parse_json(R"([{"x":{"a":1,"b":2,"a":3}}])"));
}

TEST_CASE("a text is exactly one value of JSON in UTF-8") {
  for (const std::string_view text :
       {"", " ", "{}{}", "{},", "{'a':1}", "{\"a\":1,}", "[1,]", "{\"a\":01}", "NaN", "\"\xFF\"",
        "\"\xC0\x80\"", "// c\n1", "{\"a\":\"\n\"}", "[", "}", "\"\\ud800\""}) {
    INFO(text);
    CHECK_FALSE(parse_json(text));
  }
  CHECK_FALSE(parse_json(std::string_view("{}\0", 3)));
  CHECK_FALSE(parse_json(std::string_view("{}\0{\"more\":1}", 13)));
  CHECK_FALSE(parse_json("\xEF\xBB\xBF{}"));
}

TEST_CASE("what is wrong with a text is told apart") {
  CHECK(parse_json("{").error().kind == JsonError::Kind::not_json);
  CHECK(parse_json("[[[]]]", 2).error().kind == JsonError::Kind::too_deep);
  CHECK(parse_json("[[]]", 2));
  const auto repeated = parse_json(R"({"a":{"b":1,"b":1},"a":1})");
  CHECK(repeated.error().kind == JsonError::Kind::repeated_member);
  CHECK(repeated.error().member == "b");
}

TEST_CASE("what is read is what was written, of every kind") {
  for (const std::string_view text :
       {"null", "true", "-7", "18446744073709551615", "1.5", R"("a\u0001\"\\/ü")", "[]", "{}",
        R"([[1,[2,{}]],{"a":[{"b":null},false],"c":{"d":{}}},"e"])"}) {
    CAPTURE(text);
    const auto value = parse_json(text);
    REQUIRE(value);
    CHECK(json_text(*value) == text);
  }
}

TEST_CASE("an object that is written member by member reads as the same") {
  ObjectText object;
  CHECK(object.take() == "{}");
  using namespace std::string_literals;
  const std::string hostile = "\"\\\n\0\x7f\xff </script>ü"s;
  object.add("text", hostile);
  object.add("plain", "db.internal:5432");
  object.add("count", std::uint64_t{18446744073709551615U});
  const Json expected = {
      {"text", hostile}, {"plain", "db.internal:5432"}, {"count", 18446744073709551615U}};
  const auto value = parse_json(object.take());
  REQUIRE(value);
  CHECK(json_text(*value) == json_text(expected));
  object.add("again", "");
  CHECK(object.take() == R"({"again":""})");
}

TEST_CASE("an object is asked for, and anything else is null") {
  CHECK(parse_json_object(R"({"a":1})").at("a") == 1);
  for (const std::string_view text : {"[]", "1", "{", "", R"({"a":1,"a":2})"}) {
    CAPTURE(text);
    CHECK(parse_json_object(text).is_null());
  }
}

TEST_CASE("members are read as the kind that they must be") {
  const Json object = parse_json(R"({"t":"x","n":5,"f":5.0,"m":-5,"b":true,"a":[1,2],
      "big":9007199254740991,"over":9007199254740992})")
                          .value();
  CHECK(text_member(object, "t") == "x");
  CHECK_FALSE(text_member(object, "n"));
  CHECK_FALSE(text_member(object, "none"));
  CHECK_FALSE(text_member(Json::array(), "t"));
  CHECK(integer_member(object, "n") == 5);
  CHECK(integer_member(object, "big") == kJsonIntegerMax);
  CHECK_FALSE(integer_member(object, "over"));
  CHECK_FALSE(integer_member(object, "f"));
  CHECK_FALSE(integer_member(object, "m"));
  CHECK_FALSE(integer_member(object, "t"));
  CHECK(boolean_member(object, "b") == true);
  CHECK_FALSE(boolean_member(object, "n"));
  CHECK(array_member(object, "a", 2) != nullptr);
  CHECK(array_member(object, "a", 1) == nullptr);
  CHECK(array_member(object, "t", 2) == nullptr);
}

}  // namespace
}  // namespace zt::wire
