// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/forward_ingress.h: `--forward`: a local port stands for one resource.
//
// Theory of operation
//   TCP: each accepted connection is held, unread, until the connector has answered; then it is
//   attached to its flow, or broken with RST, so that the application sees that the far end is not
//   there. UDP: each source address is a flow of its own. Datagrams wait, a few, while the flow is
//   opened; an idle flow ends after `udp_idle_timeout`. The sender of one that does not fit the
//   path is told so (icmp_answers.h).
//
// Limits   waiting_max connections or sources that wait for an answer; datagrams_waiting_max for
// each.

#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "app/client_shell.h"
#include "io/tcp.h"
#include "io/udp.h"
#include "zt/base/host.h"
#include "zt/base/ip.h"

namespace zt::app {

class TcpForward {
 public:
  // open listens on `local`; port 0 is any. `shell` outlives the forward.
  [[nodiscard]] static std::expected<std::unique_ptr<TcpForward>, io::SocketError> open(
      ClientShell& shell, const SocketAddress& local, const Authority& target);
  TcpForward(const TcpForward&) = delete;
  TcpForward& operator=(const TcpForward&) = delete;
  ~TcpForward();

  [[nodiscard]] const SocketAddress& local() const { return listener_->local(); }
  [[nodiscard]] const Authority& target() const { return target_; }

 private:
  static constexpr std::size_t kWaitingMax = 1024;

  TcpForward(ClientShell& shell, Authority target) : shell_(shell), target_(std::move(target)) {}
  void accept(io::Descriptor socket);
  void answer(std::uint64_t number, const std::optional<client::Outcome>& refusal);

  struct Waiting {
    ClientShell::FlowKey flow{};
    std::unique_ptr<io::Stream> stream;
  };

  ClientShell& shell_;
  Authority target_;
  std::unique_ptr<io::TcpListener> listener_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, Waiting> waiting_;
};

class UdpForward {
 public:
  [[nodiscard]] static std::expected<std::unique_ptr<UdpForward>, io::SocketError> open(
      ClientShell& shell, const SocketAddress& local, const Authority& target);
  UdpForward(const UdpForward&) = delete;
  UdpForward& operator=(const UdpForward&) = delete;
  ~UdpForward();

  [[nodiscard]] const SocketAddress& local() const { return socket_->local(); }
  [[nodiscard]] const Authority& target() const { return target_; }

 private:
  static constexpr std::size_t kSourcesMax = 1024;
  static constexpr std::size_t kDatagramsWaitingMax = 16;
  static constexpr Duration kIdleTimeout = std::chrono::minutes(2);  // RFC 4787 REQ-5.
  static constexpr Duration kRefusalPause = std::chrono::seconds(1);

  struct Source {
    ClientShell::FlowKey flow{};
    bool is_open = false;
    bool is_refused = false;  // Kept for a moment, so that a flood does not ask again and again.
    Instant expires;
    std::deque<std::vector<std::byte>> waiting;
    std::optional<IpAddress> local;  // That it sent to last.
    path::Allowance icmp_allowance;
  };

  UdpForward(ClientShell& shell, Authority target);
  void receive(const io::Datagrams& train, std::span<const std::byte> payload);
  void carry(const SocketAddress& remote, Source& source, std::span<const std::byte> payload,
             const Now& now);
  void answer(const SocketAddress& remote, const std::optional<client::Outcome>& refusal);
  void end_idle();

  ClientShell& shell_;
  Authority target_;
  io::UdpBuffers buffers_;
  std::unique_ptr<io::UdpSocket> socket_;
  std::map<SocketAddress, Source> sources_;
  io::Timer timer_;
};

}  // namespace zt::app
