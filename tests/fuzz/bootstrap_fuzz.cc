// SPDX-License-Identifier: Apache-2.0
// Enrolment tokens ("zt1.…", or their JSON after a "J") and service keys: what is accepted is the
// same after being written and read again.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/secret.h"
#include "zt/grant/enrolment_token.h"
#include "zt/grant/service_key.h"

namespace zt::grant {
namespace {

void check_token(std::string_view text) {
  const auto token = EnrolmentToken::parse(Secret(text));
  if (!token) return;
  const auto again = EnrolmentToken::parse(token->format());
  ZT_ASSERT(again.has_value());
  ZT_ASSERT(again->controller == token->controller);
  ZT_ASSERT(again->controller_key == token->controller_key);
  ZT_ASSERT(again->secret.matches(token->secret.reveal()));
  ZT_ASSERT(again->kind == token->kind);
}

void check_key(std::string_view text) {
  const auto key = ServiceKey::parse(Secret(text));
  if (!key) return;
  const auto again = ServiceKey::parse(key->format());
  ZT_ASSERT(again.has_value());
  ZT_ASSERT(again->controller == key->controller);
  ZT_ASSERT(again->controller_key == key->controller_key);
  ZT_ASSERT(again->id == key->id);
  ZT_ASSERT(again->secret.matches(key->secret.reveal()));
}

}  // namespace
}  // namespace zt::grant

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = zt::as_text(std::as_bytes(std::span(data, size)));
  zt::grant::check_token(input);
  zt::grant::check_key(input);
  if (input.starts_with('J')) {
    const auto json = zt::as_bytes(input.substr(1));
    zt::grant::check_token("zt1." + zt::to_base64url(json));
  }
  return 0;
}
