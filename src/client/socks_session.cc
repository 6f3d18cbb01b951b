// SPDX-License-Identifier: Apache-2.0
#include "zt/client/socks_session.h"

#include <utility>

#include "zt/base/assert.h"

namespace zt::client {

using wire::SocksReply;

SocksReply to_reply(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::no_resource:
    case Outcome::Kind::not_signed_in:
    case Outcome::Kind::denied:
      return SocksReply::not_allowed;
    case Outcome::Kind::refused:
      return SocksReply::connection_refused;
    case Outcome::Kind::dns_failed:
      return SocksReply::host_unreachable;
    case Outcome::Kind::timed_out:
      return SocksReply::ttl_expired;
    case Outcome::Kind::unreachable:
      return SocksReply::network_unreachable;
    case Outcome::Kind::limit:
      return SocksReply::general_failure;
  }
  return SocksReply::general_failure;
}

void SocksSession::receive(BytesView bytes) {
  if (!wants_bytes()) return;
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  if (state_ == State::greeting && !take_greeting()) return;
  if (state_ == State::request) (void)take_request();  // It is whole, or it comes with more bytes.
}

bool SocksSession::wants_bytes() const {
  return state_ == State::greeting || state_ == State::request;
}

// take_greeting returns whether the request may follow.
bool SocksSession::take_greeting() {
  const auto parsed = wire::parse_socks_greeting(input_);
  if (!parsed) {
    if (parsed.error() != wire::SocksError::wrong_version) {
      send(wire::encode_socks_choice({.has_no_authentication = false}));
    }
    state_ = State::closed;
    return false;
  }
  const auto& whole = *parsed;
  if (!whole) return false;
  const wire::SocksGreeting greeting = whole->message;
  drop_input(whole->size);
  send(wire::encode_socks_choice(greeting));
  state_ = greeting.has_no_authentication ? State::request : State::closed;
  return state_ == State::request;
}

bool SocksSession::take_request() {
  const auto parsed = wire::parse_socks_request(input_);
  if (!parsed) {
    if (parsed.error() != wire::SocksError::wrong_version) {
      send(wire::encode_socks_reply(wire::to_reply(parsed.error()), {}));
    }
    state_ = State::closed;
    return false;
  }
  const auto& whole = *parsed;
  if (!whole) return false;
  wanted_ = whole->message;
  drop_input(whole->size);
  state_ = State::answer;
  return true;
}

void SocksSession::reply(const Outcome& outcome) {
  reply(to_reply(outcome.kind));
}

void SocksSession::reply(SocksReply code) {
  ZT_ASSERT(state_ == State::answer && code != SocksReply::succeeded);
  send(wire::encode_socks_reply(code, {}));
  wanted_.reset();
  state_ = State::closed;
}

void SocksSession::accept(const SocketAddress& bound) {
  ZT_ASSERT(state_ == State::answer);
  send(wire::encode_socks_reply(SocksReply::succeeded, bound));
  wanted_.reset();
  state_ = State::done;
}

Bytes SocksSession::take_output() {
  return std::exchange(output_, {});
}

Bytes SocksSession::take_rest() {
  if (state_ != State::done) return {};
  return std::exchange(input_, {});
}

void SocksSession::handle_timeout(Instant now) {
  if (wants_bytes() && now >= deadline_) state_ = State::closed;
}

std::optional<Instant> SocksSession::next_deadline() const {
  if (!wants_bytes()) return std::nullopt;
  return deadline_;
}

void SocksSession::send(BytesView bytes) {
  output_.insert(output_.end(), bytes.begin(), bytes.end());
}

void SocksSession::drop_input(std::size_t size) {
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(size));
}

}  // namespace zt::client
