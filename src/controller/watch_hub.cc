// SPDX-License-Identifier: Apache-2.0
#include "controller/watch_hub.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "controller/body_reader.h"
#include "wire/json.h"
#include "zt/base/rfc3339.h"
#include "zt/grant/relay_token.h"

namespace zt::controller {

namespace {

using wire::Json;

std::string line(const Json& message) {
  return wire::json_text(message) + "\n";
}

Json relays_json(const Directory& directory, const std::map<RelayId, std::uint32_t>& loads) {
  Json list = Json::array();
  for (const auto& [id, relay] : directory.relays) {
    if (!relay.is_enabled) continue;
    const auto load = loads.find(id);
    list.push_back({{"id", id.text},
                    {"name", relay.name},
                    {"region", relay.region},
                    {"address", relay.address},
                    {"certificate", relay.certificate.to_text()},
                    {"load", load == loads.end() ? 0 : load->second}});
  }
  return list;
}

// keys_told is what `row` is told of keys: for a relay also whose they are, and whom not to let in.
Json keys_told(const NodeRow& row, const TenantState& state, const Now& now) {
  const Json jwks = wire::parse_json_object(state.keys.published(now.unix_time).to_json());
  Json told = {{"jwks", jwks}};
  if (!std::holds_alternative<Relay>(row)) return told;
  Json blocked = Json::array();
  for (const Digest& certificate : state.directory.blocked_certificates(now.unix_time)) {
    if (blocked.size() == WatchHub::kBlockedMax) break;
    blocked.push_back(certificate.to_text());
  }
  told["tenants"] = Json::array(
      {{{"tenant", state.directory.tenant.text}, {"jwks", jwks}, {"blocked", std::move(blocked)}}});
  return told;
}

std::string observed_line(const SocketAddress& remote) {
  return line({{"type", "observed"}, {"address", remote.to_text()}});
}

std::string revoke_lines(const std::vector<std::string>& grants, std::string_view reason) {
  std::string lines;
  for (std::size_t i = 0; i < grants.size(); i += WatchHub::kGrantsPerLineMax) {
    const std::size_t end = std::min(grants.size(), i + WatchHub::kGrantsPerLineMax);
    Json message = {{"type", "revoke"}, {"reason", reason}, {"grants", Json::array()}};
    for (std::size_t j = i; j < end; ++j) message["grants"].push_back(grants[j]);
    lines += line(message);
  }
  return lines;
}

// NodeConfig of `row`, still without resources.
grant::NodeConfig config_for(const NodeRow& row, const TenantState& state, const Now& now) {
  return {.tenant = state.directory.tenant,
          .node = grant::NodeId{id_of(row)},
          .issued_at = now.unix_time,
          .revision = static_cast<std::uint64_t>(state.directory.revision)};
}

std::string sign(const grant::NodeConfig& config, const TenantState& state, const Now& now) {
  auto token = grant::issue(config, state.keys.signing_key(now.unix_time));
  ZT_ASSERT(token.has_value());  // The API keeps every object within the limits of NodeConfig.
  return *std::move(token);
}

bool has_config(const NodeRow& row) {
  return !std::holds_alternative<Relay>(row);
}

}  // namespace

const std::string& id_of(const NodeRow& row) {
  return std::visit([](const auto& known) -> const std::string& { return known.id.text; }, row);
}

const Digest& certificate_of(const NodeRow& row) {
  return std::visit([](const auto& known) -> const Digest& { return known.certificate; }, row);
}

std::optional<RouteId> route_of(const NodeRow& row) {
  if (const auto* connector = std::get_if<Connector>(&row)) return connector->route;
  if (const auto* device = std::get_if<Device>(&row)) return device->route;
  return std::nullopt;
}

// Views computes the views of one directory, each once: all connectors of a network share one, and
// all devices of a subject.
class WatchHub::Views {
 public:
  explicit Views(const Directory& directory) : directory_(directory) {}

  const View& of(const NodeRow& row, bool is_allowed) {
    static_assert(std::variant_size_v<NodeRow> == 3);
    std::string key;
    if (is_allowed) {
      if (const auto* connector = std::get_if<Connector>(&row)) key = connector->network.text;
      if (const auto* device = std::get_if<Device>(&row)) key = device->subject.text;
    }
    const auto found = views_.find(key);
    if (found != views_.end()) return found->second;
    return views_.emplace(key, make(row, key)).first->second;
  }

 private:
  [[nodiscard]] View make(const NodeRow& row, const std::string& key) const {
    if (key.empty()) return {};
    if (const auto* connector = std::get_if<Connector>(&row)) {
      return directory_.network_view(connector->network);
    }
    return directory_.subject_view(SubjectId{key});
  }

  const Directory& directory_;
  std::map<std::string, View> views_;
};

bool WatchHub::open(const WatchRequest& request, const TenantState& state, const Now& now) {
  const std::string& id = id_of(request.node);
  auto known = watchers_.find(id);
  if (known == watchers_.end()) {
    make_room(now);
    if (watchers_.size() >= config_.limits.watchers_max) return false;
    known = watchers_.emplace(id, Watcher{.tenant = state.directory.tenant}).first;
  }
  Watcher& watcher = known->second;
  if (watcher.exchange) {  // The newest stream of a node wins.
    outbox_.put(http::Finish{*watcher.exchange});
    streams_.erase(*watcher.exchange);
  }
  watcher.row = request.node;
  watcher.exchange = request.exchange;
  streams_.emplace(request.exchange, id);
  http::Respond respond{.exchange = request.exchange, .is_end = false};
  respond.response.status = 200;
  respond.response.fields.add("content-type", "application/x-ndjson");
  respond.response.fields.add("cache-control", "no-store");
  respond.body = opening_lines(watcher, request, state, now) + observed_line(request.remote);
  outbox_.put(std::move(respond));
  outbox_.log(WatchStarted{state.directory.tenant, id, streams_.size()});
  if (!next_tick_) next_tick_ = now.instant + config_.ping_interval;
  return true;
}

// opening_lines is a snapshot; or, if the node holds what it should hold, all but the
// configuration.
std::string WatchHub::opening_lines(Watcher& watcher, const WatchRequest& request,
                                    const TenantState& state, const Now& now) {
  Json message = keys_told(watcher.row, state, now);
  watcher.keys = wire::json_text(message);
  const Json relays = relays_json(state.directory, loads_);
  const bool is_resumed =
      has_config(watcher.row) && watcher.revision > 0 && request.held == watcher.revision;
  watcher.relays = wire::json_text(relays);
  std::vector<std::string> revoked;
  revoked.reserve(request.revoked.size());
  for (const GrantId& grant : request.revoked) revoked.push_back(grant.text);
  if (is_resumed) {
    message["type"] = "jwks";
    return line(message) + line({{"type", "relays"}, {"relays", relays}}) +
           relay_token_line(watcher, state, now) + revoke_lines(revoked, "revoked while away");
  }
  message["type"] = "snapshot";
  message["revision"] = state.directory.revision;
  if (!has_config(watcher.row)) return line(message);
  watcher.revision = state.directory.revision;
  auto config = config_for(watcher.row, state, now);
  Views views(state.directory);
  for (const auto& [id, entry] : views.of(watcher.row, true)) config.upsert.push_back(entry);
  message["config"] = sign(config, state, now);
  message["relays"] = relays;
  const Json token = wire::parse_json_object(relay_token_line(watcher, state, now));
  for (const char* member : {"relay_token", "relay_token_expires", "route"}) {
    message[member] = token[member];
  }
  if (!std::holds_alternative<Connector>(watcher.row)) return line(message);
  const std::size_t first = std::min(revoked.size(), kGrantsPerLineMax);
  const auto rest = revoked.begin() + static_cast<std::ptrdiff_t>(first);
  message["revoked"] = std::vector<std::string>(revoked.begin(), rest);
  return line(message) + revoke_lines({rest, revoked.end()}, "revoked while away");
}

void WatchHub::move(http::ExchangeKey exchange, const SocketAddress& remote) {
  if (streams_.contains(exchange)) outbox_.put(http::Append{exchange, observed_line(remote)});
}

void WatchHub::leave(http::ExchangeKey exchange, const Now& now) {
  const auto stream = streams_.find(exchange);
  if (stream == streams_.end()) return;
  const auto found = watchers_.find(stream->second);
  ZT_ASSERT(found != watchers_.end());
  found->second.exchange.reset();
  found->second.left_at = now.instant;
  outbox_.log(WatchEnded{found->second.tenant, found->first, "the node is gone"});
  streams_.erase(stream);
}

void WatchHub::end(Watchers::iterator entry, std::string_view reason) {
  const Watcher& watcher = entry->second;
  if (watcher.exchange) {
    outbox_.put(http::Finish{*watcher.exchange});
    streams_.erase(*watcher.exchange);
  }
  outbox_.log(WatchEnded{watcher.tenant, entry->first, std::string(reason)});
  watchers_.erase(entry);
}

void WatchHub::make_room(const Now& now) {
  std::erase_if(watchers_, [&](const auto& item) {
    return !item.second.exchange && item.second.left_at + kAwayMax <= now.instant;
  });
  if (watchers_.size() < config_.limits.watchers_max) return;
  std::erase_if(watchers_, [](const auto& item) { return !item.second.exchange; });
}

bool WatchHub::is_allowed(const Watcher& watcher, const Directory& directory, UnixTime now) {
  if (const auto* row = std::get_if<Connector>(&watcher.row)) {
    const auto found = directory.connectors.find(row->id);
    return found != directory.connectors.end() && found->second.is_enabled;
  }
  if (const auto* row = std::get_if<Relay>(&watcher.row)) {
    const auto found = directory.relays.find(row->id);
    return found != directory.relays.end() && found->second.is_enabled;
  }
  const auto* row = std::get_if<Device>(&watcher.row);
  const auto found = directory.devices.find(row->id);
  return found != directory.devices.end() && found->second.subject == row->subject &&
         !directory.complaint_about_device(found->second, now);
}

void WatchHub::send(const Watcher& watcher, const std::string& lines) {
  if (watcher.exchange && !lines.empty()) outbox_.put(http::Append{*watcher.exchange, lines});
}

void WatchHub::publish(const Publication& publication, const Now& now) {
  const Directory& after = publication.after.directory;
  Views views_before(publication.before.directory);
  Views views_after(after);
  std::map<NetworkId, std::map<std::string, std::vector<std::string>>> revoked;
  for (const IssuedGrant& grant : publication.revoked) {
    revoked[grant.network][grant.reason].push_back(grant.id.text);
  }
  for (auto next = watchers_.begin(); next != watchers_.end();) {
    const auto current = next++;
    Watcher& watcher = current->second;
    if (watcher.tenant != after.tenant) continue;
    const bool is_kept = is_allowed(watcher, after, now.unix_time);
    std::string lines;
    if (const auto* connector = std::get_if<Connector>(&watcher.row)) {
      const auto grants = revoked.find(connector->network);
      if (grants != revoked.end()) {
        for (const auto& [reason, ids] : grants->second) lines += revoke_lines(ids, reason);
      }
    }
    if (has_config(watcher.row)) {
      const View& held = views_before.of(watcher.row, true);
      const View& wanted = views_after.of(watcher.row, is_kept);
      if (!watcher.exchange && (held != wanted || !is_kept)) {
        watchers_.erase(current);  // It was away, and must begin anew.
        continue;
      }
      lines += delta_line(watcher, held, wanted, publication.after, now);
    }
    if (is_kept) lines += changed_lines(watcher, publication.after, now);
    send(watcher, lines);
    if (!is_kept) end(current, "the node may no longer watch");
  }
}

// delta_line is empty if the two views are the same: the node then keeps its revision.
std::string WatchHub::delta_line(Watcher& watcher, const View& before, const View& after,
                                 const TenantState& state, const Now& now) {
  auto config = config_for(watcher.row, state, now);
  config.kind = grant::NodeConfig::Kind::delta;
  config.base = static_cast<std::uint64_t>(watcher.revision);
  for (const auto& [id, entry] : after) {
    const auto held = before.find(id);
    if (held == before.end() || held->second != entry) config.upsert.push_back(entry);
  }
  for (const auto& [id, entry] : before) {
    if (!after.contains(id)) config.remove.push_back(id);
  }
  if (config.upsert.empty() && config.remove.empty()) return {};
  watcher.revision = state.directory.revision;
  return line({{"type", "delta"},
               {"revision", state.directory.revision},
               {"config", sign(config, state, now)}});
}

// changed_lines tells the keys and relays if they differ from what was told.
std::string WatchHub::changed_lines(Watcher& watcher, const TenantState& state,
                                    const Now& now) const {
  if (!watcher.exchange) return {};  // Opening a stream tells all of this.
  std::string lines;
  Json keys = keys_told(watcher.row, state, now);
  if (auto text = wire::json_text(keys); text != watcher.keys) {
    watcher.keys = std::move(text);
    keys["type"] = "jwks";
    lines += line(keys);
  }
  return lines + changed_relays_line(watcher, state.directory);
}

std::string WatchHub::changed_relays_line(Watcher& watcher, const Directory& directory) const {
  if (!has_config(watcher.row)) return {};
  const Json relays = relays_json(directory, loads_);
  std::string text = wire::json_text(relays);
  if (text == watcher.relays) return {};
  watcher.relays = std::move(text);
  return line({{"type", "relays"}, {"relays", relays}});
}

void WatchHub::note_load(const RelayId& relay, std::int64_t binding_count) {
  constexpr std::uint64_t kBindingsOfNote = 64;
  const auto load = std::uint32_t(
      std::bit_width(std::uint64_t(std::max<std::int64_t>(0, binding_count)) / kBindingsOfNote));
  const auto [known, is_new] = loads_.try_emplace(relay, 0);
  if (std::exchange(known->second, load) != load) has_new_load_ = true;
}

std::string WatchHub::relay_token_line(Watcher& watcher, const TenantState& state, const Now& now) {
  const auto route = route_of(watcher.row);
  if (!route) return {};
  const grant::RelayToken token{.tenant = state.directory.tenant,
                                .route = *route,
                                .node_certificate = certificate_of(watcher.row),
                                .issued_at = now.unix_time,
                                .not_before = now.unix_time,
                                .expires_at = now.unix_time + config_.relay_token_lifetime};
  const auto issued = grant::issue(token, state.keys.signing_key(now.unix_time));
  ZT_ASSERT(issued.has_value());  // The configured lifetime is within RelayToken's limit.
  const UnixTime expires = from_unix_seconds(unix_seconds(token.expires_at));
  watcher.relay_token_expires = expires;
  return line({{"type", "relay_token"},
               {"relay_token", issued->reveal()},
               {"relay_token_expires", to_rfc3339(expires)},
               {"route", route->to_text()}});
}

void WatchHub::tick(const std::function<const TenantState*(const TenantId&)>& state_of,
                    const Now& now) {
  if (!next_tick_ || now.instant < *next_tick_) return;
  std::erase_if(watchers_, [&](const auto& item) {
    return !item.second.exchange && item.second.left_at + kAwayMax <= now.instant;
  });
  const bool has_new_load = std::exchange(has_new_load_, false);
  for (auto& [id, watcher] : watchers_) {
    if (!watcher.exchange) continue;
    std::string lines;
    if (has_new_load) {
      const TenantState* const state = state_of(watcher.tenant);
      if (state != nullptr) lines += changed_relays_line(watcher, state->directory);
    }
    const auto left = watcher.relay_token_expires - now.unix_time;
    const bool is_renewal_due =  // More than a whole life is left where the clock was set back.
        route_of(watcher.row) &&
        (left <= config_.relay_token_lifetime / 3 || left > config_.relay_token_lifetime);
    if (is_renewal_due) {
      const TenantState* const state = state_of(watcher.tenant);
      if (state != nullptr) lines += relay_token_line(watcher, *state, now);
    }
    send(watcher, lines + line({{"type", "ping"}}));
  }
  next_tick_.reset();
  if (!streams_.empty()) next_tick_ = now.instant + config_.ping_interval;
}

std::optional<Instant> WatchHub::next_tick() const {
  return next_tick_;
}

bool WatchHub::is_watching(std::string_view node) const {
  const auto found = watchers_.find(node);
  return found != watchers_.end() && found->second.exchange.has_value();
}

}  // namespace zt::controller
