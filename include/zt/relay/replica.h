// SPDX-License-Identifier: Apache-2.0
#pragma once
// relay/replica.h: a copy of the forwarding table for another thread, which forwards by it.
//
// Theory of operation
//   The Engine owns the table. Whoever carries its changes to a replica keeps one Feed for it: the
//   Feed makes Updates of the changes, the replica takes them in the same order, and then decides
//   about every datagram as the engine would have decided when it made the last of them. Deadlines
//   are compared here as well, so a binding ends everywhere at the same instant, update or not.
//
//     Engine ── RouteChange ──► Feed ── Update ──► (bounded queue) ──► Replica ──► forward
//
//   A queue may be full. Then the Feed raises its epoch, and the replica, which is told the epoch
//   on each call, forwards nothing more until it has an update of that epoch, which is the whole
//   table. What is lost is time, and never the end of a binding.
//
// Limits   Those of the engine whose table it is. Time: compared on every call.
// Cost     As Engine::forward: two hash lookups. About 200 bytes a binding.
// Threats  Those of relay/engine.h. A replica that lags behind forwards by bindings that have just
//          ended for as long as its thread takes to come to its queue.

#include <cstdint>
#include <expected>
#include <optional>
#include <unordered_map>
#include <vector>

#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/relay/engine.h"
#include "zt/relay/keyed_hash.h"
#include "zt/relay/source_table.h"

namespace zt::relay {

// Epoch counts how often updates were lost.
enum class Epoch : std::uint64_t {};

struct Update {
  Epoch epoch{};
  bool is_whole = false;  // `changes` is the table, and not what differs.
  std::vector<RouteChange> changes;
};

// Feed is the engine's side of one replica.
class Feed {
 public:
  // update returns what to send after `changes`, which follow those of the call before; nothing if
  // there is nothing to say. The first update is the whole table.
  [[nodiscard]] std::optional<Update> update(const Engine& engine,
                                             const std::vector<RouteChange>& changes);
  // lost says that the last update will not arrive: the next one is the whole table.
  void lost();
  // epoch is what the replica has to be told.
  [[nodiscard]] Epoch epoch() const { return epoch_; }

 private:
  Epoch epoch_{1};
  bool is_whole_due_ = true;
};

class Replica {
 public:
  // `random` is used by the constructor only.
  explicit Replica(Random& random);
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica() = default;

  // take applies an update, if it follows what the replica has.
  void take(const Update& update);

  // forward and is_bound are those of Engine, by what was taken. `epoch` is the feed's, now.
  [[nodiscard]] std::expected<SocketAddress, DropReason> forward(const SocketAddress& source,
                                                                 const RouteId& route,
                                                                 const Volume& run, Instant now,
                                                                 Epoch epoch);
  [[nodiscard]] bool is_bound(const RouteId& route, Instant now, Epoch epoch) const;
  void count_drop(DropReason reason, const Volume& run) { totals_.count_drop(reason, run); }

  [[nodiscard]] std::size_t binding_count() const { return routes_.size(); }
  [[nodiscard]] const Totals& totals() const { return totals_; }

 private:
  void apply(const RouteChange& change);

  std::unordered_map<RouteId, RouteChange::Target, KeyedHash> routes_;
  SourceTable<TenantNumber> sources_;
  Epoch epoch_{0};  // Nothing was taken yet: no feed has this one.
  Totals totals_;
};

}  // namespace zt::relay
