// SPDX-License-Identifier: Apache-2.0
// What an application says to the local HTTP proxy: how the bytes are cut into pieces never changes
// where it wants to go. The first byte of the input is the size of the pieces.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "http/proxy_request.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace {

using zt::http::ProxyConnect;
using zt::http::ProxyOutcome;
using zt::http::ProxyRefusal;

std::optional<ProxyOutcome> ask(std::string_view text, std::size_t piece_size) {
  zt::http::ProxyRequestReader reader;
  while (!text.empty()) {
    auto outcome = reader.receive(text.substr(0, piece_size));
    text.remove_prefix(std::min(piece_size, text.size()));
    if (!outcome) continue;
    if (auto* connect = std::get_if<ProxyConnect>(&*outcome)) connect->early += text;
    return outcome;
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto text = zt::as_text(std::as_bytes(std::span(data, size)).subspan(1));
  const auto whole = ask(text, text.size() + 1);
  const auto pieces = ask(text, std::size_t{data[0]} + 1);
  ZT_ASSERT(whole.has_value() == pieces.has_value());
  if (!whole) return 0;
  ZT_ASSERT(whole->index() == pieces->index());
  if (const auto* connect = std::get_if<ProxyConnect>(&*whole)) {
    ZT_ASSERT(connect->target == std::get<ProxyConnect>(*pieces).target);
    ZT_ASSERT(connect->early == std::get<ProxyConnect>(*pieces).early);
    ZT_ASSERT(text.ends_with(connect->early));
    ZT_ASSERT(connect->target.port != 0);
  } else {
    ZT_ASSERT(std::get<ProxyRefusal>(*whole).answer.starts_with("HTTP/1.1 "));
  }
  return 0;
}
