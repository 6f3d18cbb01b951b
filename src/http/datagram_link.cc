// SPDX-License-Identifier: Apache-2.0
#include "http/datagram_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "http/text.h"

namespace zt::http {

DatagramLink::DatagramLink(const TlsContext& context, const Options& options, const Limits& limits,
                           Instant now)
    : limits_(limits),
      tls_(std::make_unique<TlsSession>(context, options.tls, now)),
      parser_(Http1Parser::Kind::response, limits.head),
      opened_by_(now + limits.open_timeout),
      heard_at_(now) {
  const std::string request =
      fmt::format("GET {} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: {}\r\n\r\n",
                  kDatagramsPath, options.authority, kDatagramsProtocol);
  const BytesView bytes = as_bytes(request);
  unsent_.assign(bytes.begin(), bytes.end());
}

DatagramLink::DatagramLink(Upgraded upgraded, const Limits& limits, Instant now)
    : limits_(limits),
      tls_(std::move(upgraded.tls)),
      parser_(Http1Parser::Kind::response, limits.head),
      state_(State::open),
      ciphertext_(std::move(upgraded.ciphertext)),
      heard_at_(now) {
  const BytesView early = as_bytes(upgraded.early);
  rest_.assign(early.begin(), early.end());
}

void DatagramLink::begin(LinkWorkspace& workspace) const {
  ZT_ASSERT(rest_.size() < workspace.buffer_.size());
  std::ranges::copy(rest_, workspace.buffer_.begin());
  workspace.begin_ = 0;
  workspace.end_ = rest_.size();
}

// pull takes ciphertext as long as its plaintext finds room, and returns whether any did.
bool DatagramLink::pull(BytesView& ciphertext, LinkWorkspace& workspace) {
  const std::size_t before = workspace.end_;
  bool has_moved = true;
  while (has_moved && workspace.end_ < LinkWorkspace::kSize / 2) {
    const BytesView source = ciphertext_.empty() ? ciphertext : BytesView(ciphertext_);
    const std::size_t taken = source.empty() ? 0 : tls_->receive(source);
    if (ciphertext_.empty()) {
      ciphertext = ciphertext.subspan(taken);
    } else {
      ciphertext_.erase(ciphertext_.begin(), ciphertext_.begin() + std::ptrdiff_t(taken));
    }
    const std::size_t size = tls_->read(std::span(workspace.buffer_).subspan(workspace.end_));
    workspace.end_ += size;
    has_moved = taken + size > 0;
  }
  if (state_ == State::opening && workspace.end_ > before) take_answer(workspace);
  judge_tls();
  return workspace.end_ > before;
}

// take_answer reads the head of the server's answer; what follows it are frames.
void DatagramLink::take_answer(LinkWorkspace& workspace) {
  const BytesView bytes =
      BytesView(workspace.buffer_).subspan(workspace.begin_, workspace.end_ - workspace.begin_);
  const Http1Parser::Step step = parser_.parse(as_text(bytes));
  workspace.begin_ += step.size;
  switch (step.stop) {
    case Http1Parser::Stop::more:
      return;
    case Http1Parser::Stop::end:
    case Http1Parser::Stop::error:
      return fail("the answer is not HTTP/1.1");
    case Http1Parser::Stop::head:
      break;
  }
  const Http1Head& head = parser_.head();
  const auto protocol = head.fields.find("upgrade");
  if (head.status != 101) return fail(fmt::format("the answer is {}", head.status));
  if (!protocol || !equals_ignoring_case(*protocol, kDatagramsProtocol)) {
    return fail("the answer is for another protocol");
  }
  state_ = State::open;
}

std::optional<wire::FramedTrain> DatagramLink::next_train(LinkWorkspace& workspace) {
  if (state_ != State::open) return std::nullopt;
  const auto train = wire::take_train(
      std::span(workspace.buffer_).subspan(workspace.begin_, workspace.end_ - workspace.begin_));
  if (!train) {
    fail("the peer sends no datagrams");
    return std::nullopt;
  }
  if (train->consumed == 0) return std::nullopt;
  workspace.begin_ += train->consumed;
  return *train;
}

void DatagramLink::compact(LinkWorkspace& workspace) {
  const auto rest =
      std::span(workspace.buffer_).subspan(workspace.begin_, workspace.end_ - workspace.begin_);
  std::ranges::copy(rest, workspace.buffer_.begin());
  workspace.begin_ = 0;
  workspace.end_ = rest.size();
}

void DatagramLink::end(const LinkWorkspace& workspace) {
  const BytesView rest =
      BytesView(workspace.buffer_).subspan(workspace.begin_, workspace.end_ - workspace.begin_);
  rest_.assign(rest.begin(), rest.end());
}

void DatagramLink::receive_end() {
  tls_->receive_end();
  if (state_ != State::over) fail("the peer closed it");
}

void DatagramLink::judge_tls() {
  if (tls_->state() == TlsSession::State::failed) {
    std::string reason(to_text(tls_->error()));
    if (!tls_->error_detail().empty()) reason += " (" + tls_->error_detail() + ")";
    fail(std::move(reason));
  } else if (tls_->is_receive_ended()) {
    fail("the peer closed it");
  }
}

std::size_t DatagramLink::send(BytesView datagrams, std::size_t segment_size) {
  const std::size_t size = wire::framed_size(datagrams.size(), segment_size);
  const bool has_room = unsent_.size() - unsent_offset_ + size <= limits_.queued_size_max;
  if (state_ != State::open || !has_room) return datagrams.size();
  if (unsent_offset_ > unsent_.size() / 2) {  // Each byte is moved at most twice.
    unsent_.erase(unsent_.begin(), unsent_.begin() + std::ptrdiff_t(unsent_offset_));
    unsent_offset_ = 0;
  }
  return wire::append_frames(unsent_, datagrams, segment_size) ? 0 : datagrams.size();
}

BytesView DatagramLink::to_send() {
  const BytesView waiting = tls_->to_send();
  if (!waiting.empty() || unsent_.empty()) return waiting;
  unsent_offset_ += tls_->write(BytesView(unsent_).subspan(unsent_offset_));
  if (unsent_offset_ == unsent_.size()) {
    unsent_.clear();
    unsent_offset_ = 0;
  }
  return tls_->to_send();
}

void DatagramLink::sent(std::size_t size) {
  tls_->sent(size);
}

void DatagramLink::close() {
  unsent_.clear();
  unsent_offset_ = 0;
  tls_->shut();
  fail("closed");
}

void DatagramLink::fail(std::string reason) {
  if (state_ == State::over) return;
  state_ = State::over;
  reason_ = std::move(reason);
}

void DatagramLink::handle_timeout(Instant now) {
  const auto deadline = next_deadline();
  if (!deadline || now < *deadline) return;
  fail(state_ == State::opening ? "it took too long to open" : "nothing came for too long");
}

std::optional<Instant> DatagramLink::next_deadline() const {
  switch (state_) {
    case State::opening:
      return opened_by_;
    case State::open:
      return heard_at_ + limits_.idle_timeout;
    case State::over:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace zt::http
