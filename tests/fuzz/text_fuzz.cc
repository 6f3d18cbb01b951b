// SPDX-License-Identifier: Apache-2.0
// The texts of base and policy: whatever is accepted has one spelling, which is accepted as the
// same.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/host.h"
#include "zt/base/protocol.h"
#include "zt/base/rfc3339.h"
#include "zt/policy/address_pattern.h"

namespace {

template <class Value>
void check_spelling(std::string_view text) {
  const auto value = Value::parse(text);
  if (value) ZT_ASSERT(Value::parse(value->to_text()) == value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = zt::as_text(std::as_bytes(std::span(data, size)));
  check_spelling<zt::IpAddress>(text);
  check_spelling<zt::IpPrefix>(text);
  check_spelling<zt::SocketAddress>(text);
  check_spelling<zt::Authority>(text);
  check_spelling<zt::PortRange>(text);
  check_spelling<zt::policy::AddressPattern>(text);
  if (const auto host = zt::parse_host(text)) {
    ZT_ASSERT(zt::parse_host(zt::to_text(*host)) == host);
    const auto pattern = zt::policy::AddressPattern::parse(zt::to_text(*host));
    ZT_ASSERT(pattern && pattern->matches(*host) && pattern->literal_host());
  }
  if (const auto bytes = zt::from_base64url(text)) ZT_ASSERT(zt::to_base64url(*bytes) == text);
  if (const auto bytes = zt::from_base64(text)) ZT_ASSERT(zt::to_base64(*bytes) == text);
  if (const auto time = zt::parse_rfc3339(text)) {
    ZT_ASSERT(zt::parse_rfc3339(zt::to_rfc3339(*time)) == time);
  }
  if (const auto duration = zt::parse_duration(text)) ZT_ASSERT(*duration > zt::Duration(0));
  return 0;
}
