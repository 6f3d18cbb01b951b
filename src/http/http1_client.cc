// SPDX-License-Identifier: Apache-2.0
#include "http/http1_client.h"

#include <utility>

#include "zt/base/assert.h"

namespace zt::http {

namespace {

bool has_content_semantics(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

std::string_view to_text(Http1ClientError error) {
  switch (error) {
    case Http1ClientError::busy:
      return "the connection is busy";
    case Http1ClientError::malformed:
      return "malformed HTTP";
    case Http1ClientError::too_large:
      return "the answer is too large";
    case Http1ClientError::truncated:
      return "the connection ended within the answer";
    case Http1ClientError::timeout:
      return "no answer in time";
  }
  return "unknown";
}

Http1Client::Http1Client(const Limits& limits)
    : limits_(limits), parser_(Http1Parser::Kind::response, limits.head) {}

std::expected<void, Http1ClientError> Http1Client::start(const Request& request,
                                                         std::string_view body, Instant now) {
  if (phase_ != Phase::idle) return std::unexpected(Http1ClientError::busy);
  if (!is_sendable(request) || request.method == "CONNECT") {
    return std::unexpected(Http1ClientError::malformed);
  }
  BodyFraming framing;
  if (!body.empty() || has_content_semantics(request.method)) {
    framing = {.kind = BodyFraming::Kind::length, .size = body.size()};
  }
  unsent_ += write_request_head(request, framing, false);
  unsent_ += body;
  is_head_method_ = request.method == "HEAD";
  parser_.restart(is_head_method_);
  body_size_ = 0;
  interim_count_ = 0;
  phase_ = Phase::head;
  deadline_ = now + limits_.response_timeout;
  return {};
}

void Http1Client::receive(std::string_view bytes, Instant now) {
  if (phase_ == Phase::idle && !bytes.empty()) phase_ = Phase::over;  // Nobody asked.
  if (phase_ == Phase::body && !bytes.empty()) deadline_ = now + limits_.silence_max;
  while (phase_ == Phase::head || phase_ == Phase::body) {
    const Http1Parser::Step step = parser_.parse(bytes);
    bytes.remove_prefix(step.size);
    if (step.stop == Http1Parser::Stop::error) {
      return fail(parser_.error() == Http1Error::head_too_large ? Http1ClientError::too_large
                                                                : Http1ClientError::malformed);
    }
    const bool is_end = step.stop == Http1Parser::Stop::end;
    const bool is_head_known = step.stop == Http1Parser::Stop::head || is_end;
    if (phase_ == Phase::head && is_head_known && !accept_head(now)) {
      continue;  // An interim response, or the end of all.
    }
    if (phase_ == Phase::body) accept_body();
    if (phase_ == Phase::body && is_end) end();
    if (step.stop == Http1Parser::Stop::more) break;
  }
  if (!bytes.empty() && phase_ == Phase::idle) phase_ = Phase::over;
}

// accept_head returns whether the head was that of a final response.
bool Http1Client::accept_head(Instant now) {
  auto response = judge_response(parser_.head());
  if (!response || response->status == 101) {  // We never ask for an upgrade.
    fail(Http1ClientError::malformed);
    return false;
  }
  if (response->status < 200) {
    if (++interim_count_ > limits_.interim_max) {
      fail(Http1ClientError::too_large);
      return false;
    }
    parser_.restart(is_head_method_);
    return false;
  }
  events_.emplace_back(Http1Response{std::move(*response)});
  phase_ = Phase::body;
  deadline_ = now + limits_.silence_max;
  return true;
}

void Http1Client::accept_body() {
  std::string bytes = parser_.take_body();
  if (bytes.empty()) return;
  body_size_ += bytes.size();
  if (limits_.body_size_max && body_size_ > *limits_.body_size_max) {
    return fail(Http1ClientError::too_large);
  }
  events_.emplace_back(Http1Chunk{std::move(bytes)});
}

void Http1Client::end() {
  // A response that came before the request was sent whole leaves the server's reader in doubt.
  phase_ = parser_.is_persistent() && unsent_.empty() ? Phase::idle : Phase::over;
  events_.emplace_back(Http1Ended{});
}

void Http1Client::fail(Http1ClientError error) {
  phase_ = Phase::over;
  unsent_.clear();
  events_.emplace_back(Http1Failed{error});
}

void Http1Client::receive_end(bool is_genuine) {
  switch (phase_) {
    case Phase::idle:
      phase_ = Phase::over;
      return;
    case Phase::head:
      return fail(Http1ClientError::truncated);
    case Phase::body:
      if (!is_genuine || !parser_.finish()) return fail(Http1ClientError::truncated);
      phase_ = Phase::over;
      events_.emplace_back(Http1Ended{});
      return;
    case Phase::over:
      return;
  }
}

std::optional<Http1Event> Http1Client::poll_event() {
  if (events_.empty()) return std::nullopt;
  Http1Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void Http1Client::sent(std::size_t size) {
  ZT_ASSERT(size <= unsent_.size());
  unsent_.erase(0, size);
}

void Http1Client::handle_timeout(Instant now) {
  const auto deadline = next_deadline();
  if (deadline && *deadline <= now) fail(Http1ClientError::timeout);
}

std::optional<Instant> Http1Client::next_deadline() const {
  const bool is_waiting = phase_ == Phase::head || phase_ == Phase::body;
  return is_waiting ? std::optional(deadline_) : std::nullopt;
}

}  // namespace zt::http
