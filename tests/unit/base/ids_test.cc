// SPDX-License-Identifier: Apache-2.0
#include "zt/base/ids.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <set>

namespace zt {
namespace {

// ConstantRandom fills with one byte value.
class ConstantRandom final : public Random {
 public:
  explicit ConstantRandom(std::byte value) : value_(value) {}
  void fill(std::span<std::byte> bytes) override { std::fill(bytes.begin(), bytes.end(), value_); }

 private:
  std::byte value_;
};

TEST_CASE("an id is its kind, an underscore and 128 bits in 26 characters") {
  ConstantRandom zeros(std::byte{0});
  ConstantRandom ones(std::byte{255});
  CHECK(make_id<ResourceIdTag>(zeros).text == "res_00000000000000000000000000");
  CHECK(make_id<ResourceIdTag>(ones).text == "res_7zzzzzzzzzzzzzzzzzzzzzzzzz");
}

TEST_CASE("an id carries every bit that was drawn") {
  SeededRandom random(3);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto id = make_id<TenantIdTag>(random);
    REQUIRE(parse_id_as<TenantIdTag>(id.text) == id);
    seen.insert(id.text);
  }
  CHECK(seen.size() == 1000);
}

TEST_CASE("only well-formed ids of the right kind are read") {
  const std::string good = "res_7zzzzzzzzzzzzzzzzzzzzzzzzz";
  CHECK(parse_id_as<ResourceIdTag>(good).has_value());
  for (const std::string_view text : {
           "",
           "res_",
           "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz",   // Another kind.
           "res_8zzzzzzzzzzzzzzzzzzzzzzzzz",   // Bit 129 set.
           "res_7zzzzzzzzzzzzzzzzzzzzzzzz",    // 25 characters.
           "res_7zzzzzzzzzzzzzzzzzzzzzzzzzz",  // 27 characters.
           "res-7zzzzzzzzzzzzzzzzzzzzzzzzz",
           "RES_7zzzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7Zzzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7izzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7lzzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7ozzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7uzzzzzzzzzzzzzzzzzzzzzzzz",
           "res_7/zzzzzzzzzzzzzzzzzzzzzzzz",
       }) {
    CAPTURE(text);
    CHECK_FALSE(parse_id_as<ResourceIdTag>(text).has_value());
  }
}

TEST_CASE("a fixed value takes exactly its size") {
  const Bytes seven(7);
  const Bytes eight(8, std::byte{0xab});
  const Bytes nine(9);
  CHECK_FALSE(RouteId::from(seven).has_value());
  CHECK_FALSE(RouteId::from(nine).has_value());
  const RouteId route = RouteId::from(eight).value();
  CHECK(route.to_text() == "q6urq6urq6s");
  CHECK(RouteId::parse("q6urq6urq6s") == route);
  CHECK_FALSE(RouteId::parse("q6urq6urq6s=").has_value());
  CHECK_FALSE(RouteId::parse("q6urq6urqw").has_value());
  CHECK(std::hash<RouteId>()(route) == 0xababababababababU);
}

}  // namespace
}  // namespace zt
