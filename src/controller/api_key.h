// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/api_key.h: the text of an API key.
//
// Theory of operation
//   "zta_" and a shared secret (zt/grant/bootstrap.h). The prefix tells people, and scanners that
//   look for secrets in sources, what they have before them.

#include <string_view>

#include "zt/base/random.h"
#include "zt/base/secret.h"

namespace zt::controller {

// make_api_key draws a key. Its SHA-256 is what ApiKey::secret_hash keeps.
[[nodiscard]] Secret make_api_key(Random& random);

// is_api_key tells whether `text` has the form that make_api_key gives it.
[[nodiscard]] bool is_api_key(std::string_view text);

}  // namespace zt::controller
