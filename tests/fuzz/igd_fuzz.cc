// SPDX-License-Identifier: Apache-2.0
// What a gateway says by UPnP: an answer to a search, a description, a reply to a call. Whatever it
// is, we call nobody but the gateway, and repeat nothing of it that is not what it should be.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "app/igd.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto gateway = zt::IpAddress::v4({192, 168, 1, 1});
  const std::string input(zt::as_text(std::as_bytes(std::span(data, size))));
  const auto is_path = [](const std::string& path) {
    return path.size() <= zt::app::kIgdTextSizeMax && path.starts_with('/') &&
           std::ranges::all_of(path, [](char c) { return c > ' ' && c < 0x7f; });
  };
  const auto location = zt::app::parse_igd_answer(input, gateway);
  ZT_ASSERT(!location || (is_path(location->path) && location->port != 0));
  const auto services = zt::app::parse_igd_description(input, {.port = 5000, .path = "/"}, gateway);
  ZT_ASSERT(services.size() <= 2);
  for (const zt::app::IgdService& service : services) {
    ZT_ASSERT(is_path(service.control.path) && service.control.port != 0);
    ZT_ASSERT(service.type.starts_with("urn:schemas-upnp-org:service:WAN"));
    ZT_ASSERT(service.type.find_first_of("<>&\"\r\n") == std::string::npos);
  }
  (void)zt::app::parse_igd_reply(input);
  return 0;
}
