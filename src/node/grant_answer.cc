// SPDX-License-Identifier: Apache-2.0
#include "node/grant_answer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "wire/json.h"
#include "zt/base/rfc3339.h"

namespace zt::node {

namespace {

using wire::Json;

// round_trip_of returns a connector's round trip to a relay, if it is known.
std::optional<Duration> round_trip_of(const Json& connector, const std::string& relay) {
  const auto round_trips = connector.find("round_trips_ms");
  if (round_trips == connector.end() || !round_trips->is_object()) return std::nullopt;
  const auto found = round_trips->find(relay);
  if (found == round_trips->end() || !found->is_number_unsigned()) return std::nullopt;
  constexpr std::uint64_t kRoundTripMax = 60'000;
  return std::chrono::milliseconds(std::min(found->get<std::uint64_t>(), kRoundTripMax));
}

std::optional<client::GrantedConnector> parse_connector(const Json& object) {
  if (!object.is_object()) return std::nullopt;
  const auto id = parse_id_as<ConnectorIdTag>(wire::text_or_empty(object, "id"));
  const auto certificate = Digest::parse(wire::text_or_empty(object, "certificate"));
  const auto route = RouteId::parse(wire::text_or_empty(object, "route"));
  const auto relays = object.find("relays");
  if (!id || !certificate || !route || relays == object.end() || !relays->is_array()) {
    return std::nullopt;
  }
  client::GrantedConnector connector{.id = *id,
                                     .name = wire::text_or_empty(object, "name"),
                                     .certificate = *certificate,
                                     .route = *route};
  for (const Json& entry : *relays) {
    if (!entry.is_string()) return std::nullopt;
    const auto relay = parse_id_as<RelayIdTag>(entry.get_ref<const std::string&>());
    if (!relay) return std::nullopt;
    connector.relays.push_back(*relay);
    if (const auto round_trip = round_trip_of(object, relay->text)) {
      connector.round_trips.emplace(*relay, *round_trip);
    }
  }
  const auto weight = object.find("weight");
  if (weight != object.end() && weight->is_number_unsigned()) {
    connector.weight = weight->get<std::uint32_t>();
  }
  return connector;
}

std::optional<client::GrantIssued> parse_issued(const Json& object, UnixTime now) {
  client::GrantIssued issued;
  const auto id = parse_id_as<GrantIdTag>(wire::text_or_empty(object, "grant_id"));
  const auto expires = parse_rfc3339(wire::text_or_empty(object, "expires"));
  const auto resource = object.find("resource");
  const auto connectors = object.find("connectors");
  issued.token = Secret(wire::text_or_empty(object, "grant"));
  if (!id || !expires || issued.token.is_empty() || resource == object.end() ||
      !resource->is_object() || connectors == object.end() || !connectors->is_array()) {
    return std::nullopt;
  }
  issued.id = *id;
  issued.expires = *expires;
  // The controller says how long the grant lives, so that a wrong wall clock here does no harm.
  const auto lifetime = object.find("expires_in");
  issued.lifetime = lifetime != object.end() && lifetime->is_number_unsigned()
                        ? Duration(std::chrono::seconds(lifetime->get<std::int64_t>()))
                        : Duration(*expires - now);
  issued.lifetime = std::clamp(issued.lifetime, Duration::zero(), Duration(std::chrono::hours(1)));
  issued.decision.text = wire::text_or_empty(object, "decision");
  const auto resource_id = parse_id_as<ResourceIdTag>(wire::text_or_empty(*resource, "id"));
  if (!resource_id) return std::nullopt;
  issued.resource = *resource_id;
  issued.resource_name = wire::text_or_empty(*resource, "name");
  if (const auto ports = object.find("ports"); ports != object.end() && ports->is_array()) {
    for (const Json& entry : *ports) {
      const auto range =
          entry.is_string() ? PortRange::parse(entry.get_ref<const std::string&>()) : std::nullopt;
      if (!range) return std::nullopt;
      issued.ports.push_back(*range);
    }
  }
  for (const Json& entry : *connectors) {
    auto connector = parse_connector(entry);
    if (!connector) return std::nullopt;
    issued.connectors.push_back(std::move(*connector));
  }
  return issued;
}

}  // namespace

GrantAnswer parse_grant_answer(int status, std::string_view body, UnixTime now) {
  const Json object = wire::parse_json_object(body);
  if (status >= 200 && status < 300) {
    auto issued = object.is_object() ? parse_issued(object, now) : std::nullopt;
    if (issued) return std::move(*issued);
    return client::GrantUnavailable{"the controller's grant is malformed"};
  }
  std::string detail;
  std::string rule;
  DecisionId decision;
  if (object.is_object()) {
    detail = wire::text_or_empty(object, "detail");
    if (detail.empty()) detail = wire::text_or_empty(object, "title");
    rule = wire::text_or_empty(object, "rule");
    decision.text = wire::text_or_empty(object, "decision");
  }
  if (detail.empty()) detail = "the controller answered with status " + std::to_string(status);
  if (status >= 400 && status < 500 && status != 408 && status != 429) {
    return client::GrantDenied{.status = status,
                               .detail = std::move(detail),
                               .rule = std::move(rule),
                               .decision = std::move(decision)};
  }
  return client::GrantUnavailable{std::move(detail)};
}

}  // namespace zt::node
