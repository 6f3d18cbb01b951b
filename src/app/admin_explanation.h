// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_explanation.h: what the administrators' API explains about a decision, for people.

#include <string>

#include "wire/json.h"

namespace zt::app {

// explanation_text writes the decision, what the subject hears, and each resource that the target
// belongs to with the rules that name it. Members of the wrong type are as good as absent.
[[nodiscard]] std::string explanation_text(const wire::Json& explanation);

}  // namespace zt::app
