// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/ids.h: names of things, each a type of its own, so that a tenant is never passed for a node.
//
// Theory of operation
//   Objects of the controller have textual ids: a prefix that says the kind, an underscore and 128
//   random bits ("res_5kq…", base32 of Crockford's alphabet in lower case). Ids are public: knowing
//   one proves nothing. RouteId and Digest are fixed-size binary values from the wire.

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/bytes.h"
#include "zt/base/random.h"

namespace zt {

// Id is a textual id. Empty means "none". `Tag::kPrefix` is the kind's prefix.
template <class Tag>
struct Id {
  std::string text;

  [[nodiscard]] bool is_empty() const { return text.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;
  friend bool operator==(const Id&, const Id&) = default;
};

// is_well_formed_id tells whether `text` is `prefix`, an underscore and 26 characters of the
// alphabet that encode 128 bits (the first character is at most 7).
[[nodiscard]] bool is_well_formed_id(std::string_view text, std::string_view prefix);

// make_id_text draws a new id text for `prefix`.
[[nodiscard]] std::string make_id_text(std::string_view prefix, Random& random);

// NOLINTBEGIN(bugprone-macro-parentheses): a name cannot stand in parentheses.
#define ZT_DEFINE_ID(Name, prefix)                      \
  struct Name##Tag {                                    \
    static constexpr std::string_view kPrefix = prefix; \
  };                                                    \
  using Name = Id<Name##Tag>
// NOLINTEND(bugprone-macro-parentheses)

ZT_DEFINE_ID(TenantId, "ten");
ZT_DEFINE_ID(UserId, "usr");
ZT_DEFINE_ID(GroupId, "grp");
ZT_DEFINE_ID(ServiceAccountId, "svc");
ZT_DEFINE_ID(KeyId, "key");  // A service account's key or an admin API key.
ZT_DEFINE_ID(DeviceId, "dev");
ZT_DEFINE_ID(NetworkId, "net");
ZT_DEFINE_ID(ConnectorId, "con");
ZT_DEFINE_ID(RelayId, "rly");
ZT_DEFINE_ID(ResourceId, "res");
ZT_DEFINE_ID(RuleId, "rul");      // An access rule.
ZT_DEFINE_ID(GrantId, "gra");     // A grant's `jti`.
ZT_DEFINE_ID(DecisionId, "dec");  // One answer of the policy engine, as recorded.
ZT_DEFINE_ID(FlowId, "flo");      // One TCP or UDP flow, as recorded by both ends.
ZT_DEFINE_ID(TokenId, "tok");     // An enrolment token.

#undef ZT_DEFINE_ID

template <class Tag>
[[nodiscard]] Id<Tag> make_id(Random& random) {
  return Id<Tag>{make_id_text(Tag::kPrefix, random)};
}

template <class Tag>
[[nodiscard]] std::optional<Id<Tag>> parse_id_as(std::string_view text) {
  if (!is_well_formed_id(text, Tag::kPrefix)) return std::nullopt;
  return Id<Tag>{std::string(text)};
}

// SubjectId names who asks: a user ("usr_…") or a service account ("svc_…").
struct SubjectId {
  std::string text;
  friend auto operator<=>(const SubjectId&, const SubjectId&) = default;
  friend bool operator==(const SubjectId&, const SubjectId&) = default;
};

// Fixed is an opaque value of exactly `Size` bytes.
template <class Tag, std::size_t Size>
struct Fixed {
  static constexpr std::size_t kSize = Size;
  std::array<std::byte, Size> bytes{};

  // from copies `view`, which must have exactly `Size` bytes; otherwise it returns nothing.
  [[nodiscard]] static std::optional<Fixed> from(BytesView view) {
    if (view.size() != Size) return std::nullopt;
    Fixed value;
    std::copy(view.begin(), view.end(), value.bytes.begin());
    return value;
  }

  // parse reads unpadded base64url.
  [[nodiscard]] static std::optional<Fixed> parse(std::string_view text) {
    const auto decoded = from_base64url(text);
    return decoded ? from(*decoded) : std::nullopt;
  }

  [[nodiscard]] std::string to_text() const { return to_base64url(bytes); }
  friend auto operator<=>(const Fixed&, const Fixed&) = default;
  friend bool operator==(const Fixed&, const Fixed&) = default;
};

struct RouteIdTag;
struct DigestTag;
using RouteId = Fixed<RouteIdTag, 8>;  // The first bytes of every connection ID of a node session.
using Digest = Fixed<DigestTag, 32>;   // SHA-256.

}  // namespace zt

// Binary values may be looked up in hash tables; their bytes are random or a hash.
template <class Tag, std::size_t Size>
struct std::hash<zt::Fixed<Tag, Size>> {
  std::size_t operator()(const zt::Fixed<Tag, Size>& value) const noexcept {
    std::size_t result = 0;
    for (std::size_t i = 0; i < std::min(sizeof(result), Size); ++i) {
      result = (result << 8U) | std::to_integer<std::size_t>(value.bytes[i]);
    }
    return result;
  }
};
