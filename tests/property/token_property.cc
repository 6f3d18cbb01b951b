// SPDX-License-Identifier: Apache-2.0
// No bit of a token can be changed, and nothing that is issued is refused by those it is for.

#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "crypto/signing_key.h"
#include "zt/base/random.h"
#include "zt/grant/grant.h"
#include "zt/grant/node_config.h"
#include "zt/grant/relay_token.h"

namespace zt::grant {
namespace {

constexpr UnixTime kNow = from_unix_seconds(1'800'000'000);

template <class Tag>
Id<Tag> id(Random& random) {
  return make_id<Tag>(random);
}

Host random_host(Random& random) {
  if (random.below(2) == 0) {
    const auto octet = [&] { return static_cast<std::uint8_t>(random.below(256)); };
    return IpAddress::v4({octet(), octet(), octet(), octet()});
  }
  return DnsName::parse("host-" + std::to_string(random.below(1000)) + ".internal").value();
}

PortRange random_range(Random& random) {
  const auto one = static_cast<std::uint16_t>(1 + random.below(65535));
  const auto two = static_cast<std::uint16_t>(1 + random.below(65535));
  return {std::min(one, two), std::max(one, two)};
}

Permission random_permission(Random& random) {
  Permission permission;
  for (std::uint64_t i = 0; i <= random.below(Grant::kHostsMax); ++i) {
    permission.hosts.push_back(random_host(random));
  }
  for (std::uint64_t i = 0; i <= random.below(8); ++i) {
    permission.ports.push_back(random_range(random));
  }
  if (random.below(2) == 0) permission.protocols.push_back(Protocol::udp);
  if (random.below(2) == 0 || permission.protocols.empty()) {
    permission.protocols.push_back(Protocol::tcp);
  }
  return permission;
}

Grant random_grant(Random& random) {
  Grant grant;
  grant.tenant = id<TenantIdTag>(random);
  grant.subject = {random.below(2) == 0 ? id<UserIdTag>(random).text
                                        : id<ServiceAccountIdTag>(random).text};
  grant.device = id<DeviceIdTag>(random);
  grant.network = id<NetworkIdTag>(random);
  grant.id = id<GrantIdTag>(random);
  grant.issued_at = kNow - std::chrono::seconds(random.below(1000));
  grant.not_before = kNow - std::chrono::seconds(random.below(1000));
  grant.expires_at = kNow + std::chrono::seconds(1 + random.below(2600));
  random.fill(grant.client_certificate.bytes);
  grant.policy_revision = random.below(std::uint64_t{1} << 53U);
  grant.decision = id<DecisionIdTag>(random);
  grant.resource = id<ResourceIdTag>(random);
  for (std::uint64_t i = 0; i <= random.below(Grant::kPermissionsMax); ++i) {
    grant.permissions.push_back(random_permission(random));
  }
  return grant;
}

GrantExpectations expectations_for(const Grant& grant) {
  return {
      .tenant = grant.tenant,
      .network = grant.network,
      .client_certificate = grant.client_certificate,
      .now = kNow,
  };
}

KeySet keys_of(const crypto::SigningKey& key) {
  KeySet keys;
  REQUIRE(keys.add(key.public_key()));
  return keys;
}

// count_accepted tells how many of all tokens that differ from `token` in one bit are accepted.
template <class Accepts>
std::size_t count_accepted(std::string_view token, Accepts&& accepts) {
  std::size_t count = 0;
  std::string changed(token);
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      changed[i] = static_cast<char>(static_cast<unsigned char>(token[i]) ^ (1U << bit));
      if (accepts(changed)) ++count;
    }
    changed[i] = token[i];
  }
  return count;
}

TEST_CASE("no single bit of a grant can be flipped") {
  SeededRandom random(Catch::getSeed());
  const crypto::SigningKey key = crypto::SigningKey::create();
  const KeySet keys = keys_of(key);
  const Grant grant = random_grant(random);
  const auto expected = expectations_for(grant);
  const Secret token = issue(grant, key).value();
  REQUIRE(verify(token.reveal(), keys, expected));
  CHECK(count_accepted(token.reveal(), [&](std::string_view changed) {
          return verify(changed, keys, expected).has_value();
        }) == 0);
}

TEST_CASE("no single bit of a relay token can be flipped") {
  const crypto::SigningKey key = crypto::SigningKey::create();
  SeededRandom random(Catch::getSeed());
  RelayToken token;
  token.tenant = id<TenantIdTag>(random);
  random.fill(token.route.bytes);
  random.fill(token.node_certificate.bytes);
  token.issued_at = token.not_before = kNow;
  token.expires_at = kNow + std::chrono::hours(1);
  const TenantKeys tenants = {{token.tenant, keys_of(key)}};
  const RelayTokenExpectations expected{.node_certificate = token.node_certificate, .now = kNow};
  const Secret text = issue(token, key).value();
  REQUIRE(verify(text.reveal(), tenants, expected));
  CHECK(count_accepted(text.reveal(), [&](std::string_view changed) {
          return verify(changed, tenants, expected).has_value();
        }) == 0);
}

TEST_CASE("no single bit of a configuration can be flipped") {
  const crypto::SigningKey key = crypto::SigningKey::create();
  const KeySet keys = keys_of(key);
  SeededRandom random(Catch::getSeed());
  const NodeConfig config = {
      .tenant = id<TenantIdTag>(random),
      .node = {id<ConnectorIdTag>(random).text},
      .issued_at = kNow,
      .revision = 7,
      .upsert = {{.id = id<ResourceIdTag>(random),
                  .name = "one",
                  .network = id<NetworkIdTag>(random),
                  .address = "one.internal",
                  .tcp = {random_range(random)}}},
  };
  const NodeConfigExpectations expected{config.tenant, config.node, kNow};
  const std::string token = issue(config, key).value();
  REQUIRE(verify(token, keys, expected));
  CHECK(count_accepted(token, [&](std::string_view changed) {
          return verify(changed, keys, expected).has_value();
        }) == 0);
}

TEST_CASE("a grant that is cut off anywhere is refused") {
  SeededRandom random(Catch::getSeed());
  const crypto::SigningKey key = crypto::SigningKey::create();
  const KeySet keys = keys_of(key);
  const Grant grant = random_grant(random);
  const Secret token = issue(grant, key).value();
  for (std::size_t size = 0; size < token.reveal().size(); ++size) {
    CHECK_FALSE(verify(token.reveal().substr(0, size), keys, expectations_for(grant)));
  }
}

TEST_CASE("whatever is issued is believed and means the same") {
  SeededRandom random(Catch::getSeed());
  const crypto::SigningKey key = crypto::SigningKey::create();
  const KeySet keys = keys_of(key);
  for (int round = 0; round < 300; ++round) {
    const Grant grant = random_grant(random);
    const auto token = issue(grant, key);
    REQUIRE(token);
    CHECK(verify(token->reveal(), keys, expectations_for(grant)) == grant);
  }
}

TEST_CASE("a grant covers exactly what its permissions list") {
  SeededRandom random(Catch::getSeed());
  for (int round = 0; round < 300; ++round) {
    const Grant grant = random_grant(random);
    const Authority target{random_host(random),
                           static_cast<std::uint16_t>(1 + random.below(65535))};
    bool is_listed = false;  // The model: every combination, one by one.
    for (const Permission& permission : grant.permissions) {
      for (const Host& host : permission.hosts) {
        for (const Protocol protocol : permission.protocols) {
          for (const PortRange& range : permission.ports) {
            CHECK(covers(grant, {host, range.first}, protocol));
            CHECK(covers(grant, {host, range.last}, protocol));
            const bool is_hit = host == target.host && protocol == Protocol::tcp &&
                                target.port >= range.first && target.port <= range.last;
            is_listed = is_listed || is_hit;
          }
        }
      }
    }
    CHECK(covers(grant, target, Protocol::tcp) == is_listed);
  }
}

}  // namespace
}  // namespace zt::grant
