// SPDX-License-Identifier: Apache-2.0
#pragma once
// world.h: a controller's engine on a store, with nodes and administrators that talk to it.
//
// Theory of operation
//   Every request is answered at once, because the engine is synchronous. Watch streams are
//   collected by exchange; Held applies the lines of one as a node would, signatures checked.

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/initialise.h"
#include "store/sqlite_store.h"
#include "wire/json.h"
#include "zt/base/random.h"
#include "zt/base/rfc3339.h"
#include "zt/controller/engine.h"
#include "zt/grant/enrolment_token.h"
#include "zt/grant/grant.h"
#include "zt/grant/node_config.h"
#include "zt/grant/relay_token.h"
#include "zt/grant/service_key.h"

namespace zt::controller::test {

using json = wire::Json;
using std::chrono::seconds;

// Reply is a finished response, or the beginning of a stream.
struct Reply {
  int status = 0;
  http::Fields fields;
  std::string text;
  json body;
  bool is_end = true;
  http::ExchangeKey exchange{};
};

// As says who sends a request.
struct As {
  std::optional<Digest> certificate;
  std::string bearer;
  std::string address = "203.0.113.7:4433";
  std::string if_match;
  std::string content_type = "application/json";
};

inline Digest certificate_of(std::uint8_t number) {
  Digest digest;
  digest.bytes.fill(std::byte{number});
  return digest;
}

class World {
 public:
  explicit World(const store::SqliteOptions& options = {}, Config config = {}) : config_(config) {
    config_.url = "https://zt.example";
    config_.pin = certificate_of(250);
    open(options);
  }

  // open (re)starts the controller on its store.
  void open(const store::SqliteOptions& options) {
    engine.reset();
    store.reset();
    auto opened = store::SqliteStore::open(options);
    REQUIRE(opened.has_value());
    store = *std::move(opened);
    const InitialiseOptions initial{.hosts = {*parse_host("zt.example")}};
    auto initialised = initialise(*store, initial, random, now.unix_time);
    REQUIRE(initialised.has_value());
    tenant = initialised->tenant;
    if (initialised->api_key) api_key = initialised->api_key->reveal();
    restart();
  }

  // restart makes a new engine on the same store, as after a crash.
  void restart() {
    engine.emplace(*store, random, config_);
    streams.clear();
    ended.clear();
  }

  Reply send(std::string_view method, std::string_view path, const json& body, const As& as) {
    return send_text(method, path, body.is_null() ? std::string() : body.dump(), as);
  }

  Reply send_text(std::string_view method, std::string_view path, std::string body, const As& as) {
    http::RequestArrived arrived;
    arrived.exchange = http::ExchangeKey{++last_exchange_};
    arrived.request = {.method = std::string(method),
                       .scheme = "https",
                       .authority = "zt.example",
                       .path = std::string(path)};
    if (!body.empty()) arrived.request.fields.add("content-type", as.content_type);
    if (!as.bearer.empty()) arrived.request.fields.add("authorization", "Bearer " + as.bearer);
    if (!as.if_match.empty()) arrived.request.fields.add("if-match", as.if_match);
    arrived.body = std::move(body);
    arrived.peer.remote = *SocketAddress::parse(as.address);
    arrived.peer.certificate = as.certificate;
    arrived.peer.public_key = as.certificate;
    const http::ExchangeKey exchange = arrived.exchange;
    engine->handle(std::move(arrived), now);
    drain();
    REQUIRE(replies_.contains(exchange));
    Reply reply = std::move(replies_.at(exchange));
    replies_.erase(exchange);
    return reply;
  }

  // admin sends a request with the first API key.
  Reply admin(std::string_view method, std::string_view path, const json& body = nullptr) {
    return send(method, "/api/v1/admin/" + std::string(path), body, {.bearer = api_key});
  }

  // create makes an object and returns its id.
  std::string create(std::string_view kind, const json& body) {
    const Reply reply = admin("POST", kind, body);
    INFO(reply.text);
    REQUIRE(reply.status == 201);
    return reply.body.at("id");
  }

  Reply node(std::string_view method, std::string_view path, const json& body,
             const Digest& certificate) {
    return send(method, path, body, {.certificate = certificate});
  }

  // enrol_connector returns the new connector's id.
  std::string enrol_connector(const std::string& network, const Digest& certificate) {
    const Reply made = admin("POST", "networks/" + network + "/connector-tokens", json::object());
    REQUIRE(made.status == 201);
    return enrol(made.body.at("token"), "connector", certificate);
  }

  std::string enrol(const std::string& token_text, const std::string& kind,
                    const Digest& certificate) {
    const auto token = grant::EnrolmentToken::parse(Secret(token_text));
    REQUIRE(token.has_value());
    const Reply reply = node(
        "POST", "/api/v1/enrol",
        {{"secret", token->secret.reveal()}, {"kind", kind}, {"name", "node"}, {"version", "0.1"}},
        certificate);
    INFO(reply.text);
    REQUIRE(reply.status == 201);
    return reply.body.at("node");
  }

  // Signed-in device of a new key of `account`.
  struct SignedIn {
    std::string device;
    std::string key;
    std::string secret;
  };
  SignedIn sign_in(const std::string& account, const Digest& certificate) {
    const Reply made = admin("POST", "service-accounts/" + account + "/keys", json::object());
    REQUIRE(made.status == 201);
    const auto file = grant::ServiceKey::parse(Secret(made.body.at("file").get<std::string>()));
    REQUIRE(file.has_value());
    SignedIn result{.key = file->id.text, .secret = std::string(file->secret.reveal())};
    const Reply reply = sign_in_with(result.key, result.secret, certificate);
    INFO(reply.text);
    REQUIRE(reply.status == 201);
    result.device = reply.body.at("device");
    return result;
  }
  Reply sign_in_with(const std::string& key, const std::string& secret, const Digest& certificate) {
    return node("POST", "/api/v1/sessions",
                {{"key_id", key},
                 {"secret", secret},
                 {"device", {{"name", "laptop"}, {"os", "linux"}}},
                 {"version", "0.1"}},
                certificate);
  }

  Reply ask(const Digest& certificate, const std::string& host, int port,
            const std::string& protocol = "tcp") {
    return node("POST", "/api/v1/grants", {{"host", host}, {"port", port}, {"protocol", protocol}},
                certificate);
  }

  http::ExchangeKey watch(const Digest& certificate, std::optional<std::int64_t> held = {}) {
    std::string path = "/api/v1/node/watch";
    if (held) path += "?revision=" + std::to_string(*held);
    const Reply reply = node("GET", path, nullptr, certificate);
    INFO(reply.text);
    REQUIRE(reply.status == 200);
    REQUIRE(!reply.is_end);
    return reply.exchange;
  }

  void advance(Duration by) {
    const Instant end = now.instant + by;
    for (auto deadline = engine->next_deadline(); deadline && *deadline <= end;
         deadline = engine->next_deadline()) {
      move_to(std::max(*deadline, now.instant));
      engine->handle_timeout(now);
      drain();
    }
    move_to(end);
  }

  void move(http::ExchangeKey exchange, std::string_view address) {
    engine->handle(http::PeerMoved{exchange, SocketAddress::parse(address).value()}, now);
    drain();
  }

  void leave(http::ExchangeKey exchange) {
    engine->handle(http::ExchangeGone{exchange}, now);
    drain();
  }

  // lines takes what has arrived on a stream since the last call.
  std::vector<json> lines(http::ExchangeKey exchange) {
    std::vector<json> result;
    std::string text = std::exchange(streams[exchange], {});
    for (std::size_t start = 0; start < text.size();) {
      const std::size_t end = text.find('\n', start);
      REQUIRE(end != std::string::npos);
      result.push_back(json::parse(text.substr(start, end - start)));
      start = end + 1;
    }
    return result;
  }

  std::vector<LogEvent> log;
  std::map<http::ExchangeKey, std::string> streams;
  std::set<http::ExchangeKey> ended;
  std::unique_ptr<store::SqliteStore> store;
  std::optional<Engine> engine;
  SeededRandom random{1};
  Now now{.instant = Instant(std::chrono::hours(1)),
          .unix_time = *parse_rfc3339("2026-11-22T00:00:00Z")};
  TenantId tenant;
  std::string api_key;

 private:
  void move_to(Instant instant) {
    now.unix_time += std::chrono::floor<std::chrono::milliseconds>(instant - now.instant);
    now.instant = instant;
  }

  void drain() {
    while (auto output = engine->poll_output()) {
      if (auto* respond = std::get_if<http::Respond>(&*output)) {
        Reply reply{.status = respond->response.status,
                    .fields = respond->response.fields,
                    .text = respond->body,
                    .is_end = respond->is_end,
                    .exchange = respond->exchange};
        if (reply.is_end) reply.body = json::parse(reply.text, nullptr, false);
        if (!reply.is_end) streams[respond->exchange] = respond->body;
        replies_.insert_or_assign(respond->exchange, std::move(reply));
      } else if (auto* append = std::get_if<http::Append>(&*output)) {
        REQUIRE(!ended.contains(append->exchange));
        streams[append->exchange] += append->chunk;
      } else if (auto* finish = std::get_if<http::Finish>(&*output)) {
        ended.insert(finish->exchange);
      } else {
        log.push_back(std::get<LogEvent>(*output));
      }
    }
  }

  Config config_;
  std::uint64_t last_exchange_ = 0;
  std::map<http::ExchangeKey, Reply> replies_;
};

// Held is what a node holds that follows a watch stream.
class Held {
 public:
  Held(TenantId tenant, std::string node) : tenant_(std::move(tenant)), node_{std::move(node)} {}

  void follow(World& world, http::ExchangeKey exchange) {
    for (const json& line : world.lines(exchange)) apply(line, world.now);
  }

  void apply(const json& line, const Now& now) {
    const std::string type = line.at("type");
    if (type == "snapshot" || type == "jwks") {
      const auto parsed = grant::KeySet::parse(line.at("jwks").dump());
      REQUIRE(parsed.has_value());
      keys = *parsed;
    }
    if (type == "snapshot" || type == "relays") relays = line.at("relays");
    if (type == "snapshot" || type == "relay_token") {
      const auto token = grant::verify(line.at("relay_token").get<std::string>(), {{tenant_, keys}},
                                       {.node_certificate = certificate, .now = now.unix_time});
      CHECK(token.has_value());
      route = line.at("route");
    }
    if (type == "snapshot" && line.contains("revoked")) {
      for (const json& grant : line.at("revoked")) revoked.insert(grant.get<std::string>());
    }
    if (type == "revoke") {
      for (const json& grant : line.at("grants")) revoked.insert(grant.get<std::string>());
    }
    if (type == "snapshot" || type == "delta") {
      const auto config = grant::verify(line.at("config").get<std::string>(), keys,
                                        {.tenant = tenant_, .node = node_, .now = now.unix_time});
      REQUIRE(config.has_value());
      CHECK(config->revision == line.at("revision").get<std::uint64_t>());
      CHECK((type == "snapshot") == (config->kind == grant::NodeConfig::Kind::snapshot));
      CHECK(grant::apply(table, *config) == grant::Applied::changed);
    }
    if (type == "observed") {
      observed.push_back(line.at("address"));
    } else {
      types.push_back(type);
    }
  }

  grant::ResourceTable table;
  grant::KeySet keys;
  json relays;
  std::string route;
  Digest certificate;
  std::set<std::string> revoked;
  std::vector<std::string> types;     // Of what changes the node's view.
  std::vector<std::string> observed;  // Where it was told that it is.

 private:
  TenantId tenant_;
  grant::NodeId node_;
};

// Door is the smallest tenant in which a grant can be had.
struct Door {
  explicit Door(World& world) {
    network = world.create("networks", {{"name", "office"}});
    connector = world.enrol_connector(network, kConnector);
    resource = world.create("resources", {{"name", "database"},
                                          {"network", network},
                                          {"address", "db.internal"},
                                          {"tcp", {"5432"}}});
    account = world.create("service-accounts", {{"name", "ci"}});
    signed_in = world.sign_in(account, kClient);
    group = world.create("groups", {{"name", "builders"}});
    REQUIRE(world.admin("PUT", "groups/" + group + "/members/" + account).status == 204);
    rule = world.create("access-rules", {{"name", "builders reach the database"},
                                         {"subjects", {group}},
                                         {"resources", {resource}}});
  }

  const Digest kConnector = certificate_of(1);
  const Digest kClient = certificate_of(2);
  std::string network;
  std::string connector;
  std::string resource;
  std::string account;
  World::SignedIn signed_in;
  std::string group;
  std::string rule;
};

}  // namespace zt::controller::test
