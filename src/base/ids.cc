// SPDX-License-Identifier: Apache-2.0
#include "zt/base/ids.h"

#include <cstdint>

namespace zt {
namespace {

// kAlphabet is Crockford's base32 in lower case: no i, l, o, u.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

// kCharacters is the length of 128 bits in base32; the first character holds only three of them.
constexpr std::size_t kCharacters = 26;

}  // namespace

bool is_well_formed_id(std::string_view text, std::string_view prefix) {
  if (text.size() != prefix.size() + 1 + kCharacters) return false;
  if (!text.starts_with(prefix) || text[prefix.size()] != '_') return false;
  const std::string_view random_part = text.substr(prefix.size() + 1);
  return random_part.front() <= '7' &&
         random_part.find_first_not_of(kAlphabet) == std::string_view::npos;
}

std::string make_id_text(std::string_view prefix, Random& random) {
  std::uint64_t high = random.next();
  std::uint64_t low = random.next();
  std::array<char, kCharacters> characters{};
  for (std::size_t i = kCharacters; i > 0; --i) {
    characters[i - 1] = kAlphabet[low & 31U];
    low = (low >> 5U) | (high << 59U);
    high >>= 5U;
  }
  std::string text(prefix);
  text.push_back('_');
  text.append(characters.data(), characters.size());
  return text;
}

}  // namespace zt
