// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/http1_message.h: between the heads of HTTP/1.1 and http::Request and http::Response.
//
// Theory of operation
//   What the parser found is judged here, once, by the rules of RFC 9112 and RFC 9110, and becomes
//   a Request that looks as if it had come by HTTP/3: scheme and authority are members, and the
//   fields that belong to the connection are gone. The writers go the other way and refuse whatever
//   could be read as more than one message.
//
// Threats  Request smuggling and response splitting: every doubt is a refusal.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "http/http1_parser.h"
#include "zt/http/message.h"

namespace zt::http {

// Refusal is why a request is answered by the transport itself.
struct Refusal {
  int status = 400;
  std::string_view detail;  // A sentence for a person, of static storage.
};

struct RequestHead {
  Request request;
  Framing framing;
  bool expects_continue = false;
  std::string upgrade;  // The protocols that the client would rather speak; usually none.
};

// judge_request turns the head of a request to an origin server into a Request, or says how to
// refuse it: 400 for anything ambiguous, 417 for an unknown expectation, 501 for CONNECT, 505 for
// HTTP/1.0.
[[nodiscard]] std::expected<RequestHead, Refusal> judge_request(const Http1Head& head);

// judge_response turns the head of a response into a Response; nothing if its framing is ambiguous
// or a field is malformed.
[[nodiscard]] std::optional<Response> judge_response(const Http1Head& head);

// is_consistent_request tells whether the authority, path and Host of a Request (from HTTP/3) agree
// and are well formed, by the same rules as in judge_request.
[[nodiscard]] bool is_consistent_request(const Request& request);

// without_connection_fields returns `fields` without those that concern one connection or the
// framing of one version (RFC 9110 section 7.6.1, and content-length, expect, host).
[[nodiscard]] Fields without_connection_fields(const Fields& fields);

// is_sendable tells whether a head can be written without being read as something else: method,
// target, names and values hold only what they may.
[[nodiscard]] bool is_sendable(const Request& request);
[[nodiscard]] bool is_sendable(const Response& response);

// BodyFraming is how the writer announces a body.
struct BodyFraming {
  enum class Kind : std::uint8_t {
    none,     // The message cannot have one (204, 304, a request without).
    length,   // content-length: size.
    chunked,  // transfer-encoding: chunked.
  };
  Kind kind = Kind::none;
  std::size_t size = 0;
};

// write_request_head and write_response_head need a sendable message. Connection fields of the
// message are left out; `is_last` adds "connection: close".
[[nodiscard]] std::string write_request_head(const Request& request, const BodyFraming& body,
                                             bool is_last);
[[nodiscard]] std::string write_response_head(const Response& response, const BodyFraming& body,
                                              bool is_last);

// write_chunk frames `bytes`, which must not be empty; kLastChunk ends a chunked body.
[[nodiscard]] std::string write_chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace zt::http
