// SPDX-License-Identifier: Apache-2.0
#include "app/link_sockets.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "app/https_port.h"

namespace zt::app {

namespace {

constexpr std::size_t kReadSize = 64 << 10;
// 256 KiB before others have their turn, as a splice does.
constexpr int kReadsPerTurnMax = 4;
// What the kernel holds that is not on its way yet: more only makes the queue longer.
constexpr std::size_t kUnsentMax = 128 << 10;
constexpr Duration kTick = std::chrono::seconds(1);

}  // namespace

struct LinkSockets::Socket {
  SocketAddress link;
  SocketAddress remote;
  node::ServerPlace place;  // Of one that we open.
  std::unique_ptr<io::Dial> dial;
  std::optional<http::DatagramLink> tunnel;
  std::unique_ptr<io::Stream> stream;
  Instant used_at;          // When it was last found to be of use.
  bool is_ours = false;     // We opened it.
  bool is_told = false;     // on_opened was called.
  bool is_blocked = false;  // The socket takes no more: want_writable() is pending.
};

LinkSockets::LinkSockets(io::Loop& loop, const Limits& limits, Handlers handlers)
    : loop_(loop),
      limits_(limits),
      handlers_(std::move(handlers)),
      tls_(http::TlsContext::client(nullptr)),
      scratch_(kReadSize),
      flushing_(loop, [this] { flush(); }),
      timer_(loop, [this] { tick(); }) {}

LinkSockets::~LinkSockets() = default;

void LinkSockets::open(const node::TcpLinkWanted& wanted) {
  auto socket = std::make_unique<Socket>();
  socket->link = wanted.link;
  socket->place = wanted.place;
  socket->is_ours = true;
  socket->dial = std::make_unique<io::Dial>(
      loop_, wanted.place.remotes, io::Dial::Options{.total_timeout = limits_.link.open_timeout},
      [this, link = wanted.link](std::expected<io::Dial::Connected, io::Dial::Failure> result) {
        Socket* dialled = find(link);
        if (dialled == nullptr) return;
        if (!result) return end(link, std::string(io::to_text(result.error().error)));
        dialled->remote = result->remote;
        dialled->tunnel.emplace(
            tls_,
            http::DatagramLink::Options{
                .tls = {.pin = dialled->place.pin, .server_name = dialled->place.server_name},
                .authority = dialled->place.authority},
            limits_.link, loop_.now().instant);
        start(*dialled, {.input = std::move(result->socket), .output = {}});
        find(link)->dial.reset();
      });
  sockets_[wanted.link] = std::move(socket);
  if (!timer_.is_armed()) timer_.arm(loop_.now().instant + kTick);
}

void LinkSockets::adopt(io::StreamEnds ends, const SocketAddress& remote, http::Upgraded upgraded) {
  const auto is_of_source = [source = source_of(remote)](const auto& entry) {
    return !entry.second->is_ours && source_of(entry.second->remote) == source;
  };
  if (sockets_.size() >= limits_.links_max ||
      std::size_t(std::ranges::count_if(sockets_, is_of_source)) >= limits_.links_per_source_max) {
    return;
  }
  auto socket = std::make_unique<Socket>();
  socket->link = node::link_address(next_link_++);
  socket->remote = remote;
  socket->used_at = loop_.now().instant;
  socket->tunnel.emplace(std::move(upgraded), limits_.link, loop_.now().instant);
  Socket& adopted = *socket;
  sockets_[adopted.link] = std::move(socket);
  start(adopted, std::move(ends));
  if (!timer_.is_armed()) timer_.arm(loop_.now().instant + kTick);
}

void LinkSockets::start(Socket& socket, io::StreamEnds ends) {
  socket.stream = std::make_unique<io::Stream>(
      loop_, std::move(ends), [this, link = socket.link] { receive(link); },
      [this, link = socket.link] {
        find(link)->is_blocked = false;
        flush(link);
      });
  socket.stream->limit_unsent(kUnsentMax);
  socket.stream->want_readable();
  // What came before we were here is looked at with what comes.
  touched_.insert(socket.link);
  flushing_.schedule();
}

void LinkSockets::close(const SocketAddress& link) {
  Socket* socket = find(link);
  if (socket == nullptr) return;
  if (socket->stream) {
    socket->tunnel->close();
    const BytesView goodbye = socket->tunnel->to_send();
    if (!goodbye.empty()) (void)socket->stream->try_write(goodbye);  // The end follows anyway.
  }
  touched_.erase(link);
  sockets_.erase(link);
}

void LinkSockets::send(const io::Datagrams& datagrams) {
  Socket* socket = find(datagrams.remote);
  if (socket == nullptr || !socket->tunnel) {
    dropped_size_ += datagrams.bytes.size();
    return;
  }
  dropped_size_ += socket->tunnel->send(datagrams.bytes, datagrams.segment_size);
  if (socket->is_blocked) return;
  touched_.insert(socket->link);
  flushing_.schedule();
}

void LinkSockets::receive(const SocketAddress& link) {
  Socket& socket = *find(link);
  const Instant now = loop_.now().instant;
  const auto show = [&](BytesView bytes, std::size_t segment_size) {
    handlers_.on_datagrams(
        {.remote = link, .bytes = bytes, .segment_size = segment_size, .ecn = 0});
  };
  for (int i = 0; i < kReadsPerTurnMax; ++i) {
    const auto size = socket.stream->try_read(scratch_);
    if (!size && size.error() == io::SocketError::would_block) break;
    if (!size) return end(link, std::string(io::to_text(size.error())));
    if (*size == 0) {
      socket.tunnel->receive_end();
      break;
    }
    socket.tunnel->receive(BytesView(scratch_).first(*size), workspace_, now, show);
    if (*size < scratch_.size()) break;
  }
  if (!judge(socket)) return;
  socket.stream->want_readable();
  flush(link);
}

// judge tells what has become of a link; false: it is gone.
bool LinkSockets::judge(Socket& socket) {
  switch (socket.tunnel->state()) {
    case http::DatagramLink::State::opening:
      return true;
    case http::DatagramLink::State::open:
      if (socket.is_ours && !std::exchange(socket.is_told, true)) {
        handlers_.on_opened(socket.link, socket.remote);
      }
      return true;
    case http::DatagramLink::State::over:
      end(socket.link, socket.tunnel->reason());
      return false;
  }
  return false;
}

void LinkSockets::flush(const SocketAddress& link) {
  Socket* socket = find(link);
  if (socket == nullptr || !socket->stream || socket->is_blocked) return;
  for (;;) {
    const BytesView bytes = socket->tunnel->to_send();
    if (bytes.empty()) return;
    const auto size = socket->stream->try_write(bytes);
    if (!size && size.error() == io::SocketError::would_block) {
      socket->is_blocked = true;
      socket->stream->want_writable();
      return;
    }
    if (!size) return end(link, std::string(io::to_text(size.error())));
    socket->tunnel->sent(*size);
  }
}

void LinkSockets::flush() {
  for (const SocketAddress& link : std::exchange(touched_, {})) flush(link);
}

void LinkSockets::end(const SocketAddress& link, const std::string& reason) {
  const auto found = sockets_.find(link);
  if (found == sockets_.end()) return;
  const std::unique_ptr<Socket> socket = std::move(found->second);
  sockets_.erase(found);
  touched_.erase(link);
  handlers_.on_closed(link, reason);
}

void LinkSockets::tick() {
  const Instant now = loop_.now().instant;
  std::vector<SocketAddress> links;
  links.reserve(sockets_.size());
  for (const auto& [link, socket] : sockets_) links.push_back(link);
  for (const SocketAddress& link : links) {
    Socket& socket = *find(link);
    if (!socket.tunnel) continue;  // The dial has its own deadline.
    socket.tunnel->handle_timeout(now);
    if (!judge(socket) || socket.is_ours || !handlers_.is_used) continue;
    if (handlers_.is_used(link)) {
      socket.used_at = now;
    } else if (now - socket.used_at >= limits_.unused_timeout) {
      socket.tunnel->close();
      end(link, "nobody is bound over it");
    }
  }
  if (!sockets_.empty()) timer_.arm(now + kTick);
}

LinkSockets::Socket* LinkSockets::find(const SocketAddress& link) {
  const auto found = sockets_.find(link);
  return found == sockets_.end() ? nullptr : found->second.get();
}

}  // namespace zt::app
