// SPDX-License-Identifier: Apache-2.0
// A Proxy-Status field that is accepted is the same after being written and read again.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/proxy_status.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto members =
      zt::wire::parse_proxy_status(zt::as_text(std::as_bytes(std::span(data, size))));
  if (!members) return 0;
  ZT_ASSERT(members->size() <= zt::wire::kProxyStatusMembersMax);
  std::string field;
  for (const zt::wire::ProxyStatus& member : *members) {
    field.append(field.empty() ? "" : ", ").append(zt::wire::to_text(member));
  }
  // Written again, backslashes may make a field of the largest size too large.
  if (field.size() <= zt::wire::kProxyStatusSizeMax) {
    ZT_ASSERT(zt::wire::parse_proxy_status(field) == members);
  }
  return 0;
}
