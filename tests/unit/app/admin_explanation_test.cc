// SPDX-License-Identifier: Apache-2.0
#include "app/admin_explanation.h"

#include <catch2/catch_test_macros.hpp>

#include "app/admin_session.h"

namespace zt::app {

using wire::Json;

TEST_CASE("an explanation names the decision, what the subject hears, and each rule's part") {
  const Json explanation = {
      {"sentence", "denied: so"},
      {"told", "denied: ask"},
      {"valid_until", nullptr},
      {"resources",
       {{{"id", "res_1"},
         {"name", "db"},
         {"enabled", true},
         {"offers_port", false},
         {"connectors_online", 2U},
         {"rules",
          {{{"id", "rul_1"}, {"name", "ci"}, {"effect", "allow"}, {"text", "has ended"}}}}}}}};
  CHECK(explanation_text(explanation) ==
        "denied: so\n"
        "the subject hears: denied: ask\n"
        "\n"
        "resource \"db\" (res_1): enabled, does not offer the port, connectors online: 2\n"
        "RULE  ID     EFFECT  HERE IT\n"
        "ci    rul_1  allow   has ended\n");
}

TEST_CASE("an explanation with members of other types is shown, not trusted") {
  for (const char* text : {"null", "[]", "7", R"({"resources":7,"sentence":[]})",
                           R"({"resources":[7,null,{"rules":{},"id":1,"enabled":"no"}]})",
                           R"({"resources":[{"rules":[7,{"name":[]}],"connectors_online":-1}]})"}) {
    INFO(text);
    CHECK_NOTHROW(explanation_text(*wire::parse_json(text)));
  }
  CHECK(explanation_text({{"sentence", "a\x1b[2Jb"}}) == "a?[2Jb\n");
}

TEST_CASE("an object's version is a whole number, or none") {
  CHECK(version_in({{"version", 7U}}) == 7);
  for (const char* text :
       {"null", "[1]", "{}", R"({"version":"7"})", R"({"version":-1})", R"({"version":1.5})"}) {
    INFO(text);
    CHECK_FALSE(version_in(*wire::parse_json(text)));
  }
}

}  // namespace zt::app
