// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/access.h: the one place through which anything changes.
//
// Theory of operation
//   Access keeps the current TenantState of each tenant. A Change is a transaction with its audit
//   entries. One that affects access is committed in this order, and there is no other way to do
//   it:
//
//     raise the revision; read the new directory (still inside the transaction); judge every live
//     grant by it and mark those that fail; commit; make the new state current; publish it
//
//   If anything fails on the way, nothing has changed, neither on the disk nor in memory, and
//   nobody was told anything. Time changes access too: when a rule or a key ends, expire() makes a
//   Change of nothing, which does the rest.
//
// Cost     A change that affects access reads the tenant anew and judges all of its live grants.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/answer.h"
#include "controller/watch_hub.h"

namespace zt::controller {

class Access {
 public:
  Access(Store& store, WatchHub& hub, Outbox& outbox) : store_(store), hub_(hub), outbox_(outbox) {}

  // state returns the tenant's current state, which is read at its first use.
  [[nodiscard]] StoreResult<const TenantState*> state(const TenantId& tenant, const Now& now);

  // expire publishes what time alone has changed, for all tenants that are in memory.
  void expire(const Now& now);

  // next_expiry returns when expire() has something to do, by the wall clock.
  [[nodiscard]] std::optional<UnixTime> next_expiry() const;

 private:
  friend class Change;
  [[nodiscard]] StoreResult<TenantState> load(const TenantId& tenant, UnixTime now);

  Store& store_;
  WatchHub& hub_;
  Outbox& outbox_;
  std::map<TenantId, TenantState> states_;
};

class Change {
 public:
  struct Author {
    TenantId tenant;
    std::string actor;
    Now now;
  };

  [[nodiscard]] static StoreResult<Change> begin(Access& access, Author author);

  // audit records that the author did `action` to `target`; `detail` is a JSON object.
  [[nodiscard]] StoreResult<void> audit(std::string_view action, std::string_view target,
                                        std::string detail = "{}");

  // affect_access says that this change may change somebody's access, or what a node is told.
  void affect_access() { is_access_affected_ = true; }

  [[nodiscard]] StoreResult<void> commit();

 private:
  Change(Access& access, Author author, Transaction transaction)
      : access_(access), author_(std::move(author)), transaction_(std::move(transaction)) {}

  [[nodiscard]] StoreResult<std::vector<IssuedGrant>> revoke_grants(const Directory& directory);
  [[nodiscard]] StoreResult<void> commit_access();

  Access& access_;
  Author author_;
  Transaction transaction_;
  bool is_access_affected_ = false;
};

}  // namespace zt::controller
