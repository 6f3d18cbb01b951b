// SPDX-License-Identifier: Apache-2.0
// Netlink messages: any bytes are read, a fact is what it may be and no more, and the bytes behind
// a datagram's end do not matter.

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/network_facts.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Kind = zt::io::NetworkFact::Kind;
  const auto datagram = std::as_bytes(std::span(data, size));
  const auto report = zt::io::read_netlink(datagram);
  ZT_ASSERT(report.facts.empty() || report.has_news);
  ZT_ASSERT(report.error_number >= 0);
  ZT_ASSERT(report.is_end || report.error_number == 0);
  for (const auto& fact : report.facts) {
    ZT_ASSERT((fact.family == 0) == (fact.kind == Kind::link));
    ZT_ASSERT(fact.value.empty() == (fact.kind == Kind::link));
    ZT_ASSERT(fact.value.size() <= size);
    ZT_ASSERT(fact.kind != Kind::route || fact.interface_index == 0);
  }
  const auto route = zt::io::read_route_answer(datagram);
  ZT_ASSERT(!route || !route->gateway || route->gateway->is_v4());
  const auto front = zt::io::read_netlink(datagram.first(size / 2));
  ZT_ASSERT(front.facts.size() <= report.facts.size());
  for (std::size_t i = 0; i < front.facts.size(); ++i) {
    ZT_ASSERT(front.facts[i] == report.facts[i]);
  }
  return 0;
}
