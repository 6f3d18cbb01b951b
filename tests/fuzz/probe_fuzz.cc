// SPDX-License-Identifier: Apache-2.0
// Probes and candidate lists: what is accepted comes back from what it writes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/candidates.h"
#include "zt/wire/probe.h"

namespace {

zt::wire::ProbeMac no_mac(zt::BytesView /*bytes*/) {
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (const auto probe = zt::wire::parse_probe(input)) {
    // The tag is the only part that the content does not decide.
    ZT_ASSERT(std::ranges::equal(zt::wire::probe_content(zt::wire::encode_probe(*probe)),
                                 zt::wire::probe_content(input)));
    ZT_ASSERT(zt::wire::probe_label_of(input) == probe->label);
  }
  const auto opened = zt::wire::open_probe(input, no_mac);
  ZT_ASSERT(!opened || zt::wire::parse_probe(input) == *opened);
  if (const auto list = zt::wire::parse_candidates(input)) {
    ZT_ASSERT(list->candidates.size() <= zt::wire::kCandidatesMax);
    ZT_ASSERT(zt::wire::parse_candidates(zt::wire::encode_candidates(*list)) == list);
  }
  return 0;
}
