// SPDX-License-Identifier: Apache-2.0
#include "zt/policy/bind.h"

#include <catch2/catch_test_macros.hpp>

#include "fixture.h"

namespace zt::policy {
namespace {

Digest digest(unsigned char first) {
  Digest value;
  value.bytes[0] = std::byte{first};
  return value;
}

TEST_CASE("a node binds with its own token, at a relay of its tenant, in the token's time") {
  BindPolicy policy{.tenants = {{"ten_1"}}, .blocked_certificates = {digest(9)}};
  const BindRequest good{.tenant = {"ten_1"},
                         .token_certificate = digest(1),
                         .not_before = at(10),
                         .expires = at(20),
                         .certificate = digest(1)};
  CHECK(judge_bind(policy, good, at(9)) == BindVerdict::not_yet_valid);
  CHECK(judge_bind(policy, good, at(10)) == BindVerdict::allowed);
  CHECK(judge_bind(policy, good, at(20) - std::chrono::milliseconds(1)) == BindVerdict::allowed);
  CHECK(judge_bind(policy, good, at(20)) == BindVerdict::expired);
  BindRequest stolen = good;
  stolen.certificate = digest(2);
  CHECK(judge_bind(policy, stolen, at(10)) == BindVerdict::wrong_certificate);
  BindRequest foreign = good;
  foreign.tenant = {"ten_2"};
  CHECK(judge_bind(policy, foreign, at(10)) == BindVerdict::unknown_tenant);
  BindRequest blocked = good;
  blocked.certificate = blocked.token_certificate = digest(9);
  CHECK(judge_bind(policy, blocked, at(10)) == BindVerdict::blocked);
  CHECK(judge_bind({}, good, at(10)) == BindVerdict::unknown_tenant);
}

TEST_CASE("each verdict has its sentence", "[golden]") {
  CHECK(to_text(BindVerdict::allowed) == "the node may bind");
  CHECK(to_text(BindVerdict::wrong_certificate) == "the relay token belongs to another node");
  CHECK(to_text(BindVerdict::unknown_tenant) == "this relay does not serve the tenant");
  CHECK(to_text(BindVerdict::blocked) == "the node is blocked");
  CHECK(to_text(BindVerdict::not_yet_valid) == "the relay token is not yet valid");
  CHECK(to_text(BindVerdict::expired) == "the relay token has expired");
}

}  // namespace
}  // namespace zt::policy
