// SPDX-License-Identifier: Apache-2.0
// The controller answers every request once, whatever is in it, and forgets nothing that it knows.
//
// The input is a first byte that says who asks (1: the API key, 2: the connector's certificate, 4:
// the device's), then "METHOD path\nbody".

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "controller/initialise.h"
#include "store/sqlite_store.h"
#include "zt/base/assert.h"
#include "zt/base/random.h"
#include "zt/controller/engine.h"

namespace {

using zt::controller::Engine;

// World is a controller with a connector and a device.
struct World {
  World() {
    auto opened = zt::store::SqliteStore::open({});
    ZT_ASSERT(opened.has_value());
    store = *std::move(opened);
    auto made = zt::controller::initialise(*store, {.hosts = {*zt::parse_host("zt.example")}},
                                           random, now.unix_time);
    ZT_ASSERT(made.has_value() && made->api_key.has_value());
    api_key = std::string(made->api_key->reveal());
    tenant = made->tenant;
    const zt::controller::Network network{.id = {"net_00000000000000000000000000"}, .name = "n"};
    ZT_ASSERT(store->networks().insert(tenant, network).has_value());
    zt::controller::Connector connector{
        .id = {"con_00000000000000000000000000"}, .network = network.id, .name = "c"};
    connector.certificate.bytes.fill(std::byte{2});
    ZT_ASSERT(store->connectors().insert(tenant, connector).has_value());
    const zt::controller::ServiceAccount account{.id = {"svc_00000000000000000000000000"},
                                                 .name = "s"};
    ZT_ASSERT(store->service_accounts().insert(tenant, account).has_value());
    const zt::controller::ServiceAccountKey key{.id = {"key_00000000000000000000000000"},
                                                .account = account.id};
    ZT_ASSERT(store->service_account_keys().insert(tenant, key).has_value());
    zt::controller::Device device{
        .id = {"dev_00000000000000000000000000"}, .subject = {account.id.text}, .key = key.id};
    device.certificate.bytes.fill(std::byte{4});
    ZT_ASSERT(store->devices().insert(tenant, device).has_value());
    zt::controller::Config config{.url = "https://zt.example"};
    config.limits.refusals_per_minute_max = 1'000'000'000;
    config.limits.grants_per_minute_max = 1'000'000'000;
    engine.emplace(*store, random, config);
  }

  zt::SeededRandom random{1};
  zt::Now now{.instant = zt::Instant(std::chrono::hours(1)),
              .unix_time = zt::from_unix_seconds(1'800'000'000)};
  std::unique_ptr<zt::store::SqliteStore> store;
  std::string api_key;
  zt::TenantId tenant;
  std::optional<Engine> engine;
};

// fresh_world returns a world as it was at first. What was refused has changed nothing, so a new
// one is made only after a success.
World& fresh_world(bool is_used_up) {
  static std::unique_ptr<World> world;
  if (!world || is_used_up) world = std::make_unique<World>();
  return *world;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  World& world = fresh_world(false);
  const std::string_view text = zt::as_text(std::as_bytes(std::span(data, size))).substr(1);
  const std::size_t space = text.find(' ');
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos || space > line) return 0;
  zt::http::RequestArrived arrived;
  arrived.exchange = zt::http::ExchangeKey{1};
  arrived.request = {.method = std::string(text.substr(0, space)),
                     .scheme = "https",
                     .authority = "zt.example",
                     .path = std::string(text.substr(space + 1, line - space - 1))};
  arrived.body = std::string(text.substr(line + 1));
  arrived.request.fields.add("content-type", "application/json");
  if (data[0] == 1) arrived.request.fields.add("authorization", "Bearer " + world.api_key);
  if (data[0] == 2 || data[0] == 4) {
    arrived.peer.certificate.emplace().bytes.fill(std::byte{data[0]});
    arrived.peer.public_key = arrived.peer.certificate;
  }
  const std::string method = arrived.request.method;
  world.engine->handle(std::move(arrived), world.now);
  int answer_count = 0;
  bool is_success = false;
  bool is_stream = false;
  while (const auto output = world.engine->poll_output()) {
    const auto* respond = std::get_if<zt::http::Respond>(&*output);
    if (respond == nullptr) continue;
    ++answer_count;
    is_success = respond->response.status < 300;
    is_stream = !respond->is_end;
    ZT_ASSERT(respond->response.status >= 200 && respond->response.status < 600);
    ZT_ASSERT(respond->response.status != 500);
  }
  ZT_ASSERT(answer_count == 1);
  ZT_ASSERT(world.store->tenants()->size() == 1);
  const bool is_reading = method == "GET" || method == "HEAD";
  if (is_stream || (is_success && !is_reading)) (void)fresh_world(true);
  return 0;
}
