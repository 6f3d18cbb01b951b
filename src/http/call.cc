// SPDX-License-Identifier: Apache-2.0
#include "http/call.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace zt::http {

namespace {

// H3_REQUEST_CANCELLED (RFC 9114 section 8.1): we lost interest in the answer.
constexpr std::uint64_t kRequestCancelled = 0x10c;

bool is_success(int status) {
  return status >= 200 && status < 300;
}

}  // namespace

std::string_view to_text(CallError error) {
  switch (error) {
    case CallError::timeout:
      return "no answer in time";
    case CallError::connection_lost:
      return "the connection was lost";
    case CallError::reset:
      return "the server abandoned the request";
    case CallError::too_large:
      return "the answer is too large";
    case CallError::limit:
      return "too many requests at once";
  }
  return "unknown";
}

CallKey Calls::start(quic::ConnectionKey connection, const Request& request, std::string body,
                     Instant now) {
  return begin(connection, request, std::move(body), false, now);
}

CallKey Calls::start_streaming(quic::ConnectionKey connection, const Request& request,
                               Instant now) {
  return begin(connection, request, {}, true, now);
}

CallKey Calls::begin(quic::ConnectionKey connection, const Request& request, std::string body,
                     bool is_streaming, Instant now) {
  const CallKey key{next_key_++};
  if (calls_.size() >= limits_.calls_max) {
    events_.emplace_back(Failed{key, CallError::limit});
    return key;
  }
  const auto stream = endpoint_.open_request(connection, request, body.empty());
  if (!stream) {
    const bool is_gone = stream.error() == quic::StreamError::gone;
    events_.emplace_back(Failed{key, is_gone ? CallError::connection_lost : CallError::limit});
    return key;
  }
  Call& call = calls_[*stream];
  call = {.key = key,
          .stream = *stream,
          .is_streaming = is_streaming,
          .unsent = std::move(body),
          .deadline = now + limits_.timeout};
  send_body(call);
  return key;
}

void Calls::cancel(CallKey key) {
  const auto found =
      std::ranges::find_if(calls_, [key](const auto& entry) { return entry.second.key == key; });
  if (found == calls_.end()) return;
  endpoint_.reset(found->first, kRequestCancelled);
  endpoint_.stop(found->first, kRequestCancelled);
  calls_.erase(found);
}

bool Calls::handle(const quic::Event& event, Instant now) {
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    std::erase_if(calls_, [&](const auto& entry) {
      if (entry.first.connection != closed->connection) return false;
      events_.emplace_back(Failed{entry.second.key, CallError::connection_lost});
      return true;
    });
    return false;
  }
  if (const auto* response = std::get_if<quic::ResponseReceived>(&event)) {
    Call* call = find(response->stream);
    if (call != nullptr) receive_response(*call, *response, now);
    return call != nullptr;
  }
  if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    Call* call = find(readable->stream);
    if (call != nullptr) receive_body(*call, now);
    return call != nullptr;
  }
  if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    Call* call = find(writable->stream);
    if (call != nullptr) send_body(*call);
    return call != nullptr;
  }
  if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    Call* call = find(reset->stream);
    if (call != nullptr) abandon(*call, CallError::reset);
    return call != nullptr;
  }
  if (const auto* closed = std::get_if<quic::StreamClosed>(&event)) {
    Call* call = find(closed->stream);
    if (call != nullptr) end(*call, Failed{call->key, CallError::reset});
    return call != nullptr;
  }
  // StreamStopped needs nothing: a server may refuse a body and still answer.
  return false;
}

void Calls::handle_timeout(Instant now) {
  std::vector<quic::StreamKey> late;
  for (const auto& [stream, call] : calls_) {
    if (call.deadline <= now) late.push_back(stream);
  }
  for (const quic::StreamKey& stream : late) {
    if (const Call* call = find(stream)) abandon(*call, CallError::timeout);
  }
}

std::optional<CallEvent> Calls::poll_event() {
  if (events_.empty()) return std::nullopt;
  CallEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> Calls::next_deadline() const {
  std::optional<Instant> earliest;
  for (const auto& [stream, call] : calls_) {
    if (!earliest || call.deadline < *earliest) earliest = call.deadline;
  }
  return earliest;
}

Calls::Call* Calls::find(const quic::StreamKey& stream) {
  const auto found = calls_.find(stream);
  return found == calls_.end() ? nullptr : &found->second;
}

void Calls::send_body(Call& call) {
  if (call.unsent.empty()) return;
  call.unsent.erase(0, endpoint_.write(call.stream, as_bytes(call.unsent)));
  if (call.unsent.empty()) endpoint_.finish(call.stream);
}

void Calls::receive_response(Call& call, const quic::ResponseReceived& received, Instant now) {
  call.response = received.response;
  if (call.is_streaming && is_success(received.response.status)) {
    call.is_started = true;
    call.deadline = now + limits_.silence_max;
    events_.emplace_back(Started{call.key, received.response});
  }
  if (!received.is_end) return;
  if (call.is_started) {
    end(call, Ended{call.key});
  } else {
    end(call, Answered{call.key, call.response, {}});
  }
}

void Calls::receive_body(Call& call, Instant now) {
  if (call.response.status == 0) return;  // Body bytes never precede the response.
  for (;;) {
    const quic::Readable readable = endpoint_.readable(call.stream);
    const bool is_end = readable.is_end;
    if (readable.bytes.empty() && !is_end) return;
    call.received.append(as_text(readable.bytes));
    endpoint_.consume(call.stream, readable.bytes.size());
    if (call.is_started) {
      call.deadline = now + limits_.silence_max;
      if (!split_lines(call)) return abandon(call, CallError::too_large);
      if (is_end) return end(call, Ended{call.key});
    } else {
      if (call.received.size() > limits_.body_size_max) {
        return abandon(call, CallError::too_large);
      }
      if (is_end) return end(call, Answered{call.key, call.response, std::move(call.received)});
    }
  }
}

bool Calls::split_lines(Call& call) {
  std::size_t start = 0;
  for (;;) {
    const std::size_t newline = call.received.find('\n', std::max(start, call.searched));
    if (newline == std::string::npos) break;
    if (newline - start > limits_.line_size_max) return false;
    if (newline > start) {
      events_.emplace_back(Line{call.key, call.received.substr(start, newline - start)});
    }
    start = newline + 1;
  }
  call.received.erase(0, start);
  call.searched = call.received.size();
  return call.received.size() <= limits_.line_size_max;
}

void Calls::end(const Call& call, CallEvent event) {
  const quic::StreamKey stream = call.stream;  // `call` dies with its entry.
  // An answer may come before the end of the question; the rest is not wanted then.
  if (!call.unsent.empty()) endpoint_.reset(stream, kRequestCancelled);
  events_.push_back(std::move(event));
  calls_.erase(stream);
}

void Calls::abandon(const Call& call, CallError error) {
  endpoint_.reset(call.stream, kRequestCancelled);
  endpoint_.stop(call.stream, kRequestCancelled);
  end(call, Failed{call.key, error});
}

}  // namespace zt::http
