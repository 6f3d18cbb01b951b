// SPDX-License-Identifier: Apache-2.0
// The part of Server that speaks HTTP/3.

#include <utility>

#include "http/http1_message.h"
#include "http/server.h"
#include "http/server_internal.h"
#include "http/text.h"
#include "zt/base/assert.h"

namespace zt::http {

namespace {

// RFC 9114 section 8.1.
constexpr std::uint64_t kNoError = 0x100;           // H3_NO_ERROR
constexpr std::uint64_t kRequestCancelled = 0x10c;  // H3_REQUEST_CANCELLED

// has_no_body tells whether responses with that status end with their head (RFC 9110
// section 6.4.1).
bool has_no_body(int status) {
  return status == 204 || status == 304;
}

Response with_length(Response response, std::size_t size) {
  response.fields.add("content-length", std::to_string(size));
  return response;
}

}  // namespace

bool Server::handle(const quic::Event& event, Instant now) {
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (!ready->is_accepted) return false;
    Peer& peer = peers_[ready->connection];
    peer.remote = ready->remote;
    if (ready->peer) {
      peer.certificate = ready->peer->certificate;
      peer.public_key = ready->peer->public_key;
    }
    return false;
  }
  if (const auto* moved = std::get_if<quic::ConnectionMoved>(&event)) {
    const auto found = peers_.find(moved->connection);
    if (found != peers_.end()) move_peer(moved->connection, found->second, moved->remote);
    return false;
  }
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    forget_connection(closed->connection);
    return false;
  }
  if (const auto* received = std::get_if<quic::RequestReceived>(&event)) {
    accept_request(*received, now);
    return true;
  }
  return handle_stream_event(event, now);
}

bool Server::handle_stream_event(const quic::Event& event, Instant now) {
  if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    Stream* stream = find(readable->stream);
    if (stream != nullptr) receive_body(readable->stream, *stream, now);
    return stream != nullptr;
  }
  if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    Stream* stream = find(writable->stream);
    if (stream != nullptr) push(writable->stream, *stream, now);
    return stream != nullptr;
  }
  if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    Stream* stream = find(reset->stream);
    // After the end of the request nothing can be abandoned: the answer is still wanted.
    if (stream != nullptr && stream->phase == Stream::Phase::receiving) {
      abandon(reset->stream, *stream);
    }
    return stream != nullptr;
  }
  if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) {
    Stream* stream = find(stopped->stream);
    if (stream != nullptr) abandon(stopped->stream, *stream);
    return stream != nullptr;
  }
  if (const auto* closed = std::get_if<quic::StreamClosed>(&event)) {
    Stream* stream = find(closed->stream);
    if (stream == nullptr) return false;
    abandon(closed->stream, *stream);
    streams_.erase(closed->stream);
    return true;
  }
  return false;
}

Server::Stream* Server::find(const quic::StreamKey& key) {
  const auto found = streams_.find(key);
  return found == streams_.end() ? nullptr : found->second.get();
}

void Server::accept_request(const quic::RequestReceived& received, Instant now) {
  const quic::StreamKey& key = received.stream;
  auto& entry = streams_[key];
  ZT_ASSERT(entry == nullptr);
  entry = std::make_unique<Stream>();
  Stream& stream = *entry;
  const Request& request = received.request;
  stream.is_head_method = request.method == "HEAD";
  stream_deadlines_.set(key, now + limits_.body_timeout);
  if (request.method == "CONNECT" || !request.protocol.empty()) {
    return refuse(key, stream, {.status = 501, .detail = "This server is not a proxy."}, now);
  }
  if (!is_consistent_request(request)) {
    return refuse(key, stream, {.status = 400, .detail = "The request is malformed."}, now);
  }
  if (const auto length = request.fields.find("content-length")) {
    const auto size = parse_content_length(*length);
    if (!size || *size > limits_.body_size_max) {
      return refuse(key, stream, {.status = 413, .detail = "The request's content is too large."},
                    now);
    }
  }
  stream.request = request;
  stream.request.fields = without_connection_fields(request.fields);
  if (received.is_end) {
    complete_request(key, stream, now);
  } else {
    receive_body(key, stream, now);
  }
}

void Server::receive_body(const quic::StreamKey& key, Stream& stream, Instant now) {
  for (;;) {
    const quic::Readable readable = endpoint_->readable(key);
    const std::size_t size = readable.bytes.size();
    const bool is_end = readable.is_end;
    if (size == 0 && !is_end) return;
    if (stream.phase == Stream::Phase::receiving) {
      stream.body += as_text(readable.bytes);
      received_size_ += size;
    }
    endpoint_->consume(key, size);
    if (stream.phase == Stream::Phase::receiving) {
      if (stream.body.size() > limits_.body_size_max) {
        refuse(key, stream, {.status = 413, .detail = "The request's content is too large."}, now);
      } else if (received_size_ > limits_.received_size_max) {
        refuse(key, stream, {.status = 503, .detail = "The server has too many requests."}, now);
      } else if (is_end) {
        complete_request(key, stream, now);
      }
    }
    if (is_end) return;
  }
}

void Server::complete_request(const quic::StreamKey& key, Stream& stream, Instant now) {
  const auto peer = peers_.find(key.connection);
  if (is_full() || peer == peers_.end()) {
    return refuse(key, stream, {.status = 503, .detail = "The server has too many requests."}, now);
  }
  received_size_ -= stream.body.size();
  stream.phase = Stream::Phase::answering;
  stream_deadlines_.set(key, std::nullopt);
  stream.exchange = begin_exchange(key, std::exchange(stream.request, {}),
                                   std::exchange(stream.body, {}), peer->second);
}

// refuse answers a request that the core does not see, and wants no more of it.
void Server::refuse(const quic::StreamKey& key, Stream& stream, const Refusal& refusal,
                    Instant now) {
  forget_body(stream);
  stream.phase = Stream::Phase::answering;
  const Problem problem{.status = refusal.status, .detail = std::string(refusal.detail)};
  respond(key, stream, response_of(problem), to_json(problem), true, now);
  endpoint_->stop(key, kNoError);  // RFC 9114 section 4.1: the response is complete without it.
}

void Server::respond(const quic::StreamKey& key, Stream& stream, const Response& response,
                     std::string body, bool is_end, Instant now) {
  ZT_ASSERT(stream.phase == Stream::Phase::answering);
  ZT_ASSERT(!stream.is_response_begun);
  if (!is_sendable(response)) {
    const Problem problem{.status = 500, .detail = "The answer could not be written."};
    return respond(key, stream, response_of(problem), to_json(problem), true, now);
  }
  stream.is_response_begun = true;
  Response head{.status = response.status, .fields = without_connection_fields(response.fields)};
  const bool is_bodyless = stream.is_head_method || has_no_body(head.status);
  if (is_end && !has_no_body(head.status)) head = with_length(std::move(head), body.size());
  const bool is_end_of_stream = is_bodyless || (is_end && body.empty());
  if (!endpoint_->respond(key, head, is_end_of_stream)) return abandon(key, stream);
  if (is_bodyless && !is_end) lose_exchange(stream.exchange);  // Nothing more can be sent.
  if (is_end || is_bodyless) {
    end_exchange(stream.exchange);
    stream.phase = is_end_of_stream ? Stream::Phase::over : Stream::Phase::sending;
  }
  if (is_bodyless) return stream_deadlines_.set(key, std::nullopt);
  stream.unsent = std::move(body);
  push(key, stream, now);
}

void Server::append(const quic::StreamKey& key, Stream& stream, std::string_view chunk,
                    Instant now) {
  ZT_ASSERT(stream.is_response_begun);
  if (stream.unsent.size() - stream.unsent_offset + chunk.size() > limits_.queued_size_max) {
    return abandon(key, stream);
  }
  stream.unsent += chunk;
  push(key, stream, now);
}

void Server::finish(const quic::StreamKey& key, Stream& stream, Instant now) {
  ZT_ASSERT(stream.is_response_begun);
  end_exchange(stream.exchange);
  stream.phase = Stream::Phase::sending;
  push(key, stream, now);
}

// push hands over as much as the endpoint has room for, and the end behind it.
void Server::push(const quic::StreamKey& key, Stream& stream, Instant now) {
  if (!stream.is_response_begun || stream.phase == Stream::Phase::over) return;
  const std::string_view rest = std::string_view(stream.unsent).substr(stream.unsent_offset);
  const std::size_t size = endpoint_->write(key, as_bytes(rest));
  stream.unsent_offset += size;
  if (size == rest.size()) {
    stream.unsent.clear();
    stream.unsent_offset = 0;
    stream.is_stalled = false;
    stream_deadlines_.set(key, std::nullopt);
    if (stream.phase == Stream::Phase::sending) {
      endpoint_->finish(key);
      stream.phase = Stream::Phase::over;
    }
    return;
  }
  if (stream.unsent_offset > stream.unsent.size() / 2) {  // Each byte is moved at most twice.
    stream.unsent.erase(0, std::exchange(stream.unsent_offset, 0));
  }
  const bool was_stalled = std::exchange(stream.is_stalled, true);
  if (size > 0 || !was_stalled) stream_deadlines_.set(key, now + limits_.send_timeout);
}

// abandon gives both directions up and tells the core, if it has a part in this.
void Server::abandon(const quic::StreamKey& key, Stream& stream) {
  forget_body(stream);
  lose_exchange(stream.exchange);
  if (stream.phase != Stream::Phase::over) {
    endpoint_->reset(key, kRequestCancelled);
    endpoint_->stop(key, kRequestCancelled);
  }
  stream.phase = Stream::Phase::over;
  stream.unsent = {};
  stream.unsent_offset = 0;
  stream_deadlines_.set(key, std::nullopt);
}

void Server::forget_body(Stream& stream) {
  received_size_ -= std::exchange(stream.body, {}).size();
}

void Server::move_peer(quic::ConnectionKey connection, Peer& peer, const SocketAddress& remote) {
  peer.remote = remote;
  auto entry = streams_.lower_bound({.connection = connection, .id = 0});
  for (; entry != streams_.end() && entry->first.connection == connection; ++entry) {
    const auto& exchange = entry->second->exchange;
    if (exchange) outputs_.emplace_back(PeerMoved{.exchange = *exchange, .remote = remote});
  }
}

void Server::forget_connection(quic::ConnectionKey connection) {
  peers_.erase(connection);
  auto entry = streams_.lower_bound({.connection = connection, .id = 0});
  while (entry != streams_.end() && entry->first.connection == connection) {
    Stream& stream = *entry->second;
    stream.phase = Stream::Phase::over;  // Its stream is gone: there is nothing to reset.
    abandon(entry->first, stream);
    entry = streams_.erase(entry);
  }
}

void Server::handle_stream_timeout(const quic::StreamKey& key, Instant now) {
  Stream* stream = find(key);
  ZT_ASSERT(stream != nullptr);
  if (stream->phase == Stream::Phase::receiving) {
    const Refusal refusal{.status = 408, .detail = "The request did not arrive in time."};
    return refuse(key, *stream, refusal, now);
  }
  abandon(key, *stream);
}

}  // namespace zt::http
