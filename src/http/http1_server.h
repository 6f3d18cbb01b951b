// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/http1_server.h: the serving side of one HTTP/1.1 connection, on bytes that TLS has opened.
//
// Theory of operation
//   A connection is in one of five phases: head, body, answering, draining, over. A request is
//   handed out by poll_request() when its body is complete; only when its response is complete is
//   the next byte parsed. Pipelined requests therefore wait in the input, one at a time, in order.
//   Whatever is refused by the rules of RFC 9112 is answered by this class with a problem and ends
//   the connection: after a doubt about where a message ends nothing more is understood. What still
//   arrives is thrown away for linger_timeout, so that a client in the middle of an upload reads
//   the refusal and not a reset (RFC 9112 section 9.6).
//
//   Who offers another protocol is told so by `upgrade`; switch_protocols answers 101, and what
//   follows is no HTTP.
//
// Limits   Head and fields as in Http1Parser (431), body_size_max (413), received_size_max bytes
// wait
//          unparsed (wants_receive() turns false before). Appended bytes that the client does not
//          fetch may reach queued_size_max; then append() fails and the connection is over.
// Time     A head has head_timeout from its first byte, or from the start of the connection; a body
//          has body_timeout (408 each). Between requests idle_timeout. While something waits to be
//          sent, some of it must leave within send_timeout.
// Threats  Slow senders and readers (deadlines), smuggling (judge_request), floods (one request at
// a
//          time, bounded input).

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "http/http1_message.h"
#include "http/http1_parser.h"
#include "zt/base/time.h"
#include "zt/http/message.h"

namespace zt::http {

struct Http1Request {
  Request request;
  std::string body;
  std::string upgrade;  // The protocols that the client offers to go on with (RFC 9110 7.8).
};

class Http1Server {
 public:
  struct Limits {
    Http1Parser::Limits head;
    std::size_t body_size_max = 1 << 20;
    std::size_t received_size_max = 64 << 10;
    std::size_t queued_size_max = 1 << 20;
    Duration head_timeout = std::chrono::seconds(10);
    Duration body_timeout = std::chrono::seconds(30);
    Duration idle_timeout = std::chrono::seconds(60);
    Duration send_timeout = std::chrono::seconds(30);
    Duration linger_timeout = std::chrono::seconds(2);
  };

  Http1Server(const Limits& limits, Instant now);
  Http1Server(const Http1Server&) = delete;
  Http1Server& operator=(const Http1Server&) = delete;

  // receive takes bytes from the client, in order, at most received_size_max / 2 at once and none
  // while wants_receive() is false. If received_size_max is overrun, the connection ends without an
  // answer.
  void receive(std::string_view bytes, Instant now);
  [[nodiscard]] bool wants_receive() const;

  // poll_request returns a complete request. It must be answered before there is another.
  [[nodiscard]] std::optional<Http1Request> poll_request();

  // respond answers the request that poll_request() returned, once. An unsendable response becomes
  // a problem with status 500. The body may be of any size: it was made here.
  void respond(const Response& response, std::string_view body, bool is_end, Instant now);
  // switch_protocols answers the request with 101 in the place of respond(): the owner speaks
  // `protocol` once to_send() is empty. It returns what has come behind the request already.
  [[nodiscard]] std::string switch_protocols(std::string_view protocol, Instant now);
  // append adds to a response without end. It returns whether the connection still carries it: no
  // if the client fetches too slowly (the connection is over then), or if the request was HEAD.
  bool append(std::string_view chunk, Instant now);
  void finish(Instant now);
  // is_answering tells whether a request was handed out and its response is not complete.
  [[nodiscard]] bool is_answering() const { return phase_ == Phase::answering; }

  // received_size returns how many bytes of unfinished and waiting requests are held.
  [[nodiscard]] std::size_t received_size() const { return received_.size() + body_.size(); }

  // to_send returns bytes for the client; sent drops the first `size` of them.
  [[nodiscard]] std::string_view to_send() const;
  void sent(std::size_t size, Instant now);

  // is_send_closed tells that nothing will be added to to_send().
  [[nodiscard]] bool is_send_closed() const {
    return phase_ == Phase::draining || phase_ == Phase::over;
  }
  // is_over tells that nothing more will be accepted either: close once to_send() is empty.
  [[nodiscard]] bool is_over() const { return phase_ == Phase::over; }
  // abort ends the connection at once; nothing more is sent.
  void abort();
  [[nodiscard]] bool is_aborted() const { return is_aborted_; }

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  enum class Phase : std::uint8_t {
    head,       // Waiting for a head, or within one.
    body,       // Within the body of a request.
    answering,  // The owner has the request, or may poll it.
    draining,   // Refused; the rest of the input is thrown away.
    over,
  };

  void parse(Instant now);
  void accept_head(Instant now);
  void accept_request();
  void refuse(const Refusal& refusal, Instant now);
  void write_response(const Response& response, std::string_view body, bool is_end, Instant now);
  void end_response(Instant now);
  void queue(std::string_view bytes, Instant now);
  [[nodiscard]] std::optional<Instant> receive_deadline() const;

  Limits limits_;
  Http1Parser parser_;
  Phase phase_ = Phase::head;
  std::string received_;  // Not parsed yet.
  std::string body_;      // Of the request.
  std::string unsent_;
  std::size_t unsent_offset_ = 0;
  RequestHead head_;
  std::optional<Http1Request> request_;   // Complete, and not polled yet.
  Instant receive_deadline_;              // In the phases head, body and draining.
  std::optional<Instant> send_deadline_;  // While something waits to be sent.
  bool is_first_ = true;                  // No request was complete yet.
  bool is_head_method_ = false;           // The request's method is HEAD.
  bool is_response_begun_ = false;
  bool is_chunked_ = false;  // The response is.
  bool is_aborted_ = false;
  bool is_last_ = false;  // No request is accepted after this one.
};

}  // namespace zt::http
