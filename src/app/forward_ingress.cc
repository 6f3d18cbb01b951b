// SPDX-License-Identifier: Apache-2.0
#include "app/forward_ingress.h"

#include <utility>

#include "app/udp_ingress.h"

namespace zt::app {

std::expected<std::unique_ptr<TcpForward>, io::SocketError> TcpForward::open(
    ClientShell& shell, const SocketAddress& local, const Authority& target) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<TcpForward> forward(new TcpForward(shell, target));
  TcpForward& self = *forward;
  auto listener = io::TcpListener::open(
      shell.loop(), local, {},
      [&self](io::Descriptor socket, const SocketAddress&) { self.accept(std::move(socket)); });
  if (!listener) return std::unexpected(listener.error());
  forward->listener_ = std::move(*listener);
  return forward;
}

TcpForward::~TcpForward() {
  for (const auto& [number, waiting] : waiting_) shell_.close(waiting.flow);
}

void TcpForward::accept(io::Descriptor socket) {
  // Closed unread, the socket is reset: the application sees that nobody is there.
  if (waiting_.size() >= kWaitingMax) return;
  const std::uint64_t number = next_number_++;
  Waiting& waiting = waiting_[number];
  waiting.stream = std::make_unique<io::Stream>(
      shell_.loop(), io::StreamEnds{.input = std::move(socket), .output = {}}, io::Callback(),
      io::Callback());
  waiting.flow = shell_.open(
      target_, Protocol::tcp,
      [this, number](const std::optional<client::Outcome>& refusal) { answer(number, refusal); });
}

void TcpForward::answer(std::uint64_t number, const std::optional<client::Outcome>& refusal) {
  const auto found = waiting_.find(number);
  if (found == waiting_.end()) return;
  const Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  if (refusal) {
    shell_.log().write(LogLevel::warn, "a flow was refused", {{"reason", refusal->text}},
                       shell_.loop().now().unix_time);
    return waiting.stream->reset();
  }
  shell_.attach(waiting.flow, waiting.stream->release(), {}, [](bool) {});
}

std::expected<std::unique_ptr<UdpForward>, io::SocketError> UdpForward::open(
    ClientShell& shell, const SocketAddress& local, const Authority& target) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<UdpForward> forward(new UdpForward(shell, target));
  UdpForward& self = *forward;
  auto socket =
      open_udp_ingress(shell.loop(), self.buffers_, local,
                       [&self](const io::Datagrams& train, std::span<const std::byte> payload) {
                         self.receive(train, payload);
                       });
  if (!socket) return std::unexpected(socket.error());
  forward->socket_ = std::move(*socket);
  return forward;
}

UdpForward::UdpForward(ClientShell& shell, Authority target)
    : shell_(shell), target_(std::move(target)), timer_(shell.loop(), [this] { end_idle(); }) {}

UdpForward::~UdpForward() {
  for (const auto& [remote, source] : sources_) {
    if (!source.is_refused) shell_.close(source.flow);
  }
}

void UdpForward::receive(const io::Datagrams& train, std::span<const std::byte> payload) {
  const SocketAddress& remote = train.remote;
  const Now now = shell_.loop().now();
  auto found = sources_.find(remote);
  if (found == sources_.end()) {
    if (sources_.size() >= kSourcesMax) return;  // Dropped, as by a full NAT.
    const path::Allowance icmp_allowance(IcmpAnswers::kSenderRate, now.instant);
    found = sources_.emplace(remote, Source{.icmp_allowance = icmp_allowance}).first;
    found->second.flow = shell_.open(
        target_, Protocol::udp,
        [this, remote](const std::optional<client::Outcome>& refusal) { answer(remote, refusal); });
    if (!timer_.is_armed()) timer_.arm(now.instant + kIdleTimeout);
  }
  Source& source = found->second;
  if (source.is_refused) return;
  source.expires = now.instant + kIdleTimeout;
  source.local = train.local;
  if (source.is_open) {
    carry(remote, source, payload, now);
  } else if (source.waiting.size() < kDatagramsWaitingMax) {
    source.waiting.emplace_back(payload.begin(), payload.end());
  }
}

void UdpForward::carry(const SocketAddress& remote, Source& source,
                       std::span<const std::byte> payload, const Now& now) {
  const auto payload_size_max = shell_.send_datagram(source.flow, payload, now);
  if (!payload_size_max || !source.local) return;
  shell_.icmp().too_large({.source = remote,
                           .destination = {.ip = *source.local, .port = local().port},
                           .payload = payload},
                          *payload_size_max, source.icmp_allowance, now);
}

void UdpForward::answer(const SocketAddress& remote,
                        const std::optional<client::Outcome>& refusal) {
  const auto found = sources_.find(remote);
  if (found == sources_.end()) return;
  Source& source = found->second;
  const Now now = shell_.loop().now();
  if (refusal) {
    shell_.log().write(LogLevel::warn, "a flow was refused", {{"reason", refusal->text}},
                       now.unix_time);
    source.is_refused = true;
    source.waiting.clear();
    source.expires = now.instant + kRefusalPause;
    timer_.arm(source.expires);
    return;
  }
  source.is_open = true;
  shell_.attach_datagrams(
      source.flow,
      [this, remote](std::span<const std::byte> payload) {
        const auto held = sources_.find(remote);
        if (held != sources_.end()) {
          held->second.expires = shell_.loop().now().instant + kIdleTimeout;
        }
        // A full socket drops, as a router would.
        (void)socket_->send({.remote = remote, .bytes = payload, .segment_size = payload.size()});
      },
      [this, remote](bool) { sources_.erase(remote); });
  for (const std::vector<std::byte>& payload : std::exchange(source.waiting, {})) {
    carry(remote, source, payload, shell_.loop().now());
  }
}

void UdpForward::end_idle() {
  const Instant now = shell_.loop().now().instant;
  std::optional<Instant> next;
  for (auto source = sources_.begin(); source != sources_.end();) {
    if (source->second.expires > now) {
      next = earlier_of(next, std::optional(source->second.expires));
      ++source;
      continue;
    }
    if (!source->second.is_refused) shell_.close(source->second.flow);
    source = sources_.erase(source);
  }
  if (next) timer_.arm(*next);
}

}  // namespace zt::app
