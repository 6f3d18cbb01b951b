// SPDX-License-Identifier: Apache-2.0
// The lines of a watch stream: any bytes are read or refused, and what is taken keeps to its
// limits.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "node/watch_message.h"
#include "zt/base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace node = zt::node;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as characters.
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto message = node::parse_watch_message(line);
  if (!message) return 0;
  if (const auto* snapshot = std::get_if<node::WatchSnapshot>(&*message)) {
    ZT_ASSERT(snapshot->relays.size() <= node::kWatchRelaysMax);
    ZT_ASSERT(snapshot->tenants.size() <= node::kWatchTenantsMax);
    ZT_ASSERT(snapshot->revoked.size() <= node::kWatchGrantsMax);
    ZT_ASSERT(!snapshot->pass || !snapshot->pass->token.reveal().empty());
    for (const node::TenantKeys& tenant : snapshot->tenants) {
      ZT_ASSERT(tenant.blocked.size() <= node::kWatchBlockedMax);
    }
  } else if (const auto* relays = std::get_if<node::WatchRelays>(&*message)) {
    ZT_ASSERT(relays->relays.size() <= node::kWatchRelaysMax);
  } else if (const auto* revoke = std::get_if<node::WatchRevoke>(&*message)) {
    ZT_ASSERT(revoke->grants.size() <= node::kWatchGrantsMax);
  } else if (const auto* observed = std::get_if<node::WatchObserved>(&*message)) {
    ZT_ASSERT(zt::SocketAddress::parse(observed->address.to_text()) == observed->address);
  }
  return 0;
}
