// SPDX-License-Identifier: Apache-2.0
#pragma once
// sim/world.h: several nodes, QUIC included, in one thread and under virtual time.
//
// Theory of operation
//   A World holds actors, networks of links between them, and NATs between the networks. Time
//   stands still while an actor works and jumps to the next thing that happens: a datagram that
//   arrives, or a deadline of an actor. Things that happen at the same instant happen in the order
//   in which they were caused, so a run is repeated exactly by its seed (but for the bytes that TLS
//   draws by itself, which nothing here depends on).
//
//   A realm is a network within which addresses mean something: the public one, and one behind each
//   Nat. An actor stands at an address in a realm; two realms may use the same addresses. A Nat
//   stands in a realm with its external address and has another realm behind it, so Nats nest: a
//   home behind a carrier's Nat is add_nat(home, add_nat(carrier)).
//
//     public ──┬── controller
//              ├── relay
//              └── carrier's Nat ──┬── home Nat ── client
//                                  └── home Nat ── connector
//
//   A datagram climbs from its sender's realm through `outbound` of each Nat until it is in a realm
//   that has its destination address: that of a host, of a Nat, or of a host behind a firewall. If
//   it comes from behind the Nat whose external address it is sent to, `hairpin` turns it back.
//   There it takes its one hop. Then it descends to its receiver through `inbound` of each Nat in
//   between. Hosts behind one Nat so reach each other directly. What a Nat drops vanishes, and so
//   does what is sent to nobody. Links and the Nats on the way up decide when a datagram is sent;
//   the Nats on the way down, and who stands at the address, when it arrives.
//
//   What a link does to a datagram (delay, drop, duplicate, reorder by jitter, limit the rate) is
//   drawn from the seed. It is done once, to the hop. Links are directed and named by the realm of
//   the hop and the addresses that the datagram bears there: for public hosts their own, for hosts
//   behind a Nat that Nat's external one, which they share; in a private realm the hosts' own
//   again. A link that was not set is the default link.
//
//   TCP links (node/tcp_links.h) are pipes for datagrams that lose nothing and keep the order;
//   their bytes are not made here (unit_http does that). They pass Nats, and take the default
//   link's delay. They work only where set_tcp says so; block_udp is the firewall that makes them
//   needed.
//
//   An actor may have one IPv4 and one IPv6 address; a datagram leaves from the one of the
//   destination's family.
//
//   Each machine has a wall clock of its own, which is wrong by what set_clock_offset says; and its
//   timers ring late by what set_timer_delay says. inject is a stranger's datagram, with whatever
//   source he likes.
//
// Limits   run_until gives up after a virtual time and after events_max events: a liveness failure.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "nat.h"
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

// Realm names a network; see above.
enum class Realm : std::uint32_t {};
inline constexpr Realm kPublic{0};

// Place is where an actor stands.
struct Place {
  Realm realm = kPublic;
  SocketAddress address;

  friend bool operator==(const Place&, const Place&) = default;
};

// Hop is the one step of a datagram that takes time, and the addresses that it bears there.
struct Hop {
  Realm realm = kPublic;
  SocketAddress from;
  SocketAddress to;

  friend bool operator==(const Hop&, const Hop&) = default;
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

  // link_opened and link_closed tell of TCP links, also of those that others opened.
  virtual void link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now);
  virtual void link_closed(const SocketAddress& link, const Now& now);
};

class World {
 public:
  explicit World(std::uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // add_nat puts a Nat, or a firewall, into `outer` and returns the realm behind it. Its external
  // address is nobody else's there; behind a Nat that translates, hosts are of that family.
  [[nodiscard]] Realm add_nat(const Nat::Config& config, Realm outer = kPublic);
  // nat returns the Nat in front of a realm that add_nat returned. A test may let it forget.
  [[nodiscard]] Nat& nat(Realm realm) { return networks_.at(realm).nat; }

  // attach puts an actor on a network. The actor outlives the world. A second place must be of the
  // other address family. No other actor has the same place.
  void attach(Actor& actor, const Place& place);
  void attach(Actor& actor, const SocketAddress& address) {
    attach(actor, {.realm = kPublic, .address = address});
  }
  // detach takes it off: what is on its way to it vanishes, unless somebody stands there by then.
  void detach(Actor& actor);
  // crash detaches an actor that loses its memory.
  void crash(Actor& actor);
  // move takes an attached actor from its place of the same address family to another. What is on
  // its way to the old place vanishes as with detach, and the old Nat keeps its mappings. The actor
  // is not told: the caller does that, and then wakes it.
  void move(Actor& actor, const Place& place);
  // wake settles an actor that was changed from outside.
  void wake(Actor& actor);

  void set_default_link(const Link& link) { default_link_ = link; }
  // set_link sets both directions between two addresses of a realm.
  void set_link(const IpAddress& a, const IpAddress& b, const Link& link, Realm realm = kPublic);
  // set_one_way_link sets the direction from `from` to `to` and leaves the other as it is.
  void set_one_way_link(const IpAddress& from, const IpAddress& to, const Link& link,
                        Realm realm = kPublic);

  // set_tcp says whether hosts take TCP links; those that are there are cut if not.
  void set_tcp(bool is_working);
  // block_udp drops what a host sends and gets by UDP, on the public network.
  void block_udp(const IpAddress& ip, bool is_blocked);
  // open_link opens a TCP link of an attached actor to whoever stands at one of `remotes`, after
  // three round trips; link_opened or link_closed follows. close_link ends one from either side.
  void open_link(Actor& from, const SocketAddress& link, const std::vector<SocketAddress>& remotes);
  void close_link(Actor& from, const SocketAddress& link);
  [[nodiscard]] std::size_t link_count() const { return pipes_.size(); }

  // send lets an attached actor send datagrams; actors that forward by themselves use it.
  void send(const Actor& from, const SocketAddress& to, std::span<const std::byte> bytes,
            std::size_t segment_size, std::uint8_t ecn);

  // inject puts a datagram on a link, as a stranger does who may forge its source. What comes back
  // goes to whoever stands there.
  void inject(const Hop& hop, std::span<const std::byte> bytes) {
    const Flight flight{.hop = hop, .addressed = hop.to};
    carry(flight, bytes, 0);
  }

  // run_until lets time pass until `is_done` or `limit`; it returns whether is_done came true.
  bool run_until(const std::function<bool()>& is_done, Duration limit);
  void run_for(Duration duration);

  [[nodiscard]] Now now() const { return now_; }
  // now_of is the same moment by the actor's own wall clock.
  [[nodiscard]] Now now_of(const Actor& actor) const;
  // set_clock_offset sets an actor's wall clock: by how much it is ahead, or behind if negative.
  void set_clock_offset(const Actor& actor, std::chrono::milliseconds offset) {
    clock_offsets_[&actor] = offset;
  }
  [[nodiscard]] std::chrono::milliseconds clock_offset(const Actor& actor) const;
  // set_timer_delay makes an actor's timers ring so much later than they should.
  void set_timer_delay(const Actor& actor, Duration delay) { timer_delays_[&actor] = delay; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] std::uint64_t event_count() const { return event_count_; }
  // replay is the line that repeats this run, for INFO() of a test.
  [[nodiscard]] std::string replay() const;

  // on_wire sees each datagram that is sent, whatever becomes of it, once: where checkers look.
  // What its own Nat drops is seen as it left its sender. A Nat changes addresses only, so whoever
  // sees the bytes of the hop sees what every wire below it carries.
  std::function<void(const Hop& hop, std::span<const std::byte> bytes)> on_wire;
  // on_sent sees the same as its sender does, TCP links included.
  std::function<void(const Actor& from, const SocketAddress& to, std::span<const std::byte> bytes)>
      on_sent;
  // on_delivered sees a datagram that is about to be handled. `sender` is null for a stranger's;
  // `addressed` is where it was sent to, and `sent` the event during which.
  struct Delivery {
    const Actor* sender = nullptr;
    SocketAddress addressed;
    std::uint64_t sent = 0;
    SocketAddress remote;  // As the receiver sees it.
    std::span<const std::byte> bytes;
  };
  std::function<void(const Actor& to, const Delivery& delivery)> on_delivered;
  std::function<void(const Actor& actor)> on_crashed;
  // on_lost sees where something vanished: a datagram, or a TCP link with what was in it.
  std::function<void(const Hop& hop)> on_lost;

  // is_attached tells whether an actor is on the network.
  [[nodiscard]] bool is_attached(const Actor& actor) const;
  // one_way_delay_max returns how long a datagram may take now, on any link that is not blocked.
  [[nodiscard]] Duration one_way_delay_max() const;

 private:
  // Flight is a datagram on its way.
  struct Flight {
    Hop hop;
    const Actor* sender = nullptr;
    SocketAddress addressed;  // Where its sender sent it to.
    std::uint64_t sent = 0;   // The event.
  };
  struct Arrival {
    Flight flight;
    std::vector<std::byte> bytes;
    std::uint8_t ecn = 0;
  };
  struct Attached {
    Actor* actor = nullptr;
    std::vector<Place> places;

    [[nodiscard]] bool stands_at(const Place& place) const;
    // place_for returns where datagrams to `remote` leave from; null: nowhere.
    [[nodiscard]] const Place* place_for(const IpAddress& remote) const;
  };
  struct Network {
    Nat nat;
    Realm outer;
  };
  // Pipe is a TCP link; each end has a name of its own for it.
  struct Pipe {
    Actor* near = nullptr;
    SocketAddress near_name;
    Actor* far = nullptr;
    SocketAddress far_name;
  };
  using LinkKey = std::tuple<Realm, IpAddress, IpAddress>;

  void settle(Attached& attached);
  void call_at(Instant instant, std::function<void()> call);
  void end_pipe(const Pipe& pipe);
  void pipe_datagrams(const Actor& from, const SocketAddress& to, std::span<const std::byte> bytes,
                      std::size_t segment_size);
  void send(const Attached& from, const SocketAddress& to, std::span<const std::byte> bytes,
            std::size_t segment_size, std::uint8_t ecn);
  void put_on_wire(const Actor& sender, const Hop& start, std::span<const std::byte> datagram,
                   std::uint8_t ecn);
  void carry(const Flight& flight, std::span<const std::byte> datagram, std::uint8_t ecn);
  void lose(const Hop& hop) const;
  [[nodiscard]] std::optional<Hop> climb(Hop hop);
  [[nodiscard]] bool has_address(Realm realm, const IpAddress& ip) const;
  [[nodiscard]] bool is_taken(const Place& place) const;
  [[nodiscard]] Attached* find(const Actor& actor);
  [[nodiscard]] std::optional<Instant> deadline_of(const Actor& actor) const;
  [[nodiscard]] Attached* find_receiver(const Hop& hop);
  [[nodiscard]] double draw();
  bool step(Instant limit);
  void advance(Instant instant);
  [[nodiscard]] const Link& link_of(const LinkKey& key) const;

  std::uint64_t seed_;
  SeededRandom random_;
  Now now_;
  Link default_link_;
  std::map<LinkKey, Link> links_;
  std::map<LinkKey, Instant> busy_until_;  // Of a link with a rate.
  std::map<Realm, Network> networks_;      // All realms but the public one.
  std::vector<Attached> actors_;
  std::map<std::pair<Instant, std::uint64_t>, Arrival> arrivals_;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> calls_;
  std::vector<Pipe> pipes_;
  std::set<std::pair<const Actor*, SocketAddress>> closed_early_;  // Before they were open.
  std::set<IpAddress> udp_blocked_;
  std::map<const Actor*, std::chrono::milliseconds> clock_offsets_;
  std::map<const Actor*, Duration> timer_delays_;
  bool is_tcp_working_ = false;
  std::uint64_t next_pipe_ = std::uint64_t{1} << 32U;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t event_count_ = 0;
  std::vector<std::byte> buffer_;
};

// seed_of is ZT_SEED of the environment, so that a failure is replayed, or `fallback`.
[[nodiscard]] std::uint64_t seed_of(std::uint64_t fallback);

// seed_count_of is ZT_SEEDS of the environment, for a long run at night, or `fallback`. A run that
// replays one seed of ZT_SEED is a run of one.
[[nodiscard]] std::uint64_t seed_count_of(std::uint64_t fallback);

}  // namespace zt::sim
