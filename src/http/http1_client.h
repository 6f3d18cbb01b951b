// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/http1_client.h: the asking side of one HTTP/1.1 connection, on bytes that TLS has opened.
//
// Theory of operation
//   One request at a time: start() writes it, then poll_event() gives Http1Response, any number of
//   Http1Chunk, and Http1Ended; or Http1Failed at any point, after which the connection is useless.
//   Interim responses are skipped. is_ready() tells when another request may start.
//
// Limits   Head and fields as in Http1Parser; body_size_max if given; interim_max interim
// responses.
//          Chunks are handed on as they arrive: drain poll_event() after each receive().
// Time     The response's head must be complete within response_timeout, and after that some byte
// must
//          come within every silence_max.
// Threats  A response that ends by the end of the connection is complete only if TLS says that the
//          end is genuine (close_notify): see receive_end().

#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "http/http1_message.h"
#include "http/http1_parser.h"
#include "zt/base/time.h"
#include "zt/http/message.h"

namespace zt::http {

enum class Http1ClientError : std::uint8_t {
  busy,       // start(): a response is outstanding, or the connection is over. Use another one.
  malformed,  // start(): the request cannot be written. Else: the server's bytes are no response.
  too_large,  // A limit of ours.
  truncated,  // The connection ended within the response, or before it.
  timeout,    // Nothing came in time.
};
[[nodiscard]] std::string_view to_text(Http1ClientError error);

struct Http1Response {  // The final response's head.
  Response response;
};
struct Http1Chunk {  // Some bytes of its body, never none.
  std::string bytes;
};
struct Http1Ended {};
struct Http1Failed {
  Http1ClientError error{};
};
using Http1Event = std::variant<Http1Response, Http1Chunk, Http1Ended, Http1Failed>;

class Http1Client {
 public:
  struct Limits {
    Http1Parser::Limits head;
    std::optional<std::uint64_t> body_size_max = 1 << 20;  // None: endless.
    unsigned interim_max = 8;
    Duration response_timeout = std::chrono::seconds(10);
    Duration silence_max = std::chrono::seconds(45);
  };

  explicit Http1Client(const Limits& limits);
  Http1Client(const Http1Client&) = delete;
  Http1Client& operator=(const Http1Client&) = delete;

  // start writes a request with all of its body. It fails with `busy` or `malformed` and changes
  // nothing then.
  [[nodiscard]] std::expected<void, Http1ClientError> start(const Request& request,
                                                            std::string_view body, Instant now);
  [[nodiscard]] bool is_ready() const { return phase_ == Phase::idle; }

  // receive takes bytes from the server, in order. Bytes that answer no request end the connection.
  void receive(std::string_view bytes, Instant now);
  // receive_end says that the server sends no more. `is_genuine`: TLS has authenticated the end.
  void receive_end(bool is_genuine);

  [[nodiscard]] std::optional<Http1Event> poll_event();

  [[nodiscard]] std::string_view to_send() const { return unsent_; }
  void sent(std::size_t size);

  // is_over tells that no request can follow: close the connection.
  [[nodiscard]] bool is_over() const { return phase_ == Phase::over; }

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  enum class Phase : std::uint8_t { idle, head, body, over };

  bool accept_head(Instant now);
  void accept_body();
  void end();
  void fail(Http1ClientError error);

  Limits limits_;
  Http1Parser parser_;
  Phase phase_ = Phase::idle;
  std::string unsent_;
  std::deque<Http1Event> events_;
  Instant deadline_;  // In the phases head and body.
  std::uint64_t body_size_ = 0;
  unsigned interim_count_ = 0;
  bool is_head_method_ = false;
};

}  // namespace zt::http
