// SPDX-License-Identifier: Apache-2.0
// Problems (RFC 9457): what was read can be written, and is read as the same again.

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/http/problem.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = zt::as_text(std::as_bytes(std::span(data, size)));
  const auto problem = zt::http::parse_problem(text, 500);
  if (!problem) return 0;
  ZT_ASSERT(problem->status >= 400 && problem->status <= 599);
  const auto again = zt::http::parse_problem(zt::http::to_json(*problem), problem->status);
  ZT_ASSERT(again && again->status == problem->status);
  // Once written, texts are cut and titled: from there on nothing changes.
  ZT_ASSERT(zt::http::parse_problem(zt::http::to_json(*again), again->status) == again);
  return 0;
}
