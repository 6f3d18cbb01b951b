// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/secret.h: bytes that must not reach a log, a copy, or memory that is handed back.
//
// Theory of operation
//   A Secret cannot be copied, formatted or compared with ==. It wipes its memory when it dies or
//   is moved from. Whoever needs the value says reveal(), a word that a reviewer can search for.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zt {

// wipe overwrites `size` bytes in a way that the optimiser keeps.
void wipe(void* data, std::size_t size) noexcept;

// equal_in_constant_time compares two values; the time depends on the sizes only.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view value) : value_(value.begin(), value.end()) {}
  explicit Secret(const char* value) : Secret(std::string_view(value)) {}

  // Secret takes the value out of `value` and wipes it there.
  // NOLINTNEXTLINE(cppcoreguidelines-rvalue-reference-param-not-moved): moving would leave a copy.
  explicit Secret(std::string&& value) : Secret(std::string_view(value)) {
    wipe(value.data(), value.size());
    value.clear();
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept : value_(std::exchange(other.value_, {})) {}
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe(value_.data(), value_.size());
      value_ = std::exchange(other.value_, {});
    }
    return *this;
  }
  ~Secret() { wipe(value_.data(), value_.size()); }

  // duplicate copies on purpose.
  [[nodiscard]] Secret duplicate() const { return Secret(reveal()); }

  // reveal returns the value; the view dies with the Secret.
  [[nodiscard]] std::string_view reveal() const { return {value_.data(), value_.size()}; }
  [[nodiscard]] bool is_empty() const { return value_.empty(); }

  // matches compares in constant time.
  [[nodiscard]] bool matches(std::string_view other) const {
    return equal_in_constant_time(reveal(), other);
  }

 private:
  // A vector and no string: short strings live inside the object and would stay in a moved-from
  // one.
  std::vector<char> value_;
};

}  // namespace zt
