// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/http_status.h: the names of status codes (RFC 9110 section 15, RFC 6585).

#include <string_view>

namespace zt::http {

// reason_phrase returns the registered phrase of `status`, or that of its class's x00 code if it is
// not known here, or "Unknown".
[[nodiscard]] std::string_view reason_phrase(int status);

}  // namespace zt::http
