// SPDX-License-Identifier: Apache-2.0
#include "zt/controller/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/access.h"
#include "controller/admin_api.h"
#include "controller/body_reader.h"
#include "controller/node_api.h"
#include "controller/outbox.h"
#include "controller/rate_limiter.h"
#include "controller/watch_hub.h"
#include "zt/grant/grant.h"
#include "zt/grant/relay_token.h"

namespace zt::controller {

namespace {

constexpr std::chrono::minutes kMaintenanceInterval{1};
constexpr std::chrono::hours kSweepInterval{1};
constexpr std::chrono::seconds kRetryInterval{1};
constexpr std::chrono::hours kTokenKeptFor{24};  // After it expired, so that its name is explained.

// is_secret_presented tells whether a path takes secrets that strangers can guess at. A wrong API
// key is limited where it is looked up: nobody shall keep an administrator out by guessing beside
// him.
bool is_secret_presented(const std::vector<std::string>& path) {
  return path.size() >= 3 && (path[2] == "enrol" || path[2] == "sessions");
}

bool is_api(const std::vector<std::string>& path, std::initializer_list<std::string_view> rest) {
  return path.size() == 2 + rest.size() && path[0] == "api" && path[1] == "v1" &&
         std::equal(rest.begin(), rest.end(), path.begin() + 2);
}

Outcome require_method(const Call& call, std::string_view method) {
  const bool is_fit =
      call.request.method == method || (method == "GET" && call.request.method == "HEAD");
  if (is_fit) return Answer{};
  return fail(problem(405, fmt::format("this path has only {}", method)));
}

// within_limits clamps the lifetimes to what the signed objects allow.
Config within_limits(Config config) {
  using std::chrono::seconds;
  config.grant_lifetime =
      std::clamp<seconds>(config.grant_lifetime, seconds(1), grant::Grant::kLifetimeMax);
  config.relay_token_lifetime =
      std::clamp<seconds>(config.relay_token_lifetime, seconds(1), grant::RelayToken::kLifetimeMax);
  return config;
}

}  // namespace

struct Engine::Parts {
  Parts(Store& store_in, Random& random_in, Config config_in)
      : store(store_in), random(random_in), config(within_limits(std::move(config_in))) {}

  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() = default;

  [[nodiscard]] ApiContext context() {
    return {store, random, config, access, hub, outbox, refusals};
  }

  void arrive(const http::RequestArrived& arrived, const Now& now);
  [[nodiscard]] std::optional<Outcome> answer(const Call& call);
  void respond(const Call& call, Outcome outcome);
  [[nodiscard]] Outcome health();
  [[nodiscard]] Outcome jwks(const Call& call);

  void run_timers(const Now& now);
  void maintain(const Now& now);
  [[nodiscard]] StoreResult<void> sweep_tokens(const TenantId& tenant, const Now& now);
  [[nodiscard]] StoreResult<void> sweep_devices(const TenantId& tenant, const Now& now);
  [[nodiscard]] std::optional<Instant> expiry_deadline() const;

  Store& store;
  Random& random;
  Config config;
  Outbox outbox;
  WatchHub hub{config, outbox};
  Access access{store, hub, outbox};
  RateLimiter refusals{config.limits.refusals_per_minute_max, config.limits.rate_buckets_max};
  NodeApi nodes{context()};
  AdminApi administrators{context(), nodes};
  Now latest{};                       // Of the latest call, to turn wall-clock deadlines.
  std::optional<Instant> expired_at;  // When expire() last ran.
  std::optional<Instant> maintenance_at;
  Instant sweep_at;
};

Engine::Engine(Store& store, Random& random, Config config)
    : parts_(std::make_unique<Parts>(store, random, std::move(config))) {}

Engine::~Engine() = default;

void Engine::handle(Input input, const Now& now) {
  parts_->latest = now;
  if (!parts_->maintenance_at) parts_->maintenance_at = now.instant;
  if (const auto* arrived = std::get_if<http::RequestArrived>(&input)) {
    // A right that ends now has ended for this request too, however late the timer is.
    parts_->run_timers(now);
    parts_->arrive(*arrived, now);
  } else if (const auto* moved = std::get_if<http::PeerMoved>(&input)) {
    parts_->hub.move(moved->exchange, moved->remote);
  } else if (const auto* gone = std::get_if<http::ExchangeGone>(&input)) {
    parts_->hub.leave(gone->exchange, now);
  }
}

void Engine::handle_timeout(const Now& now) {
  parts_->latest = now;
  parts_->run_timers(now);
}

std::optional<Engine::Output> Engine::poll_output() {
  return parts_->outbox.take();
}

std::optional<Instant> Engine::next_deadline() const {
  std::optional<Instant> deadline = parts_->hub.next_tick();
  deadline = earlier_of(deadline, parts_->maintenance_at);
  return earlier_of(deadline, parts_->expiry_deadline());
}

// --- Requests.

void Engine::Parts::arrive(const http::RequestArrived& arrived, const Now& now) {
  const http::Target target = http::split_target(arrived.request.path);
  const auto query = http::Query::parse(target.query);
  const Call call{.exchange = arrived.exchange,
                  .request = arrived.request,
                  .body = arrived.body,
                  .peer = arrived.peer,
                  .path = http::split_path(target.path).value_or(std::vector<std::string>()),
                  .query = query.value_or(http::Query()),
                  .now = now};
  if (!query) {
    return respond(
        call, fail(problem(400, fmt::format("the query is {}", http::to_text(query.error())))));
  }
  if (arrived.body.size() > config.limits.body_size_max) {
    return respond(
        call,
        fail(problem(413, fmt::format("the body is above {} bytes", config.limits.body_size_max))));
  }
  if (auto outcome = answer(call)) respond(call, *std::move(outcome));
}

// answer returns nothing if a watch stream has begun, which has its own response.
std::optional<Outcome> Engine::Parts::answer(const Call& call) {
  const auto& path = call.path;
  const bool is_limited =
      is_secret_presented(path) && !refusals.has_room(source_name(call.peer), call.now.instant);
  if (is_limited) {
    return fail(problem(429, "too many wrong secrets came from this address; try again later"));
  }
  if (path.size() >= 3 && is_api({path.begin(), path.begin() + 3}, {"admin"})) {
    return administrators.handle(call);
  }
  using Parameters = std::initializer_list<std::string_view>;
  const auto only = [&](std::string_view method, Parameters parameters, auto handler) -> Outcome {
    if (auto refused = require_method(call, method); !refused) return refused;
    if (const auto known = require_parameters(call, parameters); !known) return fail(known.error());
    return handler();
  };
  if (is_api(path, {"health"})) return only("GET", {}, [&] { return health(); });
  const bool is_well_known = path.size() == 2 && path[0] == ".well-known" && path[1] == "jwks.json";
  if (is_api(path, {"jwks"}) || is_well_known) {
    return only("GET", {"tenant"}, [&] { return jwks(call); });
  }
  if (is_api(path, {"enrol"})) return only("POST", {}, [&] { return nodes.enrol(call); });
  if (is_api(path, {"sessions"})) return only("POST", {}, [&] { return nodes.sign_in(call); });
  if (is_api(path, {"grants"})) return only("POST", {}, [&] { return nodes.grant(call); });
  if (is_api(path, {"node", "heartbeat"})) {
    return only("POST", {}, [&] { return nodes.heartbeat(call); });
  }
  if (is_api(path, {"node", "events"})) return only("POST", {}, [&] { return nodes.events(call); });
  if (is_api(path, {"node", "watch"})) {
    if (call.request.method != "GET") return fail(problem(405, "this path has only GET"));
    const auto begun = nodes.watch(call);
    if (begun) return std::nullopt;
    return fail(begun.error());
  }
  return fail(no_such_object("path"));
}

void Engine::Parts::respond(const Call& call, Outcome outcome) {
  http::Respond respond{.exchange = call.exchange};
  http::Fields& fields = respond.response.fields;
  if (outcome) {
    respond.response.status = outcome->status;
    fields = std::move(outcome->fields);
    if (!outcome->body.empty() && !fields.find("content-type")) {
      fields.add("content-type", "application/json");
    }
    respond.body = std::move(outcome->body);
  } else {
    const http::Problem& problem = outcome.error();
    respond.response = http::response_of(problem);
    if (problem.status == 401) fields.add("www-authenticate", "Bearer");
    if (problem.status == 429 || problem.status == 503) fields.add("retry-after", "5");
    respond.body = to_json(problem);
    if (problem.status >= 500) outbox.log(RequestFailed{problem.status, problem.detail});
  }
  if (!fields.find("cache-control")) fields.add("cache-control", "no-store");
  outbox.put(std::move(respond));
}

Outcome Engine::Parts::health() {
  const auto tenants = store.tenants();
  if (!tenants) return fail(tenants.error(), "tenant");
  return Answer{.status = 200, .body = R"({"status":"ok"})"};
}

// jwks publishes the keys of ?tenant=, or of the only tenant.
Outcome Engine::Parts::jwks(const Call& call) {
  const auto tenants = store.tenants();
  if (!tenants) return fail(tenants.error(), "tenant");
  const auto wanted = call.query.find("tenant");
  if (!wanted && tenants->size() != 1) {
    return fail(problem(400, "say which tenant: ?tenant=ten_…"));
  }
  for (const Tenant& tenant : *tenants) {
    if (wanted && tenant.id.text != *wanted) continue;
    const auto state = access.state(tenant.id, call.now);
    if (!state) return fail(state.error(), "tenant");
    Answer answer{.body = (*state)->keys.published(call.now.unix_time).to_json()};
    answer.fields.add("content-type", "application/jwk-set+json");
    answer.fields.add("cache-control", "max-age=30");
    return answer;
  }
  return fail(no_such_object("tenant"));
}

// --- Timers.

std::optional<Instant> Engine::Parts::expiry_deadline() const {
  const auto expiry = access.next_expiry();
  if (!expiry) return std::nullopt;
  const auto left = std::max(*expiry - latest.unix_time, std::chrono::milliseconds(0));
  // Far away is never: the maintenance looks again every minute, also after the clock was set.
  if (left > kMaintenanceInterval * 2) return std::nullopt;
  Instant deadline = latest.instant + left;
  if (expired_at) deadline = std::max(deadline, *expired_at + kRetryInterval);
  return deadline;
}

void Engine::Parts::run_timers(const Now& now) {
  const auto expiry = access.next_expiry();
  const bool is_due = expiry && *expiry <= now.unix_time &&
                      (!expired_at || *expired_at + kRetryInterval <= now.instant);
  if (is_due) {
    expired_at = now.instant;
    access.expire(now);
  }
  hub.tick(
      [&](const TenantId& tenant) -> const TenantState* {
        const auto state = access.state(tenant, now);
        return state ? *state : nullptr;
      },
      now);
  if (maintenance_at && *maintenance_at <= now.instant) {
    maintenance_at = now.instant + kMaintenanceInterval;
    maintain(now);
  }
}

void Engine::Parts::maintain(const Now& now) {
  nodes.forget_silent(now);
  const auto tenants = store.tenants();
  if (!tenants) return outbox.log(StoreFailed{tenants.error(), "listing the tenants"});
  const bool is_sweep_due = sweep_at <= now.instant;
  if (is_sweep_due) sweep_at = now.instant + kSweepInterval;
  for (const Tenant& tenant : *tenants) {
    const auto note = [&](const auto& done, const char* action) {
      if (!done) outbox.log(StoreFailed{done.error(), action});
    };
    note(store.remove_expired_grants(tenant.id, now.unix_time), "removing expired grants");
    note(store.remove_retired_keys(tenant.id, now.unix_time), "removing retired keys");
    note(store.prune_log(tenant.id, config.limits.flow_events_max, config.limits.audit_entries_max),
         "pruning the log");
    if (!is_sweep_due) continue;
    note(sweep_tokens(tenant.id, now), "removing old enrolment tokens");
    note(sweep_devices(tenant.id, now), "removing devices that nobody uses");
  }
}

StoreResult<void> Engine::Parts::sweep_tokens(const TenantId& tenant, const Now& now) {
  const auto rows = store.enrolment_tokens().list(
      tenant, {.limit = config.limits.objects_per_table_max, .after = {}});
  if (!rows) return std::unexpected(rows.error());
  for (const EnrolmentTokenRow& row : *rows) {
    if (row.expires + kTokenKeptFor > now.unix_time) continue;
    const auto removed = store.enrolment_tokens().remove(tenant, row.id);
    if (!removed) return removed;
  }
  return {};
}

StoreResult<void> Engine::Parts::sweep_devices(const TenantId& tenant, const Now& now) {
  const auto state = access.state(tenant, now);
  if (!state) return std::unexpected(state.error());
  std::vector<DeviceId> unseen;
  for (const auto& [id, device] : (*state)->directory.devices) {
    const UnixTime seen = device.last_seen.value_or(device.created);
    const bool is_unseen = seen + config.device_unseen_max <= now.unix_time;
    if (is_unseen && !hub.is_watching(id.text)) unseen.push_back(id);
  }
  if (unseen.empty()) return {};
  auto change = Change::begin(access, {tenant, std::string(kController), now});
  if (!change) return std::unexpected(change.error());
  for (const DeviceId& id : unseen) {
    auto done = store.devices().remove(tenant, id);
    if (done) done = change->audit("device.delete", id.text, R"({"reason":"unseen for long"})");
    if (!done) return done;
  }
  change->affect_access();
  return change->commit();
}

}  // namespace zt::controller
