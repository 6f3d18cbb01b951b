// SPDX-License-Identifier: Apache-2.0
#include "http/http1_server.h"

#include <utility>

#include "zt/base/assert.h"
#include "zt/http/problem.h"

namespace zt::http {

namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

Refusal refusal_of(Http1Error error) {
  switch (error) {
    case Http1Error::malformed:
      return {.status = 400, .detail = "The request is not well-formed HTTP/1.1."};
    case Http1Error::head_too_large:
      return {.status = 431, .detail = "The request's header fields are too large or too many."};
    case Http1Error::unsupported_version:
      return {.status = 505, .detail = "This server speaks HTTP/1.1 and HTTP/3."};
  }
  return {};
}

// has_no_body tells whether responses with that status end with their head (RFC 9112 section 6.3).
bool has_no_body(int status) {
  return status == 204 || status == 304;
}

}  // namespace

Http1Server::Http1Server(const Limits& limits, Instant now)
    : limits_(limits),
      parser_(Http1Parser::Kind::request, limits.head),
      receive_deadline_(now + limits.head_timeout) {}

void Http1Server::receive(std::string_view bytes, Instant now) {
  switch (phase_) {
    case Phase::head:
    case Phase::body:
    case Phase::answering:
      break;
    case Phase::draining:
    case Phase::over:
      return;
  }
  if (bytes.empty()) return;
  if (phase_ == Phase::head && !is_first_ && !parser_.is_started()) {
    receive_deadline_ = now + limits_.head_timeout;
  }
  if (bytes.size() > limits_.received_size_max - received_.size()) return abort();
  received_ += bytes;
  parse(now);
}

bool Http1Server::wants_receive() const {
  return phase_ != Phase::over && received_.size() <= limits_.received_size_max / 2;
}

void Http1Server::parse(Instant now) {
  std::size_t parsed = 0;
  while (phase_ == Phase::head || phase_ == Phase::body) {
    const Http1Parser::Step step = parser_.parse(std::string_view(received_).substr(parsed));
    parsed += step.size;
    body_ += parser_.take_body();
    if (body_.size() > limits_.body_size_max) {
      refuse({.status = 413, .detail = "The request's content is too large."}, now);
      break;
    }
    if (step.stop == Http1Parser::Stop::more) break;
    if (step.stop == Http1Parser::Stop::error) {
      refuse(refusal_of(parser_.error()), now);
    } else if (step.stop == Http1Parser::Stop::head) {
      received_.erase(0, std::exchange(parsed, 0));
      accept_head(now);
    } else {
      accept_request();
    }
  }
  received_.erase(0, parsed);
}

void Http1Server::accept_head(Instant now) {
  auto head = judge_request(parser_.head());
  if (!head) return refuse(head.error(), now);
  if (head->framing.content_length.value_or(0) > limits_.body_size_max) {
    return refuse({.status = 413, .detail = "The request's content is too large."}, now);
  }
  head_ = std::move(*head);
  is_head_method_ = head_.request.method == "HEAD";
  phase_ = Phase::body;
  receive_deadline_ = now + limits_.body_timeout;
  const bool has_body = head_.framing.is_chunked || head_.framing.content_length.value_or(0) > 0;
  if (head_.expects_continue && has_body && received_.empty()) queue(kContinue, now);
}

void Http1Server::accept_request() {
  is_first_ = false;
  is_last_ = !parser_.is_persistent();
  is_response_begun_ = false;
  request_ = {.request = std::move(head_.request),
              .body = std::exchange(body_, {}),
              .upgrade = std::move(head_.upgrade)};
  phase_ = Phase::answering;
}

void Http1Server::refuse(const Refusal& refusal, Instant now) {
  const Problem problem{.status = refusal.status, .detail = std::string(refusal.detail)};
  is_last_ = true;
  is_head_method_ = parser_.head().method == "HEAD";
  write_response(response_of(problem), to_json(problem), true, now);
  received_.clear();
  body_.clear();
  phase_ = Phase::draining;
  receive_deadline_ = now + limits_.linger_timeout;
}

std::optional<Http1Request> Http1Server::poll_request() {
  return std::exchange(request_, {});
}

void Http1Server::respond(const Response& response, std::string_view body, bool is_end,
                          Instant now) {
  if (phase_ != Phase::answering) return;
  ZT_ASSERT(!is_response_begun_);
  if (is_sendable(response)) return write_response(response, body, is_end, now);
  const Problem problem{.status = 500, .detail = "The answer could not be written."};
  write_response(response_of(problem), to_json(problem), true, now);
}

std::string Http1Server::switch_protocols(std::string_view protocol, Instant now) {
  ZT_ASSERT(phase_ == Phase::answering);
  ZT_ASSERT(!is_response_begun_);
  queue("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ", now);
  queue(protocol, now);
  queue("\r\n\r\n", now);
  phase_ = Phase::over;
  return std::exchange(received_, {});
}

void Http1Server::write_response(const Response& response, std::string_view body, bool is_end,
                                 Instant now) {
  is_response_begun_ = true;
  BodyFraming framing;
  if (!has_no_body(response.status)) {
    framing = is_end ? BodyFraming{.kind = BodyFraming::Kind::length, .size = body.size()}
                     : BodyFraming{.kind = BodyFraming::Kind::chunked};
  }
  is_chunked_ = framing.kind == BodyFraming::Kind::chunked;
  queue(write_response_head(response, framing, is_last_), now);
  if (is_head_method_ || has_no_body(response.status)) return end_response(now);
  if (!is_chunked_) {
    queue(body, now);
    return end_response(now);
  }
  if (!body.empty()) queue(write_chunk(body), now);
}

bool Http1Server::append(std::string_view chunk, Instant now) {
  if (phase_ != Phase::answering) return false;
  ZT_ASSERT(is_response_begun_);
  if (chunk.empty()) return true;
  if (unsent_.size() - unsent_offset_ + chunk.size() > limits_.queued_size_max) {
    abort();
    return false;
  }
  queue(write_chunk(chunk), now);
  return true;
}

void Http1Server::finish(Instant now) {
  if (phase_ != Phase::answering) return;
  ZT_ASSERT(is_response_begun_);
  queue(kLastChunk, now);
  end_response(now);
}

void Http1Server::end_response(Instant now) {
  if (phase_ != Phase::answering) return;  // A refusal; its caller says what follows.
  is_response_begun_ = false;
  if (is_last_) {
    received_.clear();
    phase_ = Phase::over;
    return;
  }
  parser_.restart();
  phase_ = Phase::head;
  receive_deadline_ = now + (received_.empty() ? limits_.idle_timeout : limits_.head_timeout);
  parse(now);
}

void Http1Server::queue(std::string_view bytes, Instant now) {
  if (bytes.empty()) return;
  unsent_ += bytes;
  if (!send_deadline_) send_deadline_ = now + limits_.send_timeout;
}

std::string_view Http1Server::to_send() const {
  return std::string_view(unsent_).substr(unsent_offset_);
}

void Http1Server::sent(std::size_t size, Instant now) {
  ZT_ASSERT(size <= unsent_.size() - unsent_offset_);
  if (size == 0) return;
  unsent_offset_ += size;
  if (unsent_offset_ == unsent_.size()) {
    unsent_.clear();
    unsent_offset_ = 0;
    send_deadline_.reset();
    return;
  }
  send_deadline_ = now + limits_.send_timeout;
  if (unsent_offset_ > unsent_.size() / 2) {  // Each byte is moved at most twice.
    unsent_.erase(0, unsent_offset_);
    unsent_offset_ = 0;
  }
}

void Http1Server::abort() {
  phase_ = Phase::over;
  is_aborted_ = true;
  request_.reset();
  received_.clear();
  body_.clear();
  unsent_.clear();
  unsent_offset_ = 0;
  send_deadline_.reset();
}

void Http1Server::handle_timeout(Instant now) {
  if (send_deadline_ && *send_deadline_ <= now) return abort();
  const auto deadline = receive_deadline();
  if (!deadline || now < *deadline) return;
  const bool is_within_request =
      phase_ == Phase::body || (phase_ == Phase::head && parser_.is_started());
  if (is_within_request) {
    refuse({.status = 408, .detail = "The request did not arrive in time."}, now);
  } else {
    received_.clear();
    phase_ = Phase::over;
  }
}

std::optional<Instant> Http1Server::receive_deadline() const {
  const bool is_waiting =
      phase_ == Phase::head || phase_ == Phase::body || phase_ == Phase::draining;
  return is_waiting ? std::optional(receive_deadline_) : std::nullopt;
}

std::optional<Instant> Http1Server::next_deadline() const {
  return earlier_of(receive_deadline(), send_deadline_);
}

}  // namespace zt::http
