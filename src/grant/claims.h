// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/claims.h: what the claims of our tokens have in common. Included by the sources of grant
// only.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "wire/json.h"
#include "zt/base/ids.h"
#include "zt/base/protocol.h"
#include "zt/base/time.h"
#include "zt/grant/jws.h"

namespace zt::grant {

// id_member reads an id of one kind into `id`; it returns false if there is none.
template <class Tag>
[[nodiscard]] bool id_member(const wire::Json& object, const char* name, Id<Tag>& id) {
  const auto text = wire::text_member(object, name);
  auto parsed = text ? parse_id_as<Tag>(*text) : std::nullopt;
  if (!parsed) return false;
  id = std::move(*parsed);
  return true;
}

// confirmation_of reads `cnf` (RFC 7800): {"x5t#S256": digest} and nothing else.
[[nodiscard]] std::optional<Digest> confirmation_of(const wire::Json& claims);
[[nodiscard]] wire::Json to_confirmation(const Digest& certificate);

// ports_of reads a list of ranges; it must not be empty, nor longer than `size_max`.
[[nodiscard]] std::optional<std::vector<PortRange>> ports_of(const wire::Json& list,
                                                             std::size_t size_max);
[[nodiscard]] wire::Json to_ports(const std::vector<PortRange>& ports);

// Validity is the three dates of a token.
struct Validity {
  UnixTime issued_at;
  UnixTime not_before;
  UnixTime expires_at;
};

// validity_of reads iat, nbf and exp; it refuses an exp that is not after both of the others.
[[nodiscard]] std::optional<Validity> validity_of(const wire::Json& claims);

void set_validity(wire::Json& claims, const Validity& validity);

// has_begun tells whether `time`, of another machine's clock, lies at most `leeway` ahead of `now`.
[[nodiscard]] inline bool has_begun(UnixTime time, UnixTime now, std::chrono::seconds leeway,
                                    std::chrono::seconds leeway_max) {
  return time <= now + std::clamp(leeway, std::chrono::seconds{0}, leeway_max);
}

// from_jws_error maps to the enumerator of the same name of one of our error types.
template <class Error>
[[nodiscard]] Error from_jws_error(JwsError error) {
  switch (error) {
    case JwsError::too_large:
      return Error::too_large;
    case JwsError::malformed:
      return Error::malformed;
    case JwsError::wrong_header:
      return Error::wrong_header;
    case JwsError::wrong_algorithm:
      return Error::wrong_algorithm;
    case JwsError::wrong_type:
      return Error::wrong_type;
    case JwsError::unknown_key:
      return Error::unknown_key;
    case JwsError::bad_signature:
      return Error::bad_signature;
  }
  return Error::malformed;
}

}  // namespace zt::grant
