// SPDX-License-Identifier: Apache-2.0
#include "zt/base/secret.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <type_traits>
#include <utility>

namespace zt {
namespace {

static_assert(!std::is_copy_constructible_v<Secret>);
static_assert(!std::is_copy_assignable_v<Secret>);
static_assert(std::is_nothrow_move_constructible_v<Secret>);

template <class T>
concept CanBeCompared = requires(const T& a, const T& b) { a == b; };
static_assert(!CanBeCompared<Secret>);

TEST_CASE("a secret gives its value only when asked") {
  const Secret secret("hunter2");
  CHECK(secret.reveal() == "hunter2");
  CHECK_FALSE(secret.is_empty());
  CHECK(Secret().is_empty());
  CHECK(secret.duplicate().reveal() == "hunter2");
}

TEST_CASE("a secret takes the value out of a string") {
  std::string value = "short";
  const char* const characters = value.data();
  const Secret secret(std::move(value));
  CHECK(secret.reveal() == "short");
  CHECK(characters[0] == '\0');
  CHECK(characters[4] == '\0');
}

TEST_CASE("a secret that was moved from is empty") {
  Secret source("abc");
  Secret target(std::move(source));
  CHECK(source.is_empty());  // NOLINT(bugprone-use-after-move): the claim under test.
  CHECK(target.reveal() == "abc");
  source = std::move(target);
  CHECK(source.reveal() == "abc");
  CHECK(target.is_empty());  // NOLINT(bugprone-use-after-move): the claim under test.
}

TEST_CASE("a secret matches its value and nothing near it") {
  const Secret secret("abc");
  CHECK(secret.matches("abc"));
  for (const std::string_view other : {"", "ab", "abd", "bbc", "abcd", "ABC"}) {
    CAPTURE(other);
    CHECK_FALSE(secret.matches(other));
  }
  CHECK(Secret().matches(""));
}

TEST_CASE("wipe overwrites the given bytes and no more") {
  std::string bytes = "abcd";
  wipe(bytes.data() + 1, 2);
  CHECK(bytes == std::string("a\0\0d", 4));
  wipe(nullptr, 0);
}

}  // namespace
}  // namespace zt
