// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/engine.h: the controller's core: requests in, responses and watch lines out.
//
// Theory of operation
//   One engine answers the whole API: enrolment and sessions, the nodes' watch streams, grants, the
//   log, and the administrators' REST API. What it knows for good is in the Store; in memory it
//   keeps who is watching and what each watcher holds. Whatever changes access (an object that an
//   administrator edits, a key that expires, a rule whose last day is over) goes through one place,
//   which raises the tenant's revision, judges every live grant again, and sends each watcher the
//   difference between what it holds and what it should hold. There is no second way to change a
//   view, so a delta cannot forget what a snapshot would show.
//
//   Identity: a node is the certificate digest of its connection; an administrator is an API key.
//   Neither is ever taken from a body or another header field.
//
// API      Public:  GET /api/v1/health, /api/v1/jwks, /.well-known/jwks.json
//          Nodes:   POST /api/v1/enrol, /api/v1/sessions, /api/v1/grants, /api/v1/node/heartbeat,
//                   /api/v1/node/events; GET /api/v1/node/watch
//          Admin:   /api/v1/admin/… with `authorization: Bearer zta_…`; see
//                   src/controller/admin_api.h
//          Every refusal is an RFC 9457 problem that names what was wrong.
// Limits   Limits, below; each has its own answer (429 or 503 with a problem, or 409 for objects).
// Time     Deadlines: pings, relay tokens, rules and keys that end, retired keys, pruning.
// Threats  T-CTL-1 foreign tenants: every lookup is keyed by the authenticated tenant; foreign and
//          absent ids give the same 404.
//          T-CTL-2 guessing secrets: 256 random bits, hashed; refusals are alike, and limited per
//          address.
//          T-CTL-3 a revoked right that lives on: see above; what a connector misses while it is
//          away, it is told when it is back.
//          T-CTL-4 memory: limits.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "zt/base/engine.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/controller/store.h"
#include "zt/http/exchange.h"

namespace zt::controller {

struct Limits {
  std::size_t body_size_max = std::size_t{1} << 20U;
  std::size_t watchers_max = 10'000;  // All tenants. Further ones get 503.
  std::size_t live_grants_per_tenant_max = 100'000;
  std::size_t objects_per_table_max = 10'000;  // Rows of a kind, per tenant.
  std::size_t config_size_max = 512 << 10;  // What a tenant's resources may take in a watch line.
  std::size_t members_per_tenant_max = 100'000;
  std::size_t events_per_request_max = 1'000;
  std::size_t flow_events_max = 1'000'000;  // Kept per tenant; the oldest go first.
  std::size_t audit_entries_max = 1'000'000;
  std::size_t rate_buckets_max = 65'536;       // Addresses and devices whose rate is remembered.
  std::uint32_t grants_per_minute_max = 600;   // Per device; a burst of as many at once. Not 0.
  std::uint32_t refusals_per_minute_max = 30;  // Wrong secrets per address. Not 0.
};

struct Config {
  // Where nodes reach the controller, "https://host[:port]", and SHA-256 of the public key that it
  // presents there: written into enrolment tokens and service account keys.
  std::string url;
  Digest pin;
  std::chrono::seconds grant_lifetime{300};        // At most an hour.
  std::chrono::seconds relay_token_lifetime{600};  // At most a day.
  std::chrono::seconds enrolment_lifetime_default{24 * 3600};
  std::chrono::seconds ping_interval{15};
  std::chrono::hours device_unseen_max{24 * 30};  // Then a device's row is removed.
  std::chrono::seconds silence_max{45};  // A connector not heard of for so long is offline.
  Limits limits;
};

// --- What the engine tells the log, besides its responses. No secrets, no addresses.

struct NodeEnrolled {
  TenantId tenant;
  std::string node;
};

struct WatchStarted {
  TenantId tenant;
  std::string node;
  std::size_t watcher_count;
};

struct WatchEnded {
  TenantId tenant;
  std::string node;
  std::string reason;
};

struct AccessChanged {
  TenantId tenant;
  std::int64_t revision;
  std::size_t revoked_count;
};

struct GrantDecided {
  TenantId tenant;
  DecisionId decision;
  bool is_allowed;
};

// RequestFailed means that a request was answered with a status from 500 on.
struct RequestFailed {
  int status;
  std::string detail;
};

// StoreFailed means that a timer's work was put off. `error` says whether an operator must act.
struct StoreFailed {
  StoreError error;
  std::string action;
};

using LogEvent = std::variant<NodeEnrolled, WatchStarted, WatchEnded, AccessChanged, GrantDecided,
                              RequestFailed, StoreFailed>;

class Engine {
 public:
  using Input = std::variant<http::RequestArrived, http::PeerMoved, http::ExchangeGone>;
  using Output = std::variant<http::Respond, http::Append, http::Finish, LogEvent>;

  // The store holds at least one tenant with a key (see src/controller/initialise.h). Both borrowed
  // arguments outlive the engine. Nothing is read before the first call.
  Engine(Store& store, Random& random, Config config);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  void handle(Input input, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Output> poll_output();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

static_assert(::zt::Engine<Engine>);

}  // namespace zt::controller
