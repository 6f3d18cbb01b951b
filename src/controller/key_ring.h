// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/key_ring.h: the keys with which a tenant signs, and which of them when.
//
// Theory of operation
//   A key is published from the moment it exists, signs from `active_from` until a later one is
//   active, and stays published until `retires`. Rotation adds a key that becomes active
//   kPublicationLead later, when every watcher has been told, and lets the others retire when all
//   that they signed has expired. Retired keys are not published, whether or not their rows are
//   gone.
//
// Limits   kKeysMax keys at a time; a further rotation is refused.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "crypto/signing_key.h"
#include "zt/controller/store.h"
#include "zt/grant/jwk.h"

namespace zt::controller {

class KeyRing {
 public:
  static constexpr std::size_t kKeysMax = 8;
  static constexpr std::chrono::seconds kPublicationLead{60};

  // make_row draws a key that signs from `active_from` on.
  [[nodiscard]] static TenantKey make_row(UnixTime active_from);

  // load reads the tenant's keys. It fails with `corrupt` if one is no key, or if there is none.
  [[nodiscard]] static StoreResult<KeyRing> load(Store& store, const TenantId& tenant);

  // signing_key returns the key to sign with at `now`: the latest active one; if the clock was set
  // back before all of them, the first.
  [[nodiscard]] const crypto::SigningKey& signing_key(UnixTime now) const;
  [[nodiscard]] const std::string& signing_kid(UnixTime now) const;

  // published returns the public keys that nodes shall believe at `now`.
  [[nodiscard]] grant::KeySet published(UnixTime now) const;

  // next_change returns when published() or signing_key() will next differ from what they are at
  // `now`.
  [[nodiscard]] std::optional<UnixTime> next_change(UnixTime now) const;

  // Listed is what may be told of a key.
  struct Listed {
    std::string kid;
    UnixTime active_from;
    std::optional<UnixTime> retires;
  };

  // listed returns all keys, in the order of activity.
  [[nodiscard]] std::vector<Listed> listed() const;
  [[nodiscard]] std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    Listed place;
    crypto::SigningKey key;
  };

  explicit KeyRing(std::vector<Key> keys) : keys_(std::move(keys)) {}
  [[nodiscard]] const Key& active(UnixTime now) const;

  std::vector<Key> keys_;  // Ordered by active_from; not empty.
};

}  // namespace zt::controller
