// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/flow.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "fixture.h"

namespace zt::policy {
namespace {

TEST_CASE("a flow needs the granted resource in the connector's own configuration", "[threat]") {
  std::vector<Resource> own = {resource("wide", "*.internal"), resource("db", "db.internal")};
  own[1].tcp = {PortRange{5432, 5432}};
  const auto verdict = [&own](std::string_view granted, const Target& wanted) {
    return match_flow(own, {std::string(granted)}, wanted).verdict;
  };
  CHECK(verdict("res_db", target("db.internal", 5432)) == FlowVerdict::allowed);
  CHECK(verdict("res_db", target("db.internal", 5433)) == FlowVerdict::port_not_offered);
  CHECK(verdict("res_db", target("web.internal", 5432)) == FlowVerdict::other_resource);
  CHECK(verdict("res_wide", target("web.internal", 1)) == FlowVerdict::allowed);
  // A grant for the wide resource does not open the host that the narrow one took out of it.
  CHECK(verdict("res_wide", target("db.internal", 5432)) == FlowVerdict::other_resource);
  CHECK(verdict("res_wide", target("10.0.0.1", 80)) == FlowVerdict::no_resource);
  CHECK(verdict("res_gone", target("db.internal", 5432)) == FlowVerdict::unknown_resource);
  CHECK(verdict("", target("db.internal", 5432)) == FlowVerdict::unknown_resource);
  own[1].is_enabled = false;
  CHECK(verdict("res_db", target("db.internal", 5432)) == FlowVerdict::resource_disabled);
  CHECK(verdict("res_wide", target("db.internal", 5432)) == FlowVerdict::other_resource);
  own.clear();
  CHECK(verdict("res_db", target("db.internal", 5432)) == FlowVerdict::unknown_resource);
}

TEST_CASE("equal resources are each open under their own grant") {
  const std::vector<Resource> own = {resource("a", "db.internal"), resource("b", "db.internal")};
  CHECK(match_flow(own, {"res_a"}, target("db.internal")).is_allowed());
  CHECK(match_flow(own, {"res_b"}, target("db.internal")).is_allowed());
  CHECK(match_flow(own, {"res_b"}, target("db.internal")).resource == &own[1]);
}

}  // namespace
}  // namespace zt::policy
