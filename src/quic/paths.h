// SPDX-License-Identifier: Apache-2.0
#pragma once
// quic/paths.h: the virtual addresses under which ngtcp2 knows the paths of one connection.
//
// Theory of operation
//   One UDP socket reaches a peer directly and through relays, and a relay is reached at one
//   address whatever peer is behind it. For QUIC these are different paths, but ngtcp2 tells paths
//   apart by their *local* address and refuses to migrate to the one it has. So ngtcp2 is shown
//   addresses that exist nowhere: the local address carries a number, the remote one is always the
//   same. This table maps the numbers to real remote addresses. A number is never used twice.
//
//   The opening side takes a new number for each migration. ngtcp2 1.24.0 migrates to a path that
//   it remembers without validating it again, and a remembered path tells nothing about the
//   present. A received packet belongs to the newest path of its remote; from any other remote it
//   is dropped.
//
//   The accepting side takes a new number for each pair (remote, destination connection ID). A
//   client changes the connection ID whenever it changes paths, so every switch of the client, also
//   one back to where it was, is a path never seen before. This is the cure of two faults of
//   ngtcp2 1.24.0:
//     - on a return to a remembered path it overwrites the connection ID in use without retiring
//     it,
//       and after active_connection_id_limit switches it silently stops to follow its peer;
//     - it does not follow a return to the old path while it still validates the new one.
//   Long headers and the first connection ID share one number, because a handshake is one path. The
//   price is the limit of three times the received bytes for one round trip after each switch.
//
// Limits   kPathsMax numbers at a time. The least recently used one that is neither in use nor
// being
//          validated makes room; its late packets are then a new path, which is harmless.
// Threats  An entry is made before a packet is authenticated. A stranger who knows a connection ID
// can
//          therefore turn over the unused entries, and nothing else.

#include <ngtcp2/ngtcp2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "quic/connection_id.h"
#include "zt/base/ip.h"

namespace zt::quic {

enum class PathNumber : std::uint32_t {};  // 0 is none.

// number_of reads the number back from a path that ngtcp2 hands out; 0 if it names no path.
[[nodiscard]] PathNumber number_of(const ngtcp2_path& path);

class PathTable {
 public:
  static constexpr std::size_t kPathsMax = 16;
  static constexpr std::size_t kKeptMax =
      4;  // A validation has two paths, and one follows another.

  PathTable();
  PathTable(const PathTable&) = delete;
  PathTable& operator=(const PathTable&) = delete;

  // open takes a new number for `remote`. `current` is the path that must not make room for it. The
  // returned path is valid until the entry makes room for another.
  [[nodiscard]] const ngtcp2_path& open(const SocketAddress& remote, const ConnectionId& epoch,
                                        PathNumber current);

  // find_newest returns the newest path to `remote` (opening side), or null.
  [[nodiscard]] const ngtcp2_path* find_newest(const SocketAddress& remote);

  // find_or_open returns the path of a received packet (accepting side). `epoch` is its destination
  // connection ID, or an empty one for the connection's first.
  [[nodiscard]] const ngtcp2_path& find_or_open(const SocketAddress& remote,
                                                const ConnectionId& epoch, PathNumber current);

  [[nodiscard]] std::optional<SocketAddress> remote_of(PathNumber number) const;

  // keep says that ngtcp2 validates a path, or may fall back to it: one of the last few kept paths
  // does not make room.
  void keep(PathNumber number);

 private:
  struct Entry {
    PathNumber number{};
    SocketAddress remote;
    ConnectionId epoch;
    std::uint64_t last_used = 0;
    ngtcp2_sockaddr_in6 local{};
    ngtcp2_path path{};
  };

  [[nodiscard]] bool is_kept(PathNumber number) const;
  Entry& make_room(PathNumber current);

  std::array<Entry, kPathsMax> entries_{};
  std::array<PathNumber, kKeptMax> kept_{};
  std::size_t kept_index_ = 0;
  ngtcp2_sockaddr_in6 virtual_remote_{};
  std::uint32_t number_last_ = 0;
  std::uint64_t use_count_ = 0;
  Entry* recent_ = nullptr;  // The entry of the last packet: usually also that of the next one.
};

}  // namespace zt::quic
