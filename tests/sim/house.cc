// SPDX-License-Identifier: Apache-2.0
#include "house.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <utility>

#include "zt/base/bytes.h"
#include "zt/grant/bootstrap.h"
#include "zt/grant/enrolment_token.h"
#include "zt/grant/service_key.h"

namespace zt::sim {

namespace {

using wire::Json;

node::Link::Config link_config(const crypto::Identity& identity, const Authority& controller,
                               const Digest& pin, Random& random, bool is_accepting) {
  RouteId route;
  random.fill(route.bytes);
  return {.controller = {.controller = controller, .pin = pin, .version = "sim"},
          .relays = {},
          .endpoint = {.identity = &identity, .route = route, .is_accepting = is_accepting}};
}

Authority controller_authority() {
  return {.host = kControllerAt.ip, .port = kControllerAt.port};
}

node::ControllerNode::Config controller_config(const crypto::Identity& https, Random& random) {
  RouteId route;
  random.fill(route.bytes);
  return {.endpoint = {.identity = &https,
                       .route = route,
                       .is_accepting = true,
                       .is_client_certificate_required = false},
          .server = {.identity = &https, .alt_svc_port = kControllerAt.port},
          .engine = {.url = grant::to_controller_url(controller_authority()),
                     .pin = https.public_key_digest()}};
}

// enrolment_of turns a token into what a node starts with; its pin is the controller's.
std::pair<node::Enrolment, Digest> enrolment_of(const Secret& text, const char* name) {
  auto token = grant::EnrolmentToken::parse(text);
  REQUIRE(token);
  return {node::Enrolment{.secret = std::move(token->secret),
                          .kind = std::string(grant::to_text(token->kind)),
                          .name = name},
          token->controller_key};
}

}  // namespace

// --- ControllerActor

ControllerActor::ControllerActor(World& world, std::uint64_t seed) : world_(world), random_(seed) {
  auto store = store::SqliteStore::open({});
  REQUIRE(store);
  store_ = std::move(*store);
  auto made = controller::initialise(*store_, {.hosts = {kControllerAt.ip}}, random_,
                                     world.now().unix_time);
  REQUIRE(made);
  made_ = std::move(*made);
  node_.emplace(controller_config(made_->https, random_), *store_, random_);
  node_->start(world.now());
}

void ControllerActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_->handle(datagrams, now);
}
void ControllerActor::handle_timeout(const Now& now) {
  node_->handle_timeout(now);
}
void ControllerActor::settle(const Now& now) {
  while (node_->poll_effect(now)) {
  }
}
std::optional<quic::Transmit> ControllerActor::poll_transmit(std::span<std::byte> buffer,
                                                             const Now& now) {
  return node_->poll_transmit(buffer, now);
}
std::optional<Instant> ControllerActor::next_deadline() const {
  return node_->next_deadline();
}

Json ControllerActor::ask(std::string_view method, const std::string& path, const Json& body,
                          int status) {
  http::Request request{.method = std::string(method),
                        .scheme = "https",
                        .authority = controller_authority().to_text(),
                        .path = "/api/v1/admin/" + path};
  request.fields.add("authorization", "Bearer " + std::string(made_->api_key->reveal()), true);
  if (!body.is_null()) request.fields.add("content-type", "application/json");
  const auto answer =
      node_->ask(std::move(request), body.is_null() ? std::string() : body.dump(), world_.now());
  INFO(method << " " << path << ": " << answer.body);
  REQUIRE(answer.status == status);
  world_.wake(*this);
  return answer.body.empty() ? Json() : Json::parse(answer.body);
}

// --- RelayActor

RelayActor::RelayActor(World& world, std::uint64_t seed, Secret token)
    : world_(world),
      random_(seed),
      identity_(crypto::Identity::create("relay", world.now().unix_time)),
      node_({.link = link_config(identity_, controller_authority(),
                                 enrolment_of(token, "relay").second, random_, true)},
            enrolment_of(token, "relay").first, random_, *this) {
  node_.start(world.now());
}

void RelayActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_.handle(datagrams, now);
}
void RelayActor::handle_timeout(const Now& now) {
  node_.handle_timeout(now);
}
void RelayActor::settle(const Now& now) {
  while (const auto effect = node_.poll_effect(now)) {
    if (std::holds_alternative<node::RelayNode::Drained>(*effect)) is_drained = true;
  }
}
void RelayActor::drain() {
  node_.drain(world_.now());
  world_.wake(*this);
}
std::optional<quic::Transmit> RelayActor::poll_transmit(std::span<std::byte> buffer,
                                                        const Now& now) {
  return node_.poll_transmit(buffer, now);
}
std::optional<Instant> RelayActor::next_deadline() const {
  return node_.next_deadline();
}
void RelayActor::link_closed(const SocketAddress& link, const Now& now) {
  node_.link_closed(link, now);
}
void RelayActor::send(const SocketAddress& remote, std::span<const std::byte> bytes,
                      std::size_t segment_size, std::uint8_t ecn) {
  world_.send(*this, remote, bytes, segment_size, ecn);
}

// --- ConnectorActor

ConnectorActor::ConnectorActor(World& world, std::uint64_t seed, Secret token, const Place& place)
    : world_(world),
      place_(place),
      random_(seed),
      identity_(crypto::Identity::create("connector", world.now().unix_time)) {
  auto [enrolment, pin] = enrolment_of(token, "connector");
  pin_ = pin;
  start(std::move(enrolment));
}

void ConnectorActor::start(node::Credential credential) {
  node_ = std::make_unique<node::ConnectorNode>(
      node::ConnectorNode::Config{
          .link = link_config(identity_, controller_authority(), pin_, random_, true),
          .standing = standing_},
      std::move(credential), random_);
  tell_addresses();
  node_->restore_flows(disk, world_.now());
  node_->start(world_.now());
}

void ConnectorActor::move(const Place& place) {
  place_ = place;
  world_.move(*this, place);
  tell_addresses();
  world_.wake(*this);
}

// tell_addresses tells a node that starts or has moved what its system knows of its interfaces.
void ConnectorActor::tell_addresses() {
  node_->set_local(
      {.port = address().port,
       .is_v4 = true,
       .is_v6 = false,
       .addresses = {IpAddress::v4({127, 0, 0, 1}), IpAddress::v4({10, 20, 0, 2}), address().ip},
       .sources = {address().ip}},
      world_.now());
}

void ConnectorActor::crash() {
  world_.detach(*this);
  flows_.clear();
  node_.reset();
}

void ConnectorActor::drain() {
  node_->drain(world_.now());
  world_.wake(*this);
}

void ConnectorActor::restart() {
  REQUIRE(standing_);
  start(node::KnownIdentity{});
  world_.attach(*this, place_);
}

void ConnectorActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_->handle(datagrams, now);
}
void ConnectorActor::handle_timeout(const Now& now) {
  node_->handle_timeout(now);
}
void ConnectorActor::settle(const Now& now) {
  while (auto effect = node_->poll_effect(now)) carry_out(*effect, now);
}
std::optional<quic::Transmit> ConnectorActor::poll_transmit(std::span<std::byte> buffer,
                                                            const Now& now) {
  return node_->poll_transmit(buffer, now);
}
std::optional<Instant> ConnectorActor::next_deadline() const {
  return node_->next_deadline();
}

void ConnectorActor::link_opened(const SocketAddress& link, const SocketAddress& remote,
                                 const Now& now) {
  node_->link_opened(link, remote, now);
}
void ConnectorActor::link_closed(const SocketAddress& link, const Now& now) {
  node_->link_closed(link, "cut", now);
}

void ConnectorActor::carry_out(node::ConnectorNode::Effect& effect, const Now& now) {
  using Node = node::ConnectorNode;
  if (const auto* lookup = std::get_if<node::Lookup>(&effect)) {
    const auto found = names.find(lookup->name.text());
    node_->lookup_done(lookup->key, found == names.end() ? std::vector<IpAddress>() : found->second,
                       found == names.end(), now);
  } else if (const auto* wanted = std::get_if<Node::DialWanted>(&effect)) {
    const auto served = std::ranges::find_if(wanted->addresses, [&](const SocketAddress& address) {
      return services.contains(address);
    });
    if (served == wanted->addresses.end()) {
      node_->dialed(wanted->flow, std::unexpected(connector::DialError::refused), now);
    } else {
      flows_[wanted->flow].remote = *served;
      node_->dialed(wanted->flow, *served, now);
    }
  } else if (const auto* opened = std::get_if<Node::FlowOpened>(&effect)) {
    flows_[opened->flow].is_open = true;
    pump(opened->flow, now);
  } else if (const auto* dropped = std::get_if<Node::FlowDropped>(&effect)) {
    flows_.erase(dropped->flow);
  } else if (const auto* readable = std::get_if<Node::FlowReadable>(&effect)) {
    pump(readable->flow, now);
  } else if (const auto* writable = std::get_if<Node::FlowWritable>(&effect)) {
    pump(writable->flow, now);
  } else if (const auto* aborted = std::get_if<Node::FlowAborted>(&effect)) {
    if (flows_.erase(aborted->flow) == 0) return;
    node_->flow_ended(aborted->flow, 0, 0, connector::FlowEnd::client_reset, now);
  } else if (const auto* cut = std::get_if<Node::FlowCut>(&effect)) {
    if (flows_.erase(cut->flow) == 0) return;
    node_->flow_ended(cut->flow, 0, 0, connector::FlowEnd::cut, now);
  } else if (const auto* changed = std::get_if<Node::StandingChanged>(&effect)) {
    standing_ = changed->standing;
  } else if (const auto* link = std::get_if<node::TcpLinkWanted>(&effect)) {
    world_.open_link(*this, link->link, link->place.remotes);
  } else if (const auto* unwanted = std::get_if<node::TcpLinkUnwanted>(&effect)) {
    world_.close_link(*this, unwanted->link);
  } else if (const auto* keep = std::get_if<node::KeepFlows>(&effect)) {
    disk = keep->is_whole ? keep->text : disk + keep->text;
  } else if (std::holds_alternative<Node::Drained>(effect)) {
    is_drained = true;
  }
}

void ConnectorActor::pump(FlowKey key, const Now& now) {
  const auto found = flows_.find(key);
  if (found == flows_.end() || !found->second.is_open) return;
  Flow& flow = found->second;
  Service& service = services.at(flow.remote);
  for (;;) {
    const quic::Readable readable = node_->flows().readable(key);
    if (readable.bytes.empty() && (!readable.is_end || flow.is_client_ended)) break;
    flow.is_client_ended = readable.is_end;
    flow.bytes_up += readable.bytes.size();
    flow.unsent += service.on_bytes(as_text(readable.bytes), readable.is_end);
    node_->flows().consume(key, readable.bytes.size());
  }
  while (!flow.unsent.empty()) {
    const std::span<std::byte> space = node_->flows().writable(key);
    if (space.empty()) return;
    const std::size_t size = std::min(space.size(), flow.unsent.size());
    std::ranges::copy(as_bytes(std::string_view(flow.unsent).substr(0, size)), space.begin());
    node_->flows().commit(key, size);
    flow.unsent.erase(0, size);
    flow.bytes_down += size;
  }
  if (flow.is_client_ended && service.is_ended_with_client) {
    node_->flows().finish(key);
    const Flow ended = std::move(flow);
    flows_.erase(found);
    node_->flow_ended(key, ended.bytes_up, ended.bytes_down, connector::FlowEnd::finished, now);
  }
}

// --- ClientActor

namespace {

grant::ServiceKey parse_key(const std::string& key_file) {
  auto key = grant::ServiceKey::parse(Secret(std::string_view(key_file)));
  REQUIRE(key);
  return std::move(*key);
}

node::ServiceSignIn sign_in_of(const std::string& key_file) {
  grant::ServiceKey key = parse_key(key_file);
  return {.key = key.id,
          .secret = std::move(key.secret),
          .device_name = "laptop",
          .device_os = "linux"};
}

}  // namespace

ClientActor::ClientActor(World& world, std::uint64_t seed, const std::string& key_file,
                         const Place& place, path::RelayPolicy policy)
    : world_(world),
      place_(place),
      policy_(policy),
      random_(seed),
      identity_(crypto::Identity::create("client", world.now().unix_time)),
      key_file_(key_file) {
  start();
}

void ClientActor::start() {
  node::ClientNode::Config config{.link = link_config(identity_, controller_authority(),
                                                      parse_key(key_file_).controller_key, random_,
                                                      false)};
  config.link.paths.policy = policy_;
  node_ = std::make_unique<node::ClientNode>(config, sign_in_of(key_file_), random_);
  tell_addresses();
  node_->restore_flows(disk, world_.now());
  node_->start(world_.now());
}

void ClientActor::move(const Place& place) {
  place_ = place;
  world_.move(*this, place);
  tell_addresses();
  world_.wake(*this);
}

void ClientActor::tell_addresses() {
  std::vector<IpAddress> addresses{IpAddress::v4({127, 0, 0, 1}), address().ip};
  if (has_container) addresses.push_back(IpAddress::v4({172, 17, 0, 1}));
  node_->set_local({.port = address().port,
                    .is_v4 = true,
                    .is_v6 = false,
                    .addresses = std::move(addresses),
                    .sources = {address().ip}},
                   world_.now());
}

void ClientActor::crash() {
  world_.detach(*this);
  flows_.clear();
  has_view = false;
  node_.reset();
}

void ClientActor::restart() {
  start();
  world_.attach(*this, place_);
}

void ClientActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_->handle(datagrams, now);
}
void ClientActor::handle_timeout(const Now& now) {
  node_->handle_timeout(now);
}
void ClientActor::settle(const Now& now) {
  while (auto effect = node_->poll_effect(now)) carry_out(*effect, now);
}
std::optional<quic::Transmit> ClientActor::poll_transmit(std::span<std::byte> buffer,
                                                         const Now& now) {
  return node_->poll_transmit(buffer, now);
}
std::optional<Instant> ClientActor::next_deadline() const {
  return node_->next_deadline();
}

void ClientActor::link_opened(const SocketAddress& link, const SocketAddress& remote,
                              const Now& now) {
  node_->link_opened(link, remote, now);
}
void ClientActor::link_closed(const SocketAddress& link, const Now& now) {
  node_->link_closed(link, "cut", now);
}

ClientActor::FlowKey ClientActor::open(const std::string& target) {
  const auto authority = Authority::parse(target);
  REQUIRE(authority);
  const FlowKey key = node_->open_flow(*authority, Protocol::tcp, world_.now());
  flows_[key];
  world_.wake(*this);
  return key;
}

void ClientActor::send(FlowKey key, std::string_view bytes, bool end_after) {
  AppFlow& flow = flows_.at(key);
  flow.unsent += bytes;
  flow.wants_end = flow.wants_end || end_after;
  pump(key, world_.now());
  world_.wake(*this);
}

void ClientActor::carry_out(node::ClientNode::Effect& effect, const Now& now) {
  using Node = node::ClientNode;
  if (const auto* ready = std::get_if<Node::FlowReady>(&effect)) {
    flows_[ready->flow].is_ready = true;
    pump(ready->flow, now);
  } else if (const auto* denied = std::get_if<Node::FlowRefused>(&effect)) {
    flows_[denied->flow].refusal = denied->outcome;
    flows_[denied->flow].is_over = true;
  } else if (const auto* readable = std::get_if<Node::FlowReadable>(&effect)) {
    pump(readable->flow, now);
  } else if (const auto* writable = std::get_if<Node::FlowWritable>(&effect)) {
    pump(writable->flow, now);
  } else if (const auto* aborted = std::get_if<Node::FlowAborted>(&effect)) {
    end(aborted->flow, false, now);
  } else if (const auto* cut = std::get_if<Node::FlowCut>(&effect)) {
    end(cut->flow, false, now);
  } else if (std::holds_alternative<Node::ViewChanged>(effect)) {
    has_view = true;
  } else if (const auto* at_controller = std::get_if<node::Refused>(&effect)) {
    refused = *at_controller;
  } else if (const auto* link = std::get_if<node::TcpLinkWanted>(&effect)) {
    world_.open_link(*this, link->link, link->place.remotes);
  } else if (const auto* unwanted = std::get_if<node::TcpLinkUnwanted>(&effect)) {
    world_.close_link(*this, unwanted->link);
  } else if (const auto* keep = std::get_if<node::KeepFlows>(&effect)) {
    disk = keep->is_whole ? keep->text : disk + keep->text;
  }
}

void ClientActor::pump(FlowKey key, const Now& now) {
  AppFlow& flow = flows_.at(key);
  if (!flow.is_ready || flow.is_over) return;
  while (!flow.unsent.empty()) {
    const std::span<std::byte> space = node_->flows().writable(key);
    if (space.empty()) break;
    const std::size_t size = std::min(space.size(), flow.unsent.size());
    std::ranges::copy(as_bytes(std::string_view(flow.unsent).substr(0, size)), space.begin());
    node_->flows().commit(key, size);
    flow.unsent.erase(0, size);
  }
  if (flow.unsent.empty() && flow.wants_end && !flow.is_end_sent) {
    flow.is_end_sent = true;
    node_->flows().finish(key);
  }
  for (;;) {
    const quic::Readable readable = node_->flows().readable(key);
    if (readable.bytes.empty() && !readable.is_end) return;
    flow.received += as_text(readable.bytes);
    const bool is_end = readable.is_end;
    node_->flows().consume(key, readable.bytes.size());
    if (!is_end) continue;
    if (flow.is_end_sent) end(key, true, now);
    return;
  }
}

void ClientActor::end(FlowKey key, bool is_orderly, const Now& now) {
  AppFlow& flow = flows_.at(key);
  if (flow.is_over) return;
  flow.is_over = true;
  flow.is_orderly = is_orderly;
  node_->flow_ended(key, 0, flow.received.size(), is_orderly ? "finished" : "reset", now);
}

// --- House

Layout lay_out_behind(World& world, const std::optional<Nat::Config>& client,
                      const std::optional<Nat::Config>& connector) {
  Layout layout;
  if (client) layout.client = {.realm = world.add_nat(*client), .address = kClientInside};
  if (connector) {
    layout.connector = {.realm = world.add_nat(*connector), .address = kConnectorInside};
  }
  return layout;
}

std::function<Layout(World&)> lay_out_with(path::RelayPolicy policy) {
  return [policy](World&) { return Layout{.policy = policy}; };
}

House::House(std::uint64_t seed, const Link& link, const std::function<Layout(World&)>& lay_out)
    : world(seed) {
  world.set_default_link(link);
  world.on_wire = [this](const Hop& hop, std::span<const std::byte> bytes) {
    check_wire(hop, bytes);
  };
  const Layout layout = lay_out ? lay_out(world) : Layout{};
  controller = std::make_unique<ControllerActor>(world, seed + 1);
  world.attach(*controller, kControllerAt);
  network_id = controller->ask("POST", "networks", {{"name", "office"}}, 201).at("id");
  const auto resource = [&](const char* name, const char* address, const char* port) {
    return controller
        ->ask("POST", "resources",
              {{"name", name},
               {"network", network_id},
               {"address", address},
               {"tcp", {port}},
               {"udp", "none"}},
              201)
        .at("id")
        .get<std::string>();
  };
  db_id = resource("db", "db.internal", "5432");
  web_id = resource("web", "web.internal", "80");
  account_id = controller->ask("POST", "service-accounts", {{"name", "ci"}}, 201).at("id");
  const Json key =
      controller->ask("POST", "service-accounts/" + account_id + "/keys", Json::object(), 201);
  rule_id = controller
                ->ask("POST", "access-rules",
                      {{"name", "ci-db"}, {"subjects", {account_id}}, {"resources", {db_id}}}, 201)
                .at("id");

  relay = make_relay("relay", kRelayAt, seed + 2);
  connector = make_connector("connector", layout.connector, seed + 3);
  client = std::make_unique<ClientActor>(world, seed + 4, key.at("file").get<std::string>(),
                                         layout.client, layout.policy);
  world.attach(*client, client->place());
}

std::unique_ptr<RelayActor> House::make_relay(const std::string& name, const SocketAddress& address,
                                              std::uint64_t seed) {
  const Json token = controller->ask("POST", "relay-tokens",
                                     {{"name", name}, {"address", address.to_text()}}, 201);
  auto made =
      std::make_unique<RelayActor>(world, seed, Secret(token.at("token").get<std::string>()));
  world.attach(*made, address);
  return made;
}

RelayActor& House::add_relay(const std::string& name, const SocketAddress& address) {
  more_relays.push_back(make_relay(name, address, world.seed() + 100 + more_relays.size()));
  return *more_relays.back();
}

std::unique_ptr<ConnectorActor> House::make_connector(const std::string& name, const Place& place,
                                                      std::uint64_t seed) {
  const Json token = controller->ask("POST", "networks/" + network_id + "/connector-tokens",
                                     {{"name", name}}, 201);
  auto made = std::make_unique<ConnectorActor>(world, seed,
                                               Secret(token.at("token").get<std::string>()), place);
  made->names["db.internal"] = {kServiceIp};
  made->names["web.internal"] = {kServiceIp};
  made->services[{kServiceIp, 5432}] = {
      .on_bytes = [](std::string_view bytes, bool) { return std::string(bytes); }};
  world.attach(*made, place);
  return made;
}

ConnectorActor& House::add_connector(const std::string& name, const SocketAddress& address) {
  more_connectors.push_back(make_connector(name, {.realm = kPublic, .address = address},
                                           world.seed() + 200 + more_connectors.size()));
  return *more_connectors.back();
}

bool House::boot(Duration limit) {
  return world.run_until(
      [this] {
        return client->has_view &&
               client->node().status(world.now()).relays.size() >= legs_expected() &&
               is_up(*connector) && std::ranges::all_of(more_connectors, [this](const auto& more) {
                 return is_up(*more);
               });
      },
      limit);
}

bool House::exchange(client::FlowKey flow, std::string_view text, Duration limit) {
  const std::string expected = client->flow(flow).received + std::string(text);
  client->send(flow, text, false);
  return world.run_until([&] { return client->flow(flow).received == expected; }, limit);
}

client::FlowKey House::open_echo() {
  const auto flow = client->open("db.internal:5432");
  REQUIRE(exchange(flow, kCanary, std::chrono::seconds(10)));
  return flow;
}

std::string House::path_of(client::FlowKey flow) const {
  const auto path = client->node().path_of(flow);
  return path ? path->text : "";
}

SocketAddress House::remote_of(client::FlowKey flow) const {
  const auto path = client->node().path_of(flow);
  return path ? path->remote : SocketAddress{};
}

RelayActor& House::relay_of(client::FlowKey flow) {
  return remote_of(flow) == kSecondRelayAt ? *more_relays.at(0) : *relay;
}

ConnectorActor& House::busy_connector() {
  ConnectorActor& second = *more_connectors.at(0);
  return second.open_flow_count() > 0 ? second : *connector;
}

ConnectorActor& House::other_connector(const ConnectorActor& one) {
  return &one == connector.get() ? *more_connectors.at(0) : *connector;
}

long House::milliseconds_since(Instant start) const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(world.now().instant - start).count();
}

bool House::is_up(const ConnectorActor& actor) const {
  return actor.node().engine() != nullptr && actor.node().engine()->configuration_revision() > 0 &&
         actor.node().link().relays().bound_relays().size() >= legs_expected();
}

std::size_t House::legs_expected() const {
  return std::min(1 + more_relays.size(), node::RelayScout::Limits{}.nearest_max);
}

void House::check_wire(const Hop& hop, std::span<const std::byte> bytes) const {
  // Nothing on any wire is readable, be it public or private, least of all at the relay.
  INFO(hop.from.to_text() << " to " << hop.to.to_text() << "; " << world.replay());
  const bool shows_canary = as_text(bytes).find(kCanary) != std::string_view::npos;
  if (shows_canary) FAIL("a payload was readable on the wire");
}

}  // namespace zt::sim
