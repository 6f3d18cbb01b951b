// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/link.h: which socket, which real address, and whether a relay is behind it.
//
// Theory of operation
//   A link is a local socket and a remote address. A node reaches its peer over many links: through
//   each relay where both are bound, and directly. QUIC tells its paths apart by numbers that stand
//   for links (quic/paths.h gives each pair of link and destination connection ID a path of its
//   own), so everything below works with a LinkNumber and everything that touches a socket asks
//   this table what it means. A number is never used twice: a stale one leads nowhere.
//
//   A link is direct unless its remote address is a relay of ours. A relay is known by its address
//   before anything is received from it, so a link's meaning does not depend on what arrives first.
//
// Limits: `links_max`. The least recently used link that nobody holds makes room. If all are held,
//   there is no number, and the datagram is dropped. `relays_max` addresses of relays.
// Cost: one look-up in an ordered map for a run of datagrams of one source; the last is remembered.
// Threats: entries are made for sources that have proved nothing. Strangers push out each other's
//   entries, and those of live connections never: these are held. Ordered maps have no collisions
//   that could be aimed at.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <utility>

#include "zt/base/ids.h"
#include "zt/base/ip.h"

namespace zt::path {

enum class SocketId : std::uint32_t {};    // Chosen by the shell; a socket that is opened anew is
                                           // another one.
enum class LinkNumber : std::uint64_t {};  // 0 is none.

struct Link {
  SocketId socket{};
  SocketAddress remote;
  std::optional<RelayId> relay;  // That forwards there; none is direct.

  [[nodiscard]] bool is_direct() const { return !relay.has_value(); }
  friend bool operator==(const Link&, const Link&) = default;
};

class LinkTable {
 public:
  struct Limits {
    std::size_t links_max = 8192;
    std::size_t relays_max = 64;
  };

  explicit LinkTable(const Limits& limits) : limits_(limits) {}
  LinkTable(const LinkTable&) = delete;
  LinkTable& operator=(const LinkTable&) = delete;
  ~LinkTable() = default;

  // set_relay says that `address` is a relay's; it returns false at `relays_max`. It holds for
  // links that exist too.
  bool set_relay(const SocketAddress& address, const RelayId& relay);
  void forget_relay(const SocketAddress& address);

  // find_or_open returns the number of a link; 0 if the table is full of held ones.
  [[nodiscard]] LinkNumber find_or_open(SocketId socket, const SocketAddress& remote);
  // find returns nothing for a number of no link.
  [[nodiscard]] std::optional<Link> find(LinkNumber number) const;

  // hold keeps a link from making room until as many calls of release. Numbers of no link are
  // ignored.
  void hold(LinkNumber number);
  void release(LinkNumber number);

  // forget_socket ends all links of a socket that is closed, held or not.
  void forget_socket(SocketId socket);

  [[nodiscard]] std::size_t link_count() const { return numbers_.size(); }

 private:
  using Key = std::pair<SocketId, SocketAddress>;
  struct Entry {
    Key key;
    std::size_t hold_count = 0;
    std::list<LinkNumber>::iterator place;  // In idle_, if hold_count is 0.
  };
  using Entries = std::map<LinkNumber, Entry>;

  void erase(Entries::iterator entry);
  void touch(Entry& entry);

  Limits limits_;
  std::map<SocketAddress, RelayId> relays_;
  std::map<Key, LinkNumber> numbers_;
  Entries entries_;
  std::list<LinkNumber> idle_;  // Not held; the least recently used first.
  std::uint64_t number_last_ = 0;
  std::optional<std::pair<Key, LinkNumber>> recent_;
};

}  // namespace zt::path
