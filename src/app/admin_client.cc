// SPDX-License-Identifier: Apache-2.0
#include "app/admin_client.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "app/table.h"
#include "app/version.h"
#include "http/http1_client.h"
#include "http/tls_session.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "zt/http/http_status.h"
#include "zt/http/problem.h"

namespace zt::app {

namespace {

using wire::Json;
using Result = std::expected<AdminAnswer, AdminFailure>;

constexpr std::size_t kReadSize = 16 << 10;
constexpr std::string_view kApiRoot = "/api/v1/admin/";

// Exchange is one call, from the name of the controller to the end of its answer.
class Exchange {
 public:
  Exchange(io::Loop& loop, const AdminAccess& access, const AdminRequest& request);

  // run returns when all is over.
  [[nodiscard]] Result run();

 private:
  void resolve();
  void dial(const std::vector<SocketAddress>& addresses);
  void converse(io::Descriptor socket);
  void read();
  void take(BytesView ciphertext);
  void take_plaintext();
  void settle();
  void write();
  void fail_tls();
  void take_event(http::Http1Event& event);
  void fail(std::string_view reason);
  void end(Result result);

  io::Loop& loop_;
  const AdminAccess& access_;
  const AdminRequest& request_;
  std::string controller_;  // For people.
  std::string_view step_ = "looking up its name";
  std::optional<Result> result_;
  int status_ = 0;
  std::string body_;
  std::vector<std::byte> buffer_;
  bool is_end_told_ = false;

  http::TlsContext context_ = http::TlsContext::client(nullptr);
  http::Http1Client http_{{.body_size_max = AdminClient::kBodySizeMax}};
  std::unique_ptr<http::TlsSession> tls_;
  io::Timer timer_;
  std::unique_ptr<io::Resolver> resolver_;
  std::unique_ptr<io::Lookup> lookup_;
  std::unique_ptr<io::Dial> dial_;
  std::unique_ptr<io::Stream> stream_;
};

Exchange::Exchange(io::Loop& loop, const AdminAccess& access, const AdminRequest& request)
    : loop_(loop),
      access_(access),
      request_(request),
      controller_(access.controller.to_text()),
      buffer_(kReadSize),
      timer_(loop, [this] { fail(fmt::format("no answer in time while {}", step_)); }) {}

Result Exchange::run() {
  timer_.arm(loop_.now().instant + AdminClient::kCallTimeout);
  const auto* const address = std::get_if<IpAddress>(&access_.controller.host);
  if (address != nullptr) {
    dial({{.ip = *address, .port = access_.controller.port}});
  } else {
    resolve();
  }
  loop_.run();
  return std::move(*result_);
}

void Exchange::resolve() {
  resolver_ = std::make_unique<io::Resolver>(loop_, io::Resolver::Options{});
  lookup_ = std::make_unique<io::Lookup>(
      *resolver_, std::get<DnsName>(access_.controller.host),
      [this](std::expected<io::Resolver::Answer, io::ResolveError> answer) {
        if (!answer) return fail(io::to_text(answer.error()));
        std::vector<SocketAddress> addresses;
        for (const IpAddress& ip : answer->addresses) {
          addresses.push_back({.ip = ip, .port = access_.controller.port});
        }
        dial(addresses);
      });
}

void Exchange::dial(const std::vector<SocketAddress>& addresses) {
  step_ = "connecting";
  dial_ =
      std::make_unique<io::Dial>(loop_, addresses, io::Dial::Options{},
                                 [this](std::expected<io::Dial::Connected, io::Dial::Failure> end) {
                                   if (!end) return fail(io::to_text(end.error().error));
                                   converse(std::move(end->socket));
                                 });
}

void Exchange::converse(io::Descriptor socket) {
  step_ = "agreeing on TLS";
  stream_ = std::make_unique<io::Stream>(
      loop_, io::StreamEnds{.input = std::move(socket), .output = {}}, [this] { read(); },
      [this] { settle(); });
  const auto* const name = std::get_if<DnsName>(&access_.controller.host);
  const Instant now = loop_.now().instant;
  tls_ = std::make_unique<http::TlsSession>(
      context_,
      http::TlsSession::ClientOptions{
          .pin = {.kind = quic::PeerPin::Kind::public_key, .digest = access_.controller_key},
          .server_name = name == nullptr ? std::string() : name->text(),
          .handshake_timeout = AdminClient::kCallTimeout},
      now);

  http::Request head{.method = request_.method,
                     .scheme = "https",
                     .authority = controller_,
                     .path = std::string(kApiRoot) + request_.path};
  head.fields.add("authorization", "Bearer " + std::string(access_.api_key.reveal()), true);
  head.fields.add("accept", "application/json, application/problem+json");
  head.fields.add("user-agent", fmt::format("zt/{}", version()));
  std::string body;
  if (request_.body) {
    head.fields.add("content-type", "application/json");
    body = wire::json_text(*request_.body);
  }
  if (request_.version) head.fields.add("if-match", fmt::format("\"{}\"", *request_.version));
  if (!http_.start(head, body, now)) return fail("the API key cannot stand in a request");
  stream_->want_readable();
  settle();
}

void Exchange::read() {
  const auto size = stream_->try_read(buffer_);
  if (!size && size.error() == io::SocketError::would_block) return stream_->want_readable();
  if (!size) return fail(io::to_text(size.error()));
  if (*size == 0) {
    tls_->receive_end();
    take_plaintext();
    if (!result_) settle();
    // Without close_notify the end may be a forger's.
    if (!result_) fail("it closed the connection");
    return;
  }
  take(BytesView(buffer_).first(*size));
  if (result_) return;
  stream_->want_readable();
  settle();
}

void Exchange::take(BytesView ciphertext) {
  while (!ciphertext.empty() && !result_) {
    const std::size_t size = tls_->receive(ciphertext);
    ciphertext = ciphertext.subspan(size);
    take_plaintext();
    if (size == 0) break;  // Over: settle() finds out why.
  }
}

// take_plaintext hands on what TLS has opened, and takes the answer out of it.
void Exchange::take_plaintext() {
  std::vector<std::byte> plaintext(kReadSize);
  while (const std::size_t size = tls_->read(plaintext)) {
    http_.receive(as_text(BytesView(plaintext).first(size)), loop_.now().instant);
  }
  if (tls_->is_receive_ended() && !is_end_told_) {
    is_end_told_ = true;
    http_.receive_end(true);
  }
  while (!result_) {
    auto event = http_.poll_event();
    if (!event) break;
    take_event(*event);
  }
}

// settle sends what waits, and finds out whether TLS is well.
void Exchange::settle() {
  while (!result_ && tls_->state() == http::TlsSession::State::ready) {
    step_ = "waiting for its answer";
    if (http_.to_send().empty()) break;
    const std::size_t size = tls_->write(as_bytes(http_.to_send()));
    http_.sent(size);
    write();
    if (size == 0) break;  // The socket is full: its callback comes back here.
  }
  if (!result_) write();  // An alert, too.
  if (!result_ && tls_->state() == http::TlsSession::State::failed) fail_tls();
}

void Exchange::write() {
  for (;;) {
    const BytesView bytes = tls_->to_send();
    if (bytes.empty()) return;
    const auto size = stream_->try_write(bytes);
    if (!size && size.error() == io::SocketError::would_block) return stream_->want_writable();
    if (!size) return fail(io::to_text(size.error()));
    tls_->sent(*size);
  }
}

void Exchange::fail_tls() {
  if (tls_->error() == http::TlsError::wrong_peer) {
    return fail(
        "it shows another key than the one that the access file pins. Either the controller was "
        "set up anew (then take its new access file), or somebody is in between");
  }
  fail(http::to_text(tls_->error()));
}

void Exchange::take_event(http::Http1Event& event) {
  if (const auto* response = std::get_if<http::Http1Response>(&event)) {
    status_ = response->response.status;
  } else if (const auto* chunk = std::get_if<http::Http1Chunk>(&event)) {
    body_ += chunk->bytes;
  } else if (std::get_if<http::Http1Ended>(&event) != nullptr) {
    end(judge_answer(status_, body_));
  } else {
    fail(http::to_text(std::get<http::Http1Failed>(event).error));
  }
}

void Exchange::fail(std::string_view reason) {
  end(std::unexpected(
      AdminFailure{ExitCode::unreachable,
                   fmt::format("cannot reach the controller {}: {}", controller_, reason)}));
}

void Exchange::end(Result result) {
  if (result_) return;
  result_ = std::move(result);
  loop_.stop();
}

}  // namespace

Result judge_answer(int status, std::string_view body) {
  if (status >= 200 && status < 300) {
    if (body.empty()) return AdminAnswer{.status = status, .body = nullptr};
    auto value = wire::parse_json(body);
    if (value) return AdminAnswer{.status = status, .body = std::move(*value)};
    return std::unexpected(
        AdminFailure{ExitCode::failed, "the controller's answer is no JSON: is it a controller?"});
  }
  const auto problem = http::parse_problem(body, status);
  std::string detail;
  if (problem) detail = problem->detail.empty() ? problem->title : problem->detail;
  if (detail.empty()) detail = fmt::format("the controller answered with status {}", status);
  detail = printable(std::move(detail));
  switch (status) {
    case 401:
      return std::unexpected(AdminFailure{
          ExitCode::denied, fmt::format("the controller does not accept the API key: {}", detail)});
    case 403:
      return std::unexpected(
          AdminFailure{ExitCode::denied, fmt::format("the controller refuses: {}", detail)});
    case 412:
      return std::unexpected(AdminFailure{
          ExitCode::failed,
          fmt::format("{}. Somebody else was faster, and nothing was done: look at it (show), then "
                      "give the command again",
                      detail)});
    case 400:
    case 422:
      return std::unexpected(AdminFailure{ExitCode::usage, std::move(detail)});
    default:
      return std::unexpected(AdminFailure{ExitCode::failed, std::move(detail)});
  }
}

Result AdminClient::call(const AdminRequest& request) const {
  io::Loop loop;
  Exchange exchange(loop, access_, request);
  return exchange.run();
}

}  // namespace zt::app
