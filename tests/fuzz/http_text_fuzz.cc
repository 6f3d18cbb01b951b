// SPDX-License-Identifier: Apache-2.0
// URLs, queries, paths and authorities: what is accepted is written in one spelling, which is read
// as the same value.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/http/query.h"
#include "zt/http/url.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = zt::as_text(std::as_bytes(std::span(data, size)));
  if (const auto url = zt::http::Url::parse(text)) {
    const std::string canonical = url->to_text();
    ZT_ASSERT(zt::http::Url::parse(canonical) == url);
    ZT_ASSERT(url->to_text() == canonical);
    ZT_ASSERT(zt::http::split_target(url->path).query.empty());
  }
  if (const auto authority = zt::http::parse_host_and_port(text, 443)) {
    ZT_ASSERT(zt::http::parse_host_and_port(authority->to_text(), 1) == authority);
  }
  if (const auto query = zt::http::Query::parse(text)) {
    std::string again;
    for (const auto& [name, value] : query->parameters()) {
      again += zt::http::percent_encode(name) + "=" + zt::http::percent_encode(value) + "&";
    }
    const auto reread = zt::http::Query::parse(again);
    ZT_ASSERT(reread && reread->parameters() == query->parameters());
  }
  if (const auto segments = zt::http::split_path(text)) {
    std::string again = segments->empty() ? "/" : "";
    for (const std::string& segment : *segments) {
      ZT_ASSERT(!segment.empty() && segment != "." && segment != "..");
      again += "/" + zt::http::percent_encode(segment);
    }
    ZT_ASSERT(zt::http::split_path(again) == segments);
  }
  const std::string encoded = zt::http::percent_encode(text);
  if (const auto decoded = zt::http::percent_decode(encoded)) ZT_ASSERT(*decoded == text);
  return 0;
}
