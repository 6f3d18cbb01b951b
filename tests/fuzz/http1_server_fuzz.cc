// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 requests: how the bytes are cut into pieces never changes what was asked. The first byte
// of the input is the size of the pieces.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "http/http1_message.h"
#include "http/http1_server.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace {

using zt::http::Http1Request;
using zt::http::Http1Server;

constexpr zt::Instant kNow{std::chrono::seconds(1)};

// serve answers each request in `text`, given in pieces, and returns them.
std::vector<Http1Request> serve(std::string_view text, std::size_t piece_size) {
  Http1Server server({.body_size_max = 1000}, kNow);
  std::vector<Http1Request> requests;
  while (!text.empty() && !server.is_send_closed()) {
    ZT_ASSERT(server.wants_receive());
    server.receive(text.substr(0, piece_size), kNow);
    text.remove_prefix(std::min(piece_size, text.size()));
    while (auto request = server.poll_request()) {
      ZT_ASSERT(server.is_answering());
      ZT_ASSERT(request->body.size() <= 1000);
      ZT_ASSERT(zt::http::is_consistent_request(request->request));
      requests.push_back(std::move(*request));
      server.respond({.status = 200}, "ok", true, kNow);
    }
    server.sent(server.to_send().size(), kNow);
  }
  return requests;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 30'000) return 0;  // At once it must fit into Http1Server's input.
  const auto text = zt::as_text(std::as_bytes(std::span(data, size)).subspan(1));
  const auto whole = serve(text, text.size() + 1);
  const auto pieces = serve(text, std::size_t{data[0]} + 1);
  ZT_ASSERT(whole.size() == pieces.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    ZT_ASSERT(whole[i].request == pieces[i].request);
    ZT_ASSERT(whole[i].body == pieces[i].body);
  }
  return 0;
}
