// SPDX-License-Identifier: Apache-2.0
#include "controller/access.h"

#include "controller/body_reader.h"
#include "wire/json.h"

namespace zt::controller {

StoreResult<TenantState> Access::load(const TenantId& tenant, UnixTime now) {
  auto directory = Directory::load(store_, tenant, now);
  if (!directory) return std::unexpected(directory.error());
  auto keys = KeyRing::load(store_, tenant);
  if (!keys) return std::unexpected(keys.error());
  return TenantState{.directory = *std::move(directory), .keys = *std::move(keys)};
}

namespace {

// due_at returns when time will change what `state` says.
std::optional<UnixTime> due_at(const TenantState& state) {
  return earlier_of(state.directory.next_change, state.keys.next_change(state.directory.as_of));
}

}  // namespace

StoreResult<const TenantState*> Access::state(const TenantId& tenant, const Now& now) {
  const auto known = states_.find(tenant);
  if (known != states_.end()) return &known->second;
  auto loaded = load(tenant, now.unix_time);
  if (!loaded) return std::unexpected(loaded.error());
  return &states_.emplace(tenant, *std::move(loaded)).first->second;
}

void Access::expire(const Now& now) {
  std::vector<TenantId> due;
  for (const auto& [tenant, state] : states_) {
    const auto at = due_at(state);
    if (at && *at <= now.unix_time) due.push_back(tenant);
  }
  for (const TenantId& tenant : due) {
    auto change = Change::begin(*this, {tenant, std::string(kController), now});
    auto done = change ? StoreResult<void>() : std::unexpected(change.error());
    if (done) {
      change->affect_access();
      done = change->commit();
    }
    if (!done) outbox_.log(StoreFailed{done.error(), "ending what has expired"});
  }
}

std::optional<UnixTime> Access::next_expiry() const {
  std::optional<UnixTime> next;
  for (const auto& [tenant, state] : states_) next = earlier_of(next, due_at(state));
  return next;
}

StoreResult<Change> Change::begin(Access& access, Author author) {
  // What the watchers hold must be known before it changes.
  if (const auto state = access.state(author.tenant, author.now); !state) {
    return std::unexpected(state.error());
  }
  auto transaction = Transaction::begin(access.store_);
  if (!transaction) return std::unexpected(transaction.error());
  return Change(access, std::move(author), *std::move(transaction));
}

StoreResult<void> Change::audit(std::string_view action, std::string_view target,
                                std::string detail) {
  const auto appended = access_.store_.append_audit(author_.tenant, {.time = author_.now.unix_time,
                                                                     .actor = author_.actor,
                                                                     .action = std::string(action),
                                                                     .target = std::string(target),
                                                                     .detail = std::move(detail)});
  if (!appended) return std::unexpected(appended.error());
  return {};
}

StoreResult<void> Change::commit() {
  return is_access_affected_ ? commit_access() : transaction_.commit();
}

StoreResult<void> Change::commit_access() {
  const TenantId& tenant = author_.tenant;
  const auto revision = access_.store_.raise_revision(tenant);
  if (!revision) return std::unexpected(revision.error());
  auto loaded = access_.load(tenant, author_.now.unix_time);
  if (!loaded) return std::unexpected(loaded.error());
  const auto revoked = revoke_grants(loaded->directory);
  if (!revoked) return std::unexpected(revoked.error());
  if (const auto committed = transaction_.commit(); !committed) return committed;

  const TenantState before = std::exchange(access_.states_.at(tenant), *std::move(loaded));
  const TenantState& after = access_.states_.at(tenant);
  access_.hub_.publish({.before = before, .after = after, .revoked = *revoked}, author_.now);
  access_.outbox_.log(AccessChanged{tenant, *revision, revoked->size()});
  return {};
}

// revoke_grants marks the live grants that `directory` does not allow any more, and returns them.
StoreResult<std::vector<IssuedGrant>> Change::revoke_grants(const Directory& directory) {
  auto grants = access_.store_.grants(author_.tenant, author_.now.unix_time);
  if (!grants) return grants;
  std::vector<IssuedGrant> revoked;
  for (IssuedGrant& grant : *grants) {
    if (grant.is_revoked) continue;
    auto complaint = directory.complaint_about_grant(grant, author_.now.unix_time);
    if (!complaint) continue;
    const auto marked = access_.store_.revoke_grant(author_.tenant, grant.id, *complaint);
    if (!marked) return std::unexpected(marked.error());
    const wire::Json detail = {{"subject", grant.subject.text},
                               {"device", grant.device.text},
                               {"resource", grant.resource.text},
                               {"reason", *complaint}};
    if (const auto noted = audit("grant.revoke", grant.id.text, wire::json_text(detail)); !noted) {
      return std::unexpected(noted.error());
    }
    grant.is_revoked = true;
    grant.reason = *std::move(complaint);
    revoked.push_back(std::move(grant));
  }
  return revoked;
}

}  // namespace zt::controller
