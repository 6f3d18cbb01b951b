// SPDX-License-Identifier: Apache-2.0
#include "quic/paths.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "zt/base/assert.h"

namespace zt::quic {
namespace {

// Unique local addresses (RFC 4193), which no interface of ngtcp2's users would have; port 1.
ngtcp2_sockaddr_in6 make_virtual_address(std::uint32_t number, std::uint8_t mark) {
  ngtcp2_sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = 1;
  auto& octets = address.sin6_addr.s6_addr;
  octets[0] = 0xfd;
  octets[1] = mark;
  std::memcpy(&octets[12], &number, sizeof(number));
  return address;
}

ngtcp2_addr address_of(ngtcp2_sockaddr_in6& address) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the socket API's own convention.
  return {reinterpret_cast<ngtcp2_sockaddr*>(&address), sizeof(address)};
}

}  // namespace

PathNumber number_of(const ngtcp2_path& path) {
  if (path.local.addr == nullptr || path.local.addrlen != sizeof(ngtcp2_sockaddr_in6)) {
    return PathNumber{};
  }
  ngtcp2_sockaddr_in6 address;
  std::memcpy(&address, path.local.addr, sizeof(address));
  std::uint32_t number = 0;
  std::memcpy(&number, &address.sin6_addr.s6_addr[12], sizeof(number));
  return PathNumber{number};
}

PathTable::PathTable() : virtual_remote_(make_virtual_address(0, 1)) {}

const ngtcp2_path& PathTable::open(const SocketAddress& remote, const ConnectionId& epoch,
                                   PathNumber current) {
  Entry& entry = make_room(current);
  entry.number = PathNumber{++number_last_};
  entry.remote = remote;
  entry.epoch = epoch;
  entry.last_used = ++use_count_;
  entry.local = make_virtual_address(number_last_, 0);
  entry.path = {address_of(entry.local), address_of(virtual_remote_), nullptr};
  recent_ = &entry;
  return entry.path;
}

const ngtcp2_path* PathTable::find_newest(const SocketAddress& remote) {
  Entry* newest = nullptr;
  for (Entry& entry : entries_) {
    if (entry.number == PathNumber{} || entry.remote != remote) continue;
    if (newest == nullptr || entry.number > newest->number) newest = &entry;
  }
  if (newest == nullptr) return nullptr;
  newest->last_used = ++use_count_;
  return &newest->path;
}

const ngtcp2_path& PathTable::find_or_open(const SocketAddress& remote, const ConnectionId& epoch,
                                           PathNumber current) {
  if (recent_ != nullptr && recent_->remote == remote && recent_->epoch == epoch) {
    recent_->last_used = ++use_count_;
    return recent_->path;
  }
  for (Entry& entry : entries_) {
    if (entry.number != PathNumber{} && entry.remote == remote && entry.epoch == epoch) {
      entry.last_used = ++use_count_;
      recent_ = &entry;
      return entry.path;
    }
  }
  return open(remote, epoch, current);
}

std::optional<SocketAddress> PathTable::remote_of(PathNumber number) const {
  for (const Entry& entry : entries_) {
    if (entry.number != PathNumber{} && entry.number == number) return entry.remote;
  }
  return std::nullopt;
}

void PathTable::keep(PathNumber number) {
  if (is_kept(number)) return;
  kept_[kept_index_] = number;
  kept_index_ = (kept_index_ + 1) % kept_.size();
}

bool PathTable::is_kept(PathNumber number) const {
  return std::ranges::find(kept_, number) != kept_.end();
}

PathTable::Entry& PathTable::make_room(PathNumber current) {
  Entry* oldest = nullptr;
  for (Entry& entry : entries_) {
    if (entry.number == PathNumber{}) return entry;
    if (entry.number == current || is_kept(entry.number)) continue;
    if (oldest == nullptr || entry.last_used < oldest->last_used) oldest = &entry;
  }
  static_assert(kPathsMax > kKeptMax + 1);
  ZT_ASSERT(oldest != nullptr);
  return *oldest;
}

}  // namespace zt::quic
