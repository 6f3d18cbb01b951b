// SPDX-License-Identifier: Apache-2.0
#include "http/https_client.h"

#include <utility>

namespace zt::http {

namespace {

constexpr std::size_t kScratchSize = 16 << 10;  // One TLS record's plaintext.

}  // namespace

std::string_view to_text(const HttpsFailed& failed) {
  return std::visit([](auto reason) { return to_text(reason); }, failed.reason);
}

HttpsClient::HttpsClient(const TlsContext& context, const Options& options, Instant now)
    : tls_(context, options.tls, now), http_(options.http), scratch_(kScratchSize) {}

std::expected<void, Http1ClientError> HttpsClient::start(const Request& request,
                                                         std::string_view body, Instant now) {
  if (is_failed_) return std::unexpected(Http1ClientError::busy);
  const auto started = http_.start(request, body, now);
  if (!started) return started;
  pump(now);
  return {};
}

void HttpsClient::receive(BytesView bytes, Instant now) {
  // Everything that TLS gives is taken at once, so each turn makes room in its buffer.
  while (!bytes.empty() && !is_failed_) {
    const std::size_t taken = tls_.receive(bytes);
    if (taken == 0) return;  // It follows the peer's close_notify.
    bytes = bytes.subspan(taken);
    pump(now);
  }
}

void HttpsClient::receive_end(Instant now) {
  tls_.receive_end();
  pump(now);
}

std::optional<HttpsEvent> HttpsClient::poll_event() {
  if (events_.empty()) return std::nullopt;
  HttpsEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void HttpsClient::sent(std::size_t size, Instant now) {
  tls_.sent(size);
  pump(now);
}

void HttpsClient::pump(Instant now) {
  if (is_failed_) return;
  http_.sent(tls_.write(as_bytes(http_.to_send())));
  while (const std::size_t size = tls_.read(scratch_)) {
    http_.receive(as_text(BytesView(scratch_).subspan(0, size)), now);
  }
  if (tls_.is_receive_ended()) http_.receive_end(true);
  while (auto event = http_.poll_event()) {
    if (const auto* failed = std::get_if<Http1Failed>(&*event)) return fail(failed->error);
    std::visit(
        [this](auto& concrete) {
          if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(concrete)>, Http1Failed>) {
            events_.emplace_back(std::move(concrete));
          }
        },
        *event);
  }
  if (tls_.state() == TlsSession::State::failed) fail(tls_.error());
}

void HttpsClient::fail(std::variant<TlsError, Http1ClientError> reason) {
  is_failed_ = true;
  events_.emplace_back(HttpsFailed{reason});
}

void HttpsClient::handle_timeout(Instant now) {
  tls_.handle_timeout(now);
  http_.handle_timeout(now);
  pump(now);
}

std::optional<Instant> HttpsClient::next_deadline() const {
  if (is_failed_) return std::nullopt;
  return earlier_of(tls_.next_deadline(), http_.next_deadline());
}

}  // namespace zt::http
