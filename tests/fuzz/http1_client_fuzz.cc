// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 responses: how the bytes are cut into pieces never changes what was answered. The first
// byte of the input is the size of the pieces, its top bit asks with HEAD.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "http/http1_client.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace {

using zt::http::Http1Client;

constexpr zt::Instant kNow{std::chrono::seconds(1)};

struct Answer {
  zt::http::Response response;
  std::string body;
  bool is_ended = false;
  bool is_failed = false;
};

void drain(Http1Client& client, Answer& answer) {
  while (auto event = client.poll_event()) {
    ZT_ASSERT(!answer.is_ended && !answer.is_failed);  // Nothing follows the end.
    if (auto* response = std::get_if<zt::http::Http1Response>(&*event)) {
      ZT_ASSERT(answer.response.status == 0);
      answer.response = std::move(response->response);
      ZT_ASSERT(answer.response.status >= 200 && answer.response.status <= 599);
    } else if (const auto* chunk = std::get_if<zt::http::Http1Chunk>(&*event)) {
      ZT_ASSERT(answer.response.status != 0 && !chunk->bytes.empty());
      answer.body += chunk->bytes;
    } else if (std::holds_alternative<zt::http::Http1Ended>(*event)) {
      answer.is_ended = true;
    } else {
      answer.is_failed = true;
    }
  }
}

Answer ask(std::string_view text, std::size_t piece_size, bool is_head) {
  Http1Client client({.body_size_max = std::nullopt});
  const zt::http::Request request{
      .method = is_head ? "HEAD" : "GET", .scheme = "https", .authority = "a.test", .path = "/"};
  ZT_ASSERT(client.start(request, "", kNow));
  client.sent(client.to_send().size());
  Answer answer;
  while (!text.empty()) {
    client.receive(text.substr(0, piece_size), kNow);
    text.remove_prefix(std::min(piece_size, text.size()));
    drain(client, answer);
  }
  client.receive_end(true);
  drain(client, answer);
  ZT_ASSERT(answer.is_ended || answer.is_failed);
  ZT_ASSERT(client.is_over());
  ZT_ASSERT(!is_head || answer.body.empty());
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 30'000) return 0;
  const bool is_head = (data[0] & 0x80U) != 0;
  const auto text = zt::as_text(std::as_bytes(std::span(data, size)).subspan(1));
  const Answer whole = ask(text, text.size() + 1, is_head);
  const Answer pieces = ask(text, (data[0] & 0x7fU) + std::size_t{1}, is_head);
  ZT_ASSERT(whole.is_ended == pieces.is_ended);
  ZT_ASSERT(whole.response == pieces.response);
  // A failure may come before bytes that would have been handed on.
  ZT_ASSERT(whole.is_failed || whole.body == pieces.body);
  return 0;
}
