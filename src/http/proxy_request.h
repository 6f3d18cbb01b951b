// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/proxy_request.h: what an application says to a local HTTP proxy, and what it is told.
//
// Theory of operation
//   An application that uses `--http-proxy` begins with a CONNECT request (RFC 9110 section 9.3.6);
//   behind its head the stream belongs to the application and the target. A ProxyRequestReader is
//   fed until it says what was asked. Everything but CONNECT is refused with a text that says what
//   to do.
//
// Limits   head_size_max bytes, kProxyFieldsMax fields (431).
// Threats  A web page can make a browser send GET and POST here, but no CONNECT: those are refused
//          before anything is dialled. Credentials that the application sends are not looked at.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "http/http1_parser.h"
#include "zt/base/host.h"

namespace zt::http {

inline constexpr std::size_t kProxyHeadSizeMax = 16 << 10;
inline constexpr std::size_t kProxyFieldsMax = 128;

struct ProxyConnect {
  Authority target;
  std::string early;  // What the application has already sent for the target.
};

struct ProxyRefusal {
  int status = 400;
  std::string answer;  // A whole response. Send it and close.
};

using ProxyOutcome = std::variant<ProxyConnect, ProxyRefusal>;

class ProxyRequestReader {
 public:
  explicit ProxyRequestReader(std::size_t head_size_max = kProxyHeadSizeMax);

  // receive takes bytes from the application, in order. It returns nothing until the head is
  // complete; with the outcome the reader is done, and must not be called again.
  [[nodiscard]] std::optional<ProxyOutcome> receive(std::string_view bytes);

 private:
  Http1Parser parser_;
};

// proxy_established returns the response after which the stream is the target's.
[[nodiscard]] std::string proxy_established();

// proxy_failure returns a whole response with `status` (400 to 599) and `detail` as its text.
// `proxy_status` is the value of a Proxy-Status field (RFC 9209); empty leaves it out.
[[nodiscard]] std::string proxy_failure(int status, std::string_view detail,
                                        std::string_view proxy_status = {});

}  // namespace zt::http
