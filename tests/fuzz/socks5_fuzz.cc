// SPDX-License-Identifier: Apache-2.0
// SOCKS5 messages: a message is whole only with all of its bytes, and no answer changes when more
// of them arrive.

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/wire/socks5.h"

namespace {

// check_prefixes parses the input as it would arrive byte by byte.
template <class Message>
void check_prefixes(zt::BytesView input,
                    zt::wire::ParsedOrMore<Message> (*parse)(zt::BytesView input)) {
  const auto whole = parse(input);
  for (std::size_t size = 0; size < input.size(); ++size) {
    const auto early = parse(input.first(size));
    if (!early) {
      ZT_ASSERT(!whole && whole.error() == early.error());
    } else if (*early) {
      ZT_ASSERT(whole && *whole && (*whole)->size == (*early)->size && (*early)->size <= size);
    }
  }
  ZT_ASSERT(!whole || !*whole || (*whole)->size <= input.size());
  ZT_ASSERT(!whole || *whole || input.size() < zt::wire::kSocksMessageSizeMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (size <= 2 * zt::wire::kSocksMessageSizeMax) {
    check_prefixes<zt::wire::SocksGreeting>(input, zt::wire::parse_socks_greeting);
    check_prefixes<zt::wire::SocksRequest>(input, zt::wire::parse_socks_request);
  }
  if (const auto datagram = zt::wire::parse_socks_datagram(input)) {
    const zt::Bytes encoded = zt::wire::encode_socks_datagram(*datagram);
    const auto again = zt::wire::parse_socks_datagram(encoded);
    ZT_ASSERT(again && again->peer == datagram->peer);
    ZT_ASSERT(again->payload.size() == datagram->payload.size());
  }
  return 0;
}
