// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/http1_parser.h: HTTP/1 messages out of a byte stream, one at a time (RFC 9112).
//
// Theory of operation
//   llhttp in its strict mode finds heads, bodies and ends; this class gathers them and stops at
//   each. parse() stops after a head, so that the owner can judge it before any body byte is read,
//   and after the end of a message, so that no byte of the next one is touched.
//
// Limits   Head size and field count; both answer `head_too_large`. What frames a body (chunk
// sizes,
//          extensions, trailer fields) may cost 8 bytes for each body byte and head_size_max
//          beside. Body bytes are handed on as they come and never more than one parse() was given.
// Threats  Request smuggling: every leniency of llhttp is off, and `check_framing` refuses on top
// of
//          it whatever another parser might read differently. Trailer fields are discarded.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "zt/http/message.h"

namespace zt::http {

enum class Http1Error : std::uint8_t {
  malformed,            // Not HTTP/1, or ambiguous. Answer 400 and close.
  head_too_large,       // Answer 431 and close.
  unsupported_version,  // Well formed, but neither HTTP/1.0 nor HTTP/1.1. Answer 505 and close.
};

// Http1Head is the head of a message as it was written; only field names are lower case.
struct Http1Head {
  std::string method;          // Of a request.
  std::string target;          // Of a request: any form of RFC 9112 section 3.2.
  int status = 0;              // Of a response.
  unsigned minor_version = 1;  // Of HTTP/1: 0 or 1.
  Fields fields;               // Values without white space around them.
};

// Framing is how the end of a body is found (RFC 9112 section 6).
struct Framing {
  std::optional<std::uint64_t> content_length;
  bool is_chunked = false;
};

// check_framing reads the framing fields of `head`; nothing if they are malformed, repeated, in
// contradiction, or name a coding other than `chunked`.
[[nodiscard]] std::optional<Framing> check_framing(const Http1Head& head);

struct Http1ParserState;

class Http1Parser {
 public:
  enum class Kind : std::uint8_t { request, response };
  struct Limits {
    std::size_t head_size_max = 32 << 10;  // Start line and fields, in bytes.
    std::size_t fields_max = 128;
  };
  enum class Stop : std::uint8_t {
    more,   // Everything was consumed; body() may have grown.
    head,   // A head is complete: see head(). Call parse() again for what follows, even with
            // nothing.
    end,    // The message is complete. Call restart() before the next one.
    error,  // See error(). Nothing can follow.
  };
  struct Step {
    std::size_t size = 0;  // How many bytes were consumed.
    Stop stop = Stop::more;
  };

  Http1Parser(Kind kind, const Limits& limits);
  Http1Parser(const Http1Parser&) = delete;
  Http1Parser& operator=(const Http1Parser&) = delete;
  ~Http1Parser();

  [[nodiscard]] Step parse(std::string_view bytes);

  // finish tells the parser that no byte follows, and returns whether the message is complete: it
  // is if the end of the connection is what delimits its body (RFC 9112 section 6.3 rule 8).
  [[nodiscard]] bool finish();

  // restart makes ready for the next message. A response to a HEAD request has no body whatever its
  // fields say (`is_body_absent`).
  void restart(bool is_body_absent = false);

  [[nodiscard]] const Http1Head& head() const;
  // take_body returns the body bytes found since it was last called.
  [[nodiscard]] std::string take_body();
  [[nodiscard]] Http1Error error() const;
  // is_started tells whether any byte of the current message was consumed.
  [[nodiscard]] bool is_started() const;
  // is_persistent tells whether another message may follow (RFC 9112 section 9.3), once there is a
  // head.
  [[nodiscard]] bool is_persistent() const;

 private:
  std::unique_ptr<Http1ParserState> state_;
};

}  // namespace zt::http
