// SPDX-License-Identifier: Apache-2.0
// What a crash left of the flow reports: any bytes are read, whole lines in front keep their
// meaning, and what was read says the same when it is written again.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "node/flow_spool.h"
#include "zt/base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using zt::node::SpoolLine;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto kept = zt::node::recover_flows(text);
  ZT_ASSERT(kept.waiting.empty() || kept.waiting.rbegin()->first <= kept.number_last);
  ZT_ASSERT(kept.number_last <= SpoolLine::kNumberMax);

  // Behind whole lines, the input is damage or more lines, and never changes what they said.
  const std::string line =
      to_text(SpoolLine{.number = 1, .event = R"({"event":"denied","id":"flo_first"})"});
  const auto longer = zt::node::recover_flows(line + std::string(text));
  ZT_ASSERT(longer.damaged_count == kept.damaged_count);
  ZT_ASSERT(longer.open == kept.open);

  std::string again;
  for (const auto& [flow, event] : kept.open) {
    again += to_text(SpoolLine{.kind = SpoolLine::Kind::open, .number = 0, .event = event});
  }
  const auto reread = zt::node::recover_flows(again);
  ZT_ASSERT(reread.open == kept.open && reread.damaged_count == 0);

  if (const auto parsed = zt::node::parse_spool_line(text)) {
    const std::string written = to_text(*parsed);
    ZT_ASSERT(written.ends_with('\n'));
    ZT_ASSERT(zt::node::parse_spool_line(written.substr(0, written.size() - 1)) == parsed);
  }
  return 0;
}
