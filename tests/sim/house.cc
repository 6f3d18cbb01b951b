// SPDX-License-Identifier: Apache-2.0
#include "house.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <exception>
#include <utility>

#include "node/tcp_links.h"
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
  start();
}

void ControllerActor::start() {
  node_.emplace(controller_config(made_->https, random_), *store_, random_);
  node_->start(world_.now_of(*this));
}

void ControllerActor::crash() {
  world_.crash(*this);
  node_.reset();
}

void ControllerActor::restart() {
  start();
  world_.attach(*this, kControllerAt);
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
  const auto answer = node_->ask(std::move(request), body.is_null() ? std::string() : body.dump(),
                                 world_.now_of(*this));
  INFO(method << " " << path << ": " << answer.body);
  REQUIRE(answer.status == status);
  if (method != "GET" && on_changed) on_changed();
  world_.wake(*this);
  return answer.body.empty() ? Json() : Json::parse(answer.body);
}

// --- RelayActor

RelayActor::RelayActor(World& world, std::uint64_t seed, Secret token, const SocketAddress& address)
    : world_(world),
      address_(address),
      random_(seed),
      identity_(crypto::Identity::create("relay", world.now().unix_time)) {
  auto [enrolment, pin] = enrolment_of(token, "relay");
  pin_ = pin;
  start(std::move(enrolment));
}

void RelayActor::start(node::Credential credential) {
  node::DatagramSink& sink = *this;
  node_.emplace(node::RelayNode::Config{.link = link_config(identity_, controller_authority(), pin_,
                                                            random_, true),
                                        .standing = standing_},
                std::move(credential), random_, sink);
  node_->start(world_.now_of(*this));
}

void RelayActor::crash() {
  world_.crash(*this);
  node_.reset();
}

void RelayActor::restart() {
  REQUIRE(standing_);
  start(node::KnownIdentity{});
  world_.attach(*this, address_);
}

void RelayActor::enrol(Secret token) {
  standing_.reset();
  identity_ = crypto::Identity::create("relay", world_.now_of(*this).unix_time);
  start(enrolment_of(token, "relay").first);
  world_.attach(*this, address_);
}

void RelayActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_->handle(datagrams, now);
}
void RelayActor::handle_timeout(const Now& now) {
  node_->handle_timeout(now);
}
void RelayActor::settle(const Now& now) {
  while (const auto effect = node_->poll_effect(now)) {
    if (std::holds_alternative<node::RelayNode::Drained>(*effect)) is_drained = true;
    if (const auto* changed = std::get_if<node::RelayNode::StandingChanged>(&*effect)) {
      standing_ = changed->standing;
    }
  }
}
void RelayActor::drain() {
  node_->drain(world_.now_of(*this));
  world_.wake(*this);
}
std::optional<quic::Transmit> RelayActor::poll_transmit(std::span<std::byte> buffer,
                                                        const Now& now) {
  return node_->poll_transmit(buffer, now);
}
std::optional<Instant> RelayActor::next_deadline() const {
  return node_->next_deadline();
}
void RelayActor::link_closed(const SocketAddress& link, const Now& now) {
  node_->link_closed(link, now);
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
          .engine = limits,
          .standing = standing_},
      std::move(credential), random_);
  tell_addresses();
  node_->restore_flows(disk, world_.now_of(*this));
  node_->start(world_.now_of(*this));
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
      world_.now_of(*this));
}

void ConnectorActor::crash() {
  world_.crash(*this);
  flows_.clear();
  node_.reset();
}

void ConnectorActor::drain() {
  node_->drain(world_.now_of(*this));
  world_.wake(*this);
}

void ConnectorActor::restart() {
  REQUIRE(standing_);
  start(node::KnownIdentity{});
  world_.attach(*this, place_);
}

void ConnectorActor::enrol(Secret token) {
  disk.clear();
  standing_.reset();
  identity_ = crypto::Identity::create("connector", world_.now_of(*this).unix_time);
  start(enrolment_of(token, "connector").first);
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
  move_datagrams(now);
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
    dial(*wanted, now);
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

void ConnectorActor::dial(const node::ConnectorNode::DialWanted& wanted, const Now& now) {
  const auto served = std::ranges::find_if(wanted.addresses, [&](const SocketAddress& address) {
    return wanted.protocol == Protocol::udp ? datagram_services.contains(address)
                                            : services.contains(address);
  });
  if (served == wanted.addresses.end()) {
    node_->dialed(wanted.flow, std::unexpected(connector::DialError::refused), now);
    return;
  }
  Flow& flow = flows_[wanted.flow];
  flow.remote = *served;
  flow.protocol = wanted.protocol;
  node_->dialed(wanted.flow, *served, now);
}

void ConnectorActor::move_datagrams(const Now& now) {
  while (const auto datagram = node_->poll_datagram(now)) {
    const auto found = flows_.find(datagram->flow);
    if (found == flows_.end()) continue;
    Flow& flow = found->second;
    REQUIRE(flow.protocol == Protocol::udp);
    if (on_bytes) on_bytes({flow.protocol, flow.remote.port});
    flow.bytes_up += datagram->payload.size();
    const auto said = datagram_services.at(flow.remote)(as_text(datagram->payload));
    if (said) answer(datagram->flow, *said, now);
  }
}

// answer sends a datagram of the resource. What does not fit is dropped, and nobody is told.
void ConnectorActor::answer(FlowKey key, std::string_view datagram, const Now& now) {
  Flow& flow = flows_.at(key);
  if (on_bytes) on_bytes({flow.protocol, flow.remote.port});
  flow.bytes_down += datagram.size();
  (void)node_->send_datagram(key, as_bytes(datagram), now);
}

void ConnectorActor::push(const SocketAddress& resource, std::string_view datagram) {
  for (const auto& [key, flow] : flows_) {
    if (!flow.is_open || flow.protocol != Protocol::udp || flow.remote != resource) continue;
    answer(key, datagram, world_.now_of(*this));
  }
  world_.wake(*this);
}

void ConnectorActor::pump(FlowKey key, const Now& now) {
  const auto found = flows_.find(key);
  if (found == flows_.end() || !found->second.is_open) return;
  Flow& flow = found->second;
  if (flow.protocol == Protocol::udp) return;
  const Door door{flow.protocol, flow.remote.port};
  Service& service = services.at(flow.remote);
  for (;;) {
    const quic::Readable readable = node_->flows().readable(key);
    if (readable.bytes.empty() && (!readable.is_end || flow.is_client_ended)) break;
    flow.is_client_ended = readable.is_end;
    if (!readable.bytes.empty() && on_bytes) on_bytes(door);
    flow.bytes_up += readable.bytes.size();
    flow.unsent += service.on_bytes(as_text(readable.bytes), readable.is_end);
    node_->flows().consume(key, readable.bytes.size());
  }
  while (!flow.unsent.empty()) {
    const std::span<std::byte> space = node_->flows().writable(key);
    if (space.empty()) return;
    const std::size_t size = std::min(space.size(), flow.unsent.size());
    if (on_bytes) on_bytes(door);
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
                         const Place& place, Paths policy)
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
  node_->restore_flows(disk, world_.now_of(*this));
  node_->start(world_.now_of(*this));
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
                   world_.now_of(*this));
}

void ClientActor::leave() {
  while (node_->leave(world_.now_of(*this))) world_.wake(*this);
}

void ClientActor::crash() {
  world_.crash(*this);
  flows_.clear();
  has_view = false;
  node_.reset();
}

void ClientActor::restart() {
  start();
  world_.attach(*this, place_);
}

void ClientActor::forget() {
  disk.clear();
  identity_ = crypto::Identity::create("client", world_.now_of(*this).unix_time);
}

void ClientActor::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  node_->handle(datagrams, now);
}
void ClientActor::handle_timeout(const Now& now) {
  node_->handle_timeout(now);
}
void ClientActor::settle(const Now& now) {
  while (auto effect = node_->poll_effect(now)) carry_out(*effect, now);
  while (const auto datagram = node_->poll_datagram()) {
    AppFlow& flow = flows_.at(datagram->flow);
    REQUIRE(flow.protocol == Protocol::udp);
    if (!flow.is_over) flow.datagrams.emplace_back(as_text(datagram->payload));
  }
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

ClientActor::FlowKey ClientActor::open(const std::string& target, Protocol protocol) {
  const auto authority = Authority::parse(target);
  REQUIRE(authority);
  const FlowKey key = node_->open_flow(*authority, protocol, world_.now_of(*this));
  flows_[key].protocol = protocol;
  world_.wake(*this);
  return key;
}

void ClientActor::send(FlowKey key, std::string_view bytes, bool end_after) {
  AppFlow& flow = flows_.at(key);
  flow.unsent += bytes;
  flow.wants_end = flow.wants_end || end_after;
  pump(key, world_.now_of(*this));
  world_.wake(*this);
}

void ClientActor::send_datagram(FlowKey key, std::string_view datagram) {
  (void)node_->send_datagram(key, as_bytes(datagram), world_.now_of(*this));
  world_.wake(*this);
}

void ClientActor::close(FlowKey key) {
  end(key, false, world_.now_of(*this));
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
  if (!flow.is_ready || flow.is_over || flow.protocol == Protocol::udp) return;
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

std::function<Layout(World&)> lay_out_with(Paths policy) {
  return [policy](World&) { return Layout{.policy = policy}; };
}

House::House(std::uint64_t seed, const Link& link, const std::function<Layout(World&)>& lay_out)
    : world(seed) {
  world.set_default_link(link);
  watch();
  const Layout layout = lay_out ? lay_out(world) : Layout{};
  controller = std::make_unique<ControllerActor>(world, seed + 1);
  controller->on_changed = [this] { read_access(); };
  world.attach(*controller, kControllerAt);
  network_id = controller->ask("POST", "networks", {{"name", "office"}}, 201).at("id");
  const auto resource = [&](const char* name, const char* address, const char* port,
                            const Json& udp) {
    return controller
        ->ask("POST", "resources",
              {{"name", name},
               {"network", network_id},
               {"address", address},
               {"tcp", {port}},
               {"udp", udp}},
              201)
        .at("id")
        .get<std::string>();
  };
  db_id = resource("db", "db.internal", "5432", Json::array({"5432"}));
  web_id = resource("web", "web.internal", "80", "none");
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
  traffic_.allow(address);
  auto made = std::make_unique<RelayActor>(world, seed, relay_token(name, address), address);
  world.attach(*made, address);
  return made;
}

Secret House::relay_token(const std::string& name, const SocketAddress& address) {
  const Json token = controller->ask("POST", "relay-tokens",
                                     {{"name", name}, {"address", address.to_text()}}, 201);
  return Secret(token.at("token").get<std::string>());
}

RelayActor& House::add_relay(const std::string& name, const SocketAddress& address) {
  more_relays.push_back(make_relay(name, address, world.seed() + 100 + more_relays.size()));
  return *more_relays.back();
}

std::unique_ptr<ConnectorActor> House::make_connector(const std::string& name, const Place& place,
                                                      std::uint64_t seed) {
  auto made = std::make_unique<ConnectorActor>(world, seed, connector_token(name), place);
  made->names["db.internal"] = {kServiceIp};
  made->names["web.internal"] = {kServiceIp};
  made->services[{kServiceIp, 5432}] = {
      .on_bytes = [](std::string_view bytes, bool) { return std::string(bytes); }};
  made->datagram_services[{kServiceIp, 5432}] = [](std::string_view datagram) {
    return std::string(datagram);
  };
  made->on_bytes = [this, actor = made.get()](const Door& door) { check_passed(*actor, door); };
  world.attach(*made, place);
  return made;
}

Secret House::connector_token(const std::string& name) {
  const Json token = controller->ask("POST", "networks/" + network_id + "/connector-tokens",
                                     {{"name", name}}, 201);
  return Secret(token.at("token").get<std::string>());
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

bool House::call(client::FlowKey flow, std::string_view text, Duration limit) {
  const AppFlow& state = client->flow(flow);
  const auto has_come = [&] {
    return std::ranges::find(state.datagrams, text) != state.datagrams.end();
  };
  const Instant end = world.now().instant + limit;
  while (!has_come() && world.now().instant < end) {
    client->send_datagram(flow, text);
    world.run_until(has_come,
                    std::min<Duration>(std::chrono::milliseconds(100), end - world.now().instant));
  }
  return has_come();
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

// --- Checkers

// kMessageSlack is what a node may take beside the network: none of it, but for pacing.
constexpr Duration kMessageSlack = std::chrono::milliseconds(10);

void House::watch() {
  on_violation = [this](const std::string& what) {
    INFO("replay: " << world.replay());
    if (!std::exchange(has_failed_, true)) FAIL_CHECK(what);
  };
  traffic_.allow(kControllerAt);
  world.on_sent = [this](const Actor& from, const SocketAddress& to,
                         std::span<const std::byte> bytes) { check_sent(from, to, bytes); };
  world.on_delivered = [this](const Actor& to, const World::Delivery& delivery) {
    check_delivered(to, delivery);
  };
  world.on_crashed = [this](const Actor& actor) {
    traffic_.forget(number_of(actor));
    // Whoever had a session with the controller takes it for alive until it is idle.
    if (&actor == controller.get()) access_.note_trouble(world.now().instant);
    std::erase_if(reached_, [&](const auto& entry) { return std::get<0>(entry.first) == &actor; });
  };
  world.on_lost = [this](const Hop& hop) {
    if (hop.from.ip == kControllerAt.ip || hop.to.ip == kControllerAt.ip) {
      access_.note_trouble(world.now().instant);
    }
  };
}

namespace {

// name_of is for people who read of a violation; empty: it is none of the house's nodes.
std::string name_of(const House& house, const Actor& actor) {
  if (&actor == house.controller.get()) return "the controller";
  if (&actor == house.client.get()) return "the client";
  for (const ConnectorActor* each : house.connectors()) {
    if (&actor == each) return "the connector at " + each->address().to_text();
  }
  const auto is_it = [&](const std::unique_ptr<RelayActor>& each) { return each.get() == &actor; };
  const bool is_relay = is_it(house.relay) || std::ranges::any_of(house.more_relays, is_it);
  return is_relay ? "a relay" : "";
}

// is_relay_of tells whether the controller calls a relay what is at `address`.
bool is_relay_of(const House& house, const SocketAddress& address) {
  const auto rows = house.controller->store().relays().list(house.controller->tenant(), {});
  return rows &&
         std::ranges::find(*rows, address.to_text(), &controller::Relay::address) != rows->end();
}

}  // namespace

void House::report(const Violation& violation) {
  if (violation) on_violation(*violation);
}

ActorNumber House::number_of(const Actor& actor) {
  const ActorNumber next{static_cast<std::uint32_t>(numbers_.size())};
  return numbers_.try_emplace(&actor, next).first->second;
}

std::vector<ConnectorActor*> House::connectors() const {
  std::vector<ConnectorActor*> all;
  if (connector) all.push_back(connector.get());
  for (const auto& more : more_connectors) all.push_back(more.get());
  return all;
}

std::vector<RelayActor*> House::relays() const {
  std::vector<RelayActor*> all;
  if (relay) all.push_back(relay.get());
  for (const auto& more : more_relays) all.push_back(more.get());
  return all;
}

// Nothing on any wire is readable, be it public or private, least of all at the relay.
void House::check_sent(const Actor& from, const SocketAddress& to,
                       std::span<const std::byte> bytes) {
  if (as_text(bytes).find(kCanary) != std::string_view::npos) {
    on_violation("a payload was readable on the wire to " + to.to_text());
  }
  if (node::is_link_address(to.ip)) return;  // TCP has proved who is there.
  const Violation broken = traffic_.send(number_of(from), to, bytes, world.now().instant);
  if (!broken || is_relay_of(*this, to)) return;
  const std::string name = name_of(*this, from);
  if (!name.empty()) report(name + ": " + *broken);
}

// Whoever sends to an address after it has heard us there has proved that the address is its own.
void House::check_delivered(const Actor& to, const World::Delivery& delivery) {
  bool is_answer = false;
  if (delivery.sender != nullptr) {
    const auto reached = reached_.find({&to, delivery.remote, delivery.sender});
    is_answer = reached != reached_.end() && reached->second <= delivery.sent;
    reached_.try_emplace({delivery.sender, delivery.addressed, &to}, world.event_count());
  }
  traffic_.received(number_of(to), delivery.remote, delivery.bytes, is_answer);
  if (world.now().instant - limits_checked_ >= std::chrono::seconds(1)) check_limits();
}

void House::check_passed(const ConnectorActor& actor, const Door& door) {
  const Instant now = world.now().instant;
  if (now - access_read_ >= std::chrono::seconds(1)) read_access();
  note_clocks();
  const auto judge = [&] { return access_.pass(number_of(actor), door, clock_lags_[&actor], now); };
  if (!judge()) return;
  read_access();  // The grant may be younger than what we know.
  report(judge());
}

// read_access reads what the controller's store holds, and who hears of it at once.
void House::read_access() {
  const Now now = world.now_of(*controller);
  access_read_ = now.instant;
  AccessChecker::Reach reach{.connectors = {},
                             .one_message = world.one_way_delay_max() + kMessageSlack};
  for (const ConnectorActor* each : connectors()) {
    if (each->is_running() && world.is_attached(*each) && world.is_attached(*controller) &&
        each->node().link().controller().is_up()) {
      reach.connectors.insert(number_of(*each));
    }
  }
  const auto held = controller->store().grants(controller->tenant(), UnixTime{});
  REQUIRE(held);
  std::vector<AccessChecker::Grant> grants;
  for (const controller::IssuedGrant& grant : *held) {
    grants.push_back({.id = grant.id,
                      .door = {grant.protocol, grant.port},
                      .expires = now.instant + (grant.expires - now.unix_time),
                      .is_revoked = grant.is_revoked});
  }
  access_.note_grants(grants, reach, now.instant);
  access_.note_policy(allowed_doors(), reach, now.instant);
}

// allowed_doors judges by the rules as they are written down, without the policy engine.
std::set<Door> House::allowed_doors() {
  controller::Store& store = controller->store();
  const TenantId& tenant = controller->tenant();
  const auto resources = store.resources().list(tenant, {});
  const auto rules = store.access_rules().list(tenant, {});
  const auto devices = store.devices().list(tenant, {});
  REQUIRE((resources && rules && devices));
  std::set<Door> doors;
  const auto account = store.service_accounts().find(tenant, {account_id});
  if (!account || !account->is_enabled) return doors;
  if (!devices->empty() && std::ranges::none_of(*devices, &controller::Device::is_enabled)) {
    return doors;
  }
  for (const controller::Resource& resource : *resources) {
    if (!resource.is_enabled) continue;
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
      for (const PortRange& range : protocol == Protocol::tcp ? resource.tcp : resource.udp) {
        const Door door{protocol, range.first};
        if (is_allowed(resource, door, *rules)) doors.insert(door);
      }
    }
  }
  return doors;
}

bool House::is_allowed(const controller::Resource& resource, const Door& door,
                       const std::vector<controller::AccessRule>& rules) {
  bool is_allowed = false;
  const UnixTime now = world.now_of(*controller).unix_time;
  const auto names = [](const std::vector<std::string>& list, std::string_view id,
                        std::string_view all) {
    return std::ranges::find(list, id) != list.end() || std::ranges::find(list, all) != list.end();
  };
  for (const controller::AccessRule& rule : rules) {
    const bool is_over = rule.valid_until && *rule.valid_until <= now;
    const bool is_other_protocol =
        !rule.protocols.empty() &&
        std::ranges::find(rule.protocols, door.protocol) == rule.protocols.end();
    if (!rule.is_enabled || is_over || is_other_protocol ||
        !names(rule.subjects, account_id, controller::kEveryone) ||
        !names(rule.resources, resource.id.text, controller::kEverything)) {
      continue;
    }
    if (rule.effect == controller::Effect::deny) return false;
    is_allowed = true;
  }
  return is_allowed;
}

void House::note_clocks() {
  for (const ConnectorActor* each : connectors()) {
    const Duration lag = world.clock_offset(*controller) - world.clock_offset(*each);
    clock_lags_[each] = std::max(clock_lags_[each], lag);
  }
}

void House::check_limits() {
  limits_checked_ = world.now().instant;
  note_clocks();
  for (const RelayActor* each : relays()) {
    if (!each->is_running()) continue;
    report(LimitChecker::within("bindings of a relay", each->node().engine().binding_count(),
                                relay::Engine::Limits{}.bindings_max));
    report(LimitChecker::within("connections of a relay",
                                each->node().link().endpoint().connection_count(),
                                quic::Endpoint::Limits{}.connections_max));
  }
  for (const ConnectorActor* each : connectors()) {
    if (each->is_running()) check_limits_of(*each);
  }
  if (!client || !client->is_running()) return;
  const node::Link& link = client->node().link();
  report(LimitChecker::within("connections of a client", link.endpoint().connection_count(),
                              quic::Endpoint::Limits{}.connections_max));
  report(LimitChecker::within("path finders of a client", link.paths().finder_count(),
                              link.endpoint().connection_count()));
}

namespace {

std::size_t flow_count_of(const connector::Engine::Statistics& statistics) {
  return statistics.flows_open + statistics.flows_held + statistics.flows_pending +
         statistics.flows_cut;
}

}  // namespace

void House::check_limits_of(const ConnectorActor& actor) {
  const node::Link& link = actor.node().link();
  const std::size_t connections = link.endpoint().connection_count();
  report(LimitChecker::within("connections of a connector", connections,
                              quic::Endpoint::Limits{}.connections_max));
  report(LimitChecker::within("path finders of a connector", link.paths().finder_count(),
                              connections));
  if (actor.node().engine() == nullptr) return;
  const connector::Engine::Statistics statistics = actor.node().engine()->statistics();
  constexpr connector::Engine::Limits kLimits;
  report(LimitChecker::within("peers of a connector", statistics.peers,
                              std::min(kLimits.peers_max, connections)));
  report(
      LimitChecker::within("flows of a connector", flow_count_of(statistics), kLimits.flows_max));
  report(LimitChecker::within("flows of a connector that resolve or dial", statistics.flows_pending,
                              kLimits.pending_max));
  report(LimitChecker::within("revocations that a connector remembers", statistics.grants_revoked,
                              kLimits.revoked_max));
  report(LimitChecker::within("sockets of a connector", actor.open_flow_count(),
                              flow_count_of(statistics)));
}

House::~House() {
  world.on_wire = nullptr;  // Of the test, which is over.
  if (std::uncaught_exceptions() == 0) check_nothing_is_left();
}

// check_nothing_is_left ends the client in order, and then the connectors, as kill -9 does.
void House::check_nothing_is_left() {
  constexpr Duration kForgotten = std::chrono::minutes(2);  // Idle timeouts, and what follows them.
  for (ConnectorActor* each : connectors()) {
    for (auto& [address, service] : each->services) {
      service.on_bytes = [](std::string_view, bool) { return std::string(); };
    }
    for (auto& [address, service] : each->datagram_services) {
      service = [](std::string_view) { return std::nullopt; };
    }
  }
  if (client && client->is_running()) {
    if (world.is_attached(*client)) client->leave();
    client->crash();
  }
  world.run_for(kForgotten);
  const bool is_client_missed = std::ranges::any_of(connectors(), [](const ConnectorActor* each) {
    return each->is_running() && each->node().engine() != nullptr &&
           each->node().engine()->statistics().peers > 0;
  });
  // Who has not heard the client leave takes it to be asleep: until its flows are cut, and then
  // until the connection is idle.
  if (is_client_missed) world.run_for(2 * node::kPeerIdleTimeout);
  for (ConnectorActor* each : connectors()) {
    if (!each->is_running() || !world.is_attached(*each)) continue;
    if (each->node().engine() != nullptr) {
      const connector::Engine::Statistics statistics = each->node().engine()->statistics();
      report(LimitChecker::within("peers that are left", statistics.peers, 0));
      report(LimitChecker::within("flows that are left",
                                  flow_count_of(statistics) + each->open_flow_count(), 0));
    }
    report(LimitChecker::within("path finders that are left",
                                each->node().link().paths().finder_count(), 0));
    each->crash();
  }
  world.run_for(kForgotten);
  for (const RelayActor* each : relays()) {
    if (!each->is_running() || !world.is_attached(*each)) continue;
    report(
        LimitChecker::within("bindings that are left", each->node().engine().binding_count(), 0));
  }
}

}  // namespace zt::sim
