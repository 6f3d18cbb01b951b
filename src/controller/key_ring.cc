// SPDX-License-Identifier: Apache-2.0
#include "controller/key_ring.h"

#include <utility>

#include "zt/base/assert.h"

namespace zt::controller {

TenantKey KeyRing::make_row(UnixTime active_from) {
  const crypto::SigningKey key = crypto::SigningKey::create();
  return {.kid = grant::thumbprint(key.public_key()).to_text(),
          .seed = key.seed(),
          .active_from = active_from,
          .retires = std::nullopt};
}

StoreResult<KeyRing> KeyRing::load(Store& store, const TenantId& tenant) {
  auto rows = store.keys(tenant);
  if (!rows) return std::unexpected(rows.error());
  std::vector<Key> keys;
  for (const TenantKey& row : *rows) {
    auto key = crypto::SigningKey::from_seed(row.seed);
    if (!key) return std::unexpected(StoreError::corrupt);
    keys.push_back({{row.kid, row.active_from, row.retires}, std::move(*key)});
  }
  if (keys.empty()) return std::unexpected(StoreError::corrupt);
  return KeyRing(std::move(keys));
}

const KeyRing::Key& KeyRing::active(UnixTime now) const {
  ZT_ASSERT(!keys_.empty());
  const Key* latest = &keys_.front();
  for (const Key& key : keys_) {
    if (key.place.active_from <= now) latest = &key;
  }
  return *latest;
}

const crypto::SigningKey& KeyRing::signing_key(UnixTime now) const {
  return active(now).key;
}

const std::string& KeyRing::signing_kid(UnixTime now) const {
  return active(now).place.kid;
}

grant::KeySet KeyRing::published(UnixTime now) const {
  grant::KeySet set;
  for (const Key& key : keys_) {
    if (key.place.retires && *key.place.retires <= now) continue;
    ZT_ASSERT(set.add(key.key.public_key()));
  }
  return set;
}

std::optional<UnixTime> KeyRing::next_change(UnixTime now) const {
  std::optional<UnixTime> next;
  for (const Key& key : keys_) {
    for (const auto& time : {std::optional(key.place.active_from), key.place.retires}) {
      if (time && *time > now) next = earlier_of(next, time);
    }
  }
  return next;
}

std::vector<KeyRing::Listed> KeyRing::listed() const {
  std::vector<Listed> list;
  list.reserve(keys_.size());
  for (const Key& key : keys_) list.push_back(key.place);
  return list;
}

}  // namespace zt::controller
