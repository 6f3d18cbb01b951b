// SPDX-License-Identifier: Apache-2.0
#include "controller/admin_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "controller/api_key.h"
#include "controller/explanation.h"
#include "controller/journal.h"
#include "crypto/hash.h"
#include "wire/json.h"
#include "zt/base/ascii.h"
#include "zt/base/decimal.h"
#include "zt/base/rfc3339.h"
#include "zt/grant/service_key.h"

namespace zt::controller {

namespace {

using wire::Json;

constexpr std::size_t kPageMax = 500;
constexpr std::size_t kPageDefault = 100;
constexpr std::int64_t kTokenUsesMax = 10'000;
constexpr std::chrono::hours kTokenLifetimeMax{24 * 365};
constexpr std::chrono::minutes kNoteInterval{1};

// not_allowed answers a method that a path does not have (RFC 9110 section 15.5.6).
Answer not_allowed(std::string_view allowed) {
  const http::Problem value = problem(405, fmt::format("this path has only {}", allowed));
  Answer answer{.status = 405, .body = to_json(value)};
  answer.fields.add("allow", std::string(allowed));
  answer.fields.add("content-type", std::string(http::kProblemContentType));
  return answer;
}

Outcome answer(int status, const Json& body) {
  return Answer{.status = status, .body = wire::json_text(body)};
}

std::string etag_of(std::int64_t version) {
  return fmt::format("\"{}\"", version);
}

template <class Row>
Outcome answer_with_etag(int status, const Row& row, const Json& body) {
  Answer value{.status = status, .body = wire::json_text(body)};
  value.fields.add("etag", etag_of(row.version));
  return value;
}

Attempt<std::size_t> limit_of(const Call& call) {
  const auto text = call.query.find("limit");
  if (!text) return kPageDefault;
  const auto value = parse_decimal(*text, kPageMax);
  if (value && *value >= 1) return *value;
  return fail(problem(400, fmt::format("the parameter \"limit\" must be 1 to {}", kPageMax)));
}

// require_match compares If-Match (RFC 9110 section 13.1.1) with the object's version.
Attempt<void> require_match(const Call& call, std::int64_t version) {
  const auto field = call.request.fields.find("if-match");
  if (!field || *field == "*") return {};
  std::string_view rest = *field;
  while (!rest.empty()) {
    std::string_view tag = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), tag.size() + 1));
    while (tag.starts_with(' ')) tag.remove_prefix(1);
    while (tag.ends_with(' ')) tag.remove_suffix(1);
    if (tag == etag_of(version)) return {};
  }
  return fail(problem(412, "the object has changed: If-Match names another version"));
}

std::string_view method_of(const Call& call) {
  return call.request.method == "HEAD" ? std::string_view("GET") : call.request.method;
}

// bearer_of returns the API key of a request (RFC 6750 section 2.1).
std::optional<std::string_view> bearer_of(const Call& call) {
  const auto field = call.request.fields.find("authorization");
  constexpr std::string_view kScheme = "Bearer ";
  if (!field || !equals_ignoring_case(field->substr(0, kScheme.size()), kScheme)) {
    return std::nullopt;
  }
  return field->substr(kScheme.size());
}

// is_live tells whether an API key lets anybody in at `now`.
bool is_live(const ApiKey& key, UnixTime now) {
  return !key.expires || now < *key.expires;
}

std::optional<std::string> next_cursor(std::size_t count, std::size_t limit, std::string last) {
  if (count < limit) return std::nullopt;
  return last;
}

template <class Tag>
void draw_id(Id<Tag>& id, Random& random) {
  id = make_id<Tag>(random);
}

Json page_json(Json items, const std::optional<std::string>& cursor) {
  Json page = {{"items", std::move(items)}};
  if (cursor) page["next_cursor"] = *cursor;
  return page;
}

}  // namespace

// --- Who is asking.

Attempt<AdminApi::Administrator> AdminApi::authenticate(const Call& call) {
  const auto token = bearer_of(call);
  if (!token) return fail(problem(401, "this needs an API key: authorization: Bearer zta_…"));
  const auto refuse = [&](std::string detail) {
    if (context_.refusals.use(source_name(call.peer), call.now.instant)) {
      return fail(problem(401, std::move(detail)));
    }
    return fail(problem(429, "too many wrong secrets came from this address; try again later"));
  };
  if (!is_api_key(*token)) return refuse("the API key is not known here");
  const auto key = context_.store.find_api_key(crypto::sha256(as_bytes(*token)));
  if (!key && key.error() == StoreError::not_found) return refuse("the API key is not known here");
  if (!key) return fail(key.error(), "API key");
  const ApiKey& row = key->row;
  if (!is_live(row, call.now.unix_time)) {
    return refuse("the API key has expired");
  }
  const auto state = context_.access.state(key->tenant, call.now);
  if (!state) return fail(state.error(), "tenant");
  const bool is_note_due = !row.last_used || *row.last_used + kNoteInterval <= call.now.unix_time;
  if (is_note_due) {
    const auto noted = context_.store.note_api_key_used(key->tenant, row.id, call.now.unix_time);
    if (!noted) context_.outbox.log(StoreFailed{noted.error(), "noting the use of an API key"});
  }
  return Administrator{call, key->tenant, row.id, **state};
}

Outcome AdminApi::handle(const Call& call) {
  const auto admin = authenticate(call);
  if (!admin) return fail(admin.error());
  return dispatch(*admin);
}

Outcome AdminApi::dispatch(const Administrator& admin) {
  const auto& path = admin.call.path;
  if (path.size() < 4) return fail(no_such_object("path"));
  if (path.size() > 5 || path.back() == "rotate") return dispatch_nested(admin);
  const std::string& kind = path[3];
  if (kind == "networks") return objects<Network>(admin);
  if (kind == "connectors") return objects<Connector>(admin);
  if (kind == "relays") return objects<Relay>(admin);
  if (kind == "resources") return objects<Resource>(admin);
  if (kind == "groups") return objects<Group>(admin);
  if (kind == "users") return objects<User>(admin);
  if (kind == "service-accounts") return objects<ServiceAccount>(admin);
  if (kind == "devices") return objects<Device>(admin);
  if (kind == "access-rules") return objects<AccessRule>(admin);
  if (kind == "enrolment-tokens") return objects<EnrolmentTokenRow>(admin);
  if (kind == "api-keys") {
    const bool is_creation = path.size() == 4 && method_of(admin.call) == "POST";
    return is_creation ? create_api_key(admin) : objects<ApiKey>(admin);
  }
  if (path.size() != 4) return fail(no_such_object("path"));
  if (kind == "events") return events(admin);
  if (kind == "audit") return audit(admin);
  if (kind == "explain") return explain(admin);
  if (kind == "signing-keys") return signing_keys(admin);
  if (kind == "relay-tokens") {
    if (method_of(admin.call) != "POST") return not_allowed("POST");
    return create_token(admin, {.kind = NodeKind::relay});
  }
  return fail(no_such_object("path"));
}

Outcome AdminApi::dispatch_nested(const Administrator& admin) {
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  const auto& path = admin.call.path;
  if (path.size() == 5 && path[3] == "signing-keys" && path[4] == "rotate") {
    return method_of(admin.call) == "POST" ? rotate_signing_key(admin) : not_allowed("POST");
  }
  if (path.size() < 6 || path.size() > 7) return fail(no_such_object("path"));
  const std::string& nested = path[5];
  if (path[3] == "networks" && nested == "connector-tokens" && path.size() == 6) {
    const auto network = context_.store.networks().find(admin.tenant, NetworkId{path[4]});
    if (!network) return fail(network.error(), "network");
    if (method_of(admin.call) != "POST") return not_allowed("POST");
    return create_token(admin, {.kind = NodeKind::connector, .network = network->id});
  }
  if (path[3] == "groups" && nested == "members") {
    const auto group = context_.store.groups().find(admin.tenant, GroupId{path[4]});
    if (!group) return fail(group.error(), "group");
    return path.size() == 6 ? members(admin, *group) : member(admin, *group);
  }
  if (path[3] == "service-accounts" && nested == "keys") {
    const auto account =
        context_.store.service_accounts().find(admin.tenant, ServiceAccountId{path[4]});
    if (!account) return fail(account.error(), "service account");
    return path.size() == 6 ? keys(admin, *account) : key(admin, *account);
  }
  return fail(no_such_object("path"));
}

// --- All kinds of objects.

template <class Row>
Outcome AdminApi::objects(const Administrator& admin) {
  using Kind = ObjectKind<Row>;
  const std::string_view method = method_of(admin.call);
  if (admin.call.path.size() == 4) {
    if (method == "GET") return list<Row>(admin);
    if (method == "POST" && Kind::kVerbs.can_create) return create<Row>(admin);
    return not_allowed(Kind::kVerbs.can_create ? "GET, HEAD, POST" : "GET, HEAD");
  }
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  using IdType = typename Table<Row>::IdType;
  auto row = Kind::table(context_.store).find(admin.tenant, IdType{admin.call.path[4]});
  if (!row) return fail(row.error(), Kind::kNoun);
  if (method == "GET") return answer_with_etag(200, *row, shown(admin, *row));
  if (method == "PATCH" && Kind::kVerbs.can_edit) return edit<Row>(admin, *std::move(row));
  if (method == "DELETE" && Kind::kVerbs.can_remove) return remove<Row>(admin, *row);
  return not_allowed(Kind::kVerbs.can_edit ? "GET, HEAD, PATCH, DELETE" : "GET, HEAD, DELETE");
}

template <class Row>
Json AdminApi::shown(const Administrator& admin, const Row& row) const {
  Json value = ObjectKind<Row>::write(row);
  if constexpr (requires { row.last_seen; }) {
    value["online"] = nodes_.is_online(row.id.text, admin.call.now);
  }
  return value;
}

template <class Row>
Outcome AdminApi::list(const Administrator& admin) {
  const auto known = require_parameters(admin.call, {"limit", "cursor", "name"});
  if (!known) return fail(known.error());
  const auto limit = limit_of(admin.call);
  if (!limit) return fail(limit.error());
  auto& table = ObjectKind<Row>::table(context_.store);
  Json items = Json::array();
  if (const auto name = admin.call.query.find("name")) {
    const auto row = table.find_named(admin.tenant, *name);
    if (!row && row.error() != StoreError::not_found) {
      return fail(row.error(), ObjectKind<Row>::kNoun);
    }
    if (row) items.push_back(shown(admin, *row));
    return answer(200, page_json(std::move(items), std::nullopt));
  }
  const auto cursor = admin.call.query.find("cursor");
  const auto rows =
      table.list(admin.tenant, {.limit = *limit, .after = std::string(cursor.value_or(""))});
  if (!rows) return fail(rows.error(), ObjectKind<Row>::kNoun);
  for (const Row& row : *rows) items.push_back(shown(admin, row));
  const auto next =
      rows->empty() ? std::nullopt : next_cursor(rows->size(), *limit, rows->back().id.text);
  return answer(200, page_json(std::move(items), next));
}

template <class Row>
Attempt<void> AdminApi::require_room(const Administrator& admin) {
  using Kind = ObjectKind<Row>;
  const auto count = Kind::table(context_.store).count(admin.tenant);
  if (!count) return fail(count.error(), Kind::kNoun);
  if (*count < context_.config.limits.objects_per_table_max) return {};
  return fail(
      problem(409, fmt::format("there are {} objects of this kind, which is the limit", *count)));
}

template <class Row>
Attempt<void> AdminApi::insert_and_commit(const Administrator& admin, const Row& row,
                                          const Json& detail) {
  using Kind = ObjectKind<Row>;
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  auto done = change ? Kind::table(context_.store).insert(admin.tenant, row)
                     : std::unexpected(change.error());
  if (done) {
    done = change->audit(action_of(Kind::kNoun, "create"), row.id.text, wire::json_text(detail));
  }
  if (done && Kind::kAffectsAccess) change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), Kind::kNoun);
  return {};
}

template <class Row>
Outcome AdminApi::create(const Administrator& admin) {
  using Kind = ObjectKind<Row>;
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  auto body = BodyReader::parse(admin.call);
  if (!body) return fail(body.error());
  Row row{};
  draw_id(row.id, context_.random);
  row.created = admin.call.now.unix_time;
  Kind::read(*body, row);
  if (const auto done = body->done(); !done) return fail(done.error());
  if (const auto holds = Kind::check(admin.state.directory, context_.config.limits, row); !holds) {
    return fail(holds.error());
  }
  if (const auto room = require_room<Row>(admin); !room) return fail(room.error());
  const Json value = shown(admin, row);
  if (const auto done = insert_and_commit(admin, row, value); !done) return fail(done.error());
  return answer_with_etag(201, row, value);
}

template <class Row>
Outcome AdminApi::edit(const Administrator& admin, Row row) {
  using Kind = ObjectKind<Row>;
  if (const auto match = require_match(admin.call, row.version); !match) {
    return fail(match.error());
  }
  auto body = BodyReader::parse(admin.call, true);
  if (!body) return fail(body.error());
  Kind::read(*body, row);
  if (const auto done = body->done(); !done) return fail(done.error());
  if (const auto holds = Kind::check(admin.state.directory, context_.config.limits, row); !holds) {
    return fail(holds.error());
  }
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  if (!change) return fail(change.error(), Kind::kNoun);
  const auto version = Kind::table(context_.store).update(admin.tenant, row);
  if (!version) return fail(version.error(), Kind::kNoun);
  row.version = *version;
  const Json value = shown(admin, row);
  auto done = change->audit(action_of(Kind::kNoun, "update"), row.id.text, wire::json_text(value));
  if (done && Kind::kAffectsAccess) change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), Kind::kNoun);
  return answer_with_etag(200, row, value);
}

Attempt<void> AdminApi::require_no_references(const Administrator& admin, const std::string& id) {
  if (const auto rule = rule_that_names(admin.state.directory, id)) {
    return fail(problem(409, fmt::format("the access rule \"{}\" still names it", *rule)));
  }
  if (const auto owner = path_rule_that_names(admin.state.directory, id)) {
    return fail(problem(409, fmt::format("the path rule of {} still names it", *owner)));
  }
  return {};
}

// require_other_live_key refuses to end the only API key that lets anybody in.
Attempt<void> AdminApi::require_other_live_key(const Administrator& admin, const KeyId& key) {
  const auto rows = context_.store.api_keys().list(
      admin.tenant, {.limit = context_.config.limits.objects_per_table_max, .after = {}});
  if (!rows) return fail(rows.error(), ObjectKind<ApiKey>::kNoun);
  const bool is_other_live = std::ranges::any_of(*rows, [&](const ApiKey& row) {
    return row.id != key && is_live(row, admin.call.now.unix_time);
  });
  if (is_other_live) return {};
  return fail(problem(409,
                      "no other API key is valid, and without one nobody can administer any more: "
                      "create another first"));
}

template <class Row>
Outcome AdminApi::remove(const Administrator& admin, const Row& row) {
  using Kind = ObjectKind<Row>;
  if (const auto match = require_match(admin.call, row.version); !match) {
    return fail(match.error());
  }
  if (const auto free = require_no_references(admin, row.id.text); !free) {
    return fail(free.error());
  }
  if constexpr (std::is_same_v<Row, ApiKey>) {
    if (const auto other = require_other_live_key(admin, row.id); !other) {
      return fail(other.error());
    }
  }
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  auto done = change ? Kind::table(context_.store).remove(admin.tenant, row.id)
                     : std::unexpected(change.error());
  if (done) {
    done = change->audit(action_of(Kind::kNoun, "delete"), row.id.text,
                         wire::json_text({{"name", row.name}}));
  }
  if (done && Kind::kAffectsAccess) change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), Kind::kNoun);
  return Answer{.status = 204};
}

// --- Members of groups.

Outcome AdminApi::members(const Administrator& admin, const Group& group) {
  if (method_of(admin.call) != "GET") return not_allowed("GET, HEAD");
  Json items = Json::array();
  for (const auto& [id, subject] : admin.state.directory.policies.subjects) {
    if (subject.groups.contains(group.id)) {
      items.push_back({{"subject", id.text}, {"name", subject.name}});
    }
  }
  return answer(200, page_json(std::move(items), std::nullopt));
}

Outcome AdminApi::member(const Administrator& admin, const Group& group) {
  const std::string_view method = method_of(admin.call);
  if (method != "PUT" && method != "DELETE") return not_allowed("PUT, DELETE");
  const Membership membership{.group = group.id, .subject = {admin.call.path[6]}};
  const auto& subjects = admin.state.directory.policies.subjects;
  if (!subjects.contains(membership.subject)) {
    return fail(no_such_object("user or service account"));
  }
  std::size_t count = 0;
  for (const auto& [id, subject] : subjects) count += subject.groups.size();
  if (method == "PUT" && count >= context_.config.limits.members_per_tenant_max) {
    return fail(problem(409, fmt::format("there are {} memberships, which is the limit", count)));
  }
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  if (!change) return fail(change.error(), "group");
  if (method == "PUT") {
    const auto added = context_.store.add_member(admin.tenant, membership);
    if (!added) return fail(added.error(), "membership");
    if (!*added) return Answer{.status = 204};
  } else {
    const auto removed = context_.store.remove_member(admin.tenant, membership);
    if (!removed) return fail(removed.error(), "member");
  }
  const Json detail = {{"subject", membership.subject.text}};
  auto done = change->audit(method == "PUT" ? "group.add_member" : "group.remove_member",
                            group.id.text, wire::json_text(detail));
  change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), "group");
  return Answer{.status = 204};
}

// --- Keys of service accounts.

Outcome AdminApi::keys(const Administrator& admin, const ServiceAccount& account) {
  const std::string_view method = method_of(admin.call);
  if (method == "POST") return create_key(admin, account);
  if (method != "GET") return not_allowed("GET, HEAD, POST");
  Json items = Json::array();
  for (const auto& [id, key] : admin.state.directory.keys) {
    if (key.account == account.id) items.push_back(json_of(key));
  }
  return answer(200, page_json(std::move(items), std::nullopt));
}

Outcome AdminApi::create_key(const Administrator& admin, const ServiceAccount& account) {
  auto body = BodyReader::parse(admin.call);
  if (!body) return fail(body.error());
  ServiceAccountKey row{.id = make_id<KeyIdTag>(context_.random),
                        .account = account.id,
                        .name = account.name,
                        .created = admin.call.now.unix_time};
  body->name("name", row.name, Presence::optional);
  body->expiry("expires", row.expires);
  if (const auto done = body->done(); !done) return fail(done.error());
  const auto controller = grant::parse_controller_url(context_.config.url);
  if (!controller) return fail(problem(500, "the controller's own URL is not set"));
  if (admin.state.directory.keys.size() >= context_.config.limits.objects_per_table_max) {
    return fail(problem(409, "there are as many keys as there may be: remove service accounts"));
  }
  const grant::ServiceKey file{.controller = *controller,
                               .controller_key = context_.config.pin,
                               .id = row.id,
                               .secret = grant::make_shared_secret(context_.random)};
  row.secret_hash = crypto::sha256(as_bytes(file.secret.reveal()));
  Json value = json_of(row);
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  auto done = change ? context_.store.service_account_keys().insert(admin.tenant, row)
                     : std::unexpected(change.error());
  if (done) done = change->audit("service_account_key.create", row.id.text, wire::json_text(value));
  if (done) change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), "key");
  value["file"] = file.format().reveal();
  return answer(201, value);
}

Outcome AdminApi::key(const Administrator& admin, const ServiceAccount& account) {
  const std::string_view method = method_of(admin.call);
  if (method != "GET" && method != "PATCH" && method != "DELETE") {
    return not_allowed("GET, HEAD, PATCH, DELETE");
  }
  auto row = context_.store.service_account_keys().find(admin.tenant, KeyId{admin.call.path[6]});
  if (row && row->account != account.id) row = std::unexpected(StoreError::not_found);
  if (!row) return fail(row.error(), "key");
  if (method == "GET") return answer_with_etag(200, *row, json_of(*row));
  if (const auto match = require_match(admin.call, row->version); !match) {
    return fail(match.error());
  }
  if (method == "DELETE") {
    if (row->is_revoked) return Answer{.status = 204};
    row->is_revoked = true;
    const auto changed = change_key(admin, *std::move(row), "revoke");
    if (!changed) return changed;
    return Answer{.status = 204};
  }
  auto body = BodyReader::parse(admin.call, true);
  if (!body) return fail(body.error());
  body->name("name", row->name, Presence::optional);
  body->expiry("expires", row->expires);
  if (const auto done = body->done(); !done) return fail(done.error());
  return change_key(admin, *std::move(row), "update");
}

Outcome AdminApi::change_key(const Administrator& admin, ServiceAccountKey row,
                             std::string_view verb) {
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  if (!change) return fail(change.error(), "key");
  const auto version = context_.store.service_account_keys().update(admin.tenant, row);
  if (!version) return fail(version.error(), "key");
  row.version = *version;
  const Json value = json_of(row);
  auto done =
      change->audit(action_of("service account key", verb), row.id.text, wire::json_text(value));
  change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), "key");
  return answer_with_etag(200, row, value);
}

// --- Other secrets that are shown once.

Outcome AdminApi::create_api_key(const Administrator& admin) {
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  auto body = BodyReader::parse(admin.call);
  if (!body) return fail(body.error());
  ApiKey row{.id = make_id<KeyIdTag>(context_.random), .created = admin.call.now.unix_time};
  ObjectKind<ApiKey>::read(*body, row);
  if (const auto done = body->done(); !done) return fail(done.error());
  if (const auto room = require_room<ApiKey>(admin); !room) return fail(room.error());
  const Secret token = make_api_key(context_.random);
  row.secret_hash = crypto::sha256(as_bytes(token.reveal()));
  Json value = ObjectKind<ApiKey>::write(row);
  if (const auto done = insert_and_commit(admin, row, value); !done) return fail(done.error());
  value["token"] = token.reveal();
  return answer_with_etag(201, row, value);
}

namespace {

// read_lifetime reads "24h" and the like.
void read_lifetime(BodyReader& body, std::chrono::seconds& lifetime) {
  std::string text;
  body.checked_text(
      "lifetime", text,
      [&](std::string& value) -> std::optional<std::string> {
        const auto duration = parse_duration(value);
        if (!duration || *duration < std::chrono::seconds(1) || *duration > kTokenLifetimeMax) {
          return "must be a duration such as \"30m\", \"24h\" or \"7d\", at most a year";
        }
        lifetime = std::chrono::duration_cast<std::chrono::seconds>(*duration);
        return std::nullopt;
      },
      Presence::optional);
}

}  // namespace

Outcome AdminApi::create_token(const Administrator& admin, EnrolmentTokenRow row) {
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  auto body = BodyReader::parse(admin.call);
  if (!body) return fail(body.error());
  std::chrono::seconds lifetime = context_.config.enrolment_lifetime_default;
  body->name("name", row.name, Presence::optional);
  body->count("uses", row.uses_left, 1, kTokenUsesMax, Presence::optional);
  read_lifetime(*body, lifetime);
  if (row.kind == NodeKind::relay) {
    body->text("region", row.region, {.size_min = 0, .size_max = 64}, Presence::optional);
    body->checked_text(
        "address", row.address,
        [](std::string& text) -> std::optional<std::string> {
          if (Authority::parse(text)) return std::nullopt;
          return "must be a host and a UDP port, such as \"relay.example:443\"";
        },
        Presence::optional);
  }
  if (const auto done = body->done(); !done) return fail(done.error());
  if (const auto room = require_room<EnrolmentTokenRow>(admin); !room) return fail(room.error());
  const auto controller = grant::parse_controller_url(context_.config.url);
  if (!controller) return fail(problem(500, "the controller's own URL is not set"));
  const grant::EnrolmentToken token{.controller = *controller,
                                    .controller_key = context_.config.pin,
                                    .secret = grant::make_shared_secret(context_.random),
                                    .kind = row.kind};
  row.id = make_id<TokenIdTag>(context_.random);
  row.secret_hash = crypto::sha256(as_bytes(token.secret.reveal()));
  row.created = admin.call.now.unix_time;
  row.expires = row.created + lifetime;
  Json value = ObjectKind<EnrolmentTokenRow>::write(row);
  if (const auto done = insert_and_commit(admin, row, value); !done) return fail(done.error());
  value["token"] = token.format().reveal();
  return answer(201, value);
}

// --- The tenant's signing keys.

namespace {

Json signing_keys_json(const TenantState& state, const Now& now) {
  Json items = Json::array();
  for (const auto& key : state.keys.listed()) {
    items.push_back({{"kid", key.kid},
                     {"active_from", to_rfc3339(key.active_from)},
                     {"retires", key.retires ? Json(to_rfc3339(*key.retires)) : Json(nullptr)},
                     {"signing", key.kid == state.keys.signing_kid(now.unix_time)}});
  }
  return items;
}

}  // namespace

Outcome AdminApi::signing_keys(const Administrator& admin) {
  if (method_of(admin.call) != "GET") return not_allowed("GET, HEAD");
  if (const auto known = require_parameters(admin.call, {}); !known) return fail(known.error());
  return answer(200, page_json(signing_keys_json(admin.state, admin.call.now), std::nullopt));
}

Outcome AdminApi::rotate_signing_key(const Administrator& admin) {
  if (admin.state.keys.size() >= KeyRing::kKeysMax) {
    return fail(problem(409, "too many keys overlap: wait until older ones have retired"));
  }
  const UnixTime active_from = admin.call.now.unix_time + KeyRing::kPublicationLead;
  // The old keys stay until everything that they may still sign has expired, and a while longer.
  const UnixTime retires =
      active_from + std::max(context_.config.grant_lifetime, context_.config.relay_token_lifetime) +
      KeyRing::kPublicationLead;
  const TenantKey row = KeyRing::make_row(active_from);
  auto change = Change::begin(context_.access, {admin.tenant, admin.key.text, admin.call.now});
  auto done =
      change ? context_.store.insert_key(admin.tenant, row) : std::unexpected(change.error());
  for (const auto& key : admin.state.keys.listed()) {
    if (done && !key.retires) done = context_.store.retire_key(admin.tenant, key.kid, retires);
  }
  if (done) done = change->audit("signing_key.rotate", row.kid);
  if (done) change->affect_access();
  if (done) done = change->commit();
  if (!done) return fail(done.error(), "signing key");
  return answer(201, {{"kid", row.kid}, {"active_from", to_rfc3339(active_from)}});
}

// --- The log.

namespace {

// text_parameter copies a query parameter if it is there.
void text_parameter(const Call& call, std::string_view name, std::string& target) {
  if (const auto value = call.query.find(name)) target = *value;
}

Attempt<void> time_parameter(const Call& call, std::string_view name,
                             std::optional<UnixTime>& target) {
  const auto value = call.query.find(name);
  if (!value) return {};
  target = parse_rfc3339(*value);
  if (target) return {};
  return fail(problem(400, fmt::format("the parameter \"{}\" must be a time such as "
                                       "2030-12-31T23:59:59Z",
                                       name)));
}

// read_page reads what both logs have: the period and the place.
template <class LogQuery>
Attempt<void> read_page(const Call& call, LogQuery& query) {
  const auto limit = limit_of(call);
  if (!limit) return fail(limit.error());
  query.limit = *limit;
  if (const auto cursor = call.query.find("cursor")) {
    const auto value = parse_decimal<std::int64_t>(*cursor);
    if (!value || *value == 0) return fail(problem(400, "the parameter \"cursor\" is none"));
    query.below_sequence = *value;
  }
  if (const auto read = time_parameter(call, "since", query.since); !read) return read;
  return time_parameter(call, "before", query.before);
}

}  // namespace

Outcome AdminApi::events(const Administrator& admin) {
  const Call& call = admin.call;
  if (method_of(call) != "GET") return not_allowed("GET, HEAD");
  const auto known =
      require_parameters(call, {"limit", "cursor", "since", "before", "subject", "device",
                                "resource", "network", "connector", "flow", "event"});
  if (!known) return fail(known.error());
  FlowEventQuery query;
  if (const auto read = read_page(call, query); !read) return fail(read.error());
  text_parameter(call, "subject", query.subject);
  text_parameter(call, "device", query.device);
  text_parameter(call, "resource", query.resource);
  text_parameter(call, "network", query.network);
  text_parameter(call, "connector", query.connector);
  text_parameter(call, "flow", query.flow);
  if (const auto event = call.query.find("event")) {
    query.kind = parse_flow_event_kind(*event);
    if (!query.kind) return fail(problem(400, "the parameter \"event\" names no kind of event"));
  }
  const auto stored = context_.store.flow_events(admin.tenant, query);
  if (!stored) return fail(stored.error(), "log");
  Json items = Json::array();
  for (const StoredFlowEvent& event : *stored) items.push_back(json_of(event));
  const auto next = stored->empty() ? std::nullopt
                                    : next_cursor(stored->size(), query.limit,
                                                  std::to_string(stored->back().sequence));
  return answer(200, page_json(std::move(items), next));
}

Outcome AdminApi::audit(const Administrator& admin) {
  const Call& call = admin.call;
  if (method_of(call) != "GET") return not_allowed("GET, HEAD");
  const auto known =
      require_parameters(call, {"limit", "cursor", "since", "before", "actor", "action", "target"});
  if (!known) return fail(known.error());
  AuditQuery query;
  if (const auto read = read_page(call, query); !read) return fail(read.error());
  text_parameter(call, "actor", query.actor);
  text_parameter(call, "action", query.action);
  text_parameter(call, "target", query.target);
  const auto entries = context_.store.audit(admin.tenant, query);
  if (!entries) return fail(entries.error(), "log");
  Json items = Json::array();
  for (const AuditEntry& entry : *entries) items.push_back(json_of(entry));
  const auto next = entries->empty() ? std::nullopt
                                     : next_cursor(entries->size(), query.limit,
                                                   std::to_string(entries->back().sequence));
  return answer(200, page_json(std::move(items), next));
}

// --- Why.

namespace {

// parse_question reads what explain is asked.
Attempt<policy::Request> parse_question(const Call& call) {
  const auto known = require_parameters(call, {"subject", "host", "port", "protocol"});
  if (!known) return fail(known.error());
  const auto subject = call.query.find("subject");
  const auto host = parse_host(call.query.find("host").value_or(""));
  const auto port = parse_port(call.query.find("port").value_or(""));
  const auto protocol = parse_protocol(call.query.find("protocol").value_or("tcp"));
  if (!subject) return fail(problem(400, "the parameter \"subject\" must be an id"));
  if (!host) return fail(problem(400, "the parameter \"host\" must be a name or an address"));
  if (!port) return fail(problem(400, "the parameter \"port\" must be 1 to 65535"));
  if (!protocol) return fail(problem(400, "the parameter \"protocol\" must be tcp or udp"));
  return policy::Request{
      .subject = {std::string(*subject)},
      .target = {.host = policy::canonical_host(*host), .port = *port, .protocol = *protocol},
      .resource = std::nullopt};
}

}  // namespace

Outcome AdminApi::explain(const Administrator& admin) {
  if (method_of(admin.call) != "GET") return not_allowed("GET, HEAD");
  const auto question = parse_question(admin.call);
  if (!question) return fail(question.error());
  const auto is_online = [&](const ConnectorId& connector) {
    return nodes_.is_online(connector.text, admin.call.now);
  };
  return answer(
      200, explanation_of(admin.state.directory, *question, is_online, admin.call.now.unix_time));
}

}  // namespace zt::controller
