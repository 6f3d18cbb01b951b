// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/udp.h: UDP in batches: what one system call moves is up to 64 KiB, not one datagram.
//
// Theory of operation
//   Datagrams travel as trains: equal segments, the last may be shorter, of one remote address and
//   one ECN mark. Receiving, the kernel couples what arrived back to back (UDP_GRO), and one
//   recvmmsg takes several trains. Sending, the kernel uncouples a train as late as it can, in the
//   network card at best (UDP_SEGMENT). A train that comes in may be sent on as it is.
//
//   Where the kernel or the device cannot do UDP_SEGMENT (EIO), trains are sent as single datagrams
//   by sendmmsg from then on. Where just one train does not fit the route (EINVAL, EMSGSIZE), only
//   that one is sent so: each datagram then gets its own answer, and what is too large is dropped.
//
//   The socket holds no queue. `send` says how much is gone, and whether the socket is full; then
//   `on_writable` follows. An endpoint keeps its one unsent train and stops producing; a router
//   drops it. Everything else that can go wrong loses datagrams, as IP does, and is counted: the
//   protocols above repair loss, and a queue here would only hide congestion from them.
//
//   Datagrams are never fragmented (DF, IP_PMTUDISC_PROBE) unless the options say so: path MTU
//   discovery belongs to QUIC.
//
// Limits   Trains of 64 KiB and 64 segments; received_per_turn_max bytes and 4 calls before others
//          have their turn; buffers as asked for, within net.core.rmem_max and wmem_max unless
//          privileged.
// Cost     Measured by tests/bench/udp_bench.cc against a bare loop of the same system calls.
// Threats  Anybody can send here: nothing is kept per sender, ICMP errors of others' making are
//          counted and otherwise ignored, truncated datagrams are dropped.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "io/loop.h"
#include "io/socket_error.h"
#include "zt/base/ip.h"

namespace zt::io {

// Datagrams is a train. Received ones live as long as the callback that shows them.
struct Datagrams {
  SocketAddress remote;
  std::span<const std::byte> bytes;
  std::size_t segment_size = 0;  // Of each datagram but the last; 1 to bytes.size(), or both are 0.
  std::uint8_t ecn = 0;          // Two bits of the IP header (RFC 3168).
  // The address of this machine that a received train was sent to, if Options ask for it; nothing
  // if it was sent to more than one host.
  std::optional<IpAddress> local = std::nullopt;
};

// for_each_datagram calls `show` with the bytes of each datagram of a train. One that is empty is
// one, too: UDP has them (RFC 768), and some protocols mean something by them.
template <class Show>
void for_each_datagram(const Datagrams& train, const Show& show) {
  std::span<const std::byte> rest = train.bytes;
  do {
    const std::size_t size = std::min(train.segment_size, rest.size());
    show(rest.first(size));
    rest = rest.subspan(size);
  } while (!rest.empty());
}

// UdpBuffers is the memory that all UDP sockets of one loop receive into, one after the other: a
// socket then costs no buffer, and ten thousand flows share one that stays in the cache.
class UdpBuffers {
 public:
  // 16 trains of 64 KiB fill 1 MiB. udp_bench: 4, 8, 16 and 32 are within noise, 2 costs 10 % more;
  // 16 single datagrams for a call matter where there is no GRO.
  static constexpr std::size_t kTrainCount = 16;
  static constexpr std::size_t kTrainSizeMax = 65536;

  UdpBuffers();
  UdpBuffers(const UdpBuffers&) = delete;
  UdpBuffers& operator=(const UdpBuffers&) = delete;
  ~UdpBuffers();

 private:
  friend class UdpSocket;
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// UdpStatistics counts since the socket was opened. Trains and datagrams that were handed over by
// `send` are either sent or dropped.
struct UdpStatistics {
  std::uint64_t trains_received = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t trains_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t sends_blocked = 0;            // `send` met a full socket.
  std::uint64_t datagrams_dropped_size = 0;   // Larger than the route takes.
  std::uint64_t datagrams_dropped_error = 0;  // Unreachable, refused by a firewall, no buffer, …
  std::uint64_t datagrams_truncated = 0;      // Received ones that did not fit.
  bool is_segmenting = true;                  // UDP_SEGMENT is in use.

  UdpStatistics& operator+=(const UdpStatistics& other);
};

// UdpBufferSizes is what the kernel granted of its buffers, in the unit of UdpSocket::Options. If
// it is less than was asked for, bulk speed suffers, and the operator should raise
// net.core.rmem_max or net.core.wmem_max.
struct UdpBufferSizes {
  std::size_t receive = 0;
  std::size_t send = 0;
};

class UdpSocket {
 public:
  struct Options {
    // Sizes of the kernel's buffers; 0 leaves the default. A QUIC window of 4 MiB must fit.
    std::size_t receive_buffer_size = 8 << 20;
    std::size_t send_buffer_size = 8 << 20;
    // Several sockets of this user have the port; the kernel spreads remote addresses over them
    // (SO_REUSEPORT).
    bool is_port_shared = false;
    bool is_fragmented = false;  // The kernel may fragment (for payload that is not QUIC).
    bool is_local_told = false;  // Received trains say which address they were sent to.
    // What is taken before others have their turn: the last call may go over it by 1 MiB. Opening
    // 1 MiB of QUIC packets takes about a millisecond.
    std::size_t received_per_turn_max = 512 << 10;
  };

  struct Handlers {
    // The callback may send, and may destroy the socket.
    std::move_only_function<void(const Datagrams&)> on_datagrams;
    // After `send` met a full socket. May be empty if the caller drops.
    Callback on_writable;
    // Only for a connected socket: the target refuses (ICMP port unreachable) or is unreachable.
    // The socket stays usable. May be empty.
    std::move_only_function<void(SocketError)> on_error;
  };

  struct SendResult {
    std::size_t size = 0;     // Bytes from the front that need not be sent again: sent or lost.
    bool is_blocked = false;  // The socket is full; the rest may be sent after on_writable.
  };

  // bind opens a socket on `local` (port 0: any). An IPv6 socket takes IPv6 only. Errors: in_use,
  // invalid, denied, unreachable (no such family here), limit.
  [[nodiscard]] static std::expected<std::unique_ptr<UdpSocket>, SocketError> bind(
      Loop& loop, UdpBuffers& buffers, const SocketAddress& local, const Options& options,
      Handlers handlers);

  // connect opens a socket that exchanges datagrams with `remote` only; others' are not received.
  [[nodiscard]] static std::expected<std::unique_ptr<UdpSocket>, SocketError> connect(
      Loop& loop, UdpBuffers& buffers, const SocketAddress& remote, const Options& options,
      Handlers handlers);

  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;
  ~UdpSocket();

  // send sends a train to `datagrams.remote` (ignored by a connected socket). Its bytes need only
  // live for the call. An empty train sends one empty datagram.
  SendResult send(const Datagrams& datagrams);

  // local is the address that the socket is bound to.
  [[nodiscard]] const SocketAddress& local() const;
  [[nodiscard]] UdpBufferSizes buffer_sizes() const;
  [[nodiscard]] const UdpStatistics& statistics() const;

 private:
  class Impl;
  explicit UdpSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// UdpPort is one port in both families: an IPv4 and an IPv6 socket with the same number. Where one
// family is not available, it is the other alone.
class UdpPort {
 public:
  struct Local {
    std::optional<IpAddress> ip;  // Absent: all addresses of both families.
    std::uint16_t port = 0;       // 0: any, the same in both families.
  };

  // bind fails as UdpSocket::bind does.
  [[nodiscard]] static std::expected<std::unique_ptr<UdpPort>, SocketError> bind(
      Loop& loop, UdpBuffers& buffers, const Local& local, const UdpSocket::Options& options,
      UdpSocket::Handlers handlers);

  UdpPort(const UdpPort&) = delete;
  UdpPort& operator=(const UdpPort&) = delete;
  ~UdpPort();

  // send picks the socket by the family of the remote address. Without that family the train is
  // lost, as if there were no route.
  UdpSocket::SendResult send(const Datagrams& datagrams);

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] bool has_v4() const { return v4_ != nullptr; }
  [[nodiscard]] bool has_v6() const { return v6_ != nullptr; }
  [[nodiscard]] UdpBufferSizes buffer_sizes() const;  // The smaller ones.
  [[nodiscard]] UdpStatistics statistics() const;     // The sum.

 private:
  explicit UdpPort(UdpSocket::Handlers handlers) : handlers_(std::move(handlers)) {}
  [[nodiscard]] UdpSocket::Handlers forwarding();

  UdpSocket::Handlers handlers_;
  std::unique_ptr<UdpSocket> v4_;
  std::unique_ptr<UdpSocket> v6_;
  std::uint64_t datagrams_without_family_ = 0;
};

}  // namespace zt::io
