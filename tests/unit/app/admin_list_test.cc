// SPDX-License-Identifier: Apache-2.0
#include "app/admin_list.h"

#include <catch2/catch_test_macros.hpp>

#include "app/admin_follow.h"

namespace zt::app {

TEST_CASE("a list shows names for ids, and ids for what is gone") {
  const wire::Json items = {{{"name", "ci-db"},
                             {"id", "rul_1"},
                             {"effect", "allow"},
                             {"subjects", {"svc_1", "everyone"}},
                             {"resources", {"res_gone"}},
                             {"protocols", wire::Json::array()},
                             {"ports", {"22", "80-81"}},
                             {"valid_until", nullptr},
                             {"enabled", true}}};
  CHECK(list_text(items, view_of(kRules).columns, {{"svc_1", "ci"}}) ==
        "NAME   ID     EFFECT  SUBJECTS     RESOURCES  PROTOCOLS  PORTS     VALID UNTIL  ENABLED\n"
        "ci-db  rul_1  allow   ci,everyone  res_gone   -          22,80-81  -            yes\n");
}

TEST_CASE("what is new in a log comes in its order, and what has no sequence never comes") {
  const wire::Json page = {
      {{"sequence", 9U}}, {{"sequence", 8U}}, {{"sequence", "10"}}, 7, nullptr};
  CHECK(newer_than(page, 7) == wire::Json({{{"sequence", 8U}}, {{"sequence", 9U}}}));
  CHECK(newer_than(page, 8) == wire::Json::array({{{"sequence", 9U}}}));
  CHECK(newer_than(page, 9).empty());
  CHECK(newer_than({{"items", 1}}, 0).empty());
}

TEST_CASE("a line of a log has no control characters") {
  CHECK(line_text({{"name", "a\nb"}, {"id", "net_1"}}, view_of(kNetworks).columns, {}) ==
        "a?b  net_1  -");
  CHECK(line_text(nullptr, view_of(kNetworks).columns, {}) == "-  -  -");
}

TEST_CASE("an empty list has its heads") {
  CHECK(list_text(wire::Json::array(), view_of(kNetworks).columns, {}) == "NAME  ID  CREATED\n");
}

TEST_CASE("a list of things that are no objects is shown as nothing, not trusted") {
  CHECK(list_text({1, nullptr}, view_of(kNetworks).columns, {}) ==
        "NAME  ID  CREATED\n-     -   -\n-     -   -\n");
}

}  // namespace zt::app
