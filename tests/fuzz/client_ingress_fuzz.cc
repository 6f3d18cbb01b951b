// SPDX-License-Identifier: Apache-2.0
// What an application or a user hands to the client: SOCKS5 in any pieces, and forwards as text.

#include <cstddef>
#include <cstdint>
#include <span>

#include "zt/base/assert.h"
#include "zt/client/forward.h"
#include "zt/client/socks_session.h"

namespace {

using zt::client::Forward;
using zt::client::SocksSession;

// feed hands `input` over in pieces of `size` bytes, for as long as the session wants any.
SocksSession feed(zt::BytesView input, std::size_t size) {
  SocksSession session(zt::Instant(std::chrono::seconds(1)));
  while (!input.empty() && session.wants_bytes()) {
    const zt::BytesView piece = input.first(std::min(size, input.size()));
    session.receive(piece);
    input = input.subspan(piece.size());
  }
  return session;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const zt::BytesView input = std::as_bytes(std::span(data, size));
  SocksSession whole = feed(input, input.size());
  SocksSession pieces = feed(input, 1);
  ZT_ASSERT(whole.wanted().has_value() == pieces.wanted().has_value());
  ZT_ASSERT(whole.is_closed() == pieces.is_closed());
  ZT_ASSERT(whole.take_output() == pieces.take_output());
  if (whole.wanted()) {
    ZT_ASSERT(whole.wanted()->target == pieces.wanted()->target);
    whole.accept({});
    ZT_ASSERT(whole.is_done() && whole.take_rest().size() < input.size());
  }

  const auto forward = Forward::parse(zt::as_text(input));
  if (forward) {
    ZT_ASSERT(Forward::parse(forward->to_text()) == forward);
  } else {
    ZT_ASSERT(!zt::client::explain(forward.error(), zt::as_text(input)).empty());
  }
  return 0;
}
