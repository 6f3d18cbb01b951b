// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/world.h: several nodes, QUIC included, in one thread and under virtual time.
//
// Theory of operation
//   A World holds actors, each with one UDP address, and a network of links between them. Time
//   stands still while an actor works and jumps to the next thing that happens: a datagram that
//   arrives, or a deadline of an actor. Things that happen at the same instant happen in the order
//   in which they were caused, so a run is repeated exactly by its seed (but for the bytes that TLS
//   draws by itself, which nothing here depends on).
//
//   What a link does to a datagram (delay, drop, duplicate, reorder by jitter, limit the rate) is
//   drawn from the seed. Links are named by the pair of hosts; one that was not set is the default
//   link.
//
// Limits   run_until gives up after a virtual time and after events_max events: a liveness failure.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quic/endpoint.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::sim {

struct Link {
  Duration delay = std::chrono::milliseconds(5);  // One way.
  Duration jitter{};                              // Added evenly from [0, jitter]: reorders.
  double loss = 0;                                // Share of datagrams that vanish.
  double duplication = 0;                         // Share that arrives twice.
  std::uint64_t rate_bits_per_s = 0;              // 0: unlimited.
  std::size_t queue_size_max = 1 << 20;           // Bytes waiting for the rate; more is dropped.
  bool is_blocked = false;                        // Everything vanishes.
};

// Actor is one host on the network. Implementations wrap a node.
class Actor {
 public:
  Actor() = default;
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  virtual ~Actor() = default;

  virtual void handle(const quic::ReceivedDatagrams& datagrams, const Now& now) = 0;
  virtual void handle_timeout(const Now& now) = 0;
  // settle carries out everything that is not a datagram.
  virtual void settle(const Now& now) = 0;
  virtual std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer,
                                                      const Now& now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
};

class World {
 public:
  explicit World(std::uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // attach puts an actor on the network at `address`. The actor outlives the world.
  void attach(Actor& actor, const SocketAddress& address);
  // detach takes it off: what is on its way to it vanishes.
  void detach(Actor& actor);
  // wake settles an actor that was changed from outside.
  void wake(Actor& actor);

  void set_default_link(const Link& link) { default_link_ = link; }
  // set_link sets both directions between the hosts of two addresses.
  void set_link(const IpAddress& a, const IpAddress& b, const Link& link);

  // send puts datagrams on the wire; actors that forward by themselves use it.
  void send(const SocketAddress& from, const SocketAddress& to, std::span<const std::byte> bytes,
            std::size_t segment_size, std::uint8_t ecn);

  // run_until lets time pass until `is_done` or `limit`; it returns whether is_done came true.
  bool run_until(const std::function<bool()>& is_done, Duration limit);
  void run_for(Duration duration);

  [[nodiscard]] Now now() const { return now_; }
  // jump_wall_clock moves the wall clock of everybody by `shift`, as an operator may.
  void jump_wall_clock(std::chrono::milliseconds shift) { now_.unix_time += shift; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] std::uint64_t event_count() const { return event_count_; }
  // replay is the line that repeats this run, for INFO() of a test.
  [[nodiscard]] std::string replay() const;

  // on_wire sees each datagram that is put on the wire: where checkers look. `from` and `to` are
  // hosts.
  std::function<void(const SocketAddress& from, const SocketAddress& to,
                     std::span<const std::byte> bytes)>
      on_wire;

 private:
  struct Arrival {
    SocketAddress from;
    SocketAddress to;
    std::vector<std::byte> bytes;
    std::uint8_t ecn = 0;
  };
  struct Attached {
    Actor* actor = nullptr;
    SocketAddress address;
  };

  void settle(Attached& attached);
  void put_on_wire(const SocketAddress& from, const SocketAddress& to,
                   std::span<const std::byte> datagram, std::uint8_t ecn);
  [[nodiscard]] double draw();
  bool step(Instant limit);
  void advance(Instant instant);
  [[nodiscard]] const Link& link_between(const IpAddress& a, const IpAddress& b) const;

  std::uint64_t seed_;
  SeededRandom random_;
  Now now_;
  Link default_link_;
  std::map<std::pair<IpAddress, IpAddress>, Link> links_;
  std::map<std::pair<IpAddress, IpAddress>, Instant> busy_until_;  // Of a link with a rate.
  std::vector<Attached> actors_;
  std::map<std::pair<Instant, std::uint64_t>, Arrival> arrivals_;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t event_count_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace zt::sim
