// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/call.h: the asking side of HTTP over a QUIC connection: requests out, whole answers or lines
// in.
//
// Theory of operation
//   A call is one request stream of a quic::Endpoint. A plain call ends with one Answered that
//   holds the whole body; a streaming call gives Started, then one Line for each line of a
//   newline-delimited body (application/x-ndjson), then Ended. Either may end with Failed instead.
//   Calls does not own the endpoint: whoever drains the endpoint's events offers each of them to
//   handle() first.
//
// Limits   calls_max at once, body_size_max of a plain answer and of a refused streaming one,
//          line_size_max of a line. A call over a limit is reset and fails with `too_large`.
// Time     Each plain call has a deadline; a streaming call has one until its response starts, and
// after
//          that it fails with `timeout` if no line comes for `silence_max`.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "quic/endpoint.h"
#include "zt/base/time.h"
#include "zt/http/message.h"

namespace zt::http {

enum class CallKey : std::uint64_t {};  // Local, never used twice by one Calls.

enum class CallError : std::uint8_t {
  timeout,          // The deadline passed; the connection may still be good.
  connection_lost,  // The connection ended; connect anew.
  reset,            // The server abandoned the stream.
  too_large,        // A limit of ours.
  limit,            // calls_max, or the peer allows no more streams now.
};
[[nodiscard]] std::string_view to_text(CallError error);

struct Answered {  // The whole answer of a plain call, or the refusal (status >= 300) of a
                   // streaming one.
  CallKey call{};
  Response response;
  std::string body;
};
struct Started {  // A streaming call was accepted (status 2xx).
  CallKey call{};
  Response response;
};
struct Line {  // One line of a streaming call, without its newline. Empty lines are skipped.
  CallKey call{};
  std::string text;
};
struct Ended {  // The server finished a streaming call.
  CallKey call{};
};
struct Failed {
  CallKey call{};
  CallError error{};
};
using CallEvent = std::variant<Answered, Started, Line, Ended, Failed>;

class Calls {
 public:
  struct Limits {
    std::size_t calls_max = 256;
    std::size_t body_size_max = 1 << 20;
    std::size_t line_size_max = 1 << 20;
    Duration timeout = std::chrono::seconds(10);
    Duration silence_max = std::chrono::seconds(45);
  };

  // `endpoint` outlives the object.
  Calls(quic::Endpoint& endpoint, const Limits& limits) : endpoint_(endpoint), limits_(limits) {}
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // start sends `request` with `body` on `connection`. The key is valid at once; every outcome, a
  // refusal by a limit included, comes as an event.
  CallKey start(quic::ConnectionKey connection, const Request& request, std::string body,
                Instant now);
  // start_streaming is start for an endless, line-wise answer.
  CallKey start_streaming(quic::ConnectionKey connection, const Request& request, Instant now);
  // cancel ends a call without an event. Unknown keys are ignored.
  void cancel(CallKey key);

  // handle takes an event of the endpoint and returns whether it belonged to a call.
  // ConnectionClosed is noticed but never claimed: it concerns others too.
  bool handle(const quic::Event& event, Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<CallEvent> poll_event();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  struct Call {
    CallKey key{};
    quic::StreamKey stream;
    bool is_streaming = false;
    bool is_started = false;   // The response of a streaming call was 2xx.
    Response response;         // status 0 until it arrives.
    std::string unsent;        // Of the request's body.
    std::string received;      // The body so far, or the unfinished line.
    std::size_t searched = 0;  // How much of the unfinished line has no newline.
    Instant deadline;
  };

  CallKey begin(quic::ConnectionKey connection, const Request& request, std::string body,
                bool is_streaming, Instant now);
  Call* find(const quic::StreamKey& stream);
  void send_body(Call& call);
  void receive_response(Call& call, const quic::ResponseReceived& received, Instant now);
  void receive_body(Call& call, Instant now);
  // split_lines emits every whole line; it returns false if an unfinished one is too long.
  bool split_lines(Call& call);
  // end forgets a call after its last event.
  void end(const Call& call, CallEvent event);
  void abandon(const Call& call, CallError error);

  quic::Endpoint& endpoint_;
  Limits limits_;
  std::uint64_t next_key_ = 1;
  std::map<quic::StreamKey, Call> calls_;
  std::deque<CallEvent> events_;
};

}  // namespace zt::http
