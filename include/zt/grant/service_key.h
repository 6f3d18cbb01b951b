// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/service_key.h: the key file of a service account, with which a client or a pipeline signs
// in.
//
// Theory of operation
//   A file holds {"zt":"service-key","url":…,"pin":…,"key_id":"key_…","secret":…}: JSON, so that it
//   can be read by people and made by tools; `zt` says what it is.
//
// Limits   kServiceKeySizeMax bytes.

#include <cstddef>
#include <expected>

#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"
#include "zt/grant/bootstrap.h"

namespace zt::grant {

inline constexpr std::size_t kServiceKeySizeMax = 4096;

struct ServiceKey {
  Authority controller;
  Digest controller_key;  // The pin.
  KeyId id;
  Secret secret;  // As make_shared_secret returns it.

  // parse reads what format wrote; white space around JSON values is allowed. It fails with
  // `wrong_kind`, `malformed` or `wrong_url`.
  [[nodiscard]] static std::expected<ServiceKey, BootstrapError> parse(const Secret& text);

  // format writes JSON in several lines, with a newline at the end.
  [[nodiscard]] Secret format() const;
};

}  // namespace zt::grant
