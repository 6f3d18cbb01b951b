// SPDX-License-Identifier: Apache-2.0
#include "controller/answer.h"

#include <fmt/format.h>

#include <algorithm>

namespace zt::controller {

http::Problem problem(int status, std::string detail) {
  http::Problem value;
  value.status = status;
  value.detail = std::move(detail);
  return value;
}

http::Problem no_such_object(std::string_view what) {
  return problem(404, fmt::format("there is no such {}", what));
}

http::Problem invalid_field(std::string_view name, std::string_view complaint) {
  return problem(422, fmt::format("\"{}\": {}", name, complaint));
}

http::Problem problem_of(StoreError error, std::string_view what) {
  switch (error) {
    case StoreError::not_found:
      return no_such_object(what);
    case StoreError::conflict:
      return problem(409, fmt::format("another {} has this name", what));
    case StoreError::stale:
      return problem(412, fmt::format("the {} has changed in the meantime", what));
    case StoreError::dangling:
      return problem(409, fmt::format("the {} is still in use, or refers to what is absent", what));
    case StoreError::full:
      return problem(507, "the controller's disk is full; nothing was changed");
    case StoreError::busy:
    case StoreError::corrupt:
    case StoreError::unsupported_schema:
    case StoreError::io_failure:
      return problem(503, "the controller's database does not answer; nothing was changed");
  }
  return problem(500, {});
}

Attempt<void> require_parameters(const Call& call, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : call.query.parameters()) {
    if (std::ranges::find(known, name) == known.end()) {
      return fail(problem(400, fmt::format("there is no parameter \"{}\" here", name)));
    }
  }
  return {};
}

}  // namespace zt::controller
