// SPDX-License-Identifier: Apache-2.0
#include "zt/path/link.h"

#include <iterator>

namespace zt::path {

bool LinkTable::set_relay(const SocketAddress& address, const RelayId& relay) {
  const auto known = relays_.find(address);
  if (known == relays_.end() && relays_.size() >= limits_.relays_max) return false;
  relays_.insert_or_assign(address, relay);
  return true;
}

void LinkTable::forget_relay(const SocketAddress& address) {
  relays_.erase(address);
}

LinkNumber LinkTable::find_or_open(SocketId socket, const SocketAddress& remote) {
  const Key key{socket, remote};
  if (recent_ && recent_->first == key) {
    touch(entries_.at(recent_->second));
    return recent_->second;
  }
  if (const auto known = numbers_.find(key); known != numbers_.end()) {
    recent_.emplace(key, known->second);
    touch(entries_.at(known->second));
    return known->second;
  }
  if (numbers_.size() >= limits_.links_max) {
    if (idle_.empty()) return LinkNumber{};
    erase(entries_.find(idle_.front()));
  }
  const LinkNumber number{++number_last_};
  numbers_.emplace(key, number);
  entries_.emplace(number, Entry{key, 0, idle_.insert(idle_.end(), number)});
  recent_.emplace(key, number);
  return number;
}

std::optional<Link> LinkTable::find(LinkNumber number) const {
  const auto entry = entries_.find(number);
  if (entry == entries_.end()) return std::nullopt;
  const auto& [socket, remote] = entry->second.key;
  Link link{socket, remote, std::nullopt};
  if (const auto relay = relays_.find(remote); relay != relays_.end()) link.relay = relay->second;
  return link;
}

void LinkTable::hold(LinkNumber number) {
  const auto entry = entries_.find(number);
  if (entry == entries_.end()) return;
  if (entry->second.hold_count++ == 0) idle_.erase(entry->second.place);
}

void LinkTable::release(LinkNumber number) {
  const auto entry = entries_.find(number);
  if (entry == entries_.end() || entry->second.hold_count == 0) return;
  if (--entry->second.hold_count == 0) entry->second.place = idle_.insert(idle_.end(), number);
}

void LinkTable::forget_socket(SocketId socket) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (entry->second.key.first == socket) erase(entry);
    entry = next;
  }
}

void LinkTable::erase(Entries::iterator entry) {
  if (recent_ && recent_->second == entry->first) recent_.reset();
  if (entry->second.hold_count == 0) idle_.erase(entry->second.place);
  numbers_.erase(entry->second.key);
  entries_.erase(entry);
}

void LinkTable::touch(Entry& entry) {
  if (entry.hold_count == 0) idle_.splice(idle_.end(), idle_, entry.place);
}

}  // namespace zt::path
