// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/relay_threads.h: the threads of a relay beside its first one; all they do is forward.
//
// Theory of operation
//   Each thread has its own event loop, its own socket on the relay's port (SO_REUSEPORT) and its
//   own relay::Replica of the forwarding table. The kernel picks the socket by a hash of both
//   addresses and ports: what one node sends comes to one thread, in order, and leaves in order.
//   The first thread (RelayShell) is the only one that binds and decides; it posts updates into the
//   other loops. What is not to be forwarded (handshakes, binds) is copied and posted to the first
//   thread, which answers from its own socket: the same address and port.
//
//                       ┌── updates ──► loop 1: socket, replica ──┐
//     loop 0: RelayNode ┤                                         ├── not for forwarding ──► loop 0
//                       └── updates ──► loop 2: socket, replica ──┘
//
//   Loops share nothing but their queues of callbacks and, for each thread, three numbers: the
//   feed's epoch, which is raised when an update did not fit into its queue (relay/replica.h), and
//   what is on its way to the first thread, in trains and bytes.
//
//   All sockets are bound before any of them is read, so that the kernel's hash does not change
//   under way. Others cannot put a socket beside them: the kernel wants the same user for that.
//
// Limits   kHandedMax trains of kHandedSizeMax bytes are on their way from one thread to the first;
//          more is dropped. With kThreadsMax threads they fit into the first loop's queue.
// Cost     Idle: three descriptors and some 100 KiB a thread; a replica is 200 bytes a binding.
// Threats  A flood of handshakes at one thread fills its share of the first one's queue, and
//          nobody else's.

#include <atomic>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <vector>

#include "io/loop.h"
#include "io/udp.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/relay/replica.h"

namespace zt::app {

class RelayThreads {
 public:
  static constexpr std::size_t kThreadsMax = 32;  // The first included.
  static constexpr std::size_t kHandedMax = 128;
  static constexpr std::size_t kHandedSizeMax = 1 << 20;

  // `on_handed` runs in `home`, the loop of the first thread, with what is not to be forwarded.
  using OnHanded = std::move_only_function<void(const io::Datagrams&)>;

  // `home` outlives the object, and takes no turn after it; `own_route` is the relay's.
  RelayThreads(io::Loop& home, const RouteId& own_route, OnHanded on_handed);
  RelayThreads(const RelayThreads&) = delete;
  RelayThreads& operator=(const RelayThreads&) = delete;
  ~RelayThreads();  // Stops them.

  // add binds one more socket, for a thread to be. Errors are those of UdpPort::bind.
  [[nodiscard]] std::expected<void, io::SocketError> add(const io::UdpPort::Local& local,
                                                         const io::UdpSocket::Options& options,
                                                         Random& random);
  // start begins with all threads; once.
  void start();
  // publish carries the engine's changes since the last call to all threads.
  void publish(const relay::Engine& engine, const std::vector<relay::RouteChange>& changes);
  // is_behind tells whether an update did not fit: publish has to be called again soon.
  [[nodiscard]] bool is_behind() const;
  // stop ends all threads and waits for them. Then totals() may be asked.
  void stop();

  struct Totals {
    relay::Totals forwarding;
    std::uint64_t handed = 0;        // Trains to the first thread.
    std::uint64_t handed_lost = 0;   // Trains that had no room.
    std::uint64_t dropped_size = 0;  // Bytes that the socket did not take.
  };
  // totals returns what each thread did, in their order.
  [[nodiscard]] std::vector<Totals> totals() const;
  [[nodiscard]] std::size_t count() const { return threads_.size(); }

 private:
  class Thread;

  io::Loop& home_;
  RouteId own_route_;
  OnHanded on_handed_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace zt::app
