// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/answer.h: one request as the API sees it, and what may be answered.
//
// Theory of operation
//   A handler is given a Call and returns an Outcome: an Answer, or the Problem that goes into the
//   response in its place. Handlers never touch the output queue; the engine turns the Outcome into
//   the one response that the exchange gets.

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "zt/base/time.h"
#include "zt/controller/store.h"
#include "zt/http/exchange.h"
#include "zt/http/problem.h"
#include "zt/http/query.h"

namespace zt::controller {

// Call is a request, taken apart. It borrows from the input and lives as long as one handle().
struct Call {
  http::ExchangeKey exchange{};
  const http::Request& request;
  std::string_view body;
  const http::Peer& peer;
  std::vector<std::string> path;  // The decoded segments, all of them.
  http::Query query;
  Now now;
};

// Answer is a response without an end of its own: all of the body is here.
struct Answer {
  int status = 200;
  std::string body;     // JSON, or empty.
  http::Fields fields;  // Besides content-type.
};

using Outcome = std::expected<Answer, http::Problem>;
template <class T>
using Attempt = std::expected<T, http::Problem>;

// problem makes one of `status` with a sentence for a person.
[[nodiscard]] http::Problem problem(int status, std::string detail);

// no_such_object is the one answer for ids that are absent, malformed, or another tenant's.
[[nodiscard]] http::Problem no_such_object(std::string_view what);

// invalid_field says that the member `name` of a body, or the parameter of a query, is wrong.
[[nodiscard]] http::Problem invalid_field(std::string_view name, std::string_view complaint);

// problem_of translates what the store says about an object that is called `what`.
[[nodiscard]] http::Problem problem_of(StoreError error, std::string_view what);

// fail wraps a problem for returning.
[[nodiscard]] inline std::unexpected<http::Problem> fail(http::Problem value) {
  return std::unexpected<http::Problem>(std::move(value));
}
[[nodiscard]] inline std::unexpected<http::Problem> fail(StoreError error, std::string_view what) {
  return fail(problem_of(error, what));
}

// require_parameters refuses queries with parameters other than `known`: a misspelt filter must not
// silently filter nothing. No path goes without it.
[[nodiscard]] Attempt<void> require_parameters(const Call& call,
                                               std::initializer_list<std::string_view> known);

}  // namespace zt::controller
