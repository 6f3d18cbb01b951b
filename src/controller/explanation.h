// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/explanation.h: a decision of the policy with all that led to it, as JSON.
//
// Theory of operation
//   The same engine that judges a grant judges a question; policy::trace adds what each rule has to
//   do with it. `told` is what the subject itself would hear.
// Threats  It names every rule of a resource: for administrators only.

#include <functional>

#include "controller/directory.h"
#include "wire/json.h"

namespace zt::controller {

// explanation_of judges `request` at the moment `now`. `is_online` tells of a connector.
[[nodiscard]] wire::Json explanation_of(const Directory& directory, const policy::Request& request,
                                        const std::function<bool(const ConnectorId&)>& is_online,
                                        UnixTime now);

}  // namespace zt::controller
