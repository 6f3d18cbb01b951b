// SPDX-License-Identifier: Apache-2.0
#include "controller/node_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "controller/body_reader.h"
#include "controller/journal.h"
#include "crypto/hash.h"
#include "wire/json.h"
#include "zt/base/decimal.h"
#include "zt/base/rfc3339.h"
#include "zt/grant/grant.h"
#include "zt/policy/explain.h"

namespace zt::controller {

namespace {

using wire::Json;

constexpr std::chrono::minutes kNoteInterval{1};  // Between two writes of "last seen".
constexpr std::chrono::hours kLivenessMax{1};
constexpr std::size_t kConnectorsPerGrantMax = 8;
constexpr std::size_t kRelaysPerNodeMax = 16;
constexpr TextRule kSoftwareRule{.size_min = 0, .size_max = 64};

Json keys_json(const TenantState& state, const Now& now) {
  return wire::parse_json_object(state.keys.published(now.unix_time).to_json());
}

RouteId make_route(Random& random) {
  RouteId route;
  random.fill(route.bytes);
  return route;
}

// free_name returns `wished`, or that with the first number that nobody else has.
template <class Row>
StoreResult<std::string> free_name(Table<Row>& table, const TenantId& tenant,
                                   const std::string& wished) {
  std::string name = wished;
  for (int number = 2;; ++number) {
    const auto found = table.find_named(tenant, name);
    if (!found && found.error() == StoreError::not_found) return name;
    if (!found) return std::unexpected(found.error());
    name = fmt::format("{}-{}", wished, number);
  }
}

std::string address_complaint(const std::string& address) {
  if (Authority::parse(address)) return {};
  return "must be the host and UDP port at which nodes reach the relay, such as "
         "\"relay.example:443\"";
}

}  // namespace

std::string source_name(const http::Peer& peer) {
  const IpAddress ip = unwrapped(peer.remote.ip);
  if (ip.is_v4()) return ip.to_text();
  auto octets = ip.octets();
  std::fill(octets.begin() + 8, octets.end(), std::uint8_t{0});
  return IpAddress::v6(octets).to_text();
}

// --- Who is asking.

Attempt<Digest> NodeApi::require_certificate(const Call& call) {
  if (call.peer.certificate) return *call.peer.certificate;
  return fail(problem(401, "this needs a TLS client certificate"));
}

// refuse counts a refusal against the address that earned it.
http::Problem NodeApi::refuse(const Call& call, int status, std::string detail) {
  (void)context_.refusals.use(source_name(call.peer), call.now.instant);  // Full: refused already.
  return problem(status, std::move(detail));
}

Attempt<NodeApi::Caller> NodeApi::authenticate(const Call& call) {
  const auto certificate = require_certificate(call);
  if (!certificate) return fail(certificate.error());
  auto node = context_.store.find_node(*certificate);
  if (!node && node.error() == StoreError::not_found) {
    return fail(problem(401, "no node is known by this certificate: enrol, or sign in"));
  }
  if (!node) return fail(node.error(), "node");
  const auto state = context_.access.state(node->tenant, call.now);
  if (!state) return fail(state.error(), "tenant");
  Caller caller{node->tenant, std::move(node->row), **state};
  if (const auto* device = std::get_if<Device>(&caller.row)) {
    const auto complaint =
        caller.state.directory.complaint_about_device(*device, call.now.unix_time);
    if (complaint) return fail(problem(401, *complaint));
    return caller;
  }
  const auto* connector = std::get_if<Connector>(&caller.row);
  const auto* relay = std::get_if<Relay>(&caller.row);
  const bool is_enabled = connector != nullptr ? connector->is_enabled : relay->is_enabled;
  if (!is_enabled) return fail(problem(403, "this node is disabled"));
  return caller;
}

// --- Enrolment.

Attempt<NodeApi::EnrolRequest> NodeApi::parse_enrol(const Call& call) {
  auto body = BodyReader::parse(call);
  if (!body) return fail(body.error());
  EnrolRequest request;
  body->secret("secret", request.secret, Presence::required);
  const auto kind = body->choice("kind", {"connector", "relay"}, Presence::required);
  if (kind) request.kind = *kind == 0 ? NodeKind::connector : NodeKind::relay;
  body->name("name", request.name, Presence::optional);
  body->text("region", request.region, {.size_min = 0, .size_max = 64}, Presence::optional);
  body->text("address", request.address, {.size_min = 0, .size_max = 300}, Presence::optional);
  body->text("version", request.software, kSoftwareRule, Presence::required);
  if (!request.address.empty() && !address_complaint(request.address).empty()) {
    body->complain("address", address_complaint(request.address));
  }
  if (const auto done = body->done(); !done) return fail(done.error());
  return request;
}

Outcome NodeApi::enrol(const Call& call) {
  const auto certificate = require_certificate(call);
  if (!certificate) return fail(certificate.error());
  const auto request = parse_enrol(call);
  if (!request) return fail(request.error());
  const Digest hash = crypto::sha256(as_bytes(request->secret.reveal()));
  const auto token = context_.store.find_enrolment_token(hash);
  if (!token && token.error() == StoreError::not_found) {
    return fail(refuse(call, 401, "the enrolment token is not known here"));
  }
  if (!token) return fail(token.error(), "enrolment token");
  if (token->row.kind != request->kind) {
    return fail(problem(
        403, fmt::format("this enrolment token is for a {}", grant::to_text(token->row.kind))));
  }
  const auto known = context_.store.find_node(*certificate);
  if (!known && known.error() != StoreError::not_found) return fail(known.error(), "node");
  if (!known) return enrol_new(call, *token, *request, *certificate);
  const auto* connector = std::get_if<Connector>(&known->row);
  const bool is_same_node =
      known->tenant == token->tenant &&
      (connector != nullptr
           ? request->kind == NodeKind::connector && connector->network == token->row.network
           : request->kind == NodeKind::relay && std::holds_alternative<Relay>(known->row));
  if (!is_same_node) {
    return fail(problem(409, "this certificate is another node's: start with an empty state"));
  }
  return admitted(call, known->tenant, known->row);
}

Attempt<EnrolmentTokenRow> NodeApi::usable_token(const Call& call,
                                                 const Owned<EnrolmentTokenRow>& token,
                                                 NodeKind kind) {
  // Read again inside the transaction: the use that is counted must be of the current row.
  auto row = context_.store.enrolment_tokens().find(token.tenant, token.row.id);
  if (!row) return fail(row.error(), "enrolment token");
  if (row->kind != kind) return fail(problem(403, "this enrolment token is for another kind"));
  if (row->expires <= call.now.unix_time) {
    return fail(
        problem(403, fmt::format("the enrolment token expired at {}", to_rfc3339(row->expires))));
  }
  if (row->uses_left <= 0) return fail(problem(403, "the enrolment token is used up"));
  return *std::move(row);
}

Outcome NodeApi::enrol_new(const Call& call, const Owned<EnrolmentTokenRow>& token,
                           const EnrolRequest& request, const Digest& certificate) {
  auto change = Change::begin(context_.access, {token.tenant, token.row.id.text, call.now});
  if (!change) return fail(change.error(), "tenant");
  auto row = usable_token(call, token, request.kind);
  if (!row) return fail(row.error());
  --row->uses_left;
  if (const auto used = context_.store.enrolment_tokens().update(token.tenant, *row); !used) {
    return fail(used.error(), "enrolment token");
  }
  const auto node = insert_node(call, token, request, certificate);
  if (!node) return fail(node.error());
  const Json detail = {{"token", token.row.id.text}, {"certificate", certificate.to_text()}};
  const std::string action = fmt::format("{}.enrol", grant::to_text(request.kind));
  if (const auto noted = change->audit(action, id_of(*node), wire::json_text(detail)); !noted) {
    return fail(noted.error(), "audit");
  }
  change->affect_access();
  if (const auto committed = change->commit(); !committed) return fail(committed.error(), "node");
  context_.outbox.log(NodeEnrolled{token.tenant, id_of(*node)});
  return admitted(call, token.tenant, *node);
}

Attempt<NodeRow> NodeApi::insert_node(const Call& call, const Owned<EnrolmentTokenRow>& token,
                                      const EnrolRequest& request, const Digest& certificate) {
  const std::string& wished = !token.row.name.empty() ? token.row.name : request.name;
  const std::string base = !wished.empty() ? wished : std::string(grant::to_text(request.kind));
  const auto full = [&](auto& table) -> Attempt<void> {
    const auto count = table.count(token.tenant);
    if (!count) return fail(count.error(), "node");
    if (*count < context_.config.limits.objects_per_table_max) return {};
    return fail(problem(409, "this tenant has as many nodes of this kind as it may have"));
  };
  if (request.kind == NodeKind::connector) {
    if (const auto room = full(context_.store.connectors()); !room) return fail(room.error());
    const auto name = free_name(context_.store.connectors(), token.tenant, base);
    if (!name) return fail(name.error(), "connector");
    if (!token.row.network) return fail(problem(403, "the enrolment token has no network"));
    Connector connector{.id = make_id<ConnectorIdTag>(context_.random),
                        .network = *token.row.network,
                        .name = *name,
                        .certificate = certificate,
                        .route = make_route(context_.random),
                        .software = request.software,
                        .created = call.now.unix_time};
    const auto inserted = context_.store.connectors().insert(token.tenant, connector);
    if (!inserted) return fail(inserted.error(), "connector");
    return connector;
  }
  if (const auto room = full(context_.store.relays()); !room) return fail(room.error());
  const auto name = free_name(context_.store.relays(), token.tenant, base);
  if (!name) return fail(name.error(), "relay");
  Relay relay{.id = make_id<RelayIdTag>(context_.random),
              .name = *name,
              .region = !token.row.region.empty() ? token.row.region : request.region,
              .address = !token.row.address.empty() ? token.row.address : request.address,
              .certificate = certificate,
              .software = request.software,
              .created = call.now.unix_time};
  if (relay.address.empty()) {
    return fail(invalid_field("address", "is missing: neither the token nor the relay says it"));
  }
  const auto inserted = context_.store.relays().insert(token.tenant, relay);
  if (!inserted) return fail(inserted.error(), "relay");
  return relay;
}

Outcome NodeApi::admitted(const Call& call, const TenantId& tenant, const NodeRow& row) {
  const auto state = context_.access.state(tenant, call.now);
  if (!state) return fail(state.error(), "tenant");
  Json body = {
      {"tenant", tenant.text}, {"node", id_of(row)}, {"jwks", keys_json(**state, call.now)}};
  if (const auto* connector = std::get_if<Connector>(&row)) {
    body["network"] = connector->network.text;
  }
  return Answer{.status = 201, .body = wire::json_text(body)};
}

// --- Signing in with a service account's key.

Attempt<NodeApi::SignInRequest> NodeApi::parse_sign_in(const Call& call) {
  auto body = BodyReader::parse(call);
  if (!body) return fail(body.error());
  SignInRequest request;
  body->id("key_id", request.key, Presence::required);
  body->secret("secret", request.secret, Presence::required);
  body->text("version", request.software, kSoftwareRule, Presence::required);
  if (const auto value = body->object("device", Presence::required)) {
    BodyReader device = body->nested(*value, "device");
    device.text("name", request.device_name, {.size_min = 0}, Presence::optional);
    device.text("os", request.device_os, {.size_min = 0}, Presence::optional);
    body->adopt(device.done_with_extras());
  }
  if (const auto done = body->done(); !done) return fail(done.error());
  return request;
}

Attempt<Owned<ServiceAccountKey>> NodeApi::usable_key(const Call& call,
                                                      const SignInRequest& request) {
  auto key = context_.store.find_service_account_key(request.key);
  const Digest hash = crypto::sha256(as_bytes(request.secret.reveal()));
  if (!key && key.error() != StoreError::not_found) return fail(key.error(), "key");
  if (!key || !equal_in_constant_time(as_text(key->row.secret_hash.bytes), as_text(hash.bytes))) {
    return fail(refuse(call, 401, "the service account's key is not known here"));
  }
  const ServiceAccountKey& row = key->row;
  if (row.is_revoked) return fail(problem(401, "the service account's key is revoked"));
  if (row.expires && *row.expires <= call.now.unix_time) {
    return fail(problem(
        401, fmt::format("the service account's key expired at {}", to_rfc3339(*row.expires))));
  }
  return *std::move(key);
}

Outcome NodeApi::sign_in(const Call& call) {
  const auto certificate = require_certificate(call);
  if (!certificate) return fail(certificate.error());
  const auto request = parse_sign_in(call);
  if (!request) return fail(request.error());
  const auto key = usable_key(call, *request);
  if (!key) return fail(key.error());
  const auto account = context_.store.service_accounts().find(key->tenant, key->row.account);
  if (!account) return fail(account.error(), "service account");
  if (!account->is_enabled) return fail(problem(403, "the service account is disabled"));

  auto change = Change::begin(context_.access, {key->tenant, key->row.id.text, call.now});
  if (!change) return fail(change.error(), "tenant");
  const auto device = put_device(call, *key, *request, *certificate);
  if (!device) return fail(device.error());
  const Json detail = {{"subject", account->id.text}, {"certificate", certificate->to_text()}};
  auto done =
      context_.store.note_service_account_key_used(key->tenant, key->row.id, call.now.unix_time);
  if (done) done = change->audit("device.sign_in", device->id.text, wire::json_text(detail));
  if (!done) return fail(done.error(), "key");
  change->affect_access();
  if (const auto committed = change->commit(); !committed) return fail(committed.error(), "device");

  const auto state = context_.access.state(key->tenant, call.now);
  if (!state) return fail(state.error(), "tenant");
  const Json body = {{"tenant", key->tenant.text},
                     {"subject", account->id.text},
                     {"subject_name", account->name},
                     {"device", device->id.text},
                     {"jwks", keys_json(**state, call.now)}};
  return Answer{.status = 201, .body = wire::json_text(body)};
}

// put_device updates the device of this certificate, or makes one.
Attempt<Device> NodeApi::put_device(const Call& call, const Owned<ServiceAccountKey>& key,
                                    const SignInRequest& request, const Digest& certificate) {
  const auto known = context_.store.find_node(certificate);
  if (!known && known.error() != StoreError::not_found) return fail(known.error(), "device");
  Table<Device>& devices = context_.store.devices();
  Device device{.id = make_id<DeviceIdTag>(context_.random),
                .certificate = certificate,
                .route = make_route(context_.random),
                .created = call.now.unix_time};
  if (known) {
    const auto* row = std::get_if<Device>(&known->row);
    if (row == nullptr || known->tenant != key.tenant) {
      return fail(problem(409, "this certificate is another node's: start with an empty state"));
    }
    if (!row->is_enabled) return fail(problem(403, "the device is disabled"));
    device = *row;
  }
  device.subject = SubjectId{key.row.account.text};
  device.key = key.row.id;
  device.name = request.device_name;
  device.os = request.device_os;
  device.software = request.software;
  device.last_seen = call.now.unix_time;
  if (known) {
    const auto version = devices.update(key.tenant, device);
    if (!version) return fail(version.error(), "device");
    device.version = *version;
    return device;
  }
  const auto count = devices.count(key.tenant);
  if (!count) return fail(count.error(), "device");
  if (*count >= context_.config.limits.objects_per_table_max) {
    return fail(problem(409, "this tenant has as many devices as it may have"));
  }
  if (const auto inserted = devices.insert(key.tenant, device); !inserted) {
    return fail(inserted.error(), "device");
  }
  return device;
}

// --- Watching and reporting.

Attempt<void> NodeApi::watch(const Call& call) {
  if (const auto known = require_parameters(call, {"revision"}); !known) return known;
  const auto caller = authenticate(call);
  if (!caller) return fail(caller.error());
  WatchRequest request{.exchange = call.exchange, .remote = call.peer.remote, .node = caller->row};
  if (const auto text = call.query.find("revision")) {
    request.held = parse_decimal<std::int64_t>(*text);
    if (!request.held) {
      return fail(problem(400, "the parameter \"revision\" must be a whole number"));
    }
  }
  if (const auto* connector = std::get_if<Connector>(&caller->row)) {
    const auto grants = context_.store.grants(caller->tenant, call.now.unix_time);
    if (!grants) return fail(grants.error(), "grant");
    for (const IssuedGrant& grant : *grants) {
      if (grant.is_revoked && grant.network == connector->network) {
        request.revoked.push_back(grant.id);
      }
    }
  }
  if (!context_.hub.open(request, caller->state, call.now)) {
    return fail(problem(503, "too many nodes are watching; try again later"));
  }
  return {};
}

// hear notes that a node is alive; the store is told now and then only.
void NodeApi::hear(const Caller& caller, const std::string& software, const Now& now) {
  Liveness& liveness = liveness_[id_of(caller.row)];
  liveness.heard = now.instant;
  if (liveness.noted && now.instant < *liveness.noted + kNoteInterval) return;
  const Sighting sighting{.time = now.unix_time, .software = software};
  const auto noted = std::visit(
      [&](const auto& row) { return context_.store.note(caller.tenant, row.id, sighting); },
      caller.row);
  if (!noted) return context_.outbox.log(StoreFailed{noted.error(), "noting a heartbeat"});
  liveness.noted = now.instant;
}

namespace {

// round_trip_of reads a connector's word about a relay. What is no sensible number was not said.
std::optional<std::int64_t> round_trip_of(const Json& round_trips, const std::string& relay) {
  constexpr std::int64_t kRoundTripMax = 60'000;
  if (!round_trips.is_object()) return std::nullopt;
  const auto found = round_trips.find(relay);
  if (found == round_trips.end() || !found->is_number_unsigned()) return std::nullopt;
  return std::int64_t(std::min<std::uint64_t>(found->get<std::uint64_t>(), kRoundTripMax));
}

}  // namespace

Outcome NodeApi::heartbeat(const Call& call) {
  const auto caller = authenticate(call);
  if (!caller) return fail(caller.error());
  auto body = BodyReader::parse(call);
  if (!body) return fail(body.error());
  std::string software;
  std::vector<std::string> relays;
  std::int64_t flow_count = 0;
  std::int64_t binding_count = 0;
  body->text("version", software, kSoftwareRule, Presence::required);
  body->texts(
      "relays", relays, kRelaysPerNodeMax,
      [](std::string& text) -> std::optional<std::string> {
        if (parse_id_as<RelayIdTag>(text)) return std::nullopt;
        return "must be the id of a relay";
      },
      Presence::optional);
  body->count("flows", flow_count, 0, INT32_MAX, Presence::optional);
  body->count("bindings", binding_count, 0, INT32_MAX, Presence::optional);
  const Json round_trips = body->object("round_trips_ms", Presence::optional).value_or(Json());
  bool is_draining = false;
  body->flag("draining", is_draining, Presence::optional);
  if (const auto done = body->done_with_extras(); !done) return fail(done.error());
  hear(*caller, software, call.now);
  Liveness& liveness = liveness_[id_of(caller->row)];
  liveness.flow_count = flow_count;
  liveness.is_draining = is_draining;
  liveness.relays.clear();
  for (const std::string& relay : relays) {
    if (caller->state.directory.relays.contains(RelayId{relay})) {
      liveness.relays.push_back({RelayId{relay}, round_trip_of(round_trips, relay)});
    }
  }
  if (const auto* relay = std::get_if<Relay>(&caller->row)) {
    context_.hub.note_load(relay->id, binding_count);
  }
  return Answer{.status = 204};
}

Outcome NodeApi::events(const Call& call) {
  const auto caller = authenticate(call);
  if (!caller) return fail(caller.error());
  if (std::holds_alternative<Relay>(caller->row)) {
    return fail(problem(403, "relays have no flows to report"));
  }
  auto body = BodyReader::parse(call);
  if (!body) return fail(body.error());
  const auto items =
      body->objects("events", context_.config.limits.events_per_request_max, Presence::required);
  if (const auto done = body->done_with_extras(); !done) return fail(done.error());
  auto transaction = Transaction::begin(context_.store);
  if (!transaction) return fail(transaction.error(), "log");
  // What can be read is kept, whatever else is in the report: the node will not send it again.
  std::optional<http::Problem> complaint;
  for (std::size_t i = 0; i < items.size(); ++i) {
    auto event = parse_flow_event(items[i], i, caller->row);
    if (!event && !complaint) complaint = event.error();
    if (!event) continue;
    explain_refusal(*caller, *event, call.now);
    const auto inserted = context_.store.insert_flow_event(caller->tenant, *event);
    if (!inserted) return fail(inserted.error(), "log");
  }
  if (const auto committed = transaction->commit(); !committed) {
    return fail(committed.error(), "log");
  }
  if (complaint) return fail(*std::move(complaint));
  return Answer{.status = 204};
}

// explain_refusal completes what a client reports that its own view has refused: by the directory,
// which knows resources that the client does not. Reports of one device are judged at a limited
// rate; beyond it they are kept as they came.
void NodeApi::explain_refusal(const Caller& caller, FlowEvent& event, const Now& now) {
  const auto* device = std::get_if<Device>(&caller.row);
  const bool is_refused_by_view = device != nullptr && event.kind == FlowEventKind::denied &&
                                  event.grant.empty() && event.decision.empty();
  if (!is_refused_by_view) return;
  const auto target = Authority::parse(event.target);
  const auto protocol = parse_protocol(event.protocol);
  if (!target || !protocol || !explanations_.use(device->id.text, now.instant)) return;
  const policy::PolicySet& policies = caller.state.directory.policies;
  const policy::Request request{
      .subject = device->subject,
      .target = {.host = target->host, .port = target->port, .protocol = *protocol},
      .resource = std::nullopt};
  const auto decision = policy::evaluate(policies, request, now.unix_time);
  if (decision.is_allowed()) return;  // Allowed since; the client has told what it saw.
  event.resource = decision.resource.text;
  event.reason = policy::explain(decision, policies, request);
}

void NodeApi::forget_silent(const Now& now) {
  std::erase_if(liveness_,
                [&](const auto& item) { return item.second.heard + kLivenessMax <= now.instant; });
}

bool NodeApi::is_online(std::string_view node, const Now& now) const {
  if (context_.hub.is_watching(node)) return true;
  const auto found = liveness_.find(node);
  return found != liveness_.end() &&
         now.instant < found->second.heard + context_.config.silence_max;
}

bool NodeApi::is_draining(std::string_view node) const {
  const auto found = liveness_.find(node);
  return found != liveness_.end() && found->second.is_draining;
}

// --- Grants.

Attempt<policy::Request> NodeApi::parse_grant(const Call& call, const SubjectId& subject) {
  auto body = BodyReader::parse(call);
  if (!body) return fail(body.error());
  policy::Target target;
  std::string host_text;
  std::int64_t port = 0;
  body->checked_text(
      "host", host_text,
      [&](std::string& text) -> std::optional<std::string> {
        auto host = parse_host(text);
        if (!host) return "must be a name or an address";
        target.host = *std::move(host);
        return std::nullopt;
      },
      Presence::required);
  body->count("port", port, 1, 65535, Presence::required);
  const auto protocol = body->choice("protocol", {"tcp", "udp"}, Presence::required);
  if (protocol) target.protocol = *protocol == 0 ? Protocol::tcp : Protocol::udp;
  if (const auto done = body->done(); !done) return fail(done.error());
  target.port = static_cast<std::uint16_t>(port);
  return policy::Request{.subject = subject, .target = target, .resource = std::nullopt};
}

Outcome NodeApi::grant(const Call& call) {
  const auto caller = authenticate(call);
  if (!caller) return fail(caller.error());
  const auto* device = std::get_if<Device>(&caller->row);
  if (device == nullptr) return fail(problem(403, "only clients may ask for grants"));
  if (!grants_.use(device->id.text, call.now.instant)) {
    http::Problem limited = problem(429, "this device asks for too many grants; slow down");
    return fail(std::move(limited));
  }
  const auto asked = parse_grant(call, device->subject);
  if (!asked) return fail(asked.error());
  const GrantRequest request{*device, *asked};
  const auto decision =
      policy::evaluate(caller->state.directory.policies, *asked, call.now.unix_time);
  if (!decision.is_allowed()) return deny(call, *caller, request, decision);
  return issue(call, *caller, request, decision);
}

namespace {

FlowEvent event_of(const policy::Decision& decision, const DecisionId& id, const Device& device,
                   const policy::Request& request, const Now& now) {
  FlowEvent event;
  event.kind = FlowEventKind::denied;
  event.time = now.unix_time;
  event.node = device.id.text;
  event.decision = id.text;
  event.subject = device.subject.text;
  event.device = device.id.text;
  event.resource = decision.resource.text;
  event.target = Authority{request.target.host, request.target.port}.to_text();
  event.protocol = to_text(request.target.protocol);
  event.reporter = kController;
  return event;
}

}  // namespace

// deny writes the whole truth into audit and log, and tells the device what its subject may know.
Outcome NodeApi::deny(const Call& call, const Caller& caller, const GrantRequest& request,
                      const policy::Decision& decision) {
  const policy::PolicySet& policies = caller.state.directory.policies;
  const SubjectId& subject = request.policy.subject;
  const auto id = make_id<DecisionIdTag>(context_.random);
  const policy::Target& target = request.policy.target;
  std::string reason = policy::explain(decision, policies, request.policy);
  const Json detail = {{"decision", id.text},
                       {"subject", subject.text},
                       {"resource", decision.resource.text},
                       {"rule", decision.rule.text},
                       {"host", to_text(target.host)},
                       {"port", target.port},
                       {"protocol", to_text(target.protocol)},
                       {"reason", reason}};
  FlowEvent event = event_of(decision, id, request.device, request.policy, call.now);
  event.flow = make_id<FlowIdTag>(context_.random);
  event.reason = std::move(reason);
  auto change = Change::begin(context_.access, {caller.tenant, request.device.id.text, call.now});
  auto done = change ? change->audit("grant.deny", decision.resource.text, wire::json_text(detail))
                     : std::unexpected(change.error());
  const auto logged =
      done ? context_.store.insert_flow_event(caller.tenant, event) : std::unexpected(done.error());
  done = logged ? change->commit() : std::unexpected(logged.error());
  if (!done) return fail(done.error(), "decision");
  context_.outbox.log(GrantDecided{caller.tenant, id, false});
  http::Problem denied = problem(
      403, policy::explain_to_subject(decision, policies, request.policy, call.now.unix_time));
  if (policy::may_hear(decision, policies, subject, call.now.unix_time)) {
    denied.rule = decision.rule.text;
  }
  denied.decision = id.text;
  return fail(std::move(denied));
}

// candidates lists connectors that may serve, best first. One that drains is left out, and relays
// that drain come last.
std::vector<NodeApi::Candidate> NodeApi::candidates(const Caller& caller, const NetworkId& network,
                                                    const DeviceId& device, const Now& now) const {
  std::vector<Candidate> list;
  for (const auto& [id, connector] : caller.state.directory.connectors) {
    if (connector.network != network || !connector.is_enabled) continue;
    if (is_draining(id.text)) continue;
    const Digest mix = crypto::sha256(as_bytes(device.text + id.text));
    Candidate candidate{.connector = &connector,
                        .is_online = is_online(id.text, now),
                        .flow_count = 0,
                        .shuffle = std::hash<Digest>{}(mix),
                        .relays = {}};
    const auto liveness = liveness_.find(id.text);
    if (liveness != liveness_.end()) {
      candidate.flow_count = liveness->second.flow_count;
      candidate.relays = liveness->second.relays;
      std::ranges::stable_partition(candidate.relays, [this](const BoundRelay& relay) {
        return !is_draining(relay.id.text);
      });
    }
    list.push_back(std::move(candidate));
  }
  std::ranges::sort(list, {}, [](const Candidate& candidate) {
    return std::tuple(!candidate.is_online, candidate.flow_count, candidate.shuffle);
  });
  if (list.size() > kConnectorsPerGrantMax) list.resize(kConnectorsPerGrantMax);
  return list;
}

namespace {

// weight_of shares out new flows: 100 for the least loaded, less for others, 0 when offline. A few
// flows more or less are chance.
std::int64_t weight_of(bool is_online, std::int64_t flow_count, std::int64_t flow_count_min) {
  constexpr std::int64_t kFlowsOfNote = 8;
  if (!is_online) return 0;
  return std::max<std::int64_t>(
      1, 100 * (flow_count_min + kFlowsOfNote) / (flow_count + kFlowsOfNote));
}

}  // namespace

// expiry_of is the earliest of what may end the grant, in whole seconds as tokens have them.
UnixTime NodeApi::expiry_of(const Call& call, const Caller& caller, const GrantRequest& request,
                            const policy::Decision& decision) const {
  UnixTime expires = call.now.unix_time + context_.config.grant_lifetime;
  expires = std::min(expires, decision.valid_until);
  if (const auto end = caller.state.directory.device_valid_until(request.device)) {
    expires = std::min(expires, *end);
  }
  return from_unix_seconds(unix_seconds(expires));
}

namespace {

// sign writes the grant that `row` remembers.
Secret sign(const IssuedGrant& row, const TenantState& state, const Host& host, const Now& now) {
  const grant::Grant value{
      .tenant = state.directory.tenant,
      .subject = row.subject,
      .device = row.device,
      .network = row.network,
      .id = row.id,
      .issued_at = now.unix_time,
      .not_before = now.unix_time,
      .expires_at = row.expires,
      .client_certificate = row.client_certificate,
      .policy_revision = static_cast<std::uint64_t>(state.directory.revision),
      .decision = row.decision,
      .resource = row.resource,
      .permissions = {
          {.hosts = {host}, .protocols = {row.protocol}, .ports = {{row.port, row.port}}}}};
  auto token = grant::issue(value, state.keys.signing_key(now.unix_time));
  ZT_ASSERT(token.has_value());  // One host, one port, and a lifetime that the engine has limited.
  return *std::move(token);
}

Json audit_detail(const IssuedGrant& row, const policy::Decision& decision) {
  return {{"decision", row.decision.text},
          {"subject", row.subject.text},
          {"device", row.device.text},
          {"resource", row.resource.text},
          {"rule", decision.rule.text},
          {"host", row.host},
          {"port", row.port},
          {"protocol", to_text(row.protocol)},
          {"expires", to_rfc3339(row.expires)}};
}

}  // namespace

Json NodeApi::grant_json(const IssuedGrant& row, const policy::Resource& resource,
                         const std::vector<Candidate>& connectors) {
  const auto lifetime = unix_seconds(row.expires) - unix_seconds(row.issued);
  Json body = {{"grant_id", row.id.text},
               {"decision", row.decision.text},
               {"expires", to_rfc3339(row.expires)},
               {"expires_in", lifetime},
               {"resource", {{"id", resource.id.text}, {"name", resource.name}}},
               {"connectors", Json::array()}};
  for (const Candidate& candidate : connectors) {
    Json relays = Json::array();
    Json round_trips = Json::object();
    for (const BoundRelay& relay : candidate.relays) {
      if (!allows(resource.path, relay.id)) continue;
      relays.push_back(relay.id.text);
      if (relay.round_trip_ms) round_trips[relay.id.text] = *relay.round_trip_ms;
    }
    body["connectors"].push_back({{"id", candidate.connector->id.text},
                                  {"name", candidate.connector->name},
                                  {"certificate", candidate.connector->certificate.to_text()},
                                  {"route", candidate.connector->route.to_text()},
                                  {"relays", std::move(relays)},
                                  {"round_trips_ms", std::move(round_trips)},
                                  {"weight", weight_of(candidate.is_online, candidate.flow_count,
                                                       connectors.front().flow_count)}});
  }
  return body;
}

Outcome NodeApi::issue(const Call& call, const Caller& caller, const GrantRequest& request,
                       const policy::Decision& decision) {
  const auto& resources = caller.state.directory.policies.resources;
  const auto resource = std::ranges::find(resources, decision.resource, &policy::Resource::id);
  ZT_ASSERT(resource != resources.end());  // evaluate found it there.
  const auto connectors = candidates(caller, resource->network, request.device.id, call.now);
  if (connectors.empty() || !connectors.front().is_online) {
    return fail(problem(
        503, fmt::format("no connector of the network of \"{}\" is online", resource->name)));
  }
  const auto live_count = context_.store.count_grants(caller.tenant, call.now.unix_time);
  if (!live_count) return fail(live_count.error(), "grant");
  if (*live_count >= context_.config.limits.live_grants_per_tenant_max) {
    return fail(problem(503, "too many grants are alive; try again later"));
  }
  const policy::Target& target = request.policy.target;
  const IssuedGrant row{.id = make_id<GrantIdTag>(context_.random),
                        .subject = request.device.subject,
                        .device = request.device.id,
                        .resource = resource->id,
                        .network = resource->network,
                        .host = to_text(target.host),
                        .protocol = target.protocol,
                        .port = target.port,
                        .client_certificate = request.device.certificate,
                        .decision = make_id<DecisionIdTag>(context_.random),
                        .issued = call.now.unix_time,
                        .expires = expiry_of(call, caller, request, decision)};
  if (unix_seconds(row.expires) <= unix_seconds(row.issued)) {
    return fail(problem(403, "denied: the right to this resource ends within this second"));
  }
  Json body = grant_json(row, *resource, connectors);
  body["grant"] = sign(row, caller.state, target.host, call.now).reveal();

  auto change = Change::begin(context_.access, {caller.tenant, row.device.text, call.now});
  auto done =
      change ? context_.store.insert_grant(caller.tenant, row) : std::unexpected(change.error());
  if (done)
    done = change->audit("grant.issue", row.id.text, wire::json_text(audit_detail(row, decision)));
  if (done) done = change->commit();
  if (!done) return fail(done.error(), "grant");
  context_.outbox.log(GrantDecided{caller.tenant, row.decision, true});
  return Answer{.status = 201, .body = wire::json_text(body)};
}

}  // namespace zt::controller
